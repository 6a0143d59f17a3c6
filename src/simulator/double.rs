//! Numbers of twice the usual precision, for phases that turn many times.
//!
//! A phase `exp(-i x)` is only as exact as `x` is in absolute terms, and `x` reaches 1e12 here. [`Double`] keeps about
//! 32 digits, so that what remains after taking off the full turns is still good to the last digit of an `f64`.

use std::ops::{Add, Mul, Neg};

use num_complex::Complex64;

/// The unevaluated sum of two `f64`, the second at most half a unit in the last place of the first.
///
/// Source: T. J. Dekker, Numer. Math. 18, 224 (1971); the exact product by a fused multiply-add.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Double {
    high: f64,
    low: f64,
}

/// 2π to 106 bits.
const TURN: Double = Double { high: std::f64::consts::TAU, low: 2.449_293_598_294_706_4e-16 };

impl Double {
    /// The exact product of two `f64`.
    #[inline]
    pub fn product(a: f64, b: f64) -> Self {
        let high = a * b;
        Self { high, low: a.mul_add(b, -high) }
    }

    /// The exact sum of two `f64`.
    #[inline]
    pub fn sum(a: f64, b: f64) -> Self {
        let high = a + b;
        let b_seen = high - a;
        Self { high, low: (a - (high - b_seen)) + (b - b_seen) }
    }

    /// The square root of `self`, which must not be negative.
    #[must_use]
    pub fn sqrt(self) -> Self {
        let root = self.high.sqrt();
        if root == 0.0 {
            return Self::default();
        }
        let rest = self + -Self::product(root, root);
        Self::quick_sum(root, rest.value() / (2.0 * root))
    }

    /// `1 / self`, which must not be 0.
    #[must_use]
    pub fn recip(self) -> Self {
        let inverse = self.high.recip();
        let rest = Self::from(1.0) + -(self * inverse);
        Self::quick_sum(inverse, rest.value() * inverse)
    }

    /// The high and the low part.
    #[inline]
    pub(crate) fn parts(self) -> (f64, f64) {
        (self.high, self.low)
    }

    /// What [`parts`](Self::parts) are those of.
    #[inline]
    pub(crate) fn of_parts(high: f64, low: f64) -> Self {
        Self { high, low }
    }

    /// The nearest `f64`.
    pub fn value(self) -> f64 {
        self.high + self.low
    }

    /// `exp(-i·self)`, with `self` in radians and of any size.
    pub fn phase(self) -> Complex64 {
        let turns = (self.high / TURN.high).round();
        let (sin, cos) = (self + -(TURN * turns)).value().sin_cos();
        Complex64::new(cos, -sin)
    }

    /// The exact sum when `a` is the larger.
    #[inline]
    fn quick_sum(a: f64, b: f64) -> Self {
        let high = a + b;
        Self { high, low: b - (high - a) }
    }
}

impl From<f64> for Double {
    fn from(high: f64) -> Self {
        Self { high, low: 0.0 }
    }
}

impl Neg for Double {
    type Output = Self;

    fn neg(self) -> Self {
        Self { high: -self.high, low: -self.low }
    }
}

impl Add for Double {
    type Output = Self;

    #[inline]
    fn add(self, other: Self) -> Self {
        let high = Self::sum(self.high, other.high);
        let low = Self::sum(self.low, other.low);
        let sum = Self::quick_sum(high.high, high.low + low.high);
        Self::quick_sum(sum.high, sum.low + low.low)
    }
}

impl Mul for Double {
    type Output = Self;

    #[inline]
    fn mul(self, other: Self) -> Self {
        let product = Self::product(self.high, other.high);
        Self::quick_sum(product.high, product.low + self.high.mul_add(other.low, self.low * other.high))
    }
}

impl Mul<f64> for Double {
    type Output = Self;

    #[inline]
    fn mul(self, factor: f64) -> Self {
        let product = Self::product(self.high, factor);
        Self::quick_sum(product.high, self.low.mul_add(factor, product.low))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_of_many_turns_is_exact() {
        let phase = Double::product(12_345_678.912_345_678, 62_499.75).phase();
        // Cosine and sine of that product from arithmetic with 80 digits.
        let expected = Complex64::new(-0.675_832_300_005_477_6, -0.737_055_426_863_750_9);
        assert!((phase - expected).norm() < 1e-15, "{phase} instead of {expected}");
    }

    #[test]
    fn a_square_root_holds_to_thirty_digits() {
        for x in [2.0, 3.0, 62_750.0, 1e-3] {
            let root = Double::from(x).sqrt();
            let rest = (root * root + -Double::from(x)).value();
            assert!(rest.abs() < 1e-30 * x, "{x}: {rest}");
        }
    }

    #[test]
    fn a_reciprocal_holds_to_thirty_digits() {
        for x in [3.0, -7.0, 62_750.0, 1e-3] {
            let x = Double::from(2.0).sqrt() * x;
            let rest = (x.recip() * x + Double::from(-1.0)).value();
            assert!(rest.abs() < 1e-30, "{x:?}: {rest}");
        }
    }

    #[test]
    fn small_parts_survive_in_sums_and_products() {
        let small = Double::from(1.0) + Double::from(1e-25);
        assert!(((small + Double::from(-1.0)).value() - 1e-25).abs() < 1e-40);
        assert!(((small * 3.0 + Double::from(-3.0)).value() - 3e-25).abs() < 1e-40);
        assert!(((small * small + Double::from(-1.0)).value() - 2e-25).abs() < 1e-40);
        assert_eq!(Double::default().sqrt(), Double::default());
    }
}
