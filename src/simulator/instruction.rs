//! Reading the instructions of a program, with errors that name them.

use qspool_driver::{Instruction, Program};

use super::error::{Problem, SimulationError};
use super::register::Shape;

/// One instruction and its place in the program.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    index: usize,
    instruction: &'a Instruction,
}

/// The largest size of a parameter, far above what any schema allows: beyond it phases have no meaning left.
const MAX_PARAM: f64 = 1e12;

/// Longest piece of an unknown name that is repeated in an error.
const SHOWN_CHARACTERS: usize = 40;

impl<'a> Step<'a> {
    /// The instructions of `program` in order.
    pub fn all(program: &'a Program) -> impl DoubleEndedIterator<Item = Self> + Clone {
        program.instructions.iter().enumerate().map(|(index, instruction)| Self { index, instruction })
    }

    /// The name of the instruction.
    pub fn name(&self) -> &'a str {
        &self.instruction.name
    }

    /// Its `N` parameters.
    pub fn params<const N: usize>(&self) -> Result<[f64; N], SimulationError> {
        let params = self.all_params(N)?;
        <[f64; N]>::try_from(params).map_err(|_| self.fail(Problem::ParamCount { found: params.len(), allowed: N }))
    }

    /// Its `count` parameters.
    pub fn all_params(&self, count: usize) -> Result<&'a [f64], SimulationError> {
        let found = self.instruction.params.as_slice();
        if found.len() != count {
            return Err(self.fail(Problem::ParamCount { found: found.len(), allowed: count }));
        }
        match found.iter().find(|value| value.is_nan() || value.abs() > MAX_PARAM) {
            Some(&value) => Err(self.fail(Problem::Param { value, limit: MAX_PARAM })),
            None => Ok(found),
        }
    }

    /// The number of atoms that a `load` asks for, from 1 to `limit`.
    pub fn atoms(&self, limit: u32) -> Result<usize, SimulationError> {
        let [value] = self.params()?;
        let is_whole = value.fract() == 0.0 && (1.0..=f64::from(limit)).contains(&value);
        if !is_whole {
            return Err(self.fail(Problem::Atoms { value, limit }));
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and within 1..=limit")]
        let atoms = value as usize;
        Ok(atoms)
    }

    /// The wires as they stand, looked at by nobody.
    pub fn raw_wires(&self) -> &'a [u32] {
        &self.instruction.wires
    }

    /// Its `N` wires, each in a register of `num_wires`.
    pub fn wires<const N: usize>(&self, num_wires: usize) -> Result<[usize; N], SimulationError> {
        let found = self.raw_wires();
        let wires = <[u32; N]>::try_from(found)
            .map_err(|_| self.fail(Problem::WireCount { found: found.len(), allowed: N }))?;
        let mut checked = [0; N];
        for (target, wire) in checked.iter_mut().zip(wires) {
            *target = self.wire(wire, num_wires)?;
        }
        Ok(checked)
    }

    /// All its wires, however many, each in a register of `num_wires`.
    pub fn all_wires(&self, num_wires: usize) -> Result<Vec<usize>, SimulationError> {
        self.raw_wires().iter().map(|&wire| self.wire(wire, num_wires)).collect()
    }

    fn wire(&self, wire: u32, num_wires: usize) -> Result<usize, SimulationError> {
        let checked = usize::try_from(wire).ok().filter(|&wire| wire < num_wires);
        checked.ok_or_else(|| self.fail(Problem::Wire { wire, num_wires }))
    }

    /// The error for an instruction that is none of `allowed`.
    pub fn unknown(&self, allowed: &[&str]) -> SimulationError {
        self.fail(Problem::Unknown { allowed: allowed.join(", ") })
    }

    /// The error that this instruction cannot be carried out.
    pub fn fail(&self, problem: Problem) -> SimulationError {
        let name = self.name().chars().take(SHOWN_CHARACTERS).collect();
        SimulationError::Instruction { index: self.index, name, problem }
    }
}

/// The wires of all `measure` instructions of `program`, in order; a wire that is measured twice appears twice.
pub(super) fn measured_wires(program: &Program, shape: &Shape) -> Result<Vec<usize>, SimulationError> {
    let mut measured = Vec::new();
    for step in Step::all(program).filter(|step| step.name() == "measure") {
        measured.extend(step.all_wires(shape.num_wires())?);
    }
    Ok(measured)
}
