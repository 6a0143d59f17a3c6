//! Local files: one JSON file per document below `base_path`, shared with any other program that keeps the layout.

mod files;
mod holders;
mod instance;
mod leases;
mod medium;
mod survey;
mod watch;

pub use medium::Local;
