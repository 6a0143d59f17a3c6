//! The suite that every driver passes.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::rules;
use crate::{Deadline, Driver, DriverError, Instruction, Program, RunControl, RunEnd, ShotSink, WireOrder};

/// A program for one shot on so many wires; each instruction as its name, wires and params.
pub fn program(num_wires: u32, instructions: &[(&str, &[u32], &[f64])]) -> Program {
    let instruction = |&(name, wires, params): &(&str, &[u32], &[f64])| Instruction {
        name: name.to_owned(),
        wires: wires.to_vec(),
        params: params.to_vec(),
    };
    Program {
        instructions: instructions.iter().map(instruction).collect(),
        num_wires,
        shots: 1,
        wire_order: WireOrder::default(),
        seed: None,
    }
}

/// The hand of the test on the device. What a device cannot do, it leaves as it stands here.
pub trait TestDevice {
    /// Pulls the plug; `false` when that cannot be done.
    fn unplug(&mut self) -> bool {
        false
    }

    /// Plugs the device in again, under the same name; it has forgotten everything.
    fn replug(&mut self) {}

    /// Lets the device answer nothing from now on; `false` when that cannot be done.
    fn silence(&mut self) -> bool {
        false
    }

    /// Lets the device answer again.
    fn end_silence(&mut self) {}

    /// Whether the outputs are in the safe state; none when nobody can look.
    fn is_safe(&mut self) -> Option<bool> {
        None
    }
}

/// A device that can only be driven.
impl TestDevice for () {}

/// A fresh driver on a fresh device.
pub struct Bench {
    /// The driver; nothing was asked of it yet.
    pub driver: Box<dyn Driver>,
    /// The device behind it.
    pub device: Box<dyn TestDevice>,
}

/// What a driver is tested with.
pub struct Conformance<'a> {
    /// Makes a fresh driver on a fresh device, best a simulated one.
    pub bench: Box<dyn Fn() -> Bench + 'a>,
    /// A program that the device can run, as short as it gets; its number of shots is set by the rules.
    pub good: Program,
    /// A program whose every shot takes a third of a second or longer, to be stopped in the middle; none where there is none.
    pub long: Option<Program>,
    /// Programs beyond the limits, with the number of the instruction that is to blame; none for the whole program.
    pub bad: Vec<(Program, Option<usize>)>,
    /// How many shots are many.
    pub many: u32,
    /// How long any one request may take.
    pub patience: Duration,
}

/// A rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The name of the rule.
    pub rule: &'static str,
    /// What was seen instead.
    pub why: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.rule, self.why)
    }
}

impl Conformance<'_> {
    /// Tries every rule, each on a fresh bench, and returns those that are broken.
    pub fn check(&self) -> Vec<Broken> {
        rules::ALL.iter().filter_map(|&(rule, check)| Some(Broken { rule, why: self.try_rule(check)? })).collect()
    }

    /// Tries every rule.
    ///
    /// # Panics
    /// If one is broken, with all that are.
    pub fn assert(&self) {
        let broken: Vec<String> = self.check().iter().map(ToString::to_string).collect();
        assert!(broken.is_empty(), "the driver breaks the contract:\n{}", broken.join("\n"));
    }

    fn try_rule(&self, check: rules::Rule) -> Option<String> {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let mut bench = (self.bench)();
            let outcome = check(self, &mut bench);
            bench.driver.close();
            outcome
        }));
        match outcome {
            Ok(outcome) => outcome.err(),
            Err(panic) => Some(format!("it panicked: {}", message(&*panic))),
        }
    }

    /// For any one request.
    pub(super) fn deadline(&self) -> Deadline {
        Deadline::after(self.patience)
    }

    /// The good program, with so many shots.
    pub(super) fn program(&self, shots: u32) -> Program {
        Program { shots, ..self.good.clone() }
    }

    /// Identified and configured.
    pub(super) fn ready(&self, bench: &mut Bench) -> Result<(), String> {
        bench.driver.identify(self.deadline()).map_err(|error| failed("identify", &error))?;
        bench.driver.configure(self.deadline()).map_err(|error| failed("configure", &error))
    }

    /// Prepares and runs a program; `between` is called after each shot with their number.
    pub(super) fn run(
        &self,
        bench: &mut Bench,
        program: &Program,
        control: &RunControl,
        mut between: impl FnMut(usize, &mut dyn TestDevice),
    ) -> Result<Ran, String> {
        let prepared = bench.driver.prepare(program, self.deadline());
        prepared.map_err(|error| failed("prepare", &error))?;
        let mut seen = Seen { rows: Vec::new(), between: |count| between(count, bench.device.as_mut()) };
        let end = bench.driver.run(control, &mut seen);
        Ok((end, seen.rows))
    }

    /// A whole run of so many shots, in which everything has to be right.
    pub(super) fn run_well(&self, bench: &mut Bench, shots: u32) -> Result<(), String> {
        let program = self.program(shots);
        bench.driver.validate(&program).map_err(|problem| format!("{shots} shots are refused: {problem}"))?;
        let (end, rows) = self.run(bench, &program, &RunControl::until(self.deadline()), |_, _| ())?;
        match end {
            Ok(RunEnd::Complete) => {}
            Ok(RunEnd::Stopped) => return Err(format!("a run of {shots} shots stopped although nobody told it to")),
            Err(error) => return Err(failed("run", &error)),
        }
        if rows.len() != shots as usize {
            return Err(format!("{} shots came, {shots} were asked for", rows.len()));
        }
        self.check_rows(bench, &rows)
    }

    /// Whether what was handed over is whole.
    pub(super) fn check_rows(&self, bench: &Bench, rows: &[Vec<i64>]) -> Result<(), String> {
        let (values, largest) = (self.good.measured_values(), bench.driver.capabilities().largest_value);
        for (shot, row) in rows.iter().enumerate() {
            if row.len() != values {
                return Err(format!("shot {shot} has {} values, {values} are measured", row.len()));
            }
            if let Some(value) = row.iter().find(|&&value| value > largest) {
                return Err(format!("shot {shot} has the value {value}, the largest is {largest}"));
            }
        }
        Ok(())
    }
}

/// How a run ended, and the shots that came.
pub(super) type Ran = (Result<RunEnd, DriverError>, Vec<Vec<i64>>);

/// Hears of each shot and keeps it.
struct Seen<F> {
    rows: Vec<Vec<i64>>,
    between: F,
}

impl<F: FnMut(usize)> ShotSink for Seen<F> {
    fn shot(&mut self, values: &[i64]) {
        self.rows.push(values.to_vec());
        (self.between)(self.rows.len());
    }
}

pub(super) fn failed(request: &str, error: &DriverError) -> String {
    format!("{request} failed ({:?}): {error}", error.class())
}

/// Runs `request`, which may not take longer than `limit` by more than a moment.
pub(super) fn within<T>(what: &str, limit: Duration, request: impl FnOnce() -> T) -> Result<T, String> {
    // As much as a busy machine may take away.
    const MOMENT: Duration = Duration::from_secs(1);
    let begin = Instant::now();
    let outcome = request();
    let taken = begin.elapsed();
    if taken > limit + MOMENT {
        return Err(format!("{what} took {taken:?}, allowed were {limit:?}"));
    }
    Ok(outcome)
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}
