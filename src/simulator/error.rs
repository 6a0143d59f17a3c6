//! Why a run failed, for a person.

use qspool_driver::Stopped;

/// A run that did not come to an end.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SimulationError {
    /// One instruction cannot be carried out.
    #[error("instruction {index} ({name}): {problem}")]
    Instruction {
        /// Its place among the instructions of the experiment, counted from 0.
        index: usize,
        /// Its name, cut when it is long.
        name: String,
        /// What is wrong with it.
        problem: Problem,
    },
    /// The register has more states than any memory holds.
    #[error("the register has more than {limit} states, which no memory holds")]
    RegisterTooLarge {
        /// The largest number of states.
        limit: u64,
    },
    /// The operating system has no memory left.
    #[error("no memory left for {bytes} more bytes")]
    OutOfMemory {
        /// What was asked for.
        bytes: u64,
    },
    /// Neither diagonalisation nor a series can do it.
    #[error(
        "the evolution of {states} states with parameters of this size would take about {operations:.0e} operations; \
         allowed: {allowed:.0e}. Use smaller parameters or fewer atoms"
    )]
    TooLong {
        /// The states of the register.
        states: u64,
        /// The estimate.
        operations: f64,
        /// The largest estimate that is tried.
        allowed: f64,
    },
    /// An eigenvalue iteration made no progress: the matrix is not finite.
    #[error("the diagonalisation of a matrix with {states} rows did not converge")]
    NotConverged {
        /// The rows of the matrix.
        states: usize,
    },
    /// The run was asked to end.
    #[error("stopped before the end")]
    Stopped,
}

/// What is wrong with one instruction.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Problem {
    /// The simulator does not know the name.
    #[error("unknown instruction; allowed: {allowed}")]
    Unknown {
        /// The names that it knows, with commas between them.
        allowed: String,
    },
    /// It acts on another number of wires.
    #[error("acts on {found} wires; allowed: {allowed}")]
    WireCount {
        /// The number of wires given.
        found: usize,
        /// The number that it takes.
        allowed: usize,
    },
    /// A wire is not in the register.
    #[error("wire {wire} is not in the register; allowed: 0 to {}", num_wires.saturating_sub(1))]
    Wire {
        /// The wire.
        wire: u32,
        /// The wires of the register.
        num_wires: usize,
    },
    /// Wires that must differ are the same.
    #[error("wires {wires:?} are not all different")]
    WiresRepeat {
        /// The wires given.
        wires: Vec<u32>,
    },
    /// It takes another number of parameters.
    #[error("has {found} parameters; allowed: {allowed}")]
    ParamCount {
        /// The number of parameters given.
        found: usize,
        /// The number that it takes.
        allowed: usize,
    },
    /// A parameter is out of the range of the arithmetic.
    #[error("parameter {value} is out of range; allowed: -{limit:e} to {limit:e}")]
    Param {
        /// The parameter.
        value: f64,
        /// The largest size of a parameter.
        limit: f64,
    },
    /// A number of atoms is not one.
    #[error("{value} atoms cannot be loaded; allowed: a whole number from 1 to {limit}")]
    Atoms {
        /// The parameter.
        value: f64,
        /// The largest number of atoms on one wire.
        limit: u32,
    },
    /// A fermion was put where one is, or may be.
    #[error(
        "mode {mode} already holds {occupation:.6} fermions on average, and a second one cannot be put there; \
         allowed: an empty mode"
    )]
    Occupied {
        /// The mode.
        mode: usize,
        /// The average number of fermions in it before the instruction, from 0 to 1.
        occupation: f64,
    },
}

impl From<Stopped> for SimulationError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}
