//! A simulated device under a link, which can be pulled out, fall silent, and be disturbed.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use qspool_driver::testing::TestDevice;

use crate::{SimulatedDevice, SimulatedLine, SimulatedPort};

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing comes back.
    Silence,
    /// After so many bytes that were sent in all, nothing passes in either direction.
    DeadAfter(usize),
    /// The plug is pulled after so many bytes that were sent in all.
    HangUpAfter(usize),
    /// Replies come in pieces of so many bytes, with a pause between them.
    Pieces(usize, Duration),
    /// Each reply has this before it.
    Before(Vec<u8>),
    /// The next reply is this one in place of its own.
    Instead(Vec<u8>),
}

#[derive(Default)]
struct Line {
    fault: Option<Fault>,
    sent: Vec<u8>,
}

/// A device under a link that stays the same whenever it is plugged in again.
pub struct Plug {
    make: Box<dyn Fn() -> Box<dyn SimulatedDevice>>,
    link: PathBuf,
    _folder: tempfile::TempDir,
    port: Option<SimulatedPort>,
    line: Arc<Mutex<Line>>,
}

impl Plug {
    /// Plugged in; `make` makes the device anew each time, which has forgotten everything.
    ///
    /// # Errors
    ///
    /// Where there is no folder for the link, or no pseudo-terminal.
    pub fn new(make: impl Fn() -> Box<dyn SimulatedDevice> + 'static) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let link = folder.path().join("usb-Simulated-if00");
        let mut plug = Self { make: Box::new(make), link, _folder: folder, port: None, line: Arc::default() };
        plug.connect()?;
        Ok(plug)
    }

    /// The name that stays the same.
    pub fn link(&self) -> &Path {
        &self.link
    }

    /// What is wrong with the line from now on.
    pub fn fault(&self, fault: impl Into<Option<Fault>>) {
        self.line().fault = fault.into();
    }

    /// Everything that was sent to the device since it was [forgotten](Self::forget_sent), as text.
    pub fn sent(&self) -> String {
        String::from_utf8_lossy(&self.line().sent).into_owned()
    }

    /// Forgets what was sent; the bytes of a [`Fault`] are counted from here.
    pub fn forget_sent(&self) {
        self.line().sent.clear();
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Plugs a device in.
    ///
    /// # Errors
    ///
    /// Where there is no pseudo-terminal, or no place for the link.
    pub fn connect(&mut self) -> io::Result<()> {
        // The new one before the old one goes: otherwise it gets the same number.
        let port = SimulatedPort::start(Disturbed { device: (self.make)(), line: Arc::clone(&self.line) })?;
        let new = self.link.with_extension("new");
        symlink(port.path(), &new)?;
        fs::rename(new, &self.link)?;
        self.port = Some(port);
        Ok(())
    }
}

impl TestDevice for Plug {
    fn unplug(&mut self) -> bool {
        self.port = None;
        drop(fs::remove_file(&self.link));
        true
    }

    fn replug(&mut self) {
        self.connect().unwrap_or_else(|error| panic!("no pseudo-terminal: {error}"));
    }

    fn silence(&mut self) -> bool {
        self.fault(Fault::Silence);
        true
    }

    fn end_silence(&mut self) {
        self.fault(None);
    }
}

struct Disturbed {
    device: Box<dyn SimulatedDevice>,
    line: Arc<Mutex<Line>>,
}

impl SimulatedDevice for Disturbed {
    fn receive(&mut self, bytes: &[u8], line: &mut SimulatedLine) {
        let mut state = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.sent.len();
        state.sent.extend_from_slice(bytes);
        let passing = match state.fault {
            Some(Fault::DeadAfter(count) | Fault::HangUpAfter(count)) => {
                &bytes[..bytes.len().min(count.saturating_sub(before))]
            }
            _ => bytes,
        };
        let is_cut = passing.len() < bytes.len();
        self.device.receive(passing, line);
        match state.fault.clone() {
            Some(Fault::Silence) => drop(line.take_all()),
            Some(Fault::DeadAfter(_)) if is_cut => drop(line.take_all()),
            Some(Fault::HangUpAfter(_)) if is_cut => line.hang_up(),
            Some(Fault::Pieces(size, pause)) => {
                for (when, reply) in line.take_all() {
                    let mut delay = when.saturating_duration_since(Instant::now());
                    for piece in reply.chunks(size.max(1)) {
                        line.reply_after(delay, piece);
                        delay += pause;
                    }
                }
            }
            Some(Fault::Before(noise)) => {
                for (when, reply) in line.take_all() {
                    let delay = when.saturating_duration_since(Instant::now());
                    line.reply_after(delay, [noise.clone(), reply].concat());
                }
            }
            // Its own reply is gone by then.
            Some(Fault::Instead(reply)) if !line.take_all().is_empty() => {
                line.reply(reply);
                state.fault = None;
            }
            _ => {}
        }
    }
}
