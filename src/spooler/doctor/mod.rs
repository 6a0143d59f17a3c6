//! Looks for what does not fit together in a storage, says what it means, and mends what can be mended safely.
//!
//! Spoolers may be at work meanwhile. So a look at the whole storage only gives suspicions: documents move while it is
//! listed. Each suspicion is looked at twice more after a moment, and what has not stayed the same all the time is
//! dropped. What is mended is mended by the same steps as a spooler takes, each of which only one can win.

mod catalog;
mod diagnosis;
mod examine;
mod finding;
mod reading;
mod repair;

pub use examine::{Examination, examine};
pub use finding::{Finding, FindingKind, Outcome};
