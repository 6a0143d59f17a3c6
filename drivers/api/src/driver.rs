//! What every driver does.

use crate::{
    Capabilities, Deadline, DriverError, Health, Identity, Problem, Program, RunControl, RunEnd, RunPlan, SafeState,
    ShotSink,
};

/// Runs programs on one device. Its owner calls it from one thread, one request at a time.
///
/// ```text
/// new ── identify ──> known ── configure ──> ready ── prepare ──> prepared ── run ──> ready
///           ^                                                                  │ error
///           └───────────────── safe_state is tried, then the device is away <──┘
/// ```
///
/// | request | what it may do to the device |
/// |---|---|
/// | `identify` | opens the port where it is not open, asks who is there; changes no output |
/// | `configure` | programs everything that belongs to the settings; ends in the safe state |
/// | `prepare` | loads a program; starts nothing |
/// | `run` | runs what was prepared, for all its shots |
/// | `safe_state` | stops whatever runs, brings the outputs into the safe state, and reads them back |
/// | `health` | reads |
/// | `close` | safe state, then the port is closed |
///
/// A device that has hung up stays away until `identify` finds it again; the driver closes the port as soon as it
/// notices. No request may take longer than its deadline by more than a moment, and none panics, whatever the device
/// sends.
pub trait Driver: Send {
    /// Asks the device who it is. A stranger, or a firmware that the driver was not made for, is an error of the class
    /// `Configuration`; a device that does not answer or is not there one of the class `Device`.
    fn identify(&mut self, deadline: Deadline) -> Result<Identity, DriverError>;

    /// Programs what belongs to the settings. To be called after each `identify`: the device may have lost everything.
    fn configure(&mut self, deadline: Deadline) -> Result<(), DriverError>;

    /// What the device can do with its settings. It works without the device.
    fn capabilities(&self) -> Capabilities;

    /// Checks a program against the limits of the device, before anything is sent. It works without the device.
    ///
    /// # Errors
    ///
    /// The first problem, with the instruction.
    fn validate(&self, program: &Program) -> Result<(), Problem>;

    /// Loads a program that was validated. Nothing is started.
    fn prepare(&mut self, program: &Program, deadline: Deadline) -> Result<RunPlan, DriverError>;

    /// Runs the program that was prepared last, for the number of shots that it says, and hands over each of them in
    /// order. Looks at `control` at least once per shot and every 100 ms. A run that was not prepared is an error.
    ///
    /// Fewer shots than asked for are an error, unless it was told to stop; then the device is in its safe state.
    fn run(&mut self, control: &RunControl, shots: &mut dyn ShotSink) -> Result<RunEnd, DriverError>;

    /// Stops what runs and makes the device safe. It may be called at any time, also first, and again.
    fn safe_state(&mut self, deadline: Deadline) -> Result<SafeState, DriverError>;

    /// Asks how the device is; between runs only.
    fn health(&mut self, deadline: Deadline) -> Result<Health, DriverError>;

    /// Makes the device safe as far as it can and lets it go.
    fn close(&mut self);
}
