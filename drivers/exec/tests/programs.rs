//! Drivers that are programs, with the Python module that is shipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use qspool_driver::testing::{Bench, Conformance, TestDevice};
use qspool_driver::{
    Deadline, Driver, DriverError, ErrorClass, Instruction, Outcome, Program, RunControl, RunEnd, WireOrder,
};
use qspool_exec::{ExecDriver, ExecSettings};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A coin whose plug is a file in a folder of its own.
struct Coin {
    folder: TempDir,
}

impl Coin {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn settings(&self, fault: &str, shot_s: f64) -> ExecSettings {
        let mut settings = Map::new();
        settings.insert("unplugged".into(), json!(self.path("unplugged")));
        settings.insert("safe".into(), json!(self.path("safe")));
        settings.insert("fault".into(), json!(fault));
        settings.insert("shot_s".into(), json!(shot_s));
        let safe_command = ["sh", "-c", &format!("echo by hand >> {}", self.path("safe").display())];
        ExecSettings {
            name: "coin".into(),
            command: ["python3".into(), "-B".into(), file("tests/faulty.py"), file("python")]
                .map(|part: PathBuf| part.display().to_string())
                .to_vec(),
            environment: Vec::new(),
            safe_command: Some(safe_command.map(ToOwned::to_owned).to_vec()),
            settings,
        }
    }

    fn driver(&self, fault: &str, shot_s: f64) -> ExecDriver {
        ExecDriver::new(self.settings(fault, shot_s)).unwrap_or_else(|error| panic!("{error}"))
    }

    /// How the device was made safe, one word per time.
    fn made_safe(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("safe")).unwrap_or_default();
        text.lines().map(ToOwned::to_owned).collect()
    }
}

impl TestDevice for Coin {
    fn unplug(&mut self) -> bool {
        fs::write(self.path("unplugged"), "").is_ok()
    }

    fn replug(&mut self) {
        fs::remove_file(self.path("unplugged")).expect("it was unplugged");
    }
}

fn program(angle: f64, shots: u32) -> Program {
    let instruction =
        |name: &str, params: &[f64]| Instruction { name: name.into(), wires: vec![0], params: params.into() };
    Program {
        instructions: vec![instruction("turn", &[angle]), instruction("measure", &[])],
        num_wires: 1,
        shots,
        wire_order: WireOrder::Sequential,
        seed: None,
    }
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

fn ready(driver: &mut ExecDriver) {
    driver.identify(soon()).expect("it is there");
    driver.configure(soon()).expect("configured");
}

fn run(driver: &mut ExecDriver, shots: u32, control: &RunControl) -> (Result<RunEnd, DriverError>, usize) {
    driver.prepare(&program(1.0, shots), soon()).expect("prepared");
    let mut sink = Outcome::default();
    let end = driver.run(control, &mut sink);
    (end, sink.shots().len())
}

#[test]
fn the_python_module_passes_the_conformance_suite() {
    let slow = Conformance {
        bench: Box::new(|| {
            let coin = Coin::new();
            Bench { driver: Box::new(coin.driver("", 0.0)), device: Box::new(coin) }
        }),
        good: program(1.0, 1),
        long: None,
        bad: vec![(program(7.0, 1), Some(0))],
        many: 5000,
        patience: Duration::from_secs(20),
    };
    slow.assert();
}

#[test]
fn a_run_stops_after_its_shot_or_at_once() {
    let coin = Coin::new();
    let mut driver = coin.driver("", 0.2);
    ready(&mut driver);
    for now in [true, false] {
        let control = RunControl::until(soon());
        let flag = if now { control.now.clone() } else { control.after_shot.clone() };
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(500));
            flag.raise();
        });
        let begin = Instant::now();
        let (end, shots) = run(&mut driver, 1000, &control);
        assert_eq!(end, Ok(RunEnd::Stopped));
        assert!((1..20).contains(&shots) && begin.elapsed() < Duration::from_secs(5), "{shots} {:?}", begin.elapsed());
    }
    driver.close();
    assert_eq!(coin.made_safe(), ["safe"]);
}

#[test]
fn a_program_that_dies_in_a_run_is_started_again() {
    let coin = Coin::new();
    let mut driver = coin.driver("die", 0.0);
    ready(&mut driver);
    let (end, _) = run(&mut driver, 5, &RunControl::until(soon()));
    let error = end.expect_err("it is dead");
    assert_eq!(error.class(), ErrorClass::Device);
    assert!(error.to_string().contains("SIGKILL"), "{error}");
    ready(&mut driver);
    driver.prepare(&program(1.0, 2), soon()).expect("prepared");
    let mut sink = Outcome::default();
    assert_eq!(driver.run(&RunControl::until(soon()), &mut sink), Ok(RunEnd::Complete));
}

#[test]
fn a_program_that_hangs_is_killed_and_its_device_made_safe_by_the_other_command() {
    let coin = Coin::new();
    let mut driver = coin.driver("deaf", 0.0);
    ready(&mut driver);
    let begin = Instant::now();
    let (end, _) = run(&mut driver, 5, &RunControl::until(Deadline::after(Duration::from_secs(1))));
    let error = end.expect_err("it hangs");
    assert!(error.to_string().contains("of 5 shots within 1 s"), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert_eq!(coin.made_safe(), ["by hand"]);
    ready(&mut driver);
}

#[test]
fn errors_have_the_class_that_the_program_gives_them() {
    for (fault, class, said) in
        [("retry", ErrorClass::Retry, "a trigger was missed"), ("raise", ErrorClass::Device, "a defect")]
    {
        let coin = Coin::new();
        let mut driver = coin.driver(fault, 0.0);
        ready(&mut driver);
        let (end, _) = run(&mut driver, 5, &RunControl::until(soon()));
        let error = end.expect_err("it fails");
        assert_eq!(error.class(), class);
        assert!(error.to_string().contains(said), "{error}");
        // It goes on.
        let (end, shots) = run(&mut driver, 2, &RunControl::until(soon()));
        assert_eq!((end, shots), (Ok(RunEnd::Complete), 2));
    }
}

#[test]
fn what_a_program_prints_is_no_message_and_holds_nothing_up() {
    let coin = Coin::new();
    let mut driver = coin.driver("noise", 0.0);
    ready(&mut driver);
    let (end, shots) = run(&mut driver, 5, &RunControl::until(soon()));
    assert_eq!((end, shots), (Ok(RunEnd::Complete), 5));
}

#[test]
fn a_program_ends_safely_when_the_daemon_is_gone() {
    let coin = Coin::new();
    let mut driver = coin.driver("", 0.5);
    ready(&mut driver);
    driver.prepare(&program(1.0, 1000), soon()).expect("prepared");
    // As in a daemon that is killed, nobody says anything more: the stream just closes, in the middle of a run.
    let control = RunControl::until(Deadline::after(Duration::from_millis(600)));
    let _killed = driver.run(&control, &mut Outcome::default());
    drop(driver);
    let begin = Instant::now();
    while coin.made_safe().is_empty() {
        assert!(begin.elapsed() < Duration::from_secs(10), "the device is not safe");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_cannot_be_started_says_so() {
    let coin = Coin::new();
    let refused = |command: &[&str]| {
        let mut settings = coin.settings("", 0.0);
        settings.command = command.iter().map(ToString::to_string).collect();
        let error = ExecDriver::new(settings).err().expect("it cannot be started");
        (error.class(), error.to_string())
    };
    let (class, text) = refused(&["/none/driver"]);
    assert_eq!(class, ErrorClass::Configuration);
    assert!(text.contains("/none/driver"), "{text}");
    assert!(refused(&[]).1.contains("no command"));
    assert!(refused(&["true"]).1.contains("has ended"));
    assert!(
        refused(&["sh", "-c", "echo '{\"jsonrpc\": \"2.0\", \"id\": 0, \"result\": {}}'; cat"])
            .1
            .contains("initialize")
    );
}

#[test]
fn every_message_has_the_form_that_the_schema_gives() {
    let schema: Value =
        serde_json::from_str(&fs::read_to_string(file("protocol.schema.json")).expect("read")).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let page = fs::read_to_string(file("protocol.md")).expect("read");
    let mut count = 0;
    for line in page.lines().filter(|line| line.starts_with('{')) {
        let message: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert!(
            validator.is_valid(&message),
            "{line}: {:?}",
            validator.iter_errors(&message).map(|e| e.to_string()).collect::<Vec<_>>()
        );
        count += 1;
    }
    assert!(count > 15, "the page shows every message");
    assert!(!validator.is_valid(&json!({ "jsonrpc": "2.0", "method": "shots", "params": { "run": 1 } })));
}
