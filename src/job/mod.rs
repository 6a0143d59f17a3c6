//! The vocabulary of the wire contract: names, documents and states. No I/O and no clock.

mod configuration;
mod document;
mod experiment;
mod names;
mod progress;
mod result;
mod status;

pub use configuration::{BackendConfig, BackendStatus, ClientConfig, GateConfig};
pub use document::{Document, DocumentError, SignedParts};
pub use experiment::{Experiment, Job};
pub use names::{BackendName, DocumentId, DriverName, InstanceName, JobId, KeyId, NameError, StorageName, UserName};
pub use progress::Progress;
pub use result::{DeviceMark, ResultWriter, result_size_bound};
pub use status::{JobState, Status};
