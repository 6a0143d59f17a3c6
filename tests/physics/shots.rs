//! From states to shots.

use std::f64::consts::PI;

use qspool::simulator::{SIMULATORS, ShotRandom, simulator};
use qspool_driver::{Program, StopFlag};

use crate::programs::{Gate, check_close, program};

pub(crate) fn shots(backend: &str, program: &Program, mut random: ShotRandom) -> Vec<Vec<i64>> {
    let simulator = simulator(backend).expect("one of the four");
    let outcome = simulator.run(program, &mut random, &StopFlag::default()).expect("runs");
    outcome.shots().iter().map(|&shot| outcome.row(shot).to_vec()).collect()
}

#[test]
fn a_seed_gives_the_same_shots_whatever_runs_beside_it() {
    let instructions: [Gate; 4] = [
        ("load", &[0], &[20.0]),
        ("rlx", &[0], &[1.0]),
        ("multiqudit_full", &[0, 1, 2], &[1.0, 2.0, 0.3, 0.4, 0.5]),
        ("measure", &[0], &[]),
    ];
    let program = Program { shots: 1000, ..program(3, &instructions) };
    let alone = shots("multiqudit", &program, ShotRandom::from_seed(9));
    std::thread::scope(|scope| {
        let runs: Vec<_> =
            (0..4).map(|_| scope.spawn(|| shots("multiqudit", &program, ShotRandom::from_seed(9)))).collect();
        for run in runs {
            assert_eq!(run.join().expect("no panic"), alone);
        }
    });
    assert_ne!(shots("multiqudit", &program, ShotRandom::from_seed(10)), alone);
    assert_ne!(shots("multiqudit", &program, ShotRandom::from_entropy([3; 32])), alone);
}

#[test]
fn shots_follow_the_probabilities() {
    let program = Program {
        shots: 100_000,
        ..program(2, &[("rlx", &[0], &[1.0]), ("measure", &[1], &[]), ("measure", &[0], &[])])
    };
    let found = shots("rydberg", &program, ShotRandom::from_entropy([1; 32]));
    let excited = found.iter().filter(|shot| shot[1] == 1).count() as f64 / 1e5;
    check_close("excited", excited, 0.5_f64.sin().powi(2), 5.0 * (0.25_f64 / 1e5).sqrt());
    assert!(found.iter().all(|shot| shot[0] == 0 && shot.len() == 2));
}

#[test]
fn nothing_measured_gives_no_shots() {
    for (backend, _) in SIMULATORS {
        assert_eq!(shots(backend, &program(2, &[]), ShotRandom::from_seed(0)), Vec::<Vec<i64>>::new(), "{backend}");
    }
}

#[test]
fn a_spin_is_sampled_where_its_last_measurement_stands() {
    let instructions: [Gate; 6] = [
        ("rlx", &[0], &[1.0]),
        ("measure", &[], &[]),
        ("load", &[], &[3.0]),
        ("rlx", &[0], &[PI]),
        ("measure", &[], &[]),
        ("rlx", &[0], &[1.0]),
    ];
    let found = shots("singlequdit", &program(1, &instructions), ShotRandom::from_seed(0));
    assert_eq!(found, vec![vec![3]; 100]);
    assert_eq!(simulator("singlequdit").expect("there").value_digits(&program(1, &instructions)), 1);
}
