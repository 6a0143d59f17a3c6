//! One collective spin: `load`, `rlx`, `rly`, `rlz`, `rlz2`, `sq_full`, `OAT`.

use qspool_driver::{Program, StopFlag};

use super::error::SimulationError;
use super::instruction::Step;
use super::register::{Register, Shape};
use super::registry::Simulator;
use super::sampling::Prepared;
use super::spin::{MAX_ATOMS, SpinGates};

/// The simulator of one spin of length N/2.
///
/// `load` makes a new spin, wherever it stands, and `measure` samples at its place; the last `measure` counts.
pub(super) struct Singlequdit;

const KNOWN: [&str; 9] = ["load", "rlx", "rly", "rlz", "rlz2", "sq_full", "OAT", "barrier", "measure"];

impl Simulator for Singlequdit {
    fn shape(&self, program: &Program) -> Result<Shape, SimulationError> {
        let atoms = Seen::of(program).load.map_or(Ok(1), |load| load.atoms(MAX_ATOMS))?;
        Shape::new([atoms + 1])
    }

    fn gate_bytes(&self, program: &Program, shape: &Shape) -> u64 {
        SpinGates::wire_bytes(shape).saturating_add(program.instructions.len() as u64 * 64)
    }

    fn prepare(&self, program: &Program, stop: &StopFlag) -> Result<Prepared, SimulationError> {
        let seen = Seen::of(program);
        let mut register = Register::new(self.shape(program)?, 0)?;
        let mut gates = SpinGates::default();
        for step in seen.steps {
            stop.check()?;
            let terms = match step.name() {
                "rlx" => step.params().map(|[omega]| [omega, 0.0, 0.0]),
                "rlz" => step.params().map(|[delta]| [0.0, delta, 0.0]),
                "rlz2" => step.params().map(|[chi]| [0.0, 0.0, chi]),
                "sq_full" => step.params(),
                "OAT" => step.params().map(|[chi, delta, omega]| [omega, delta, chi]),
                "rly" => {
                    let [theta] = step.params()?;
                    gates.rotate_y(&mut register, 0, theta, stop)?;
                    continue;
                }
                "barrier" | "measure" => continue,
                _ => Err(step.unknown(&KNOWN)),
            };
            gates.twist(&mut register, 0, terms?, stop)?;
        }
        gates.finish(&mut register, stop)?;
        let measured = if seen.measurements > 0 { vec![0] } else { Vec::new() };
        let drawn_before = seen.measurements.saturating_sub(1) * u64::from(program.shots);
        Ok(Prepared { state: register.into(), measured, drawn_before })
    }
}

/// The part of a program that the last measurement sees: what stands between the last `load` before it and itself.
struct Seen<'a> {
    load: Option<Step<'a>>,
    steps: Vec<Step<'a>>,
    measurements: u64,
}

impl<'a> Seen<'a> {
    fn of(program: &'a Program) -> Self {
        let mut steps: Vec<Step> = Step::all(program).collect();
        let measurements = steps.iter().filter(|step| step.name() == "measure").count() as u64;
        if let Some(last) = steps.iter().rposition(|step| step.name() == "measure") {
            steps.truncate(last);
        }
        let load = steps.iter().rposition(|step| step.name() == "load");
        let steps_after = steps.split_off(load.map_or(0, |load| load + 1));
        Self { load: load.map(|load| steps[load]), steps: steps_after, measurements }
    }
}
