//! The four simulators: programs in, shots out. No clock, no files, no randomness but what is handed in.
//!
//! A file per simulator says what acts; the other files are the kernels, which say how. `docs/backends.md` shows how to
//! add one.

mod bisection;
mod bounds;
mod cache;
mod chebyshev;
mod double;
mod eigen;
mod error;
mod fermi;
mod fermions;
mod hamiltonian;
mod hopping;
mod hubbard;
mod instruction;
mod inverse;
mod mirrored;
mod multiqudit;
mod product;
mod propagator;
mod qubits;
mod random;
mod register;
mod registry;
mod rotation;
mod rydberg;
mod sampling;
mod side;
mod singlequdit;
mod spin;
mod state;
mod strings;
mod symmetric;
mod tridiagonal;
mod vectors;

pub use double::Double;
pub use eigen::Eigenbasis;
pub use error::{Problem, SimulationError};
pub use fermi::FermionState;
pub use instruction::Step;
pub use random::{ShotRandom, Uniform};
pub use register::{Register, Shape};
pub use registry::{SIMULATORS, Simulator, simulator};
pub use rydberg::rydberg_products;
pub use sampling::Prepared;
pub use spin::evolve_wire;
pub use state::State;
