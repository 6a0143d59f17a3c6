//! A serial port with a program behind it in place of a device.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// What stands in for a device.
pub trait SimulatedDevice: Send {
    /// Takes what was sent, in pieces of any size, and answers on `line`.
    fn receive(&mut self, bytes: &[u8], line: &mut SimulatedLine);
}

/// Any function of the bytes is a device.
impl<F: FnMut(&[u8], &mut SimulatedLine) + Send> SimulatedDevice for F {
    fn receive(&mut self, bytes: &[u8], line: &mut SimulatedLine) {
        self(bytes, line);
    }
}

impl SimulatedDevice for Box<dyn SimulatedDevice> {
    fn receive(&mut self, bytes: &[u8], line: &mut SimulatedLine) {
        (**self).receive(bytes, line);
    }
}

/// The way back from a simulated device.
#[derive(Debug, Default)]
pub struct SimulatedLine {
    due: Vec<(Instant, Vec<u8>)>,
    has_hung_up: bool,
}

impl SimulatedLine {
    /// Sends these bytes.
    pub fn reply(&mut self, bytes: impl Into<Vec<u8>>) {
        self.reply_after(Duration::ZERO, bytes);
    }

    /// Sends these bytes so long from now.
    pub fn reply_after(&mut self, delay: Duration, bytes: impl Into<Vec<u8>>) {
        self.due.push((Instant::now() + delay, bytes.into()));
    }

    /// Drops what was to be sent later.
    pub fn cancel(&mut self) {
        let now = Instant::now();
        self.due.retain(|(when, _)| *when <= now);
    }

    /// Pulls the plug.
    pub fn hang_up(&mut self) {
        self.has_hung_up = true;
    }

    /// What was said since this was asked last, so that it can be disturbed.
    #[cfg(feature = "testing")]
    pub(crate) fn take_all(&mut self) -> Vec<(Instant, Vec<u8>)> {
        std::mem::take(&mut self.due)
    }

    fn next(&self) -> Option<Instant> {
        self.due.iter().map(|(when, _)| *when).min()
    }

    fn take_due(&mut self) -> Option<Vec<u8>> {
        let now = Instant::now();
        let (index, _) =
            self.due.iter().enumerate().filter(|(_, (when, _))| *when <= now).min_by_key(|(_, (when, _))| *when)?;
        Some(self.due.remove(index).1)
    }
}

/// A pseudo-terminal whose other side is a [`SimulatedDevice`], in a thread of its own. Dropping it pulls the plug.
#[derive(Debug)]
pub struct SimulatedPort {
    path: PathBuf,
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl SimulatedPort {
    /// Plugs a device in.
    pub fn start(device: impl SimulatedDevice + 'static) -> io::Result<Self> {
        let own = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&own)?;
        unlockpt(&own)?;
        let path = ptsname(&own, Vec::new())?.into_string().map_err(io::Error::other)?;
        // Kept open: otherwise the own side fails while nobody has the port open.
        let other = rustix::fs::open(path.as_str(), OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
        // A fresh one echoes, and changes the ends of lines.
        let mut termios = tcgetattr(&other)?;
        termios.make_raw();
        tcsetattr(&other, OptionalActions::Now, &termios)?;
        rustix::fs::fcntl_setfl(&own, OFlags::RDWR | OFlags::NONBLOCK)?;
        let (stopped, stop) = io::pipe()?;
        let thread = thread::Builder::new().name("simulated device".to_owned()).spawn(move || {
            serve(&mut File::from(own), &stopped, device);
            drop(other);
        })?;
        Ok(Self { path: path.into(), stop: Some(stop), thread: Some(thread) })
    }

    /// Where it can be opened.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SimulatedPort {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A device that panicked has said so already.
            drop(thread.join());
        }
    }
}

fn serve(own: &mut File, stopped: &PipeReader, mut device: impl SimulatedDevice) {
    let mut line = SimulatedLine::default();
    let mut bytes = [0; 4096];
    while !line.has_hung_up {
        while let Some(reply) = line.take_due() {
            // Nobody reads: lost, as on a wire.
            drop(own.write_all(&reply));
        }
        let left = line.next().map(|next| next.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        let mut wait = [PollFd::new(own, PollFlags::IN), PollFd::new(stopped, PollFlags::IN)];
        if poll(&mut wait, timeout.as_ref()).is_err() {
            continue;
        }
        if !wait[1].revents().is_empty() {
            return;
        }
        if !wait[0].revents().is_empty() {
            match own.read(&mut bytes) {
                Ok(count) if count > 0 => device.receive(&bytes[..count], &mut line),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => return,
            }
        }
    }
}
