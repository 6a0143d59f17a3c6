//! A device behind its driver, on a thread of its own.

mod availability;
mod boards;
mod handle;
mod host;
mod options;
mod shots;

pub use availability::Availability;
pub use handle::{Device, DeviceError, MakeDriver, Ran, StopRun};
pub use options::{DriverOptions, LineOptions, Listener};
