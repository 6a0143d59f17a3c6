//! A driver for devices that speak lines of text: counters, shutters, microcontrollers.
//!
//! A TOML file says how such a device is asked who it is, made safe, loaded, started, and read, and what stands in for it
//! where there is none; [`LineFile::load`] checks all of it before a line is sent. [`LineDriver`] is the driver, for a
//! port or for `sim:`, the device that the file simulates. The files in `examples/` are complete, and
//! `docs/driver-line.md` describes every key.

mod check;
mod checker;
mod dialogue;
mod driver;
mod error;
pub mod expression;
mod file;
mod program;
mod raw;
mod simulate;
mod steps;
mod template;

pub use driver::LineDriver;
pub use error::FileError;
pub use file::{Gate, LineFile, Param, WireCount};
pub use simulate::LineSimulation;
