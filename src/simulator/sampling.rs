//! From a state to shots.

use num_complex::Complex64;
use qspool_driver::{Outcome, StopFlag};
use rayon::prelude::*;

use super::error::SimulationError;
use super::random::Uniform;
use super::register::{Register, Shape, filled, float};
use super::state::State;

/// What a program has left to be sampled.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The state.
    pub state: State,
    /// The measured wires in the order of the values of a shot; a wire may appear twice.
    pub measured: Vec<usize>,
    /// How many doubles have been drawn before, for measurements whose outcome nobody sees.
    pub drawn_before: u64,
}

/// How many shots are drawn at a time, between two looks at the stop flag.
const SHOTS_PER_BLOCK: usize = 1 << 14;

/// How many of them a core takes at a time.
const SHOTS_PER_CORE: usize = 1 << 12;

impl Prepared {
    /// The probability of each index of the shape; their sum is 1 but for rounding.
    pub fn probabilities(&self) -> Vec<f64> {
        self.state.amplitudes().iter().map(Complex64::norm_sqr).collect()
    }

    /// Draws the shots, one double each; none if nothing is measured.
    ///
    /// The first index whose part of the running sum exceeds the double is the state that is found. `O(states)` and
    /// then `O(1)` per shot.
    pub fn sample(self, shots: u32, random: &mut dyn Uniform, stop: &StopFlag) -> Result<Outcome, SimulationError> {
        if self.measured.is_empty() {
            return Ok(Outcome::default());
        }
        for drawn in 0..self.drawn_before {
            if drawn % SHOTS_PER_BLOCK as u64 == 0 {
                stop.check()?;
            }
            random.next_double();
        }
        let Self { state, measured, .. } = self;
        let sums = Sums::new(&state)?;
        let shape = state.shape().clone();
        drop(state);
        let mut rows = Rows::new(&shape, &measured, sums.running.len())?;
        let mut outcome = Outcome::with_capacity(shots as usize);
        let mut left = shots as usize;
        let mut block = Vec::with_capacity(left.min(SHOTS_PER_BLOCK));
        while left > 0 {
            stop.check()?;
            block.clear();
            block.extend((0..left.min(SHOTS_PER_BLOCK)).map(|_| Shot::new(random.next_double())));
            left -= block.len();
            sums.find_all(&mut block);
            rows.push_all(&mut block, |place| sums.index(place), &mut outcome);
        }
        Ok(outcome)
    }

    /// Bytes that a register, its sampling and the outcome take at their peak, with `values` measured per shot.
    pub(crate) fn bytes(states: u64, shots: u32, values: u64) -> u64 {
        // While the sums are made the register is still there; later on there are sums, guide, rows and the outcome.
        let sums = states.saturating_mul(Register::BYTES + 8 + 8);
        let block = size_of::<Shot>() as u64 * u64::from(shots).min(SHOTS_PER_BLOCK as u64);
        let drawing = states.saturating_mul(8 + 8 + 4 + 4).saturating_add(Outcome::bytes(shots, states, values));
        let drawing = drawing.saturating_add(block);
        sums.max(drawing).saturating_add(values.saturating_mul(32)).saturating_add(4096)
    }
}

/// The running sums of the probabilities, the last one 1, with a table that says where to begin to look.
///
/// Source: Chen and Asau, AIIE Transactions 6, 163 (1974). Gives the same index as a binary search.
struct Sums {
    running: Vec<f64>,
    /// The index of each, where not all states have one.
    indices: Option<Vec<usize>>,
    /// At `j`: the first index whose sum exceeds `j / guide.len()`.
    guide: Vec<u32>,
}

impl Sums {
    fn new(state: &State) -> Result<Self, SimulationError> {
        let mut sums = filled(0.0, state.states())?;
        let mut indices = if state.states() < state.shape().states() { Some(filled(0, sums.len())?) } else { None };
        let (mut total, mut place) = (0.0, 0);
        state.for_each(|index, amplitude| {
            total += amplitude.norm_sqr();
            sums[place] = total;
            if let Some(indices) = &mut indices {
                indices[place] = index;
            }
            place += 1;
        });
        for sum in &mut sums {
            *sum /= total;
        }
        // A power of two, so that j / len and u · len are exact. Beyond 2^31 entries it only becomes coarser.
        let len = sums.len().next_power_of_two().min(1 << 31);
        let mut guide = filled(0, len)?;
        let mut index = 0;
        for (j, first) in guide.iter_mut().enumerate() {
            let bound = float(j) / float(len);
            while index + 1 < sums.len() && sums[index] <= bound {
                index += 1;
            }
            *first = u32::try_from(index).unwrap_or(u32::MAX);
        }
        Ok(Self { running: sums, indices, guide })
    }

    /// The index of the state at this place.
    fn index(&self, place: usize) -> usize {
        self.indices.as_ref().map_or(place, |indices| indices[place])
    }

    /// Finds the place of each double: the number of sums that are at most as large. They are in [0, 1).
    ///
    /// Step by step for many at a time, so that one does not wait for the memory that another reads.
    fn find_all(&self, shots: &mut [Shot]) {
        let find = |shots: &mut [Shot]| {
            for shot in shots.iter_mut() {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the double is in [0, 1)")]
                let entry = (shot.double * float(self.guide.len())) as usize;
                shot.place = self.guide[entry] as usize;
            }
            let last = self.running.len() - 1;
            for shot in shots.iter_mut() {
                let is_behind = shot.place < last && self.running[shot.place] <= shot.double;
                shot.place += usize::from(is_behind);
            }
            for shot in shots {
                while shot.place < last && self.running[shot.place] <= shot.double {
                    shot.place += 1;
                }
            }
        };
        if shots.len() <= SHOTS_PER_CORE {
            find(shots);
        } else {
            shots.par_chunks_mut(SHOTS_PER_CORE).for_each(find);
        }
    }
}

/// A shot that is being drawn.
struct Shot {
    double: f64,
    /// Of its state.
    place: usize,
    /// The number of the row of its state.
    row: u32,
}

impl Shot {
    fn new(double: f64) -> Self {
        Self { double, place: 0, row: NO_ROW }
    }
}

/// The rows of the outcome, made when their state is first found.
struct Rows {
    /// Of the measured wires, in the order of the values.
    levels: Vec<Level>,
    /// The number of the row of a state, by its place.
    row_of: Vec<u32>,
    shared: Shared,
}

/// How a row is found again that states have in common, since some wires are not measured.
enum Shared {
    /// No two states have one.
    Never,
    /// The measured wires, each once, and the number of the row of all states at the same levels of them.
    ByLevels(Vec<Level>, Vec<u32>),
    /// The levels have more combinations than there are states: the outcome looks for it.
    ByOutcome,
}

/// How the level of a wire is read from an index.
#[derive(Debug, Clone, Copy)]
struct Level {
    stride: usize,
    dim: usize,
    /// The place of its bits, where stride and number of levels are powers of two.
    shift: Option<u32>,
}

impl Level {
    fn new(shape: &Shape, wire: usize) -> Self {
        let (stride, dim) = (shape.stride(wire), shape.dims()[wire]);
        let shift = (stride.is_power_of_two() && dim.is_power_of_two()).then(|| stride.trailing_zeros());
        Self { stride, dim, shift }
    }

    fn of(self, index: usize) -> usize {
        match self.shift {
            Some(shift) => (index >> shift) & (self.dim - 1),
            None => index / self.stride % self.dim,
        }
    }
}

const NO_ROW: u32 = u32::MAX;

impl Rows {
    fn new(shape: &Shape, measured: &[usize], states: usize) -> Result<Self, SimulationError> {
        let mut wires = measured.to_vec();
        wires.sort_unstable();
        wires.dedup();
        let level = |&wire: &usize| Level::new(shape, wire);
        let levels: Vec<Level> = wires.iter().map(level).collect();
        let distinct = levels.iter().map(|level| level.dim).product();
        let shared = if distinct == shape.states() {
            Shared::Never
        } else if distinct <= states {
            Shared::ByLevels(levels, filled(NO_ROW, distinct)?)
        } else {
            Shared::ByOutcome
        };
        let row_of = filled(NO_ROW, states)?;
        Ok(Self { levels: measured.iter().map(level).collect(), row_of, shared })
    }

    /// Shots that have found their states, whose indices `index` knows.
    fn push_all(&mut self, shots: &mut [Shot], index: impl Fn(usize) -> usize, outcome: &mut Outcome) {
        // First what many can read at a time from far memory.
        for shot in shots.iter_mut() {
            shot.row = self.row_of[shot.place];
        }
        for &mut Shot { place, mut row, .. } in shots {
            if row == NO_ROW {
                row = self.row_of[place];
                if row == NO_ROW {
                    row = self.find(index(place), outcome);
                    self.row_of[place] = row;
                }
            }
            outcome.push_index(row);
        }
    }

    /// The number of the row of a state that is found for the first time.
    fn find(&mut self, index: usize, outcome: &mut Outcome) -> u32 {
        let row = self.levels.iter().map(|level| i64::try_from(level.of(index)).unwrap_or(i64::MAX));
        match &mut self.shared {
            Shared::Never => outcome.push_row(row),
            Shared::ByOutcome => outcome.intern(&row.collect::<Vec<_>>()),
            Shared::ByLevels(levels, row_of) => {
                let place = levels.iter().fold(0, |place, level| place * level.dim + level.of(index));
                if row_of[place] == NO_ROW {
                    row_of[place] = outcome.push_row(row);
                }
                row_of[place]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::random::ShotRandom;

    fn register(weights: &[f64]) -> Register {
        let shape = Shape::new([weights.len()]).expect("small");
        let psi = weights.iter().map(|weight| Complex64::new(0.0, weight.sqrt())).collect();
        Register::from_amplitudes(shape, psi)
    }

    fn find(sums: &Sums, double: f64) -> usize {
        let mut shots = [Shot::new(double)];
        sums.find_all(&mut shots);
        shots[0].place
    }

    #[test]
    fn the_guide_finds_what_a_search_finds() {
        let weights: Vec<f64> = (0..1000).map(|k| if k % 7 == 0 { 0.0 } else { f64::from(k * k % 101) }).collect();
        for weights in [&weights[..], &[1.0], &[0.0, 1.0, 0.0], &[1e-300, 1.0, 1e-17]] {
            let sums = Sums::new(&register(weights).into()).expect("small");
            let mut random = ShotRandom::from_seed(7);
            for u in (0..10_000).map(|_| random.next_double()).chain([0.0, 1.0 - f64::EPSILON / 2.0]) {
                assert_eq!(find(&sums, u), sums.running.partition_point(|&sum| sum <= u), "{u}");
            }
        }
    }

    #[test]
    fn states_that_differ_in_wires_that_nobody_measures_have_one_row() {
        let shape = Shape::new([2, 3, 4]).expect("small");
        let register = Register::from_amplitudes(shape, vec![Complex64::new(24_f64.sqrt().recip(), 0.0); 24]);
        for (measured, rows) in [(vec![2, 0, 2], 8), (vec![1], 3), (vec![0, 1, 2], 24), (vec![2, 1, 0, 0], 24)] {
            let prepared = Prepared { state: register.clone().into(), measured: measured.clone(), drawn_before: 0 };
            let mut random = ShotRandom::from_seed(5);
            let outcome = prepared.sample(5000, &mut random, &StopFlag::default()).expect("not stopped");
            assert_eq!(outcome.rows().len(), rows, "{measured:?}");
            let sums = Sums::new(&register.clone().into()).expect("small");
            let mut random = ShotRandom::from_seed(5);
            for &shot in outcome.shots() {
                let index = find(&sums, random.next_double());
                let expected: Vec<i64> = measured
                    .iter()
                    .map(|&wire| i64::try_from(register.shape().level(index, wire)).expect("small"))
                    .collect();
                assert_eq!(outcome.row(shot), expected, "{measured:?}");
            }
        }
    }

    #[test]
    fn a_state_of_probability_zero_is_never_found() {
        let sums = Sums::new(&register(&[0.0, 0.5, 0.0, 0.5, 0.0]).into()).expect("small");
        assert_eq!([0.0, 0.499, 0.5, 0.999].map(|u| find(&sums, u)), [1, 1, 3, 3]);
    }

    #[test]
    fn earlier_measurements_move_the_stream_on() {
        let draw = |drawn_before, shots| {
            let prepared = Prepared { state: register(&[1.0; 64]).into(), measured: vec![0, 0], drawn_before };
            let mut random = ShotRandom::from_seed(1);
            let outcome = prepared.sample(shots, &mut random, &StopFlag::default()).expect("not stopped");
            outcome.shots().iter().map(|&shot| outcome.row(shot).to_vec()).collect::<Vec<_>>()
        };
        let all = draw(0, 20);
        assert_eq!(draw(5, 15), all[5..]);
        assert!(all.iter().all(|row| row[0] == row[1]));
    }
}
