//! What holds for every program, and at any parameter.

use std::f64::consts::{PI, TAU};

use num_complex::Complex64;
use proptest::prelude::*;
use qspool::simulator::{Prepared, ShotRandom, simulator};
use qspool_driver::Program;

use crate::programs::{Gate, LARGEST, amplitudes, check_all, check_close, distance, prepare, program};
use crate::shots::shots;
use crate::strategies::{angles, fermion_programs};

#[test]
fn the_norm_stays_one_at_any_parameter() {
    let extremes = proptest::sample::select(vec![0.0, 1e-300, 1e-9, 1.0, 20.0 * PI, 1e5, LARGEST]);
    let strategy = (1..120_u32, proptest::collection::vec(extremes, 5));
    check_all(40, strategy, |(atoms, p)| {
        let spin =
            program(1, &[("load", &[0], &[f64::from(atoms)]), ("rlx", &[0], &[1.0]), ("sq_full", &[0], &p[..3])]);
        let chain = program(
            3,
            &[
                ("load", &[1], &[4.0]),
                ("rlx", &[0], &[1.0]),
                ("multiqudit_full", &[0, 1, 2], &p),
                ("rlxly", &[1, 2], &p[..1]),
            ],
        );
        let atoms = program(5, &[("rlx", &[2], &[1.0]), ("rydberg_full", &[0, 1, 2, 3, 4], &p[..3])]);
        for (backend, program) in [("singlequdit", spin), ("multiqudit", chain), ("rydberg", atoms)] {
            let norm = prepare(backend, &program).state.norm_sqr();
            prop_assert!((norm - 1.0).abs() < 1e-12, "{}: {:e} at {:?}", backend, norm - 1.0, p);
        }
        Ok(())
    });
}

#[test]
fn amplitudes_at_large_parameters_are_those_of_arithmetic_with_50_digits() {
    // Levels with their amplitudes, from a diagonalisation with mpmath at 50 digits.
    type Expected = [(usize, f64, f64); 4];
    let check = |backend: &str, num_wires: u32, gates: &[Gate], expected: Expected| {
        let found = amplitudes(backend, num_wires, gates);
        for (index, re, im) in expected {
            let difference = (found[index] - Complex64::new(re, im)).norm();
            assert!(difference < 1e-11, "{gates:?}, state {index}: off by {difference:e}");
        }
    };
    let expected = [
        (0, 0.988_494_722_317_549_8, 0.007_581_101_058_056_838),
        (1, 0.125_499_964_824_148_5, -0.081_925_842_843_680_03),
        (15, 0.0, 0.0),
        (30, 0.0, 0.0),
    ];
    let gates: [Gate; 2] = [("load", &[0], &[30.0]), ("sq_full", &[0], &[LARGEST; 3])];
    check("singlequdit", 1, &gates, expected);
    let expected = [
        (0, 0.271_240_143_161_925_46, -0.163_631_904_926_637_2),
        (20, -0.000_339_763_253_887_567_8, -0.106_249_644_396_677_83),
        (37, 0.119_370_345_588_312_26, 0.024_930_713_134_152_554),
        (40, -0.183_049_878_668_703_76, 0.006_186_099_164_237_940_5),
    ];
    let gates: [Gate; 2] = [("load", &[0], &[40.0]), ("sq_full", &[0], &[1e6, 1.0, 1e4])];
    check("singlequdit", 1, &gates, expected);
    let expected = [
        (0, 0.550_222_746_957_990_1, 0.430_304_655_077_873_4),
        (5, 0.068_253_502_589_796_15, -0.013_441_334_678_182_523),
        (17, 0.057_887_734_158_401_28, -0.047_603_619_350_174_64),
        (31, 0.267_676_934_304_190_3, -0.211_754_197_095_337_6),
    ];
    check("rydberg", 5, &[("rydberg_full", &[0, 1, 2, 3, 4], &[LARGEST; 3])], expected);
    let expected = [
        (0, -0.058_065_525_887_187_81, 0.014_809_682_480_540_695),
        (10, 0.064_706_076_651_472_92, -0.042_212_851_939_626_54),
        (17, 0.027_791_814_802_601_775, -0.043_643_217_104_227_69),
        (31, 0.226_651_755_394_773_56, 0.739_428_114_991_005),
    ];
    check("rydberg", 5, &[("rydberg_full", &[0, 1, 2, 3, 4], &[1e6, 3.0, 1e4])], expected);
}

#[test]
fn three_steps_are_one_step_three_times_as_long() {
    // Splits a gate into its thirds: wrong phases at large parameters would not add up.
    let check = |backend: &str, num_wires: u32, start: &[Gate], gate: &str, p: &[f64], norm: f64| {
        let wires: Vec<u32> = (0..num_wires).collect();
        let triple: Vec<f64> = p.iter().map(|p| 3.0 * p).collect();
        let step: Gate = (gate, &wires, p);
        let once = amplitudes(backend, num_wires, &[start, &[(gate, &wires, &triple)]].concat());
        let thrice = amplitudes(backend, num_wires, &[start, &[step, step, step]].concat());
        let allowed = f64::max(1e-10, 6.0 * norm * f64::EPSILON);
        let found = distance(&once, &thrice);
        assert!(found < allowed, "{backend}, {gate} {p:?}: {found:e}, allowed {allowed:e}");
    };
    let spin: [Gate; 2] = [("load", &[0], &[200.0]), ("rlx", &[0], &[0.9])];
    for p in [[1.0, 1.0, 1.0], [100.0, 100.0, 100.0], [1e6, 1e6, 1e4], [1e6, 1.0, 0.0], [5e6, 5e6, 5e6]] {
        check("singlequdit", 1, &spin, "sq_full", &p, 100.0 * (p[0] + p[1]) + 10_000.0 * p[2]);
    }
    let atoms: [Gate; 1] = [("rlx", &[2], &[0.9])];
    for p in [[TAU, 1.0, 10.0], [1e4, 1e4, 1e4], [5e6, 5e6, 5e6], [1.0, 5e6, 3.0]] {
        check("rydberg", 5, &atoms, "rydberg_full", &p, 2.5 * (p[0] + p[1]) + 5.0 * p[2]);
    }
    let chain: [Gate; 2] = [("load", &[1], &[5.0]), ("rlx", &[1], &[0.9])];
    for p in [[1.0, 0.5, 0.1, 0.02, 0.05], [0.0, 1e6, 2e6, 3e6, 4e6], [1e6, 1e6, 0.0, 1e6, 1e6]] {
        check("multiqudit", 4, &chain, "multiqudit_full", &p, 10.0 * p.iter().sum::<f64>());
    }
}

#[test]
fn hops_conserve_the_number_of_fermions() {
    check_all(60, fermion_programs(true), |program| {
        let loaded = program.instructions.iter().filter(|instruction| instruction.name == "load").count();
        let found = prepare("fermions", &program).probabilities();
        let elsewhere = found.iter().enumerate().filter(|(index, _)| index.count_ones() as usize != loaded);
        prop_assert!(elsewhere.map(|(_, probability)| probability).sum::<f64>() == 0.0);
        Ok(())
    });
}

#[test]
fn a_lattice_of_forty_modes_holds_the_states_of_its_fermions_alone() {
    // One of each spin walks from the first site to the third, and back by a half.
    let there: [Gate; 4] =
        [("load", &[1], &[]), ("load", &[0], &[]), ("fhop", &[0, 1, 38, 39], &[PI / 2.0]), ("fint", &[], &[2.0])];
    let back: Gate = ("fhop", &[38, 39, 6, 7], &[PI / 4.0]);
    let measure: Gate = ("measure", &[38, 39, 6, 7], &[]);
    let program = Program { shots: 40_000, ..program(40, &[&there[..], &[back, measure]].concat()) };
    let prepared = prepare("fermions", &program);
    assert_eq!((prepared.state.states(), prepared.state.shape().num_wires()), (400, 40));
    check_close("norm", prepared.state.norm_sqr(), 1.0, 1e-14);
    let found = shots("fermions", &program, ShotRandom::from_seed(3));
    for (row, expected) in [([1, 1, 0, 0], 0.25), ([1, 0, 0, 1], 0.25), ([0, 1, 1, 0], 0.25), ([0, 0, 1, 1], 0.25)] {
        let count = found.iter().filter(|shot| **shot == row).count() as f64;
        check_close("frequency", count / 40_000.0, expected, 0.015);
    }
    assert_eq!(simulator("fermions").expect("there").states(&program, prepared.state.shape()), 400);
}

#[test]
fn exchange_conserves_the_number_of_excitations() {
    // The distribution of the sum of all levels, before and after the exchange gates and diagonal ones.
    let levels = |prepared: &Prepared| {
        let shape = prepared.state.shape();
        let mut distribution = vec![0.0; 30];
        for (index, probability) in prepared.probabilities().into_iter().enumerate() {
            distribution[(0..shape.num_wires()).map(|wire| shape.level(index, wire)).sum::<usize>()] += probability;
        }
        distribution
    };
    check_all(30, (angles(4), angles(4)), |(start, p)| {
        let loads: [Gate; 3] = [("load", &[0], &[7.0]), ("load", &[1], &[3.0]), ("load", &[3], &[2.0])];
        let turns: Vec<Gate> = vec![
            ("rlx", &[0], &start[..1]),
            ("rlx", &[1], &start[1..2]),
            ("rlx", &[2], &start[2..3]),
            ("rlx", &[3], &start[3..]),
        ];
        let full = [0.0, p[0], p[1], p[2], p[3]];
        let exchange: Vec<Gate> = vec![
            ("rlxly", &[0, 1], &p[..1]),
            ("rlxly", &[3, 1], &p[1..2]),
            ("rlxly", &[0, 1, 2, 3], &p[2..3]),
            ("multiqudit_full", &[0, 1, 2, 3], &full),
        ];
        let before = levels(&prepare("multiqudit", &program(4, &[&loads[..], &turns].concat())));
        let after = levels(&prepare("multiqudit", &program(4, &[&loads[..], &turns, &exchange].concat())));
        for (before, after) in before.iter().zip(&after) {
            prop_assert!((before - after).abs() < 1e-12);
        }
        Ok(())
    });
}
