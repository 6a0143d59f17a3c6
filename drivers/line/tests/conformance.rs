//! The examples pass the suite that every driver passes, over real pseudo-terminals.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use qspool_driver::testing::{Bench, Conformance, TestDevice};
use qspool_driver::{Deadline, Driver as _, Instruction, Program, RunControl, RunEnd, WireOrder};
use qspool_line::{LineDriver, LineFile};
use qspool_serial::{SimulatedDevice, SimulatedLine, SimulatedPort};

fn example(name: &str) -> LineFile {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    let text = std::fs::read_to_string(&path).expect("an example");
    // The simulated one does not restart.
    LineFile::parse(&path, &text.replace("settle_s = 2.0", "settle_s = 0.0")).expect("a good example")
}

/// A device under a link, which can be pulled out and fall silent.
struct Plug {
    file: LineFile,
    link: PathBuf,
    _folder: tempfile::TempDir,
    port: Option<SimulatedPort>,
    is_silent: Arc<AtomicBool>,
    sent: Arc<Mutex<Vec<String>>>,
}

struct Mutable {
    device: qspool_line::LineSimulation,
    is_silent: Arc<AtomicBool>,
    sent: Arc<Mutex<Vec<String>>>,
}

impl SimulatedDevice for Mutable {
    fn receive(&mut self, bytes: &[u8], line: &mut SimulatedLine) {
        let text = String::from_utf8_lossy(bytes);
        self.sent.lock().expect("lock").extend(text.lines().map(ToOwned::to_owned));
        if !self.is_silent.load(Ordering::Relaxed) {
            self.device.receive(bytes, line);
        }
    }
}

impl Plug {
    fn new(file: LineFile) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let link = folder.path().join("usb-Example-if00");
        let mut plug =
            Self { file, link, _folder: folder, port: None, is_silent: Arc::default(), sent: Arc::default() };
        plug.replug();
        plug
    }

    fn path(&self) -> &Path {
        &self.link
    }
}

impl TestDevice for Plug {
    fn unplug(&mut self) -> bool {
        self.port = None;
        drop(std::fs::remove_file(&self.link));
        true
    }

    fn replug(&mut self) {
        let device = self.file.simulation().expect("a simulation");
        let (is_silent, sent) = (Arc::clone(&self.is_silent), Arc::clone(&self.sent));
        let port = SimulatedPort::start(Mutable { device, is_silent, sent }).expect("a pseudo-terminal");
        drop(std::fs::remove_file(&self.link));
        std::os::unix::fs::symlink(port.path(), &self.link).expect("link");
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
        let last = sent.iter().rev().find(|line| !line.trim().is_empty())?;
        Some(["SHUT?", "outputs"].contains(&last.trim()))
    }
}

fn program(instructions: &[(&str, &[u32], &[f64])]) -> Program {
    let instructions = instructions.iter().map(|&(name, wires, params)| Instruction {
        name: name.to_owned(),
        wires: wires.to_vec(),
        params: params.to_vec(),
    });
    Program {
        instructions: instructions.collect(),
        num_wires: 4,
        shots: 1,
        wire_order: WireOrder::default(),
        seed: None,
    }
}

fn suite(name: &'static str, good: Program, long: Program, bad: Vec<(Program, Option<usize>)>) -> Conformance<'static> {
    Conformance {
        bench: Box::new(move || {
            let plug = Plug::new(example(name));
            let port = plug.path().to_string_lossy().into_owned();
            let driver = LineDriver::new(example(name), &port).expect("a driver");
            Bench { driver: Box::new(driver), device: Box::new(plug) }
        }),
        good,
        long: Some(long),
        bad,
        many: 20,
        patience: Duration::from_secs(10),
    }
}

#[test]
fn the_photon_counter_keeps_the_contract() {
    let measure = ("measure", &[3, 0][..], &[][..]);
    suite(
        "photon-counter.toml",
        program(&[("attenuate", &[2], &[0.01]), ("expose", &[], &[0.002]), ("barrier", &[0, 1], &[]), measure]),
        program(&[("expose", &[], &[5.0]), measure]),
        vec![
            (program(&[measure, ("expose", &[], &[11.0])]), Some(1)),
            (program(&[("expose", &[0], &[1.0])]), Some(0)),
            (program(&[("attenuate", &[4], &[0.0])]), Some(0)),
            (program(&[("attenuate", &[0], &[])]), Some(0)),
            (program(&[("rx", &[0], &[])]), Some(0)),
            (program(&[("expose", &[][..], &[10.0][..]); 7]), None),
            (program(&[("expose", &[][..], &[0.001][..]); 101]), Some(100)),
        ],
    )
    .assert();
}

#[test]
fn the_pulse_box_keeps_the_contract() {
    let measure = ("measure", &[][..], &[][..]);
    suite(
        "pulse-box.toml",
        program(&[("pulse", &[1], &[0.001]), measure, ("measure", &[2, 2], &[])]),
        program(&[("pulse", &[3], &[4.0]), measure]),
        vec![
            (program(&[("repeat", &[1, 2], &[1.0, 0.001])]), Some(0)),
            (program(&[("repeat", &[0, 1], &[1.5, 0.001])]), Some(0)),
            (program(&[("pulse", &[0], &[0.0])]), Some(0)),
        ],
    )
    .assert();
}

#[test]
fn a_simulated_device_gives_results_and_says_what_it_is() {
    struct Rows(Vec<Vec<i64>>);
    impl qspool_driver::ShotSink for Rows {
        fn shot(&mut self, values: &[i64]) {
            self.0.push(values.to_vec());
        }
    }
    let soon = || Deadline::after(Duration::from_secs(10));
    for (name, gate, rows) in [
        ("photon-counter.toml", ("expose", &[][..], &[0.002][..]), [[100, 99], [104, 0]]),
        ("pulse-box.toml", ("pulse", &[0][..], &[0.002][..]), [[3, 0], [4, 1]]),
    ] {
        let mut driver = LineDriver::new(example(name), "sim:").expect("a simulation");
        let identity = driver.identify(soon()).expect("an answer");
        assert!(identity.is_simulated, "{identity:?}");
        driver.configure(soon()).expect("ready");
        let safe = driver.safe_state(soon()).expect("safe");
        assert_eq!(safe.read_back.len(), 1, "{safe:?}");
        let program = Program { shots: 2, ..program(&[gate, ("measure", &[0, 1], &[])]) };
        let plan = driver.prepare(&program, soon()).expect("loaded");
        assert!(plan.per_shot >= Duration::from_millis(2), "{plan:?}");
        let mut seen = Rows(Vec::new());
        assert_eq!(driver.run(&RunControl::until(soon()), &mut seen), Ok(RunEnd::Complete), "{name}");
        assert_eq!(seen.0, rows, "{name}");
    }
}
