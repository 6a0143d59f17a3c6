//! The register: a flat vector of amplitudes, and who stands where in it.

use std::f64::consts::FRAC_1_SQRT_2;

use num_complex::Complex64;

use super::double::Double;
use super::error::SimulationError;

/// The levels of each wire, and how levels become an index.
///
/// Row-major, wire 0 slowest: `index = ((k_0 d_1 + k_1) d_2 + k_2) …` with `k_w` in `0..d_w`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    dims: Vec<usize>,
    strides: Vec<usize>,
    len: usize,
}

/// More states than any memory holds; below it, no index and no number of bytes overflows.
const MAX_STATES: usize = 1 << 48;

impl Shape {
    /// The shape of a register with `dims` levels per wire; each has at least one.
    pub fn new(dims: impl IntoIterator<Item = usize>) -> Result<Self, SimulationError> {
        let mut shape = Self { dims: Vec::new(), strides: Vec::new(), len: 1 };
        for dim in dims {
            let len = shape.len.checked_mul(dim.max(1)).filter(|&len| len <= MAX_STATES && shape.dims.len() < 48);
            shape.len = len.ok_or(SimulationError::RegisterTooLarge { limit: MAX_STATES as u64 })?;
            shape.dims.push(dim.max(1));
        }
        let mut stride = shape.len;
        for &dim in &shape.dims {
            stride /= dim;
            shape.strides.push(stride);
        }
        Ok(shape)
    }

    /// The levels of each wire.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// The number of wires.
    pub fn num_wires(&self) -> usize {
        self.dims.len()
    }

    /// The number of states.
    pub fn states(&self) -> usize {
        self.len
    }

    /// The largest number of neighbouring states up to `most` that hold all levels of the wires behind some wire; at least
    /// those of the last one.
    pub(crate) fn block(&self, most: usize) -> usize {
        let ends = (0..self.dims.len()).map(|wire| self.strides[wire] * self.dims[wire]);
        ends.rev().take_while(|&end| end <= most).last().unwrap_or_else(|| self.dims.last().copied().unwrap_or(1))
    }

    /// The distance of two neighbouring levels of `wire`.
    pub(crate) fn stride(&self, wire: usize) -> usize {
        self.strides[wire]
    }

    /// The level of `wire` in the state `index`.
    pub fn level(&self, index: usize, wire: usize) -> usize {
        index / self.strides[wire] % self.dims[wire]
    }

    /// The indices at which all `wires` are at level 0, rising; `wires` are sorted and different.
    pub(crate) fn bases(&self, wires: &[usize]) -> impl Iterator<Item = usize> {
        let lines = self.len / wires.iter().map(|&wire| self.dims[wire]).product::<usize>();
        // From the fastest wire on, make room for its levels.
        let room_for = |rest: usize, wire: usize| {
            let stride = self.strides[wire];
            rest / stride * stride * self.dims[wire] + rest % stride
        };
        (0..lines).map(move |line| wires.iter().rev().fold(line, |rest, &wire| room_for(rest, wire)))
    }

    /// Hands each run of `values` in which `wire` stays at one level to `act`, with that level.
    pub(crate) fn runs<T>(&self, values: &mut [T], wire: usize, mut act: impl FnMut(usize, &mut [T])) {
        let (dim, stride) = (self.dims[wire], self.strides[wire]);
        for block in values.chunks_exact_mut(dim * stride) {
            block.chunks_exact_mut(stride).enumerate().for_each(|(level, run)| act(level, run));
        }
    }

    /// Hands each run of `values` in which `slow` and `fast` stay at their levels to `act`; `slow < fast`.
    pub(crate) fn pair_runs<T>(
        &self,
        values: &mut [T],
        [slow, fast]: [usize; 2],
        mut act: impl FnMut([usize; 2], &mut [T]),
    ) {
        self.runs(values, slow, |level, run| self.runs(run, fast, |fast_level, run| act([level, fast_level], run)));
    }
}

/// From so many states on all cores share the work on one register; below, starting them takes longer.
pub(crate) const PARALLEL: usize = 1 << 14;

/// A vector of `len` times `value`, or the error that says how much memory is missing.
pub(crate) fn filled<T: Clone>(value: T, len: usize) -> Result<Vec<T>, SimulationError> {
    let mut vector = Vec::new();
    let bytes = (len as u64).saturating_mul(size_of::<T>() as u64);
    vector.try_reserve_exact(len).map_err(|_| SimulationError::OutOfMemory { bytes })?;
    vector.resize(len, value);
    Ok(vector)
}

/// The state of a register: one amplitude per index of its [`Shape`].
#[derive(Debug, Clone)]
pub struct Register {
    shape: Shape,
    psi: Vec<Complex64>,
}

impl Register {
    /// Bytes per state.
    pub const BYTES: u64 = size_of::<Complex64>() as u64;

    /// A register with amplitude 1 in the state `index` and 0 elsewhere.
    ///
    /// # Panics
    /// If there is no such state: a defect of the caller.
    pub fn new(shape: Shape, index: usize) -> Result<Self, SimulationError> {
        let mut psi = filled(Complex64::ZERO, shape.states())?;
        psi[index] = Complex64::ONE;
        Ok(Self { shape, psi })
    }

    /// A register in a given state.
    ///
    /// # Panics
    /// If the number of amplitudes is not that of the states: a defect of the caller.
    pub fn from_amplitudes(shape: Shape, psi: Vec<Complex64>) -> Self {
        assert_eq!(shape.states(), psi.len(), "one amplitude per state");
        Self { shape, psi }
    }

    /// The levels of its wires.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The amplitudes.
    pub fn amplitudes(&self) -> &[Complex64] {
        &self.psi
    }

    /// The amplitudes, to be changed, with the shape.
    pub fn parts_mut(&mut self) -> (&Shape, &mut [Complex64]) {
        (&self.shape, &mut self.psi)
    }

    /// The squared norm: 1 but for rounding, unless an instruction says otherwise.
    pub fn norm_sqr(&self) -> f64 {
        self.psi.iter().map(Complex64::norm_sqr).sum()
    }

    /// Scales all amplitudes so that the squared norm is 1.
    #[cfg(test)]
    pub(crate) fn normalise(&mut self) {
        normalise(&mut self.psi);
    }

    /// Replaces the amplitudes `x`, `y` of each two levels `k < N - k` of `wire` by `(x + y)/√2` and `(x - y)/√2`, the even
    /// and the odd state of the two. Twice this is nothing.
    pub(crate) fn reflect(&mut self, wire: usize) {
        let (dim, stride) = (self.shape.dims[wire], self.shape.strides[wire]);
        for block in self.psi.chunks_exact_mut(dim * stride) {
            let (lower, upper) = block.split_at_mut(dim.div_ceil(2) * stride);
            for (lower, upper) in lower.chunks_exact_mut(stride).zip(upper.chunks_exact_mut(stride).rev()) {
                for (x, y) in lower.iter_mut().zip(upper) {
                    (*x, *y) = ((*x + *y) * FRAC_1_SQRT_2, (*x - *y) * FRAC_1_SQRT_2);
                }
            }
        }
    }

    /// Multiplies each amplitude by `exp(-i·angle(k))`, where `k` is the level of `wire`. Exact at any angle.
    ///
    /// `16 d` bytes beside the state.
    pub fn phase(&mut self, wire: usize, angle: impl Fn(usize) -> Double) {
        let phases: Vec<Complex64> = (0..self.shape.dims[wire]).map(|level| angle(level).phase()).collect();
        self.shape.runs(&mut self.psi, wire, |level, run| scale(run, phases[level]));
    }

    /// Multiplies each amplitude by `exp(-i·angle(k_a, k_b))` for two different wires. Exact at any angle.
    ///
    /// `16 d_a d_b` bytes beside the state.
    pub fn phase_pair(&mut self, [a, b]: [usize; 2], angle: impl Fn(usize, usize) -> Double) {
        let (slow, fast) = (a.min(b), a.max(b));
        let width = self.shape.dims[fast];
        let of_pair = |cell: usize| {
            let (level, fast_level) = (cell / width, cell % width);
            if a < b { angle(level, fast_level) } else { angle(fast_level, level) }
        };
        let phases: Vec<Complex64> = (0..self.shape.dims[slow] * width).map(|cell| of_pair(cell).phase()).collect();
        let act =
            |[level, fast_level]: [usize; 2], run: &mut [Complex64]| scale(run, phases[level * width + fast_level]);
        self.shape.pair_runs(&mut self.psi, [slow, fast], act);
    }
}

/// Scales all amplitudes so that the squared norm is 1.
pub(crate) fn normalise(psi: &mut [Complex64]) {
    let scale = psi.iter().map(Complex64::norm_sqr).sum::<f64>().sqrt().recip();
    for amplitude in psi {
        *amplitude *= scale;
    }
}

fn scale(run: &mut [Complex64], factor: Complex64) {
    for amplitude in run.iter_mut() {
        *amplitude *= factor;
    }
}

/// A level or a number of atoms as a number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "levels and states stay below 2^48, where f64 is exact")]
pub(crate) fn float(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_zero_is_the_slowest() {
        let shape = Shape::new([2, 3, 4]).expect("small");
        assert_eq!(shape.states(), 24);
        assert_eq!([0, 1, 2].map(|wire| shape.level(23 - 4, wire)), [1, 1, 3]);
        let bases: Vec<usize> = shape.bases(&[2]).collect();
        assert_eq!(bases, [0, 4, 8, 12, 16, 20]);
        let bases: Vec<usize> = shape.bases(&[0, 2]).collect();
        assert_eq!(bases, [0, 4, 8]);
        let mut levels = vec![[9, 9]; 24];
        shape.pair_runs(&mut levels, [0, 2], |pair, run| run.fill(pair));
        assert!((0..24).all(|index| levels[index] == [shape.level(index, 0), shape.level(index, 2)]));
    }

    #[test]
    fn a_register_that_no_memory_holds_is_refused() {
        assert!(Shape::new([501; 5]).is_ok());
        let error = Shape::new(std::iter::repeat(2)).expect_err("endless");
        assert_eq!(error.to_string(), "the register has more than 281474976710656 states, which no memory holds");
        let shape = Shape::new([501; 5]).expect("has an index");
        let error = Register::new(shape, 0).expect_err("505 TB");
        assert!(error.to_string().starts_with("no memory left for 5050"), "{error}");
    }

    #[test]
    fn phases_of_a_pair_follow_the_order_of_the_wires() {
        let shape = Shape::new([2, 3]).expect("small");
        for (wires, expected) in [([0, 1], 12.0), ([1, 0], 21.0)] {
            let mut register = Register::new(shape.clone(), 5).expect("small");
            register.phase_pair(wires, |a, b| Double::from(float(10 * a + b)));
            assert!((register.amplitudes()[5] - Double::from(expected).phase()).norm() < 1e-15);
        }
    }
}
