//! The eigenvectors of a tridiagonal matrix whose eigenvalues are known.
//!
//! Inverse iteration: `(T - λ) x' = x`, again and again, leaves of any start what belongs to λ. Vectors of neighbouring
//! eigenvalues are made orthogonal, which the iteration alone does not do. Several systems are solved at a time, on all
//! cores; `O(dim)` for each vector, but for those whose eigenvalues lie close together. Sources: Jessup and Ipsen, SIAM
//! J. Sci. Stat. Comput. 13, 550 (1992); Peters and Wilkinson, Handbook for Automatic Computation II, contribution II/18.

#![expect(
    clippy::inline_always,
    reason = "what is not part of the function that is made for a vector unit does not use it"
)]

use pulp::{Simd, WithSimd};
use qspool_driver::StopFlag;

use super::error::SimulationError;
use super::random::{ShotRandom, Uniform};
use super::register::filled;
use super::tridiagonal::{NEGLIGIBLE, for_each, support};
use super::vectors::{add_scaled, dot, vector_units};

/// Each system is solved once to come near, and once more to take off all that is left but rounding. Each time vectors are
/// made orthogonal to those whose eigenvalues are closer than this.
const CLOSE: [f64; 2] = [1e-6, 1e-2];

/// How often that may have to be done: twice is almost always enough.
const ORTHOGONALISATIONS: usize = 4;

/// How far a value may be from the eigenvalue that it stands for.
const WIDTH: f64 = 1e-12;

/// How many systems are solved at a time.
const LANES: usize = 8;

/// How many vectors begin differently.
const STARTS: usize = 4 * LANES;

/// A number of each system.
type Lanes = [f64; LANES];

/// Unit vectors of the matrix with this diagonal and these elements beside it, of its eigenvalues in rising order, none
/// of which may exceed 1, one behind the other. Whether they are eigenvectors is to be looked at: it is not sure.
pub(crate) fn eigenvectors(
    diagonal: &[f64],
    beside: &[f64],
    values: &[f64],
    stop: &StopFlag,
) -> Result<Vec<f64>, SimulationError> {
    let dim = diagonal.len();
    let arch = vector_units();
    let mut shifts = values.to_vec();
    // Systems that are the same would give the same vector again.
    for index in 1..dim {
        shifts[index] = shifts[index].max(shifts[index - 1] + 10.0 * f64::EPSILON);
    }
    let mut random = ShotRandom::from_seed(1);
    let mut starts = filled(0.0, STARTS * dim)?;
    starts.iter_mut().for_each(|element| *element = random.next_double() - 0.5);
    let mut supports = vec![Vec::new(); dim.div_ceil(LANES)];
    for_each(dim, &mut supports, |group, rows| {
        let values = &values[group * LANES..((group + 1) * LANES).min(dim)];
        *rows = support(diagonal, beside, values[0] - WIDTH, values[values.len() - 1] + WIDTH);
        Ok(())
    })?;
    let mut vectors = filled(0.0, dim * dim)?;
    for (round, close) in CLOSE.into_iter().enumerate() {
        let mut groups: Vec<&mut [f64]> = vectors.chunks_mut(LANES * dim.max(1)).collect();
        for_each(dim, &mut groups, |group, vectors| {
            stop.check()?;
            let shifts = &shifts[group * LANES..((group + 1) * LANES).min(dim)];
            let system = System::new(diagonal, beside, &supports[group], shifts)?;
            let mut side_by_side = filled([0.0; LANES], system.support.len())?;
            let first = group * LANES % STARTS * dim;
            let given = if round == 0 { &starts[first..first + vectors.len()] } else { &**vectors };
            for (lane, vector) in given.chunks_exact(dim).enumerate() {
                for (components, &row) in side_by_side.iter_mut().zip(system.support) {
                    components[lane] = vector[row];
                }
            }
            arch.dispatch(Solve { system, side_by_side, vectors });
            Ok(())
        })?;
        let mut first = 0;
        for index in 0..dim {
            stop.check()?;
            while values[index] - values[first] > close {
                first += 1;
            }
            let (before, rest) = vectors.split_at_mut(index * dim);
            arch.dispatch(MakeOrthogonal { others: &before[first * dim..], vector: &mut rest[..dim] });
        }
    }
    Ok(vectors)
}

/// Takes off a vector what it has of others, and makes it a unit vector.
struct MakeOrthogonal<'a> {
    others: &'a [f64],
    vector: &'a mut [f64],
}

impl WithSimd for MakeOrthogonal<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { others, vector } = self;
        for _ in 0..ORTHOGONALISATIONS {
            let square = dot(vector, vector);
            let length = square.sqrt();
            for other in others.chunks_exact(vector.len()) {
                let share = dot(other, vector);
                if share.abs() > NEGLIGIBLE * length {
                    add_scaled(vector, other, -share);
                }
            }
            let rest = dot(vector, vector);
            let length = rest.sqrt();
            vector.iter_mut().for_each(|element| *element /= length);
            // Where little was left of the vector, rounding has left more of the others.
            if rest >= 0.5 * square {
                return;
            }
        }
    }
}

/// Systems with the matrices `T - λ`, in the rows in which their solutions have components.
struct System<'a> {
    support: &'a [usize],
    diagonal: Vec<f64>,
    /// Behind each row.
    beside: Vec<f64>,
    shifts: Lanes,
    /// How many of them there are.
    count: usize,
    rows: Vec<Row>,
}

/// A row of `T - λ` as the product of a lower and an upper triangular matrix, with the rows exchanged where that is needed.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    /// Of the upper matrix: one by the element on the diagonal, and the two elements behind it.
    inverse: Lanes,
    first: Lanes,
    second: Lanes,
    /// How much of it was taken from the next one, and whether the two were exchanged before: then 1, else 0.
    taken: Lanes,
    exchanged: Lanes,
}

impl<'a> System<'a> {
    /// With these values of λ.
    fn new(diagonal: &[f64], beside: &[f64], support: &'a [usize], shifts: &[f64]) -> Result<Self, SimulationError> {
        let is_cut = |place: usize| support.get(place + 1).is_none_or(|&next| next != support[place] + 1);
        let element = |(place, &row): (usize, &usize)| if is_cut(place) { 0.0 } else { beside[row] };
        Ok(Self {
            diagonal: support.iter().map(|&row| diagonal[row]).collect(),
            beside: support.iter().enumerate().map(element).collect(),
            shifts: std::array::from_fn(|lane| shifts[lane.min(shifts.len() - 1)]),
            count: shifts.len(),
            rows: filled(Row::default(), support.len())?,
            support,
        })
    }

    #[inline(always)]
    fn factor(&mut self) {
        let Self { diagonal, beside, shifts: shift, rows, .. } = self;
        let large = |pivot: f64| if pivot.abs() < f64::EPSILON { f64::EPSILON.copysign(pivot) } else { pivot };
        let mut own = shift.map(|shift| diagonal[0] - shift);
        let mut next = [beside[0]; LANES];
        let last = diagonal.len() - 1;
        for k in 0..last {
            let (left, below, right) = (beside[k], diagonal[k + 1], beside[k + 1]);
            let row = &mut rows[k];
            for lane in 0..LANES {
                let below = below - shift[lane];
                let is_exchanged = left.abs() > own[lane].abs();
                let (pivot, other) = if is_exchanged { (left, own[lane]) } else { (own[lane], left) };
                let (first, other_first) = if is_exchanged { (below, next[lane]) } else { (next[lane], below) };
                let (second, other_second) = if is_exchanged { (right, 0.0) } else { (0.0, right) };
                let inverse = large(pivot).recip();
                let taken = other * inverse;
                own[lane] = other_first - taken * first;
                next[lane] = other_second - taken * second;
                (row.inverse[lane], row.first[lane], row.second[lane]) = (inverse, first, second);
                (row.taken[lane], row.exchanged[lane]) = (taken, if is_exchanged { 1.0 } else { 0.0 });
            }
        }
        rows[last] = Row { inverse: own.map(|pivot| large(pivot).recip()), ..Row::default() };
    }

    #[inline(always)]
    fn solve(&self, vectors: &mut [Lanes]) {
        let mut carried = vectors[0];
        for k in 0..self.rows.len() - 1 {
            let (row, below) = (&self.rows[k], vectors[k + 1]);
            for lane in 0..LANES {
                let is_exchanged = row.exchanged[lane] > 0.5;
                let (stays, other) =
                    if is_exchanged { (below[lane], carried[lane]) } else { (carried[lane], below[lane]) };
                vectors[k][lane] = stays;
                carried[lane] = other - row.taken[lane] * stays;
            }
        }
        let last = self.rows.len() - 1;
        vectors[last] = carried;
        let [mut next, mut after] = [[0.0; LANES]; 2];
        for k in (0..=last).rev() {
            let (row, vector) = (&self.rows[k], &mut vectors[k]);
            for lane in 0..LANES {
                let rest = (vector[lane] - row.second[lane] * after[lane]) - row.first[lane] * next[lane];
                vector[lane] = rest * row.inverse[lane];
            }
            (next, after) = (*vector, next);
        }
    }
}

/// Solves the systems, for solutions that lie one behind the other.
struct Solve<'a> {
    system: System<'a>,
    /// The right-hand sides: the components of all of them in one row, and in the next.
    side_by_side: Vec<Lanes>,
    vectors: &'a mut [f64],
}

impl WithSimd for Solve<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { mut system, mut side_by_side, vectors } = self;
        let dim = vectors.len() / system.count;
        system.factor();
        system.solve(&mut side_by_side);
        for (lane, vector) in vectors.chunks_exact_mut(dim).enumerate() {
            vector.fill(0.0);
            for (components, &row) in side_by_side.iter().zip(system.support) {
                vector[row] = components[lane];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bisection::eigenvalues;
    use super::super::register::float;
    use super::*;

    fn check(diagonal: &[f64], beside: &[f64]) {
        let stop = StopFlag::default();
        let dim = diagonal.len();
        let largest = diagonal.iter().chain(beside).fold(0.0, |largest: f64, element| largest.max(element.abs()));
        let scaled = |elements: &[f64]| elements.iter().map(|element| element / (3.0 * largest)).collect::<Vec<f64>>();
        let (diagonal, beside) = (scaled(diagonal), scaled(beside));
        let values = eigenvalues(&diagonal, &beside, &stop).expect("not stopped");
        let vectors = eigenvectors(&diagonal, &beside, &values, &stop).expect("not stopped");
        for (index, vector) in vectors.chunks_exact(dim).enumerate() {
            for (other, second) in vectors.chunks_exact(dim).enumerate() {
                let expected = if index == other { 1.0 } else { 0.0 };
                let product = dot(vector, second);
                assert!((product - expected).abs() < 1e-12, "{dim}: {index} {other}: {product}");
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
