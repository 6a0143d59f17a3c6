//! The worked example passes the suite that every driver passes, also when one of its parts is pulled out.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use qspool_driver::testing::{self, Bench, Conformance, TestDevice};
use qspool_driver::{Deadline, Driver as _, Outcome, Program, RunControl};
use qspool_pico::{Firmware, SimulatedPico};
use qspool_serial::{Fault, Plug};

use crate::driver::{Ports, SequenceDriver, Simulation};
use crate::file::SequenceFile;
use crate::simulated::Counter;

fn lock<T>(shared: &Arc<Mutex<T>>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn plug<F: Firmware + 'static>(firmware: &Arc<Mutex<F>>) -> Plug {
    let firmware = Arc::clone(firmware);
    Plug::new(move || Box::new(SimulatedPico::new(Arc::clone(&firmware)))).expect("a pseudo-terminal")
}

/// The apparatus, of which one part can be pulled out.
struct Bed {
    /// The clock, the outputs, the sweeper, the read-out.
    parts: [Plug; 4],
    pulled: usize,
    boards: Simulation,
}

impl TestDevice for Bed {
    fn unplug(&mut self) -> bool {
        self.parts[self.pulled].unplug()
    }

    fn replug(&mut self) {
        self.parts[self.pulled].replug();
    }

    fn silence(&mut self) -> bool {
        self.parts[self.pulled].silence()
    }

    fn end_silence(&mut self) {
        self.parts[self.pulled].end_silence();
    }

    fn is_safe(&mut self) -> Option<bool> {
        let mut outputs = lock(&self.boards.outputs);
        let are_off = outputs.outputs() == 0 && !outputs.is_running();
        Some(are_off && lock(&self.boards.sweeper).is_safe() && lock(&self.boards.clock).is_safe())
    }
}

fn example() -> SequenceFile {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/rabi.toml");
    SequenceFile::load(&path).unwrap_or_else(|error| panic!("{error}"))
}

fn bench(pulled: usize) -> (SequenceDriver, Bed) {
    let file = example();
    let boards = Simulation::default();
    Counter::connect(&file, &boards).expect("it is simulated");
    let again = (file.clone(), boards.clone());
    let counter = Plug::new(move || {
        // The wire to the clock is there already.
        let counter = Counter::at(&again.0, &again.1);
        Box::new(counter.unwrap_or_else(|error| panic!("{error}")))
    });
    let parts =
        [plug(&boards.clock), plug(&boards.outputs), plug(&boards.sweeper), counter.expect("a pseudo-terminal")];
    let [clock, outputs, sweeper, readout] = [0, 1, 2, 3].map(|part: usize| parts[part].link().to_owned());
    let driver = SequenceDriver::new(file, Some(&Ports { clock, outputs, sweeper, readout }));
    (driver.unwrap_or_else(|error| panic!("{error}")), Bed { parts, pulled, boards })
}

fn program(gates: &[(&str, &[u32], &[f64])]) -> Program {
    let measures = [("measure", &[0][..], &[][..]), ("measure", &[1][..], &[][..])];
    testing::program(2, &[gates, &measures].concat())
}

fn assert_keeps_the_contract(pulled: usize) {
    let load: (&str, &[u32], &[f64]) = ("load", &[], &[0.001]);
    let conformance = Conformance {
        bench: Box::new(|| {
            let (driver, bed) = bench(pulled);
            Bench { driver: Box::new(driver), device: Box::new(bed) }
        }),
        good: program(&[load, ("barrier", &[], &[]), ("rlx", &[0], &[1.0])]),
        long: Some(program(&[("load", &[], &[5.0])])),
        bad: vec![
            (program(&[("load", &[], &[11.0])]), Some(0)),
            (program(&[("load", &[0], &[1.0])]), Some(0)),
            (program(&[load, ("rlx", &[2], &[1.0])]), Some(1)),
            (program(&[load, ("rlz", &[0], &[1.0])]), Some(1)),
            (program(&[("measure", &[0], &[]), load]), Some(1)),
            (program(&[("load", &[][..], &[9.0][..]); 3]), None),
            (Program { instructions: Vec::new(), ..program(&[]) }, None),
        ],
        many: 10,
        patience: Duration::from_secs(20),
    };
    conformance.assert();
}

#[test]
fn the_apparatus_keeps_the_contract_whose_clock_can_be_pulled_out() {
    assert_keeps_the_contract(0);
}

#[test]
fn the_apparatus_keeps_the_contract_whose_outputs_can_be_pulled_out() {
    assert_keeps_the_contract(1);
}

#[test]
fn the_apparatus_keeps_the_contract_whose_sweeper_can_be_pulled_out() {
    assert_keeps_the_contract(2);
}

#[test]
fn the_apparatus_keeps_the_contract_whose_readout_can_be_pulled_out() {
    assert_keeps_the_contract(3);
}

#[test]
fn a_part_that_is_silent_leaves_the_others_the_time_to_be_made_safe() {
    let (mut driver, mut bed) = bench(1);
    driver.identify(Deadline::after(Duration::from_secs(10))).expect("it is there");
    driver.configure(Deadline::after(Duration::from_secs(10))).expect("configured");
    let on = [("load", &[][..], &[0.1][..]), ("rlx", &[0], &[1.0]), ("load", &[], &[5.0])];
    driver.prepare(&program(&on), Deadline::after(Duration::from_secs(10))).expect("prepared");
    let control = RunControl::until(Deadline::after(Duration::from_millis(300)));
    driver.run(&control, &mut Outcome::default()).expect_err("too long");
    assert!(!lock(&bed.boards.clock).is_safe());
    bed.silence();
    driver.safe_state(Deadline::after(Duration::from_secs(2))).expect_err("the outputs say nothing");
    assert!(lock(&bed.boards.clock).is_safe() && lock(&bed.boards.sweeper).is_safe());
}

#[test]
fn a_part_that_is_away_does_not_keep_the_others_from_being_made_safe() {
    for pulled in [0, 2, 3] {
        let (mut driver, mut bed) = bench(pulled);
        let soon = || Deadline::after(Duration::from_secs(10));
        driver.identify(soon()).expect("it is there");
        driver.configure(soon()).expect("configured");
        driver.prepare(&program(&[("load", &[], &[5.0])]), soon()).expect("prepared");
        let control = RunControl::until(Deadline::after(Duration::from_millis(300)));
        driver.run(&control, &mut Outcome::default()).expect_err("too long");
        assert_eq!(lock(&bed.boards.outputs).outputs(), 1);
        bed.parts[pulled].fault(Fault::Silence);
        bed.unplug();
        driver.safe_state(soon()).expect_err("a part is away");
        assert_eq!(lock(&bed.boards.outputs).outputs(), 0);
    }
}
