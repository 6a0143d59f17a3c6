//! One mode of an oscillator: `load`, `drive`, `phase`, `kerr`, `measure`.

use qspool::simulator::{Double, Eigenbasis, Prepared, Register, Shape, SimulationError, Simulator, Step, evolve_wire};
use qspool_driver::{Program, StopFlag};

/// The simulator of one bosonic mode, cut off at 100 quanta.
///
/// `load` n starts anew with n quanta. H is `θ (a + a†)` for `drive`, `φ n` for `phase`, `κ n²` for `kerr`, and
/// `measure` gives n.
pub(super) struct Oscillator;

const LEVELS: u32 = 101;

impl Simulator for Oscillator {
    fn shape(&self, _: &Program) -> Result<Shape, SimulationError> {
        Shape::new([LEVELS as usize])
    }

    fn gate_bytes(&self, _: &Program, _: &Shape) -> u64 {
        let levels = u64::from(LEVELS);
        // A load makes the new state before it drops the old one.
        levels * Register::BYTES + Eigenbasis::solver_bytes(levels) + Eigenbasis::work_bytes(levels, 1)
    }

    fn prepare(&self, program: &Program, stop: &StopFlag) -> Result<Prepared, SimulationError> {
        let shape = self.shape(program)?;
        let mut register = Register::new(shape.clone(), 0)?;
        let mut measured = Vec::new();
        // a + a† has sqrt(n) beside a zero diagonal.
        let beside: Vec<Double> = (1..LEVELS).map(|n| Double::from(f64::from(n)).sqrt()).collect();
        let quadrature = Eigenbasis::tridiagonal(&[Double::default(); LEVELS as usize], &beside, stop)?;
        let number = |level: usize| f64::from(u32::try_from(level).unwrap_or(LEVELS));
        for step in Step::all(program) {
            stop.check()?;
            match step.name() {
                "load" => register = Register::new(shape.clone(), step.atoms(LEVELS - 1)?)?,
                "drive" => {
                    let [theta] = step.params()?;
                    evolve_wire(&quadrature, theta, &mut register, 0, stop)?;
                }
                "phase" => {
                    let [phi] = step.params()?;
                    register.phase(0, |level| Double::product(phi, number(level)));
                }
                "kerr" => {
                    let [kappa] = step.params()?;
                    register.phase(0, |level| Double::product(kappa, number(level) * number(level)));
                }
                "measure" => measured.extend(step.all_wires(1)?),
                "barrier" => {}
                _ => return Err(step.unknown(&["load", "drive", "phase", "kerr", "measure", "barrier"])),
            }
        }
        Ok(Prepared { state: register.into(), measured, drawn_before: 0 })
    }
}
