//! Products of a real Hamiltonian with real vectors, block by block and on all cores.
//!
//! The Hamiltonian is never stored as a matrix: a diagonal, ladders on single wires and hops between neighbours are
//! added up for one block of the result at a time, which stays in the cache meanwhile. The wires that vary within a
//! block are its *inner* ones; of the others each ladder and each hop reads one more block. Every element is summed up
//! by one thread in a fixed order, so that results depend neither on the number of threads nor on their vector units.

#![expect(
    clippy::inline_always,
    reason = "what is not part of the function that is made for a vector unit does not use it"
)]

use super::chebyshev::Product;
use super::register::Shape;
use super::vectors::add_scaled;

/// The largest block, but for a single wire that is longer, in elements: 32 kB, so that four of them stay near the core.
const BLOCK: usize = 1 << 12;

/// Runs of fewer elements are gathered to longer ones, each with its own weight.
const SHORT_RUN: usize = 8;

/// A real symmetric matrix over the states of a [`Shape`]: a diagonal, ladders and hops.
#[derive(Debug)]
pub(crate) struct Operator {
    diagonal: Vec<f64>,
    ladders: Vec<Ladder>,
    hops: Vec<Hop>,
    /// The elements of a block.
    block: usize,
}

/// Elements between neighbouring levels of one wire.
#[derive(Debug, Clone)]
struct Ladder {
    stride: usize,
    /// Between the levels `k` and `k + 1`; none where the wire is not driven.
    elements: Vec<f64>,
    /// The same, each as often as the stride says, where that is short.
    spread: Vec<f64>,
}

/// Elements from the levels `k + 1, l` of a wire and the next one to `k, l + 1`, and back: `up[k] * down[l]`.
#[derive(Debug, Clone)]
struct Hop {
    slow: usize,
    fast: usize,
    up: Vec<f64>,
    /// Each as often as the stride `fast` says, if that lies within a block; else once.
    down: Vec<f64>,
}

impl Operator {
    /// The matrix with this diagonal; per wire with the elements beside it, and per pair of neighbouring wires with the
    /// factors of theirs. Neither has to be there for a wire or pair.
    pub(crate) fn new(shape: &Shape, diagonal: Vec<f64>, ladders: &[Vec<f64>], hops: &[[Vec<f64>; 2]]) -> Self {
        let block = shape.block(BLOCK);
        let spread = |values: &[f64], stride: usize| {
            values.iter().flat_map(|&value| std::iter::repeat_n(value, stride)).collect::<Vec<f64>>()
        };
        let ladder = |(wire, elements): (usize, &Vec<f64>)| {
            let stride = shape.stride(wire);
            let spread = if stride < SHORT_RUN { spread(elements, stride) } else { Vec::new() };
            Ladder { stride, elements: elements.clone(), spread }
        };
        let hop = |(wire, [up, down]): (usize, &[Vec<f64>; 2])| {
            let (slow, fast) = (shape.stride(wire), shape.stride(wire + 1));
            let down = if fast < block { spread(down, fast) } else { down.clone() };
            Hop { slow, fast, up: up.clone(), down }
        };
        Self {
            diagonal,
            ladders: ladders.iter().enumerate().map(ladder).collect(),
            hops: hops.iter().enumerate().map(hop).collect(),
            block,
        }
    }

    /// Bytes beside the diagonal, for a register with these levels.
    pub(crate) fn bytes(shape: &Shape) -> u64 {
        let of_wire = |&dim: &usize| (dim as u64).saturating_mul(64).saturating_add(8 * BLOCK as u64 + 256);
        shape.dims().iter().map(of_wire).fold(1024, u64::saturating_add)
    }
}

impl Product for Operator {
    fn block_len(&self) -> usize {
        self.block
    }

    /// `O(terms)` per state.
    #[inline(always)]
    fn block(&self, first: usize, x: &[f64], y: &mut [f64]) {
        let own = &x[first..first + self.block];
        for ((y, x), energy) in y.iter_mut().zip(own).zip(&self.diagonal[first..]) {
            *y = energy * x - *y;
        }
        let mut ladders = self.ladders.as_slice();
        // From the fastest wire on, so that the strides of pairs are 1 or a multiple of 4.
        while let Some((ladder, slower)) = ladders.split_last() {
            ladders = slower;
            if ladder.elements.is_empty() {
                continue;
            }
            if ladder.stride >= self.block {
                ladder.between_blocks(first, x, y);
                continue;
            }
            match slower.last().filter(|next| next.stride < self.block).and_then(|next| next.flip_with(ladder)) {
                Some(element) => {
                    flip_two(own, y, ladder.stride, element);
                    ladders = &slower[..slower.len() - 1];
                }
                None => ladder.within_block(own, y),
            }
        }
        for hop in self.hops.iter().filter(|hop| !hop.up.is_empty()) {
            if hop.slow < self.block {
                hop.within_block(own, y);
            } else if hop.fast < self.block {
                hop.across(first, x, y);
            } else {
                hop.between_blocks(first, x, y);
            }
        }
    }
}

impl Ladder {
    /// The element of both, if they are qubits beside each other with the same one, and [`flip_two`] takes them.
    #[inline(always)]
    fn flip_with(&self, faster: &Self) -> Option<f64> {
        let fits = self.stride == 2 * faster.stride && (faster.stride == 1 || faster.stride.is_multiple_of(4));
        match (&self.elements[..], &faster.elements[..]) {
            ([a], [b]) if fits && a.total_cmp(b).is_eq() => Some(*a),
            _ => None,
        }
    }

    #[inline(always)]
    fn within_block(&self, x: &[f64], y: &mut [f64]) {
        let Self { stride, elements, spread } = self;
        let period = stride * (elements.len() + 1);
        for (x, y) in x.chunks_exact(period).zip(y.chunks_exact_mut(period)) {
            if spread.is_empty() {
                for (level, &element) in elements.iter().enumerate() {
                    let [low, high] = [level * stride, (level + 1) * stride];
                    add_scaled(&mut y[low..high], &x[high..high + stride], element);
                    add_scaled(&mut y[high..high + stride], &x[low..high], element);
                }
            } else {
                add_weighted(y, &x[*stride..], spread, 1.0);
                add_weighted(&mut y[*stride..], x, spread, 1.0);
            }
        }
    }

    #[inline(always)]
    fn between_blocks(&self, first: usize, x: &[f64], y: &mut [f64]) {
        let level = first / self.stride % (self.elements.len() + 1);
        if let Some(&element) = self.elements.get(level) {
            add_scaled(y, &x[first + self.stride..], element);
        }
        if level > 0 {
            add_scaled(y, &x[first - self.stride..], self.elements[level - 1]);
        }
    }
}

impl Hop {
    #[inline(always)]
    fn within_block(&self, x: &[f64], y: &mut [f64]) {
        let Self { slow, fast, up, down } = self;
        let period = slow * (up.len() + 1);
        for (x, y) in x.chunks_exact(period).zip(y.chunks_exact_mut(period)) {
            for (level, &element) in up.iter().enumerate() {
                let [low, high] = [level * slow, (level + 1) * slow];
                add_weighted(&mut y[low + fast..high], &x[high..], down, element);
                add_weighted(&mut y[high..], &x[low + fast..high], down, element);
            }
        }
    }

    /// The slow wire is outside of the block, the other one inside: its first.
    #[inline(always)]
    fn across(&self, first: usize, x: &[f64], y: &mut [f64]) {
        let Self { slow, fast, up, down } = self;
        let level = first / slow % (up.len() + 1);
        if let Some(&element) = up.get(level) {
            add_weighted(&mut y[*fast..], &x[first + slow..], down, element);
        }
        if level > 0 {
            add_weighted(y, &x[first - slow + fast..], down, up[level - 1]);
        }
    }

    #[inline(always)]
    fn between_blocks(&self, first: usize, x: &[f64], y: &mut [f64]) {
        let Self { slow, fast, up, down } = self;
        let [level, next] = [first / slow % (up.len() + 1), first / fast % (down.len() + 1)];
        if level < up.len() && next > 0 {
            add_scaled(y, &x[first + slow - fast..], up[level] * down[next - 1]);
        }
        if level > 0 && next < down.len() {
            add_scaled(y, &x[first + fast - slow..], up[level - 1] * down[next]);
        }
    }
}

/// `y += a w x` element by element, as long as the shortest of the three.
#[inline(always)]
fn add_weighted(y: &mut [f64], x: &[f64], w: &[f64], a: f64) {
    for ((y, x), w) in y.iter_mut().zip(x).zip(w) {
        *y += a * w * x;
    }
}

/// Adds `element` times what the flips of two qubits make of `x`, the faster of which has this stride, 1 or a multiple of
/// 4, and the other twice of it: three additions in place of four.
#[inline(always)]
fn flip_two(x: &[f64], y: &mut [f64], stride: usize, element: f64) {
    if stride == 1 {
        for (y, x) in y.as_chunks_mut::<4>().0.iter_mut().zip(x.as_chunks::<4>().0) {
            let [one, other] = [element * (x[1] + x[2]), element * (x[0] + x[3])];
            *y = [y[0] + one, y[1] + other, y[2] + other, y[3] + one];
        }
        return;
    }
    for (x, y) in x.chunks_exact(4 * stride).zip(y.chunks_exact_mut(4 * stride)) {
        let ((x01, x23), (y01, y23)) = (x.split_at(2 * stride), y.split_at_mut(2 * stride));
        let ((x0, x1), (x2, x3)) = (x01.split_at(stride), x23.split_at(stride));
        let ((y0, y1), (y2, y3)) = (y01.split_at_mut(stride), y23.split_at_mut(stride));
        let y = quads_mut(y0).iter_mut().zip(quads_mut(y1)).zip(quads_mut(y2)).zip(quads_mut(y3));
        let x = quads(x0).iter().zip(quads(x1)).zip(quads(x2)).zip(quads(x3));
        for ((((y0, y1), y2), y3), (((x0, x1), x2), x3)) in y.zip(x) {
            let [one, other] = [times(element, plus(*x1, *x2)), times(element, plus(*x0, *x3))];
            [*y0, *y1, *y2, *y3] = [plus(*y0, one), plus(*y1, other), plus(*y2, other), plus(*y3, one)];
        }
    }
}

#[inline(always)]
fn plus(a: [f64; 4], b: [f64; 4]) -> [f64; 4] {
    std::array::from_fn(|lane| a[lane] + b[lane])
}

#[inline(always)]
fn times(a: f64, b: [f64; 4]) -> [f64; 4] {
    b.map(|b| a * b)
}

/// Four elements at a time: what loops over them becomes is known beforehand.
#[inline(always)]
fn quads(x: &[f64]) -> &[[f64; 4]] {
    x.as_chunks().0
}

#[inline(always)]
fn quads_mut(x: &mut [f64]) -> &mut [[f64; 4]] {
    x.as_chunks_mut().0
}

#[cfg(test)]
mod tests {
    use qspool_driver::StopFlag;
    use rayon::ThreadPoolBuilder;

    use super::super::chebyshev::recur;
    use super::super::double::Double;
    use super::super::hamiltonian::{Charge, Coupling, SpinHamiltonian, neighbours};
    use super::super::random::{ShotRandom, Uniform};
    use super::*;

    fn hamiltonian(num_wires: usize) -> SpinHamiltonian {
        let far = num_wires.checked_sub(1).filter(|&last| last > 1).map(|last| [last, 0]);
        let couplings =
            neighbours(num_wires).chain(far).zip(1..).map(|(wires, v)| Coupling { wires, strength: f64::from(v) });
        let couplings = couplings.collect();
        SpinHamiltonian { drive: 1.5, detuning: 0.3, twist: -0.2, hop: 0.7, couplings, charge: Charge::Magnetic }
    }

    fn random(states: usize) -> Vec<f64> {
        let mut random = ShotRandom::from_seed(3);
        (0..states).map(|_| random.next_double() - 0.5).collect()
    }

    fn product(dims: &[usize]) -> Vec<f64> {
        let shape = Shape::new(dims.iter().copied()).expect("small");
        let hamiltonian = hamiltonian(dims.len());
        let x = random(shape.states());
        let (mut y, mut sum) = (vec![1.0; x.len()], vec![2.0; x.len()]);
        let stop = StopFlag::default();
        let diagonal = hamiltonian.diagonal(&shape, Double::value, &stop).expect("small");
        recur(&hamiltonian.operator(&shape, 1.0, diagonal), &x, &mut y, 3.0, &mut sum, &stop).expect("not stopped");
        assert!(sum.iter().zip(&y).all(|(sum, y)| (sum - 2.0 - 3.0 * y).abs() < 1e-9));
        y
    }

    #[test]
    fn blocks_add_up_to_the_rows_of_the_matrix() {
        let many: [&[usize]; 11] = [
            &[2; 15],
            &[2; 14],
            &[16, 16, 16, 3],
            &[3, 2, 456],
            &[5000],
            &[9, 5000],
            &[2, 3, 4, 5, 6, 7],
            &[2, 2, 3, 9],
            &[2, 2, 2, 2, 12],
            &[2],
            &[1, 3],
        ];
        for dims in many {
            let shape = Shape::new(dims.iter().copied()).expect("small");
            let hamiltonian = hamiltonian(dims.len());
            let elements = hamiltonian.elements(&shape);
            let x = random(shape.states());
            let charge = |index, wire| Charge::Magnetic.of(shape.dims()[wire], shape.level(index, wire));
            for (index, y) in product(dims).into_iter().enumerate() {
                let of_wire = |wire| {
                    let m = charge(index, wire);
                    hamiltonian.detuning * m + hamiltonian.twist * m * m
                };
                let of_pair = |coupling: &Coupling| {
                    coupling.strength * charge(index, coupling.wires[0]) * charge(index, coupling.wires[1])
                };
                let energy: f64 = (0..dims.len()).map(of_wire).sum();
                let energy = energy + hamiltonian.couplings.iter().map(of_pair).sum::<f64>();
                let mut expected = energy * x[index] - 1.0;
                hamiltonian.beside_diagonal(&shape, &elements, index, &mut |column, element| {
                    expected += element.value() * x[column];
                });
                assert!((y - expected).abs() <= 1e-13 * energy.abs().max(1e3), "{dims:?} at {index}: {y} {expected}");
            }
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        for dims in [&[2; 16][..], &[16, 16, 16, 16]] {
            let with = |threads| {
                let pool = ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
                pool.install(|| product(dims))
            };
            let one = with(1);
            let is_equal = |other: &[f64]| one.iter().zip(other).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!([2, 3, 7].into_iter().all(|threads| is_equal(&with(threads))), "{dims:?}");
        }
    }
}
