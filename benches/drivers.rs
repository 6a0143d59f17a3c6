//! What a driver adds to the time of its device: `cargo bench --bench drivers`.
//!
//! The devices are simulated ones behind real pseudo-terminals, which answer at once: what is left is ours.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::path::Path;
use std::time::{Duration, Instant};

use qspool_driver::testing;
use qspool_driver::{Deadline, Driver, Outcome, Program, RunControl, RunEnd};
use qspool_exec::{ExecDriver, ExecSettings};
use qspool_line::{LineDriver, LineFile};
use qspool_pico::{BoardDriver, Part};
use qspool_prawndo::PrawnDo;
use qspool_sequence::{SequenceDriver, SequenceFile};
use qspool_serial::{LinePort, PortSettings, SimulatedLine, SimulatedPort};
use serde_json::Map;

/// How often each is repeated; the median counts.
const ROUNDS: usize = 5;

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(300))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn print(label: &str, time: Duration, count: u32, unit: &str) {
    let each = time / count;
    println!("  {label:<58} {:>9.1} µs per {unit} {:>10.0} per s", each.as_secs_f64() * 1e6, 1.0 / each.as_secs_f64());
}

fn round_trips() {
    const COUNT: u32 = 5000;
    let answer = |bytes: &[u8], line: &mut SimulatedLine| {
        bytes.iter().filter(|byte| **byte == b'\n').for_each(|_| line.reply("ok\n"));
    };
    let device = SimulatedPort::start(answer).expect("a pseudo-terminal");
    let mut port = LinePort::new(PortSettings::new(device.path()));
    port.open(soon()).expect("it is there");
    let once = || {
        let begin = Instant::now();
        for _ in 0..COUNT {
            port.ask_for("status", "ok", soon()).expect("it answers");
        }
        begin.elapsed()
    };
    let times = std::iter::repeat_with(once).take(ROUNDS).collect();
    print("a line and its reply over a pseudo-terminal", median(times), COUNT, "exchange");
}

fn run(driver: &mut dyn Driver, program: &Program) -> Duration {
    driver.prepare(program, soon()).expect("prepared");
    let begin = Instant::now();
    let end = driver.run(&RunControl::until(soon()), &mut Outcome::default()).expect("it runs");
    assert_eq!(end, RunEnd::Complete);
    begin.elapsed()
}

fn shots(label: &str, driver: &mut dyn Driver, program: &Program) {
    driver.identify(soon()).expect("it is there");
    driver.configure(soon()).expect("configured");
    let times = std::iter::repeat_with(|| run(driver, program)).take(ROUNDS).collect();
    print(label, median(times), program.shots, "shot");
    driver.close();
}

fn loading(driver: &mut dyn Driver) {
    const ROWS: usize = 29_998;
    driver.identify(soon()).expect("it is there");
    driver.configure(soon()).expect("configured");
    let program = program(&vec![("hold", &[][..], &[1e-6][..]); ROWS], 1);
    let once = || {
        let begin = Instant::now();
        driver.prepare(&program, soon()).expect("prepared");
        begin.elapsed()
    };
    let times = std::iter::repeat_with(once).take(ROUNDS).collect();
    print("loading a full PrawnDO, 30000 rows, 180 kB", median(times), 1, "table");
    driver.close();
}

fn program(instructions: &[(&str, &[u32], &[f64])], shots: u32) -> Program {
    Program { shots, ..testing::program(1, instructions) }
}

/// A device that is told to begin, asked whether it has ended, and read.
const QUICK: &str = r#"
[device]
name = "quick"
version = "1"
num_wires = 1
max_shots = 100000
[identify]
send = "who"
expect = "quick"
[port]
acknowledge = "ok"
[safe]
steps = ["off"]
[gates.measure]
[shot]
start = "shot"
poll = { send = "state", every_s = 0.001, done = "0" }
[result]
send = "read"
expect = '(?<value>\d+)'
max = 9
[simulate]
replies = [{ on = "who", say = "quick" }, { on = "read", say = "7" }, { on = "state", say = "0" }, { on = ".*", say = "ok" }]
"#;

fn main() {
    println!("what a driver adds (medians of {ROUNDS} rounds)");
    round_trips();
    let file = LineFile::parse("quick.toml", QUICK).expect("a good file");
    let mut line = LineDriver::new(file, "sim:").expect("a simulated port");
    shots("a shot of a line device, three exchanges", &mut line, &program(&[("measure", &[0], &[])], 2000));

    let outputs = [("set", &[3][..], &[1.0][..]), ("hold", &[], &[1e-6]), ("measure", &[3], &[])];
    let board = PrawnDo::new(qspool_prawndo::Settings::default()).expect("good settings");
    let mut board = BoardDriver::new(Part::new(board, Path::new("sim:")).expect("a simulated port"));
    shots("a shot of a PrawnDO, four exchanges", &mut board, &program(&outputs, 2000));
    loading(&mut board);

    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("drivers/sequence/examples/rabi.toml");
    let file = SequenceFile::load(&example).expect("a good file");
    let mut sequence = SequenceDriver::new(file, None).expect("simulated ports");
    // Of which 1.05 ms are its own: a pulse of 25 us, imaging of 1 ms, and what lies between them.
    let pulse = [("rlx", &[0][..], &[std::f64::consts::PI][..]), ("measure", &[0], &[])];
    shots("a shot of a sequence, which takes 1.06 ms itself", &mut sequence, &program(&pulse, 200));

    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("drivers/exec/python/example_coin.py");
    let settings = ExecSettings {
        name: "coin".into(),
        command: vec!["python3".into(), "-B".into(), python.display().to_string()],
        environment: Vec::new(),
        safe_command: None,
        settings: Map::new(),
    };
    let mut exec = ExecDriver::new(settings).expect("Python is installed");
    let coin = program(&[("turn", &[0], &[1.0]), ("measure", &[0], &[])], 20_000);
    shots("a shot of a Python program, handed over in batches", &mut exec, &coin);
}
