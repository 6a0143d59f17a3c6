//! `exp(-iH)` as a series of Chebyshev polynomials of `H`.
//!
//! With the spectrum of `H` inside `c ± a`, `exp(-iH) = exp(-ic) Σ_k (2 - δ_k0) (-i)^k J_k(a) T_k((H - c)/a)`, and
//! `T_{k+1}(x) = 2 x T_k(x) - T_{k-1}(x)`: one product with `H` per term. The Bessel functions `J_k(a)` vanish faster
//! than exponentially for `k > a`. Source: Tal-Ezer and Kosloff, J. Chem. Phys. 81, 3967 (1984).

use num_complex::Complex64;
use qspool_driver::StopFlag;

use super::double::Double;
use super::error::SimulationError;
use super::hamiltonian::{Elements, SpinHamiltonian};
use super::register::{Register, Shape, filled, float};

/// The largest half-width of the spectrum that one series takes: longer evolutions are made of equal steps.
const STEP: f64 = 1000.0;

/// Applies `exp(-iH)` to the register, and scales it back to the norm that it had.
///
/// [`products`] passes over the register, [`bytes`] of memory; looks at `stop` before each pass.
pub(crate) fn evolve(
    hamiltonian: &SpinHamiltonian,
    register: &mut Register,
    stop: &StopFlag,
) -> Result<(), SimulationError> {
    let (shape, psi) = register.parts_mut();
    let mut series = Series::new(hamiltonian, shape)?;
    let steps = (series.half_width / STEP).ceil().max(1.0);
    let coefficients = bessel(series.half_width / steps);
    let phase = Double::from(series.centre / steps).phase();
    let mut done = 0.0;
    while done < steps {
        series.step(&coefficients, phase, psi, stop)?;
        done += 1.0;
    }
    register.normalise();
    Ok(())
}

/// The number of products with `H` for a spectrum of this half-width.
pub(crate) fn products(half_width: f64) -> f64 {
    let steps = (half_width / STEP).ceil().max(1.0);
    steps * terms(half_width / steps)
}

/// Bytes that [`evolve`] takes beside the state: two vectors and the diagonal; and the Bessel functions.
pub(crate) fn bytes(states: u64) -> u64 {
    states.saturating_mul(2 * Register::BYTES + 8).saturating_add(64 << 10)
}

/// The number of terms until the Bessel functions of `half_width` have vanished.
fn terms(half_width: f64) -> f64 {
    (half_width + 13.0 * half_width.cbrt() + 25.0).ceil()
}

struct Series<'a> {
    hamiltonian: &'a SpinHamiltonian,
    shape: &'a Shape,
    elements: Elements,
    /// Without the centre of the spectrum.
    diagonal: Vec<f64>,
    centre: f64,
    half_width: f64,
    current: Vec<Complex64>,
    previous: Vec<Complex64>,
}

impl<'a> Series<'a> {
    fn new(hamiltonian: &'a SpinHamiltonian, shape: &'a Shape) -> Result<Self, SimulationError> {
        let energies = hamiltonian.diagonal(shape)?;
        let range = energies.iter().fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], energy| {
            [low.min(energy.value()), high.max(energy.value())]
        });
        let [lowest, highest] = hamiltonian.spectrum(shape, Some(range));
        let centre = 0.5 * (lowest + highest);
        let mut diagonal = filled(0.0, shape.states())?;
        for (element, &energy) in diagonal.iter_mut().zip(&energies) {
            *element = (energy + Double::from(-centre)).value();
        }
        drop(energies);
        let elements = hamiltonian.elements(shape);
        let empty = || filled(Complex64::ZERO, shape.states());
        let (current, previous) = (empty()?, empty()?);
        Ok(Self {
            hamiltonian,
            shape,
            elements,
            diagonal,
            centre,
            half_width: 0.5 * (highest - lowest),
            current,
            previous,
        })
    }

    /// Replaces `psi` by the sum over `coefficients`, times `phase`.
    fn step(
        &mut self,
        coefficients: &[f64],
        phase: Complex64,
        psi: &mut [Complex64],
        stop: &StopFlag,
    ) -> Result<(), SimulationError> {
        // T_0 ψ = ψ, T_{-1} ψ = T_1 ψ: the first product with half the scale gives T_1.
        self.current.copy_from_slice(psi);
        self.previous.fill(Complex64::ZERO);
        for sum in psi.iter_mut() {
            *sum *= phase * coefficients[0];
        }
        let mut factor = phase;
        for (k, coefficient) in coefficients.iter().enumerate().skip(1) {
            stop.check()?;
            let scale = if k == 1 { 1.0 } else { 2.0 } / self.half_width;
            for ((next, current), energy) in self.previous.iter_mut().zip(&self.current).zip(&self.diagonal) {
                *next = current * (scale * energy) - *next;
            }
            let (current, next) = (&self.current, &mut self.previous);
            self.hamiltonian.add_beside(self.shape, &self.elements, scale, current, next, stop)?;
            std::mem::swap(&mut self.current, &mut self.previous);
            factor *= -Complex64::I;
            let weight = factor * (2.0 * coefficient);
            psi.iter_mut().zip(&self.current).for_each(|(sum, term)| *sum += term * weight);
        }
        Ok(())
    }
}

/// `J_0(x), J_1(x), …` up to where they have vanished; `x >= 0`.
///
/// By the recurrence downwards, scaled so that `J_0² + 2 Σ J_k² = 1`. Source: Olver and Sookne, Math. Comp. 26, 941
/// (1972); Abramowitz and Stegun, 9.1.27 and 9.1.76.
fn bessel(x: f64) -> Vec<f64> {
    const VANISHED: f64 = 1e-18;
    const TOO_LARGE: f64 = 1e200;
    // So small that exp(-ix) is 1.
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
