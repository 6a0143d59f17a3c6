//! The real binary as a process of its own.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A time that no machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with a storage and a configuration, and the commands that use them.
pub(crate) struct Lab {
    directory: tempfile::TempDir,
}

impl Lab {
    /// A lab with its storage in `storage/` and this configuration beside it.
    pub(crate) fn new(configuration: &str) -> Self {
        let lab = Self { directory: tempfile::tempdir().expect("a temporary directory") };
        lab.configure(configuration);
        lab
    }

    /// Replaces the configuration.
    pub(crate) fn configure(&self, configuration: &str) {
        let storage = "[storage.local]\ntype = \"local\"\nbase_path = \"storage\"\n";
        std::fs::write(self.path().join("qspool.toml"), format!("{storage}{configuration}")).expect("written");
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn storage(&self) -> PathBuf {
        self.path().join("storage")
    }

    /// A command of the binary in the lab.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qspool"));
        command.args(arguments).current_dir(self.path()).env_remove("NOTIFY_SOCKET").env("NO_COLOR", "1");
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the binary starts")
    }

    /// Runs a command that has to be good, and gives what it printed.
    pub(crate) fn good(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    /// Puts a job into the queue of a backend, unchecked, and gives its id.
    pub(crate) fn submit(&self, backend: &str, job: &str) -> String {
        let path = self.path().join("job.json");
        std::fs::write(&path, job).expect("written");
        self.good(&["submit", backend, "job.json", "--no-check"])
    }

    /// The status document of a job.
    pub(crate) fn status(&self, job_id: &str) -> Value {
        serde_json::from_str(&self.good(&["status", job_id, "--json"])).expect("JSON")
    }

    /// Waits for the end of a job and gives its state and error message.
    pub(crate) fn wait(&self, job_id: &str) -> (String, String) {
        let begin = Instant::now();
        loop {
            let status = self.status(job_id);
            let text = |key: &str| status[key].as_str().expect("text").to_owned();
            if matches!(text("status").as_str(), "DONE" | "ERROR") {
                return (text("status"), text("error_message"));
            }
            assert!(begin.elapsed() < PATIENCE, "job {job_id} does not end: {status}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for the end of a job for which nobody wrote a first status.
    pub(crate) fn wait_for_first_status(&self, backend: &str, job_id: &str) -> (String, String) {
        let begin = Instant::now();
        while !self.files(&format!("status/{backend}")).contains(&format!("{job_id}.json")) {
            assert!(begin.elapsed() < PATIENCE, "{job_id} does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
        self.wait(job_id)
    }

    /// The names of the files in a folder of the storage; none if there is no such folder.
    pub(crate) fn files(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.storage().join(folder)) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Starts the daemon and waits until it serves.
    pub(crate) fn daemon(&self) -> Daemon {
        Daemon::start(self.command(&["run"]))
    }
}

/// A running daemon. It is killed when this value goes away.
pub(crate) struct Daemon {
    process: Child,
    lines: Receiver<String>,
    log: Vec<String>,
}

impl Daemon {
    /// Starts a command that is, or ends up as, the daemon, and waits until it serves.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut process = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("the binary starts");
        let stderr = process.stderr.take().expect("piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut daemon = Self { process, lines, log: Vec::new() };
        daemon.wait_for("serving");
        daemon
    }

    /// Waits for a line of the log that holds `text`, and gives it.
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        let begin = Instant::now();
        loop {
            match self.lines.recv_timeout(PATIENCE.saturating_sub(begin.elapsed())) {
                Ok(line) => {
                    self.log.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("the log never says {text:?}:\n{}", self.log.join("\n")),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("the daemon ended before it said {text:?}:\n{}", self.log.join("\n"))
                }
            }
        }
    }

    /// All lines of the log up to now, or to its end if the daemon has ended.
    pub(crate) fn log(&mut self) -> &[String] {
        self.log.extend(self.lines.try_iter());
        &self.log
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).expect("a pid")).expect("not 0");
        kill_process(pid, signal).expect("the process is there");
    }

    /// Ends the process without any warning, as a power failure would.
    pub(crate) fn kill(mut self) {
        self.process.kill().expect("killed");
        self.process.wait().expect("ended");
    }

    /// Waits for the end of the process.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().expect("asked") {
                return status;
            }
            assert!(begin.elapsed() < PATIENCE, "the daemon does not end:\n{}", self.log().join("\n"));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks it to stop and waits.
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _killed = self.process.kill();
        let _ended = self.process.wait();
    }
}
