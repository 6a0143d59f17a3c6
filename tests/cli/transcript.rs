//! Transcripts: Markdown files whose `console` blocks are run, and which say what has to come out.
//!
//! A line that begins with `$ ` is a command for the shell, `> ` continues it, and the lines below are its output. A
//! code block with a second word, as in `json hop.json`, is written to the file of that name.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use snapbox::assert::DEFAULT_ACTION_ENV;
use snapbox::{Assert, Data};

/// How the two streams of a command are told apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Streams {
    /// They are not: the output is what a person sees.
    Merged,
    /// First the standard output, then the standard error stream with `! ` before each line.
    Marked,
}

/// The directory in which the commands seem to run, which is their home as well.
const HOME: &str = "/home/ada";

/// Plays the transcript in a directory of its own, and compares the whole file with what came out.
///
/// With `SNAPSHOTS=overwrite` in the environment the file is replaced instead.
#[track_caller]
pub(super) fn check(path: &Path, streams: Streams) {
    let text = fs::read_to_string(path).unwrap();
    let played = Stage::new(streams).play(&text);
    let expected = Data::read_from(path, None).raw();
    Assert::new().action_env(DEFAULT_ACTION_ENV).eq(Data::text(played).raw(), expected);
}

/// The time after which a command is ended, in seconds: none takes as long by far.
const LONGEST: &str = "120";

struct Stage {
    directory: tempfile::TempDir,
    streams: Streams,
    /// The ids of jobs that the transcript shows, and those that they have had this time.
    job_ids: BTreeMap<String, String>,
    daemons: Vec<Child>,
}

impl Stage {
    fn new(streams: Streams) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory, streams, job_ids: BTreeMap::new(), daemons: Vec::new() }
    }

    fn play(&mut self, text: &str) -> String {
        let mut played = String::new();
        let mut lines = text.split_inclusive('\n').peekable();
        while let Some(line) = lines.next() {
            played.push_str(line);
            let Some(info) = line.strip_prefix("```") else { continue };
            let mut body = String::new();
            while let Some(line) = lines.next_if(|line| !line.starts_with("```")) {
                body.push_str(line);
            }
            match info.split_whitespace().collect::<Vec<_>>()[..] {
                ["console"] => played.push_str(&self.run_block(&body)),
                [_, file] => {
                    fs::write(self.directory.path().join(file), &body).unwrap();
                    played.push_str(&body);
                }
                _ => played.push_str(&body),
            }
            played.extend(lines.next());
        }
        played
    }

    fn run_block(&mut self, block: &str) -> String {
        let mut played = String::new();
        let mut lines = block.lines().peekable();
        while let Some(line) = lines.next() {
            let mut command = line.strip_prefix("$ ").expect("a block begins with a command").to_owned();
            push_line(&mut played, line);
            while let Some(more) = lines.next_if(|line| line.starts_with("> ")) {
                push_line(&mut played, more);
                command.push('\n');
                command.push_str(&more[2..]);
            }
            let mut expected = String::new();
            while let Some(line) = lines.next_if(|line| !line.starts_with("$ ")) {
                push_line(&mut expected, line);
            }
            played.push_str(&self.run(&command, &expected));
        }
        played
    }

    /// What the command gives, with the ids of the transcript in place of this time's.
    fn run(&mut self, command: &str, expected: &str) -> String {
        let command = job_ids(command).fold(command.to_owned(), |command, id| {
            command.replace(id, self.job_ids.get(id).map_or(id, String::as_str))
        });
        if let Some(daemon) = command.strip_suffix('&') {
            self.daemons.push(self.shell(&format!("exec {daemon}")).stdout(Stdio::null()).spawn().unwrap());
            // It serves as soon as it has published what.
            while !show(&self.shell("qspool backends").output().unwrap()).contains("operational") {
                assert!(self.daemons.iter_mut().all(|daemon| daemon.try_wait().unwrap().is_none()), "{command} ended");
            }
            return String::new();
        }
        let output = match self.streams {
            Streams::Merged => self.shell(&format!("{{ {command}\n}} 2>&1")).output(),
            Streams::Marked => self.shell(&command).output(),
        };
        let shown = show(&output.unwrap()).replace(&self.directory.path().display().to_string(), HOME);
        for (expected, id) in job_ids(expected).zip(job_ids(&shown)) {
            self.job_ids.entry(expected.to_owned()).or_insert_with(|| id.to_owned());
        }
        self.job_ids.iter().fold(shown, |shown, (expected, id)| shown.replace(id, expected))
    }

    /// A shell in an environment that holds nothing but what is needed.
    fn shell(&self, command: &str) -> Command {
        let program = Path::new(env!("CARGO_BIN_EXE_qspool")).parent().unwrap();
        let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
        let mut shell = Command::new("timeout");
        shell.args([LONGEST, "sh", "-c", command]).current_dir(&self.directory).stdin(Stdio::null());
        shell.env_clear().env("PATH", path).env("HOME", self.directory.path());
        shell
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for daemon in &mut self.daemons {
            kill_process(Pid::from_child(daemon), Signal::TERM).unwrap();
            daemon.wait().unwrap();
        }
    }
}

fn push_line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn show(output: &Output) -> String {
    let mut shown = String::from_utf8(output.stdout.clone()).unwrap();
    for line in str::from_utf8(&output.stderr).unwrap().lines() {
        push_line(&mut shown, format!("! {line}").trim_end());
    }
    match output.status.code().unwrap() {
        0 => shown,
        code => shown + &format!("? {code}\n"),
    }
}

/// The ids of jobs in a text: words of 24 hexadecimal digits.
fn job_ids(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|character: char| !character.is_ascii_alphanumeric());
    words.filter(|word| word.len() == 24 && word.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
