//! Programs, what simulators make of them, and properties that hold for many of them.

use std::f64::consts::PI;

use num_complex::Complex64;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use qspool::simulator::{Prepared, simulator};
use qspool_driver::{Instruction, Program, StopFlag, WireOrder};

/// The largest parameter that a schema allows.
pub(crate) const LARGEST: f64 = 5e6 * PI;

/// Name, wires and parameters of an instruction.
pub(crate) type Gate<'a> = (&'a str, &'a [u32], &'a [f64]);

pub(crate) fn instruction(name: &str, wires: &[u32], params: &[f64]) -> Instruction {
    Instruction { name: name.to_owned(), wires: wires.to_vec(), params: params.to_vec() }
}

pub(crate) fn program(num_wires: u32, instructions: &[Gate]) -> Program {
    let instructions = instructions.iter().map(|(name, wires, params)| instruction(name, wires, params)).collect();
    Program { instructions, num_wires, shots: 100, wire_order: WireOrder::Sequential, seed: Some(1) }
}

pub(crate) fn prepare(backend: &str, program: &Program) -> Prepared {
    let simulator = simulator(backend).expect("one of the four");
    simulator.prepare(program, &StopFlag::default()).unwrap_or_else(|error| panic!("{backend}: {error}"))
}

pub(crate) fn amplitudes(backend: &str, num_wires: u32, instructions: &[Gate]) -> Vec<Complex64> {
    prepare(backend, &program(num_wires, instructions)).state.amplitudes()
}

pub(crate) fn probabilities(backend: &str, num_wires: u32, instructions: &[Gate]) -> Vec<f64> {
    prepare(backend, &program(num_wires, instructions)).probabilities()
}

pub(crate) fn distance(a: &[Complex64], b: &[Complex64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).norm_sqr()).sum::<f64>().sqrt()
}

pub(crate) fn check_close(what: &str, found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{what}: {found} instead of {expected}");
}

/// Runs `test` on `cases` values with a fixed seed.
pub(crate) fn check_all<S: Strategy>(cases: u32, strategy: S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    if let Err(error) = TestRunner::new_with_rng(config, random).run(&strategy, test) {
        panic!("{error}");
    }
}
