//! Gates on fermionic modes: a register whose wires have two levels, empty and occupied.
//!
//! Jordan-Wigner: `c_j` carries the sign `(-1)^(number of occupied modes before j)`, mode 0 comes first.

use num_complex::Complex64;

use super::double::Double;
use super::error::{Problem, SimulationError};
use super::register::{Register, Shape};

/// How far from 1 a squared norm may be before the state counts as no state: numpy's tolerance for probabilities.
const NORM_TOLERANCE: f64 = 1.490_116_119_384_765_6e-8;

/// `-1` if the number of occupied modes between the two strides (neither included) is odd, else `1`.
fn sign(index: usize, slow: usize, fast: usize) -> f64 {
    let between = index & (slow - 1) & !(2 * fast - 1);
    if between.count_ones() % 2 == 1 { -1.0 } else { 1.0 }
}

/// Applies `c†_mode`: puts a fermion into an empty mode.
///
/// `O(states)`, in place. Refuses a mode that may be occupied: the squared norm would no longer be 1 to 1.5e-8.
pub(crate) fn create(register: &mut Register, mode: usize) -> Result<(), Problem> {
    let (shape, psi) = register.parts_mut();
    let (bit, end) = (shape.stride(mode), shape.states());
    let mut occupation = 0.0;
    for index in (0..end).filter(|index| index & bit == 0) {
        occupation += psi[index | bit].norm_sqr();
        psi[index | bit] = psi[index] * sign(index, end, bit);
        psi[index] = 0.0.into();
    }
    let is_empty = (register.norm_sqr() - 1.0).abs() <= NORM_TOLERANCE;
    if is_empty { Ok(()) } else { Err(Problem::Occupied { mode, occupation }) }
}

/// Applies `exp(-iθ (c†_p c_q + c†_q c_p))` to two different modes.
///
/// With exactly one of the two occupied, `x' = cos θ x - i σ sin θ y` and the same for `y`, where σ is the sign of the
/// occupied modes between them; otherwise nothing happens. `O(states)`, in place, exact at any angle.
pub(crate) fn hop(register: &mut Register, [p, q]: [usize; 2], theta: f64) {
    let turn = Double::from(theta).phase();
    let (shape, psi) = register.parts_mut();
    let (slow, fast) = (shape.stride(p.min(q)), shape.stride(p.max(q)));
    for index in (0..shape.states()).filter(|index| index & slow == 0 && index & fast != 0) {
        let other = index ^ slow ^ fast;
        let go = Complex64::new(0.0, turn.im * sign(index, slow, fast));
        (psi[index], psi[other]) = (psi[index] * turn.re + psi[other] * go, psi[other] * turn.re + psi[index] * go);
    }
}

/// The register of `modes` modes.
pub(crate) fn modes(modes: usize) -> Result<Shape, SimulationError> {
    Shape::new(std::iter::repeat_n(2, modes))
}
