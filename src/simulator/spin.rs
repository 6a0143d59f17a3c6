//! Gates on the collective spins of a register: rotations and twists of one wire, exchange between two.
//!
//! A wire with `d = N + 1` levels is a spin of length `N/2`; level `k` has `m = N/2 - k`. All angles are in radians and
//! of any size, the norm is kept to 1e-13, and all gates work in place.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::f64::consts::FRAC_PI_2;
use std::sync::Arc;

use num_complex::Complex64;
use qspool_driver::StopFlag;

use super::cache::{Bytes, EigenCache};
use super::double::Double;
use super::eigen::Eigenbasis;
use super::error::SimulationError;
use super::mirrored::Mirrored;
use super::qubits::{self, QubitGate};
use super::register::{Register, Shape, float};
use super::rotation::rotation;

/// The largest number of atoms on one wire that is looked at; memory sets the true limit.
pub(crate) const MAX_ATOMS: u32 = 1_000_000;

/// The magnetic number `m` of `level` on a wire of `dim` levels.
pub(crate) fn magnetic_number(dim: usize, level: usize) -> f64 {
    0.5 * float(dim - 1) - float(level)
}

/// `(k+1)(N-k)`, four times the square of the element of `Lx` between the levels `k` and `k + 1`.
fn ladder_square(dim: usize, level: usize) -> f64 {
    float(level + 1) * float(dim - 1 - level)
}

/// The elements of `Lx` beside its zero diagonal: `½ sqrt((k+1)(N-k))`.
pub(crate) fn ladder(dim: usize) -> Vec<Double> {
    (1..dim).map(|level| Double::from(ladder_square(dim, level - 1)).sqrt() * 0.5).collect()
}

/// The angle of `δ Lz + χ Lz²` at `level`.
pub(crate) fn level_energy(dim: usize, level: usize, delta: f64, chi: f64) -> Double {
    let m = magnetic_number(dim, level);
    Double::product(delta, m) + Double::product(chi, m * m)
}

/// The gates of one run, with the eigenvectors that they share.
///
/// Gates on wires of two levels are gathered until something else acts on the register, or [`finish`](Self::finish).
#[derive(Debug, Default)]
pub(crate) struct SpinGates {
    /// Of `Lx`, by number of levels.
    rotations: HashMap<usize, Arc<Mirrored>>,
    /// Of the exchange of two wires, by their numbers of levels: one per sum of the two levels.
    exchanges: HashMap<[usize; 2], Arc<Vec<Eigenbasis>>>,
    /// Of wires with two levels, by wire: what is still to be applied.
    pending: BTreeMap<usize, QubitGate>,
}

static ROTATIONS: EigenCache<usize, Mirrored> = EigenCache::new();
static EXCHANGES: EigenCache<[usize; 2], Vec<Eigenbasis>> = EigenCache::new();
/// Of `ω Lx + δ Lz + χ Lz²`, by the number of levels and the bits of the three.
static TWISTS: EigenCache<(usize, [u64; 3]), Twist> = EigenCache::new();

/// `ω Lx + δ Lz + χ Lz²`, diagonalised.
#[derive(Debug)]
enum Twist {
    /// Without δ.
    Mirrored(Mirrored),
    Whole(Eigenbasis),
}

impl Bytes for Mirrored {
    fn bytes(&self) -> u64 {
        Self::bytes(self.dim() as u64)
    }
}

impl Bytes for Eigenbasis {
    fn bytes(&self) -> u64 {
        Self::bytes(self.values().len() as u64)
    }
}

impl Bytes for Twist {
    fn bytes(&self) -> u64 {
        match self {
            Self::Mirrored(halves) => Bytes::bytes(halves),
            Self::Whole(basis) => Bytes::bytes(basis),
        }
    }
}

impl Bytes for Vec<Eigenbasis> {
    fn bytes(&self) -> u64 {
        self.iter().map(Bytes::bytes).sum()
    }
}

impl SpinGates {
    /// Applies what is still to be applied: whatever else acts on the register has to come behind it.
    pub(crate) fn finish(&mut self, register: &mut Register, stop: &StopFlag) -> Result<(), SimulationError> {
        qubits::apply(register, std::mem::take(&mut self.pending), stop)
    }

    /// Multiplies each amplitude by `exp(-i·angle(k))`, where `k` is the level of `wire`.
    pub(crate) fn phase(&mut self, register: &mut Register, wire: usize, angle: impl Fn(usize) -> Double) {
        if register.shape().dims()[wire] == 2 {
            self.gather(wire, QubitGate::phases([0, 1].map(|level| angle(level).phase())));
        } else {
            register.phase(wire, angle);
        }
    }

    fn gather(&mut self, wire: usize, gate: QubitGate) {
        let gathered = self.pending.get(&wire).map_or(gate, |first| gate.after(*first));
        self.pending.insert(wire, gathered);
    }

    /// Applies `exp(-i (ω Lx + δ Lz + χ Lz²))` to `wire`.
    ///
    /// `2 d` multiplications per state, `4 d` for all three together, for `ω = 0` one; `O(d²)` once for a new `d`, and for
    /// new ω and χ together, see [`Eigenbasis::tridiagonal`].
    pub(crate) fn twist(
        &mut self,
        register: &mut Register,
        wire: usize,
        [omega, delta, chi]: [f64; 3],
        stop: &StopFlag,
    ) -> Result<(), SimulationError> {
        let dim = register.shape().dims()[wire];
        if omega == 0.0 {
            self.phase(register, wire, |level| level_energy(dim, level, delta, chi));
            return Ok(());
        }
        if chi == 0.0 || dim <= 2 {
            // On two levels Lz² is the number 1/4.
            if chi != 0.0 {
                self.phase(register, wire, |level| level_energy(dim, level, 0.0, chi));
            }
            return self.rotate(register, wire, [omega, delta], stop);
        }
        let twist = TWISTS.get(&(dim, [omega, delta, chi].map(f64::to_bits)), || {
            let diagonal: Vec<Double> = (0..dim).map(|level| level_energy(dim, level, delta, chi)).collect();
            let beside: Vec<Double> = ladder(dim).into_iter().map(|element| element * omega).collect();
            if delta == 0.0 {
                Mirrored::tridiagonal(&diagonal, &beside, stop).map(Twist::Mirrored)
            } else {
                Eigenbasis::tridiagonal(&diagonal, &beside, stop).map(Twist::Whole)
            }
        })?;
        match &*twist {
            Twist::Mirrored(halves) => halves.evolve(1.0, register, wire, stop),
            Twist::Whole(basis) => evolve_wire(basis, 1.0, register, wire, stop),
        }
    }

    /// Applies `exp(-iθ Ly)` to `wire`, with the usual `Ly[k, k+1] = -i Lx[k, k+1]`: `Lx` turned about z by π/2.
    pub(crate) fn rotate_y(
        &mut self,
        register: &mut Register,
        wire: usize,
        theta: f64,
        stop: &StopFlag,
    ) -> Result<(), SimulationError> {
        let dim = register.shape().dims()[wire];
        self.phase(register, wire, |level| level_energy(dim, level, -FRAC_PI_2, 0.0));
        self.twist(register, wire, [theta, 0.0, 0.0], stop)?;
        self.phase(register, wire, |level| level_energy(dim, level, FRAC_PI_2, 0.0));
        Ok(())
    }

    /// Applies `exp(-i (ω Lx + δ Lz))` to `wire`: the rotation of a spin of one half, carried over to any length.
    fn rotate(
        &mut self,
        register: &mut Register,
        wire: usize,
        [omega, delta]: [f64; 2],
        stop: &StopFlag,
    ) -> Result<(), SimulationError> {
        let dim = register.shape().dims()[wire];
        if dim == 1 {
            return Ok(());
        }
        if dim > 2 && delta == 0.0 {
            return self.rotation(dim, stop)?.evolve(omega, register, wire, stop);
        }
        let length = omega.hypot(delta);
        // Squares of what is too small for them vanish.
        let has_squares = length > 1e-100;
        let square = Double::product(omega, omega) + Double::product(delta, delta);
        let angle = if has_squares { square.sqrt() } else { Double::from(length) };
        let half_turn = (angle * 0.5).phase();
        let (sin_x, sin_z) = (-half_turn.im * (omega / length), -half_turn.im * (delta / length));
        let stay = Complex64::new(half_turn.re, -sin_z);
        if dim == 2 {
            self.gather(wire, QubitGate::mixing(stay, Complex64::new(0.0, -sin_x)));
            return Ok(());
        }
        // Rz(α) Rx(β) Rz(α) with exp(-iα) cos(β/2) = <0|U|0> and sin(β/2) = i <0|U|1>.
        let alpha = -stay.arg();
        let beta = 2.0 * sin_x.atan2(stay.norm());
        register.phase(wire, |level| level_energy(dim, level, alpha, 0.0));
        self.rotation(dim, stop)?.evolve(beta, register, wire, stop)?;
        register.phase(wire, |level| level_energy(dim, level, alpha, 0.0));
        Ok(())
    }

    /// Applies `exp(-iJ (L+_a L-_b + L-_a L+_b))` to two different wires.
    ///
    /// The sum of the two levels is conserved, so the matrix falls into blocks of at most `min(d_a, d_b)` rows.
    pub(crate) fn exchange(
        &mut self,
        register: &mut Register,
        [a, b]: [usize; 2],
        strength: f64,
        stop: &StopFlag,
    ) -> Result<(), SimulationError> {
        self.finish(register, stop)?;
        let wires = [a.min(b), a.max(b)];
        let (shape, psi) = register.parts_mut();
        let dims = wires.map(|wire| shape.dims()[wire]);
        let strides = wires.map(|wire| shape.stride(wire));
        let blocks = self.exchange_blocks(dims, stop)?;
        for (sum, block) in blocks.iter().enumerate() {
            let lowest = (sum + 1).saturating_sub(dims[1]);
            let offset = |j: usize| (lowest + j) * strides[0] + (sum - lowest - j) * strides[1];
            block.evolve(strength, psi, shape.bases(&wires), offset, stop)?;
        }
        Ok(())
    }

    fn rotation(&mut self, dim: usize, stop: &StopFlag) -> Result<Arc<Mirrored>, SimulationError> {
        if let Some(rotation) = self.rotations.get(&dim) {
            return Ok(Arc::clone(rotation));
        }
        let rotation = ROTATIONS.get(&dim, || rotation(dim, stop))?;
        self.rotations.insert(dim, Arc::clone(&rotation));
        Ok(rotation)
    }

    fn exchange_blocks(&mut self, dims: [usize; 2], stop: &StopFlag) -> Result<Arc<Vec<Eigenbasis>>, SimulationError> {
        if let Some(blocks) = self.exchanges.get(&dims) {
            return Ok(Arc::clone(blocks));
        }
        let blocks = EXCHANGES.get(&dims, || exchange_blocks(dims, stop))?;
        self.exchanges.insert(dims, Arc::clone(&blocks));
        Ok(blocks)
    }

    /// Bytes that all gates on single wires take beside the state, with the eigenvectors that stay.
    pub(crate) fn wire_bytes(shape: &Shape) -> u64 {
        let dims: HashSet<usize> = shape.dims().iter().copied().filter(|&dim| dim > 2).collect();
        let kept = dims.iter().map(|&dim| Mirrored::bytes(dim as u64)).fold(0, u64::saturating_add);
        let states = shape.states() as u64;
        let work = dims.iter().map(|&dim| {
            let dim = dim as u64;
            Eigenbasis::solver_bytes(dim).saturating_add(Eigenbasis::work_bytes(dim, states / dim))
        });
        kept.saturating_add(work.max().unwrap_or(0)).saturating_add(qubits::BYTES)
    }

    /// Bytes that exchanges between these pairs of wires take beside the state, with the eigenvectors that stay.
    pub(crate) fn exchange_bytes(shape: &Shape, pairs: impl IntoIterator<Item = [usize; 2]>) -> u64 {
        let mut dims = HashSet::new();
        let mut work = 0;
        for [a, b] in pairs {
            let pair = [a.min(b), a.max(b)].map(|wire| shape.dims()[wire] as u64);
            let (smaller, lines) = (pair[0].min(pair[1]), shape.states() as u64 / (pair[0] * pair[1]));
            work = work.max(Eigenbasis::work_bytes(smaller, lines).saturating_add(Eigenbasis::solver_bytes(smaller)));
            dims.insert(pair);
        }
        let kept = dims.iter().map(|pair| {
            let each = Eigenbasis::bytes(pair[0].min(pair[1])).saturating_add(128);
            (pair[0] + pair[1]).saturating_mul(each)
        });
        kept.fold(work, u64::saturating_add).saturating_add(1024)
    }
}

/// The eigenvectors of the exchange of two wires with so many levels: for each sum of the two levels a block.
fn exchange_blocks(dims: [usize; 2], stop: &StopFlag) -> Result<Vec<Eigenbasis>, SimulationError> {
    let block = |sum: usize| {
        let levels = (sum + 1).saturating_sub(dims[1])..=sum.min(dims[0] - 1);
        let size = levels.clone().count();
        let element =
            |level: usize| Double::from(ladder_square(dims[0], level) * ladder_square(dims[1], sum - level - 1)).sqrt();
        let beside: Vec<Double> = levels.take(size - 1).map(element).collect();
        Eigenbasis::tridiagonal(&vec![Double::default(); size], &beside, stop)
    };
    (0..dims[0] + dims[1] - 1).map(block).collect()
}

/// Applies `exp(-i·angle·H)` to `wire`, where `basis` is that of `H`.
pub fn evolve_wire(
    basis: &Eigenbasis,
    angle: f64,
    register: &mut Register,
    wire: usize,
    stop: &StopFlag,
) -> Result<(), SimulationError> {
    let (shape, psi) = register.parts_mut();
    let stride = shape.stride(wire);
    basis.evolve(angle, psi, shape.bases(&[wire]), |level| level * stride, stop)
}
