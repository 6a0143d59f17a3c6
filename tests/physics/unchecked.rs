//! Programs that no schema has checked, and that are too large.

use std::f64::consts::{PI, TAU};

use proptest::prelude::*;
use qspool::simulator::{SIMULATORS, ShotRandom, Uniform, simulator};
use qspool_driver::{Program, StopFlag, WireOrder};

use crate::programs::{Gate, LARGEST, check_all, instruction, program};

fn check_error(backend: &str, num_wires: u32, instructions: &[Gate], expected: &str) {
    let simulator = simulator(backend).expect("one of the four");
    let mut random = ShotRandom::from_seed(0);
    let result = simulator.run(&program(num_wires, instructions), &mut random, &StopFlag::default());
    assert_eq!(result.expect_err(expected).to_string(), expected);
}

#[test]
fn errors_name_the_instruction_the_value_and_what_is_allowed() {
    check_error(
        "fermions",
        8,
        &[("load", &[3], &[]), ("load", &[3], &[])],
        "instruction 1 (load): mode 3 already holds 1.000000 fermions on average, and a second one cannot be put there; \
         allowed: an empty mode",
    );
    check_error(
        "fermions",
        8,
        &[("load", &[0], &[]), ("fhop", &[0, 1, 2, 3], &[PI / 6.0]), ("load", &[2], &[])],
        "instruction 2 (load): mode 2 already holds 0.250000 fermions on average, and a second one cannot be put there; \
         allowed: an empty mode",
    );
    check_error(
        "rydberg",
        2,
        &[("rlx", &[2], &[1.0])],
        "instruction 0 (rlx): wire 2 is not in the register; allowed: 0 to 1",
    );
    check_error("rydberg", 2, &[("rlx", &[0, 1], &[1.0])], "instruction 0 (rlx): acts on 2 wires; allowed: 1");
    check_error("rydberg", 2, &[("rlx", &[0], &[])], "instruction 0 (rlx): has 0 parameters; allowed: 1");
    check_error(
        "rydberg",
        2,
        &[("rlx", &[0], &[f64::INFINITY])],
        "instruction 0 (rlx): parameter inf is out of range; allowed: -1e12 to 1e12",
    );
    check_error(
        "singlequdit",
        1,
        &[("load", &[0], &[2.5])],
        "instruction 0 (load): 2.5 atoms cannot be loaded; allowed: a whole number from 1 to 1000000",
    );
    check_error(
        "rydberg",
        1,
        &[("cz", &[0], &[])],
        "instruction 0 (cz): unknown instruction; allowed: rlx, rlz, rydberg_block, rydberg_blockade, \
         rydberg_full, barrier, measure",
    );
    check_error(
        "multiqudit",
        u32::MAX,
        &[],
        "the register has more than 281474976710656 states, which no memory holds",
    );
}

#[test]
fn what_neither_method_can_do_is_refused() {
    let loads: Vec<Gate> = vec![
        ("load", &[0], &[1.0]),
        ("load", &[3], &[9.0]),
        ("load", &[4], &[455.0]),
        ("multiqudit_full", &[0, 1, 2, 3, 4], &[LARGEST; 5]),
    ];
    let simulator = simulator("multiqudit").expect("there");
    let error = simulator.prepare(&program(5, &loads), &StopFlag::default()).expect_err("too long").to_string();
    assert!(
        error.starts_with("the evolution of 36480 states with parameters of this size would take about"),
        "{error}"
    );
}

#[test]
fn no_program_makes_a_simulator_panic() {
    const NAMES: [&str; 24] = [
        "load",
        "measure",
        "barrier",
        "rlx",
        "rly",
        "rlz",
        "rlz2",
        "sq_full",
        "rlxly",
        "rlzlz",
        "multiqudit_full",
        "fhop",
        "fint",
        "fphase",
        "rydberg_block",
        "rydberg_full",
        "rydberg_blockade",
        "OAT",
        "fhubbard",
        "frx",
        "fry",
        "frz",
        "",
        "\u{1F980}",
    ];
    const MEMORY_LIMIT: u64 = 8 << 20;
    let param = prop_oneof![
        6 => 0.0..TAU,
        4 => (1..12_u32).prop_map(f64::from),
        1 => proptest::sample::select(vec![0.0, -1.0, 0.5, 500.0, 1e9, 1e300, -1e300, 1e-300, LARGEST]),
        1 => proptest::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX]),
    ];
    let wire = prop_oneof![8 => 0..4_u32, 1 => Just(u32::MAX), 1 => 4..9_u32];
    let any_instruction = (
        proptest::sample::select(NAMES.to_vec()),
        prop_oneof![3 => proptest::collection::vec(wire.clone(), 1), 2 => proptest::collection::vec(wire, 0..9)],
        prop_oneof![3 => proptest::collection::vec(param.clone(), 1), 2 => proptest::collection::vec(param, 0..10)],
    );
    let num_wires = prop_oneof![8 => 0..6_u32, 1 => Just(u32::MAX), 1 => 6..40_u32];
    let strategy = (proptest::collection::vec(any_instruction, 0..6), num_wires, 0..3000_u32);
    check_all(1500, strategy, |(instructions, num_wires, shots)| {
        let instructions = instructions.iter().map(|(name, wires, params)| instruction(name, wires, params)).collect();
        let program = Program { instructions, num_wires, shots, wire_order: WireOrder::Sequential, seed: None };
        for (_, simulator) in SIMULATORS {
            let mut random = ShotRandom::from_seed(5);
            prop_assert!(simulator.value_digits(&program) > 0);
            if simulator.memory(&program) > MEMORY_LIMIT {
                continue;
            }
            if let Ok(outcome) = simulator.run(&program, &mut random, &StopFlag::default()) {
                prop_assert!(outcome.shots().len() == shots as usize || outcome.shots().is_empty());
            }
            prop_assert!((0.0..1.0).contains(&random.next_double()));
        }
        Ok(())
    });
}
