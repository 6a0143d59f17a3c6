//! The eigenvectors of `Lx`, from which every rotation of a spin is made.

use qspool_driver::StopFlag;

use super::double::Double;
use super::eigen::Eigenbasis;
use super::error::SimulationError;
use super::mirrored::Mirrored;
use super::register::filled;
use super::spin::{ladder, magnetic_number};

/// Above it the components of an eigenvector are scaled down: those at the ends are smaller by many orders of magnitude.
const LARGE: f64 = 1e100;

/// `Lx` of a spin with `dim` levels, diagonalised.
///
/// `O(d²)`. The eigenvalues are exact: those of `Lz`. The eigenvectors follow from the rows of `Lx v = m v`, from the
/// end of the spin to its middle; there they grow, or swing, so that errors do not. Source: Feng, Wang, Yang and Jin,
/// Phys. Rev. E 92, 043307 (2015), for the use of them.
pub(crate) fn rotation(dim: usize, stop: &StopFlag) -> Result<Mirrored, SimulationError> {
    let sizes = [dim.div_ceil(2), dim / 2];
    let beside = ladder(dim);
    let inverse: Vec<Double> = beside.iter().map(|element| element.recip()).collect();
    let mut vectors = [filled(0.0, sizes[0] * sizes[0])?, filled(0.0, sizes[1] * sizes[1])?];
    let mut values = [filled(Double::default(), sizes[0])?, filled(Double::default(), sizes[1])?];
    let mut vector = filled(Double::default(), sizes[0])?;
    for column in 0..sizes[0] {
        stop.check()?;
        let m = magnetic_number(dim, column);
        half_vector(m, &beside, &inverse, &mut vector);
        normalise(dim, &mut vector);
        // That of -m has the other sign at every second level.
        for (column, m, sign) in [(column, m, 1.0), (dim - 1 - column, -m, -1.0)] {
            let (parity, place) = (column % 2, column / 2);
            let size = sizes[parity];
            values[parity][place] = Double::from(m);
            let target = &mut vectors[parity][place * size..(place + 1) * size];
            let mut factor = 1.0;
            for (target, component) in target.iter_mut().zip(&vector) {
                *target = factor * component.value();
                factor *= sign;
            }
        }
    }
    let ([even, odd], [even_values, odd_values]) = (vectors, values);
    Ok(Mirrored::known(Eigenbasis::known(even_values, even), Eigenbasis::known(odd_values, odd)))
}

/// The first half of the eigenvector of `m`, to any scale.
fn half_vector(m: f64, beside: &[Double], inverse: &[Double], vector: &mut [Double]) {
    vector[0] = Double::from(1.0);
    for level in 1..vector.len() {
        let before = if level > 1 { beside[level - 2] * vector[level - 2] } else { Double::default() };
        vector[level] = (vector[level - 1] * m + -before) * inverse[level - 1];
        if vector[level].value().abs() > LARGE {
            vector[..=level].iter_mut().for_each(|component| *component = *component * (1.0 / LARGE));
        }
    }
}

/// Makes it a unit vector of the basis of even or odd states, which has pairs of levels, and the level in the middle.
fn normalise(dim: usize, vector: &mut [Double]) {
    let last = vector.len() - 1;
    if dim % 2 == 1 {
        // A pair has sqrt(2) times the component of one of its levels.
        vector[last] = vector[last] * Double::from(0.5).sqrt();
    }
    let square = vector.iter().fold(Double::default(), |sum, &component| sum + component * component);
    let scale = square.sqrt().recip();
    vector.iter_mut().for_each(|component| *component = *component * scale);
}

#[cfg(test)]
mod tests {
    use super::super::register::{Register, Shape, float};
    use super::*;
    use crate::simulator::hamiltonian::SpinHamiltonian;

    #[test]
    fn the_vectors_are_orthonormal_and_belong_to_their_values() {
        for dim in [2, 3, 4, 5, 16, 101, 501, 1002] {
            let rotation = rotation(dim, &StopFlag::default()).expect("small");
            let beside = ladder(dim);
            for (basis, is_even) in rotation.halves().into_iter().zip([true, false]) {
                let size = basis.values().len();
                let vectors: Vec<Vec<f64>> = basis.vectors().map(|half| whole(dim, half, is_even)).collect();
                for (index, vector) in vectors.iter().enumerate() {
                    for (other, second) in vectors.iter().enumerate().step_by(size / 7 + 1).chain([(index, vector)]) {
                        let product: f64 = vector.iter().zip(second).map(|(a, b)| a * b).sum();
                        let expected = if index == other { 1.0 } else { 0.0 };
                        assert!((product - expected).abs() < 1e-14, "{dim}: {index} {other} {product}");
                    }
                    let value = basis.values()[index].value();
                    for level in 0..dim {
                        let element = |level: usize| beside[level].value();
                        let below = if level > 0 { element(level - 1) * vector[level - 1] } else { 0.0 };
                        let above = if level + 1 < dim { element(level) * vector[level + 1] } else { 0.0 };
                        let rest = below + above - value * vector[level];
                        assert!(rest.abs() < 1e-16 * float(dim * 4), "{dim}: {value} at {level}: {rest}");
                    }
                }
            }
        }
    }

    /// The whole vector from its half.
    fn whole(dim: usize, half: &[f64], is_even: bool) -> Vec<f64> {
        let sign = if is_even { 1.0 } else { -1.0 };
        let mut vector = vec![0.0; dim];
        for (level, component) in half.iter().enumerate() {
            if 2 * level + 1 == dim {
                vector[level] = *component;
            } else {
                vector[level] = component * 0.5_f64.sqrt();
                vector[dim - 1 - level] = sign * component * 0.5_f64.sqrt();
            }
        }
        vector
    }

    #[test]
    fn a_rotation_of_any_wire_is_that_of_the_series() {
        for (dims, wire) in [(&[7, 3, 4][..], 0), (&[3, 8, 2], 1), (&[2, 2, 33], 2)] {
            let shape = Shape::new(dims.iter().copied()).expect("small");
            let psi = (0..shape.states()).map(|k| num_complex::Complex64::from_polar(1.0, float(k * k))).collect();
            let mut register = Register::from_amplitudes(shape, psi);
            register.normalise();
            let mut lines = Vec::new();
            // One line of the wire after the other, as a register of its own.
            for base in register.shape().bases(&[wire]) {
                let stride = register.shape().stride(wire);
                let line = (0..dims[wire]).map(|level| register.amplitudes()[base + level * stride]).collect();
                let mut line = Register::from_amplitudes(Shape::new([dims[wire]]).expect("small"), line);
                let drive = SpinHamiltonian { drive: 1.7, ..SpinHamiltonian::default() };
                let norm = line.norm_sqr();
                crate::simulator::propagator::series(&drive, &mut line, &StopFlag::default()).expect("not stopped");
                lines.push((base, norm.sqrt(), line));
            }
            let rotation = rotation(dims[wire], &StopFlag::default()).expect("small");
            rotation.evolve(1.7, &mut register, wire, &StopFlag::default()).expect("not stopped");
            let stride = register.shape().stride(wire);
            for (base, norm, line) in lines {
                for (level, expected) in line.amplitudes().iter().enumerate() {
                    let distance = (register.amplitudes()[base + level * stride] - expected * norm).norm();
                    assert!(distance < 1e-13, "{dims:?} {wire}: {distance}");
                }
            }
        }
    }
}
