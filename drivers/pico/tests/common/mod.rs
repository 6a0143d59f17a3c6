//! The three boards, each with a driver, a simulated device behind a real pseudo-terminal, and programs.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use qspool_dds_sweeper::{DdsSweeper, SimulatedDdsSweeper};
use qspool_driver::testing::{self, TestDevice};
use qspool_driver::{Deadline, Driver, DriverError, Outcome, Program, RunControl, RunEnd};
use qspool_pico::{Board, BoardDriver, Part, SimulatedPico};
use qspool_prawnblaster::{PrawnBlaster, SimulatedPrawnBlaster};
use qspool_prawndo::{PrawnDo, SimulatedPrawnDo};
use qspool_serial::{Fault, Plug};

/// The firmware of the device that is plugged in.
type Plugged<F> = Arc<Mutex<Arc<Mutex<F>>>>;

/// Says whether the outputs are safe.
type Look = Box<dyn FnMut() -> bool>;

/// A board.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) driver: fn(&Path) -> Box<dyn Driver>,
    pub(crate) plug: fn() -> Bed,
    pub(crate) good: Program,
    pub(crate) long: Program,
    pub(crate) bad: Vec<(Program, Option<usize>)>,
    /// Starts a run.
    pub(crate) start: &'static str,
}

/// A board in a test bed.
pub(crate) struct Bed {
    pub(crate) plug: Plug,
    look: Look,
}

impl TestDevice for Bed {
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
        Some((self.look)())
    }
}

fn bed<F: qspool_pico::Firmware + Default + 'static>(is_safe: fn(&mut F) -> bool) -> Bed {
    let plugged: Plugged<F> = Arc::default();
    let seen = Arc::clone(&plugged);
    let plug = Plug::new(move || {
        let fresh = Arc::<Mutex<F>>::default();
        *plugged.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&fresh);
        Box::new(SimulatedPico::new(fresh))
    });
    let look = move || {
        let firmware = Arc::clone(&seen.lock().unwrap_or_else(PoisonError::into_inner));
        is_safe(&mut firmware.lock().unwrap_or_else(PoisonError::into_inner))
    };
    Bed { plug: plug.expect("a pseudo-terminal"), look: Box::new(look) }
}

fn driver<B: Board + 'static>(board: Result<B, DriverError>, port: &Path) -> Box<dyn Driver> {
    let part = board.and_then(|board| Part::new(board, port));
    Box::new(BoardDriver::new(part.unwrap_or_else(|error| panic!("{error}"))))
}

/// A program for one shot.
pub(crate) fn program(instructions: &[(&str, &[u32], &[f64])]) -> Program {
    testing::program(1, instructions)
}

/// Ten seconds from now.
pub(crate) fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(10))
}

/// Identified and configured.
pub(crate) fn ready(driver: &mut dyn Driver) -> Result<(), DriverError> {
    driver.identify(soon())?;
    driver.configure(soon())
}

/// Prepares and runs a program.
pub(crate) fn run(driver: &mut dyn Driver, program: &Program) -> Result<Vec<Vec<i64>>, DriverError> {
    driver.prepare(program, soon())?;
    let mut outcome = Outcome::default();
    assert_eq!(driver.run(&RunControl::until(soon()), &mut outcome)?, RunEnd::Complete);
    Ok(outcome.shots().iter().map(|&row| outcome.row(row).to_vec()).collect())
}

pub(crate) fn prawnblaster() -> Case {
    let measure = ("measure", &[1][..], &[][..]);
    Case {
        name: "PrawnBlaster",
        driver: |port| driver(PrawnBlaster::new(qspool_prawnblaster::Settings::clocks(2)), port),
        plug: || bed(|firmware: &mut SimulatedPrawnBlaster| firmware.is_safe()),
        good: program(&[("tick", &[0], &[1e-5, 10.0]), ("wait", &[1], &[1e-4]), ("barrier", &[], &[]), measure]),
        long: program(&[("tick", &[0], &[20.0, 1.0]), measure]),
        bad: vec![
            (program(&[("tick", &[0], &[4e-8, 1.0])]), Some(0)),
            (program(&[measure, ("tick", &[2], &[1e-6, 1.0])]), Some(1)),
            (program(&[("tick", &[0], &[1e-6, 0.5])]), Some(0)),
            (program(&[("tick", &[0], &[43.0, 1.0])]), Some(0)),
            (program(&[("wait", &[0], &[5e-8])]), Some(0)),
            (program(&[("rx", &[0], &[])]), Some(0)),
            (program(&[measure]), None),
            (program(&[("tick", &[0][..], &[1e-6, 1.0][..]); 15_000]), Some(14_999)),
            (program(&[("wait", &[0], &[1e-6]), ("wait", &[0], &[1e-6])]), Some(1)),
            // Each with a tick behind it; 199 are allowed.
            (program(&[[("wait", &[0][..], &[1e-6][..]), ("tick", &[0], &[1e-6, 1.0])]; 200].concat()), Some(398)),
        ],
        start: "start",
    }
}

pub(crate) fn prawndo() -> Case {
    let measure = ("measure", &[3][..], &[][..]);
    Case {
        name: "PrawnDO",
        driver: |port| driver(PrawnDo::new(qspool_prawndo::Settings::default()), port),
        plug: || bed(|firmware: &mut SimulatedPrawnDo| firmware.outputs() == 0 && !firmware.is_running()),
        good: program(&[("set", &[3], &[1.0]), ("hold", &[], &[1e-4]), ("barrier", &[], &[]), measure]),
        long: program(&[("set", &[3], &[1.0]), ("hold", &[], &[40.0]), measure]),
        bad: vec![
            (program(&[("hold", &[], &[4e-8])]), Some(0)),
            (program(&[measure, ("set", &[16], &[1.0])]), Some(1)),
            (program(&[("set", &[0], &[0.5])]), Some(0)),
            (program(&[("hold", &[], &[1.0]), ("wait", &[], &[]), ("wait", &[], &[])]), Some(2)),
            (program(&[("hold", &[], &[1.0]), ("wait", &[], &[])]), None),
            (program(&[measure]), None),
            (program(&[("hold", &[][..], &[1e-6][..]); 29_999]), Some(29_998)),
        ],
        start: "swr",
    }
}

pub(crate) fn dds_sweeper() -> Case {
    let measure = ("measure", &[0][..], &[][..]);
    let tone = ("tone", &[1][..], &[80e6, 0.5, 90.0][..]);
    Case {
        name: "DDS sweeper",
        driver: |port| {
            let settings = qspool_dds_sweeper::Settings { channels: 2, ..Default::default() };
            driver(DdsSweeper::new(settings), port)
        },
        plug: || bed(SimulatedDdsSweeper::is_safe),
        good: program(&[tone, ("hold", &[], &[1e-4]), ("hold", &[], &[1e-4]), ("barrier", &[], &[]), measure]),
        long: program(&[tone, ("hold", &[], &[30.0]), measure]),
        bad: vec![
            (program(&[("hold", &[], &[5e-6])]), Some(0)),
            (program(&[("tone", &[2], &[80e6, 0.5, 0.0])]), Some(0)),
            (program(&[("tone", &[0], &[80e6, 50.0, 0.0])]), Some(0)),
            (program(&[tone, ("tone", &[0], &[251e6, 0.5, 0.0])]), Some(1)),
            (program(&[tone]), None),
            (program(&[("hold", &[][..], &[1e-5][..]); 5000]), Some(4999)),
        ],
        start: "start",
    }
}

pub(crate) fn all() -> [Case; 3] {
    [prawnblaster(), prawndo(), dds_sweeper()]
}

/// A driver at a board, identified and configured.
pub(crate) fn bench(case: &Case) -> (Box<dyn Driver>, Bed) {
    let bed = (case.plug)();
    let mut driver = (case.driver)(bed.plug.link());
    ready(&mut *driver).unwrap_or_else(|error| panic!("{}: {error}", case.name));
    (driver, bed)
}

/// Sets what is wrong with the line of a board.
pub(crate) fn fault(bed: &Bed, fault: Fault) {
    bed.plug.fault(fault);
}
