//! Matrices over the levels of a wire that stay the same when the levels are read backwards.

use qspool_driver::StopFlag;

use super::double::Double;
use super::eigen::Eigenbasis;
use super::error::SimulationError;
use super::register::Register;

/// A matrix that commutes with the reflection `k → N - k`, diagonalised.
///
/// Its eigenvectors are even or odd: each kind is a matrix of half the size. An even state of levels `k` and `N - k` is
/// `(|k> + |N-k>)/√2`, an odd one has a minus there; with an odd number of levels the one in the middle is even.
#[derive(Debug)]
pub(crate) struct Mirrored {
    even: Eigenbasis,
    odd: Eigenbasis,
}

impl Mirrored {
    /// The matrix with these eigenvectors, the even ones and the odd ones.
    pub(crate) fn known(even: Eigenbasis, odd: Eigenbasis) -> Self {
        Self { even, odd }
    }

    /// Diagonalises the matrix with this diagonal and these elements next to it (one less), which are the same when they
    /// are read backwards.
    ///
    /// The cost of two matrices of half the size, see [`Eigenbasis::tridiagonal`].
    pub(crate) fn tridiagonal(
        diagonal: &[Double],
        beside: &[Double],
        stop: &StopFlag,
    ) -> Result<Self, SimulationError> {
        let half = diagonal.len() / 2;
        let (mut even, mut odd) = (diagonal[..diagonal.len() - half].to_vec(), diagonal[..half].to_vec());
        let mut even_beside = beside[..even.len().saturating_sub(1)].to_vec();
        let odd_beside = &beside[..half.saturating_sub(1)];
        match (even.last_mut(), odd.last_mut(), even_beside.last_mut()) {
            // The two levels of the middle lead to each other.
            (Some(even), Some(odd), _) if diagonal.len() == 2 * half => {
                let between = beside[half - 1];
                (*even, *odd) = (*even + between, *odd + -between);
            }
            // The level of the middle leads to both beside it.
            (_, _, Some(beside)) => *beside = *beside * Double::from(2.0).sqrt(),
            _ => {}
        }
        let even = Eigenbasis::tridiagonal(&even, &even_beside, stop)?;
        Ok(Self { even, odd: Eigenbasis::tridiagonal(&odd, odd_beside, stop)? })
    }

    /// Applies `exp(-i·angle·H)` to `wire`, which has as many levels as this.
    ///
    /// `2 d` multiplications per amplitude.
    pub(crate) fn evolve(
        &self,
        angle: f64,
        register: &mut Register,
        wire: usize,
        stop: &StopFlag,
    ) -> Result<(), SimulationError> {
        register.reflect(wire);
        let (shape, psi) = register.parts_mut();
        let (stride, last) = (shape.stride(wire), shape.dims()[wire] - 1);
        self.even.evolve(angle, psi, shape.bases(&[wire]), |level| level * stride, stop)?;
        self.odd.evolve(angle, psi, shape.bases(&[wire]), |level| (last - level) * stride, stop)?;
        register.reflect(wire);
        Ok(())
    }

    /// The number of levels.
    pub(crate) fn dim(&self) -> usize {
        self.even.values().len() + self.odd.values().len()
    }

    /// The even and the odd eigenvectors.
    #[cfg(test)]
    pub(crate) fn halves(&self) -> [&Eigenbasis; 2] {
        [&self.even, &self.odd]
    }

    /// Bytes of the eigenvectors of a matrix with `dim` levels.
    pub(crate) fn bytes(dim: u64) -> u64 {
        Eigenbasis::bytes(dim.div_ceil(2)).saturating_mul(2)
    }
}

#[cfg(test)]
mod tests {
    use num_complex::Complex64;

    use super::super::random::{ShotRandom, Uniform};
    use super::super::register::{Shape, float};
    use super::super::spin::evolve_wire;
    use super::*;

    #[test]
    fn halves_evolve_as_the_whole_matrix_does() {
        let mut random = ShotRandom::from_seed(8);
        let stop = StopFlag::default();
        for dim in 1..=9_usize {
            let mut mirrored = |len: usize| {
                let mut elements: Vec<Double> = (0..len).map(|_| Double::from(random.next_double() - 0.5)).collect();
                (0..len / 2).for_each(|k| elements[len - 1 - k] = elements[k]);
                elements
            };
            let (diagonal, beside) = (mirrored(dim), mirrored(dim - 1));
            let shape = Shape::new([2, dim, 3]).expect("small");
            let psi = (0..shape.states()).map(|k| Complex64::from_polar(1.0, float(k * k))).collect();
            let mut halves = Register::from_amplitudes(shape, psi);
            let mut whole = halves.clone();
            let mirrored = Mirrored::tridiagonal(&diagonal, &beside, &stop).expect("converges");
            assert_eq!(mirrored.dim(), dim);
            mirrored.evolve(2.5, &mut halves, 1, &stop).expect("not stopped");
            let basis = Eigenbasis::tridiagonal(&diagonal, &beside, &stop).expect("converges");
            evolve_wire(&basis, 2.5, &mut whole, 1, &stop).expect("not stopped");
            for (half, whole) in halves.amplitudes().iter().zip(whole.amplitudes()) {
                assert!((half - whole).norm() < 1e-13, "{dim}: {half} {whole}");
            }
        }
    }
}
