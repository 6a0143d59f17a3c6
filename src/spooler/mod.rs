//! To be written.

mod options;

pub use options::SpoolerOptions;
