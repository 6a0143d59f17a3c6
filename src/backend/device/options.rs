//! What can be set of a driver.

use std::sync::Arc;

use qspool_driver::Driver;
use qspool_exec::{ExecDriver, ExecSettings};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::MakeDriver;

/// A device, and the driver by which it is reached, chosen by the key `type`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum DriverOptions {
    /// A driver that is a program of its own, in any language.
    Exec(ExecOptions),
}

/// A program that is a driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecOptions {
    /// The program and its arguments; no shell comes between.
    #[schemars(length(min = 1), example = &["python3", "/opt/drivers/coin.py"])]
    pub command: Vec<String>,
    /// The names of the environment variables that the program gets, beside `PATH` and `HOME`.
    #[serde(default)]
    #[schemars(example = &["LD_LIBRARY_PATH"])]
    pub environment: Vec<String>,
    /// What makes the device safe after the program had to be killed: a program and its arguments.
    #[schemars(length(min = 1), example = &["/opt/drivers/outputs_off"])]
    pub safe_command: Option<Vec<String>>,
    /// What the program is told at its start: keys that it knows.
    #[serde(default)]
    pub settings: Map<String, Value>,
}

impl DriverOptions {
    /// What makes the driver.
    pub fn make_driver(&self, name: &str) -> MakeDriver {
        match self {
            Self::Exec(ExecOptions { command, environment, safe_command, settings }) => {
                let settings = ExecSettings {
                    name: name.to_owned(),
                    command: command.clone(),
                    environment: environment.clone(),
                    safe_command: safe_command.clone(),
                    settings: settings.clone(),
                };
                Arc::new(move || Ok(Box::new(ExecDriver::new(settings.clone())?) as Box<dyn Driver>))
            }
        }
    }

    /// The value of the key `type`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Exec(_) => "exec",
        }
    }
}
