//! The Python stack at a pinned version, in an environment of its own below the build folder.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use super::environment;

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

    /// Waits until a script has died.
    #[allow(dead_code, reason = "each test takes its part")]
    pub(crate) fn wait_for_death(&mut self) {
        assert!(!self.child.wait().expect("it was started").success(), "the script dies");
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

fn interpreter() -> PathBuf {
    environment::interpreter("sqooler-0.9.0", &scripts().join("requirements.txt"))
}
