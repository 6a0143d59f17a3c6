//! The 16 digital outputs of `PrawnDO` (firmware 1.2 to 1.3): a table of levels, each held for a time.
//!
//! | instruction | wires | params | the board |
//! |---|---|---|---|
//! | `set` | an output | 0 or 1 | the level of the output from the next `hold` on |
//! | `hold` | none | time in s | all outputs keep their levels for this long |
//! | `wait` | none | none | all outputs keep their levels until the trigger input is high |
//! | `measure` | an output | none | the level that the pin has at the end of the run |
//! | `barrier` | any | none | nothing |
//!
//! A run begins with the levels of the safe state. A program whose first instruction is a `wait` begins with the trigger.

mod board;
mod simulated;
mod table;

pub use board::{MODEL, PrawnDo, Settings};
pub use simulated::SimulatedPrawnDo;
pub use table::{Row, Table};
