//! Requests and replies, line by line.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::thread;
use std::time::Duration;

use qspool_driver::{Deadline, DriverError, ErrorClass};
use serialport::{ClearBuffer, SerialPort as _, TTYPort};

use crate::{PortSettings, open};

/// A piece of what passes through a port, for whoever wants to see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialogue<'a> {
    /// A line was sent.
    Sent(&'a str),
    /// So many bytes of a block were sent.
    SentBytes(usize),
    /// A line came back.
    Received(&'a str),
    /// This came, and nobody had asked for it.
    Dropped(&'a [u8]),
}

/// How long a port that is to be closed waits for what was not sent yet.
const LINGER: Duration = Duration::from_secs(1);

type Listener = Box<dyn FnMut(Dialogue<'_>) + Send>;

/// Whether the next thing that comes is the reply to the next thing that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It is.
    Known,
    /// Something may be left over: it is drained before the next request.
    Lost,
    /// A reply is still owed: it is waited for until then, and all is drained.
    Owed(Deadline),
}

/// A serial port on which a device is asked and answers, in lines of text.
///
/// It is closed until [`open`](Self::open), and closed again as soon as the device hangs up; the name of the port is
/// then free for the device when it comes back. After a reply that nobody expected, or none, the port drops all that
/// comes until it is quiet before it sends the next request.
///
/// Errors name the port, what was sent and what came back. Silence and hang-ups are of the class `Device`, garbled
/// replies of the class `Retry`, lines that may not be sent of the class `Configuration`.
pub struct LinePort {
    settings: PortSettings,
    port: Option<TTYPort>,
    received: Vec<u8>,
    dropped: Vec<u8>,
    place: Place,
    listener: Option<Listener>,
}

impl fmt::Debug for LinePort {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("LinePort");
        shown.field("settings", &self.settings).field("is_open", &self.is_open()).finish_non_exhaustive()
    }
}

impl LinePort {
    /// A port that is still closed.
    pub fn new(settings: PortSettings) -> Self {
        Self { settings, port: None, received: Vec::new(), dropped: Vec::new(), place: Place::Lost, listener: None }
    }

    /// How it is opened and used.
    pub fn settings(&self) -> &PortSettings {
        &self.settings
    }

    /// Shows every line that is sent or comes back to `listener`.
    pub fn listen(&mut self, listener: impl FnMut(Dialogue<'_>) + Send + 'static) {
        self.listener = Some(Box::new(listener));
    }

    /// Whether it is open. A device that was pulled out is noticed by the next request.
    pub fn is_open(&self) -> bool {
        self.port.is_some()
    }

    /// Opens the port, unless it is open, and waits until the device has settled.
    pub fn open(&mut self, deadline: Deadline) -> Result<(), DriverError> {
        if self.is_open() {
            return Ok(());
        }
        self.port = Some(open::open(&self.settings)?);
        self.received.clear();
        self.place = Place::Lost;
        thread::sleep(self.settings.settle.min(deadline.remaining()));
        Ok(())
    }

    /// Closes the port. What the device does not take within a second is dropped.
    pub fn close(&mut self) {
        if let Some(port) = self.port.take() {
            let linger = Deadline::after(LINGER);
            let is_left = || port.bytes_to_write().is_ok_and(|left| left > 0);
            while is_left() && !linger.is_over() {
                thread::sleep(Duration::from_millis(5));
            }
            // The close itself would wait for half a minute. A device that has hung up refuses both questions.
            if is_left() {
                drop(port.clear(ClearBuffer::Output));
            }
        }
        self.received.clear();
        self.place = Place::Lost;
    }

    /// Sends a line that has no reply.
    pub fn tell(&mut self, line: &str, deadline: Deadline) -> Result<(), DriverError> {
        self.check(line)?;
        self.find_place(deadline).map_err(|error| error.sent(line))?;
        thread::sleep(self.settings.pause.min(deadline.remaining()));
        if let Some(listener) = &mut self.listener {
            listener(Dialogue::Sent(line));
        }
        let ended = [line, self.settings.line_end.as_str()].concat();
        self.write(ended.as_bytes(), deadline).map_err(|error| error.sent(line))?;
        if !self.settings.echo {
            return Ok(());
        }
        let echo = self.read_line(deadline).map_err(|error| error.sent(line))?;
        self.expect(line, &echo, line)
    }

    /// Sends a line and returns the reply, without its end.
    pub fn ask(&mut self, line: &str, deadline: Deadline) -> Result<String, DriverError> {
        self.tell(line, deadline)?;
        self.read_line(deadline).map_err(|error| error.sent(line))
    }

    /// Sends a line that has to be answered with exactly `expected`.
    pub fn ask_for(&mut self, line: &str, expected: &str, deadline: Deadline) -> Result<(), DriverError> {
        let reply = self.ask(line, deadline)?;
        self.expect(line, &reply, expected)
    }

    /// Sends a line and returns the first reply that `is_reply` takes; the lines before it are dropped.
    ///
    /// That is how to find the place in the dialogue again: with a request whose reply looks like no other.
    pub fn ask_until(
        &mut self,
        line: &str,
        mut is_reply: impl FnMut(&str) -> bool,
        deadline: Deadline,
    ) -> Result<String, DriverError> {
        let mut reply = self.ask(line, deadline)?;
        while !is_reply(&reply) {
            let last = reply;
            reply = self.read_line(deadline).map_err(|error| error.sent(line).answered(last))?;
        }
        Ok(reply)
    }

    /// The next line of a reply that has several.
    pub fn read_line(&mut self, deadline: Deadline) -> Result<String, DriverError> {
        match self.next_line(deadline)? {
            Some(line) => Ok(line),
            None => Err(self.too_late(deadline)),
        }
    }

    /// The next line, or none when there is none yet: for a device that says by itself when it is done.
    pub fn read_line_within(&mut self, time: Duration) -> Result<Option<String>, DriverError> {
        self.next_line(Deadline::after(time))
    }

    fn next_line(&mut self, deadline: Deadline) -> Result<Option<String>, DriverError> {
        let end = self.settings.line_end.of_replies();
        let mut searched = 0;
        loop {
            if let Some(length) = self.received[searched..].iter().position(|&byte| byte == end) {
                let line: Vec<u8> = self.received.drain(..=searched + length).collect();
                let line = String::from_utf8_lossy(&line).trim_matches(['\r', '\n', '\0']).to_owned();
                searched = 0;
                // Devices that end their lines in LFCR or begin them with CRLF leave an empty one in between.
                if !line.is_empty() {
                    if let Some(listener) = &mut self.listener {
                        listener(Dialogue::Received(&line));
                    }
                    return Ok(Some(line));
                }
                continue;
            }
            searched = self.received.len();
            if searched > self.settings.longest_reply {
                self.place = Place::Lost;
                let what = format!("sent {searched} bytes without the end of a line; check baud rate and line end");
                return Err(DriverError::new(ErrorClass::Retry, self.about(&what)).answered(&self.received));
            }
            if !self.read_more(deadline.remaining())? {
                return Ok(None);
            }
        }
    }

    /// Every line that comes until the port is quiet, as for the rest of an error. One that has no end counts, too.
    pub fn read_until_quiet(&mut self, deadline: Deadline) -> Result<Vec<String>, DriverError> {
        while self.read_more(self.settings.quiet.min(deadline.remaining()))? && !deadline.is_over() {}
        let is_quiet = !deadline.is_over();
        let text = String::from_utf8_lossy(&self.received).into_owned();
        self.received.clear();
        self.place = if is_quiet { Place::Known } else { Place::Lost };
        let lines: Vec<String> =
            text.split(['\r', '\n']).filter(|line| !line.is_empty()).map(ToOwned::to_owned).collect();
        if let Some(listener) = &mut self.listener {
            lines.iter().for_each(|line| listener(Dialogue::Received(line)));
        }
        Ok(lines)
    }

    /// Drops all that comes until the port is quiet, and returns how many bytes it was.
    ///
    /// # Errors
    ///
    /// Of the class `Device` when the device does not stop before the deadline.
    pub fn drain(&mut self, deadline: Deadline) -> Result<usize, DriverError> {
        let mut dropped = self.drop_received();
        loop {
            let quiet = Deadline::after(self.settings.quiet);
            let is_more = self.read_more(quiet.remaining().min(deadline.remaining()))?;
            dropped += self.drop_received();
            if !is_more && quiet.is_over() {
                self.place = Place::Known;
                return Ok(dropped);
            }
            if deadline.is_over() {
                let what = format!("was not quiet within {:?}; it sent {dropped} bytes", deadline.given());
                return Err(DriverError::new(ErrorClass::Device, self.about(&what)));
            }
        }
    }

    /// What was dropped since this was asked last, of much only the end: devices say by themselves that they restarted.
    pub fn take_dropped(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.dropped)).into_owned()
    }

    /// Says that the last reply was not the one that belongs to the request: what comes next is drained.
    pub fn lose_place(&mut self) {
        if self.place == Place::Known {
            self.place = Place::Lost;
        }
    }

    /// Sends bytes as they are, as part of an exchange that a line began.
    pub fn send_bytes(&mut self, bytes: &[u8], deadline: Deadline) -> Result<(), DriverError> {
        if let Some(listener) = &mut self.listener {
            listener(Dialogue::SentBytes(bytes.len()));
        }
        self.write(bytes, deadline)
    }

    /// Sets the line DTR; `false` when the port has no such line. Many boards restart when it rises.
    pub fn set_dtr(&mut self, high: bool) -> Result<bool, DriverError> {
        let port = self.port.as_mut().ok_or_else(|| not_open(&self.settings))?;
        let done = port.write_data_terminal_ready(high);
        self.has_line(done)
    }

    /// Sets the line RTS; `false` when the port has no such line.
    pub fn set_rts(&mut self, high: bool) -> Result<bool, DriverError> {
        let port = self.port.as_mut().ok_or_else(|| not_open(&self.settings))?;
        let done = port.write_request_to_send(high);
        self.has_line(done)
    }

    fn has_line(&mut self, done: serialport::Result<()>) -> Result<bool, DriverError> {
        match done {
            Ok(()) => Ok(true),
            Err(error) if open::is_no_terminal(&error) => Ok(false),
            Err(error) => Err(self.gone(&error)),
        }
    }

    /// Compares a reply, and knows that the place is lost when it is another one.
    pub(crate) fn expect(&mut self, line: &str, reply: &str, expected: &str) -> Result<(), DriverError> {
        if reply == expected {
            return Ok(());
        }
        self.lose_place();
        let what = self.about(&format!("gave an unexpected answer; expected {expected:?}"));
        Err(DriverError::new(ErrorClass::Retry, what).sent(line).answered(reply))
    }

    /// Whether anything comes within so long.
    pub(crate) fn hears_something(&mut self, within: Duration, deadline: Deadline) -> Result<bool, DriverError> {
        Ok(!self.received.is_empty() || self.read_more(within.min(deadline.remaining()))?)
    }

    /// A message about this port.
    pub(crate) fn about(&self, what: &str) -> String {
        format!("port {}: the device {what}", self.settings.path.display())
    }

    fn check(&self, line: &str) -> Result<(), DriverError> {
        let Some(why) = self.settings.refusal(line) else { return Ok(()) };
        let what = format!("port {}: a line may not be sent: {why}", self.settings.path.display());
        Err(DriverError::new(ErrorClass::Configuration, what).sent(line))
    }

    /// Makes sure that the next thing that comes is the reply to the next request.
    fn find_place(&mut self, deadline: Deadline) -> Result<(), DriverError> {
        match self.place {
            Place::Owed(late) => {
                self.hears_something(late.remaining(), deadline)?;
                self.drain(deadline)?;
            }
            Place::Lost => {
                self.drain(deadline)?;
            }
            // Without waiting; this also notices a device that was pulled out in the meantime.
            Place::Known => {
                if self.read_more(Duration::ZERO)? || !self.received.is_empty() {
                    self.drain(deadline)?;
                }
            }
        }
        Ok(())
    }

    fn drop_received(&mut self) -> usize {
        let count = self.received.len();
        if count > 0
            && let Some(listener) = &mut self.listener
        {
            listener(Dialogue::Dropped(&self.received));
        }
        self.dropped.append(&mut self.received);
        let too_many = self.dropped.len().saturating_sub(self.settings.longest_reply);
        self.dropped.drain(..too_many);
        count
    }

    /// Whether something more came within so long.
    fn read_more(&mut self, within: Duration) -> Result<bool, DriverError> {
        let mut bytes = [0; 1024];
        let deadline = Deadline::after(within);
        loop {
            let port = self.port.as_mut().ok_or_else(|| not_open(&self.settings))?;
            let read =
                port.set_timeout(deadline.remaining()).map_err(io::Error::from).and_then(|()| port.read(&mut bytes));
            match read {
                Ok(0) => return Err(self.gone(&"nothing more to read")),
                Ok(count) => {
                    self.received.extend_from_slice(&bytes[..count]);
                    return Ok(true);
                }
                Err(error) if is_not_yet(&error) => {
                    if deadline.is_over() {
                        return Ok(false);
                    }
                }
                Err(error) => return Err(self.gone(&error)),
            }
        }
    }

    fn write(&mut self, bytes: &[u8], deadline: Deadline) -> Result<(), DriverError> {
        let mut left = bytes;
        while !left.is_empty() {
            let port = self.port.as_mut().ok_or_else(|| not_open(&self.settings))?;
            let written =
                port.set_timeout(deadline.remaining()).map_err(io::Error::from).and_then(|()| port.write(left));
            match written {
                Ok(count) => left = &left[count..],
                Err(error) if is_not_yet(&error) => {
                    if deadline.is_over() {
                        self.place = Place::Owed(Deadline::after(self.settings.late));
                        let sent = bytes.len() - left.len();
                        let what = format!("took {sent} of {} bytes within {:?}", bytes.len(), deadline.given());
                        return Err(DriverError::new(ErrorClass::Device, self.about(&what)));
                    }
                }
                Err(error) => return Err(self.gone(&error)),
            }
        }
        Ok(())
    }

    fn too_late(&mut self, deadline: Deadline) -> DriverError {
        self.place = Place::Owed(Deadline::after(self.settings.late));
        let given = deadline.given();
        if self.received.is_empty() {
            return DriverError::new(ErrorClass::Device, self.about(&format!("did not answer within {given:?}")));
        }
        let what = self.about(&format!("did not end its answer within {given:?}"));
        DriverError::new(ErrorClass::Retry, what).answered(&self.received)
    }

    /// The device has hung up: a descriptor that stays open would give it another name when it comes back.
    fn gone(&mut self, error: &dyn fmt::Display) -> DriverError {
        self.close();
        let what = self.about(&format!("hung up ({error}); check its cable and its power"));
        DriverError::new(ErrorClass::Device, what)
    }
}

fn not_open(settings: &PortSettings) -> DriverError {
    let what = format!("port {}: is not open; the device has to be identified first", settings.path.display());
    DriverError::new(ErrorClass::Device, what)
}

fn is_not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
