//! The pseudoclock `PrawnBlaster` (firmware 1.1): up to four outputs, each with a table of square waves and waits.
//!
//! | instruction | wires | params | the board |
//! |---|---|---|---|
//! | `tick` | a clock | half period in s; repetitions | the clock goes high and low again for half a period each, so many times |
//! | `wait` | a clock | time-out in s | the clock stays low until its trigger input is high, or for this long |
//! | `measure` | a clock | none | how long its waits lasted in all, in cycles of the board's clock (10 ns at 100 MHz) |
//! | `barrier` | any | none | nothing |
//!
//! The clocks run side by side; the run ends when the last has ended.

mod board;
mod simulated;
mod table;

pub use board::{ClockSource, MODEL, PrawnBlaster, Settings};
pub use simulated::{SimulatedPrawnBlaster, Wire};
pub use table::{Row, Table};
