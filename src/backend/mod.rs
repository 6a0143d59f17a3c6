//! What runs a job: a name, a schema, and a simulator or, later, a driver behind them.

pub mod device;
mod open;
mod options;
mod progress;
mod run;
mod schemas;

pub use device::DriverOptions;
pub use open::BackendError;
pub use options::{BackendOptions, SchemaSource};
pub use progress::ProgressCounter;
pub use run::{Backend, Prepared, RunError, Runner};
pub use schemas::{SchemaOrigin, SchemaSet, SchemaSetError};
