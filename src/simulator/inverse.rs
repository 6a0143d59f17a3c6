//! The eigenvectors of a tridiagonal matrix whose eigenvalues are known.
//!
//! Inverse iteration: `(T - λ) x' = x`, again and again, leaves of any start what belongs to λ. Vectors of neighbouring
//! eigenvalues are kept orthogonal, which the iteration alone does not do. `O(dim)` for each vector, but for those that lie
//! close together. Sources: Jessup and Ipsen, SIAM J. Sci. Stat. Comput. 13, 550 (1992); Peters and Wilkinson, Handbook for
//! Automatic Computation II, contribution II/18.

use qspool_driver::StopFlag;

use super::error::SimulationError;
use super::product::add_scaled;
use super::random::{ShotRandom, Uniform};
use super::register::{filled, float};
use super::symmetric::dot;

/// Eigenvalues that are closer than this part of the norm belong together.
const CLOSE: f64 = 1e-3;

/// How often each system is solved: once comes near, and once more takes off all that is left but rounding.
const SOLUTIONS: usize = 2;

/// How large a residual may be, in units of rounding: what is found is usually 100 times better.
const RESIDUAL: f64 = 64.0;

/// The unit eigenvectors of the matrix with this diagonal and these elements beside it, of its eigenvalues in rising order,
/// one behind the other. None if one of them does not come out exact.
pub(crate) fn eigenvectors(
    diagonal: &[f64],
    beside: &[f64],
    values: &[f64],
    stop: &StopFlag,
) -> Result<Option<Vec<f64>>, SimulationError> {
    let dim = diagonal.len();
    let row = |k: usize| {
        let left = if k > 0 { beside[k - 1].abs() } else { 0.0 };
        diagonal[k].abs() + left + beside.get(k).map_or(0.0, |element| element.abs())
    };
    let norm = (0..dim).map(row).fold(0.0, f64::max);
    let mut vectors = filled(0.0, dim * dim)?;
    let mut system = System::new(dim)?;
    let mut random = ShotRandom::from_seed(1);
    let (mut first, mut shift) = (0, 0.0);
    for (index, &value) in values.iter().enumerate() {
        stop.check()?;
        if index > 0 && value - values[index - 1] > CLOSE * norm {
            first = index;
        }
        // The same system would give the same vector again.
        shift = if first == index { value } else { value.max(shift + 10.0 * f64::EPSILON * norm) };
        system.factor(diagonal, beside, shift, norm);
        let (before, rest) = vectors.split_at_mut(index * dim);
        let vector = &mut rest[..dim];
        vector.iter_mut().for_each(|element| *element = random.next_double() - 0.5);
        for _ in 0..SOLUTIONS {
            system.solve(vector);
            // Once more, for what the first time leaves of a long one.
            for _ in 0..2 {
                for other in before[first * dim..].chunks_exact(dim) {
                    let share = dot(other, vector);
                    add_scaled(vector, other, -share);
                }
                let length = dot(vector, vector).sqrt();
                vector.iter_mut().for_each(|element| *element /= length);
            }
        }
        let residual = residual(diagonal, beside, value, vector);
        let allowed = RESIDUAL * f64::EPSILON * norm * float(index - first + 1).sqrt();
        // Also what is no number.
        if residual.partial_cmp(&allowed).is_none_or(std::cmp::Ordering::is_gt) {
            return Ok(None);
        }
    }
    Ok(Some(vectors))
}

/// `|T x - λ x|`.
fn residual(diagonal: &[f64], beside: &[f64], value: f64, vector: &[f64]) -> f64 {
    let mut before = 0.0;
    let mut square = 0.0;
    for ((&element, &x), (beside, next)) in diagonal.iter().zip(vector).zip(behind(beside, vector)) {
        let row = before + (element - value) * x + beside * next;
        square += row * row;
        before = beside * x;
    }
    square.sqrt()
}

/// For each row the element behind the diagonal, and the component that it is multiplied by.
fn behind<'a>(beside: &'a [f64], vector: &'a [f64]) -> impl Iterator<Item = (f64, f64)> + 'a {
    beside.iter().copied().chain([0.0]).zip(vector.iter().copied().skip(1).chain([0.0]))
}

/// `T - λ` as the product of a lower and an upper triangular matrix, with the rows exchanged where that is needed.
struct System {
    /// The rows of the upper matrix: one by the element on the diagonal, and the two elements behind it.
    upper: Vec<[f64; 3]>,
    /// How much of a row was taken from the next one, and whether the two were exchanged before.
    lower: Vec<(f64, bool)>,
}

impl System {
    fn new(dim: usize) -> Result<Self, SimulationError> {
        Ok(Self { upper: filled([0.0; 3], dim)?, lower: filled((0.0, false), dim)? })
    }

    fn factor(&mut self, diagonal: &[f64], beside: &[f64], shift: f64, norm: f64) {
        let smallest = (f64::EPSILON * norm).max(f64::MIN_POSITIVE);
        let last = diagonal.len() - 1;
        let mut row = [diagonal[0] - shift, beside.first().copied().unwrap_or_default()];
        for k in 0..last {
            let below = [beside[k], diagonal[k + 1] - shift, beside.get(k + 1).copied().unwrap_or_default()];
            let is_exchanged = below[0].abs() > row[0].abs();
            let [mut pivot, other] = [[row[0], row[1], 0.0], below];
            let mut taken = other;
            if is_exchanged {
                std::mem::swap(&mut pivot, &mut taken);
            }
            if pivot[0].abs() < smallest {
                pivot[0] = smallest.copysign(pivot[0]);
            }
            let factor = taken[0] / pivot[0];
            row = [taken[1] - factor * pivot[1], taken[2] - factor * pivot[2]];
            self.upper[k] = [pivot[0].recip(), pivot[1], pivot[2]];
            self.lower[k] = (factor, is_exchanged);
        }
        if row[0].abs() < smallest {
            row[0] = smallest.copysign(row[0]);
        }
        self.upper[last] = [row[0].recip(), 0.0, 0.0];
    }

    fn solve(&self, vector: &mut [f64]) {
        let last = vector.len() - 1;
        for k in 0..last {
            let (factor, is_exchanged) = self.lower[k];
            if is_exchanged {
                vector.swap(k, k + 1);
            }
            vector[k + 1] -= factor * vector[k];
        }
        let [mut next, mut after] = [0.0, 0.0];
        for k in (0..=last).rev() {
            let [inverse, first, second] = self.upper[k];
            let element = ((vector[k] - second * after) - first * next) * inverse;
            vector[k] = element;
            (next, after) = (element, next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(diagonal: &[f64], beside: &[f64]) {
        let stop = StopFlag::default();
        let mut values = diagonal.to_vec();
        super::super::symmetric::tridiagonal_ql(&mut values, beside.to_vec(), &mut [], &stop).expect("converges");
        values.sort_by(f64::total_cmp);
        let vectors = eigenvectors(diagonal, beside, &values, &stop).expect("not stopped").expect("exact");
        let dim = diagonal.len();
        for (index, vector) in vectors.chunks_exact(dim).enumerate() {
            for (other, second) in vectors.chunks_exact(dim).enumerate() {
                let expected = if index == other { 1.0 } else { 0.0 };
                let product = dot(vector, second);
                assert!((product - expected).abs() < 2e-12, "{dim}: {index} {other}: {product}");
            }
        }
    }

    #[test]
    fn vectors_are_orthogonal_also_where_eigenvalues_meet() {
        let spin = |n: usize, [omega, delta, chi]: [f64; 3]| {
            let m = |level: usize| float(n) / 2.0 - float(level);
            let diagonal: Vec<f64> = (0..=n).map(|level| delta * m(level) + chi * m(level) * m(level)).collect();
            let beside: Vec<f64> =
                (0..n).map(|level| omega * 0.5 * (float(level + 1) * float(n - level)).sqrt()).collect();
            check(&diagonal, &beside);
        };
        for n in [1, 2, 3, 40, 201] {
            // In the third all eigenvalues but one come in pairs that no f64 tells apart.
            for p in [[1.0, 1.0, 1.0], [100.0, 3.0, 0.1], [1.0, 0.0, 100.0], [1e6, 1e6, 1e4], [1e-9, 0.0, 1e6]] {
                spin(n, p);
            }
        }
        // Wilkinson's matrix, and one that falls apart.
        let wilkinson: Vec<f64> = (0..41).map(|k| (20.0 - float(k)).abs()).collect();
        check(&wilkinson, &[1.0; 40]);
        check(&[1.0; 10], &[0.0; 9]);
        check(&[2.0], &[]);
    }
}
