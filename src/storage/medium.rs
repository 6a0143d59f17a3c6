//! What a medium must do.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use super::local::Local;
use super::{Claim, Lease, MediumOptions, Place, Renewal, StorageError};
use crate::job::{BackendName, Document, DocumentId, JobId};

/// A medium that keeps documents at places.
///
/// The five operations behave alike on every medium. Who may move what, and what a place means, is the spooler's
/// business. Claiming, renewing and giving up jobs, and noticing new ones, are done by each medium in its own way.
///
/// A document is either absent or whole, also after a power failure, as soon as an operation has returned.
#[async_trait]
pub trait Storage: Send + Sync {
    /// Creates a document. Fails with `AlreadyExists` where there is one, and leaves it as it is.
    async fn upload(&self, place: Place<'_>, id: &DocumentId, document: &Document) -> Result<(), StorageError>;

    /// Reads a document, or fails with `NotFound`.
    async fn get(&self, place: Place<'_>, id: &DocumentId) -> Result<Document, StorageError>;

    /// Whether there is a document, readable or not; it is not read.
    async fn exists(&self, place: Place<'_>, id: &DocumentId) -> Result<bool, StorageError>;

    /// Replaces a document, or fails with `NotFound`.
    async fn update(&self, place: Place<'_>, id: &DocumentId, document: &Document) -> Result<(), StorageError>;

    /// Moves a document, content untouched. Fails with `NotFound`, or with `AlreadyExists` if the target is taken.
    async fn move_to(&self, from: Place<'_>, to: Place<'_>, id: &DocumentId) -> Result<(), StorageError>;

    /// Deletes a document, or fails with `NotFound`.
    async fn delete(&self, place: Place<'_>, id: &DocumentId) -> Result<(), StorageError>;

    /// The ids at a place, first come first; an unknown place is an empty one.
    async fn list(&self, place: Place<'_>) -> Result<Vec<DocumentId>, StorageError>;

    /// Tries to take a job out of the queue into running, with a lease. Of all that try, in any process, one wins.
    async fn claim(&self, backend: &BackendName, job_id: &JobId) -> Result<Claim, StorageError>;

    /// Stores the lease's record, extends the lease, and says whether it is still held and shall go on.
    async fn renew(&self, lease: &Lease) -> Result<Renewal, StorageError>;

    /// Puts a running job back to the head of its queue and ends the lease; its record survives.
    async fn put_back(&self, lease: &Lease) -> Result<(), StorageError>;

    /// Ends the lease of a job that has come to its end.
    async fn release(&self, lease: &Lease) -> Result<(), StorageError>;

    /// Takes over the leases of spoolers that died. A job that was not running yet goes back to its queue; of each
    /// other one the lease is ours afterwards, with one more attempt in its record.
    async fn adopt_orphans(&self) -> Result<Vec<Lease>, StorageError>;

    /// How often to look for orphans.
    fn orphan_interval(&self) -> Duration;

    /// Marks a running job for cancellation. False if no spooler of ours holds it.
    async fn request_cancel(&self, backend: &BackendName, job_id: &JobId) -> Result<bool, StorageError>;

    /// Begins to watch the queue of a backend.
    async fn watch(&self, backend: &BackendName) -> Result<Changes, StorageError>;
}

/// Tells that a queue may have changed. Changes between two waits are not missed.
#[derive(Debug, Clone)]
pub struct Changes(watch::Receiver<u64>);

impl Changes {
    /// Follows a counter that the medium moves at each change.
    pub(super) fn new(counter: watch::Receiver<u64>) -> Self {
        Self(counter)
    }

    /// Waits for a change since the last call. If the medium has stopped watching it never returns: whoever waits has
    /// a slow look of its own beside it.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// What a medium has to know of the process that uses it.
#[derive(Debug, Clone, Copy)]
pub struct StorageContext {
    /// How long a lease holds without renewal, where the medium cannot tell that its holder died.
    pub lease: Duration,
    /// The largest job that is read, in bytes.
    pub max_job_bytes: u64,
}

/// Opens the medium that the options name.
pub async fn open(options: &MediumOptions, context: StorageContext) -> Result<Arc<dyn Storage>, StorageError> {
    match options {
        MediumOptions::Local(options) => Ok(Arc::new(Local::open(options, context).await?)),
    }
}
