//! What can be set of a driver.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::MakeDriver;

/// A device, and the driver by which it is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum DriverOptions {
    /// A device that speaks lines of text, described by a file.
    Line(LineOptions),
}

/// A device that speaks lines of text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LineOptions {
    /// The file that describes the device.
    #[schemars(extend("format" = "path"), example = "/etc/qspool/counter.toml")]
    pub file: PathBuf,
    /// Where the device is: `/dev/serial/by-id/...`, or `sim:` for a simulated one.
    #[schemars(example = &"/dev/serial/by-id/usb-Raspberry_Pi_Pico_E6614103E7452D2F-if00")]
    pub port: String,
}

impl DriverOptions {
    /// What makes the driver.
    pub(in crate::backend) fn make_driver(&self) -> MakeDriver {
        todo!()
    }
}
