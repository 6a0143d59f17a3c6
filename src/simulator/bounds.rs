//! Bounds of the spectrum of a Hamiltonian, from the spectra of short pieces of the chain.

use qspool_driver::StopFlag;

use super::double::Double;
use super::error::SimulationError;
use super::hamiltonian::{Coupling, SpinHamiltonian};
use super::register::{Shape, filled, float};
use super::symmetric;

/// The states of a window, at most: larger ones take longer than they save.
pub(crate) const WINDOW: usize = 64;

/// How far an eigenvalue of a window may be off, of the largest one.
const MARGIN: f64 = 1e-12;

/// Two numbers between which all eigenvalues lie, no wider than `known`, which are such numbers.
///
/// Windows of `m` neighbouring wires begin at each wire, and before the first one, so that each wire lies in `m` of them
/// and each pair at distance `r < m` in `m - r`. With each term shared out equally among the windows that it lies in, the
/// Hamiltonian is the sum of those of the windows, and its eigenvalues lie between the sums of their smallest and of
/// their largest ones, and of the couplings that fit into no window. Windows have at most `most` states: `O(most³)`.
///
/// Source: Anderson, Phys. Rev. 83, 1260 (1951).
pub(crate) fn spectrum(
    hamiltonian: &SpinHamiltonian,
    shape: &Shape,
    known: [f64; 2],
    most: usize,
    stop: &StopFlag,
) -> Result<[f64; 2], SimulationError> {
    let wires = shape.num_wires();
    let fits = |width: usize| shape.dims().windows(width).all(|dims| dims.iter().product::<usize>() <= most);
    let Some(width) = (2..=wires).take_while(|&width| fits(width)).last() else { return Ok(known) };
    let [mut lowest, mut highest] = [0.0, 0.0];
    let mut seen: Vec<(Shape, Vec<Coupling>, [f64; 2])> = Vec::new();
    for end in 1..wires + width {
        let (first, end) = (end.saturating_sub(width), end.min(wires));
        let (window, part) = window(hamiltonian, shape, first, end, width)?;
        // Most windows are alike.
        let same = seen.iter().find(|(shape, couplings, _)| *shape == window && *couplings == part.couplings);
        let range = match same {
            Some((.., range)) => *range,
            None => eigenvalues(&part, &window, stop)?,
        };
        if same.is_none() {
            seen.push((window, part.couplings, range));
        }
        (lowest, highest) = (lowest + range[0], highest + range[1]);
    }
    for coupling in hamiltonian.couplings.iter().filter(|coupling| coupling.distance() >= width) {
        let energies = coupling.range(hamiltonian.charge, shape);
        (lowest, highest) = (lowest + energies.start(), highest + energies.end());
    }
    Ok([lowest.max(known[0]), highest.min(known[1])])
}

/// The share of the wires from `first` up to `end`, one of windows of `width` wires.
fn window(
    hamiltonian: &SpinHamiltonian,
    shape: &Shape,
    first: usize,
    end: usize,
    width: usize,
) -> Result<(Shape, SpinHamiltonian), SimulationError> {
    let share = |distance: usize| float(width - distance).recip();
    let within = hamiltonian.couplings.iter().filter(|coupling| {
        coupling.distance() < width && coupling.wires.iter().all(|wire| (first..end).contains(wire))
    });
    let couplings = within.map(|coupling| Coupling {
        wires: coupling.wires.map(|wire| wire - first),
        strength: coupling.strength * share(coupling.distance()),
    });
    let part = SpinHamiltonian {
        drive: hamiltonian.drive * share(0),
        detuning: hamiltonian.detuning * share(0),
        twist: hamiltonian.twist * share(0),
        couplings: couplings.collect(),
        charge: hamiltonian.charge,
        hop: hamiltonian.hop * share(1),
    };
    Ok((Shape::new(shape.dims()[first..end].iter().copied())?, part))
}

/// The smallest and the largest eigenvalue, or a little beyond.
fn eigenvalues(hamiltonian: &SpinHamiltonian, shape: &Shape, stop: &StopFlag) -> Result<[f64; 2], SimulationError> {
    let states = shape.states();
    let diagonal = hamiltonian.diagonal(shape, Double::value, stop)?;
    let elements = hamiltonian.elements(shape);
    let mut matrix = filled(0.0, states * states)?;
    for (row, (target, energy)) in matrix.chunks_exact_mut(states).zip(diagonal).enumerate() {
        target[row] = energy;
        hamiltonian.beside_diagonal(shape, &elements, row, &mut |column, element| target[column] += element.value());
    }
    let (mut values, beside) = symmetric::to_tridiagonal(&mut matrix, states, stop)?;
    symmetric::tridiagonal_ql(&mut values, beside, &mut [], stop)?;
    let [lowest, highest] =
        values.iter().fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], &value| [low.min(value), high.max(value)]);
    let margin = MARGIN * lowest.abs().max(highest.abs());
    Ok([lowest - margin, highest + margin])
}

#[cfg(test)]
mod tests {
    use super::super::hamiltonian::{Charge, neighbours};
    use super::*;

    fn check(dims: &[usize], hamiltonian: &SpinHamiltonian, most: usize) {
        let (shape, stop) = (Shape::new(dims.iter().copied()).expect("small"), StopFlag::default());
        let [first, last] = eigenvalues(hamiltonian, &shape, &stop).expect("converges");
        let known = hamiltonian.spectrum(&shape, None);
        let [lowest, highest] = spectrum(hamiltonian, &shape, known, most, &stop).expect("converges");
        assert!(lowest <= first && last <= highest, "{lowest} {first} {last} {highest}");
        assert!(highest - lowest < 0.95 * (known[1] - known[0]), "{lowest} {highest}, known {known:?}");
    }

    #[test]
    fn no_eigenvalue_lies_outside_and_the_bounds_are_closer_than_those_of_the_terms() {
        for blockade in [10.0, -10.0] {
            let pairs = (0..8).flat_map(|b| (0..b).map(move |a: usize| [a, b]));
            let coupling = |wires: [usize; 2]| {
                let distance = i32::try_from(wires[1] - wires[0]).expect("small");
                Coupling { wires, strength: blockade / f64::from(distance).powi(6) }
            };
            let couplings = pairs.map(coupling).collect();
            let atoms =
                SpinHamiltonian { drive: 6.3, detuning: 1.0, couplings, charge: Charge::Level, ..Default::default() };
            check(&[2; 8], &atoms, 16);
        }
        for [twist, hop, ising] in [[0.1, 0.02, 0.5], [-1.0, 0.3, -0.2]] {
            let couplings = neighbours(4).map(|wires| Coupling { wires, strength: ising }).collect();
            let spins = SpinHamiltonian { drive: 1.0, detuning: -0.5, twist, couplings, hop, charge: Charge::Magnetic };
            check(&[4, 3, 2, 5], &spins, 12);
            check(&[4, 4, 4, 4], &spins, 16);
        }
    }

    #[test]
    fn a_window_as_long_as_the_chain_gives_the_spectrum_or_more() {
        let spins = SpinHamiltonian { drive: 1.0, hop: 0.4, ..Default::default() };
        check(&[3, 3, 3], &spins, 27);
        // No two wires fit into a window.
        let shape = Shape::new([9, 9]).expect("small");
        let known = spins.spectrum(&shape, None);
        let found = spectrum(&spins, &shape, known, 64, &StopFlag::default()).expect("nothing to do");
        assert_eq!(found.map(f64::to_bits), known.map(f64::to_bits));
    }
}
