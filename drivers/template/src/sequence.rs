//! How instructions become what the box does.
//!
//! | instruction | wires | params | the box |
//! |---|---|---|---|
//! | `flash` | a lamp | its time in s, 0.001 to 1 | `lamp <wire> <ms>` |
//! | `measure` | a detector | none | `light <wire>` after the shot: the light that it has seen |
//! | `barrier` | any | none | nothing |

use std::time::Duration;

use qspool_driver::{Instruction, Problem, Program, RunPlan};

/// The instructions that the box takes.
pub(crate) const INSTRUCTIONS: [&str; 3] = ["flash", "measure", "barrier"];

/// How many lamps it has; each has its detector.
pub(crate) const LAMPS: u32 = 2;

/// The most light that a detector can tell.
pub(crate) const LARGEST: i64 = 1_000_000;

const SHORTEST_S: f64 = 0.001;
const LONGEST_S: f64 = 1.0;

/// A lamp that is on for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flash {
    pub(crate) lamp: u32,
    pub(crate) time: Duration,
}

impl Flash {
    /// As the box is told.
    pub(crate) fn line(&self) -> String {
        format!("lamp {} {}", self.lamp, self.time.as_millis())
    }
}

/// What the box does in every shot, and what is read afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sequence {
    pub(crate) flashes: Vec<Flash>,
    pub(crate) measured: Vec<u32>,
    pub(crate) shots: u32,
}

impl Sequence {
    /// The sequence of a program, or the first problem.
    pub(crate) fn of(program: &Program) -> Result<Self, Problem> {
        let mut sequence = Self { flashes: Vec::new(), measured: Vec::new(), shots: program.shots };
        for (index, instruction) in program.instructions.iter().enumerate() {
            let problem = |what: String| Problem::of_instruction(index, instruction.name.as_str(), what);
            match instruction.name.as_str() {
                "flash" => sequence.flashes.push(flash(instruction).map_err(problem)?),
                "measure" => sequence.measured.push(wire(instruction).map_err(problem)?),
                "barrier" => {}
                _ => return Err(problem(format!("unknown instruction; allowed: {}", INSTRUCTIONS.join(", ")))),
            }
        }
        Ok(sequence)
    }

    /// How long it takes.
    pub(crate) fn plan(&self) -> RunPlan {
        let per_shot = self.flashes.iter().map(|flash| flash.time).sum();
        RunPlan { per_shot, total: per_shot * self.shots }
    }
}

fn wire(instruction: &Instruction) -> Result<u32, String> {
    match instruction.wires[..] {
        [wire] if wire < LAMPS => Ok(wire),
        _ => Err(format!("wires {:?} not allowed; allowed: one of 0 to {}", instruction.wires, LAMPS - 1)),
    }
}

fn flash(instruction: &Instruction) -> Result<Flash, String> {
    let lamp = wire(instruction)?;
    match instruction.params[..] {
        [seconds] if (SHORTEST_S..=LONGEST_S).contains(&seconds) => {
            Ok(Flash { lamp, time: Duration::from_secs_f64(seconds) })
        }
        _ => Err(format!("params {:?} not allowed; allowed: one of {SHORTEST_S} to {LONGEST_S}", instruction.params)),
    }
}
