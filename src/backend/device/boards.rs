//! What can be set of the drivers of boards, and of the device that combines them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use qspool_driver::{Driver, DriverError, ErrorClass};
use qspool_pico::{Board, BoardDriver, PRAWN_HZ, Part};
use qspool_sequence::{Ports, SequenceDriver, SequenceFile};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::options::{Listener, shown};

fn hundred_megahertz() -> u32 {
    PRAWN_HZ
}

fn one() -> usize {
    1
}

fn ten_seconds() -> u32 {
    10
}

/// A pseudoclock `PrawnBlaster`, firmware 1.1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrawnBlasterOptions {
    /// Where the board is, by a name that stays when it is plugged in again: `qspool ports` lists them. `sim:` is a
    /// simulated one.
    #[schemars(example = &"/dev/serial/by-id/usb-Raspberry_Pi_Pico_E6614C311B4C1234-if00")]
    pub port: String,
    /// How many clocks are used.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 4))]
    pub clocks: usize,
    /// The output pin of each clock; the board's own choice where they are not given: GPIO 9, 11, 13, 15.
    #[serde(default)]
    #[schemars(example = &[9, 11])]
    pub output_pins: Vec<u8>,
    /// The trigger pin of each clock; the board's own choice where they are not given: GPIO 0, 2, 4, 6.
    #[serde(default)]
    #[schemars(example = &[0, 2])]
    pub trigger_pins: Vec<u8>,
    /// Where an external clock comes in: 20 or 22; without it the board's own clock is used.
    #[schemars(example = &20)]
    pub reference_pin: Option<u8>,
    /// The frequency of the clock in Hz.
    #[serde(default = "hundred_megahertz")]
    #[schemars(range(min = 1_000_000, max = 133_000_000))]
    pub clock_hz: u32,
}

impl PrawnBlasterOptions {
    pub(super) fn make(&self, name: &str, listener: Option<Listener>) -> Result<Box<dyn Driver>, DriverError> {
        use qspool_prawnblaster::{ClockSource, PrawnBlaster, Settings};
        let settings = Settings {
            clocks: self.clocks,
            outputs: self.output_pins.clone(),
            triggers: self.trigger_pins.clone(),
            source: match self.reference_pin {
                None => ClockSource::Internal,
                Some(20) => ClockSource::Gpio20,
                Some(22) => ClockSource::Gpio22,
                Some(pin) => return Err(wrong(name, &format!("reference_pin {pin} not allowed; allowed: 20, 22"))),
            },
            hz: self.clock_hz,
        };
        boxed(PrawnBlaster::new(settings), &self.port, listener)
    }
}

/// The 16 digital outputs of a `PrawnDO`, firmware 1.2 or 1.3.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrawnDoOptions {
    /// Where the board is, by a name that stays when it is plugged in again: `qspool ports` lists them. `sim:` is a
    /// simulated one.
    #[schemars(example = &"/dev/serial/by-id/usb-Raspberry_Pi_Pico_E6614C311B4C5678-if00")]
    pub port: String,
    /// The outputs that are high in the safe state; all others are low.
    #[serde(default)]
    #[schemars(example = &[3])]
    pub safe_high: Vec<u8>,
    /// How long one wait for the trigger may take, in s.
    #[serde(default = "ten_seconds")]
    #[schemars(range(min = 0, max = 3600))]
    pub trigger_timeout_s: u32,
    /// Whether the clock comes in at GPIO 20.
    #[serde(default)]
    pub external_clock: bool,
    /// The frequency of the clock in Hz.
    #[serde(default = "hundred_megahertz")]
    #[schemars(range(min = 1_000_000, max = 133_000_000))]
    pub clock_hz: u32,
}

impl PrawnDoOptions {
    pub(super) fn make(&self, name: &str, listener: Option<Listener>) -> Result<Box<dyn Driver>, DriverError> {
        use qspool_prawndo::{PrawnDo, Settings};
        if let Some(output) = self.safe_high.iter().find(|output| **output > 15) {
            return Err(wrong(name, &format!("safe_high: output {output} not allowed; allowed: 0 to 15")));
        }
        let settings = Settings {
            safe: self.safe_high.iter().fold(0, |levels, output| levels | 1 << output),
            wait: timeout(name, self.trigger_timeout_s)?,
            is_external: self.external_clock,
            hz: self.clock_hz,
        };
        boxed(PrawnDo::new(settings), &self.port, listener)
    }
}

/// A DDS sweeper, an AD9959 on a Pico, firmware 0.4.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DdsSweeperOptions {
    /// Where the board is, by a name that stays when it is plugged in again: `qspool ports` lists them. `sim:` is a
    /// simulated one.
    #[schemars(example = &"/dev/serial/by-id/usb-Raspberry_Pi_Pico_E6614C311B4C9ABC-if00")]
    pub port: String,
    /// How many channels are used, from the first on.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 4))]
    pub channels: usize,
    /// Whether edges at the trigger input make it go on to the next row, and not the time of the row.
    #[serde(default)]
    pub external_trigger: bool,
    /// How long it may take until the last edge has come, in s.
    #[serde(default = "ten_seconds")]
    #[schemars(range(min = 0, max = 3600))]
    pub trigger_timeout_s: u32,
    /// The frequency of an external reference of the AD9959, in Hz; without it the 125 MHz of the Pico are used.
    #[schemars(range(min = 1_000_000, max = 500_000_000), example = &100_000_000)]
    pub reference_hz: Option<u32>,
    /// What the AD9959 multiplies its reference by, 1 or 4 to 20: the product is at most 500 MHz.
    #[serde(default = "four")]
    #[schemars(range(min = 1, max = 20))]
    pub multiplier: u32,
}

fn four() -> u32 {
    4
}

impl DdsSweeperOptions {
    pub(super) fn make(&self, name: &str, listener: Option<Listener>) -> Result<Box<dyn Driver>, DriverError> {
        use qspool_dds_sweeper::{DdsSweeper, Reference, Settings, Trigger};
        let wait = timeout(name, self.trigger_timeout_s)?;
        let settings = Settings {
            channels: self.channels,
            trigger: if self.external_trigger { Trigger::External { wait } } else { Trigger::Timed },
            reference: Reference {
                is_external: self.reference_hz.is_some(),
                hz: self.reference_hz.unwrap_or(Reference::PICO.hz),
                multiplier: self.multiplier,
            },
        };
        boxed(DdsSweeper::new(settings), &self.port, listener)
    }
}

/// A device that combines a `PrawnBlaster`, a `PrawnDO`, a DDS sweeper and a read-out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SequenceOptions {
    /// The file that describes the apparatus.
    #[schemars(extend("format" = "path"), example = "/etc/qspool/rabi.toml")]
    pub file: PathBuf,
    /// `sim:` for the apparatus that the file simulates, in place of the four ports.
    #[schemars(example = &"sim:")]
    pub port: Option<String>,
    /// Where the `PrawnBlaster` is, by a name that stays when it is plugged in again, as the next three.
    #[schemars(example = &"/dev/serial/by-id/usb-Raspberry_Pi_Pico_E6614C311B4C1234-if00")]
    pub clock_port: Option<PathBuf>,
    /// Where the `PrawnDO` is.
    #[schemars(example = &"/dev/serial/by-id/usb-Raspberry_Pi_Pico_E6614C311B4C5678-if00")]
    pub outputs_port: Option<PathBuf>,
    /// Where the DDS sweeper is.
    #[schemars(example = &"/dev/serial/by-id/usb-Raspberry_Pi_Pico_E6614C311B4C9ABC-if00")]
    pub sweeper_port: Option<PathBuf>,
    /// Where the device is that is read out.
    #[schemars(example = &"/dev/serial/by-id/usb-Example_AC-2_7-if00")]
    pub readout_port: Option<PathBuf>,
}

impl SequenceOptions {
    pub(super) fn make(&self, name: &str, listener: Option<Listener>) -> Result<Box<dyn Driver>, DriverError> {
        let four = [&self.clock_port, &self.outputs_port, &self.sweeper_port, &self.readout_port];
        let ports = match (self.port.as_deref(), four) {
            (Some("sim:"), [None, None, None, None]) => None,
            (None, [Some(clock), Some(outputs), Some(sweeper), Some(readout)]) => Some(Ports {
                clock: clock.clone(),
                outputs: outputs.clone(),
                sweeper: sweeper.clone(),
                readout: readout.clone(),
            }),
            _ => return Err(wrong(name, "allowed: either port = \"sim:\", or all four ports")),
        };
        let file = SequenceFile::load(&self.file).map_err(|error| wrong(name, &error.to_string()))?;
        let mut driver = SequenceDriver::new(file, ports.as_ref())?;
        if let Some(mut listener) = listener {
            driver.listen(move |part, said| listener(&format!("{part} {}", shown(said))));
        }
        Ok(Box::new(driver))
    }
}

fn wrong(name: &str, what: &str) -> DriverError {
    DriverError::new(ErrorClass::Configuration, format!("{name}: {what}"))
}

fn timeout(name: &str, seconds: u32) -> Result<Duration, DriverError> {
    if seconds <= 3600 {
        return Ok(Duration::from_secs(u64::from(seconds)));
    }
    Err(wrong(name, &format!("trigger_timeout_s {seconds} not allowed; allowed: 0 to 3600")))
}

fn boxed<B: Board + 'static>(
    board: Result<B, DriverError>,
    port: &str,
    listener: Option<Listener>,
) -> Result<Box<dyn Driver>, DriverError> {
    let mut driver = BoardDriver::new(Part::new(board?, Path::new(port))?);
    if let Some(mut listener) = listener {
        driver.pico().listen(move |said| listener(&shown(said)));
    }
    Ok(Box::new(driver))
}
