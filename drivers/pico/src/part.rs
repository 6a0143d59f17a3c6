//! A board and the dialogue with it.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use qspool_driver::{Deadline, DriverError, ErrorClass, RunControl, SafeState};

use crate::{Board, Pico, RunState};

/// How soon a board that runs is asked again.
const POLL: Duration = Duration::from_millis(1);

/// For how long after a start the state may still be that of the run before: one processor of the board answers, the other
/// one runs the table.
const SETTLE: Duration = Duration::from_millis(1);

/// A board and the dialogue with it, for a driver of this board or of a device that it is a part of.
pub struct Part<B> {
    /// What is to be done.
    pub board: B,
    /// With whom.
    pub pico: Pico,
    /// When the state is that of the run that was started last.
    settled: Deadline,
}

impl<B: Board> Part<B> {
    /// The board at a port, or a simulated one if that is `sim:`. It is not touched yet.
    ///
    /// # Errors
    ///
    /// Where no port can be made for the simulated one.
    pub fn new(board: B, port: &Path) -> Result<Self, DriverError> {
        Self::with_firmware(board, port, Arc::default())
    }

    /// The same with this firmware on the simulated one, so that its outputs can be looked at.
    ///
    /// # Errors
    ///
    /// Where no port can be made for the simulated one.
    pub fn with_firmware(board: B, port: &Path, firmware: Arc<Mutex<B::Simulated>>) -> Result<Self, DriverError> {
        let pico = Pico::new(board.model(), port, firmware)?;
        Ok(Self { board, pico, settled: Deadline::after(Duration::ZERO) })
    }

    /// Makes it safe, programs what belongs to the settings, and makes it safe by these.
    pub fn set_up(&mut self, deadline: Deadline) -> Result<(), DriverError> {
        let Self { board, pico, .. } = self;
        let done = board.make_safe(pico, deadline).and_then(|_| board.set_up(pico, deadline));
        done.and_then(|()| board.make_safe(pico, deadline)).map(drop).map_err(DriverError::outside_of_run)
    }

    /// Loads a table; starts nothing.
    pub fn load(&mut self, table: &B::Table, deadline: Deadline) -> Result<(), DriverError> {
        self.board.load(&mut self.pico, table, deadline)
    }

    /// Starts the table that is loaded.
    pub fn start(&mut self, deadline: Deadline) -> Result<(), DriverError> {
        self.board.start(&mut self.pico, deadline)?;
        self.settled = Deadline::after(SETTLE);
        Ok(())
    }

    /// What it is doing. That it has lost its external clock is an error.
    pub fn state(&mut self, deadline: Deadline) -> Result<RunState, DriverError> {
        self.board.state(&mut self.pico, deadline)
    }

    /// Waits until the run has ended; `false` when it is to stop before.
    pub fn wait_for_end(&mut self, control: &RunControl) -> Result<bool, DriverError> {
        let limit = control.deadline;
        control.sleep_until(self.settled);
        loop {
            match self.state(limit)? {
                RunState::Stopped => return Ok(true),
                RunState::Aborted => return Err(self.pico.fail(ErrorClass::Retry, "aborted its run by itself")),
                _ if control.now.is_raised() => return Ok(false),
                _ if limit.is_over() => {
                    let what = format!("did not end its run within {:?}; check its trigger", limit.given());
                    return Err(self.pico.fail(ErrorClass::Device, &what));
                }
                _ => thread::sleep(POLL),
            }
        }
    }

    /// Makes it safe; identifies it before, unless that was done.
    pub fn make_safe(&mut self, deadline: Deadline) -> Result<SafeState, DriverError> {
        if !self.pico.is_known() {
            self.pico.identify(deadline)?;
        }
        self.board.make_safe(&mut self.pico, deadline).map_err(DriverError::outside_of_run)
    }
}
