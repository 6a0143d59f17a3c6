//! `exp(-iH)` as a series of Chebyshev polynomials of `H`.
//!
//! With the spectrum of `H` inside `c ± a`, `exp(-iH) = exp(-ic) Σ_k (2 - δ_k0) (-i)^k J_k(a) T_k((H - c)/a)`, and
//! `T_{k+1}(x) = 2 x T_k(x) - T_{k-1}(x)`: one product with `H` per term. The Bessel functions `J_k(a)` vanish faster
//! than exponentially for `k > a`. Source: Tal-Ezer and Kosloff, J. Chem. Phys. 81, 3967 (1984).

use num_complex::Complex64;
use pulp::{Simd, WithSimd};
use qspool_driver::StopFlag;
use rayon::prelude::*;

use super::double::Double;
use super::error::SimulationError;
use super::register::{PARALLEL, filled, float, normalise};
use super::vectors::{add_scaled, vector_units};

/// A half-width of the spectrum so small that `exp(-iH)` is a phase.
const VANISHED: f64 = 1e-18;

/// The largest half-width of the spectrum that one series takes: longer evolutions are made of equal steps.
const STEP: f64 = 1000.0;

/// A real symmetric matrix that is multiplied with real vectors, block by block.
pub(crate) trait Product: Sync {
    /// The elements of a block. A vector is made of whole blocks.
    fn block_len(&self) -> usize;

    /// The block of `y ← H x - y` that begins at `first`; `x` is the whole vector, `y` the block.
    ///
    /// To be inlined always, for the vector units that there are.
    fn block(&self, first: usize, x: &[f64], y: &mut [f64]);
}

/// `y ← H x - y`, then `sum ← sum + weight·y`, all in one pass.
///
/// Every element is summed up by one thread in a fixed order, so that results depend neither on the number of threads
/// nor on their vector units. Looks at `stop` in each block, and leaves `y` unfinished when it is raised.
pub(crate) fn recur(
    operator: &impl Product,
    x: &[f64],
    y: &mut [f64],
    weight: f64,
    sum: &mut [f64],
    stop: &StopFlag,
) -> Result<(), SimulationError> {
    let (len, arch) = (operator.block_len(), vector_units());
    let act = |(index, (y, sum)): (usize, (&mut [f64], &mut [f64]))| {
        if !stop.is_raised() {
            arch.dispatch(Block { operator, first: index * len, x, y, weight, sum });
        }
    };
    if x.len() < PARALLEL {
        y.chunks_exact_mut(len).zip(sum.chunks_exact_mut(len)).enumerate().for_each(act);
    } else {
        let blocks = y.par_chunks_exact_mut(len).zip(sum.par_chunks_exact_mut(len));
        blocks.with_min_len((PARALLEL / 4 / len).max(1)).enumerate().for_each(act);
    }
    Ok(stop.check()?)
}

/// The work on one block, for the vector units that there are.
struct Block<'a, P> {
    operator: &'a P,
    first: usize,
    x: &'a [f64],
    y: &'a mut [f64],
    weight: f64,
    sum: &'a mut [f64],
}

impl<P: Product> WithSimd for Block<'_, P> {
    type Output = ();

    #[expect(clippy::inline_always, reason = "else it would not use the vector unit that there is")]
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.operator.block(self.first, self.x, self.y);
        add_scaled(self.sum, self.y, self.weight);
    }
}

/// Applies `exp(-iH)` to a state, and scales its norm to 1.
///
/// The eigenvalues of `H` lie within `spectrum`; `operator(centre, scale)` makes `scale (H - centre)`. `H` is real, so the
/// real and the imaginary part of the state are two real vectors, one after the other; a state that is real (or
/// imaginary) takes half the time. [`products`] passes over the state for each of them, [`bytes`] of memory beside the
/// operator; looks at `stop` in each pass.
pub(crate) fn evolve<P: Product>(
    psi: &mut [Complex64],
    [lowest, highest]: [f64; 2],
    operator: impl FnOnce(f64, f64) -> Result<P, SimulationError>,
    stop: &StopFlag,
) -> Result<(), SimulationError> {
    let (centre, half_width) = (0.5 * (lowest + highest), 0.5 * (highest - lowest));
    // Nothing happens but a phase.
    let scale = if half_width < VANISHED { 0.0 } else { 2.0 / half_width };
    let mut series = Series::new(operator(centre, scale)?, centre, half_width, psi.len())?;
    let mut done = 0.0;
    while done < series.steps {
        series.step(psi, stop)?;
        done += 1.0;
    }
    normalise(psi);
    Ok(())
}

/// The number of products with `H` for a spectrum of this half-width.
pub(crate) fn products(half_width: f64) -> f64 {
    let steps = (half_width / STEP).ceil().max(1.0);
    steps * terms(half_width / steps)
}

/// Bytes that [`evolve`] takes for so many states, beside them and the operator: three vectors and the Bessel functions.
pub(crate) fn bytes(states: u64) -> u64 {
    states.saturating_mul(8 * 3).saturating_add(64 << 10)
}

/// The number of terms until the Bessel functions of `half_width` have vanished.
fn terms(half_width: f64) -> f64 {
    (half_width + 13.0 * half_width.cbrt() + 25.0).ceil()
}

struct Series<P> {
    /// `2 (H - c) / a`.
    operator: P,
    /// Into how many equal steps the evolution is cut.
    steps: f64,
    /// `(2 - δ_k0) J_k` of one step.
    coefficients: Vec<f64>,
    /// `exp(-ic)` of one step.
    phase: Complex64,
    current: Vec<f64>,
    previous: Vec<f64>,
    /// The imaginary part of the state, while its real part is in work.
    imaginary: Vec<f64>,
}

impl<P: Product> Series<P> {
    fn new(operator: P, centre: f64, half_width: f64, states: usize) -> Result<Self, SimulationError> {
        let steps = (half_width / STEP).ceil().max(1.0);
        let mut coefficients = bessel(half_width / steps);
        coefficients.iter_mut().skip(1).for_each(|coefficient| *coefficient *= 2.0);
        Ok(Self {
            operator,
            steps,
            coefficients,
            phase: Double::from(centre / steps).phase(),
            current: filled(0.0, states)?,
            previous: filled(0.0, states)?,
            imaginary: Vec::new(),
        })
    }

    /// Evolves `psi` by one step.
    fn step(&mut self, psi: &mut [Complex64], stop: &StopFlag) -> Result<(), SimulationError> {
        let [is_real, is_imaginary] = [psi.iter().all(|a| a.im == 0.0), psi.iter().all(|a| a.re == 0.0)];
        self.current.iter_mut().zip(&*psi).for_each(|(part, amplitude)| *part = amplitude.re);
        if !is_real {
            if self.imaginary.is_empty() {
                self.imaginary = filled(0.0, psi.len())?;
            }
            self.imaginary.iter_mut().zip(&*psi).for_each(|(part, amplitude)| *part = amplitude.im);
        }
        // Where the state was, its new real part and its new imaginary part are added up one behind the other.
        let states = psi.len();
        let parts: &mut [f64] = bytemuck::cast_slice_mut(psi);
        parts.fill(0.0);
        let mut sums: [&mut [f64]; 2] = parts.split_at_mut(states).into();
        if !is_imaginary {
            self.add_series(0, &mut sums, stop)?;
        }
        if !is_real {
            self.current.copy_from_slice(&self.imaginary);
            // i is (-i)³.
            self.add_series(3, &mut sums, stop)?;
        }
        self.current.copy_from_slice(sums[0]);
        self.previous.copy_from_slice(sums[1]);
        for ((amplitude, &re), &im) in psi.iter_mut().zip(&self.current).zip(&self.previous) {
            *amplitude = self.phase * Complex64::new(re, im);
        }
        Ok(())
    }

    /// Adds `(-i)^turns Σ_k c_k (-i)^k T_k x`, with `x` in `current`, to the real and the imaginary part of `sums`.
    fn add_series(&mut self, turns: usize, sums: &mut [&mut [f64]; 2], stop: &StopFlag) -> Result<(), SimulationError> {
        let Self { operator, coefficients, current, previous, .. } = self;
        for (sum, x) in sums[turns % 2].iter_mut().zip(&*current) {
            *sum += sign(turns) * coefficients[0] * x;
        }
        previous.fill(0.0);
        for (k, coefficient) in coefficients.iter().enumerate().skip(1) {
            let turns = turns + k;
            // The first product is 2 T_1.
            let half = if k == 1 { 0.5 } else { 1.0 };
            recur(operator, current, previous, sign(turns) * half * coefficient, sums[turns % 2], stop)?;
            if k == 1 {
                previous.iter_mut().for_each(|element| *element *= half);
            }
            std::mem::swap(current, previous);
        }
        Ok(())
    }
}

/// The sign of the part of `(-i)^turns` that is not zero: 1, -i, -1, i.
fn sign(turns: usize) -> f64 {
    if matches!(turns % 4, 0 | 3) { 1.0 } else { -1.0 }
}

/// `J_0(x), J_1(x), …` up to where they have vanished; `x >= 0`.
///
/// By the recurrence downwards, scaled so that `J_0² + 2 Σ J_k² = 1`. Source: Olver and Sookne, Math. Comp. 26, 941
/// (1972); Abramowitz and Stegun, 9.1.27 and 9.1.76.
fn bessel(x: f64) -> Vec<f64> {
    const TOO_LARGE: f64 = 1e200;
    if x < VANISHED {
        return vec![1.0];
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few thousand at most: x <= STEP")]
    let count = terms(x) as usize + 20;
    let mut values = vec![0.0; count];
    values[count - 1] = 1e-200;
    let mut order = float(count - 1);
    for k in (1..count).rev() {
        let above = values.get(k + 1).copied().unwrap_or(0.0);
        values[k - 1] = 2.0 * order / x * values[k] - above;
        if values[k - 1].abs() > TOO_LARGE {
            values[k - 1..].iter_mut().for_each(|value| *value /= TOO_LARGE);
        }
        order -= 1.0;
    }
    let largest = values.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    for value in &mut values {
        *value /= largest;
    }
    let squares: f64 = values.iter().skip(1).map(|value| value * value).sum();
    let scale = (values[0] * values[0] + 2.0 * squares).sqrt().recip();
    for value in &mut values {
        *value *= scale;
    }
    let needed = values.iter().rposition(|value| value.abs() > VANISHED).unwrap_or(0);
    values.truncate(needed + 1);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bessel_functions_have_their_tabulated_values() {
        // From a table with 16 digits: J_0(1), J_1(1), J_0(10), J_7(10), J_0(100), J_99(100).
        for (order, x, expected) in [
            (0, 1.0, 0.765_197_686_557_966_6),
            (1, 1.0, 0.440_050_585_744_933_5),
            (0, 10.0, -0.245_935_764_451_348_3),
            (7, 10.0, 0.216_710_917_685_051_5),
            (0, 100.0, 0.019_985_850_304_223_12),
        ] {
            let found = bessel(x)[order];
            assert!((found - expected).abs() < 2e-15, "J_{order}({x}): {found}");
        }
        assert_eq!(bessel(0.0), [1.0]);
        assert!((bessel(1e-9)[1] - 5e-10).abs() < 1e-24);
    }

    #[test]
    fn the_number_of_products_is_enough() {
        for x in [1e-12, 0.1, 1.0, 10.0, 100.0, 1000.0] {
            assert!(float(bessel(x).len()) <= products(x), "{x}: {} terms", bessel(x).len());
        }
    }
}
