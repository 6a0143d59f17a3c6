//! The two steps of diagonalising a real symmetric matrix: to tridiagonal form, and from there to the diagonal.
//!
//! Both work in place on one square matrix, look at the stop flag in every pass, and sweep along rows, so that the
//! compiler can use vector instructions. Sources: Wilkinson and Reinsch, Handbook for Automatic Computation II,
//! contributions II/2 and II/4.

use qspool_driver::StopFlag;

use super::error::SimulationError;
use super::vectors::{add_scaled, dot};

/// Brings `matrix` (square, row-major, symmetric) to tridiagonal form: `H = Q T Qᵀ`.
///
/// Returns the diagonal of `T` and the elements beside it; `matrix` then holds `Qᵀ`. Householder reflections,
/// `10/3 dim³` multiplications and additions, `24 dim` bytes.
pub(crate) fn to_tridiagonal(
    matrix: &mut [f64],
    dim: usize,
    stop: &StopFlag,
) -> Result<(Vec<f64>, Vec<f64>), SimulationError> {
    let mut beside = vec![0.0; dim.saturating_sub(1)];
    let mut scales = vec![0.0; dim];
    let mut image = vec![0.0; dim];
    for k in 0..dim.saturating_sub(2) {
        stop.check()?;
        let (top, rest) = matrix.split_at_mut((k + 1) * dim);
        // The reflection that maps row k, right of the diagonal, onto its first element. It takes that row's place.
        let vector = &mut top[k * dim + k + 1..];
        let norm = dot(vector, vector).sqrt();
        beside[k] = if vector[0] > 0.0 { -norm } else { norm };
        vector[0] -= beside[k];
        let length = dot(vector, vector);
        if length <= f64::MIN_POSITIVE {
            beside[k] += vector[0];
            continue;
        }
        let scale = 2.0 / length;
        scales[k] = scale;
        // H ← (1 - s v vᵀ) H (1 - s v vᵀ) = H - v wᵀ - w vᵀ with w = s H v - s²/2 (v·H v) v.
        let image = &mut image[k + 1..];
        for (row, target) in image.iter_mut().enumerate() {
            *target = scale * dot(&rest[row * dim + k + 1..(row + 1) * dim], vector);
        }
        let share = 0.5 * scale * dot(image, vector);
        add_scaled(image, vector, -share);
        for row in 0..image.len() {
            let (v, w) = (vector[row], image[row]);
            let target = &mut rest[row * dim + k + 1..(row + 1) * dim];
            for ((element, &other_v), &other_w) in target.iter_mut().zip(&*vector).zip(&*image) {
                *element -= v * other_w + w * other_v;
            }
        }
    }
    let diagonal: Vec<f64> = matrix.iter().step_by(dim + 1).copied().collect();
    if dim >= 2 {
        beside[dim - 2] = matrix[(dim - 1) * dim - 1];
    }
    join_reflections(matrix, dim, &scales, stop)?;
    Ok((diagonal, beside))
}

/// Replaces the vectors of the reflections, row `k` right of the diagonal, by the transpose of their product.
fn join_reflections(matrix: &mut [f64], dim: usize, scales: &[f64], stop: &StopFlag) -> Result<(), SimulationError> {
    for k in (0..dim).rev() {
        stop.check()?;
        let (top, rest) = matrix.split_at_mut((k + 1) * dim);
        let row = &mut top[k * dim..];
        if scales[k] != 0.0 {
            let vector = &row[k + 1..];
            for other in rest.chunks_exact_mut(dim) {
                let target = &mut other[k + 1..];
                let share = scales[k] * dot(target, vector);
                add_scaled(target, vector, -share);
            }
        }
        row[k..].fill(0.0);
        row[k] = 1.0;
        rest.iter_mut().skip(k).step_by(dim).for_each(|element| *element = 0.0);
    }
    Ok(())
}

/// Diagonalises a tridiagonal matrix: `diagonal` becomes the eigenvalues, row `j` of `rows` eigenvector `j`.
///
/// `rows` (square, row-major) holds on entry the transpose of what brought the matrix to this form, the identity if
/// nothing did, or nothing, for the eigenvalues alone. The implicit QL method; with `rows` about `3 dim³` multiplications and additions, `16 dim` bytes.
pub(crate) fn tridiagonal_ql(
    diagonal: &mut [f64],
    mut beside: Vec<f64>,
    rows: &mut [f64],
    stop: &StopFlag,
) -> Result<(), SimulationError> {
    const MAX_SWEEPS: usize = 60;
    let dim = diagonal.len();
    beside.push(0.0);
    let size = |k: usize| diagonal[k].abs() + beside[k].abs();
    let norm = (0..dim).map(size).fold(0.0, f64::max);
    // Below this an element cannot matter even beside a zero diagonal.
    let negligible = norm * f64::EPSILON * f64::EPSILON;
    let mut rotations = Vec::with_capacity(dim);
    for first in 0..dim {
        let mut sweeps = 0;
        loop {
            let is_small = |k: usize| {
                beside[k].abs() <= (f64::EPSILON * (diagonal[k].abs() + diagonal[k + 1].abs())).max(negligible)
            };
            let last = (first..dim - 1).find(|&k| is_small(k)).unwrap_or(dim - 1);
            if last == first {
                break;
            }
            stop.check()?;
            sweeps += 1;
            if sweeps > MAX_SWEEPS || !norm.is_finite() {
                return Err(SimulationError::NotConverged { states: dim });
            }
            rotations.clear();
            sweep(diagonal, &mut beside, first, last, &mut rotations);
            rotate_rows(rows, dim, last, &rotations);
        }
    }
    Ok(())
}

/// One QL step with implicit shift on the rows `first..=last`; notes the rotations of rows `(k, k + 1)`, `k` falling.
fn sweep(d: &mut [f64], e: &mut [f64], first: usize, last: usize, rotations: &mut Vec<(f64, f64)>) {
    let slope = (d[first + 1] - d[first]) / (2.0 * e[first]);
    let mut g = d[last] - d[first] + e[first] / (slope + slope.hypot(1.0).copysign(slope));
    let (mut sin, mut cos, mut shift) = (1.0, 1.0, 0.0);
    for k in (first..last).rev() {
        let f = sin * e[k];
        let b = cos * e[k];
        let r = f.hypot(g);
        e[k + 1] = r;
        if r == 0.0 {
            // The matrix fell apart here: the next sweep takes the parts on their own.
            d[k + 1] -= shift;
            e[last] = 0.0;
            return;
        }
        sin = f / r;
        cos = g / r;
        g = d[k + 1] - shift;
        let turned = (d[k] - g) * sin + 2.0 * cos * b;
        shift = sin * turned;
        d[k + 1] = g + shift;
        g = cos * turned - b;
        rotations.push((sin, cos));
    }
    d[first] -= shift;
    e[first] = g;
    e[last] = 0.0;
}

/// Applies the rotations of one sweep to the rows `last`, `last - 1`, … of a square matrix.
///
/// A strip of columns goes through all rotations while it lies in the cache.
fn rotate_rows(rows: &mut [f64], dim: usize, last: usize, rotations: &[(f64, f64)]) {
    const STRIP: usize = 32;
    let columns = rows.len() / dim;
    for column in (0..columns).step_by(STRIP) {
        let width = STRIP.min(columns - column);
        let mut carried = [0.0; STRIP];
        let carried = &mut carried[..width];
        carried.copy_from_slice(&rows[last * dim + column..][..width]);
        for (k, &(sin, cos)) in (0..last).rev().zip(rotations) {
            let (low, high) = rows.split_at_mut((k + 1) * dim);
            let low = &low[k * dim + column..][..width];
            let high = &mut high[column..][..width];
            for ((carried, &low), high) in carried.iter_mut().zip(low).zip(high) {
                *high = sin * low + cos * *carried;
                *carried = cos * low - sin * *carried;
            }
        }
        rows[(last - rotations.len()) * dim + column..][..width].copy_from_slice(carried);
    }
}
