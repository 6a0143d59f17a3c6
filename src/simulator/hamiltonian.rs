//! The Hamiltonian that acts on a whole register of spins, and what can be said about it without building it.

use std::ops::{Add, Mul, RangeInclusive};

use qspool_driver::StopFlag;

use super::double::Double;
use super::error::SimulationError;
use super::product::Operator;
use super::propagator;
use super::register::{Register, Shape, filled, float};
use super::spin::{SpinGates, ladder, level_energy, magnetic_number};

/// `H = Σ_w (ω Lx_w + δ Lz_w + χ Lz²_w) + Σ_pairs V q_a q_b + J Σ_w (L+_w L-_{w+1} + h.c.)`, an open chain.
///
/// All elements are real: a diagonal, `Lx` from level to level of one wire, and hops between neighbours.
#[derive(Debug, Clone, Default)]
pub(crate) struct SpinHamiltonian {
    /// ω.
    pub(crate) drive: f64,
    /// δ.
    pub(crate) detuning: f64,
    /// χ.
    pub(crate) twist: f64,
    /// The pairs with their V.
    pub(crate) couplings: Vec<Coupling>,
    /// q.
    pub(crate) charge: Charge,
    /// J.
    pub(crate) hop: f64,
}

/// The interaction `V q_a q_b` of two different wires.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Coupling {
    pub(crate) wires: [usize; 2],
    pub(crate) strength: f64,
}

/// The `q` of the couplings.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Charge {
    /// `m`, the eigenvalue of `Lz`.
    #[default]
    Magnetic,
    /// The level: 1 where a qubit is excited.
    Level,
}

impl Charge {
    pub(crate) fn of(self, dim: usize, level: usize) -> f64 {
        match self {
            Self::Magnetic => magnetic_number(dim, level),
            Self::Level => float(level),
        }
    }
}

impl Coupling {
    /// `V q_a q_b` at two levels.
    fn energy(&self, charge: Charge, shape: &Shape, [a, b]: [usize; 2]) -> Double {
        let [dim_a, dim_b] = self.wires.map(|wire| shape.dims()[wire]);
        Double::product(self.strength, charge.of(dim_a, a) * charge.of(dim_b, b))
    }

    /// How many wires its wires are apart.
    pub(crate) fn distance(&self) -> usize {
        self.wires[0].abs_diff(self.wires[1])
    }

    /// The smallest and the largest energy: at the ends of the levels, since it is linear in both.
    pub(crate) fn range(&self, charge: Charge, shape: &Shape) -> RangeInclusive<f64> {
        let [last_a, last_b] = self.wires.map(|wire| shape.dims()[wire] - 1);
        let corners = [[0, 0], [0, last_b], [last_a, 0], [last_a, last_b]];
        let energies = corners.map(|levels| self.energy(charge, shape, levels).value());
        energies.into_iter().fold(f64::INFINITY, f64::min)..=energies.into_iter().fold(f64::NEG_INFINITY, f64::max)
    }
}

/// What energies are added up in.
pub(crate) trait Number: Copy + Default + Add<Output = Self> + Mul<f64, Output = Self> {}

impl Number for f64 {}

impl Number for Double {}

impl SpinHamiltonian {
    /// Applies `exp(-iH)` to the register, each part by the cheapest way that is exact.
    pub(crate) fn evolve(
        &self,
        register: &mut Register,
        gates: &mut SpinGates,
        stop: &StopFlag,
    ) -> Result<(), SimulationError> {
        if self.is_inseparable(register.shape()) {
            gates.finish(register, stop)?;
            return propagator::evolve(self, register, stop);
        }
        // Either all wires are on their own, or all terms are diagonal: every term commutes with the others.
        for wire in 0..register.shape().num_wires() {
            gates.twist(register, wire, [self.drive, self.detuning, self.twist], stop)?;
        }
        gates.finish(register, stop)?;
        for coupling in self.couplings.iter().filter(|coupling| coupling.strength != 0.0) {
            stop.check()?;
            let shape = register.shape().clone();
            register.phase_pair(coupling.wires, |a, b| coupling.energy(self.charge, &shape, [a, b]));
        }
        Ok(())
    }

    /// The number of products with a vector that [`evolve`](Self::evolve) takes; 0 where it does without.
    pub(crate) fn products(&self, shape: &Shape, stop: &StopFlag) -> Result<f64, SimulationError> {
        if self.is_inseparable(shape) { propagator::products(self, shape, stop) } else { Ok(0.0) }
    }

    /// Bytes that [`evolve`](Self::evolve) takes beside the state.
    pub(crate) fn bytes(&self, shape: &Shape) -> u64 {
        if self.is_inseparable(shape) {
            return propagator::bytes(self, shape);
        }
        let table =
            |coupling: &Coupling| 16 * coupling.wires.iter().map(|&wire| shape.dims()[wire] as u64).product::<u64>();
        SpinGates::wire_bytes(shape).saturating_add(self.couplings.iter().map(table).max().unwrap_or(0))
    }

    fn hops(&self, shape: &Shape) -> bool {
        self.hop != 0.0 && shape.num_wires() > 1
    }

    /// Whether terms on different wires do not commute.
    fn is_inseparable(&self, shape: &Shape) -> bool {
        let has_couplings = self.couplings.iter().any(|coupling| coupling.strength != 0.0);
        self.hops(shape) || (self.drive != 0.0 && has_couplings)
    }

    /// Whether the sum of all levels is conserved.
    pub(crate) fn conserves_levels(&self) -> bool {
        self.drive == 0.0
    }

    /// The number of elements in a row, at most.
    pub(crate) fn terms(&self, shape: &Shape) -> usize {
        let ladders = if self.drive == 0.0 { 0 } else { 2 * shape.num_wires() };
        let hops = if self.hops(shape) { 2 * (shape.num_wires() - 1) } else { 0 };
        1 + ladders + hops
    }

    /// The diagonal: one energy per state, each made by `number` of its terms. `O(states)`, and half as much memory again
    /// while it is made; looks at `stop` at each level of each wire.
    ///
    /// Wire by wire from the fastest on: at each level of the next wire all energies so far come again, with what this
    /// level has by itself and from its couplings to the wires so far.
    pub(crate) fn diagonal<T: Number>(
        &self,
        shape: &Shape,
        number: impl Fn(Double) -> T,
        stop: &StopFlag,
    ) -> Result<Vec<T>, SimulationError> {
        let mut diagonal = filled(T::default(), shape.states())?;
        let mut known = 1;
        for (wire, &dim) in shape.dims().iter().enumerate().rev() {
            let field = self.field(shape, wire, known, &number, stop)?;
            repeat(&mut diagonal, known, dim, |level, block| {
                stop.check()?;
                let own = number(level_energy(dim, level, self.detuning, self.twist));
                let charge = self.charge.of(dim, level);
                block.iter_mut().zip(&field).for_each(|(energy, field)| *energy = *energy + own + *field * charge);
                Ok(())
            })?;
            known *= dim;
        }
        Ok(diagonal)
    }

    /// `Σ_b V q_b` over the wires behind `wire`, for each of their states.
    fn field<T: Number>(
        &self,
        shape: &Shape,
        wire: usize,
        states: usize,
        number: impl Fn(Double) -> T,
        stop: &StopFlag,
    ) -> Result<Vec<T>, SimulationError> {
        let mut field = filled(T::default(), states)?;
        let mut known = 1;
        for (other, &dim) in shape.dims().iter().enumerate().skip(wire + 1).rev() {
            let joined =
                self.couplings.iter().filter(|Coupling { wires: [a, b], .. }| [*a.min(b), *a.max(b)] == [wire, other]);
            let strength = joined.map(|coupling| coupling.strength).sum();
            repeat(&mut field, known, dim, |level, block| {
                stop.check()?;
                let energy = number(Double::product(strength, self.charge.of(dim, level)));
                block.iter_mut().for_each(|field| *field = *field + energy);
                Ok(())
            })?;
            known *= dim;
        }
        Ok(field)
    }

    /// Hands the elements beside the diagonal in row `index` to `act(column, element)`.
    pub(crate) fn beside_diagonal(
        &self,
        shape: &Shape,
        elements: &Elements,
        index: usize,
        act: &mut dyn FnMut(usize, Double),
    ) {
        let level = |wire: usize| shape.level(index, wire);
        if self.drive != 0.0 {
            for wire in 0..shape.num_wires() {
                let (k, stride, ladder) = (level(wire), shape.stride(wire), &elements.drives[wire]);
                if k > 0 {
                    act(index - stride, ladder[k - 1]);
                }
                if k < ladder.len() {
                    act(index + stride, ladder[k]);
                }
            }
        }
        if self.hop != 0.0 {
            for (wire, [up, down]) in elements.hops.iter().enumerate() {
                let (k, next) = (level(wire), level(wire + 1));
                let step = shape.stride(wire) - shape.stride(wire + 1);
                if k > 0 && next < down.len() {
                    act(index - step, up[k - 1] * down[next]);
                }
                if k < up.len() && next > 0 {
                    act(index + step, up[k] * down[next - 1]);
                }
            }
        }
    }

    /// The elements that [`beside_diagonal`](Self::beside_diagonal) looks up.
    pub(crate) fn elements(&self, shape: &Shape) -> Elements {
        let ladders: Vec<Vec<Double>> = shape.dims().iter().map(|&dim| ladder(dim)).collect();
        let scaled = |ladder: &[Double], factor: f64| ladder.iter().map(|&element| element * factor).collect();
        Elements {
            drives: ladders.iter().map(|ladder| scaled(ladder, self.drive)).collect(),
            // L± is twice Lx between two levels.
            hops: ladders.windows(2).map(|pair| [scaled(&pair[0], 4.0 * self.hop), pair[1].clone()]).collect(),
        }
    }

    /// `scale (H - D)` with another diagonal in the place of `D`, for products with vectors.
    pub(crate) fn operator(&self, shape: &Shape, scale: f64, diagonal: Vec<f64>) -> Operator {
        let Elements { drives, hops } = self.elements(shape);
        let values = |elements: &[Double], scale: f64| elements.iter().map(|element| element.value() * scale).collect();
        let drives = if self.drive == 0.0 { &[][..] } else { &drives };
        let hops = if self.hop == 0.0 { &[][..] } else { &hops };
        let ladders: Vec<Vec<f64>> = drives.iter().map(|ladder| values(ladder, scale)).collect();
        let hops: Vec<[Vec<f64>; 2]> = hops.iter().map(|[up, down]| [values(up, scale), values(down, 1.0)]).collect();
        Operator::new(shape, diagonal, &ladders, &hops)
    }

    /// The smallest and the largest eigenvalue that the terms allow on their own: the spectrum lies within.
    ///
    /// `diagonal` is the range of the diagonal, where it is known; without it the ranges of its terms are added.
    pub(crate) fn spectrum(&self, shape: &Shape, diagonal: Option<[f64; 2]>) -> [f64; 2] {
        let [mut lowest, mut highest] = diagonal.unwrap_or_else(|| self.diagonal_range(shape));
        let mut widen = |by: f64| (lowest, highest) = (lowest - by, highest + by);
        for &dim in shape.dims() {
            widen(self.drive.abs() * 0.5 * float(dim - 1));
        }
        if self.hops(shape) {
            for pair in shape.dims().windows(2) {
                // Two elements in a row, each at most the product of the largest elements of L+ and L-.
                widen(2.0 * self.hop.abs() * 0.25 * float(pair[0]) * float(pair[1]));
            }
        }
        [lowest, highest]
    }

    fn diagonal_range(&self, shape: &Shape) -> [f64; 2] {
        let mut range = [0.0, 0.0];
        for &dim in shape.dims() {
            let edge = 0.5 * float(dim - 1);
            let (linear, square) = (self.detuning.abs() * edge, self.twist * edge * edge);
            range[0] += square.min(0.0) - linear;
            range[1] += square.max(0.0) + linear;
        }
        for coupling in &self.couplings {
            let energies = coupling.range(self.charge, shape);
            range[0] += energies.start();
            range[1] += energies.end();
        }
        range
    }
}

/// The elements of the ladders: of `ω Lx` per wire, and of `J L+` and `L-` per pair of neighbours.
#[derive(Debug)]
pub(crate) struct Elements {
    drives: Vec<Vec<Double>>,
    hops: Vec<[Vec<Double>; 2]>,
}

/// Repeats the first `known` values at each of `dim` levels, and lets `act` change what stands at each.
fn repeat<T: Copy>(
    values: &mut [T],
    known: usize,
    dim: usize,
    mut act: impl FnMut(usize, &mut [T]) -> Result<(), SimulationError>,
) -> Result<(), SimulationError> {
    let (first, rest) = values.split_at_mut(known);
    for (level, block) in rest.chunks_exact_mut(known).take(dim - 1).enumerate() {
        block.copy_from_slice(first);
        act(level + 1, block)?;
    }
    act(0, first)
}

/// The pairs of neighbours in an open chain of `num_wires`.
pub(crate) fn neighbours(num_wires: usize) -> impl Iterator<Item = [usize; 2]> {
    (1..num_wires).map(|wire| [wire - 1, wire])
}
