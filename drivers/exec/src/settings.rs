//! What can be set of a driver that is a program.

use serde_json::{Map, Value};

/// How the program is started.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecSettings {
    /// The name of the driver, for messages.
    pub name: String,
    /// The program and its arguments. No shell comes between.
    pub command: Vec<String>,
    /// The names of the environment variables that the program gets. Beside these it has `PATH` and `HOME` only.
    pub environment: Vec<String>,
    /// What is run when the program had to be killed: the program and its arguments, to make the device safe. It has 5 s.
    pub safe_command: Option<Vec<String>>,
    /// What the program is told at its start; it knows what it means.
    pub settings: Map<String, Value>,
}
