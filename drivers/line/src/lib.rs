//! A driver for devices that speak lines of text: counters, shutters, microcontrollers.
//!
//! A TOML file says how such a device is asked who it is, made safe, loaded, started, and read, and what stands in for it
//! where there is none; [`LineFile::load`] checks all of it before a line is sent. [`LineDriver`] is the driver, for a
//! port or for `sim:`, the device that the file simulates. The files in `examples/` are complete, and
//! `docs/driver-line.md` describes every key.

mod calibration;
mod check;
mod checker;
mod dialogue;
mod driver;
mod error;
pub mod expression;
mod file;
mod param;
mod program;
mod raw;
mod simulate;
mod steps;
mod template;
mod toml_file;

pub use calibration::{Calibration, CalibrationTable};
pub use driver::LineDriver;
pub use error::FileError;
pub use file::{Gate, LineFile, WireCount};
pub use param::Param;
pub use simulate::LineSimulation;
pub use toml_file::load_toml;
