//! Hops over several pairs of modes at once.

use nalgebra::DMatrix;
use qspool_driver::StopFlag;

use super::double::Double;
use super::error::SimulationError;
use super::fermi::FermionState;

/// Applies `exp(-iθ Σ (c†_p c_q + c†_q c_p))`, where the sum is over `pairs` of modes of one side each, which may share
/// some or be one mode twice.
///
/// Pairs that share no mode commute, and each is a rotation of its two modes, exact at any angle. Others become rotations
/// of two modes each, and phases, by the eigenvectors of their one-particle matrix; the error is `ε|θ|`. `O(states)` for
/// each rotation.
pub(crate) fn hop(
    state: &mut FermionState,
    pairs: &[[usize; 2]],
    theta: f64,
    stop: &StopFlag,
) -> Result<(), SimulationError> {
    let modes = modes(pairs);
    if modes.len() == 2 * pairs.len() {
        return pairs.iter().try_for_each(|&pair| state.hop(pair, theta, stop));
    }
    // What has no mode in common goes by itself, so that no eigenvector leads from one side to the other.
    let mut groups: Vec<Vec<[usize; 2]>> = Vec::new();
    for &pair in pairs {
        let touches = |group: &Vec<[usize; 2]>| group.as_flattened().iter().any(|mode| pair.contains(mode));
        let (touched, mut others): (Vec<_>, Vec<_>) = groups.into_iter().partition(touches);
        others.push([touched.concat(), vec![pair]].concat());
        groups = others;
    }
    groups.iter().try_for_each(|group| hop_together(state, group, theta, stop))
}

/// The modes of some pairs, rising, each once.
fn modes(pairs: &[[usize; 2]]) -> Vec<usize> {
    let mut modes = pairs.concat();
    modes.sort_unstable();
    modes.dedup();
    modes
}

fn hop_together(
    state: &mut FermionState,
    pairs: &[[usize; 2]],
    theta: f64,
    stop: &StopFlag,
) -> Result<(), SimulationError> {
    let modes = modes(pairs);
    let place = |mode: usize| modes.iter().position(|&known| known == mode).unwrap_or_default();
    let mut matrix = DMatrix::zeros(modes.len(), modes.len());
    for [p, q] in pairs {
        let [p, q] = [place(*p), place(*q)];
        matrix[(p, q)] += 1.0;
        matrix[(q, p)] += 1.0;
    }
    evolve_one_particle(state, &modes, matrix, theta, stop)
}

/// Applies `exp(-iθ Σ_pq h_pq c†_p c_q)` for a real symmetric matrix `h` over some modes of one side.
///
/// Rotations of two modes and phases, by the eigenvectors of the matrix. Source: Kivlichan et al., Phys. Rev. Lett. 120,
/// 110501 (2018).
pub(crate) fn evolve_one_particle(
    state: &mut FermionState,
    modes: &[usize],
    matrix: DMatrix<f64>,
    theta: f64,
    stop: &StopFlag,
) -> Result<(), SimulationError> {
    let eigen = matrix.symmetric_eigen();
    // The signs that are left of the eigenvectors commute with the phases.
    let rotations = givens(eigen.eigenvectors);
    for &([p, q], turn) in &rotations {
        state.turn([modes[p], modes[q]], turn, stop)?;
    }
    for (&mode, &value) in modes.iter().zip(&eigen.eigenvalues) {
        state.phase(mode, Double::product(theta, value), stop)?;
    }
    for &([p, q], [cos, sin]) in rotations.iter().rev() {
        state.turn([modes[p], modes[q]], [cos, -sin], stop)?;
    }
    Ok(())
}

/// The planes and the cosines and sines of rotations whose product, the first one leftmost, is this orthogonal matrix but
/// for the signs of its columns.
fn givens(mut matrix: DMatrix<f64>) -> Vec<([usize; 2], [f64; 2])> {
    let mut rotations = Vec::new();
    for column in 0..matrix.ncols() {
        for row in column + 1..matrix.nrows() {
            let [x, y] = [matrix[(column, column)], matrix[(row, column)]];
            let length = x.hypot(y);
            if y == 0.0 {
                continue;
            }
            let [cos, sin] = [x / length, y / length];
            for other in 0..matrix.ncols() {
                let [x, y] = [matrix[(column, other)], matrix[(row, other)]];
                matrix[(column, other)] = cos * x + sin * y;
                matrix[(row, other)] = cos * y - sin * x;
            }
            rotations.push(([column, row], [cos, sin]));
        }
    }
    rotations
}

#[cfg(test)]
mod tests {
    use num_complex::Complex64;

    use super::super::fermi::{self, ModeOrder};
    use super::super::register::float;
    use super::super::state::State;
    use super::super::strings::is_odd;
    use super::*;

    /// A state with many amplitudes, of the fermions that `occupied` puts in first.
    fn start(number: usize, order: ModeOrder, occupied: &[usize]) -> FermionState {
        let (shape, stop) = (fermi::modes(number).expect("small"), StopFlag::default());
        let mut state = FermionState::new(shape, order, occupied).expect("small");
        for round in 0..3 {
            for p in 0..number - 2 {
                state.hop([p, p + 2], 0.7 + float(p + 5 * round), &stop).expect("not stopped");
                state.phase(p, float(3 * p + round).into(), &stop).expect("not stopped");
            }
            state.interact(0.9 + float(round), &stop).expect("not stopped");
        }
        state
    }

    fn dense(state: &FermionState) -> Vec<Complex64> {
        let mut state = state.clone();
        state.finish(&StopFlag::default()).expect("not stopped");
        State::from(state).amplitudes()
    }

    /// `c_mode` or `c†_mode` by its definition: where a state goes to, and the sign.
    fn act(index: usize, modes: usize, mode: usize, creates: bool) -> Option<(usize, f64)> {
        let bit = 1 << (modes - 1 - mode);
        let sign = if is_odd((index / bit / 2) as u64) { -1.0 } else { 1.0 };
        ((index & bit == 0) == creates).then_some((index ^ bit, sign))
    }

    /// `Σ (c†_p c_q + h.c.)` applied to a state, by its definition.
    fn hamiltonian(psi: &[Complex64], pairs: &[[usize; 2]]) -> Vec<Complex64> {
        let modes = psi.len().trailing_zeros() as usize;
        let mut result = vec![Complex64::ZERO; psi.len()];
        for [p, q] in pairs.iter().flat_map(|[p, q]| [[*p, *q], [*q, *p]]) {
            for (index, amplitude) in psi.iter().enumerate() {
                let Some((without, first)) = act(index, modes, q, false) else { continue };
                let Some((target, second)) = act(without, modes, p, true) else { continue };
                result[target] += amplitude * first * second;
            }
        }
        result
    }

    /// `exp(-iθH)` by its Taylor series.
    fn expected(psi: &[Complex64], pairs: &[[usize; 2]], theta: f64) -> Vec<Complex64> {
        let (mut sum, mut term) = (psi.to_vec(), psi.to_vec());
        for order in 1..60 {
            term = hamiltonian(&term, pairs);
            term.iter_mut().for_each(|amplitude| *amplitude *= Complex64::new(0.0, -theta / float(order)));
            sum.iter_mut().zip(&term).for_each(|(sum, term)| *sum += term);
        }
        sum
    }

    fn distance(a: &[Complex64], b: &[Complex64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - b).norm()).fold(0.0, f64::max)
    }

    #[test]
    fn hops_are_the_exponential_of_their_sum_also_where_they_share_modes() {
        let many: [&[[usize; 2]]; 11] = [
            &[[0, 2], [1, 3]],
            &[[3, 0]],
            &[[0, 1], [1, 2]],
            &[[1, 4], [4, 0]],
            &[[2, 2], [0, 3]],
            &[[0, 4], [4, 0]],
            &[[1, 1], [1, 1]],
            &[[0, 1], [1, 2], [2, 3], [3, 4]],
            &[[0, 3], [0, 3]],
            &[[0, 2], [2, 4]],
            &[[3, 3], [4, 2]],
        ];
        for pairs in many {
            for order in [ModeOrder::Natural, ModeOrder::BySpin] {
                if order == ModeOrder::BySpin && pairs.iter().any(|[p, q]| p % 2 != q % 2) {
                    continue;
                }
                let mut state = start(5, order, &[0, 3, 4]);
                let expected = expected(&dense(&state), pairs, 0.9);
                hop(&mut state, pairs, 0.9, &StopFlag::default()).expect("not stopped");
                let distance = distance(&dense(&state), &expected);
                assert!(distance < 1e-14, "{pairs:?} {order:?}: {distance:e}");
            }
        }
    }

    #[test]
    fn hops_of_many_fermions_are_those_of_the_definition() {
        for (order, pair) in [
            (ModeOrder::BySpin, [0, 2]),
            (ModeOrder::BySpin, [15, 1]),
            (ModeOrder::BySpin, [4, 14]),
            (ModeOrder::Natural, [0, 15]),
            (ModeOrder::Natural, [9, 4]),
        ] {
            // A matrix of 70 times 70, or 12870 rows.
            let mut state = start(16, order, &[0, 1, 4, 5, 8, 9, 12, 13]);
            let theta = 1.3_f64;
            let before = dense(&state);
            // H² projects on the states with one of the two occupied.
            let once = hamiltonian(&before, &[pair]);
            let twice = hamiltonian(&once, &[pair]);
            state.hop(pair, theta, &StopFlag::default()).expect("not stopped");
            let expected: Vec<Complex64> = (0..before.len())
                .map(|k| before[k] + twice[k] * (theta.cos() - 1.0) - once[k] * Complex64::new(0.0, theta.sin()))
                .collect();
            assert!(distance(&dense(&state), &expected) < 1e-14, "{order:?} {pair:?}");
        }
    }

    #[test]
    fn both_orders_of_the_modes_give_the_same_amplitudes() {
        let [by_spin, natural] =
            [ModeOrder::BySpin, ModeOrder::Natural].map(|order| dense(&start(8, order, &[5, 0, 1, 6])));
        assert!(distance(&by_spin, &natural) < 1e-14);
        let norm: f64 = natural.iter().map(Complex64::norm_sqr).sum();
        assert!((norm - 1.0).abs() < 1e-14 && natural.iter().filter(|a| a.norm() > 1e-6).count() > 30);
    }

    #[test]
    fn a_fermion_that_comes_in_later_has_the_sign_of_those_before_it() {
        for order in [ModeOrder::BySpin, ModeOrder::Natural] {
            for mode in [6, 7] {
                let stop = StopFlag::default();
                let mut state = FermionState::new(fermi::modes(8).expect("small"), order, &[3, 0, 1]).expect("small");
                for pair in [[0, 2], [2, 4], [1, 3]] {
                    state.hop(pair, 0.4, &stop).expect("not stopped");
                }
                let before = dense(&state);
                let mut expected = vec![Complex64::ZERO; before.len()];
                for (index, amplitude) in before.iter().enumerate() {
                    if let Some((target, sign)) = act(index, 8, mode, true) {
                        expected[target] += amplitude * sign;
                    }
                }
                state.create(mode, &stop).expect("not stopped").expect("empty");
                assert!(distance(&dense(&state), &expected) < 1e-15, "{order:?} {mode}");
                state.create(2, &stop).expect("not stopped").expect_err("may be occupied");
            }
        }
    }
}
