//! Evolution under a small real symmetric matrix: `exp(-i θ H)` from the eigenvalues and eigenvectors of `H`.

use nalgebra::{DMatrix, DMatrixView};
use num_complex::Complex64;
use qspool_driver::StopFlag;

use super::double::Double;
use super::error::SimulationError;
use super::register::filled;
use super::symmetric;
use super::tridiagonal::Tridiagonal;

/// The eigenvalues and the orthonormal eigenvectors of a real symmetric matrix.
///
/// The eigenvalues are Rayleigh quotients in [`Double`] precision, so a phase `θ λ` is good to the error of the
/// eigenvectors alone, which enters squared. An f64 eigenvalue would be off by `ε‖H‖`.
#[derive(Debug, Clone)]
pub struct Eigenbasis {
    values: Vec<Double>,
    /// Eigenvector `j` at `j·dim..(j+1)·dim`.
    vectors: Vec<f64>,
}

/// How many vectors are multiplied by the matrix of eigenvectors in one go.
const BATCH: usize = 64;

/// From how many vectors on the blocked matrix product is the faster one.
const BLOCKED: usize = 4;

/// What the matrix product packs its operands into: a panel of each, at most 256 deep and 1024 wide.
fn product_bytes(dim: u64) -> u64 {
    8 * dim.min(256) * (dim.min(1024) + 2 * BATCH as u64 + 64) + 4096
}

impl Eigenbasis {
    /// Diagonalises the matrix with this diagonal and these elements next to it (one less).
    ///
    /// `O(dim²)`, and `O(dim³)` if all eigenvalues lie close together; [`solver_bytes`](Self::solver_bytes) of memory.
    /// Eigenvalues by bisection, eigenvectors by inverse iteration; both by the implicit QL method where that fails.
    ///
    /// # Panics
    /// If there is not one element less than on the diagonal: a defect of the caller.
    pub fn tridiagonal(diagonal: &[Double], beside: &[Double], stop: &StopFlag) -> Result<Self, SimulationError> {
        assert_eq!(beside.len() + 1, diagonal.len().max(1), "one element between two neighbours on the diagonal");
        let matrix =
            Tridiagonal::new(diagonal, beside).ok_or(SimulationError::NotConverged { states: diagonal.len() })?;
        let (values, vectors) = matrix.diagonalise(stop)?;
        Ok(Self { values, vectors })
    }

    /// Diagonalises the matrix whose non-zero elements in a row `elements(row, act)` hands to `act(column, element)`.
    ///
    /// `O(dim³)`, [`solver_bytes`](Self::solver_bytes) of memory.
    pub(crate) fn dense(
        dim: usize,
        elements: impl Fn(usize, &mut dyn FnMut(usize, Double)),
        stop: &StopFlag,
    ) -> Result<Self, SimulationError> {
        let mut matrix = filled(0.0, dim * dim)?;
        for (row, target) in matrix.chunks_exact_mut(dim.max(1)).enumerate() {
            elements(row, &mut |column, element| target[column] += element.value());
        }
        let (mut values, rest) = symmetric::to_tridiagonal(&mut matrix, dim, stop)?;
        symmetric::tridiagonal_ql(&mut values, rest, &mut matrix, stop)?;
        let quotient = |(&value, vector): (&f64, &[f64])| {
            stop.check()?;
            Ok(rayleigh_quotient(value, vector, &elements))
        };
        let refined: Result<_, SimulationError> =
            values.iter().zip(matrix.chunks_exact(dim.max(1))).map(quotient).collect();
        Ok(Self { values: refined?, vectors: matrix })
    }

    /// The eigenvalues, in no particular order.
    pub fn values(&self) -> &[Double] {
        &self.values
    }

    /// A basis that is known already: the eigenvalues, and the eigenvectors one behind the other.
    pub(crate) fn known(values: Vec<Double>, vectors: Vec<f64>) -> Self {
        Self { values, vectors }
    }

    /// The eigenvectors in the order of the eigenvalues.
    #[cfg(test)]
    pub(crate) fn vectors(&self) -> impl Iterator<Item = &[f64]> {
        self.vectors.chunks_exact(self.values.len().max(1))
    }

    /// Applies `exp(-i·angle·H)` to many vectors of amplitudes, in place; the norm holds to 1e-14.
    ///
    /// There is one vector per element of `bases`; its element `j` lies at `amplitudes[base + offset(j)]`. `4 dim`
    /// multiplications per amplitude, [`work_bytes`](Self::work_bytes) of memory.
    pub fn evolve(
        &self,
        angle: f64,
        amplitudes: &mut [Complex64],
        mut bases: impl Iterator<Item = usize>,
        offset: impl Fn(usize) -> usize,
        stop: &StopFlag,
    ) -> Result<(), SimulationError> {
        let dim = self.values.len();
        let phases: Vec<Complex64> = self.values.iter().map(|&value| (value * angle).phase()).collect();
        let offsets: Vec<usize> = (0..dim).map(offset).collect();
        // Read by columns, the list holds one eigenvector per column.
        let vectors = DMatrixView::from_slice(&self.vectors, dim, dim);
        loop {
            stop.check()?;
            let batch: Vec<usize> = bases.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                return Ok(());
            }
            // Real parts in even columns, imaginary parts in odd ones.
            let mut given = DMatrix::zeros(dim, 2 * batch.len());
            for (column, &base) in batch.iter().enumerate() {
                for (j, &offset) in offsets.iter().enumerate() {
                    let amplitude = amplitudes[base + offset];
                    (given[(j, 2 * column)], given[(j, 2 * column + 1)]) = (amplitude.re, amplitude.im);
                }
            }
            // Both are Vᵀ given: by scalar products for few columns, by the blocked product for many.
            let mut turned =
                if batch.len() < BLOCKED { vectors.tr_mul(&given) } else { (given.transpose() * vectors).transpose() };
            for column in 0..batch.len() {
                for (j, phase) in phases.iter().enumerate() {
                    let amplitude = Complex64::new(turned[(j, 2 * column)], turned[(j, 2 * column + 1)]) * phase;
                    (turned[(j, 2 * column)], turned[(j, 2 * column + 1)]) = (amplitude.re, amplitude.im);
                }
            }
            let result = vectors * turned;
            for (column, &base) in batch.iter().enumerate() {
                for (j, &offset) in offsets.iter().enumerate() {
                    amplitudes[base + offset] = Complex64::new(result[(j, 2 * column)], result[(j, 2 * column + 1)]);
                }
            }
        }
    }

    /// Bytes that the eigenvectors and eigenvalues of a matrix with `dim` rows take.
    pub fn bytes(dim: u64) -> u64 {
        dim.saturating_mul(dim).saturating_mul(8).saturating_add(dim.saturating_mul(16))
    }

    /// Bytes that diagonalisation takes at its peak, with the result.
    pub fn solver_bytes(dim: u64) -> u64 {
        let cores = (rayon::current_num_threads() as u64).min(dim.div_ceil(8));
        Self::bytes(dim).saturating_add(dim.saturating_mul(dim.saturating_add(400 * cores + 512)))
    }

    /// Bytes that [`evolve`](Self::evolve) takes for `lines` vectors of `dim` elements.
    pub fn work_bytes(dim: u64, lines: u64) -> u64 {
        let columns = 2 * lines.min(BATCH as u64);
        dim.saturating_mul(4 * 8 * columns + 24).saturating_add(1024).saturating_add(product_bytes(dim))
    }
}

/// The eigenvalue that belongs to `vector`, near `value`: `λ + v·(H - λ)v / v·v`.
///
/// The residual is summed in [`Double`] precision, since its terms cancel.
fn rayleigh_quotient(value: f64, vector: &[f64], elements: impl Fn(usize, &mut dyn FnMut(usize, Double))) -> Double {
    let mut correction = 0.0;
    let mut norm = 0.0;
    for (row, &component) in vector.iter().enumerate() {
        let mut residual = -Double::product(value, component);
        elements(row, &mut |column, element| residual = residual + element * vector[column]);
        correction += component * residual.value();
        norm += component * component;
    }
    Double::sum(value, correction / norm)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::register::float;

    fn stop() -> StopFlag {
        StopFlag::default()
    }

    fn double(values: &[f64]) -> Vec<Double> {
        values.iter().copied().map(Double::from).collect()
    }

    #[test]
    fn a_chain_has_its_known_eigenvalues() {
        // The chain with ones beside a zero diagonal: 2 cos(π j / (dim + 1)).
        for dim in [1_usize, 2, 3, 10, 101] {
            let basis = Eigenbasis::tridiagonal(&double(&vec![0.0; dim]), &double(&vec![1.0; dim - 1]), &stop());
            let mut found: Vec<f64> = basis.expect("converges").values().iter().map(|value| value.value()).collect();
            found.sort_by(f64::total_cmp);
            for (j, value) in found.iter().enumerate() {
                let angle = std::f64::consts::PI * float(dim - j) / float(dim + 1);
                assert!((value - 2.0 * angle.cos()).abs() < 1e-14, "{dim}, {j}: {value}");
            }
        }
    }

    #[test]
    fn dense_and_tridiagonal_agree_on_one_matrix() {
        let (diagonal, beside) = (double(&[3.0, -1.0, 2.0, 0.5]), double(&[1.0, 0.0, -2.0]));
        let element = |row: usize, act: &mut dyn FnMut(usize, Double)| {
            act(row, diagonal[row]);
            if row > 0 {
                act(row - 1, beside[row - 1]);
            }
            if row < 3 {
                act(row + 1, beside[row]);
            }
        };
        let start = [1.0, 2.0, -1.0, 0.5].map(|re| Complex64::new(re, 1.0));
        let mut results = Vec::new();
        for basis in [Eigenbasis::tridiagonal(&diagonal, &beside, &stop()), Eigenbasis::dense(4, element, &stop())] {
            let mut psi = start;
            basis.expect("converges").evolve(1.3, &mut psi, 0..1, |j| j, &stop()).expect("not stopped");
            results.push(psi);
        }
        let distance: f64 = results[0].iter().zip(&results[1]).map(|(a, b)| (a - b).norm()).sum();
        assert!(distance < 1e-14, "{results:?}");
    }

    #[test]
    fn dense_and_tridiagonal_agree_on_a_large_spin_at_any_parameter() {
        const ATOMS: usize = 160;
        for [omega, delta, chi] in [[1.0, 1.0, 1.0], [50.0, 1.0, 0.1], [1e6, 1e6, 1e4], [1.5e7; 3], [1.0, 1e-9, 100.0]]
        {
            let m = |level: usize| float(ATOMS) / 2.0 - float(level);
            let energy = |level: usize| Double::product(delta, m(level)) + Double::product(chi, m(level) * m(level));
            let step = |level: usize| Double::from(float(level + 1) * float(ATOMS - level)).sqrt() * (0.5 * omega);
            let diagonal: Vec<Double> = (0..=ATOMS).map(energy).collect();
            let beside: Vec<Double> = (0..ATOMS).map(step).collect();
            let element = |row: usize, act: &mut dyn FnMut(usize, Double)| {
                act(row, diagonal[row]);
                if row > 0 {
                    act(row - 1, beside[row - 1]);
                }
                if row < ATOMS {
                    act(row + 1, beside[row]);
                }
            };
            let mut states = Vec::new();
            let tridiagonal = Eigenbasis::tridiagonal(&diagonal, &beside, &stop());
            for basis in [tridiagonal, Eigenbasis::dense(ATOMS + 1, element, &stop())] {
                let mut psi = vec![Complex64::ZERO; ATOMS + 1];
                psi[ATOMS / 2] = Complex64::ONE;
                basis.expect("converges").evolve(1.0, &mut psi, 0..1, |j| j, &stop()).expect("not stopped");
                states.push(psi);
            }
            let distance = states[0].iter().zip(&states[1]).map(|(a, b)| (a - b).norm()).fold(0.0, f64::max);
            let norm = m(0) * (omega + delta) + m(0) * m(0) * chi;
            assert!(distance < 1e-13 + 0.1 * f64::EPSILON * norm, "{omega} {delta} {chi}: {distance:e}");
        }
    }

    #[test]
    fn a_matrix_that_is_not_finite_is_an_error() {
        let result = Eigenbasis::tridiagonal(&double(&[f64::NAN; 3]), &double(&[1.0; 2]), &stop());
        assert!(matches!(result, Err(SimulationError::NotConverged { states: 3 })));
    }

    #[test]
    fn a_raised_flag_ends_the_work() {
        let stop = stop();
        stop.raise();
        let result = Eigenbasis::tridiagonal(&double(&[0.0; 9]), &double(&[1.0; 8]), &stop);
        assert!(matches!(result, Err(SimulationError::Stopped)));
    }
}
