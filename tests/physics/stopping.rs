//! Runs that are told to stop.

use std::f64::consts::TAU;
use std::thread;
use std::time::Duration;

use qspool::simulator::{SIMULATORS, ShotRandom, SimulationError, simulator};
use qspool_driver::{Program, StopFlag};

use crate::programs::{instruction, program};

#[test]
fn a_raised_flag_stops_every_simulator() {
    let stop = StopFlag::default();
    stop.raise();
    let barrier = program(1, &[("barrier", &[], &[]), ("measure", &[0], &[])]);
    for (name, simulator) in SIMULATORS {
        let result = simulator.run(&barrier, &mut ShotRandom::from_seed(0), &stop);
        assert_eq!(result.expect_err(name).to_string(), "stopped before the end");
    }
}

#[test]
fn a_flag_that_is_raised_in_the_middle_stops_what_would_take_long() {
    let half = (0..24).filter(|mode| mode % 4 < 2).map(|mode| instruction("load", &[mode], &[]));
    let hubbard = instruction("fhubbard", &[], &[vec![1.0; 11], vec![300.0], vec![0.5; 12]].concat());
    let spins = (0..4).map(|wire| instruction("load", &[wire], &[15.0]));
    let chain = instruction("multiqudit_full", &[0], &[10.0, 5.0, 10.0, 2.0, 5.0]);
    let spin = instruction("load", &[0], &[5000.0]);
    let programs = [
        ("singlequdit", 1, vec![spin.clone(), instruction("sq_full", &[0], &[50.0, 1.0, 0.01])]),
        ("singlequdit", 1, vec![spin, instruction("rlx", &[0], &[1.0])]),
        ("rydberg", 20, vec![instruction("rydberg_full", &[], &[TAU, 1.0, 10.0])]),
        ("rydberg", 11, vec![instruction("rydberg_full", &[], &[1e7; 3])]),
        ("multiqudit", 4, spins.chain([chain]).collect()),
        ("fermions", 24, half.chain([hubbard]).collect()),
    ];
    for (backend, num_wires, instructions) in programs {
        let (stop, program) = (StopFlag::default(), Program { instructions, ..program(num_wires, &[]) });
        let simulator = simulator(backend).expect("one of the four");
        let prepared = thread::scope(|scope| {
            let running = scope.spawn(|| simulator.prepare(&program, &stop));
            thread::sleep(Duration::from_millis(100));
            assert!(!running.is_finished(), "{backend} is too fast for this test");
            stop.raise();
            running.join().expect("no panic")
        });
        assert!(matches!(prepared, Err(SimulationError::Stopped)), "{backend} on {num_wires} wires went on to its end");
    }
}
