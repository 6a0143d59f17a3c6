//! A program becomes stages, and stages become the tables of the three boards.

use std::time::Duration;

use qspool_dds_sweeper as sweeper;
use qspool_driver::{Instruction, Problem, Program, WireOrder};
use qspool_line::Param;
use qspool_line::expression::{Expression, Scope};
use qspool_pico::{PRAWN_HZ as HZ, cycles};
use qspool_prawnblaster as clock;
use qspool_prawndo as outputs;

use crate::file::{Gate, SequenceFile, Tone};

/// How long a tone settles before anything is switched on, in cycles: 10 us, of which the sweeper needs 4.
const SETTLE: u32 = 1000;

/// How long the outputs have waited by the next edge, in cycles: 5 us, and what two crystals differ by. As it is below
/// [`SETTLE`], the edge of a stage, which is high for half of its period, is low again when its outputs begin to wait.
const GUARD: u32 = 500;
const DRIFT: u32 = 5000;

/// What happens between two edges of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stage {
    /// The levels of the outputs while it lasts.
    levels: u16,
    /// For how long, in cycles.
    cycles: u32,
    tone: sweeper::Tone,
}

impl Stage {
    /// From its edge to the next one.
    fn period(self) -> u32 {
        self.cycles + SETTLE + GUARD + self.cycles / DRIFT
    }
}

/// A program as the apparatus takes it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sequence {
    pub(crate) clock: clock::Table,
    pub(crate) outputs: outputs::Table,
    pub(crate) sweeper: sweeper::Table,
    /// What the read-out is asked: one shot of the measurements alone.
    pub(crate) readout: Program,
    pub(crate) shots: u32,
    pub(crate) time: Duration,
}

impl Sequence {
    /// The sequence of a program, or the first problem.
    pub(crate) fn of(file: &SequenceFile, program: &Program) -> Result<Self, Problem> {
        if program.num_wires > file.device.num_wires {
            let what = format!("{} wires not allowed; allowed: 1 to {}", program.num_wires, file.device.num_wires);
            return Err(Problem::of_program(what));
        }
        let mut stages = Vec::new();
        let mut measures = Vec::new();
        for (index, instruction) in program.instructions.iter().enumerate() {
            let problem = |what: String| Problem::of_instruction(index, instruction.name.as_str(), what);
            match instruction.name.as_str() {
                "barrier" => {}
                "measure" => measures.push(measure(instruction, file.device.num_wires).map_err(problem)?),
                _ if !measures.is_empty() => {
                    return Err(problem("after a measurement; allowed: measurements at the end".to_owned()));
                }
                name => {
                    let Some(gate) = file.gates.get(name) else {
                        let known = file.gates.keys().map(String::as_str).chain(["measure", "barrier"]);
                        let known = known.collect::<Vec<_>>().join(", ");
                        return Err(problem(format!("unknown instruction; allowed: {known}")));
                    };
                    stages.extend(stage(file, gate, instruction).map_err(problem)?);
                }
            }
        }
        if measures.is_empty() {
            return Err(Problem::of_program("nothing is measured; allowed: at least one measure at the end"));
        }
        let levels = file.outputs.levels(&file.readout.on).map_err(Problem::of_program)?;
        let cycles = cycles::count(file.readout.duration_s, outputs::Row::SHORTEST, HZ).map_err(Problem::of_program)?;
        stages.push(Stage { levels: levels ^ file.safe, cycles, tone: sweeper::Tone::default() });
        let readout = Program {
            instructions: measures,
            num_wires: file.device.num_wires,
            shots: 1,
            wire_order: WireOrder::Sequential,
            seed: None,
        };
        Self::of_stages(file, &stages, readout, program.shots)
    }

    fn of_stages(file: &SequenceFile, stages: &[Stage], readout: Program, shots: u32) -> Result<Self, Problem> {
        // Three rows each, and the two that end the run.
        let most = (outputs::Table::ROWS / 3).min(clock::Table::rows(1));
        if stages.len() > most {
            return Err(Problem::of_program(format!(
                "{} gates not allowed; allowed: at most {}",
                stages.len() - 1,
                most - 1
            )));
        }
        let sum = stages.iter().map(|stage| u64::from(stage.period())).sum();
        let time = cycles::time(sum, HZ);
        if time.as_secs_f64() > file.device.max_duration_s {
            let most = file.device.max_duration_s;
            return Err(Problem::of_program(format!("a sequence of {time:?} not allowed; allowed: at most {most} s")));
        }
        let idle = file.safe;
        let rows = stages.iter().flat_map(|stage| {
            let row = |levels, cycles| outputs::Row { levels, cycles };
            [row(idle, 0), row(idle, SETTLE), row(stage.levels, stage.cycles)]
        });
        let edges = stages.iter().map(|stage| clock::Row::edge(stage.period()));
        let tones = stages.iter().map(|stage| sweeper::Row { tones: vec![stage.tone], cycles: 0 });
        Ok(Self {
            clock: clock::Table { clocks: vec![edges.collect()], measured: Vec::new() },
            outputs: outputs::Table { rows: rows.collect(), last: idle, measured: Vec::new() },
            sweeper: sweeper::Table { rows: tones.collect(), measured: 0 },
            readout,
            shots,
            time,
        })
    }
}

fn measure(instruction: &Instruction, wires: u32) -> Result<Instruction, String> {
    if instruction.wires.iter().any(|wire| *wire >= wires) {
        return Err(format!("wires {:?} not allowed; allowed: 0 to {}", instruction.wires, wires - 1));
    }
    Ok(instruction.clone())
}

/// The stage of a gate; none if it is too short to be told from nothing.
fn stage(file: &SequenceFile, gate: &Gate, instruction: &Instruction) -> Result<Option<Stage>, String> {
    let wires = &instruction.wires;
    if wires.len() != gate.wires || wires.iter().any(|wire| *wire >= file.device.num_wires) {
        let last = file.device.num_wires - 1;
        return Err(format!("wires {wires:?} not allowed; allowed: {} of 0 to {last}", gate.wires));
    }
    let params = &instruction.params;
    Param::check_all(&gate.params, params)?;
    let scope = file.scope(gate, params);
    let seconds = gate.duration_s.value(&scope)?;
    if seconds * f64::from(HZ) < 0.5 {
        return Ok(None);
    }
    let cycles = cycles::count(seconds, outputs::Row::SHORTEST, HZ)?;
    // So that its period is in range, too.
    if cycles > u32::MAX / 2 {
        return Err(format!("{seconds} s not allowed; allowed: at most 21 s"));
    }
    let levels = file.outputs.levels(&gate.on)? ^ file.safe;
    let tone = gate.tone.as_ref().map(|tone| self::tone(tone, &scope)).transpose()?.unwrap_or_default();
    Ok(Some(Stage { levels, cycles, tone }))
}

fn tone(tone: &Tone, scope: &Scope<'_>) -> Result<sweeper::Tone, String> {
    let value = |formula: &Option<Expression>, otherwise: f64| {
        formula.as_ref().map_or(Ok(otherwise), |formula| formula.value(scope))
    };
    let (amplitude, degrees) = (value(&tone.amplitude, 1.0)?, value(&tone.phase_deg, 0.0)?);
    sweeper::Tone::new(tone.hz.value(scope)?, amplitude, degrees, sweeper::Reference::PICO.system_clock())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_is_low_again_when_the_outputs_wait_for_the_next_one() {
        for cycles in [outputs::Row::SHORTEST, 999, 1000, 1001, 5000, 100_000_000, u32::MAX / 2] {
            let stage = Stage { levels: 0, cycles, tone: sweeper::Tone::default() };
            let high = clock::Row::edge(stage.period()).cycles;
            assert!(high < SETTLE + cycles, "{cycles}");
            assert!(2 * high > SETTLE + cycles, "the next edge comes before the outputs wait: {cycles}");
        }
    }
}
