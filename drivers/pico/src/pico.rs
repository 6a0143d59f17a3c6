//! The dialogue with a board.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use qspool_driver::{Deadline, DriverError, ErrorClass, Identity};
use qspool_serial::{Dialogue, LinePort, PortSettings, SimulatedPort, ports};

use crate::{Firmware, Model, RunState, SimulatedPico};

/// The name of the port behind which a simulated board answers.
const SIMULATED: &str = "sim:";

/// How long a board may take for one command; the slowest, which counts its clocks, takes a tenth.
const COMMAND: Duration = Duration::from_secs(1);

/// How often it is asked who it is when the answer makes no sense: whoever writes to ports that were just plugged in
/// does so for a while.
const ATTEMPTS: usize = 4;

/// How soon a board that does not answer is suspected to wait for the rest of a block.
const SUSPICION: Duration = Duration::from_millis(500);

/// How soon a board is asked for its state again: doubled each time.
const FIRST_POLL: Duration = Duration::from_millis(1);
const LAST_POLL: Duration = Duration::from_millis(20);

/// The line that a board sends by itself when it has lost its external clock has this in it.
const CLOCK_LOST: &str = "Resus";

/// A board at a port, or the simulated one in its place.
pub struct Pico {
    model: &'static Model,
    port: LinePort,
    simulated: Option<SimulatedPort>,
    is_known: bool,
    has_lost_clock: bool,
}

impl Pico {
    /// The board at a port, or a simulated one with this firmware if the port is `sim:`. It is not touched yet.
    ///
    /// # Errors
    ///
    /// Where no port can be made for the simulated one.
    pub fn new<F: Firmware + 'static>(
        model: &'static Model,
        port: &Path,
        firmware: Arc<Mutex<F>>,
    ) -> Result<Self, DriverError> {
        if port != Path::new(SIMULATED) {
            return Ok(Self::at(model, port));
        }
        let port = SimulatedPort::start(SimulatedPico::new(firmware));
        let failed = |error| DriverError::new(ErrorClass::Configuration, format!("no simulated port: {error}"));
        let port = port.map_err(failed)?;
        let pico = Self::at(model, port.path());
        Ok(Self { simulated: Some(port), ..pico })
    }

    fn at(model: &'static Model, port: &Path) -> Self {
        let settings = PortSettings {
            // `program` and `prg` end the firmware and turn the board into a disk. It looks at the first letters only.
            forbidden: vec!["pro".into(), "prg".into()],
            late: Duration::from_millis(300),
            ..PortSettings::new(port)
        };
        Self { model, port: LinePort::new(settings), simulated: None, is_known: false, has_lost_clock: false }
    }

    /// Shows every line that is sent or comes back to `listener`.
    pub fn listen(&mut self, listener: impl FnMut(Dialogue<'_>) + Send + 'static) {
        self.port.listen(listener);
    }

    /// Whether it was identified and has not hung up since.
    pub fn is_known(&self) -> bool {
        self.is_known && self.port.is_open()
    }

    /// Whether something went wrong in a block since it was identified: it has to be identified again.
    pub fn is_doubtful(&self) -> bool {
        !self.is_known && self.port.is_open()
    }

    /// Closes the port.
    pub fn close(&mut self) {
        self.is_known = false;
        self.port.close();
    }

    /// An error about this board.
    pub fn fail(&self, class: ErrorClass, what: &str) -> DriverError {
        let path = self.port.settings().path.display();
        DriverError::new(class, format!("{} at {path}: {what}", self.model.name))
    }

    /// Opens the port and finds out who is there; gets a board out of a block or a list that was cut off.
    ///
    /// # Errors
    ///
    /// Another firmware, or a version that the driver was not made for, is of the class `Configuration`.
    pub fn identify(&mut self, deadline: Deadline) -> Result<Identity, DriverError> {
        self.is_known = false;
        let answer = self.port.open(deadline).and_then(|()| self.who(deadline));
        let identity = answer.and_then(|answer| self.check(&answer));
        match &identity {
            Ok(_) => (self.is_known, self.has_lost_clock) = (true, false),
            // Not ours, or not there: another one may want the port, or get its name.
            Err(_) => self.port.close(),
        }
        identity
    }

    fn who(&mut self, deadline: Deadline) -> Result<String, DriverError> {
        let mut last: Option<DriverError> = None;
        for _ in 0..ATTEMPTS {
            self.port.drain(deadline)?;
            let error = match self.port.ask("version", deadline.at_most(SUSPICION)) {
                Ok(answer) if self.model.version(&answer).is_some() => return Ok(answer),
                // An error from before, or a stranger, who says the same each time.
                Ok(answer) => {
                    let what = format!("another device answers; expected \"{}<version>\"", self.model.prefix);
                    self.port.lose_place();
                    self.fail(ErrorClass::Configuration, &what).sent("version").answered(answer)
                }
                Err(error) if !self.port.is_open() => return Err(error),
                Err(error) => {
                    // It may wait for the rest of a block, of which zeros are valid everywhere.
                    self.port.finish_block("version", self.model.largest_block + 64, deadline)?;
                    error
                }
            };
            if error.class() == ErrorClass::Configuration && last.as_ref() == Some(&error) {
                return Err(error);
            }
            last = Some(error);
            if deadline.is_over() {
                break;
            }
        }
        let unknown = || self.fail(ErrorClass::Device, "does not say who it is");
        Err(last.map_or_else(unknown, |error| error.as_class(ErrorClass::Device)))
    }

    fn check(&self, answer: &str) -> Result<Identity, DriverError> {
        let Some((firmware, version)) = self.model.version(answer) else {
            return Err(self.fail(ErrorClass::Device, "does not say its version").answered(answer));
        };
        if !self.model.knows(version) {
            let (oldest, unknown) = (self.model.oldest, self.model.first_unknown);
            let what = format!(
                "its firmware is {firmware}; this driver was made for {oldest} and later, before {unknown}; flash another one"
            );
            return Err(self.fail(ErrorClass::Configuration, &what));
        }
        Ok(Identity {
            vendor: "Raspberry Pi Pico".into(),
            model: self.model.name.into(),
            serial: self.serial().unwrap_or_default(),
            firmware: firmware.into(),
            is_simulated: self.simulated.is_some(),
        })
    }

    /// That of the flash chip, which USB tells.
    fn serial(&self) -> Option<String> {
        let path = self.port.settings().path.canonicalize().ok()?;
        let port = ports().into_iter().find(|port| port.path == path)?;
        port.usb.map(|usb| usb.serial)
    }

    /// Sends a command that has to be answered with `ok` and nothing else.
    pub fn order(&mut self, command: &str, deadline: Deadline) -> Result<(), DriverError> {
        match self.ask(command, deadline)? {
            reply if reply == "ok" => Ok(()),
            reply => Err(self.refused(command, &reply, deadline)),
        }
    }

    /// Sends a command and returns the first line of its reply.
    pub fn ask(&mut self, command: &str, deadline: Deadline) -> Result<String, DriverError> {
        if !self.is_known() {
            return Err(self.fail(ErrorClass::Device, "was not identified since it was away").sent(command));
        }
        let deadline = deadline.at_most(COMMAND);
        self.port.tell(command, deadline)?;
        self.hear_dropped();
        self.reply(command, deadline)
    }

    /// Sends a command whose reply is read by `read`; another reply is garbled, and what else comes is dropped.
    pub fn ask_for<T>(
        &mut self,
        command: &str,
        read: impl FnOnce(&str) -> Option<T>,
        deadline: Deadline,
    ) -> Result<T, DriverError> {
        let reply = self.ask(command, deadline)?;
        match read(&reply) {
            Some(value) => Ok(value),
            None => Err(self.refused(command, &reply, deadline)),
        }
    }

    /// Loads a block of bytes: `command` is answered with `ready`, and the bytes with `ok`.
    pub fn load(&mut self, command: &str, ready: &str, bytes: &[u8], deadline: Deadline) -> Result<(), DriverError> {
        let loaded = self.load_once(command, ready, bytes, deadline);
        // It may wait for the rest: identifying gets it out of there.
        self.is_known &= loaded.is_ok();
        loaded
    }

    fn load_once(&mut self, command: &str, ready: &str, bytes: &[u8], deadline: Deadline) -> Result<(), DriverError> {
        self.ask_for(command, |reply| (reply == ready).then_some(()), deadline)?;
        self.port.send_bytes(bytes, deadline).map_err(|error| error.sent(command))?;
        match self.reply(command, deadline.at_most(COMMAND * 5))? {
            reply if reply == "ok" => Ok(()),
            reply => Err(self.refused(command, &reply, deadline)),
        }
    }

    /// The next line of a reply. Lines that a board sends by itself are heard, and are no reply.
    fn reply(&mut self, command: &str, deadline: Deadline) -> Result<String, DriverError> {
        loop {
            let line = self.port.read_line(deadline).map_err(|error| error.sent(command))?;
            if !line.contains(CLOCK_LOST) {
                return Ok(line);
            }
            self.has_lost_clock = true;
        }
    }

    fn refused(&mut self, command: &str, reply: &str, deadline: Deadline) -> DriverError {
        // Errors have several lines, and the last may have no end.
        let rest = self.port.read_until_quiet(deadline.at_most(COMMAND)).unwrap_or_default();
        self.port.lose_place();
        let whole = [&[reply.to_owned()], &rest[..]].concat().join(" ");
        self.fail(ErrorClass::Retry, "refused a command").sent(command).answered(whole)
    }

    /// Drops what comes until the board is quiet: after a command whose reply may have several lines.
    pub fn resynchronise(&mut self, deadline: Deadline) -> Result<(), DriverError> {
        self.port.drain(deadline)?;
        self.hear_dropped();
        Ok(())
    }

    fn hear_dropped(&mut self) {
        self.has_lost_clock |= self.port.take_dropped().contains(CLOCK_LOST);
    }

    /// Whether it has said that its external clock is lost, since it was identified.
    ///
    /// # Errors
    ///
    /// Of the class `Device`, if it has: it goes on with its own clock, and its times are others.
    pub fn check_clock(&mut self) -> Result<(), DriverError> {
        self.hear_dropped();
        if self.has_lost_clock {
            return Err(self.fail(ErrorClass::Device, "lost its external clock; check the reference"));
        }
        Ok(())
    }

    /// Asks for the state with `state` until it is one that `is_reached` takes.
    ///
    /// # Errors
    ///
    /// When that is not so at the deadline.
    pub fn wait_for(
        &mut self,
        mut state: impl FnMut(&mut Self, Deadline) -> Result<RunState, DriverError>,
        is_reached: impl Fn(RunState) -> bool,
        deadline: Deadline,
    ) -> Result<RunState, DriverError> {
        let mut pause = FIRST_POLL;
        loop {
            let now = state(self, deadline)?;
            if is_reached(now) {
                return Ok(now);
            }
            if deadline.is_over() {
                let what = format!("is still {now:?} after {:?}", deadline.given());
                return Err(self.fail(ErrorClass::Device, &what));
            }
            thread::sleep(pause.min(deadline.remaining()));
            pause = (pause * 2).min(LAST_POLL);
        }
    }
}
