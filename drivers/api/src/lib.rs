//! The vocabulary between the daemon and whatever runs a program, be it a simulator or a device.
//!
//! A [`Program`] goes in, an [`Outcome`] comes out, and a [`StopFlag`] says when to give up. Nothing here knows of
//! jobs, users, storage or JSON, and this crate depends on nothing of the daemon.

mod outcome;
mod program;
mod stop;

pub use outcome::Outcome;
pub use program::{Instruction, Program, WireOrder};
pub use stop::{StopFlag, Stopped};
