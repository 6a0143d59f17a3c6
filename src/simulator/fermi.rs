//! The state of a fixed number of fermions, and the gates on it.
//!
//! Jordan-Wigner: `c_j` carries the sign `(-1)^(number of occupied modes before j)`. Gates that never lead from an even
//! mode to an odd one, from one spin to the other, keep the number of fermions of both: the state is a matrix, a row for
//! each way to occupy the even modes and a column for each way to occupy the odd ones, and a gate acts on its rows or on
//! its columns. Otherwise all modes make the rows of a matrix with one column.
//! Source: Rubin et al., Quantum 5, 568 (2021).

use num_complex::Complex64;
use qspool_driver::StopFlag;
use rayon::prelude::*;

use super::double::Double;
use super::error::{Problem, SimulationError};
use super::register::{PARALLEL, Shape, filled, float};
use super::side::{self, Parts, SideGate};
use super::strings::{MAX_MODES, Strings, count, is_odd};

/// How far from 1 a squared norm may be before the state counts as no state: numpy's tolerance for probabilities.
const NORM_TOLERANCE: f64 = 1.490_116_119_384_765_6e-8;

/// How modes are counted for the signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ModeOrder {
    /// All even ones, then all odd ones.
    BySpin,
    /// As they are.
    Natural,
}

impl ModeOrder {
    /// On which side of the matrix a mode is, and where.
    pub(crate) fn place(self, mode: usize) -> (usize, usize) {
        match self {
            Self::BySpin => (mode % 2, mode / 2),
            Self::Natural => (0, mode),
        }
    }

    /// The modes on each side.
    pub(crate) fn sides(self, modes: usize) -> [usize; 2] {
        match self {
            Self::BySpin => [modes.div_ceil(2), modes / 2],
            Self::Natural => [modes, 0],
        }
    }
}

/// The amplitudes of a fixed number of fermions in some modes, on each side of the matrix.
#[derive(Debug, Clone)]
pub struct FermionState {
    shape: Shape,
    order: ModeOrder,
    sides: [Strings; 2],
    /// The real and the imaginary parts, a row behind the other.
    parts: [Vec<f64>; 2],
    /// What has yet to act on each side; gates on different sides commute.
    pending: [Vec<SideGate>; 2],
    /// The size of what is pending.
    gathered: [usize; 2],
}

impl FermionState {
    /// `c†_k … c†_1 |vacuum⟩` for the modes `occupied`, 1 to k, which are different.
    ///
    /// # Panics
    /// With more modes than [`modes`] makes a shape for: a defect of the caller.
    pub(crate) fn new(shape: Shape, order: ModeOrder, occupied: &[usize]) -> Result<Self, SimulationError> {
        let modes = order.sides(shape.num_wires());
        let places = || occupied.iter().map(|&mode| order.place(mode));
        let fermions = [0, 1].map(|side| places().filter(|place| place.0 == side).count());
        let sides = [Strings::new(modes[0], fermions[0])?, Strings::new(modes[1], fermions[1])?];
        let mut bits = [0_u64; 2];
        let mut sign = 1.0;
        for (side, place) in places() {
            let bit = sides[side].bit(place);
            if is_odd(bits[side] & !(2 * bit - 1)) != (side == 1 && is_odd(bits[0])) {
                sign = -sign;
            }
            bits[side] |= bit;
        }
        let states = sides[0].list().len() * sides[1].list().len();
        let mut parts = [filled(0.0, states)?, filled(0.0, states)?];
        parts[0][sides[0].rank(bits[0]) * sides[1].list().len() + sides[1].rank(bits[1])] = sign;
        Ok(Self { shape, order, sides, parts, pending: [Vec::new(), Vec::new()], gathered: [0; 2] })
    }

    /// The modes, each with the levels empty and occupied.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// How its modes are counted.
    pub(crate) fn order(&self) -> ModeOrder {
        self.order
    }

    /// The strings of its rows and of its columns.
    pub(crate) fn sides(&self) -> [&Strings; 2] {
        [&self.sides[0], &self.sides[1]]
    }

    /// The number of amplitudes.
    pub fn states(&self) -> usize {
        self.parts[0].len()
    }

    /// Hands all amplitudes to `act(index, amplitude)`, in the order of the indices in a register of all states.
    ///
    /// All gates have acted on them.
    pub fn for_each(&self, mut act: impl FnMut(usize, Complex64)) {
        let left = [self.sides[0].fermions(), self.sides[1].fermions()];
        self.walk(0, Walk { index: 0, ranks: [0; 2], left, is_odd: false }, &mut act);
    }

    /// [`for_each`](Self::for_each) of the states that begin as `walk` says up to `mode`.
    fn walk(&self, mode: usize, walk: Walk, act: &mut impl FnMut(usize, Complex64)) {
        let modes = self.shape.num_wires();
        if mode == modes {
            let place = walk.ranks[0] * self.sides[1].list().len() + walk.ranks[1];
            let amplitude = Complex64::new(self.parts[0][place], self.parts[1][place]);
            return act(walk.index, if walk.is_odd { -amplitude } else { amplitude });
        }
        let (side, place) = self.order.place(mode);
        let behind = self.sides[side].modes() - 1 - place;
        if walk.left[side] <= behind {
            self.walk(mode + 1, walk, act);
        }
        if walk.left[side] > 0 {
            let mut with = walk;
            // Those with this mode empty come first.
            with.ranks[side] += usize::try_from(count(behind, walk.left[side])).unwrap_or(usize::MAX);
            with.left[side] -= 1;
            with.index |= 1 << (modes - 1 - mode);
            // In the order of the modes it stands behind those of the other side so far.
            with.is_odd ^= side == 0 && (self.sides[1].fermions() - walk.left[1]) % 2 == 1;
            self.walk(mode + 1, with, act);
        }
    }

    /// Applies `c†_mode`: puts a fermion into an empty mode.
    ///
    /// `O(states)`, beside the state that there was. Refuses a mode that may be occupied: the squared norm would no longer
    /// be 1 to 1.5e-8.
    pub(crate) fn create(&mut self, mode: usize, stop: &StopFlag) -> Result<Result<(), Problem>, SimulationError> {
        self.finish(stop)?;
        let (side, place) = self.order.place(mode);
        let [rows, columns] = [&self.sides[0], &self.sides[1]];
        let bit = self.sides[side].bit(place);
        let after = Strings::new(self.sides[side].modes(), self.sides[side].fermions() + 1)?;
        let width = if side == 1 { after.list().len() } else { columns.list().len() };
        let states = width * if side == 0 { after.list().len() } else { rows.list().len() };
        let mut parts = [filled(0.0, states)?, filled(0.0, states)?];
        let (mut norm, mut occupation) = (0.0, 0.0);
        for (i, &row) in rows.list().iter().enumerate() {
            for (j, &column) in columns.list().iter().enumerate() {
                let from = i * columns.list().len() + j;
                let weight = self.parts[0][from].powi(2) + self.parts[1][from].powi(2);
                let string = if side == 0 { row } else { column };
                if string & bit != 0 {
                    occupation += weight;
                    continue;
                }
                norm += weight;
                let rank = after.rank(string | bit);
                let to = if side == 0 { rank * width + j } else { i * width + rank };
                let passes = is_odd(string & !(2 * bit - 1)) != (side == 1 && is_odd(row));
                for (to_part, part) in parts.iter_mut().zip(&self.parts) {
                    to_part[to] = if passes { -part[from] } else { part[from] };
                }
            }
        }
        if (norm - 1.0).abs() > NORM_TOLERANCE {
            return Ok(Err(Problem::Occupied { mode, occupation }));
        }
        self.sides[side] = after;
        self.parts = parts;
        Ok(Ok(()))
    }

    /// Applies `exp(-iθ (c†_p c_q + c†_q c_p))` for two modes of one side. Exact at any angle.
    ///
    /// # Panics
    /// For modes of different sides, here and in [`turn`](Self::turn): a defect of the caller.
    pub(crate) fn hop(&mut self, pair: [usize; 2], theta: f64, stop: &StopFlag) -> Result<(), SimulationError> {
        let turn = Double::from(theta).phase();
        self.mix(pair, [turn.re, -turn.im], Parts::Crossed, stop)
    }

    /// Applies `[[cos, sin], [-sin, cos]]` to the amplitudes with exactly one of two modes of one side occupied: with the
    /// first one `x`, with the second one `y`, `x' = cos x + σ sin y`, where σ is -1 if an odd number of modes between them
    /// is occupied.
    pub(crate) fn turn(&mut self, pair: [usize; 2], cos_sin: [f64; 2], stop: &StopFlag) -> Result<(), SimulationError> {
        self.mix(pair, cos_sin, Parts::Same, stop)
    }

    fn mix(
        &mut self,
        pair: [usize; 2],
        [cos, sin]: [f64; 2],
        parts: Parts,
        stop: &StopFlag,
    ) -> Result<(), SimulationError> {
        let [(side, p), (other, q)] = pair.map(|mode| self.order.place(mode));
        assert_eq!(side, other, "modes {pair:?} of different sides");
        let signed = |(strings, is_odd)| (strings, if is_odd { -sin } else { sin });
        let mut pairs = Vec::with_capacity(side::pairs(self.sides[side].modes(), self.sides[side].fermions()));
        pairs.extend(self.sides[side].pairs([p, q]).map(signed));
        self.add(side, SideGate::Turn { pairs, cos, parts }, stop)
    }

    /// Multiplies the amplitudes with `mode` occupied by `exp(-i·angle)`. Exact at any angle.
    pub(crate) fn phase(&mut self, mode: usize, angle: Double, stop: &StopFlag) -> Result<(), SimulationError> {
        let (side, place) = self.order.place(mode);
        let (strings, phase) = (&self.sides[side], angle.phase());
        let bit = strings.bit(place);
        let of = |&string: &u64| if string & bit == 0 { Complex64::ONE } else { phase };
        let phases = strings.list().iter().map(of);
        if let Some(SideGate::Phases(before)) = self.pending[side].last_mut() {
            before.iter_mut().zip(phases).for_each(|(before, phase)| *before *= phase);
            return Ok(());
        }
        let gate = SideGate::Phases(phases.collect());
        self.add(side, gate, stop)
    }

    /// Applies `exp(-iU Σ_s n_2s n_2s+1)`. Exact at any strength.
    pub(crate) fn interact(&mut self, strength: f64, stop: &StopFlag) -> Result<(), SimulationError> {
        self.finish(stop)?;
        let phases: Vec<Complex64> =
            (0..=MAX_MODES / 2).map(|count| Double::product(strength, float(count)).phase()).collect();
        let [rows, columns] = [self.sides[0].list(), self.sides[1].list()];
        let order = self.order;
        let [re, im] = &mut self.parts;
        let act = |((row, re), im): ((&u64, &mut [f64]), &mut [f64])| {
            for ((column, re), im) in columns.iter().zip(re).zip(im) {
                let turned = Complex64::new(*re, *im) * phases[doubly(order, *row, *column) as usize];
                (*re, *im) = (turned.re, turned.im);
            }
        };
        let width = columns.len();
        if re.len() < PARALLEL {
            rows.iter().zip(re.chunks_mut(width)).zip(im.chunks_mut(width)).for_each(act);
        } else {
            let rows = rows.par_iter().zip(re.par_chunks_mut(width)).zip(im.par_chunks_mut(width));
            rows.with_min_len((PARALLEL / width).max(1)).for_each(act);
        }
        Ok(stop.check()?)
    }

    /// Lets `act` change the amplitudes, row by row, after all gates so far; in its order of the modes, with the signs of
    /// [`ModeOrder`]. After an error there is no state left.
    pub(crate) fn with_amplitudes(
        &mut self,
        act: impl FnOnce(&mut [Complex64]) -> Result<(), SimulationError>,
    ) -> Result<(), SimulationError> {
        let [re, im] = std::mem::take(&mut self.parts);
        let mut psi = filled(Complex64::ZERO, re.len())?;
        for ((amplitude, re), im) in psi.iter_mut().zip(&re).zip(&im) {
            *amplitude = Complex64::new(*re, *im);
        }
        drop([re, im]);
        act(&mut psi)?;
        self.parts = [filled(0.0, psi.len())?, filled(0.0, psi.len())?];
        let [re, im] = &mut self.parts;
        for ((amplitude, re), im) in psi.iter().zip(re).zip(im) {
            (*re, *im) = (amplitude.re, amplitude.im);
        }
        Ok(())
    }

    fn add(&mut self, side: usize, gate: SideGate, stop: &StopFlag) -> Result<(), SimulationError> {
        self.gathered[side] += gate.size();
        self.pending[side].push(gate);
        if self.gathered[side] > side::MOST_GATHERED { self.finish_side(side, stop) } else { Ok(()) }
    }

    /// Lets all gates act.
    pub(crate) fn finish(&mut self, stop: &StopFlag) -> Result<(), SimulationError> {
        self.finish_side(0, stop)?;
        self.finish_side(1, stop)
    }

    fn finish_side(&mut self, side: usize, stop: &StopFlag) -> Result<(), SimulationError> {
        let gates = std::mem::take(&mut self.pending[side]);
        self.gathered[side] = 0;
        let lens = [self.sides[0].list().len(), self.sides[1].list().len()];
        if gates.is_empty() {
            return Ok(());
        }
        side::apply(&mut self.parts, lens, side, &gates, stop)
    }

    /// Bytes of the strings of so many fermions on each side.
    pub(crate) fn string_bytes(modes: [usize; 2], fermions: [usize; 2]) -> u64 {
        let [rows, columns] = [0, 1].map(|side| Strings::bytes(modes[side], fermions[side]));
        rows.saturating_add(columns)
    }

    /// The same with the amplitudes.
    pub(crate) fn bytes(modes: [usize; 2], fermions: [usize; 2]) -> u64 {
        states(modes, fermions).saturating_mul(16).saturating_add(Self::string_bytes(modes, fermions))
    }

    /// Bytes that gates take beside it.
    pub(crate) fn gate_bytes(modes: [usize; 2], fermions: [usize; 2], gates: usize) -> u64 {
        let lens = [0, 1].map(|side| count(modes[side], fermions[side]));
        let gathered = [0, 1].map(|side| side::gathered_bytes(modes[side], fermions[side], gates));
        side::bytes(lens).saturating_add(gathered[0]).saturating_add(gathered[1])
    }
}

/// The number of sites with both modes occupied.
pub(crate) fn doubly(order: ModeOrder, row: u64, column: u64) -> u32 {
    let both = match order {
        ModeOrder::BySpin => row & column,
        // Each even bit is the second mode of a site, the bit above it the first one.
        ModeOrder::Natural => row & (row >> 1) & (u64::MAX / 3),
    };
    both.count_ones()
}

/// The number of states of so many fermions in so many modes on each side.
pub(crate) fn states(modes: [usize; 2], fermions: [usize; 2]) -> u64 {
    count(modes[0], fermions[0]).saturating_mul(count(modes[1], fermions[1]))
}

/// Where a walk through all states is.
#[derive(Clone, Copy)]
struct Walk {
    index: usize,
    /// On each side the number of the first string that begins so.
    ranks: [usize; 2],
    /// The fermions that are still to be placed on each side.
    left: [usize; 2],
    /// Whether the amplitude changes its sign in the natural order of the modes.
    is_odd: bool,
}

/// The register of `modes` modes, at most [`MAX_MODES`].
pub(crate) fn modes(modes: usize) -> Result<Shape, SimulationError> {
    Shape::new(std::iter::repeat_n(2, modes))
}
