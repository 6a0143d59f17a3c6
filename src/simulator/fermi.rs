//! Gates on fermionic modes: a register whose wires have two levels, empty and occupied.
//!
//! Jordan-Wigner: `c_j` carries the sign `(-1)^(number of occupied modes before j)`, mode 0 comes first. What acts on two
//! modes sees the occupied modes between them: σ is -1 where their number is odd, else 1.

use nalgebra::DMatrix;
use num_complex::Complex64;
use pulp::{Arch, Simd, WithSimd};
use qspool_driver::StopFlag;
use rayon::prelude::*;

use super::double::Double;
use super::error::{Problem, SimulationError};
use super::qubits::QubitGate;
use super::register::{PARALLEL, Register, Shape, float};

/// How far from 1 a squared norm may be before the state counts as no state: numpy's tolerance for probabilities.
const NORM_TOLERANCE: f64 = 1.490_116_119_384_765_6e-8;

/// Whether an odd number of modes is occupied, one per bit.
fn is_odd(modes: usize) -> bool {
    modes.count_ones() % 2 == 1
}

/// Applies `c†_mode`: puts a fermion into an empty mode.
///
/// `O(states)`, in place. Refuses a mode that may be occupied: the squared norm would no longer be 1 to 1.5e-8.
pub(crate) fn create(register: &mut Register, mode: usize) -> Result<(), Problem> {
    let (shape, psi) = register.parts_mut();
    let stride = shape.stride(mode);
    let mut occupation = 0.0;
    for (before, block) in psi.chunks_exact_mut(2 * stride).enumerate() {
        let sign = if is_odd(before) { -1.0 } else { 1.0 };
        let (empty, occupied) = block.split_at_mut(stride);
        for (empty, occupied) in empty.iter_mut().zip(occupied) {
            occupation += occupied.norm_sqr();
            *occupied = std::mem::take(empty) * sign;
        }
    }
    let is_empty = (register.norm_sqr() - 1.0).abs() <= NORM_TOLERANCE;
    if is_empty { Ok(()) } else { Err(Problem::Occupied { mode, occupation }) }
}

/// Applies `exp(-iθ Σ (c†_p c_q + c†_q c_p))`, where the sum is over `pairs` of modes, which may share some or be one mode
/// twice.
///
/// Pairs that share no mode commute, and each is a rotation of its two modes, exact at any angle. Others become rotations
/// of two modes each, and phases, by the eigenvectors of their one-particle matrix; the error is `ε|θ|`. `O(states)` for
/// each rotation, in place.
pub(crate) fn hop(
    register: &mut Register,
    pairs: &[[usize; 2]],
    theta: f64,
    stop: &StopFlag,
) -> Result<(), SimulationError> {
    let mut modes = pairs.concat();
    modes.sort_unstable();
    modes.dedup();
    if modes.len() == 2 * pairs.len() {
        let turn = Double::from(theta).phase();
        let gate = QubitGate::mixing(turn.re.into(), Complex64::new(0.0, turn.im));
        return pairs.iter().try_for_each(|&pair| mix(register, pair, gate, stop));
    }
    let place = |mode: usize| modes.iter().position(|&known| known == mode).unwrap_or_default();
    let mut matrix = DMatrix::zeros(modes.len(), modes.len());
    for [p, q] in pairs {
        let [p, q] = [place(*p), place(*q)];
        matrix[(p, q)] += 1.0;
        matrix[(q, p)] += 1.0;
    }
    let eigen = matrix.symmetric_eigen();
    // The signs that are left of the eigenvectors commute with the phases.
    let rotations = givens(eigen.eigenvectors);
    let gate = |[cos, sin]: [f64; 2]| QubitGate::real([[cos, -sin], [sin, cos]]);
    for &([p, q], [cos, sin]) in &rotations {
        mix(register, [modes[p], modes[q]], gate([cos, -sin]), stop)?;
    }
    for (&mode, &value) in modes.iter().zip(&eigen.eigenvalues) {
        register.phase(mode, |occupied| Double::product(theta, value) * float(occupied));
    }
    for &([p, q], turn) in rotations.iter().rev() {
        mix(register, [modes[p], modes[q]], gate(turn), stop)?;
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

/// Applies `[[a, b], [c, d]]` to the amplitudes with exactly one of two different modes occupied: with the first one `x`,
/// with the second one `y`, `x' = a x + σ b y` and `y' = σ c x + d y`.
///
/// `O(states)`, in place; looks at `stop` in each part.
pub(crate) fn mix(
    register: &mut Register,
    [p, q]: [usize; 2],
    gate: QubitGate,
    stop: &StopFlag,
) -> Result<(), SimulationError> {
    let (shape, psi) = register.parts_mut();
    let [slow, fast] = [p.min(q), p.max(q)].map(|mode| shape.stride(mode));
    let gate = if p < q { gate } else { gate.exchanged() };
    let arch = Arch::new();
    let act = |between: usize, (empty, occupied): (&mut [Complex64], &mut [Complex64])| {
        if !stop.is_raised() {
            arch.dispatch(Mix { empty, occupied, between, fast, gate });
        }
    };
    if psi.len() < PARALLEL {
        psi.chunks_exact_mut(2 * slow).for_each(|block| act(0, block.split_at_mut(slow)));
    } else if slow < PARALLEL {
        psi.par_chunks_exact_mut(2 * slow).for_each(|block| act(0, block.split_at_mut(slow)));
    } else {
        let part = (PARALLEL / (2 * fast)).max(1);
        for block in psi.chunks_exact_mut(2 * slow) {
            let (empty, occupied) = block.split_at_mut(slow);
            let parts = empty.par_chunks_mut(2 * fast * part).zip(occupied.par_chunks_mut(2 * fast * part));
            parts.enumerate().for_each(|(index, halves)| act(index * part, halves));
        }
    }
    Ok(stop.check()?)
}

/// Amplitudes with the slow one of two modes empty, and the same with it occupied.
struct Mix<'a> {
    empty: &'a mut [Complex64],
    occupied: &'a mut [Complex64],
    /// The occupation of the modes between the two where these amplitudes begin, one per bit.
    between: usize,
    fast: usize,
    gate: QubitGate,
}

impl WithSimd for Mix<'_> {
    type Output = ();

    #[expect(clippy::inline_always, reason = "else it would not use the vector unit")]
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { empty, occupied, between, fast, gate } = self;
        let opposite = gate.opposite();
        let runs = occupied.chunks_exact_mut(2 * fast).zip(empty.chunks_exact_mut(2 * fast));
        for (index, (occupied, empty)) in runs.enumerate() {
            let gate = if is_odd(between + index) { opposite } else { gate };
            gate.act(&mut occupied[..fast], &mut empty[fast..]);
        }
    }
}

/// Multiplies each amplitude by `exp(-i·strength·count(index))`, where `count` is `most` or less. Exact at any strength.
pub(crate) fn count_phase(register: &mut Register, strength: f64, most: usize, count: impl Fn(usize) -> usize + Sync) {
    let phases: Vec<Complex64> = (0..=most).map(|count| Double::product(strength, float(count)).phase()).collect();
    let (_, psi) = register.parts_mut();
    let act = |(index, amplitude): (usize, &mut Complex64)| *amplitude *= phases[count(index)];
    if psi.len() < PARALLEL {
        psi.iter_mut().enumerate().for_each(act);
    } else {
        psi.par_iter_mut().with_min_len(PARALLEL).enumerate().for_each(act);
    }
}

/// The register of `modes` modes.
pub(crate) fn modes(modes: usize) -> Result<Shape, SimulationError> {
    Shape::new(std::iter::repeat_n(2, modes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(modes: usize) -> Register {
        let shape = super::modes(modes).expect("small");
        let psi = (0..shape.states()).map(|k| Complex64::from_polar(1.0, float(k) * float(k % 89))).collect();
        let mut register = Register::from_amplitudes(shape, psi);
        register.normalise();
        register
    }

    /// `Σ (c†_p c_q + h.c.)` applied to a state, by its definition.
    fn hamiltonian(register: &Register, pairs: &[[usize; 2]]) -> Vec<Complex64> {
        let shape = register.shape();
        let annihilate = |index: usize, mode: usize| {
            let bit = shape.stride(mode);
            let sign = if is_odd(index / bit / 2) { -1.0 } else { 1.0 };
            (index & bit != 0).then_some((index & !bit, sign))
        };
        let create = |index: usize, mode: usize| {
            let bit = shape.stride(mode);
            let sign = if is_odd(index / bit / 2) { -1.0 } else { 1.0 };
            (index & bit == 0).then_some((index | bit, sign))
        };
        let mut result = vec![Complex64::ZERO; shape.states()];
        for [p, q] in pairs.iter().flat_map(|[p, q]| [[*p, *q], [*q, *p]]) {
            for (index, amplitude) in register.amplitudes().iter().enumerate() {
                let Some((without, first)) = annihilate(index, q) else { continue };
                let Some((target, second)) = create(without, p) else { continue };
                result[target] += amplitude * first * second;
            }
        }
        result
    }

    /// `exp(-iθH)` by its Taylor series.
    fn expected(register: &Register, pairs: &[[usize; 2]], theta: f64) -> Vec<Complex64> {
        let mut sum = register.amplitudes().to_vec();
        let mut term = register.clone();
        for order in 1..60 {
            let next = hamiltonian(&term, pairs).into_iter().map(|a| a * Complex64::new(0.0, -theta / float(order)));
            term = Register::from_amplitudes(term.shape().clone(), next.collect());
            sum.iter_mut().zip(term.amplitudes()).for_each(|(sum, term)| *sum += term);
        }
        sum
    }

    #[test]
    fn hops_are_the_exponential_of_their_sum_also_where_they_share_modes() {
        let many: [&[[usize; 2]]; 9] = [
            &[[0, 2], [1, 3]],
            &[[3, 0]],
            &[[0, 1], [1, 2]],
            &[[1, 4], [4, 0]],
            &[[2, 2], [0, 3]],
            &[[0, 4], [4, 0]],
            &[[1, 1], [1, 1]],
            &[[0, 1], [1, 2], [2, 3], [3, 4]],
            &[[0, 3], [0, 3]],
        ];
        for pairs in many {
            let mut register = start(5);
            let expected = expected(&register, pairs, 0.9);
            hop(&mut register, pairs, 0.9, &StopFlag::default()).expect("not stopped");
            let distance = register.amplitudes().iter().zip(&expected).map(|(a, b)| (a - b).norm()).fold(0.0, f64::max);
            assert!(distance < 1e-14, "{pairs:?}: {distance:e}");
        }
    }

    #[test]
    fn hops_in_a_large_register_are_those_of_the_definition() {
        for [p, q] in [[0, 1], [0, 15], [14, 15], [9, 3], [1, 12]] {
            let mut register = start(16);
            let theta = 1.3_f64;
            // H² projects on the states with one of the two occupied.
            let once = hamiltonian(&register, &[[p, q]]);
            let shape = register.shape().clone();
            let twice = hamiltonian(&Register::from_amplitudes(shape, once.clone()), &[[p, q]]);
            let start = register.amplitudes().to_vec();
            hop(&mut register, &[[p, q]], theta, &StopFlag::default()).expect("not stopped");
            for (index, amplitude) in register.amplitudes().iter().enumerate() {
                let expected =
                    start[index] + twice[index] * (theta.cos() - 1.0) - once[index] * Complex64::new(0.0, theta.sin());
                assert!((amplitude - expected).norm() < 1e-14, "{p} {q} at {index}");
            }
        }
    }
}
