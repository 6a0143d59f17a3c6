//! The Python stack at a pinned version, in an environment of its own below the build folder.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

/// Every package with its version, so that the peer of today is the peer of next year.
const REQUIREMENTS: &str = include_str!("requirements.txt");

/// A running script of this folder. It is ended with this value.
pub(crate) struct Script {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Script {
    /// Starts the script `name` with `arguments`, which it reads as JSON, and further environment variables.
    pub(crate) fn start(name: &str, arguments: &Value, variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(interpreter())
            .arg(scripts().join(name))
            .arg(arguments.to_string())
            .envs(variables.iter().copied())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the interpreter was made above");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { input: child.stdin.take(), child, output }
    }

    /// The next thing that the script reports. What Python complains about stands on standard error.
    pub(crate) fn report(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the script writes text");
        assert!(!line.is_empty(), "the script has ended early: {:?}", self.child.wait());
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Lets a script that waits go on.
    pub(crate) fn go_on(&mut self) {
        let input = self.input.as_mut().expect("it is piped");
        writeln!(input).expect("the script listens");
    }

    /// The last report of a script, which then ends well.
    pub(crate) fn finish(mut self) -> Value {
        let report = self.report();
        drop(self.input.take());
        assert!(self.child.wait().expect("it was started").success(), "the script ends well: {report}");
        report
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _waited = self.child.wait();
    }
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers")
}

/// The interpreter of the environment. Whoever comes first makes the environment, the others wait.
fn interpreter() -> PathBuf {
    let build = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it lies in the build folder");
    let peers = build.join("peers");
    fs::create_dir_all(&peers).expect("the build folder takes files");
    // The kernel frees the lock with the process, however that ends.
    let lock = File::create(peers.join("lock")).expect("the build folder takes files");
    lock.lock().expect("files can be locked");
    let environment = peers.join("sqooler-0.9.0");
    let complete = environment.join("complete");
    let python = environment.join("bin/python");
    if fs::read_to_string(&complete).is_ok_and(|made_of| made_of == REQUIREMENTS) && python.exists() {
        return python;
    }
    if environment.exists() {
        fs::remove_dir_all(&environment).expect("an unfinished environment can be removed");
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(&environment), "Python 3.10 or newer with its module venv");
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "-r"];
    let requirements = scripts().join("requirements.txt");
    run(Command::new(&python).args(pip).arg(requirements), "the packages of tests/peers/requirements.txt from PyPI");
    fs::write(complete, REQUIREMENTS).expect("the environment takes files");
    python
}

fn run(command: &mut Command, needed: &str) {
    match command.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => panic!("the tests with peers need {needed}: {}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => panic!("the tests with peers need {needed}: {error}"),
    }
}
