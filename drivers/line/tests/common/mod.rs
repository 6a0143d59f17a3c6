//! A simulated device under a link, which can be pulled out, fall silent, and be made to misbehave.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use qspool_driver::testing::TestDevice;
use qspool_driver::{Deadline, Driver, DriverError, Instruction, Program, RunControl, RunEnd, ShotSink, WireOrder};
use qspool_line::{LineDriver, LineFile, LineSimulation};
use qspool_serial::{SimulatedDevice, SimulatedLine, SimulatedPort};

/// An example, with some of its text replaced.
pub(crate) fn example(name: &str, changes: &[(&str, &str)]) -> LineFile {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    let mut text = fs::read_to_string(&path).expect("an example");
    // The simulated one does not restart, and answers at once.
    text = text.replace("settle_s = 2.0\n", "").replace("[port]\n", "[port]\nlate_s = 0.2\nquiet_s = 0.02\n");
    for (from, to) in changes {
        assert!(text.contains(from), "{name} has no {from:?}");
        text = text.replacen(from, to, 1);
    }
    LineFile::parse(&path, &text).expect("a good example")
}

/// What happens to a line before the simulation sees it; `true` when it does not see it.
pub(crate) type Hook = Arc<Mutex<dyn FnMut(&str, &mut SimulatedLine) -> bool + Send>>;

struct Device {
    simulation: LineSimulation,
    kept: Vec<u8>,
    is_silent: Arc<AtomicBool>,
    sent: Arc<Mutex<Vec<String>>>,
    hook: Option<Hook>,
}

impl SimulatedDevice for Device {
    fn receive(&mut self, bytes: &[u8], line: &mut SimulatedLine) {
        self.kept.extend_from_slice(bytes);
        while let Some(end) = self.kept.iter().position(|&byte| byte == b'\n') {
            let request: Vec<u8> = self.kept.drain(..=end).collect();
            let text = String::from_utf8_lossy(&request).trim().to_owned();
            self.sent.lock().expect("lock").push(text.clone());
            let is_taken = self.hook.as_ref().is_some_and(|hook| (hook.lock().expect("lock"))(&text, line));
            if !is_taken && !self.is_silent.load(Ordering::Relaxed) {
                self.simulation.receive(&request, line);
            }
        }
    }
}

/// A device under a link.
pub(crate) struct Plug {
    file: LineFile,
    link: PathBuf,
    _folder: tempfile::TempDir,
    port: Option<SimulatedPort>,
    is_silent: Arc<AtomicBool>,
    sent: Arc<Mutex<Vec<String>>>,
    hook: Option<Hook>,
}

impl Plug {
    /// Plugged in.
    pub(crate) fn new(file: LineFile, hook: Option<Hook>) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let link = folder.path().join("usb-Example-if00");
        let (is_silent, sent) = (Arc::default(), Arc::default());
        let mut plug = Self { file, link, _folder: folder, port: None, is_silent, sent, hook };
        plug.replug();
        plug
    }

    /// The same with a hook that is not shared.
    pub(crate) fn with(file: LineFile, hook: impl FnMut(&str, &mut SimulatedLine) -> bool + Send + 'static) -> Self {
        Self::new(file, Some(Arc::new(Mutex::new(hook))))
    }

    /// A driver for it.
    pub(crate) fn driver(&self) -> LineDriver {
        LineDriver::new(self.file.clone(), &self.link.to_string_lossy()).expect("a driver")
    }

    /// The name that stays the same.
    pub(crate) fn link(&self) -> &Path {
        &self.link
    }

    /// Every line that was sent to it.
    pub(crate) fn sent(&self) -> Vec<String> {
        self.sent.lock().expect("lock").clone()
    }
}

impl TestDevice for Plug {
    fn unplug(&mut self) -> bool {
        self.port = None;
        drop(fs::remove_file(&self.link));
        true
    }

    fn replug(&mut self) {
        let device = Device {
            simulation: self.file.simulation().expect("a simulation"),
            kept: Vec::new(),
            is_silent: Arc::clone(&self.is_silent),
            sent: Arc::clone(&self.sent),
            hook: self.hook.clone(),
        };
        // The new one before the old one goes: otherwise it gets the same number.
        let port = SimulatedPort::start(device).expect("a pseudo-terminal");
        drop(fs::remove_file(&self.link));
        symlink(port.path(), &self.link).expect("link");
        self.port = Some(port);
    }

    fn silence(&mut self) -> bool {
        self.is_silent.store(true, Ordering::Relaxed);
        true
    }

    fn end_silence(&mut self) {
        self.is_silent.store(false, Ordering::Relaxed);
    }

    fn is_safe(&mut self) -> Option<bool> {
        // Safe is what was last said to the device.
        let sent = self.sent.lock().expect("lock");
        Some(["SHUT?", "outputs"].contains(&sent.last()?.as_str()))
    }
}

/// A program for one shot.
pub(crate) fn program(instructions: &[(&str, &[u32], &[f64])]) -> Program {
    let instructions = instructions.iter().map(|&(name, wires, params)| Instruction {
        name: name.to_owned(),
        wires: wires.to_vec(),
        params: params.to_vec(),
    });
    let instructions = instructions.collect();
    Program { instructions, num_wires: 4, shots: 1, wire_order: WireOrder::default(), seed: None }
}

/// Ten seconds from now.
pub(crate) fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(10))
}

/// Keeps the shots.
#[derive(Debug, Default)]
pub(crate) struct Rows(pub(crate) Vec<Vec<i64>>);

impl ShotSink for Rows {
    fn shot(&mut self, values: &[i64]) {
        self.0.push(values.to_vec());
    }
}

/// Everything that is done with a device, for two shots.
pub(crate) fn cycle(driver: &mut dyn Driver, program: &Program) -> Result<Vec<Vec<i64>>, DriverError> {
    driver.identify(soon())?;
    driver.configure(soon())?;
    driver.prepare(&Program { shots: 2, ..program.clone() }, soon())?;
    let mut rows = Rows::default();
    let end = driver.run(&RunControl::until(soon()), &mut rows)?;
    assert_eq!((end, rows.0.len()), (RunEnd::Complete, 2));
    driver.health(soon())?;
    driver.safe_state(soon())?;
    Ok(rows.0)
}
