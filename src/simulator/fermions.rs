//! Fermions in tweezers: `load`, `fhop`, `fint`, `fphase`, `frx`, `fry`, `frz` on modes, two per site.

use qspool_driver::{Program, StopFlag};

use super::double::Double;
use super::error::{Problem, SimulationError};
use super::fermi;
use super::instruction::Step;
use super::qubits::QubitGate;
use super::register::{Register, Shape, float};
use super::registry::{Simulator, prepare_in_order};
use super::sampling::Prepared;

/// The simulator of sites with two modes each: four sites, or as many as a program has wires for.
pub(super) struct Fermions;

/// The modes that there are at least, however few a program speaks of.
const MODES: usize = 8;

impl Simulator for Fermions {
    fn shape(&self, program: &Program) -> Result<Shape, SimulationError> {
        fermi::modes(MODES.max((program.num_wires as usize).next_multiple_of(2)))
    }

    fn gate_bytes(&self, _: &Program, shape: &Shape) -> u64 {
        // Phases by number of fermions; the eigenvectors of four modes.
        4096 + 16 * shape.num_wires() as u64
    }

    fn prepare(&self, program: &Program, stop: &StopFlag) -> Result<Prepared, SimulationError> {
        prepare_in_order(program, self.shape(program)?, stop, |step, register| act(step, register, stop))
    }
}

const KNOWN: [&str; 9] = ["load", "fhop", "fint", "fphase", "frx", "fry", "frz", "barrier", "measure"];

/// Two different modes.
fn two_modes(step: Step, modes: usize) -> Result<[usize; 2], SimulationError> {
    let pair: [usize; 2] = step.wires(modes)?;
    if pair[0] == pair[1] {
        return Err(step.fail(Problem::WiresRepeat { wires: step.raw_wires().to_vec() }));
    }
    Ok(pair)
}

fn act(step: Step, register: &mut Register, stop: &StopFlag) -> Result<(), SimulationError> {
    let modes = register.shape().num_wires();
    match step.name() {
        "load" => {
            let [mode] = step.wires(modes)?;
            step.params::<0>()?;
            fermi::create(register, mode).map_err(|problem| step.fail(problem))?;
        }
        "fhop" => {
            let [theta] = step.params()?;
            let [a, b, c, d] = step.wires(modes)?;
            fermi::hop(register, &[[a, c], [b, d]], theta, stop)?;
        }
        "fint" => {
            let [strength] = step.params()?;
            // Each even bit is the second mode of a site, the bit above it the first one.
            let doubly = |index: usize| (index & (index >> 1) & (usize::MAX / 3)).count_ones() as usize;
            fermi::count_phase(register, strength, modes / 2, doubly);
        }
        "fphase" => {
            let [strength] = step.params()?;
            let bits: Vec<usize> =
                step.all_wires(modes)?.into_iter().map(|mode| register.shape().stride(mode)).collect();
            // A mode that is listed twice counts twice.
            fermi::count_phase(register, strength, bits.len(), |index| {
                bits.iter().filter(|bit| index & **bit != 0).count()
            });
        }
        // φ (c†_a c_b + c†_b c_a), i φ (c†_b c_a - c†_a c_b), φ (n_a - n_b).
        "frx" => {
            let ([phi], [a, b]) = (step.params()?, two_modes(step, modes)?);
            fermi::hop(register, &[[a, b]], phi, stop)?;
        }
        "fry" => {
            let ([phi], pair) = (step.params()?, two_modes(step, modes)?);
            let turn = Double::from(phi).phase();
            fermi::mix(register, pair, QubitGate::real([[turn.re, turn.im], [-turn.im, turn.re]]), stop)?;
        }
        "frz" => {
            let ([phi], [a, b]) = (step.params()?, two_modes(step, modes)?);
            register.phase(a, |occupied| Double::product(phi, float(occupied)));
            register.phase(b, |occupied| Double::product(-phi, float(occupied)));
        }
        _ => return Err(step.unknown(&KNOWN)),
    }
    Ok(())
}
