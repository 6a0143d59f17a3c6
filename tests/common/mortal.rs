//! A storage that dies at one of its operations.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use qspool::job::{BackendName, Document, DocumentId, JobId};
use qspool::storage::{
    Changes, Claim, HeldLease, Lease, Leftover, Place, Renewal, Storage, StorageError, StorageErrorKind,
};

/// A storage that dies at the operation of a given number, and does nothing any more from there on.
pub(crate) struct Mortal {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) operations: Arc<AtomicUsize>,
    pub(crate) dies_at: usize,
    /// The operation of that number is done, but its answer is lost.
    pub(crate) answers: Death,
    pub(crate) loses_leases: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Death {
    Before,
    After,
}

impl Mortal {
    async fn call<T>(&self, operation: impl Future<Output = Result<T, StorageError>>) -> Result<T, StorageError> {
        let number = self.operations.fetch_add(1, Ordering::SeqCst);
        let dead = || StorageError::new(StorageErrorKind::Unavailable, "the storage has died, for the test");
        if number > self.dies_at || (number == self.dies_at && self.answers == Death::Before) {
            return Err(dead());
        }
        let answer = operation.await;
        if number == self.dies_at { Err(dead()) } else { answer }
    }
}

#[async_trait]
impl Storage for Mortal {
    async fn upload(&self, place: Place<'_>, id: &DocumentId, document: &Document) -> Result<(), StorageError> {
        self.call(self.storage.upload(place, id, document)).await
    }
    async fn get(&self, place: Place<'_>, id: &DocumentId) -> Result<Document, StorageError> {
        self.call(self.storage.get(place, id)).await
    }
    async fn exists(&self, place: Place<'_>, id: &DocumentId) -> Result<bool, StorageError> {
        self.call(self.storage.exists(place, id)).await
    }
    async fn update(&self, place: Place<'_>, id: &DocumentId, document: &Document) -> Result<(), StorageError> {
        self.call(self.storage.update(place, id, document)).await
    }
    async fn move_to(&self, from: Place<'_>, to: Place<'_>, id: &DocumentId) -> Result<(), StorageError> {
        self.call(self.storage.move_to(from, to, id)).await
    }
    async fn delete(&self, place: Place<'_>, id: &DocumentId) -> Result<(), StorageError> {
        self.call(self.storage.delete(place, id)).await
    }
    async fn list(&self, place: Place<'_>) -> Result<Vec<DocumentId>, StorageError> {
        self.call(self.storage.list(place)).await
    }
    fn arrival_resolution(&self) -> Duration {
        self.storage.arrival_resolution()
    }
    async fn claim(&self, backend: &BackendName, job_id: &JobId) -> Result<Claim, StorageError> {
        self.call(self.storage.claim(backend, job_id)).await
    }
    async fn renew(&self, lease: &Lease) -> Result<Renewal, StorageError> {
        if self.loses_leases {
            return Ok(Renewal::Lost);
        }
        self.call(self.storage.renew(lease)).await
    }
    async fn put_back(&self, lease: &Lease) -> Result<(), StorageError> {
        self.call(self.storage.put_back(lease)).await
    }
    async fn release(&self, lease: &Lease) -> Result<(), StorageError> {
        self.call(self.storage.release(lease)).await
    }
    async fn adopt_orphans(&self) -> Result<Vec<Lease>, StorageError> {
        self.call(self.storage.adopt_orphans()).await
    }
    fn orphan_interval(&self) -> Duration {
        // The number of operations shall not depend on how long a run takes.
        Duration::from_secs(3600)
    }
    async fn request_cancel(&self, backend: &BackendName, job_id: &JobId) -> Result<bool, StorageError> {
        self.call(self.storage.request_cancel(backend, job_id)).await
    }
    async fn watch(&self, backend: &BackendName) -> Result<Changes, StorageError> {
        self.storage.watch(backend).await
    }
    async fn backends(&self) -> Result<Vec<BackendName>, StorageError> {
        self.call(self.storage.backends()).await
    }
    async fn unchanged_since(&self, place: Place<'_>, time: Timestamp) -> Result<Vec<DocumentId>, StorageError> {
        self.call(self.storage.unchanged_since(place, time)).await
    }
    async fn leases(&self) -> Result<Vec<HeldLease>, StorageError> {
        self.call(self.storage.leases()).await
    }
    async fn adopt_unleased(&self, backend: &BackendName, job_id: &JobId) -> Result<Option<Lease>, StorageError> {
        self.call(self.storage.adopt_unleased(backend, job_id)).await
    }
    async fn leftovers(&self, remove: bool) -> Result<Vec<Leftover>, StorageError> {
        self.call(self.storage.leftovers(remove)).await
    }
}
