//! The simulators against closed forms, conservation laws and a slow twin.

#![expect(clippy::cast_precision_loss, reason = "levels are small whole numbers")]

#[path = "common/dense.rs"]
mod dense;

use std::f64::consts::{FRAC_PI_2, PI, TAU};

use num_complex::Complex64;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use qspool::simulator::{Prepared, SIMULATORS, ShotRandom, Uniform, simulator};
use qspool_driver::{Instruction, Program, StopFlag, WireOrder};

/// The largest parameter that a schema allows.
const LARGEST: f64 = 5e6 * PI;

/// Name, wires and parameters of an instruction.
type Gate<'a> = (&'a str, &'a [u32], &'a [f64]);

fn instruction(name: &str, wires: &[u32], params: &[f64]) -> Instruction {
    Instruction { name: name.to_owned(), wires: wires.to_vec(), params: params.to_vec() }
}

fn program(num_wires: u32, instructions: &[Gate]) -> Program {
    let instructions = instructions.iter().map(|(name, wires, params)| instruction(name, wires, params)).collect();
    Program { instructions, num_wires, shots: 100, wire_order: WireOrder::Sequential, seed: Some(1) }
}

fn prepare(backend: &str, program: &Program) -> Prepared {
    let simulator = simulator(backend).expect("one of the four");
    simulator.prepare(program, &StopFlag::default()).unwrap_or_else(|error| panic!("{backend}: {error}"))
}

fn amplitudes(backend: &str, num_wires: u32, instructions: &[Gate]) -> Vec<Complex64> {
    prepare(backend, &program(num_wires, instructions)).state.amplitudes()
}

fn probabilities(backend: &str, num_wires: u32, instructions: &[Gate]) -> Vec<f64> {
    prepare(backend, &program(num_wires, instructions)).probabilities()
}

fn distance(a: &[Complex64], b: &[Complex64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).norm_sqr()).sum::<f64>().sqrt()
}

fn check_close(what: &str, found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{what}: {found} instead of {expected}");
}

/// Runs `test` on `cases` values with a fixed seed.
fn check_all<S: Strategy>(cases: u32, strategy: S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    if let Err(error) = TestRunner::new_with_rng(config, random).run(&strategy, test) {
        panic!("{error}");
    }
}

// Closed forms.

/// `exp(-iH)` of 2 x 2 matrices, from its closed form for `H = x σx + y σy + z σz`.
fn rotation_of_two([x, y, z]: [f64; 3]) -> [[Complex64; 2]; 2] {
    let angle = (x * x + y * y + z * z).sqrt();
    let (sin, cos) = angle.sin_cos();
    let element = |re: f64, im: f64| Complex64::new(re, im) * Complex64::new(0.0, -sin / angle);
    [[cos + element(z, 0.0), element(x, -y)], [element(x, y), cos - element(z, 0.0)]]
}

#[test]
fn fermions_are_turned_between_the_two_modes_of_a_site_as_their_client_says() {
    // The generators of qiskit-cold-atom 0.2.1 on one fermion: φ σx, φ σy, φ σz.
    let phi = 0.7;
    for (name, axis) in [("frx", [phi, 0.0, 0.0]), ("fry", [0.0, phi, 0.0]), ("frz", [0.0, 0.0, phi])] {
        let matrix = rotation_of_two(axis);
        for (column, mode) in [2, 3].into_iter().enumerate() {
            let psi = amplitudes("fermions", 8, &[("load", &[mode], &[]), (name, &[2, 3], &[phi])]);
            // Mode j is bit 7 - j.
            let found = [psi[1 << 5], psi[1 << 4]];
            for row in [0, 1] {
                assert!((found[row] - matrix[row][column]).norm() < 1e-15, "{name}, from {mode}: {found:?}");
            }
            check_close("norm", psi.iter().map(Complex64::norm_sqr).sum(), 1.0, 1e-14);
        }
    }
    // Between modes of different sites the fermions between them count.
    let turn: Gate = ("fry", &[0, 5], &[phi]);
    let [alone, beside] = [&[0][..], &[0, 2]].map(|modes| {
        let wires: Vec<[u32; 1]> = modes.iter().map(|&mode| [mode]).collect();
        let loads = wires.iter().map(|wire| -> Gate { ("load", wire, &[]) });
        amplitudes("fermions", 8, &loads.chain([turn]).collect::<Vec<_>>())
    });
    let [moved_alone, moved_beside] = [alone[1 << 2], beside[1 << 2 | 1 << 5]];
    assert!((moved_alone - phi.sin()).norm() < 1e-15, "{moved_alone}");
    // Once for c†_2, which was put before c†_0, and once more for the one that passes it.
    assert!((moved_beside - phi.sin()).norm() < 1e-15, "{moved_beside}");
}

#[test]
fn gates_of_clients_on_one_spin_have_their_signs_and_their_order() {
    let load: Gate = ("load", &[0], &[3.0]);
    // The usual Ly turns +z towards +x: all amplitudes stay real and positive.
    let psi = amplitudes("singlequdit", 1, &[load, ("rly", &[0], &[0.4]), ("measure", &[0], &[])]);
    let (sin, cos) = 0.2_f64.sin_cos();
    let expected = [cos.powi(3), 3_f64.sqrt() * cos * cos * sin, 3_f64.sqrt() * cos * sin * sin, sin.powi(3)];
    assert!(psi.iter().zip(expected).all(|(found, expected)| (found - expected).norm() < 1e-14), "{psi:?}");
    let one_of_two = amplitudes("multiqudit", 2, &[("load", &[1], &[3.0]), ("rly", &[1], &[0.4])]);
    assert!(distance(&one_of_two[..4], &psi) < 1e-15, "{one_of_two:?}");
    let spread: Gate = ("rlx", &[0], &[1.0]);
    let measure: Gate = ("measure", &[0], &[]);
    let twisted = amplitudes("singlequdit", 1, &[load, spread, ("OAT", &[0], &[0.3, 0.5, 0.7]), measure]);
    let full = amplitudes("singlequdit", 1, &[load, spread, ("sq_full", &[0], &[0.7, 0.5, 0.3]), measure]);
    assert!(distance(&twisted, &full) < 1e-15);
    let atoms = |name| amplitudes("rydberg", 3, &[("rlx", &[0], &[1.0]), ("rlx", &[2], &[2.0]), (name, &[], &[0.6])]);
    assert!(distance(&atoms("rydberg_block"), &atoms("rydberg_blockade")) < 1e-15);
}

#[test]
fn a_driven_atom_shows_rabi_oscillations() {
    for (omega, delta) in [(0.3, 0.0), (1.0, 0.7), (TAU, 10.0), (1e-300, 1e-300), (LARGEST, 1.0), (3.0, LARGEST)] {
        let rabi = f64::hypot(omega, delta);
        let expected = (omega / rabi * (rabi / 2.0).sin()).powi(2);
        let excited = probabilities("rydberg", 1, &[("rydberg_full", &[0], &[omega, delta, 3.0])])[1];
        // The reference value itself is only as good as the half angle.
        check_close("one atom", excited, expected, 1e-15 + 1e-16 * rabi);
        let atoms = 6;
        let spin = probabilities("singlequdit", 1, &[("load", &[0], &[6.0]), ("sq_full", &[0], &[omega, delta, 0.0])]);
        let binomial = [1.0, 6.0, 15.0, 20.0, 15.0, 6.0, 1.0];
        for (k, (found, ways)) in (0..).zip(spin.iter().zip(binomial)) {
            let expected = ways * expected.powi(k) * (1.0 - expected).powi(atoms - k);
            check_close("six atoms", *found, expected, 1e-13 + 1e-15 * rabi);
        }
    }
}

#[test]
fn a_large_spin_rotates_into_a_binomial_distribution() {
    let atoms = 500.0_f64;
    let theta: f64 = 1.1;
    let found = amplitudes("singlequdit", 1, &[("load", &[0], &[atoms]), ("rlx", &[0], &[theta])]);
    let (sin, cos) = (theta / 2.0).sin_cos();
    let (mut log_weight, mut k) = (atoms * cos.ln() * 2.0, 0.0);
    let mut phase = Complex64::ONE;
    for amplitude in &found {
        let expected = phase * (0.5 * log_weight).exp();
        assert!((amplitude - expected).norm() < 1e-12, "level {k}: {amplitude} instead of {expected}");
        log_weight += ((atoms - k) / (k + 1.0)).ln() + 2.0 * (sin / cos).ln();
        phase *= -Complex64::I;
        k += 1.0;
    }
}

/// Expectation values of `Lx`, and the smallest variance across it in units of that of a coherent state.
fn contrast_and_squeezing(psi: &[Complex64]) -> (f64, f64) {
    let n = psi.len() as f64 - 1.0;
    let m = |k: usize| n / 2.0 - k as f64;
    let lz = |psi: &[Complex64]| psi.iter().enumerate().map(|(k, a)| a * m(k)).collect::<Vec<_>>();
    let ladder = |psi: &[Complex64], upper: Complex64, lower: Complex64| {
        let mut image = vec![Complex64::ZERO; psi.len()];
        for k in 0..psi.len() - 1 {
            let b = 0.5 * ((k as f64 + 1.0) * (n - k as f64)).sqrt();
            image[k] += upper * b * psi[k + 1];
            image[k + 1] += lower * b * psi[k];
        }
        image
    };
    let lx = |psi: &[Complex64]| ladder(psi, 1.0.into(), 1.0.into());
    let ly = |psi: &[Complex64]| ladder(psi, Complex64::I, -Complex64::I);
    let mean = |a: &[Complex64], b: &[Complex64]| a.iter().zip(b).map(|(a, b)| (a.conj() * b).re).sum::<f64>();
    let (x, z) = (lx(psi), lz(psi));
    let y = ly(psi);
    let (yy, zz, yz) = (mean(&y, &y), mean(&z, &z), 2.0 * mean(&y, &z));
    let smallest = 0.5 * (yy + zz - f64::hypot(yy - zz, yz));
    (mean(psi, &x), smallest / (n / 4.0))
}

#[test]
fn one_axis_twisting_squeezes_as_kitagawa_and_ueda_say() {
    // M. Kitagawa and M. Ueda, Phys. Rev. A 47, 5138 (1993), eqs. (4) and (5), with μ = 2χ.
    for (atoms, chi) in [(2, 0.3), (10, 0.1), (50, 0.02), (100, 0.5), (500, 0.003), (500, 9.7)] {
        let n = f64::from(atoms);
        // To the x axis: a turn about z takes -y (after rlx) to x.
        let to_x: [Gate; 3] = [("load", &[0], &[n]), ("rlx", &[0], &[FRAC_PI_2]), ("rlz", &[0], &[FRAC_PI_2])];
        let start = contrast_and_squeezing(&amplitudes("singlequdit", 1, &to_x));
        let chi_param = [chi];
        let twisted = [&to_x[..], &[("rlz2", &[0], &chi_param)]].concat();
        let (contrast, squeezing) = contrast_and_squeezing(&amplitudes("singlequdit", 1, &twisted));
        check_close("decay of the mean spin", contrast / start.0, chi.cos().powi(atoms - 1), 1e-12);
        let a = 1.0 - (2.0 * chi).cos().powi(atoms - 2);
        let b = 4.0 * chi.sin() * chi.cos().powi(atoms - 2);
        let expected = 1.0 + 0.25 * (n - 1.0) * (a - f64::hypot(a, b));
        check_close("squeezing", squeezing, expected, 1e-11 * n);
        check_close("start", start.0.abs(), n / 2.0, 1e-10);
    }
}

#[test]
fn a_fermion_hops_between_two_tweezers() {
    for theta in [0.0, 0.4, FRAC_PI_2, 5.0] {
        let found = probabilities("fermions", 8, &[("load", &[0], &[]), ("fhop", &[0, 1, 2, 3], &[theta])]);
        check_close("stays", found[0b1000_0000], theta.cos().powi(2), 1e-15);
        check_close("hops", found[0b0010_0000], theta.sin().powi(2), 1e-15);
    }
}

#[test]
fn two_fermions_interfere_with_the_signs_of_jordan_and_wigner() {
    let (theta, strength) = (0.4_f64, 1.3_f64);
    let hop: Gate = ("fhop", &[0, 1, 2, 3], &[theta]);
    let interact: Gate = ("fint", &[0, 1, 2, 3, 4, 5, 6, 7], &[strength]);
    // Equal spins on two sites: nowhere to go.
    let found = probabilities("fermions", 8, &[("load", &[0], &[]), ("load", &[2], &[]), hop, interact, hop]);
    check_close("equal spins", found[0b1010_0000], 1.0, 1e-15);
    // Opposite spins: only the singlet mixes with the pairs, by the angle 2θ.
    let found = probabilities("fermions", 8, &[("load", &[0], &[]), ("load", &[3], &[]), hop, interact, hop]);
    let (sin, cos) = (2.0 * theta).sin_cos();
    let singlet = Complex64::from(cos * cos) - Complex64::from_polar(sin * sin, -strength);
    check_close("as loaded", found[0b1001_0000], (0.5 * (1.0 + singlet)).norm_sqr(), 1e-15);
    check_close("exchanged", found[0b0110_0000], (0.5 * (1.0 - singlet)).norm_sqr(), 1e-15);
    let pair = 0.25 * (4.0 * theta).sin().powi(2) * (strength / 2.0).cos().powi(2);
    check_close("pair on the first site", found[0b1100_0000], pair, 1e-15);
    check_close("pair on the second site", found[0b0011_0000], pair, 1e-15);
}

#[test]
fn a_fermion_picks_up_the_sign_of_those_between() {
    // The hop 0 → 2 passes mode 1, the hop 1 → 3 passes mode 2.
    let empty = amplitudes("fermions", 8, &[("load", &[0], &[]), ("fhop", &[0, 4, 2, 6], &[FRAC_PI_2])]);
    let passed =
        amplitudes("fermions", 8, &[("load", &[1], &[]), ("load", &[0], &[]), ("fhop", &[0, 4, 2, 6], &[FRAC_PI_2])]);
    assert!((empty[0b0010_0000] - -Complex64::I).norm() < 1e-15, "{}", empty[0b0010_0000]);
    assert!((passed[0b0110_0000] - Complex64::I).norm() < 1e-15, "{}", passed[0b0110_0000]);
}

#[test]
fn a_second_excitation_is_blocked() {
    let (omega, blockade) = (1.3_f64, 1e6);
    let found = probabilities("rydberg", 2, &[("rydberg_full", &[0, 1], &[omega, 0.0, blockade])]);
    // Both atoms share one excitation, which is driven faster by √2.
    let single = (omega / 2.0_f64.sqrt()).sin().powi(2);
    check_close("one excitation", found[1] + found[2], single, 1e-5);
    assert!(found[3] < 1e-11, "two excitations: {}", found[3]);
    // Without interaction both are excited independently.
    let free = probabilities("rydberg", 2, &[("rydberg_full", &[0, 1], &[omega, 0.0, 0.0])]);
    check_close("free", free[3], (omega / 2.0).sin().powi(4), 1e-15);
}

#[test]
fn the_interaction_of_rydberg_atoms_falls_with_the_sixth_power() {
    let all_excited: Vec<Gate> = vec![("rlx", &[0], &[PI]), ("rlx", &[1], &[FRAC_PI_2]), ("rlx", &[2], &[PI])];
    let with_block = [&all_excited[..], &[("rydberg_block", &[0, 1, 2], &[1.9])]].concat();
    let (before, after) = (amplitudes("rydberg", 3, &all_excited), amplitudes("rydberg", 3, &with_block));
    for (index, energy) in [(0b101, 1.0 / 64.0), (0b111, 2.0 + 1.0 / 64.0)] {
        let expected = before[index] * Complex64::from_polar(1.0, -1.9 * energy);
        assert!((after[index] - expected).norm() < 1e-15);
    }
}

#[test]
fn an_excitation_hops_between_two_spins() {
    for j in [0.3, 7.0] {
        let found = probabilities("multiqudit", 2, &[("rlx", &[0], &[PI]), ("rlxly", &[0, 1], &[j])]);
        check_close("pair", found[0b01], j.sin().powi(2), 1e-14);
        // The chain of two is the pair.
        let chain = probabilities("multiqudit", 3, &[("rlx", &[1], &[PI]), ("rlxly", &[0, 1, 2, 3, 4], &[j])]);
        check_close("chain", chain[0b010], (j * 2.0_f64.sqrt()).cos().powi(2), 1e-13);
    }
}

// The slow twin.

fn angle() -> impl Strategy<Value = f64> {
    prop_oneof![4 => 0.0..TAU, 1 => -TAU..0.0, 1 => Just(0.0), 1 => 0.0..1e-3]
}

fn angles(count: usize) -> impl Strategy<Value = Vec<f64>> {
    proptest::collection::vec(angle(), count)
}

fn gate(
    name: &'static str,
    wires: impl Strategy<Value = Vec<u32>> + 'static,
    params: usize,
) -> BoxedStrategy<Instruction> {
    (wires, angles(params)).prop_map(move |(wires, params)| instruction(name, &wires, &params)).boxed()
}

fn one_of(wires: u32) -> impl Strategy<Value = Vec<u32>> {
    (0..wires).prop_map(|wire| vec![wire])
}

fn two_of(wires: u32) -> impl Strategy<Value = Vec<u32>> {
    (0..wires, 0..wires).prop_filter("different", |(a, b)| a != b).prop_map(|(a, b)| vec![a, b])
}

fn all(wires: u32) -> impl Strategy<Value = Vec<u32>> {
    Just((0..wires.max(3)).collect())
}

fn load(wire: u32, most: u32) -> BoxedStrategy<Instruction> {
    (1..=most).prop_map(move |atoms| instruction("load", &[wire], &[f64::from(atoms)])).boxed()
}

fn with_gates(
    num_wires: u32,
    loads: Vec<BoxedStrategy<Instruction>>,
    gates: Vec<BoxedStrategy<Instruction>>,
) -> BoxedStrategy<Program> {
    let gates = proptest::collection::vec(proptest::strategy::Union::new(gates), 1..8);
    let program = move |(loads, gates): (Vec<Instruction>, Vec<Instruction>)| Program {
        instructions: loads.into_iter().chain(gates).collect(),
        ..program(num_wires, &[])
    };
    (loads, gates).prop_map(program).boxed()
}

fn singlequdit_programs(atoms: u32) -> BoxedStrategy<Program> {
    let gates = vec![
        gate("rlx", one_of(1), 1),
        gate("rlz", one_of(1), 1),
        gate("rlz2", one_of(1), 1),
        gate("sq_full", one_of(1), 3),
        gate("barrier", one_of(1), 0),
    ];
    with_gates(1, vec![load(0, atoms)], gates)
}

fn multiqudit_programs(atoms: &'static [u32]) -> BoxedStrategy<Program> {
    let num_wires = u32::try_from(atoms.len()).expect("small");
    let mut gates = vec![
        gate("rlx", one_of(num_wires), 1),
        gate("rly", one_of(num_wires), 1),
        gate("rlz", one_of(num_wires), 1),
        gate("rlz2", one_of(num_wires), 1),
        gate("rlxly", all(num_wires), 1),
        gate("rlzlz", all(num_wires), 1),
        gate("multiqudit_full", all(num_wires), 5),
    ];
    if num_wires > 1 {
        gates.push(gate("rlxly", two_of(num_wires), 1));
        gates.push(gate("rlzlz", two_of(num_wires), 1));
    }
    let loads = atoms.iter().enumerate().map(|(wire, &most)| load(u32::try_from(wire).expect("small"), most));
    with_gates(num_wires, loads.collect(), gates)
}

fn rydberg_programs(num_wires: u32) -> BoxedStrategy<Program> {
    let gates = vec![
        gate("rlx", one_of(num_wires), 1),
        gate("rlz", one_of(num_wires), 1),
        gate("rydberg_block", all(num_wires), 1),
        gate("rydberg_full", all(num_wires), 3),
    ];
    with_gates(num_wires, Vec::new(), gates)
}

/// With gates that lead from one spin to the other, or without.
fn fermion_programs(crosses: bool) -> BoxedStrategy<Program> {
    let wires = || Just((0..8_u32).collect::<Vec<_>>()).prop_shuffle();
    let of_one_spin = |spin: u32| {
        let modes = Just((0..4_u32).map(|site| 2 * site + spin).collect::<Vec<_>>()).prop_shuffle();
        // The same mode twice, at times.
        (modes, 0..6_usize).prop_map(|(modes, same)| [modes[0], if same == 0 { modes[0] } else { modes[1] }])
    };
    let pairs = (of_one_spin(0), of_one_spin(1), 0..2_u32).prop_map(|([a, c], [b, d], turned)| match turned {
        0 => vec![a, b, c, d],
        _ => vec![b, a, d, c],
    });
    let hops = if crosses { wires().prop_map(|wires| wires[..4].to_vec()).boxed() } else { pairs.boxed() };
    let gates = vec![
        gate("fhop", hops, 1),
        gate("fhubbard", Just((0..8).collect()), 8),
        gate("fhop", Just(vec![2, 3, 4, 5]), 1),
        gate("fint", Just((0..8).collect()), 1),
        gate("fphase", proptest::collection::vec(0..8_u32, 1..4), 1),
    ];
    let loads = (wires(), 0..=8_usize).prop_map(|(modes, count)| {
        modes[..count].iter().map(|&mode| instruction("load", &[mode], &[])).collect::<Vec<_>>()
    });
    (loads, with_gates(8, Vec::new(), gates))
        .prop_map(|(loads, program)| Program { instructions: [loads, program.instructions].concat(), ..program })
        .boxed()
}

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

// Laws.

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

// Shots.

fn shots(backend: &str, program: &Program, mut random: ShotRandom) -> Vec<Vec<i64>> {
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

// Programs that no schema has checked.

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
