//! The signals that the host sends.

use std::io;

use futures::StreamExt;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// What the host asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Take no more jobs and end in order: the first SIGTERM or SIGINT.
    Stop,
    /// End at once: every further SIGTERM or SIGINT.
    StopNow,
    /// Read configuration and schemas again: SIGHUP.
    Reload,
}

/// The signals as they arrive. Of those that wait together equal ones count once, and the order is lost.
pub struct Signals {
    stream: signal_hook_tokio::Signals,
    is_stopping: bool,
}

impl Signals {
    /// Takes over SIGTERM, SIGINT and SIGHUP, which from then on do nothing by themselves.
    ///
    /// Must be called within a tokio runtime that has I/O enabled.
    ///
    /// # Errors
    ///
    /// The system has no pair of sockets left, or refuses a handler.
    pub fn take_over() -> io::Result<Self> {
        Ok(Self { stream: signal_hook_tokio::Signals::new([SIGTERM, SIGINT, SIGHUP])?, is_stopping: false })
    }

    /// Waits for the next signal. A call that is dropped loses none.
    pub async fn next(&mut self) -> Signal {
        if self.stream.next().await == Some(SIGHUP) {
            return Signal::Reload;
        }
        // The stream ends only when its handle closes it, which nobody has; if it did, to stop would be right.
        if std::mem::replace(&mut self.is_stopping, true) { Signal::StopNow } else { Signal::Stop }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Command, Stdio};

    use rustix::process::{Pid, Signal as Number, kill_process};

    use super::*;

    /// Sends signals to a process of its own and reads what it made of them.
    fn check(numbers: &[Number], expected: &[&str]) {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "service::signals::tests::child", "--ignored", "--nocapture"])
            .env("PARENT", "here")
            .stdout(Stdio::piped())
            .stdin(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().map(|line| line.expect("a line"));
        assert!(lines.any(|line| line.contains("ready")));
        let pid = Pid::from_child(&child);
        let mut heard = Vec::new();
        for number in numbers {
            kill_process(pid, *number).expect("the child lives");
            heard.push(lines.next().expect("an answer"));
        }
        drop(child.stdin.take());
        child.wait().expect("ends");
        assert_eq!(heard, expected);
    }

    #[test]
    fn the_second_order_to_stop_means_at_once() {
        check(&[Number::TERM, Number::TERM, Number::TERM], &["Stop", "StopNow", "StopNow"]);
        check(&[Number::INT, Number::TERM], &["Stop", "StopNow"]);
        check(&[Number::TERM, Number::INT], &["Stop", "StopNow"]);
    }

    #[test]
    fn a_reload_is_no_order_to_stop() {
        check(&[Number::HUP, Number::HUP, Number::TERM, Number::HUP], &["Reload", "Reload", "Stop", "Reload"]);
    }

    #[test]
    #[ignore = "the process that the other tests send signals to"]
    fn child() {
        // Without the parent nobody would end it.
        if std::env::var_os("PARENT").is_none() {
            return;
        }
        let mut output = io::stdout();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
        runtime.block_on(async {
            let mut signals = Signals::take_over().expect("takes over");
            // It goes with the parent, whatever becomes of that.
            std::thread::spawn(|| {
                let mut line = String::new();
                io::stdin().read_line(&mut line).map(|_| std::process::abort())
            });
            writeln!(output, "ready").expect("writes");
            loop {
                let signal = signals.next().await;
                writeln!(output, "{signal:?}").expect("writes");
            }
        });
    }
}
