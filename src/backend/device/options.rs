//! What can be set of a driver.

use std::path::PathBuf;
use std::sync::Arc;

use qspool_driver::{Driver, DriverError, ErrorClass};
use qspool_exec::{ExecDriver, ExecSettings};
use qspool_line::{LineDriver, LineFile};
use qspool_serial::Dialogue;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::MakeDriver;
use super::boards::{DdsSweeperOptions, PrawnBlasterOptions, PrawnDoOptions, SequenceOptions};

/// A device, and the driver by which it is reached, chosen by the key `type`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum DriverOptions {
    /// A device that speaks lines of text, described by a TOML file.
    Line(LineOptions),
    /// A driver that is a program of its own, in any language.
    Exec(ExecOptions),
    /// A pseudoclock on a Raspberry Pi Pico.
    #[serde(rename = "prawnblaster")]
    PrawnBlaster(PrawnBlasterOptions),
    /// Sixteen digital outputs on a Raspberry Pi Pico.
    #[serde(rename = "prawndo")]
    PrawnDo(PrawnDoOptions),
    /// Four channels of an AD9959 on a Raspberry Pi Pico.
    DdsSweeper(DdsSweeperOptions),
    /// A device that combines these three and a read-out.
    Sequence(SequenceOptions),
}

/// A device that speaks lines of text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LineOptions {
    /// The file that describes the device.
    #[schemars(extend("format" = "path"), example = "/etc/qspool/photon-counter.toml")]
    pub file: PathBuf,
    /// Where the device is, by a name that stays when it is plugged in again: `qspool ports` lists them. `sim:` is the
    /// device that the file simulates.
    #[schemars(example = &"/dev/serial/by-id/usb-Example_PC-400_7-if00")]
    pub port: String,
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

/// A piece of the dialogue for a person.
pub(super) fn shown(said: Dialogue<'_>) -> String {
    match said {
        Dialogue::Sent(line) => format!("> {line}"),
        Dialogue::SentBytes(count) => format!("> {count} bytes"),
        Dialogue::Received(line) => format!("< {line}"),
        Dialogue::Dropped(bytes) => format!("dropped: {:?}", String::from_utf8_lossy(bytes)),
    }
}

/// Hears what a driver and its device say to each other, line by line.
pub type Listener = Box<dyn FnMut(&str) + Send>;

impl DriverOptions {
    /// Makes the driver. The device is not touched.
    ///
    /// # Errors
    ///
    /// What is wrong with the settings.
    pub fn make(&self, name: &str, listener: Option<Listener>) -> Result<Box<dyn Driver>, DriverError> {
        match self {
            Self::Line(LineOptions { file, port }) => {
                let file = LineFile::load(file)
                    .map_err(|error| DriverError::new(ErrorClass::Configuration, format!("{name}: {error}")))?;
                let mut driver = LineDriver::new(file, port)?;
                if let Some(mut listener) = listener {
                    driver.listen(move |said| listener(&shown(said)));
                }
                Ok(Box::new(driver))
            }
            Self::Exec(ExecOptions { command, environment, safe_command, settings }) => {
                Ok(Box::new(ExecDriver::new(ExecSettings {
                    name: name.to_owned(),
                    command: command.clone(),
                    environment: environment.clone(),
                    safe_command: safe_command.clone(),
                    settings: settings.clone(),
                })?))
            }
            Self::PrawnBlaster(options) => options.make(name, listener),
            Self::PrawnDo(options) => options.make(name, listener),
            Self::DdsSweeper(options) => options.make(name, listener),
            Self::Sequence(options) => options.make(name, listener),
        }
    }

    /// What makes the driver again and again.
    pub(in crate::backend) fn make_driver(&self, name: &str) -> MakeDriver {
        let (options, name) = (self.clone(), name.to_owned());
        Arc::new(move || options.make(&name, None))
    }

    /// The value of the key `type`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Line(_) => "line",
            Self::Exec(_) => "exec",
            Self::PrawnBlaster(_) => "prawnblaster",
            Self::PrawnDo(_) => "prawndo",
            Self::DdsSweeper(_) => "dds-sweeper",
            Self::Sequence(_) => "sequence",
        }
    }
}
