//! Gates on the rows or on the columns of a matrix of amplitudes, many of them in one pass.
//!
//! A gate mixes pairs of rows, each pair by itself, or has a phase for each row. So the columns of the matrix do not
//! know of each other: a few of them go through all gates while they lie in the cache. For gates on columns, a few
//! rows are transposed first.

use num_complex::Complex64;
use pulp::{Simd, WithSimd};
use qspool_driver::StopFlag;
use rayon::prelude::*;

use super::error::SimulationError;
use super::register::PARALLEL;
use super::strings::count;
use super::vectors::vector_units;

/// How many pairs and phases are gathered before they act, and [`SideGate::size`] of what else there is.
pub(crate) const MOST_GATHERED: usize = 1 << 16;

/// The amplitudes that go through all gates together: 256 kB.
const TILE: usize = 1 << 14;

/// The fewest columns of them.
const NARROWEST: usize = 8;

/// The most.
const WIDEST: usize = 256;

/// A gate on the rows of a matrix, or on its columns.
#[derive(Debug, Clone)]
pub(crate) enum SideGate {
    /// Turns pairs `x, y` of rows: `x' = cos x + sin y`, `y' = cos y - sin x`, or `i sin` in the place of both `sin` and
    /// `-sin`, as `parts` says. With the sines of the pairs.
    Turn { pairs: Vec<([usize; 2], f64)>, cos: f64, parts: Parts },
    /// A factor for each row.
    Phases(Vec<Complex64>),
}

/// Which parts of two rows a turn mixes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Parts {
    /// The real parts, and the imaginary parts: a real rotation.
    Same,
    /// The real part of one and the imaginary part of the other: `x' = cos x - i sin y`, `y' = cos y - i sin x`.
    Crossed,
}

impl SideGate {
    /// Pairs or phases, with the room for the gate itself.
    pub(crate) fn size(&self) -> usize {
        let elements = match self {
            Self::Turn { pairs, .. } => pairs.len(),
            Self::Phases(phases) => phases.len(),
        };
        elements + size_of::<Self>() / size_of::<([usize; 2], f64)>()
    }
}

/// The pairs of strings that two of `modes` modes with `fermions` in them make.
pub(crate) fn pairs(modes: usize, fermions: usize) -> usize {
    let others = modes.checked_sub(2).zip(fermions.checked_sub(1));
    others.map_or(0, |(modes, fermions)| usize::try_from(count(modes, fermions)).unwrap_or(usize::MAX))
}

/// Bytes of the gates that are gathered of so many.
pub(crate) fn gathered_bytes(modes: usize, fermions: usize, gates: usize) -> u64 {
    let [pairs, strings] = [pairs(modes, fermions) as u64, count(modes, fermions)];
    let (of_one, of_turn) =
        (strings.saturating_mul(16).max(pairs.saturating_mul(24)), size_of::<SideGate>() as u64 * 3);
    let all = of_one.saturating_add(of_turn).saturating_mul(gates as u64);
    all.min(of_one.saturating_add(MOST_GATHERED as u64 * 24 * 3))
}

/// The columns of a matrix with so many rows that go through all gates together.
fn width(rows: usize) -> usize {
    (TILE / rows.max(1)).clamp(NARROWEST, WIDEST)
}

/// Bytes that [`apply`] takes for a matrix of this size.
pub(crate) fn bytes(lens: [u64; 2]) -> u64 {
    let slices = |own: u64, other: u64| {
        let tiles = other.div_ceil(width(usize::try_from(own).unwrap_or(usize::MAX)) as u64);
        tiles.saturating_mul(own.saturating_mul(32).saturating_add(64))
    };
    let transposed = lens[0].saturating_mul(lens[1]).saturating_mul(16);
    slices(lens[0], lens[1]).max(slices(lens[1], lens[0]).saturating_add(transposed)).saturating_add(1024)
}

/// Applies `gates` to the rows (side 0) or the columns (side 1) of a matrix of `lens[0]` times `lens[1]` amplitudes, whose
/// real and imaginary parts lie row by row in `parts`.
///
/// [`bytes`] of memory; looks at `stop` in each part.
pub(crate) fn apply(
    parts: &mut [Vec<f64>; 2],
    lens: [usize; 2],
    side: usize,
    gates: &[SideGate],
    stop: &StopFlag,
) -> Result<(), SimulationError> {
    let [re, im] = parts;
    let [rows, columns] = lens;
    let is_parallel = re.len() >= PARALLEL;
    let arch = vector_units();
    let act = |slices: Vec<&mut [f64]>| {
        if !stop.is_raised() {
            arch.dispatch(Tile { slices, gates });
        }
    };
    if side == 0 {
        let width = width(rows);
        let mut tiles: Vec<Vec<&mut [f64]>> = Vec::new();
        tiles.resize_with(columns.div_ceil(width), || Vec::with_capacity(2 * rows));
        for (re, im) in re.chunks_exact_mut(columns).zip(im.chunks_exact_mut(columns)) {
            for (tile, (re, im)) in tiles.iter_mut().zip(re.chunks_mut(width).zip(im.chunks_mut(width))) {
                tile.extend([re, im]);
            }
        }
        if is_parallel {
            tiles.into_par_iter().for_each(act);
        } else {
            tiles.into_iter().for_each(act);
        }
    } else {
        let part = columns * width(columns);
        let act = |buffer: &mut Vec<f64>, re: &mut [f64], im: &mut [f64]| {
            let height = re.len() / columns;
            buffer.resize(2 * re.len(), 0.0);
            exchange(buffer, re, im, columns, |inside, outside| *inside = *outside);
            act(buffer.chunks_exact_mut(height).collect());
            exchange(buffer, re, im, columns, |inside, outside| *outside = *inside);
        };
        if is_parallel {
            let parts = re.par_chunks_mut(part).zip(im.par_chunks_mut(part));
            parts.for_each_init(Vec::new, |buffer, (re, im)| act(buffer, re, im));
        } else {
            let mut buffer = Vec::new();
            re.chunks_mut(part).zip(im.chunks_mut(part)).for_each(|(re, im)| act(&mut buffer, re, im));
        }
    }
    Ok(stop.check()?)
}

/// Hands each element of the transposed rows in `buffer` to `act`, with the one of `re` or `im` that it belongs to.
fn exchange(buffer: &mut [f64], re: &mut [f64], im: &mut [f64], columns: usize, act: impl Fn(&mut f64, &mut f64)) {
    let height = re.len() / columns;
    for (column, slices) in buffer.chunks_exact_mut(2 * height).enumerate() {
        let (re_slice, im_slice) = slices.split_at_mut(height);
        for (slice, part) in [(re_slice, &mut *re), (im_slice, &mut *im)] {
            slice.iter_mut().zip(part[column..].iter_mut().step_by(columns)).for_each(|(inside, outside)| {
                act(inside, outside);
            });
        }
    }
}

/// The real and imaginary parts of the same columns of all rows, in turn.
struct Tile<'a, 'b> {
    slices: Vec<&'a mut [f64]>,
    gates: &'b [SideGate],
}

impl WithSimd for Tile<'_, '_> {
    type Output = ();

    #[expect(clippy::inline_always, reason = "else it would not use the vector unit")]
    #[inline(always)]
    fn with_simd<S: Simd>(mut self, _: S) {
        for gate in self.gates {
            match gate {
                SideGate::Turn { pairs, cos, parts } => {
                    for &([x, y], sin) in pairs {
                        // A pair is of two rows that there are.
                        let slices = self.slices.get_disjoint_mut([2 * x, 2 * x + 1, 2 * y, 2 * y + 1]);
                        let Ok([x_re, x_im, y_re, y_im]) = slices else { continue };
                        match parts {
                            Parts::Same => {
                                turn(x_re, y_re, *cos, sin);
                                turn(x_im, y_im, *cos, sin);
                            }
                            Parts::Crossed => {
                                turn(x_re, y_im, *cos, sin);
                                turn(y_re, x_im, *cos, sin);
                            }
                        }
                    }
                }
                SideGate::Phases(phases) => {
                    for (pair, phase) in self.slices.chunks_exact_mut(2).zip(phases) {
                        let [re, im] = pair else { continue };
                        for (re, im) in re.iter_mut().zip(im.iter_mut()) {
                            (*re, *im) = (phase.re * *re - phase.im * *im, phase.im * *re + phase.re * *im);
                        }
                    }
                }
            }
        }
    }
}

#[expect(clippy::inline_always, reason = "else it would not use the vector unit")]
#[inline(always)]
fn turn(x: &mut [f64], y: &mut [f64], cos: f64, sin: f64) {
    for (x, y) in x.iter_mut().zip(y) {
        (*x, *y) = (cos * *x + sin * *y, cos * *y - sin * *x);
    }
}
