//! To be written.

mod options;

pub use options::{LocalOptions, MediumOptions, StorageOptions};
