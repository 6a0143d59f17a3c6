//! The vocabulary between the daemon and whatever runs a program, be it a simulator or a device.
//!
//! A [`Program`] goes in, an [`Outcome`] comes out, and a [`StopFlag`] says when to give up. A device is reached through
//! a [`Driver`], whose life cycle stands there. Nothing here knows of jobs, users, storage or JSON, and this crate
//! depends on nothing of the daemon.

mod capabilities;
mod control;
mod deadline;
mod driver;
mod error;
mod outcome;
mod program;
mod stop;
#[cfg(feature = "testing")]
pub mod testing;

pub use capabilities::{Capabilities, Health, Identity, SafeState, StopSupport};
pub use control::{RunControl, RunEnd, RunPlan, ShotSink};
pub use deadline::Deadline;
pub use driver::Driver;
pub use error::{DriverError, ErrorClass, Problem};
pub use outcome::Outcome;
pub use program::{Instruction, Program, WireOrder};
pub use stop::{StopFlag, Stopped};
