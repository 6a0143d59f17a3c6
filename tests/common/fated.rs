//! A storage whose operations meet a fate.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use qspool::job::{BackendName, Document, DocumentId, JobId, Progress};
use qspool::storage::{
    Changes, Claim, HeldLease, Lease, Leftover, Place, Renewal, Storage, StorageError, StorageErrorKind,
};

/// What becomes of the operations of a storage.
pub(crate) trait Fate: Send + Sync {
    /// Whether the operation of that name is done at all. The answer is for [`after`](Self::after).
    fn before(&self, operation: &str) -> Result<usize, StorageError>;

    /// Whether its answer arrives.
    fn after(&self, _number: usize) -> Result<(), StorageError> {
        Ok(())
    }

    /// What is said of a lease, if it is not for the storage to say.
    fn renewal(&self) -> Option<Renewal> {
        None
    }
}

/// The error of a storage that is away.
pub(crate) fn away() -> StorageError {
    StorageError::new(StorageErrorKind::Unavailable, "the storage is away, for the test")
}

/// Death at the operation of a given number: nothing is done any more from there on.
pub(crate) struct Mortal {
    pub(crate) operations: Arc<AtomicUsize>,
    pub(crate) dies_at: usize,
    /// Whether the operation of that number is done, and only its answer is lost.
    pub(crate) answers: Death,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Death {
    Before,
    After,
}

impl Fate for Mortal {
    fn before(&self, _operation: &str) -> Result<usize, StorageError> {
        let number = self.operations.fetch_add(1, Ordering::SeqCst);
        let is_dead = number > self.dies_at || (number == self.dies_at && self.answers == Death::Before);
        if is_dead { Err(away()) } else { Ok(number) }
    }

    fn after(&self, number: usize) -> Result<(), StorageError> {
        if number == self.dies_at { Err(away()) } else { Ok(()) }
    }
}

/// A storage and its fate.
pub(crate) struct Fated<F> {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) fate: F,
}

impl<F: Fate> Fated<F> {
    async fn call<T>(
        &self,
        name: &str,
        operation: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        let number = self.fate.before(name)?;
        let answer = operation.await;
        self.fate.after(number)?;
        answer
    }
}

#[async_trait]
impl<F: Fate> Storage for Fated<F> {
    async fn upload(&self, place: Place<'_>, id: &DocumentId, document: &Document) -> Result<(), StorageError> {
        self.call("upload", self.storage.upload(place, id, document)).await
    }
    async fn get(&self, place: Place<'_>, id: &DocumentId) -> Result<Document, StorageError> {
        self.call("get", self.storage.get(place, id)).await
    }
    async fn exists(&self, place: Place<'_>, id: &DocumentId) -> Result<bool, StorageError> {
        self.call("exists", self.storage.exists(place, id)).await
    }
    async fn update(&self, place: Place<'_>, id: &DocumentId, document: &Document) -> Result<(), StorageError> {
        self.call("update", self.storage.update(place, id, document)).await
    }
    async fn move_to(&self, from: Place<'_>, to: Place<'_>, id: &DocumentId) -> Result<(), StorageError> {
        self.call("move_to", self.storage.move_to(from, to, id)).await
    }
    async fn delete(&self, place: Place<'_>, id: &DocumentId) -> Result<(), StorageError> {
        self.call("delete", self.storage.delete(place, id)).await
    }
    async fn list(&self, place: Place<'_>) -> Result<Vec<DocumentId>, StorageError> {
        self.call("list", self.storage.list(place)).await
    }
    fn arrival_resolution(&self) -> Duration {
        self.storage.arrival_resolution()
    }
    async fn claim(&self, backend: &BackendName, job_id: &JobId) -> Result<Claim, StorageError> {
        self.call("claim", self.storage.claim(backend, job_id)).await
    }
    async fn renew(&self, lease: &Lease) -> Result<Renewal, StorageError> {
        if let Some(renewal) = self.fate.renewal() {
            return Ok(renewal);
        }
        self.call("renew", self.storage.renew(lease)).await
    }
    async fn put_back(&self, lease: &Lease) -> Result<(), StorageError> {
        self.call("put_back", self.storage.put_back(lease)).await
    }
    async fn release(&self, lease: &Lease) -> Result<(), StorageError> {
        self.call("release", self.storage.release(lease)).await
    }
    async fn adopt_orphans(&self) -> Result<Vec<Lease>, StorageError> {
        self.call("adopt_orphans", self.storage.adopt_orphans()).await
    }
    fn orphan_interval(&self) -> Duration {
        // The number of operations shall not depend on how long a run takes.
        Duration::from_secs(3600)
    }
    async fn request_cancel(&self, backend: &BackendName, job_id: &JobId) -> Result<bool, StorageError> {
        self.call("request_cancel", self.storage.request_cancel(backend, job_id)).await
    }
    async fn watch(&self, backend: &BackendName) -> Result<Changes, StorageError> {
        self.storage.watch(backend).await
    }
    async fn backends(&self) -> Result<Vec<BackendName>, StorageError> {
        self.call("backends", self.storage.backends()).await
    }
    async fn unchanged_since(&self, place: Place<'_>, time: Timestamp) -> Result<Vec<DocumentId>, StorageError> {
        self.call("unchanged_since", self.storage.unchanged_since(place, time)).await
    }
    async fn leases(&self) -> Result<Vec<HeldLease>, StorageError> {
        self.call("leases", self.storage.leases()).await
    }
    async fn progress(&self, backend: &BackendName, job_id: &JobId) -> Result<Option<Progress>, StorageError> {
        self.call("progress", self.storage.progress(backend, job_id)).await
    }
    async fn adopt_unleased(&self, backend: &BackendName, job_id: &JobId) -> Result<Option<Lease>, StorageError> {
        self.call("adopt_unleased", self.storage.adopt_unleased(backend, job_id)).await
    }
    async fn leftovers(&self, remove: bool) -> Result<Vec<Leftover>, StorageError> {
        self.call("leftovers", self.storage.leftovers(remove)).await
    }
}
