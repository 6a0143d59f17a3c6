//! What one firmware adds.

use std::time::Duration;

use qspool_driver::{Capabilities, Deadline, DriverError, Problem, Program, SafeState};

use crate::{Firmware, Model, Pico, RunState};

/// How long a table runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RunTime {
    /// If every trigger that it waits for comes at once.
    pub shortest: Duration,
    /// If none comes before its time is over.
    pub longest: Duration,
}

/// A firmware: its commands, its limits, and how instructions become rows of its table.
///
/// All that talks to the board is called with a [`Pico`] that was identified. Commands that change something are sent to
/// a board that is idle only.
pub trait Board: Send {
    /// A program as the board takes it.
    type Table: Clone + Send;

    /// What stands in for the board.
    type Simulated: Firmware + Default + 'static;

    /// Which firmware it is.
    fn model(&self) -> &'static Model;

    /// What the board can do with its settings.
    fn capabilities(&self) -> Capabilities;

    /// Makes the table of a program, or says what is beyond the limits of the board.
    fn compile(&self, program: &Program) -> Result<Self::Table, Problem>;

    /// How long one run of the table takes.
    fn run_time(&self, table: &Self::Table) -> RunTime;

    /// Programs what belongs to the settings, on a board that is safe.
    fn set_up(&self, pico: &mut Pico, deadline: Deadline) -> Result<(), DriverError>;

    /// Loads a table; starts nothing.
    fn load(&self, pico: &mut Pico, table: &Self::Table, deadline: Deadline) -> Result<(), DriverError>;

    /// Starts the table that is loaded.
    fn start(&self, pico: &mut Pico, deadline: Deadline) -> Result<(), DriverError>;

    /// What the board is doing. That it has lost its external clock is an error.
    fn state(&self, pico: &mut Pico, deadline: Deadline) -> Result<RunState, DriverError>;

    /// What was measured in the run that has just ended.
    fn values(&self, pico: &mut Pico, table: &Self::Table, deadline: Deadline) -> Result<Vec<i64>, DriverError>;

    /// Stops whatever runs, brings the outputs into the safe state and reads back what can be read back.
    fn make_safe(&self, pico: &mut Pico, deadline: Deadline) -> Result<SafeState, DriverError>;
}
