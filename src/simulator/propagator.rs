//! `exp(-iH)` on a whole register, for a Hamiltonian that does not fall into gates.
//!
//! Two ways, chosen by their estimated cost: diagonalisation, whose cost does not depend on the parameters, in blocks
//! where the sum of the levels is conserved; and a Chebyshev series, whose cost grows with the width of the spectrum.

use qspool_driver::StopFlag;

use super::bounds;
use super::chebyshev;
use super::double::Double;
use super::eigen::Eigenbasis;
use super::error::SimulationError;
use super::hamiltonian::SpinHamiltonian;
use super::product::Operator;
use super::register::{PARALLEL, Register, Shape, filled, float};

/// More operations than this are refused: at some 10^9 in a second they take hours.
const MAX_OPERATIONS: f64 = 2e13;

/// Operations of the diagonalisation of a matrix, per cube of its rows.
const DIAGONALISATION: f64 = 12.0;

/// How an evolution is done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Way {
    Diagonalisation,
    Series,
}

/// The cheaper way, and what it costs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) way: Way,
    states: usize,
    operations: f64,
}

impl Cost {
    /// Of so many states in blocks of at most so many `rows`, with so many elements in a row, and eigenvalues within
    /// `spectrum`.
    pub(crate) fn new(states: usize, rows: usize, elements: usize, [lowest, highest]: [f64; 2]) -> Self {
        let diagonalisation = DIAGONALISATION * float(rows) * float(rows) * float(states);
        let per_product = 4.0 * float(states) * float(2 + elements);
        let series = per_product * chebyshev::products(0.5 * (highest - lowest));
        let way = if diagonalisation <= series { Way::Diagonalisation } else { Way::Series };
        Self { way, states, operations: diagonalisation.min(series) }
    }

    /// The way, or the error that it takes too long.
    pub(crate) fn allowed(self) -> Result<Way, SimulationError> {
        let Self { way, states, operations } = self;
        if operations > MAX_OPERATIONS {
            return Err(SimulationError::TooLong { states: states as u64, operations, allowed: MAX_OPERATIONS });
        }
        Ok(way)
    }
}

/// Applies `exp(-iH)` to the register. The error is about `ε‖H‖`, or 1e-13 if that is more.
pub(crate) fn evolve(
    hamiltonian: &SpinHamiltonian,
    register: &mut Register,
    stop: &StopFlag,
) -> Result<(), SimulationError> {
    match cheapest(hamiltonian, register.shape()).allowed()? {
        Way::Diagonalisation => diagonalise(hamiltonian, register, stop),
        Way::Series => series(hamiltonian, register, stop),
    }
}

/// Bytes that [`evolve`] takes beside the state.
pub(crate) fn bytes(hamiltonian: &SpinHamiltonian, shape: &Shape) -> u64 {
    let states = shape.states() as u64;
    let elements = shape.dims().iter().map(|&dim| dim as u64).sum::<u64>().saturating_mul(96);
    let work = match cheapest(hamiltonian, shape).way {
        Way::Diagonalisation => {
            let rows = largest_block(hamiltonian, shape) as u64;
            // The diagonal, with half of it while it is made; the order of the states and its inverse.
            let tables = states.saturating_mul(16 + 8 + 8 + 8);
            Eigenbasis::solver_bytes(rows).saturating_add(Eigenbasis::work_bytes(rows, 1)).saturating_add(tables)
        }
        // The diagonal takes half as much again while it is made, before there are other vectors.
        Way::Series => chebyshev::bytes(states).saturating_add(Operator::bytes(shape)).saturating_add(8 * states),
    };
    work.saturating_add(elements).saturating_add(1024)
}

fn cheapest(hamiltonian: &SpinHamiltonian, shape: &Shape) -> Cost {
    let (rows, spectrum) = (largest_block(hamiltonian, shape), hamiltonian.spectrum(shape, None));
    Cost::new(shape.states(), rows, hamiltonian.terms(shape), spectrum)
}

/// The rows of the largest block, at most: in a block the other wires fix the level of the largest.
fn largest_block(hamiltonian: &SpinHamiltonian, shape: &Shape) -> usize {
    let largest = if hamiltonian.conserves_levels() { shape.dims().iter().copied().max().unwrap_or(1) } else { 1 };
    shape.states() / largest
}

/// The evolution by a series, whatever it costs.
pub(crate) fn series(
    hamiltonian: &SpinHamiltonian,
    register: &mut Register,
    stop: &StopFlag,
) -> Result<(), SimulationError> {
    let (shape, psi) = register.parts_mut();
    let mut diagonal = hamiltonian.diagonal(shape, Double::value, stop)?;
    let spectrum = spectrum(hamiltonian, shape, &diagonal, stop)?;
    let operator = |centre: f64, scale: f64| {
        diagonal.iter_mut().for_each(|energy| *energy = (*energy - centre) * scale);
        Ok(hamiltonian.operator(shape, scale, diagonal))
    };
    chebyshev::evolve(psi, spectrum, operator, stop)
}

/// The number of products with a vector that [`evolve`] takes; 0 for diagonalisation.
pub(crate) fn products(hamiltonian: &SpinHamiltonian, shape: &Shape, stop: &StopFlag) -> Result<f64, SimulationError> {
    if cheapest(hamiltonian, shape).way == Way::Diagonalisation {
        return Ok(0.0);
    }
    let diagonal = hamiltonian.diagonal(shape, Double::value, stop)?;
    let [lowest, highest] = spectrum(hamiltonian, shape, &diagonal, stop)?;
    Ok(chebyshev::products(0.5 * (highest - lowest)))
}

/// Two numbers between which the eigenvalues lie.
fn spectrum(
    hamiltonian: &SpinHamiltonian,
    shape: &Shape,
    diagonal: &[f64],
    stop: &StopFlag,
) -> Result<[f64; 2], SimulationError> {
    let range = diagonal
        .iter()
        .fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], &energy| [low.min(energy), high.max(energy)]);
    let known = hamiltonian.spectrum(shape, Some(range));
    // Closer bounds take fewer products, and a smaller system less time than they do.
    let is_worth_it = shape.states() >= PARALLEL;
    if is_worth_it { bounds::spectrum(hamiltonian, shape, known, bounds::WINDOW, stop) } else { Ok(known) }
}

fn diagonalise(hamiltonian: &SpinHamiltonian, register: &mut Register, stop: &StopFlag) -> Result<(), SimulationError> {
    let (shape, psi) = register.parts_mut();
    let diagonal = hamiltonian.diagonal(shape, |energy| energy, stop)?;
    let elements = hamiltonian.elements(shape);
    let Blocks { order, sizes } = blocks(hamiltonian, shape)?;
    let mut rank = filled(0, order.len())?;
    let mut first = 0;
    for size in sizes {
        let members = &order[first..first + size];
        members.iter().enumerate().for_each(|(row, &index)| rank[index] = row);
        let in_row = |row: usize, act: &mut dyn FnMut(usize, Double)| {
            let index = members[row];
            act(row, diagonal[index]);
            hamiltonian.beside_diagonal(shape, &elements, index, &mut |column, element| act(rank[column], element));
        };
        let basis = Eigenbasis::dense(size, in_row, stop)?;
        basis.evolve(1.0, psi, 0..1, |row| members[row], stop)?;
        first += size;
    }
    Ok(())
}

/// The states in the order of the blocks, and the size of each block.
struct Blocks {
    order: Vec<usize>,
    sizes: Vec<usize>,
}

/// Sorts the states by the sum of their levels, if it is conserved.
fn blocks(hamiltonian: &SpinHamiltonian, shape: &Shape) -> Result<Blocks, SimulationError> {
    let states = shape.states();
    let mut order = filled(0, states)?;
    if !hamiltonian.conserves_levels() {
        order.iter_mut().enumerate().for_each(|(index, place)| *place = index);
        return Ok(Blocks { order, sizes: vec![states] });
    }
    let mut sums = filled(0, states)?;
    for wire in 0..shape.num_wires() {
        shape.runs(&mut sums, wire, |level, run| run.iter_mut().for_each(|sum| *sum += level));
    }
    let last = shape.dims().iter().map(|dim| dim - 1).sum::<usize>();
    let mut sizes = vec![0; last + 1];
    for &sum in &sums {
        sizes[sum] += 1;
    }
    let mut next: Vec<usize> =
        sizes.iter().scan(0, |first, size| Some(std::mem::replace(first, *first + size))).collect();
    for (index, &sum) in sums.iter().enumerate() {
        order[next[sum]] = index;
        next[sum] += 1;
    }
    Ok(Blocks { order, sizes })
}

#[cfg(test)]
mod tests {
    use num_complex::Complex64;

    use super::*;
    use crate::simulator::hamiltonian::{Coupling, neighbours};
    use crate::simulator::spin::SpinGates;

    /// The same evolution both ways, from a start with all amplitudes; their distance.
    fn check(dims: &[usize], hamiltonian: &SpinHamiltonian, allowed: f64) {
        let shape = Shape::new(dims.iter().copied()).expect("small");
        let psi = (0..shape.states()).map(|k| Complex64::from_polar(1.0, float(k * k))).collect();
        let mut start = Register::from_amplitudes(shape, psi);
        start.normalise();
        let (mut diagonalised, mut series) = (start.clone(), start);
        let stop = StopFlag::default();
        diagonalise(hamiltonian, &mut diagonalised, &stop).expect("converges");
        super::series(hamiltonian, &mut series, &stop).expect("not stopped");
        let distance = distance(&diagonalised, &series);
        assert!(distance < allowed, "{dims:?} {hamiltonian:?}: {distance:e}");
    }

    fn distance(a: &Register, b: &Register) -> f64 {
        let pairs = a.amplitudes().iter().zip(b.amplitudes());
        pairs.map(|(a, b)| (a - b).norm_sqr()).sum::<f64>().sqrt()
    }

    fn hamiltonian(num_wires: usize, [drive, detuning, twist, hop, ising]: [f64; 5]) -> SpinHamiltonian {
        let coupling = |wires| Coupling { wires, strength: ising };
        let couplings = neighbours(num_wires).map(coupling).collect();
        SpinHamiltonian { drive, detuning, twist, couplings, hop, ..SpinHamiltonian::default() }
    }

    #[test]
    fn diagonalisation_and_series_agree() {
        for p in [[1.0, 0.5, 0.1, 0.02, 0.05], [0.0, 3.0, 2.0, 1.0, 4.0], [2.0, 0.0, -1.0, -3.0, 0.0]] {
            for dims in [&[2][..], &[3, 4], &[2, 5, 3], &[2, 2, 2, 2, 2, 2]] {
                check(dims, &hamiltonian(dims.len(), p), 1e-12);
            }
        }
        // Products in thousands: the error grows with the norm.
        check(&[4, 3, 4], &hamiltonian(3, [300.0, 500.0, 700.0, 200.0, 100.0]), 1e-11);
        check(&[4, 3, 4], &hamiltonian(3, [0.0; 5]), 1e-14);
    }

    #[test]
    fn a_spin_of_200_atoms_agrees_with_the_series() {
        let shape = Shape::new([201]).expect("small");
        let mut start = Register::new(shape, 0).expect("small");
        let (mut gates, stop) = (SpinGates::default(), StopFlag::default());
        gates.twist(&mut start, 0, [1.0, 0.0, 0.0], &stop).expect("converges");
        let (mut twisted, mut series) = (start.clone(), start);
        gates.twist(&mut twisted, 0, [1.0, 1.0, 1.0], &stop).expect("converges");
        super::series(&hamiltonian(1, [1.0, 1.0, 1.0, 0.0, 0.0]), &mut series, &stop).expect("not stopped");
        let distance = distance(&twisted, &series);
        assert!(distance < 1e-11, "{distance:e}");
    }

    #[test]
    fn the_cost_decides() {
        let way = |dims: &[usize], p| {
            cheapest(&hamiltonian(dims.len(), p), &Shape::new(dims.iter().copied()).expect("small")).way
        };
        assert_eq!(way(&[2; 5], [1e7; 5]), Way::Diagonalisation);
        assert_eq!(way(&[16; 4], [1.0, 0.5, 0.1, 0.02, 0.05]), Way::Series);
        // Without a drive the blocks are small.
        assert_eq!(way(&[2, 2, 2, 10, 456], [0.0, 1e7, 1e7, 1e7, 1e7]), Way::Diagonalisation);
    }
}
