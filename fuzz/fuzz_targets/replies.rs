//! Any bytes as the answers of a board: an answer or an error in time, never a panic.
//!
//! The first byte chooses the board, the second how the rest is cut into answers.

#![no_main]

use std::path::Path;
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use qspool_dds_sweeper::DdsSweeper;
use qspool_driver::{Deadline, Driver, DriverError};
use qspool_pico::{Board, BoardDriver, Part};
use qspool_prawnblaster::PrawnBlaster;
use qspool_prawndo::PrawnDo;
use qspool_serial::{SimulatedLine, SimulatedPort};

fn boxed<B: Board + 'static>(board: Result<B, DriverError>, port: &Path) -> Box<dyn Driver> {
    Box::new(BoardDriver::new(board.and_then(|board| Part::new(board, port)).expect("good settings")))
}

fn driver(which: u8, port: &Path) -> Box<dyn Driver> {
    match which % 3 {
        0 => boxed(PrawnBlaster::new(qspool_prawnblaster::Settings::clocks(1)), port),
        1 => boxed(PrawnDo::new(qspool_prawndo::Settings::default()), port),
        _ => boxed(DdsSweeper::new(qspool_dds_sweeper::Settings::default()), port),
    }
}

fuzz_target!(|bytes: &[u8]| {
    let [which, size, answers @ ..] = bytes else { return };
    let mut answers: Vec<Vec<u8>> = answers.chunks(usize::from(*size).max(1)).map(<[u8]>::to_vec).rev().collect();
    let device = move |_: &[u8], line: &mut SimulatedLine| {
        if let Some(answer) = answers.pop() {
            line.reply(answer);
        }
    };
    let port = SimulatedPort::start(device).expect("a pseudo-terminal");
    let mut driver = driver(*which, port.path());
    let short = || Deadline::after(Duration::from_millis(200));
    let begin = Instant::now();
    drop(driver.identify(short()));
    drop(driver.configure(short()));
    drop(driver.safe_state(short()));
    drop(driver.health(short()));
    driver.close();
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
});
