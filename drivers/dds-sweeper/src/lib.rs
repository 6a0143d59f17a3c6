//! The DDS sweeper (firmware 0.4): an AD9959 with four channels, whose tones follow a table.
//!
//! | instruction | wires | params | the board |
//! |---|---|---|---|
//! | `tone` | a channel | frequency in Hz; amplitude 0 to 1; phase in degrees | the tone of the channel from the next `hold` on |
//! | `hold` | none | time in s | all channels keep their tones for this long |
//! | `measure` | 0 | none | how many rows of the table were begun: one for each `hold` |
//! | `barrier` | any | none | nothing |
//!
//! A run begins with all channels silent.

mod board;
mod simulated;
mod table;

pub use board::{DdsSweeper, MODEL, Reference, Settings, Trigger};
pub use simulated::SimulatedDdsSweeper;
pub use table::{Row, Table, Tone};
