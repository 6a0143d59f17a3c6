//! How instructions become rows of the board's table: the only place that knows both.

use std::time::Duration;

use qspool_driver::{Instruction, Problem, Program};
use qspool_pico::{RunTime, cycles};

/// The instructions that the board takes.
pub(crate) const INSTRUCTIONS: [&str; 5] = ["set", "hold", "wait", "measure", "barrier"];

/// Its outputs.
pub(crate) const OUTPUTS: u32 = 16;

/// Rows of a board on a Pico; on a Pico 2 twice as many.
pub(crate) const ROWS: usize = 30_000;

/// Levels, and for how long they are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The level of output `n` is bit `n`.
    pub levels: u16,
    /// In cycles of the board's clock; 0 until the trigger is high. Two rows of 0 end the run.
    pub cycles: u32,
}

impl Row {
    /// The shortest time for which levels are held, in cycles. Fewer would be a wait.
    pub const SHORTEST: u32 = 5;

    /// As `adm` takes it.
    pub(crate) fn bytes(self) -> [u8; 6] {
        let mut bytes = [0; 6];
        bytes[..2].copy_from_slice(&self.levels.to_le_bytes());
        bytes[2..].copy_from_slice(&self.cycles.to_le_bytes());
        bytes
    }
}

/// What the outputs do in one run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// The rows, without the two that end the run.
    pub rows: Vec<Row>,
    /// The levels with which the run ends.
    pub last: u16,
    /// The outputs that are measured.
    pub measured: Vec<u32>,
}

impl Table {
    /// The most rows, without the two that end the run.
    pub const ROWS: usize = ROWS - 2;

    /// The table of a program that begins with the levels `first`, with cycles of this frequency in Hz.
    pub(crate) fn of(program: &Program, first: u16, hz: u32) -> Result<Self, Problem> {
        let mut table = Self { last: first, ..Self::default() };
        for (index, instruction) in program.instructions.iter().enumerate() {
            let problem = |what: String| Problem::of_instruction(index, instruction.name.as_str(), what);
            match instruction.name.as_str() {
                "set" => table.last = set(instruction, table.last).map_err(problem)?,
                "hold" => table.add(hold(instruction, hz).map_err(problem)?).map_err(problem)?,
                "wait" => table.wait(instruction).map_err(problem)?,
                "measure" => table.measured.push(output(instruction).map_err(problem)?),
                "barrier" => {}
                _ => return Err(problem(format!("unknown instruction; allowed: {}", INSTRUCTIONS.join(", ")))),
            }
        }
        if table.rows.is_empty() {
            return Err(Problem::of_program("nothing is held; allowed: at least one hold"));
        }
        if table.rows.last().is_some_and(|row| row.cycles == 0) {
            return Err(Problem::of_program("ends with a wait; allowed: a hold at the end"));
        }
        Ok(table)
    }

    fn add(&mut self, cycles: u32) -> Result<(), String> {
        if self.rows.len() >= Self::ROWS {
            return Err(format!("too long; allowed: {} times hold and wait", Self::ROWS));
        }
        self.rows.push(Row { levels: self.last, cycles });
        Ok(())
    }

    fn wait(&mut self, instruction: &Instruction) -> Result<(), String> {
        if !instruction.wires.is_empty() || !instruction.params.is_empty() {
            return Err("wires or params not allowed; it has none".to_owned());
        }
        if self.rows.last().is_some_and(|row| row.cycles == 0) {
            return Err("two waits in a row would end the run; allowed: a hold between them".to_owned());
        }
        self.add(0)
    }

    /// How many times it waits for the trigger.
    pub fn waits(&self) -> usize {
        self.rows.iter().filter(|row| row.cycles == 0).count()
    }

    /// How long it runs if every wait takes at most so long.
    pub fn run_time(&self, hz: u32, wait: Duration) -> RunTime {
        let sum: u64 = self.rows.iter().map(|row| u64::from(row.cycles)).sum();
        let shortest = cycles::time(sum, hz);
        let waits = u32::try_from(self.waits()).unwrap_or(u32::MAX);
        RunTime { shortest, longest: shortest.saturating_add(wait.saturating_mul(waits)) }
    }
}

fn output(instruction: &Instruction) -> Result<u32, String> {
    match instruction.wires[..] {
        [wire] if wire < OUTPUTS => Ok(wire),
        _ => Err(format!("wires {:?} not allowed; allowed: one of 0 to {}", instruction.wires, OUTPUTS - 1)),
    }
}

fn set(instruction: &Instruction, levels: u16) -> Result<u16, String> {
    let bit = 1 << output(instruction)?;
    match instruction.params[..] {
        [1.0] => Ok(levels | bit),
        [0.0] => Ok(levels & !bit),
        _ => Err(format!("params {:?} not allowed; allowed: 0 or 1", instruction.params)),
    }
}

/// The time of a hold in cycles.
fn hold(instruction: &Instruction, hz: u32) -> Result<u32, String> {
    if !instruction.wires.is_empty() {
        return Err(format!("wires {:?} not allowed; it has none", instruction.wires));
    }
    match instruction.params[..] {
        [seconds] => cycles::count(seconds, Row::SHORTEST, hz),
        _ => Err(format!("params {:?} not allowed; allowed: a time in s", instruction.params)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_its_levels_first_and_little_endian() {
        assert_eq!(Row { levels: 0x0102, cycles: 0x0a0b_0c0d }.bytes(), [2, 1, 0x0d, 0x0c, 0x0b, 0x0a]);
    }
}
