//! Fermions that hop and interact at the same time.

use nalgebra::DMatrix;
use qspool_driver::StopFlag;

use super::chebyshev::{self, Product};
use super::double::Double;
use super::eigen::Eigenbasis;
use super::error::SimulationError;
use super::fermi::{FermionState, ModeOrder, doubly, states};
use super::hopping;
use super::propagator::{Cost, Way};
use super::register::{filled, float};
use super::side;
use super::strings::{Strings, count};
use super::vectors::add_scaled;

/// `H = Σ_{s,σ} t_s (c†_{s,σ} c_{s+1,σ} + h.c.) + U Σ_s n_{s,↑} n_{s,↓} + Σ_{s,σ} μ_s n_{s,σ}`, an open chain of sites.
#[derive(Debug, Clone)]
pub(crate) struct Hubbard {
    /// t, one less than there are sites.
    pub(crate) hops: Vec<f64>,
    /// U.
    pub(crate) interaction: f64,
    /// μ.
    pub(crate) potentials: Vec<f64>,
}

impl Hubbard {
    /// Applies `exp(-iH)`. The error is about `ε‖H‖`, or 1e-13 if that is more.
    ///
    /// Without interaction by rotations of two modes, without hops by phases; else the cheaper one of diagonalisation and
    /// a Chebyshev series.
    pub(crate) fn evolve(&self, state: &mut FermionState, stop: &StopFlag) -> Result<(), SimulationError> {
        if self.is_free() {
            self.evolve_freely(state, stop)?;
            return state.interact(self.interaction, stop);
        }
        let fermions = state.sides().map(Strings::fermions);
        let way = self.cost(state.order(), fermions).allowed()?;
        self.evolve_by(way, state, stop)
    }

    fn evolve_by(&self, way: Way, state: &mut FermionState, stop: &StopFlag) -> Result<(), SimulationError> {
        state.finish(stop)?;
        let spectrum = self.spectrum(state.order(), state.sides().map(Strings::fermions));
        let matrix = self.matrix(state, stop)?;
        match way {
            Way::Diagonalisation => {
                let elements = |row: usize, act: &mut dyn FnMut(usize, Double)| matrix.row(row, act);
                let basis = Eigenbasis::dense(state.states(), elements, stop)?;
                state.with_amplitudes(|psi| basis.evolve(1.0, psi, 0..1, |row| row, stop))
            }
            Way::Series => state.with_amplitudes(|psi| {
                chebyshev::evolve(psi, spectrum, |centre, scale| Ok(matrix.shifted(centre, scale)), stop)
            }),
        }
    }

    fn evolve_freely(&self, state: &mut FermionState, stop: &StopFlag) -> Result<(), SimulationError> {
        let matrix = self.one_particle();
        for spin in 0..2 {
            let modes: Vec<usize> = (0..self.potentials.len()).map(|site| 2 * site + spin).collect();
            hopping::evolve_one_particle(state, &modes, matrix.clone(), 1.0, stop)?;
        }
        Ok(())
    }

    /// The matrix of hops and potentials between the sites, for fermions of one spin.
    fn one_particle(&self) -> DMatrix<f64> {
        let sites = self.potentials.len();
        let mut matrix = DMatrix::zeros(sites, sites);
        for (site, &potential) in self.potentials.iter().enumerate() {
            matrix[(site, site)] = potential;
        }
        for (site, &hop) in self.hops.iter().enumerate() {
            matrix[(site, site + 1)] = hop;
            matrix[(site + 1, site)] = hop;
        }
        matrix
    }

    /// The smallest and the largest eigenvalue that so many fermions on each side allow: those of the fermions without
    /// interaction, which fill the levels of one, and of the interaction.
    fn spectrum(&self, order: ModeOrder, fermions: [usize; 2]) -> [f64; 2] {
        let mut levels: Vec<f64> = self.one_particle().symmetric_eigenvalues().iter().copied().collect();
        let doubles = match order {
            ModeOrder::BySpin => fermions[0].min(fermions[1]),
            ModeOrder::Natural => {
                levels.extend(levels.clone());
                fermions[0] / 2
            }
        };
        levels.sort_by(f64::total_cmp);
        let interaction = self.interaction * float(doubles);
        let mut spectrum = [interaction.min(0.0), interaction.max(0.0)];
        for fermions in fermions {
            spectrum[0] += levels.iter().take(fermions).sum::<f64>();
            spectrum[1] += levels.iter().rev().take(fermions).sum::<f64>();
        }
        // The levels are known to a few times ε of the largest one.
        let largest = levels.iter().fold(0.0_f64, |largest, level| largest.max(level.abs()));
        let margin = 1e-13 * largest * float(fermions[0] + fermions[1]);
        [spectrum[0] - margin, spectrum[1] + margin]
    }

    fn cost(&self, order: ModeOrder, fermions: [usize; 2]) -> Cost {
        let states = usize::try_from(states(self.modes(order), fermions)).unwrap_or(usize::MAX);
        Cost::new(states, states, 1 + 4 * self.hops.len(), self.spectrum(order, fermions))
    }

    fn modes(&self, order: ModeOrder) -> [usize; 2] {
        order.sides(2 * self.potentials.len())
    }

    fn is_free(&self) -> bool {
        self.interaction == 0.0 || self.hops.iter().all(|&hop| hop == 0.0)
    }

    /// Gates on two modes that it becomes.
    pub(crate) fn gates(&self) -> usize {
        if self.is_free() { 4 * self.potentials.len().pow(2) } else { 0 }
    }

    /// Bytes that [`evolve`](Self::evolve) takes beside the state of so many fermions.
    pub(crate) fn bytes(&self, order: ModeOrder, fermions: [usize; 2]) -> u64 {
        if self.is_free() {
            return 0;
        }
        let modes = self.modes(order);
        let states = states(modes, fermions);
        let hops = [0, 1].map(|side| {
            // The pairs of both directions, and where those of each string begin.
            let pairs = side::pairs(modes[side], fermions[side]) as u64;
            let lines = pairs.saturating_mul(4 * self.hops.len() as u64).saturating_mul(3 * 16);
            lines.saturating_add(count(modes[side], fermions[side]).saturating_mul(64))
        });
        let work = match self.cost(order, fermions).way {
            Way::Diagonalisation => Eigenbasis::solver_bytes(states).saturating_add(Eigenbasis::work_bytes(states, 1)),
            Way::Series => chebyshev::bytes(states),
        };
        // The diagonal, and the amplitudes, which for a moment are there twice.
        let vectors = states.saturating_mul(8 + 16);
        work.saturating_add(vectors).saturating_add(hops[0]).saturating_add(hops[1]).saturating_add(1 << 16)
    }

    fn matrix(&self, state: &FermionState, stop: &StopFlag) -> Result<HubbardMatrix, SimulationError> {
        let (order, [rows, columns]) = (state.order(), state.sides());
        let potential = |side: usize, strings: &Strings| -> Vec<f64> {
            let mut energies = vec![0.0; strings.list().len()];
            for (site, &potential) in self.potentials.iter().enumerate() {
                for (mode_side, place) in [2 * site, 2 * site + 1].map(|mode| order.place(mode)) {
                    let bit = if mode_side == side { strings.bit(place) } else { 0 };
                    let occupied = strings.list().iter().map(|string| string & bit != 0);
                    energies.iter_mut().zip(occupied).for_each(|(energy, occupied)| {
                        *energy += if occupied { potential } else { 0.0 };
                    });
                }
            }
            energies
        };
        let [of_rows, of_columns] = [potential(0, rows), potential(1, columns)];
        let mut diagonal = filled(0.0, state.states())?;
        let lines = diagonal.chunks_exact_mut(columns.list().len()).zip(rows.list()).zip(of_rows);
        for ((line, &row), of_row) in lines {
            stop.check()?;
            for ((energy, &column), of_column) in line.iter_mut().zip(columns.list()).zip(&of_columns) {
                *energy = self.interaction * f64::from(doubly(order, row, column)) + of_row + of_column;
            }
        }
        let hops = |side: usize, strings: &Strings| {
            let mut hops: Vec<(usize, usize, f64)> = Vec::new();
            for (site, &hop) in self.hops.iter().enumerate().filter(|(_, hop)| **hop != 0.0) {
                for spin in 0..2 {
                    let places = [2 * site + spin, 2 * site + 2 + spin].map(|mode| order.place(mode));
                    if places[0].0 != side {
                        continue;
                    }
                    for ([x, y], is_odd) in strings.pairs(places.map(|place| place.1)) {
                        let element = if is_odd { -hop } else { hop };
                        hops.extend([(x, y, element), (y, x, element)]);
                    }
                }
            }
            Hops::new(hops, strings.list().len())
        };
        let hops = [hops(0, rows), hops(1, columns)];
        Ok(HubbardMatrix { diagonal, hops, columns: columns.list().len() })
    }
}

/// Elements beside the diagonal between the strings of one side.
#[derive(Debug)]
struct Hops {
    /// Where those of each string begin, and where the last ones end.
    begins: Vec<usize>,
    /// To which string, and the element.
    elements: Vec<(usize, f64)>,
}

impl Hops {
    fn new(mut hops: Vec<(usize, usize, f64)>, strings: usize) -> Self {
        hops.sort_by_key(|&(from, to, _)| (from, to));
        let begins = (0..=strings).map(|string| hops.partition_point(|hop| hop.0 < string)).collect();
        Self { begins, elements: hops.into_iter().map(|(_, to, element)| (to, element)).collect() }
    }

    fn of(&self, string: usize) -> &[(usize, f64)] {
        &self.elements[self.begins[string]..self.begins[string + 1]]
    }
}

/// The matrix of a Hubbard Hamiltonian over the states with a number of fermions.
#[derive(Debug)]
struct HubbardMatrix {
    diagonal: Vec<f64>,
    /// Of the rows of the state, and of its columns.
    hops: [Hops; 2],
    columns: usize,
}

impl HubbardMatrix {
    /// Hands the elements in a row to `act(column, element)`.
    fn row(&self, index: usize, act: &mut dyn FnMut(usize, Double)) {
        let (row, column) = (index / self.columns, index % self.columns);
        act(index, self.diagonal[index].into());
        self.hops[0].of(row).iter().for_each(|&(to, element)| act(to * self.columns + column, element.into()));
        self.hops[1].of(column).iter().for_each(|&(to, element)| act(row * self.columns + to, element.into()));
    }

    /// `scale (H - centre)`.
    fn shifted(mut self, centre: f64, scale: f64) -> Self {
        self.diagonal.iter_mut().for_each(|energy| *energy = (*energy - centre) * scale);
        for hops in &mut self.hops {
            hops.elements.iter_mut().for_each(|(_, element)| *element *= scale);
        }
        self
    }
}

impl Product for HubbardMatrix {
    /// A row of the state.
    fn block_len(&self) -> usize {
        self.columns
    }

    /// `O(hops)` per state.
    #[expect(clippy::inline_always, reason = "else it would not use the vector unit")]
    #[inline(always)]
    fn block(&self, first: usize, x: &[f64], y: &mut [f64]) {
        let own = first..first + self.columns;
        let own_x = &x[own.clone()];
        for (column, ((y, x), energy)) in y.iter_mut().zip(own_x).zip(&self.diagonal[own]).enumerate() {
            let hops = self.hops[1].of(column).iter().map(|&(to, element)| element * own_x[to]);
            *y = energy * x - *y + hops.sum::<f64>();
        }
        for &(to, element) in self.hops[0].of(first / self.columns) {
            add_scaled(y, &x[to * self.columns..(to + 1) * self.columns], element);
        }
    }
}

#[cfg(test)]
mod tests {
    use num_complex::Complex64;

    use super::super::fermi::modes;
    use super::super::state::State;
    use super::*;

    fn amplitudes(state: FermionState) -> Vec<Complex64> {
        State::from(state).amplitudes()
    }

    /// Five sites, after hops of both spins.
    fn start(order: ModeOrder) -> FermionState {
        let (shape, stop) = (modes(10).expect("small"), StopFlag::default());
        let mut state = FermionState::new(shape, order, &[0, 1, 2, 7, 8]).expect("small");
        for p in [0, 1, 4, 5, 2, 3, 6] {
            state.hop([p, p + 2], 0.8, &stop).expect("not stopped");
        }
        state.interact(0.3, &stop).expect("not stopped");
        state
    }

    fn distance(a: &[Complex64], b: &[Complex64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - b).norm()).fold(0.0, f64::max)
    }

    #[test]
    fn diagonalisation_series_and_both_orders_agree() {
        let hops = vec![0.7, -1.1, 0.0, 2.0];
        let hubbard = Hubbard { hops, interaction: 3.0, potentials: vec![0.1, -0.5, 0.0, 4.0, 1.0] };
        let stop = StopFlag::default();
        let mut found = Vec::new();
        for (order, way) in [
            (ModeOrder::BySpin, Way::Diagonalisation),
            (ModeOrder::BySpin, Way::Series),
            (ModeOrder::Natural, Way::Series),
        ] {
            let mut state = start(order);
            hubbard.evolve_by(way, &mut state, &stop).expect("not stopped");
            found.push(amplitudes(state));
        }
        assert!(distance(&found[0], &found[1]) < 1e-13 && distance(&found[0], &found[2]) < 1e-13);
    }

    #[test]
    fn fermions_that_do_not_interact_evolve_by_rotations_as_by_the_series() {
        let hubbard = |interaction| Hubbard {
            hops: vec![0.7, -1.1, 0.4, 2.0],
            interaction,
            potentials: vec![0.1, -0.5, 0.0, 4.0, 1.0],
        };
        let stop = StopFlag::default();
        let (mut free, mut series) = (start(ModeOrder::BySpin), start(ModeOrder::BySpin));
        hubbard(0.0).evolve(&mut free, &stop).expect("not stopped");
        free.finish(&stop).expect("not stopped");
        hubbard(0.0).evolve_by(Way::Series, &mut series, &stop).expect("not stopped");
        assert!(distance(&amplitudes(free), &amplitudes(series)) < 1e-13);
    }

    #[test]
    fn no_eigenvalue_lies_outside_of_the_bounds() {
        for (interaction, order) in [(5.0, ModeOrder::BySpin), (-5.0, ModeOrder::BySpin), (-5.0, ModeOrder::Natural)] {
            let hubbard =
                Hubbard { hops: vec![1.0, -2.0, 1.5, 0.3], interaction, potentials: vec![1.0, -1.0, 0.5, 0.0, 2.0] };
            let (stop, mut state) = (StopFlag::default(), start(order));
            state.finish(&stop).expect("not stopped");
            let matrix = hubbard.matrix(&state, &stop).expect("small");
            let row = |row: usize, act: &mut dyn FnMut(usize, Double)| matrix.row(row, act);
            let basis = Eigenbasis::dense(state.states(), row, &stop).expect("converges");
            let [lowest, highest] = hubbard.spectrum(order, state.sides().map(Strings::fermions));
            let values: Vec<f64> = basis.values().iter().map(|value| value.value()).collect();
            let [first, last] = [
                values.iter().copied().fold(f64::INFINITY, f64::min),
                values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            ];
            assert!(lowest <= first && last <= highest, "{lowest} {first} {last} {highest}");
            // The bounds are no wider than the terms on their own.
            assert!(highest - lowest <= (last - first) * 1.5);
        }
    }
}
