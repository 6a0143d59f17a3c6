//! What `PrawnBlaster` and `PrawnDO` share: how they tell what they do, and how they are aborted.

use std::ops::RangeInclusive;
use std::time::Duration;

use qspool_driver::{Deadline, DriverError, ErrorClass};

use crate::{Pico, RunState};

/// How long a board may take to abort.
const ABORT: Duration = Duration::from_secs(1);

/// The frequency of the board's clock in Hz, where nothing else is set.
pub const PRAWN_HZ: u32 = 100_000_000;

/// The frequencies that it may be set to, in Hz.
const HZ: RangeInclusive<u32> = 1_000_000..=133_000_000;

/// The commands by which one of the two is asked and aborted.
#[derive(Debug)]
pub struct Prawn {
    /// Asks for `run-status:<0-6> clock-status:<0|1>`.
    pub status: &'static str,
    /// Aborts.
    pub abort: &'static str,
}

/// Reads a status: what the board does, and whether an external clock drives it.
fn read(reply: &str) -> Option<(RunState, bool)> {
    let (run, clock) = reply.strip_prefix("run-status:")?.split_once(" clock-status:")?;
    let state = match run {
        "0" => RunState::Stopped,
        "1" => RunState::Starting,
        "2" => RunState::Running,
        "3" | "4" => RunState::Aborting,
        "5" => RunState::Aborted,
        "6" => RunState::Stopping,
        _ => return None,
    };
    match clock {
        "0" => Some((state, false)),
        "1" => Some((state, true)),
        _ => None,
    }
}

impl Prawn {
    /// Whether the clock may be set to so many Hz.
    ///
    /// # Errors
    ///
    /// What is allowed.
    pub fn check_hz(hz: u32) -> Result<(), String> {
        if HZ.contains(&hz) {
            return Ok(());
        }
        Err(format!("clock of {hz} Hz not allowed; allowed: {} to {}", HZ.start(), HZ.end()))
    }

    /// What the board does, wherever its clock comes from.
    fn run_state(&self, pico: &mut Pico, deadline: Deadline) -> Result<RunState, DriverError> {
        pico.ask_for(self.status, read, deadline).map(|(state, _)| state)
    }

    /// What the board does.
    ///
    /// # Errors
    ///
    /// Of the class `Device` if its clock is not the one that it was set to: its times would be wrong.
    pub fn state(&self, pico: &mut Pico, is_external: bool, deadline: Deadline) -> Result<RunState, DriverError> {
        let (state, is_now_external) = pico.ask_for(self.status, read, deadline)?;
        pico.check_clock()?;
        if is_now_external != is_external {
            let what = "runs on another clock than it was set to; check the reference";
            return Err(pico.fail(ErrorClass::Device, what));
        }
        Ok(state)
    }

    /// Aborts whatever runs, and waits until nothing does.
    pub fn abort(&self, pico: &mut Pico, deadline: Deadline) -> Result<RunState, DriverError> {
        if matches!(self.run_state(pico, deadline)?, RunState::Starting | RunState::Running) {
            let reply = pico.ask(self.abort, deadline)?;
            // It may have ended in between.
            if reply != "ok" && !reply.starts_with("Can only abort") {
                return Err(pico.fail(ErrorClass::Device, "does not abort").sent(self.abort).answered(reply));
            }
        }
        let state = |pico: &mut Pico, deadline| self.run_state(pico, deadline);
        pico.wait_for(state, RunState::is_idle, deadline.at_most(ABORT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_whole_or_not_at_all() {
        assert_eq!(read("run-status:5 clock-status:1"), Some((RunState::Aborted, true)));
        for reply in ["", "ok", "run-status:7 clock-status:0", "run-status:2 clock", "run-status:2 clock-status:01"] {
            assert_eq!(read(reply), None, "{reply:?}");
        }
    }
}
