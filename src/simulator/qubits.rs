//! Gates on single qubits, gathered per qubit and applied to many qubits in one pass over the state.
//!
//! One matrix per qubit takes a pass over the whole state, however many gates it stands for. The qubits whose pairs of
//! amplitudes lie within one block are done block by block, all of them in one pass; of the others a few at a time.
//! Source: Häner and Steiger, Proc. SC17, 33 (2017).

#![expect(
    clippy::inline_always,
    reason = "what is not part of the function that is made for a vector unit does not use it"
)]

use std::ops::Range;

use num_complex::Complex64;
use pulp::{Simd, WithSimd};
use qspool_driver::StopFlag;
use rayon::prelude::*;

use super::error::SimulationError;
use super::register::{PARALLEL, Register};
use super::vectors::vector_units;

/// The largest block, in amplitudes: 64 kB.
const BLOCK: usize = 1 << 12;

/// How many qubits with a distance of more than a block are done in one pass.
const FAR: usize = 4;

/// Amplitudes of each of their `2^FAR` pieces that are done at once.
const PIECE: usize = 1 << 8;

/// Into how many parts the pieces are cut at most, for the cores to share.
const PARTS: usize = 1 << 8;

/// A unitary matrix on one qubit, by rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct QubitGate([[Complex64; 2]; 2]);

impl QubitGate {
    /// `[[stay, go], [go, stay*]]`.
    pub(crate) fn mixing(stay: Complex64, go: Complex64) -> Self {
        Self([[stay, go], [go, stay.conj()]])
    }

    /// A phase for each level.
    pub(crate) fn phases([down, up]: [Complex64; 2]) -> Self {
        Self([[down, Complex64::ZERO], [Complex64::ZERO, up]])
    }

    /// This one after `first`.
    #[must_use]
    pub(crate) fn after(self, first: Self) -> Self {
        let (Self(a), Self(b)) = (self, first);
        let element = |row: usize, column: usize| a[row][0] * b[0][column] + a[row][1] * b[1][column];
        Self([[element(0, 0), element(0, 1)], [element(1, 0), element(1, 1)]])
    }

    /// Applies it to pairs of amplitudes.
    #[inline(always)]
    pub(crate) fn act(self, upper: &mut [Complex64], lower: &mut [Complex64]) {
        let Self([[a, b], [c, d]]) = self;
        for (x, y) in upper.iter_mut().zip(lower) {
            (*x, *y) = (a * *x + b * *y, c * *x + d * *y);
        }
    }
}

/// Bytes that [`apply`] takes beside the state.
pub(crate) const BYTES: u64 = (PARTS << FAR) as u64 * 16 + (PARTS as u64) * 64 + 8192;

/// Applies a gate to each of these wires, which are different and have two levels.
///
/// `7` multiplications per amplitude and wire, a pass over the state for all near wires and for every [`FAR`] others;
/// looks at `stop` in each part.
pub(crate) fn apply(
    register: &mut Register,
    gates: impl IntoIterator<Item = (usize, QubitGate)>,
    stop: &StopFlag,
) -> Result<(), SimulationError> {
    let (shape, psi) = register.parts_mut();
    let block = shape.block(BLOCK);
    let mut gates: Vec<(usize, QubitGate)> = gates.into_iter().map(|(wire, gate)| (shape.stride(wire), gate)).collect();
    gates.sort_by_key(|(stride, _)| std::cmp::Reverse(*stride));
    let (far, near) = gates.split_at(gates.partition_point(|(stride, _)| *stride >= block));
    let (arch, is_parallel) = (vector_units(), psi.len() >= PARALLEL);
    if !near.is_empty() {
        let act = |block: &mut [Complex64]| {
            if !stop.is_raised() {
                arch.dispatch(Near { block, gates: near });
            }
        };
        if is_parallel {
            psi.par_chunks_exact_mut(block).for_each(act);
        } else {
            psi.chunks_exact_mut(block).for_each(act);
        }
        stop.check()?;
    }
    for gates in far.chunks(FAR) {
        let act = |pieces: Pieces<'_>| {
            if !stop.is_raised() {
                arch.dispatch(Far { pieces, gates });
            }
        };
        let parts = parts(psi, gates);
        if is_parallel {
            parts.into_par_iter().for_each(act);
        } else {
            parts.into_iter().for_each(act);
        }
        stop.check()?;
    }
    Ok(())
}

/// Pieces of the state that a group of gates joins; of all parts the pieces are of one length.
type Pieces<'a> = Vec<&'a mut [Complex64]>;

/// Cuts the state into parts that the gates do not join: of each the `2^gates` pieces, the levels of the first wire
/// being the slowest.
fn parts<'a>(psi: &'a mut [Complex64], gates: &[(usize, QubitGate)]) -> Vec<Pieces<'a>> {
    let mut parts = vec![vec![psi]];
    for (stride, _) in gates {
        parts = cut(parts, 2 * stride);
        for pieces in &mut parts {
            let halves = std::mem::take(pieces).into_iter().map(|piece| piece.split_at_mut(*stride));
            *pieces = halves.flat_map(<[_; 2]>::from).collect();
        }
    }
    let length = parts.first().and_then(|pieces| pieces.first()).map_or(0, |piece| piece.len());
    let most = (PARTS / parts.len().max(1)).max(1);
    cut(parts, length.div_ceil(most).max(PIECE))
}

/// Cuts all pieces of each part at the same places, into parts whose pieces have this length or less.
fn cut<'a>(parts: Vec<Pieces<'a>>, length: usize) -> Vec<Pieces<'a>> {
    let cut_one = |pieces: Pieces<'a>| -> Vec<Pieces<'a>> {
        let mut pieces: Vec<_> = pieces.into_iter().map(|piece| piece.chunks_mut(length)).collect();
        let count = pieces.first().map_or(0, ExactSizeIterator::len);
        (0..count).map(|_| pieces.iter_mut().filter_map(Iterator::next).collect()).collect()
    };
    parts.into_iter().flat_map(cut_one).collect()
}

/// A block that holds both levels of each wire.
struct Near<'a> {
    block: &'a mut [Complex64],
    gates: &'a [(usize, QubitGate)],
}

impl WithSimd for Near<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (stride, gate) in self.gates {
            for pair in self.block.chunks_exact_mut(2 * stride) {
                let (upper, lower) = pair.split_at_mut(*stride);
                gate.act(upper, lower);
            }
        }
    }
}

/// Pieces of which each holds one level of each wire.
struct Far<'a> {
    pieces: Pieces<'a>,
    gates: &'a [(usize, QubitGate)],
}

impl WithSimd for Far<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, _: S) {
        let length = self.pieces.first().map_or(0, |piece| piece.len());
        for begin in (0..length).step_by(PIECE) {
            let range = begin..length.min(begin + PIECE);
            for (place, (_, gate)) in self.gates.iter().enumerate() {
                let distance = 1 << (self.gates.len() - 1 - place);
                act_on_pieces(&mut self.pieces, distance, *gate, range.clone());
            }
        }
    }
}

#[inline(always)]
fn act_on_pieces(pieces: &mut [&mut [Complex64]], distance: usize, gate: QubitGate, range: Range<usize>) {
    for pair in pieces.chunks_exact_mut(2 * distance) {
        let (upper, lower) = pair.split_at_mut(distance);
        for (upper, lower) in upper.iter_mut().zip(lower) {
            gate.act(&mut upper[range.clone()], &mut lower[range.clone()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::register::{Shape, float};
    use super::*;

    fn gate(seed: usize) -> QubitGate {
        let (sin, cos) = (0.3 + float(seed)).sin_cos();
        let gate = QubitGate::mixing(Complex64::from_polar(cos, 0.7), Complex64::new(0.0, -sin));
        gate.after(QubitGate::phases([Complex64::from_polar(1.0, 0.2), Complex64::from_polar(1.0, float(seed))]))
    }

    /// As it is defined, one wire after the other.
    fn expected(start: &Register, gates: &[(usize, QubitGate)]) -> Vec<Complex64> {
        let (shape, mut psi) = (start.shape(), start.amplitudes().to_vec());
        for (wire, QubitGate(matrix)) in gates {
            let stride = shape.stride(*wire);
            for index in (0..psi.len()).filter(|&index| shape.level(index, *wire) == 0) {
                let [x, y] = [psi[index], psi[index + stride]];
                psi[index] = matrix[0][0] * x + matrix[0][1] * y;
                psi[index + stride] = matrix[1][0] * x + matrix[1][1] * y;
            }
        }
        psi
    }

    #[test]
    fn many_qubits_in_one_pass_are_each_qubit_by_itself() {
        let shapes: [&[usize]; 6] =
            [&[2; 17], &[2; 6], &[2, 2, 5000], &[3, 2, 2, 7, 2, 2, 31, 2], &[2], &[2, 2, 2, 2, 2, 5000]];
        for dims in shapes {
            let shape = Shape::new(dims.iter().copied()).expect("small");
            let psi = (0..shape.states()).map(|k| Complex64::from_polar(1.0, float(k) * float(k % 97))).collect();
            let start = Register::from_amplitudes(shape, psi);
            let qubits: Vec<usize> = (0..dims.len()).filter(|&wire| dims[wire] == 2).collect();
            for wires in [&qubits[..], &qubits[..1], &qubits[qubits.len() - 1..]] {
                // The order in which they are named is no matter.
                let gates: Vec<_> = wires.iter().rev().map(|&wire| (wire, gate(wire))).collect();
                let mut register = start.clone();
                apply(&mut register, gates.iter().copied(), &StopFlag::default()).expect("not stopped");
                let distance = register.amplitudes().iter().zip(expected(&start, &gates)).map(|(a, b)| (a - b).norm());
                assert!(distance.fold(0.0, f64::max) < 1e-14, "{dims:?} {wires:?}");
            }
        }
    }
}
