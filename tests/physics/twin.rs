//! Small registers against a slow twin.

use num_complex::Complex64;
use proptest::prelude::*;
use qspool_driver::Program;

use crate::dense;
use crate::programs::{Gate, amplitudes, check_all, distance, prepare};
use crate::strategies::{fermion_programs, multiqudit_programs, rydberg_programs, singlequdit_programs};

fn check_twin(backend: &'static str, cases: u32, programs: BoxedStrategy<Program>) {
    check_all(cases, programs, |program| {
        let prepared = prepare(backend, &program);
        let (dims, expected) = dense::amplitudes(backend, &program);
        prop_assert_eq!(prepared.state.shape().dims(), dims);
        prop_assert!((prepared.state.norm_sqr() - 1.0).abs() < 1e-12);
        let distance = distance(&prepared.state.amplitudes(), &expected);
        prop_assert!(distance < 1e-11, "off by {}", distance);
        Ok(())
    });
}

#[test]
fn singlequdit_agrees_with_dense_matrices() {
    check_twin("singlequdit", 150, singlequdit_programs(9));
}

#[test]
fn multiqudit_agrees_with_dense_matrices() {
    check_twin("multiqudit", 40, multiqudit_programs(&[4]));
    check_twin("multiqudit", 60, multiqudit_programs(&[3, 4]));
    check_twin("multiqudit", 30, multiqudit_programs(&[2, 1, 3]));
    check_twin("multiqudit", 20, multiqudit_programs(&[1, 2, 1, 1]));
}

#[test]
fn rydberg_agrees_with_dense_matrices() {
    for num_wires in 1..=5 {
        check_twin("rydberg", 30, rydberg_programs(num_wires));
    }
}

#[test]
fn fermions_agrees_with_dense_matrices() {
    check_twin("fermions", 50, fermion_programs(true));
    check_twin("fermions", 50, fermion_programs(false));
}

#[test]
fn gates_on_one_wire_twice_agree_with_their_formula() {
    let start: [Gate; 2] = [("load", &[0], &[4.0]), ("rlx", &[0], &[1.2])];
    let before = amplitudes("multiqudit", 2, &start);
    for (name, energy) in [("rlxly", 0), ("rlzlz", 1)] {
        let after = amplitudes("multiqudit", 2, &[&start[..], &[(name, &[0, 0], &[0.7])]].concat());
        for (index, (before, after)) in before.iter().zip(&after).enumerate() {
            let m = 2.0 - (index / 2) as f64;
            let energy = [2.0 * (6.0 - m * (m + 1.0)), m * m][energy];
            assert!((after - before * Complex64::from_polar(1.0, -0.7 * energy)).norm() < 1e-14);
        }
    }
}
