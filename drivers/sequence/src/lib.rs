//! A device that combines four: a `PrawnBlaster` clocks the sequence, a `PrawnDO` switches, a DDS sweeper gives the tone of
//! each pulse, and any device that speaks lines reads out what was measured.
//!
//! ```text
//!                          ┌── trigger ──> PrawnDO      outputs: lasers, switches, the trigger of the read-out
//! PrawnBlaster, clock 0 ───┤
//!                          └── trigger ──> DDS sweeper  the tone that the switches let through
//! ```
//!
//! A sequence is a chain of stages, one for each gate and one for the measurement. Each begins with an edge of the clock:
//! the sweeper goes on to the tone of the stage, and the `PrawnDO`, which has waited for the edge, first lets the tone
//! settle, then switches on what the gate needs for as long as it says, and waits again. So the clock says when stages
//! begin, and each board by itself how long a pulse is.
//!
//! | file | holds |
//! |---|---|
//! | `file.rs` | the TOML file: calibration, outputs, and how gates become stages |
//! | `sequence.rs` | a program becomes stages, and stages become the tables of the three boards |
//! | `driver.rs` | the four devices, run as one |
//! | `simulated.rs` | atoms behind simulated boards |
//!
//! `examples/rabi.toml` is a complete one.

#[cfg(test)]
mod conformance;
mod driver;
mod file;
mod sequence;
mod simulated;

pub use driver::{Ports, SequenceDriver};
pub use file::SequenceFile;
