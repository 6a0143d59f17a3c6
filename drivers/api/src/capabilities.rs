//! What a device says of itself.

/// Which device answers, as far as it tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// Who made it; may be empty.
    pub vendor: String,
    /// What it is, for example `PrawnBlaster`.
    pub model: String,
    /// Its serial number; may be empty.
    pub serial: String,
    /// The version of its firmware; may be empty.
    pub firmware: String,
    /// Whether a simulated device answers in place of a real one.
    pub is_simulated: bool,
}

/// What a device can do with the settings that its driver was given. It is known without the device.
#[derive(Debug, Clone, PartialEq)]
pub struct Capabilities {
    /// The names of the instructions that it takes, `measure` and `barrier` among them where it takes these.
    pub instructions: Vec<String>,
    /// The size of the largest register, in wires.
    pub num_wires: u32,
    /// The most shots of one program.
    pub max_shots: u32,
    /// The largest value that a measurement may give.
    pub largest_value: i64,
    /// How a run can be stopped from outside.
    pub stop: StopSupport,
    /// Which calibration turns parameters into levels and times, as `name version`; none where none is used.
    pub calibration: Option<String>,
}

/// How a run can be stopped from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopSupport {
    /// Not at all: it runs to its end.
    AtEnd,
    /// Between two shots.
    AfterShot,
    /// At any moment.
    Now,
}

/// How a device is between two runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// As it should be.
    Good,
    /// It works, but a person should look at it; one line says why.
    Degraded(String),
}

/// What was read back after a device was brought into its safe state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SafeState {
    /// One line for each output or state that was read back, as in `outputs: 0000`. Empty where the device cannot tell,
    /// which its driver's documentation has to say.
    pub read_back: Vec<String>,
}
