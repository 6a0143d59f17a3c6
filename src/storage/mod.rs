//! Where jobs lie: one trait over typed places, one folder per medium, and the provider that is written once for all.

mod error;
mod lease;
pub mod local;
mod medium;
mod options;
mod place;
mod provider;

pub use error::{StorageError, StorageErrorKind};
pub use lease::{Claim, Lease, LeaseRecord, Renewal};
pub use medium::{Changes, Storage, StorageContext, open};
pub use options::{LocalOptions, MediumOptions, StorageOptions};
pub use place::Place;
pub use provider::{NextJob, Provider, QueueView};
