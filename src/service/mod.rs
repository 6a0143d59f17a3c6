//! What a service owes its host: obedience to signals, word to the service manager, and a log.

mod log;
pub mod notify;
mod options;
mod signals;

pub use log::{Log, LogError};
pub use options::{LogFormat, LogLevel, LogLevelError, LogOptions};
pub use signals::{Signal, Signals};
