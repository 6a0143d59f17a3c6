//! What textbooks and papers say.

use std::f64::consts::{FRAC_PI_2, PI, TAU};

use num_complex::Complex64;

use crate::programs::{Gate, LARGEST, amplitudes, check_close, distance, probabilities};

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
