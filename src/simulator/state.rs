//! What the gates of a program leave, whatever kind of state it is.

use num_complex::Complex64;

use super::fermi::FermionState;
use super::register::{Register, Shape};

/// A state at the moment of sampling.
#[derive(Debug, Clone)]
pub enum State {
    /// An amplitude for each state of a register.
    Register(Register),
    /// Amplitudes for the states with a fixed number of fermions.
    Fermions(Box<FermionState>),
}

impl From<Register> for State {
    fn from(register: Register) -> Self {
        Self::Register(register)
    }
}

impl From<FermionState> for State {
    fn from(fermions: FermionState) -> Self {
        Self::Fermions(Box::new(fermions))
    }
}

impl State {
    /// The levels of its wires.
    pub fn shape(&self) -> &Shape {
        match self {
            Self::Register(register) => register.shape(),
            Self::Fermions(fermions) => fermions.shape(),
        }
    }

    /// The number of amplitudes; all others are zero.
    pub fn states(&self) -> usize {
        match self {
            Self::Register(register) => register.shape().states(),
            Self::Fermions(fermions) => fermions.states(),
        }
    }

    /// Hands the amplitudes to `act(index, amplitude)` in the order of the indices.
    pub fn for_each(&self, mut act: impl FnMut(usize, Complex64)) {
        match self {
            Self::Register(register) => {
                register.amplitudes().iter().enumerate().for_each(|(index, &amplitude)| act(index, amplitude));
            }
            Self::Fermions(fermions) => fermions.for_each(act),
        }
    }

    /// The amplitude of each index of the shape, the zeros included: 16 bytes for each, however few are not zero.
    pub fn amplitudes(&self) -> Vec<Complex64> {
        let mut amplitudes = vec![Complex64::ZERO; self.shape().states()];
        self.for_each(|index, amplitude| amplitudes[index] = amplitude);
        amplitudes
    }

    /// The squared norm: 1 but for rounding.
    pub fn norm_sqr(&self) -> f64 {
        let mut norm = 0.0;
        self.for_each(|_, amplitude| norm += amplitude.norm_sqr());
        norm
    }
}
