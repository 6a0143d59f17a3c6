//! Where jobs lie: one trait over typed places, one folder per medium, and the provider that is written once for all.

mod changes;
#[cfg(feature = "storage-dropbox")]
pub mod dropbox;
mod error;
mod lease;
pub mod local;
mod medium;
#[cfg(feature = "storage-mongodb")]
pub mod mongodb;
mod options;
mod place;
mod provider;
#[cfg(any(feature = "storage-dropbox", feature = "storage-mongodb"))]
mod secret_key;
mod signed;
#[cfg(any(feature = "storage-dropbox", feature = "storage-mongodb"))]
mod tls;

pub use changes::Changes;
pub use error::{StorageError, StorageErrorKind};
pub use lease::{Claim, HeldLease, Holder, Lease, LeaseRecord, Renewal};
pub use medium::{Leftover, Storage, StorageContext, open};
#[cfg(feature = "storage-dropbox")]
pub use options::DropboxOptions;
#[cfg(feature = "storage-mongodb")]
pub use options::MongodbOptions;
pub use options::{LocalOptions, MediumOptions, StorageOptions};
pub use place::Place;
pub use provider::{NextJob, Provider, QueueView};
