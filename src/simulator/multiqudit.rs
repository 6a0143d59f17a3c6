//! Several collective spins: gates on single wires and pairs, and on the open chain of all wires.

use qspool_driver::{Program, StopFlag};

use super::double::Double;
use super::error::SimulationError;
use super::hamiltonian::{Coupling, SpinHamiltonian, neighbours};
use super::instruction::Step;
use super::register::{Shape, float};
use super::registry::{Simulator, prepare_in_order};
use super::sampling::Prepared;
use super::spin::{MAX_ATOMS, SpinGates, magnetic_number};

/// The simulator of one spin of length N/2 per wire.
///
/// All `load`s are read before anything else, the last one on a wire wins; without one a wire has N = 1.
pub(super) struct Multiqudit;

const KNOWN: [&str; 9] =
    ["load", "rlx", "rly", "rlz", "rlz2", "rlxly", "rlzlz", "multiqudit_full", "barrier or measure"];

/// What one instruction does.
enum Gate {
    Nothing,
    Wire {
        wire: usize,
        terms: [f64; 3],
    },
    WireY {
        wire: usize,
        theta: f64,
    },
    Exchange {
        wires: [usize; 2],
        strength: f64,
    },
    /// `exp(-iJ (L+ L- + L- L+))` with both on one wire: `2J (s(s+1) - m(m+1))`.
    ExchangeWithItself {
        wire: usize,
        strength: f64,
    },
    Register(SpinHamiltonian),
}

impl Gate {
    fn of(step: Step, shape: &Shape) -> Result<Self, SimulationError> {
        let num_wires = shape.num_wires();
        let on_wire = |terms: [f64; 3]| Ok(Self::Wire { wire: step.wires::<1>(num_wires)?[0], terms });
        match step.name() {
            "load" | "barrier" | "measure" => Ok(Self::Nothing),
            "rlx" => step.params().and_then(|[omega]| on_wire([omega, 0.0, 0.0])),
            "rlz" => step.params().and_then(|[delta]| on_wire([0.0, delta, 0.0])),
            "rlz2" => step.params().and_then(|[chi]| on_wire([0.0, 0.0, chi])),
            "rly" => {
                let [theta] = step.params()?;
                Ok(Self::WireY { wire: step.wires::<1>(num_wires)?[0], theta })
            }
            "rlxly" => {
                let [strength] = step.params()?;
                if step.raw_wires().len() != 2 {
                    return Ok(Self::Register(SpinHamiltonian { hop: strength, ..SpinHamiltonian::default() }));
                }
                match step.wires(num_wires)? {
                    [a, b] if a == b => Ok(Self::ExchangeWithItself { wire: a, strength }),
                    wires => Ok(Self::Exchange { wires, strength }),
                }
            }
            "rlzlz" => {
                let [strength] = step.params()?;
                if step.raw_wires().len() != 2 {
                    return Ok(Self::Register(ising(neighbours(num_wires), strength)));
                }
                match step.wires(num_wires)? {
                    [a, b] if a == b => Ok(Self::Wire { wire: a, terms: [0.0, 0.0, strength] }),
                    wires => Ok(Self::Register(ising([wires], strength))),
                }
            }
            "multiqudit_full" => {
                let [drive, detuning, twist, hop, coupling] = step.params()?;
                let ising = ising(neighbours(num_wires), coupling);
                Ok(Self::Register(SpinHamiltonian { drive, detuning, twist, hop, ..ising }))
            }
            _ => Err(step.unknown(&KNOWN)),
        }
    }
}

/// `J Σ Lz_a Lz_b` over these pairs.
fn ising(pairs: impl IntoIterator<Item = [usize; 2]>, strength: f64) -> SpinHamiltonian {
    let coupling = |wires| Coupling { wires, strength };
    SpinHamiltonian { couplings: pairs.into_iter().map(coupling).collect(), ..SpinHamiltonian::default() }
}

impl Simulator for Multiqudit {
    fn shape(&self, program: &Program) -> Result<Shape, SimulationError> {
        // Refuses a register of endless wires before a list of them is made.
        let plain = Shape::new((0..program.num_wires).map(|_| 2))?;
        let mut dims = plain.dims().to_vec();
        for step in Step::all(program).filter(|step| step.name() == "load") {
            let [wire] = step.wires(dims.len())?;
            dims[wire] = step.atoms(MAX_ATOMS)? + 1;
        }
        Shape::new(dims)
    }

    fn gate_bytes(&self, program: &Program, shape: &Shape) -> u64 {
        let gates: Vec<Gate> = Step::all(program).filter_map(|step| Gate::of(step, shape).ok()).collect();
        let pairs = gates.iter().filter_map(|gate| match gate {
            Gate::Exchange { wires, .. } => Some(*wires),
            _ => None,
        });
        let global = gates.iter().map(|gate| match gate {
            Gate::Register(hamiltonian) => hamiltonian.bytes(shape),
            _ => 0,
        });
        SpinGates::wire_bytes(shape)
            .saturating_add(SpinGates::exchange_bytes(shape, pairs))
            .saturating_add(global.max().unwrap_or(0))
    }

    fn prepare(&self, program: &Program, stop: &StopFlag) -> Result<Prepared, SimulationError> {
        let mut gates = SpinGates::default();
        let (mut register, measured) = prepare_in_order(program, self.shape(program)?, stop, |step, register| {
            match Gate::of(step, register.shape())? {
                Gate::Nothing => Ok(()),
                Gate::Wire { wire, terms } => gates.twist(register, wire, terms, stop),
                Gate::WireY { wire, theta } => gates.rotate_y(register, wire, theta, stop),
                Gate::Exchange { wires, strength } => gates.exchange(register, wires, strength, stop),
                Gate::ExchangeWithItself { wire, strength } => {
                    let dim = register.shape().dims()[wire];
                    gates.phase(register, wire, |level| Double::product(strength, exchange_with_itself(dim, level)));
                    Ok(())
                }
                Gate::Register(hamiltonian) => hamiltonian.evolve(register, &mut gates, stop),
            }
        })?;
        gates.finish(&mut register, stop)?;
        Ok(Prepared { state: register.into(), measured, drawn_before: 0 })
    }
}

/// `2 (s(s+1) - m(m+1))` at `level`.
fn exchange_with_itself(dim: usize, level: usize) -> f64 {
    let (s, m) = (0.5 * float(dim - 1), magnetic_number(dim, level));
    2.0 * (s * (s + 1.0) - m * (m + 1.0))
}
