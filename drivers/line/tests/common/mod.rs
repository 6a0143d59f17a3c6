//! A simulated device under a link, which can be pulled out, fall silent, and be made to misbehave.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use qspool_driver::testing::TestDevice;
use qspool_driver::{Deadline, Driver, DriverError, Program, RunControl, RunEnd, ShotSink};
use qspool_line::{LineDriver, LineFile, LineSimulation};
use qspool_serial::{Lines, SimulatedDevice, SimulatedLine};

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
    lines: Lines,
    hook: Option<Hook>,
}

impl SimulatedDevice for Device {
    fn receive(&mut self, bytes: &[u8], line: &mut SimulatedLine) {
        for request in self.lines.feed(bytes, b'\n') {
            let is_taken = self.hook.as_ref().is_some_and(|hook| (hook.lock().expect("lock"))(&request, line));
            if !is_taken {
                self.simulation.receive(format!("{request}\n").as_bytes(), line);
            }
        }
    }
}

/// A device under a link.
pub(crate) struct Plug {
    file: LineFile,
    plug: qspool_serial::Plug,
}

impl Plug {
    /// Plugged in.
    pub(crate) fn new(file: LineFile, hook: Option<Hook>) -> Self {
        let simulated = file.clone();
        let plug = qspool_serial::Plug::new(move || {
            let simulation = simulated.simulation().expect("a simulation");
            Box::new(Device { simulation, lines: Lines::default(), hook: hook.clone() })
        });
        Self { file, plug: plug.expect("a pseudo-terminal") }
    }

    /// The same with a hook that is not shared.
    pub(crate) fn with(file: LineFile, hook: impl FnMut(&str, &mut SimulatedLine) -> bool + Send + 'static) -> Self {
        Self::new(file, Some(Arc::new(Mutex::new(hook))))
    }

    /// A driver for it.
    pub(crate) fn driver(&self) -> LineDriver {
        LineDriver::new(self.file.clone(), &self.link().to_string_lossy()).expect("a driver")
    }

    /// The name that stays the same.
    pub(crate) fn link(&self) -> &Path {
        self.plug.link()
    }

    /// Every line that was sent to it.
    pub(crate) fn sent(&self) -> Vec<String> {
        self.plug.sent().lines().map(|line| line.trim().to_owned()).collect()
    }
}

impl TestDevice for Plug {
    fn unplug(&mut self) -> bool {
        self.plug.unplug()
    }

    fn replug(&mut self) {
        self.plug.replug();
    }

    fn silence(&mut self) -> bool {
        self.plug.silence()
    }

    fn end_silence(&mut self) {
        self.plug.end_silence();
    }

    fn is_safe(&mut self) -> Option<bool> {
        // Safe is what was last said to the device.
        Some(["SHUT?", "outputs"].contains(&self.sent().last()?.as_str()))
    }
}

/// A program for one shot.
pub(crate) fn program(instructions: &[(&str, &[u32], &[f64])]) -> Program {
    qspool_driver::testing::program(4, instructions)
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
