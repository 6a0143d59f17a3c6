//! What a simulator is, and the list of all.

use qspool_driver::{Outcome, Program, StopFlag};

use super::error::SimulationError;
use super::fermions::Fermions;
use super::instruction::{Step, measured_wires};
use super::multiqudit::Multiqudit;
use super::random::Uniform;
use super::register::{Register, Shape};
use super::rydberg::Rydberg;
use super::sampling::Prepared;
use super::singlequdit::Singlequdit;

/// All simulators, by the name that a schema gives. A new one is one file and one line here.
pub const SIMULATORS: [(&str, &dyn Simulator); 4] =
    [("fermions", &Fermions), ("multiqudit", &Multiqudit), ("rydberg", &Rydberg), ("singlequdit", &Singlequdit)];

/// The simulator of this name.
pub fn simulator(name: &str) -> Option<&'static dyn Simulator> {
    SIMULATORS.iter().find(|(known, _)| *known == name).map(|(_, simulator)| *simulator)
}

/// Runs programs on a register that it keeps in memory.
///
/// A simulator says which register a program needs, what its gates take beside it, and how they act; the rest is the
/// same for all. It takes any program without panic, also one that no schema has checked.
pub trait Simulator: Send + Sync {
    /// The register that `program` is sampled from. Cheap: no state is made.
    fn shape(&self, program: &Program) -> Result<Shape, SimulationError>;

    /// The largest number of amplitudes that the state has: one per state of the register, unless the simulator knows of
    /// states that stay empty.
    fn states(&self, _program: &Program, shape: &Shape) -> u64 {
        shape.states() as u64
    }

    /// Bytes that the gates of `program` take at their peak beside the state; no arithmetic may overflow.
    fn gate_bytes(&self, program: &Program, shape: &Shape) -> u64;

    /// Runs `program` up to the moment of sampling. Looks at `stop` at least every 100 ms where it can.
    fn prepare(&self, program: &Program, stop: &StopFlag) -> Result<Prepared, SimulationError>;

    /// Runs `program` and draws its shots from `random`.
    ///
    /// The same stream gives the same outcome, whatever else the machine does.
    fn run(&self, program: &Program, random: &mut dyn Uniform, stop: &StopFlag) -> Result<Outcome, SimulationError> {
        self.prepare(program, stop)?.sample(program.shots, random, stop)
    }

    /// Bytes that [`run`](Self::run) takes at its peak, with the outcome; no state is made to find out.
    ///
    /// A program that will be refused before it takes any memory counts as 0.
    fn memory(&self, program: &Program) -> u64 {
        let shape = match self.shape(program) {
            Ok(shape) => shape,
            Err(SimulationError::RegisterTooLarge { .. }) => return u64::MAX,
            Err(_) => return 0,
        };
        let states = self.states(program, &shape);
        let values = program.measured_values() as u64;
        // The indices of the states that are not empty.
        let indices = if states < shape.states() as u64 { states.saturating_mul(8) } else { 0 };
        let evolving = states.saturating_mul(16).saturating_add(self.gate_bytes(program, &shape));
        let sampling = Prepared::bytes(states, program.shots, values).saturating_add(indices);
        evolving.saturating_add(4096).max(sampling)
    }

    /// The largest number of digits of one measured value.
    fn value_digits(&self, program: &Program) -> u64 {
        let digits = |level: usize| u64::from(level.checked_ilog10().unwrap_or(0)) + 1;
        self.shape(program).map_or(1, |shape| shape.dims().iter().map(|dim| digits(dim - 1)).max().unwrap_or(1))
    }
}

/// Lets `act` carry out the instructions in their order; returns the register and the wires that are measured.
///
/// `measure` and `barrier` never reach `act`: all gates act before sampling, wherever they stand.
pub(super) fn prepare_in_order(
    program: &Program,
    shape: Shape,
    stop: &StopFlag,
    mut act: impl FnMut(Step, &mut Register) -> Result<(), SimulationError>,
) -> Result<(Register, Vec<usize>), SimulationError> {
    let measured = measured_wires(program, &shape)?;
    let mut register = Register::new(shape, 0)?;
    for step in Step::all(program) {
        stop.check()?;
        if !matches!(step.name(), "measure" | "barrier") {
            act(step, &mut register)?;
        }
    }
    Ok((register, measured))
}
