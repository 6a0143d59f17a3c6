//! The eigenvalues of a tridiagonal matrix by bisection, many at a time and on all cores.
//!
//! As many eigenvalues lie below `x` as there are negative numbers among the pivots of `T - x`, `q[k] = d[k] - x -
//! e[k-1]² / q[k-1]`. Source: Barth, Martin and Wilkinson, Handbook for Automatic Computation II, contribution II/5.

use pulp::{Simd, WithSimd};
use qspool_driver::StopFlag;

use super::error::SimulationError;
use super::register::{filled, float};
use super::tridiagonal::{for_each, support};
use super::vectors::vector_units;

/// How many numbers are counted below at a time: so many that one division does not wait for another.
const LANES: usize = 16;

/// How wide the interval may be in which an eigenvalue is known to lie.
const WIDTH: f64 = f64::EPSILON / 4.0;

/// Below it the square of an element is not told from 0, which would make an infinite pivot no number.
const SMALLEST_SQUARE: f64 = 1e-290;

/// The eigenvalues in rising order of the matrix with this diagonal and these elements beside it, each to `ε`; none may
/// exceed 1.
///
/// About 45 divisions for each eigenvalue and row in which its eigenvector has components.
pub(crate) fn eigenvalues(diagonal: &[f64], beside: &[f64], stop: &StopFlag) -> Result<Vec<f64>, SimulationError> {
    let (dim, arch) = (diagonal.len(), vector_units());
    // A first look at as many points as there are eigenvalues.
    let points = dim.next_multiple_of(LANES);
    let step = 2.2 / float(points);
    let point = |index: usize| -1.1 + step * float(index);
    let mut below = filled([0; LANES], points / LANES)?;
    let rows = rows(diagonal, beside, 0..dim);
    for_each(dim, &mut below, |group, below| {
        let at = std::array::from_fn(|lane| point(group * LANES + lane));
        *below = arch.dispatch(Count { rows: &rows, at });
        Ok(())
    })?;
    let below = below.as_flattened();
    let lower = |rank: usize| point(below.partition_point(|&below| below <= rank as u64).saturating_sub(1));

    let mut values = filled([0.0; LANES], points / LANES)?;
    for_each(dim, &mut values, |group, values| {
        let ranks: [usize; LANES] = std::array::from_fn(|lane| (group * LANES + lane).min(dim - 1));
        let mut lower = ranks.map(lower);
        let support = support(diagonal, beside, lower[0], lower[LANES - 1] + step);
        // In the other rows the pivots have the sign of what stands on the diagonal.
        let mut others = diagonal.iter().filter(|&&element| element < lower[0]).count() as u64;
        others -= support.iter().filter(|&&row| diagonal[row] < lower[0]).count() as u64;
        let rows = self::rows(diagonal, beside, support.into_iter());
        let mut width = step;
        while width > WIDTH {
            stop.check()?;
            width /= 2.0;
            let at = lower.map(|lower| lower + width);
            let below = arch.dispatch(Count { rows: &rows, at });
            for lane in 0..LANES {
                if others + below[lane] <= ranks[lane] as u64 {
                    lower[lane] = at[lane];
                }
            }
        }
        *values = lower;
        Ok(())
    })?;
    Ok(values.into_flattened()[..dim].to_vec())
}

/// What the pivots of a matrix follow from: of each of these rows the element on the diagonal, and the square of that
/// before it, where the row before it is there.
fn rows(diagonal: &[f64], beside: &[f64], rows: impl Iterator<Item = usize>) -> Vec<(f64, f64)> {
    let mut next = 0;
    let row = |row: usize| {
        let element = if row > 0 && row == next { beside[row - 1] } else { 0.0 };
        next = row + 1;
        (diagonal[row], (element * element).max(SMALLEST_SQUARE))
    };
    rows.map(row).collect()
}

/// How many eigenvalues lie below each of these numbers.
struct Count<'a> {
    rows: &'a [(f64, f64)],
    at: [f64; LANES],
}

impl WithSimd for Count<'_> {
    type Output = [u64; LANES];

    #[expect(clippy::inline_always, reason = "else it would not use the vector unit that there is")]
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> [u64; LANES] {
        let mut pivot = [1.0; LANES];
        let mut below = [0; LANES];
        for &(element, square) in self.rows {
            for lane in 0..LANES {
                pivot[lane] = (element - self.at[lane]) - square / pivot[lane];
                below[lane] += u64::from(pivot[lane] < 0.0);
            }
        }
        below
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::{ShotRandom, Uniform};
    use super::super::symmetric::tridiagonal_ql;
    use super::*;

    fn check(diagonal: &[f64], beside: &[f64]) {
        let stop = StopFlag::default();
        let found = eigenvalues(diagonal, beside, &stop).expect("not stopped");
        let mut expected = diagonal.to_vec();
        tridiagonal_ql(&mut expected, beside.to_vec(), &mut [], &stop).expect("converges");
        expected.sort_by(f64::total_cmp);
        assert_eq!(found.len(), expected.len());
        assert!(found.is_sorted());
        for (found, expected) in found.iter().zip(&expected) {
            let distance = (found - expected).abs();
            assert!(distance <= 50.0 * f64::EPSILON, "{}: {found} {expected}", diagonal.len());
        }
    }

    #[test]
    fn the_values_are_those_of_the_implicit_ql_method() {
        let mut random = ShotRandom::from_seed(5);
        for dim in [1, 2, 3, 15, 16, 17, 63, 64, 129] {
            for scale in [0.6, 1e-10, 1e-200] {
                let mut element = |scale: f64| scale * (random.next_double() - 0.5);
                let diagonal: Vec<f64> = (0..dim).map(|_| element(0.6)).collect();
                let beside: Vec<f64> = (1..dim).map(|_| element(scale)).collect();
                check(&diagonal, &beside);
            }
        }
    }

    #[test]
    fn rows_far_from_an_eigenvalue_need_not_be_looked_at() {
        for beside in [1e-1, 1e-3, 1e-6] {
            let diagonal: Vec<f64> = (0..201).map(|k| 0.7 * ((float(k) - 100.3) / 100.3).powi(2)).collect();
            let beside = vec![beside; 200];
            check(&diagonal, &beside);
            let rows = support(&diagonal, &beside, 0.1, 0.11).len();
            assert_eq!(rows < 200, beside[0] < 0.1, "{rows}");
            assert!(!support(&diagonal, &beside, 0.1, 0.11).is_empty());
        }
    }

    #[test]
    fn values_that_come_more_than_once_are_all_found() {
        check(&[0.0; 5], &[0.0; 4]);
        check(&[-1.0; 70], &[0.0; 69]);
        // Wilkinson's matrix, whose largest eigenvalues come in pairs that no f64 tells apart; and zeros on the diagonal.
        let wilkinson: Vec<f64> = (0..41).map(|k| (20.0 - float(k)).abs() / 22.0).collect();
        check(&wilkinson, &[1.0 / 22.0; 40]);
        check(&[0.0; 100], &[0.5; 99]);
        check(&[0.5, 0.5, -0.5, -0.5], &[1e-170, 0.0, 1e-3]);
    }
}
