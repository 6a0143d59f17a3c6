//! How instructions become rows of the board's table: the only place that knows both.

use qspool_driver::{Instruction, Problem, Program};
use qspool_pico::{RunTime, cycles};

/// The instructions that the board takes.
pub(crate) const INSTRUCTIONS: [&str; 4] = ["tick", "wait", "measure", "barrier"];

/// Rows that the clocks share, besides the stop.
const ROWS: usize = 30_000;

/// `setb` takes no row behind this one.
const LAST_ROW: usize = 29_999;

/// Waits that the clocks share.
const WAITS: usize = 400;

const SHORTEST_HALF_PERIOD: u32 = 5;
const SHORTEST_WAIT: u32 = 6;

/// A row: `cycles` is the half period, or the time-out of a wait, which has no repetitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Half a period or a time-out, in cycles of the board's clock.
    pub cycles: u32,
    /// How often the clock goes high; 0 for a wait, and for the stop together with no cycles.
    pub repetitions: u32,
}

impl Row {
    /// Ends the run of a clock.
    pub const STOP: Self = Self { cycles: 0, repetitions: 0 };

    /// One rising edge, and nothing more until `period` cycles have passed; at least 10 of them.
    pub fn edge(period: u32) -> Self {
        Self { cycles: period / 2, repetitions: 1 }
    }

    /// Whether it waits for the trigger.
    pub fn is_wait(self) -> bool {
        self.repetitions == 0 && self.cycles > 0
    }

    fn cycles_in_all(self) -> u64 {
        if self.is_wait() { u64::from(self.cycles) } else { 2 * u64::from(self.cycles) * u64::from(self.repetitions) }
    }

    /// As `setb` takes it: half period first, though the board's documentation says otherwise.
    pub(crate) fn bytes(self) -> [u8; 8] {
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&self.cycles.to_le_bytes());
        bytes[4..].copy_from_slice(&self.repetitions.to_le_bytes());
        bytes
    }
}

/// What the clocks do in one run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// The rows of each clock, without their stop. A clock without rows does not run.
    pub clocks: Vec<Vec<Row>>,
    /// The clocks whose waits are measured.
    pub measured: Vec<usize>,
}

impl Table {
    /// The table of a program for so many clocks, with cycles of this frequency in Hz.
    pub(crate) fn of(program: &Program, clocks: usize, hz: u32) -> Result<Self, Problem> {
        let mut table = Self { clocks: vec![Vec::new(); clocks], measured: Vec::new() };
        for (index, instruction) in program.instructions.iter().enumerate() {
            let problem = |what: String| Problem::of_instruction(index, instruction.name.as_str(), what);
            match instruction.name.as_str() {
                "tick" => {
                    let (clock, row) = tick(instruction, clocks, hz).map_err(problem)?;
                    table.add(clock, row).map_err(problem)?;
                }
                "wait" => {
                    let (clock, row) = wait(instruction, clocks, hz).map_err(problem)?;
                    table.add(clock, row).map_err(problem)?;
                }
                "measure" => table.measured.push(wire(instruction, clocks).map_err(problem)?),
                "barrier" => {}
                _ => return Err(problem(format!("unknown instruction; allowed: {}", INSTRUCTIONS.join(", ")))),
            }
        }
        if table.clocks.iter().all(Vec::is_empty) {
            return Err(Problem::of_program("no clock has anything to do; allowed: at least one tick"));
        }
        Ok(table)
    }

    /// The most rows of one clock, without its stop, if so many share the memory.
    ///
    /// The board checks only that nothing lies behind the end of all.
    pub fn rows(clocks: usize) -> usize {
        // The last row of each share is left to the stop; with one clock `setb` would not take it anyway.
        (ROWS / clocks.max(1)).min(LAST_ROW) - 1
    }

    fn add(&mut self, clock: usize, row: Row) -> Result<(), String> {
        let clocks = self.clocks.len();
        let rows = &mut self.clocks[clock];
        let most = Self::rows(clocks);
        if rows.len() >= most {
            return Err(format!("too long; allowed with {clocks} clocks: {most} rows each"));
        }
        // To the board that is one wait without an end.
        if row.is_wait() && rows.last().is_some_and(|last| last.is_wait()) {
            return Err("two waits in a row would have no time-out; allowed: a tick between them".to_owned());
        }
        rows.push(row);
        let most = WAITS / clocks;
        // One entry more is used to mark the end.
        if rows.iter().filter(|row| row.is_wait()).count() >= most {
            return Err(format!("too many waits; allowed with {clocks} clocks: {} each", most - 1));
        }
        Ok(())
    }

    /// How long it runs, with cycles of this frequency in Hz.
    pub fn run_time(&self, hz: u32) -> RunTime {
        let longest = |counts: fn(Row) -> bool| {
            let in_all = |rows: &Vec<Row>| {
                let counted = rows.iter().filter(|row| counts(**row));
                counted.fold(0_u64, |sum, row| sum.saturating_add(row.cycles_in_all()))
            };
            cycles::time(self.clocks.iter().map(in_all).max().unwrap_or_default(), hz)
        };
        RunTime { shortest: longest(|row| !row.is_wait()), longest: longest(|_| true) }
    }
}

fn wire(instruction: &Instruction, clocks: usize) -> Result<usize, String> {
    match instruction.wires[..] {
        [wire] if (wire as usize) < clocks => Ok(wire as usize),
        _ => Err(format!("wires {:?} not allowed; allowed: one of 0 to {}", instruction.wires, clocks - 1)),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is in range by then")]
fn tick(instruction: &Instruction, clocks: usize, hz: u32) -> Result<(usize, Row), String> {
    let clock = wire(instruction, clocks)?;
    let [half_period, repetitions] = instruction.params[..] else {
        return Err(format!("params {:?} not allowed; allowed: half period in s, repetitions", instruction.params));
    };
    if repetitions.fract() != 0.0 || !(1.0..=f64::from(u32::MAX)).contains(&repetitions) {
        return Err(format!("{repetitions} repetitions not allowed; allowed: a whole number from 1 to {}", u32::MAX));
    }
    Ok((clock, Row { cycles: cycles::count(half_period, SHORTEST_HALF_PERIOD, hz)?, repetitions: repetitions as u32 }))
}

fn wait(instruction: &Instruction, clocks: usize, hz: u32) -> Result<(usize, Row), String> {
    let clock = wire(instruction, clocks)?;
    match instruction.params[..] {
        [timeout] => Ok((clock, Row { cycles: cycles::count(timeout, SHORTEST_WAIT, hz)?, repetitions: 0 })),
        _ => Err(format!("params {:?} not allowed; allowed: a time-out in s", instruction.params)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_its_half_period_first_and_little_endian() {
        // As seen on the firmware; its documentation says the opposite.
        assert_eq!(Row { cycles: 0x0102, repetitions: 0x0a0b_0c0d }.bytes(), [2, 1, 0, 0, 0x0d, 0x0c, 0x0b, 0x0a]);
    }

    #[test]
    fn clocks_share_the_rows_of_the_board() {
        assert_eq!([1, 2, 3, 4].map(Table::rows), [29_998, 14_999, 9_999, 7_499]);
    }
}
