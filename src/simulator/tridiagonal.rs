//! A symmetric tridiagonal matrix in twice the usual precision, and what diagonalises it.

use pulp::{Simd, WithSimd};
use qspool_driver::StopFlag;
use rayon::prelude::*;

use super::bisection::eigenvalues;
use super::double::Double;
use super::error::SimulationError;
use super::inverse::eigenvectors;
use super::register::filled;
use super::symmetric::tridiagonal_ql;
use super::vectors::{dot, vector_units};

/// How large a residual may be, in units of rounding: what is found is usually 100 times better.
const RESIDUAL: f64 = 64.0;

/// From how many rows on all cores work.
const PARALLEL: usize = 64;

/// The matrix, in a unit in which no eigenvalue exceeds 1, by the parts of its elements.
#[derive(Debug)]
pub(crate) struct Tridiagonal {
    unit: f64,
    diagonal: Parts,
    /// Before each row, and behind the last one: 0 at both ends.
    beside: Parts,
}

/// The high and the low parts of numbers.
#[derive(Debug)]
struct Parts {
    high: Vec<f64>,
    low: Vec<f64>,
}

/// An eigenvalue, and how far its vector is from being an eigenvector.
#[derive(Debug, Clone, Copy, Default)]
struct Refined {
    /// `λ + v·(T - λ)v / v·v`.
    value: Double,
    /// `|(T - λ) v|` of this value.
    residual: f64,
}

impl Parts {
    fn new(elements: impl Iterator<Item = Double>) -> Self {
        let (high, low) = elements.map(Double::parts).unzip();
        Self { high, low }
    }

    fn rounded(&self) -> Vec<f64> {
        self.high.iter().zip(&self.low).map(|(high, low)| high + low).collect()
    }
}

impl Tridiagonal {
    /// The matrix with this diagonal and these elements next to it (one less). None if they are not all finite.
    pub(crate) fn new(diagonal: &[Double], beside: &[Double]) -> Option<Self> {
        let size = |element: Option<&Double>| element.map_or(0.0, |element| element.value().abs());
        let before = |row: usize| row.checked_sub(1).and_then(|before| beside.get(before));
        let norms = (0..diagonal.len()).map(|row| size(diagonal.get(row)) + size(before(row)) + size(beside.get(row)));
        // Also of what is no number.
        let norm = norms.fold(0.0, |largest, norm| if norm <= largest { largest } else { norm });
        if !norm.is_finite() {
            return None;
        }
        // A power of two, so that nothing is rounded.
        let unit = if norm == 0.0 { 1.0 } else { norm.log2().ceil().clamp(-1000.0, 1000.0).exp2() };
        let scaled = |element: &Double| *element * unit.recip();
        let end = [Double::default()];
        let beside = end.iter().chain(beside).chain(&end).take(diagonal.len() + 1);
        Some(Self { unit, diagonal: Parts::new(diagonal.iter().map(scaled)), beside: Parts::new(beside.map(scaled)) })
    }

    /// The eigenvalues and their vectors, one behind the other.
    pub(crate) fn diagonalise(&self, stop: &StopFlag) -> Result<(Vec<Double>, Vec<f64>), SimulationError> {
        let dim = self.diagonal.high.len();
        let diagonal = self.diagonal.rounded();
        let beside: Vec<f64> = self.beside.rounded().into_iter().take(dim).skip(1).collect();
        let mut values = eigenvalues(&diagonal, &beside, stop)?;
        let mut vectors = eigenvectors(&diagonal, &beside, &values, stop)?;
        let mut refined = self.refined(&values, &vectors, stop)?;
        // Not what is no number.
        if !refined.iter().all(|refined| refined.residual <= RESIDUAL * f64::EPSILON) {
            values = diagonal;
            vectors.fill(0.0);
            vectors.iter_mut().step_by(dim + 1).for_each(|element| *element = 1.0);
            tridiagonal_ql(&mut values, beside, &mut vectors, stop)?;
            refined = self.refined(&values, &vectors, stop)?;
        }
        Ok((refined.into_iter().map(|refined| refined.value * self.unit).collect(), vectors))
    }

    /// What the vectors, which lie one behind the other, say of their eigenvalues.
    fn refined(&self, values: &[f64], vectors: &[f64], stop: &StopFlag) -> Result<Vec<Refined>, SimulationError> {
        let (dim, arch) = (values.len(), vector_units());
        let mut refined = filled(Refined::default(), dim)?;
        for_each(dim, &mut refined, |index, refined| {
            stop.check()?;
            let vector = &vectors[index * dim..(index + 1) * dim];
            let room = [filled(0.0, dim + 2)?, filled(0.0, dim)?];
            *refined = arch.dispatch(Quotient { matrix: self, value: values[index], vector, room });
            Ok(())
        })?;
        Ok(refined)
    }
}

/// Lets `act` change each item, whose number it gets: on all cores for a matrix of many rows.
pub(super) fn for_each<T: Send>(
    rows: usize,
    items: &mut [T],
    act: impl Fn(usize, &mut T) -> Result<(), SimulationError> + Sync,
) -> Result<(), SimulationError> {
    if rows < PARALLEL {
        items.iter_mut().enumerate().try_for_each(|(index, item)| act(index, item))
    } else {
        items.par_iter_mut().enumerate().try_for_each(|(index, item)| act(index, item))
    }
}

/// What of a component of an eigenvector, beside the largest one, is as good as nothing.
pub(super) const NEGLIGIBLE: f64 = 1e-18;

/// The rows in which the eigenvectors of eigenvalues between `lowest` and `highest` have components, in rising order.
///
/// Where the element on the diagonal is further from an eigenvalue than twice what stands beside it, a component is at
/// most half of the larger one of its neighbours: from there on they fall, and are followed until they are
/// [`NEGLIGIBLE`]. Without the other rows the pivots of `T - x` are the same in these, since what a pivot owes to the
/// one before falls with the square.
pub(super) fn support(diagonal: &[f64], beside: &[f64], lowest: f64, highest: f64) -> Vec<usize> {
    let dim = diagonal.len();
    let beside_row = |row: usize| {
        let before = row.checked_sub(1).map_or(0.0, |before| beside[before].abs());
        [before, beside.get(row).map_or(0.0, |element| element.abs())]
    };
    let distance = |row: usize| (lowest - diagonal[row]).max(diagonal[row] - highest).max(0.0);
    let may_be_large = |row: usize| distance(row) <= 2.0 * beside_row(row).iter().sum::<f64>();
    let mut has: Vec<bool> = (0..dim).map(may_be_large).collect();
    // How large a component may be, on the way away from the rows that were found: forwards, then backwards.
    let mut follow = |rows: &mut dyn Iterator<Item = usize>, side: usize| {
        let mut component = 0.0;
        for row in rows {
            let sides = beside_row(row);
            if may_be_large(row) {
                component = 1.0;
            } else if component > 0.0 {
                component *= sides[side] / (distance(row) - sides[1 - side]);
                component = if component > NEGLIGIBLE { component } else { 0.0 };
                has[row] |= component > 0.0;
            }
        }
    };
    follow(&mut (0..dim), 0);
    follow(&mut (0..dim).rev(), 1);
    let rows: Vec<usize> = (0..dim).filter(|&row| has[row]).collect();
    // An eigenvalue has a row near it, but for rounding.
    if rows.is_empty() { (0..dim).collect() } else { rows }
}

/// How many rows are looked at in one go, whether there is anything in them.
const CHUNK: usize = 32;

/// The eigenvalue near `value` that belongs to `vector`.
struct Quotient<'a> {
    matrix: &'a Tridiagonal,
    value: f64,
    vector: &'a [f64],
    /// For the vector between zeros, and for the residual.
    room: [Vec<f64>; 2],
}

impl WithSimd for Quotient<'_> {
    type Output = Refined;

    /// The residual is summed up in twice the usual precision, since its terms cancel.
    #[expect(clippy::inline_always, reason = "else it would not use the fused multiply-add that there is")]
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Refined {
        let Self { matrix, value, vector, room: [mut between_zeros, mut residual] } = self;
        let dim = vector.len();
        between_zeros[1..=dim].copy_from_slice(vector);
        let [before, behind] = [&between_zeros[..dim], &between_zeros[2..dim + 2]];
        let [high, low] = [&matrix.diagonal.high[..dim], &matrix.diagonal.low[..dim]];
        let [left, left_low] = [&matrix.beside.high[..dim], &matrix.beside.low[..dim]];
        let [right, right_low] = [&matrix.beside.high[1..=dim], &matrix.beside.low[1..=dim]];
        for first in (0..dim).step_by(CHUNK) {
            let rows = first..dim.min(first + CHUNK);
            // Most vectors have components in a few rows only.
            if between_zeros[first..rows.end + 2].iter().all(|&component| component == 0.0) {
                continue;
            }
            for k in rows {
                let own = Double::of_parts(high[k], low[k]) * vector[k] + -Double::product(value, vector[k]);
                let left = Double::of_parts(left[k], left_low[k]) * before[k];
                let right = Double::of_parts(right[k], right_low[k]) * behind[k];
                residual[k] = (own + left + right).value();
            }
        }
        let [square, along] = [dot(vector, vector), dot(vector, &residual)];
        // What is left of the residual when the value is the better one.
        let rest = dot(&residual, &residual) - along * along / square;
        Refined { value: Double::sum(value, along / square), residual: rest.abs().sqrt() }
    }
}
