//! What boards on a Raspberry Pi Pico share that are programmed with a table and then run it: the pseudoclock
//! `PrawnBlaster`, the digital outputs `PrawnDO` and the DDS sweeper.
//!
//! | | |
//! |---|---|
//! | [`Pico`] | the dialogue: finds out who is there, sends commands and blocks, gets out of whatever was cut off |
//! | [`Board`] | what one firmware adds: its commands, its limits, how instructions become rows of its table |
//! | [`Part`] | a board and the dialogue with it |
//! | [`BoardDriver`] | the driver of any [`Board`] |
//! | [`SimulatedPico`], [`Firmware`] | stand in for a board, with its quirks |
//!
//! All of them are USB devices 2E8A:000A that differ only by what they answer to `version`, and neither of them can be
//! reset from outside.

mod board;
pub mod cycles;
mod driver;
mod model;
mod part;
mod pico;
mod prawn;
mod simulated;
mod state;

pub use board::{Board, RunTime};
pub use driver::BoardDriver;
pub use model::{Model, Version};
pub use part::Part;
pub use pico::Pico;
pub use prawn::{PRAWN_HZ, Prawn};
pub use simulated::{Answer, Firmware, SimulatedPico, words};
pub use state::RunState;
