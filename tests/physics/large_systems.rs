//! Systems so large that all cores share in them, against references that are written from the definitions.

use std::f64::consts::TAU;

use nalgebra::DMatrix;
use num_complex::Complex64;
use qspool::simulator::{ShotRandom, Uniform, rydberg_products};
use qspool_driver::{Instruction, Program, StopFlag};

use crate::programs::{Gate, amplitudes, distance, instruction, prepare, program};

/// A chain of spins, each with the levels 0 to N, level k at m = N/2 - k.
struct Chain {
    atoms: Vec<usize>,
    /// What stands on the diagonal, of the levels of all spins.
    energy: fn(&[f64], &[usize]) -> f64,
    params: Vec<f64>,
    drive: f64,
    /// Of `L+ L-` and back, between neighbours.
    hop: f64,
}

impl Chain {
    fn states(&self) -> usize {
        self.atoms.iter().map(|atoms| atoms + 1).product()
    }

    fn levels(&self, mut index: usize) -> Vec<usize> {
        let mut levels: Vec<usize> = Vec::new();
        for atoms in self.atoms.iter().rev() {
            levels.push(index % (atoms + 1));
            index /= atoms + 1;
        }
        levels.reverse();
        levels
    }

    /// `exp(-iH)` on index 0 by the Taylor series, in steps that are so short that 30 terms are more than enough.
    fn evolve(&self, steps: u32) -> Vec<Complex64> {
        let states = self.states();
        let strides: Vec<usize> =
            (0..self.atoms.len()).map(|wire| self.atoms[wire + 1..].iter().map(|atoms| atoms + 1).product()).collect();
        // Element and distance of all that is not on the diagonal, above it.
        let mut rows: Vec<(f64, Vec<(usize, f64)>)> = Vec::with_capacity(states);
        for index in 0..states {
            let levels = self.levels(index);
            // <k|L+|k+1>, which is twice the element of Lx.
            let raise = |wire: usize, k: usize| (((k + 1) * (self.atoms[wire] - k)) as f64).sqrt();
            let mut others = Vec::new();
            for wire in 0..levels.len() {
                let (k, atoms) = (levels[wire], self.atoms[wire]);
                if k < atoms {
                    others.push((index + strides[wire], 0.5 * self.drive * raise(wire, k)));
                }
                if wire + 1 < levels.len() && k < atoms && levels[wire + 1] > 0 && self.hop != 0.0 {
                    let next = levels[wire + 1] - 1;
                    others.push((
                        index + strides[wire] - strides[wire + 1],
                        self.hop * raise(wire, k) * raise(wire + 1, next),
                    ));
                }
            }
            rows.push(((self.energy)(&self.params, &levels), others));
        }
        let step = f64::from(steps).recip();
        let mut psi = vec![Complex64::ZERO; states];
        psi[0] = Complex64::ONE;
        for _ in 0..steps {
            let mut term = psi.clone();
            for order in 1..=30 {
                let mut next = vec![Complex64::ZERO; states];
                for (index, (energy, others)) in rows.iter().enumerate() {
                    next[index] += energy * term[index];
                    for &(other, element) in others {
                        next[index] += element * term[other];
                        next[other] += element * term[index];
                    }
                }
                let factor = Complex64::new(0.0, -step / f64::from(order));
                term = next.into_iter().map(|element| element * factor).collect();
                psi.iter_mut().zip(&term).for_each(|(psi, term)| *psi += term);
            }
        }
        psi
    }
}

#[test]
fn fifteen_rydberg_atoms_evolve_as_by_the_taylor_series() {
    let energy = |params: &[f64], levels: &[usize]| {
        let own = levels.iter().map(|&k| params[0] * (0.5 - k as f64));
        let pairs = (0..levels.len()).flat_map(|j| (0..j).map(move |i| (i, j)));
        let pairs = pairs.map(|(i, j)| params[1] * (levels[i] * levels[j]) as f64 / ((j - i) as f64).powi(6));
        own.sum::<f64>() + pairs.sum::<f64>()
    };
    let chain = Chain { atoms: vec![1; 15], energy, params: vec![0.4, 1.5], drive: 1.1, hop: 0.0 };
    let found = amplitudes("rydberg", 15, &[("rydberg_full", &[], &[1.1, 0.4, 1.5])]);
    let distance = distance(&found, &chain.evolve(8));
    assert!(distance < 1e-12, "{distance:e}");
}

#[test]
fn products_are_those_of_a_series_where_it_is_the_cheaper_way() {
    let products = |num_wires, params: [f64; 3]| {
        let program = program(num_wires, &[("rydberg_full", &[], &params)]);
        rydberg_products(&program, &StopFlag::default()).expect("few atoms")
    };
    // Half the width of the spectrum is the least.
    assert!((100.0..300.0).contains(&products(15, [TAU, 1.0, 10.0])));
    assert!(products(15, [2.0 * TAU, 2.0, 20.0]) > 1.5 * products(15, [TAU, 1.0, 10.0]));
    for (num_wires, params) in [(5, [1e7; 3]), (15, [0.0, 1.0, 10.0]), (15, [TAU, 1.0, 0.0])] {
        assert!(products(num_wires, params).abs() < 0.5, "{params:?}");
    }
}

#[test]
fn four_large_spins_evolve_as_by_the_taylor_series() {
    let energy = |params: &[f64], levels: &[usize]| {
        let m: Vec<f64> = levels.iter().map(|&k| 5.5 - k as f64).collect();
        let own = m.iter().map(|m| params[0] * m + params[1] * m * m);
        own.sum::<f64>() + m.windows(2).map(|pair| params[2] * pair[0] * pair[1]).sum::<f64>()
    };
    let chain = Chain { atoms: vec![11; 4], energy, params: vec![0.1, 0.03, 0.02], drive: 0.3, hop: 0.01 };
    let gates: [Gate; 5] = [
        ("load", &[0], &[11.0]),
        ("load", &[1], &[11.0]),
        ("load", &[2], &[11.0]),
        ("load", &[3], &[11.0]),
        ("multiqudit_full", &[0, 1, 2, 3], &[0.3, 0.1, 0.03, 0.01, 0.02]),
    ];
    let distance = distance(&amplitudes("multiqudit", 4, &gates), &chain.evolve(8));
    assert!(distance < 1e-12, "{distance:e}");
}

#[test]
fn ten_fermions_that_only_hop_stay_a_slater_determinant() {
    const MODES: u32 = 20;
    let mut random = ShotRandom::from_seed(9);
    let occupied: Vec<usize> = (0..MODES as usize).filter(|mode| matches!(mode % 4, 0 | 1)).collect();
    // From the last one on, so that no sign of Jordan and Wigner comes in.
    let mut instructions: Vec<Instruction> =
        occupied.iter().rev().map(|&mode| instruction("load", &[u32::try_from(mode).expect("small")], &[])).collect();
    // What becomes of one fermion in each mode.
    let mut one = DMatrix::<Complex64>::identity(MODES as usize, MODES as usize);
    for round in 0..40 {
        let angle = 6.0 * random.next_double();
        let site = 2 * (7 * round % (MODES / 2 - 1));
        instructions.push(instruction("fhop", &[site, site + 1, site + 2, site + 3], &[angle]));
        for from in [site as usize, site as usize + 1] {
            let (stay, go) = (Complex64::from(angle.cos()), Complex64::new(0.0, -angle.sin()));
            for column in 0..MODES as usize {
                let [a, b] = [one[(from, column)], one[(from + 2, column)]];
                (one[(from, column)], one[(from + 2, column)]) = (stay * a + go * b, go * a + stay * b);
            }
        }
        instructions.push(instruction("fphase", &[site], &[0.3]));
        let mut row = one.row_mut(site as usize);
        row *= Complex64::from_polar(1.0, -0.3);
    }
    let found = prepare("fermions", &Program { instructions, ..program(MODES, &[]) }).state.amplitudes();
    let mut seen = 0;
    for (index, amplitude) in found.iter().enumerate().filter(|(_, amplitude)| amplitude.norm_sqr() > 0.0).step_by(200)
    {
        let modes: Vec<usize> =
            (0..MODES as usize).filter(|mode| index >> (MODES as usize - 1 - mode) & 1 == 1).collect();
        let minor = DMatrix::from_fn(modes.len(), occupied.len(), |row, column| one[(modes[row], occupied[column])]);
        let expected = minor.determinant();
        assert!((amplitude - expected).norm() < 1e-13, "{modes:?}: {amplitude} instead of {expected}");
        seen += 1;
    }
    assert!(seen > 200, "{seen}");
    let norm: f64 = found.iter().map(Complex64::norm_sqr).sum();
    assert!((norm - 1.0).abs() < 1e-12, "{norm}");
}
