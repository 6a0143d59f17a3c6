//! The program as a process: its start, its messages, its end.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use qspool_driver::{Deadline, DriverError, ErrorClass};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

use crate::message::{Message, Request, environment};
use crate::settings::ExecSettings;

/// The longest line that is read.
const LONGEST_LINE: u64 = 4 << 20;

/// How long the program has to end after its standard input was closed, and then after SIGTERM.
const END: Duration = Duration::from_secs(3);
const TERM: Duration = Duration::from_secs(2);

/// How long to wait for the status of a program whose streams have closed.
const LAST_MOMENT: Duration = Duration::from_millis(200);

/// How long the command that makes the device safe has.
const SAFE_COMMAND: Duration = Duration::from_secs(5);

/// The lines of its standard error stream that are logged per second; what goes beyond is counted.
const LINES_PER_SECOND: u32 = 20;

/// A running program.
pub(crate) struct Process {
    name: String,
    child: Child,
    group: Option<Pid>,
    /// Lines on their way to the program; a thread writes them, so that one who does not read holds up nobody.
    input: Option<Sender<Vec<u8>>>,
    messages: Receiver<Message>,
    next_id: u64,
    safe_command: Option<Vec<String>>,
    /// The folder in which it runs; it goes with this value.
    _folder: tempfile::TempDir,
    is_killed: bool,
}

impl Process {
    /// Starts the program in a folder and a process group of its own.
    pub(crate) fn start(settings: &ExecSettings) -> Result<Self, DriverError> {
        let name = &settings.name;
        let refused = |what: String| DriverError::new(ErrorClass::Configuration, format!("{name}: {what}"));
        let Some((program, arguments)) = settings.command.split_first() else {
            return Err(refused("no command; set the program and its arguments".into()));
        };
        let folder = tempfile::Builder::new()
            .prefix("qspool-driver-")
            .tempdir()
            .map_err(|error| refused(format!("no folder to run in: {error}")))?;
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(environment(&settings.environment))
            .current_dir(folder.path())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| refused(format!("cannot start {program}: {error}")))?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
            return Err(refused("its streams cannot be reached".into()));
        };
        let (input, lines) = channel();
        std::thread::spawn(move || write_lines(stdin, &lines));
        let (sender, messages) = channel();
        let reader = name.clone();
        std::thread::spawn(move || read_messages(&reader, stdout, &sender));
        let logger = name.clone();
        std::thread::spawn(move || log_lines(&logger, stderr));
        Ok(Self {
            name: name.clone(),
            group: Some(Pid::from_child(&child)),
            child,
            input: Some(input),
            messages,
            next_id: 0,
            safe_command: settings.safe_command.clone(),
            _folder: folder,
            is_killed: false,
        })
    }

    /// Sends a message that is not answered.
    pub(crate) fn tell(&mut self, method: &str, params: Value) -> Result<(), DriverError> {
        self.send(&Request { jsonrpc: "2.0", id: None, method, params })
    }

    /// Sends a request, and gives the number by which its answer is known.
    pub(crate) fn ask(&mut self, method: &str, params: Value) -> Result<u64, DriverError> {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&Request { jsonrpc: "2.0", id: Some(id), method, params })?;
        Ok(id)
    }

    fn send(&mut self, request: &Request<'_>) -> Result<(), DriverError> {
        let mut line = serde_json::to_vec(request).map_err(|error| self.device(&error.to_string()))?;
        line.push(b'\n');
        let sent = self.input.as_ref().is_some_and(|input| input.send(line).is_ok());
        if sent { Ok(()) } else { Err(self.ended()) }
    }

    /// The next message; none if there is none within this time.
    pub(crate) fn receive(&mut self, time: Duration) -> Result<Option<Message>, DriverError> {
        match self.messages.recv_timeout(time) {
            Ok(message) => Ok(Some(message)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(self.ended()),
        }
    }

    /// Sends a request and waits for its answer; what else is said meanwhile is passed over.
    pub(crate) fn call(&mut self, method: &str, params: Value, deadline: Deadline) -> Result<Value, DriverError> {
        let id = self.ask(method, params)?;
        while !deadline.is_over() {
            let Some(message) = self.receive(deadline.remaining())? else { break };
            if message.id == Some(id) {
                return match message.error {
                    Some(error) => Err(error.into_driver_error(&self.name, method)),
                    None => Ok(message.result.unwrap_or(Value::Null)),
                };
            }
        }
        // Whatever it still does, it does not do what it should.
        self.kill();
        let seconds = deadline.given().as_secs_f64();
        Err(self.device(&format!("no answer to {method} within {seconds} s; the program was ended")))
    }

    fn ended(&mut self) -> DriverError {
        // Its streams close a moment before it can be seen how it ended.
        self.has_ended_within(LAST_MOMENT);
        let how = match self.child.try_wait() {
            Ok(Some(status)) => format!("the program has ended ({status}); the log has what it said"),
            _ => "the program has closed its output; the log has what it said".to_owned(),
        };
        self.device(&how)
    }

    fn device(&self, what: &str) -> DriverError {
        DriverError::new(ErrorClass::Device, format!("{}: {what}", self.name))
    }

    /// Whether the program runs.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None)) && !self.is_killed
    }

    /// Closes its standard input, by which it has to make the device safe and end; then helps it to.
    pub(crate) fn end(&mut self) {
        drop(self.input.take());
        if self.has_ended_within(END) {
            // What it has started may go on; its group is told.
            self.signal(Signal::TERM);
            return;
        }
        self.signal(Signal::TERM);
        if !self.has_ended_within(TERM) {
            self.kill();
        }
    }

    /// Ends the whole group at once. The device is then made safe by the command for that, where there is one.
    pub(crate) fn kill(&mut self) {
        if std::mem::replace(&mut self.is_killed, true) {
            return;
        }
        drop(self.input.take());
        self.signal(Signal::KILL);
        let _reaped = self.child.wait();
        self.run_safe_command();
    }

    fn run_safe_command(&self) {
        let Some((program, arguments)) = self.safe_command.as_ref().and_then(|command| command.split_first()) else {
            tracing::error!(
                driver = self.name,
                "the program was killed, and nothing is set that makes its device safe"
            );
            return;
        };
        let started = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let ended = started.map(|mut child| {
            let begin = Instant::now();
            while begin.elapsed() < SAFE_COMMAND {
                if let Ok(Some(status)) = child.try_wait() {
                    return status.success();
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            let _killed = child.kill();
            let _reaped = child.wait();
            false
        });
        match ended {
            Ok(true) => tracing::warn!(driver = self.name, "the program was killed, and its device was made safe"),
            _ => tracing::error!(driver = self.name, "the program was killed, and its device could not be made safe"),
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // The group may be empty already.
            let _gone = kill_process_group(group, signal);
        }
    }

    fn has_ended_within(&mut self, time: Duration) -> bool {
        let begin = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(None) if begin.elapsed() < time => std::thread::sleep(Duration::from_millis(5)),
                Ok(None) => return false,
                Ok(Some(_)) | Err(_) => return true,
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_running() {
            self.end();
        }
    }
}

fn write_lines(mut stdin: ChildStdin, lines: &Receiver<Vec<u8>>) {
    // The end of the lines closes the stream, which the program takes for its order to end.
    for line in lines {
        if stdin.write_all(&line).and_then(|()| stdin.flush()).is_err() {
            return;
        }
    }
}

fn read_messages(name: &str, stdout: ChildStdout, messages: &Sender<Message>) {
    let mut stdout = BufReader::new(stdout);
    loop {
        let mut line = Vec::new();
        match stdout.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        match serde_json::from_slice(&line) {
            Ok(message) => {
                if messages.send(message).is_err() {
                    return;
                }
            }
            Err(error) => {
                let line = String::from_utf8_lossy(&line).chars().take(200).collect::<String>();
                tracing::warn!(driver = name, %error, line, "the program said what is no message");
            }
        }
    }
}

/// Writes what the program says on its standard error stream to the log, but not more of it than a person can read.
fn log_lines(name: &str, stderr: impl Read) {
    let mut stderr = BufReader::new(stderr);
    let (mut second, mut lines, mut dropped) = (Instant::now(), 0, 0_u64);
    loop {
        let mut line = Vec::new();
        match stderr.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if second.elapsed() >= Duration::from_secs(1) {
            if dropped > 0 {
                tracing::warn!(driver = name, dropped, "the program says more than is logged");
            }
            (second, lines, dropped) = (Instant::now(), 0, 0);
        }
        lines += 1;
        if lines <= LINES_PER_SECOND {
            let said = String::from_utf8_lossy(&line).trim_end().chars().take(1000).collect::<String>();
            tracing::info!(driver = name, said);
        } else {
            dropped += 1;
        }
    }
}
