//! Fermions in tweezers: `load`, `fhop`, `fint`, `fphase` on eight modes, two per site.

use qspool_driver::{Program, StopFlag};

use super::double::Double;
use super::error::{Problem, SimulationError};
use super::fermi;
use super::instruction::Step;
use super::register::{Register, Shape, float};
use super::registry::{Simulator, prepare_in_order};
use super::sampling::Prepared;

/// The simulator of four sites with two modes each; always eight modes, whatever the program says.
pub(super) struct Fermions;

const MODES: usize = 8;

impl Simulator for Fermions {
    fn shape(&self, _: &Program) -> Result<Shape, SimulationError> {
        fermi::modes(MODES)
    }

    fn gate_bytes(&self, _: &Program, _: &Shape) -> u64 {
        1024
    }

    fn prepare(&self, program: &Program, stop: &StopFlag) -> Result<Prepared, SimulationError> {
        prepare_in_order(program, self.shape(program)?, stop, act)
    }
}

fn act(step: Step, register: &mut Register) -> Result<(), SimulationError> {
    match step.name() {
        "load" => {
            let [mode] = step.wires(MODES)?;
            step.params::<0>()?;
            fermi::create(register, mode).map_err(|problem| step.fail(problem))?;
        }
        "fhop" => {
            let [theta] = step.params()?;
            let [a, b, c, d] = step.wires(MODES)?;
            // Two pairs that share a mode do not commute, so their sum is no product of two hops.
            if a == b || a == c || a == d || b == c || b == d || c == d {
                return Err(step.fail(Problem::WiresRepeat { wires: step.raw_wires().to_vec() }));
            }
            fermi::hop(register, [a, c], theta);
            fermi::hop(register, [b, d], theta);
        }
        "fint" => {
            let [strength] = step.params()?;
            for site in 0..MODES / 2 {
                register.phase_pair([2 * site, 2 * site + 1], |up, down| Double::product(strength, float(up * down)));
            }
        }
        "fphase" => {
            let [strength] = step.params()?;
            for mode in step.all_wires(MODES)? {
                register.phase(mode, |occupied| Double::product(strength, float(occupied)));
            }
        }
        _ => return Err(step.unknown(&["load", "fhop", "fint", "fphase", "barrier", "measure"])),
    }
    Ok(())
}
