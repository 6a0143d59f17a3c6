//! Rydberg atoms in a row: `rlx`, `rlz`, `rydberg_block` (also under the name `rydberg_blockade`), `rydberg_full` on qubits.

use qspool_driver::{Program, StopFlag};

use super::error::SimulationError;
use super::hamiltonian::{Charge, Coupling, SpinHamiltonian};
use super::instruction::Step;
use super::register::{Shape, float};
use super::registry::{Simulator, prepare_in_order};
use super::sampling::Prepared;
use super::spin::SpinGates;

/// The simulator of one qubit per wire; level 1 is the excited state.
pub(super) struct Rydberg;

const KNOWN: [&str; 7] = ["rlx", "rlz", "rydberg_block", "rydberg_blockade", "rydberg_full", "barrier", "measure"];

impl Simulator for Rydberg {
    fn shape(&self, program: &Program) -> Result<Shape, SimulationError> {
        Shape::new((0..program.num_wires).map(|_| 2))
    }

    fn gate_bytes(&self, program: &Program, shape: &Shape) -> u64 {
        let global = Step::all(program).filter_map(|step| hamiltonian(step, shape.num_wires()).ok().flatten());
        global
            .map(|hamiltonian| hamiltonian.bytes(shape))
            .max()
            .unwrap_or(0)
            .saturating_add(SpinGates::wire_bytes(shape))
    }

    fn prepare(&self, program: &Program, stop: &StopFlag) -> Result<Prepared, SimulationError> {
        let mut gates = SpinGates::default();
        let (mut register, measured) = prepare_in_order(program, self.shape(program)?, stop, |step, register| {
            let num_wires = register.shape().num_wires();
            if let Some(hamiltonian) = hamiltonian(step, num_wires)? {
                return hamiltonian.evolve(register, &mut gates, stop);
            }
            let terms = match step.name() {
                "rlx" => step.params().map(|[omega]| [omega, 0.0, 0.0]),
                "rlz" => step.params().map(|[delta]| [0.0, delta, 0.0]),
                _ => Err(step.unknown(&KNOWN)),
            };
            let [wire] = step.wires(num_wires)?;
            gates.twist(register, wire, terms?, stop)
        })?;
        gates.finish(&mut register, stop)?;
        Ok(Prepared { state: register.into(), measured, drawn_before: 0 })
    }
}

/// How many products of the Hamiltonian with a vector the gates on all wires of a program take, by which benches tell how
/// much memory it moves: a product reads or writes 48 bytes for each state.
pub fn rydberg_products(program: &Program, stop: &StopFlag) -> Result<f64, SimulationError> {
    let shape = Rydberg.shape(program)?;
    let global = Step::all(program).filter_map(|step| hamiltonian(step, shape.num_wires()).transpose());
    global.map(|hamiltonian| hamiltonian?.products(&shape, stop)).sum()
}

/// The Hamiltonian of a gate on all wires; none for other instructions.
fn hamiltonian(step: Step, num_wires: usize) -> Result<Option<SpinHamiltonian>, SimulationError> {
    let [drive, detuning, blockade] = match step.name() {
        "rydberg_block" | "rydberg_blockade" => step.params().map(|[blockade]| [0.0, 0.0, blockade])?,
        "rydberg_full" => step.params()?,
        _ => return Ok(None),
    };
    let couplings = van_der_waals(num_wires, blockade);
    Ok(Some(SpinHamiltonian { drive, detuning, couplings, charge: Charge::Level, ..Default::default() }))
}

/// `φ Σ_{i<j} n_i n_j / (j-i)^6`.
fn van_der_waals(num_wires: usize, strength: f64) -> Vec<Coupling> {
    let pairs = (0..num_wires).flat_map(|j| (0..j).map(move |i| [i, j]));
    let coupling = |wires: [usize; 2]| {
        let distance = float(wires[1] - wires[0]);
        Coupling { wires, strength: strength / distance.powi(6) }
    };
    pairs.map(coupling).collect()
}
