//! Publishes the end of a job, in an order in which no crash loses it and no reader meets a DONE without a result.
//!
//! Before every write the lease is known to be ours: it was confirmed a short part of its time ago, or is confirmed
//! anew. So a spooler that slept, or that was cut off from the storage while another took its job over, stops before it
//! touches anything.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::retry::retry;
use super::spooler::Shared;
use crate::job::{Document, DocumentId, Status};
use crate::storage::{Lease, Place, Provider, Renewal, StorageError, StorageErrorKind};

/// How long a missing status is waited for. A peer that has just put a job into the queue writes the status next, in
/// place and without asking; written over ours it would hide the end of the job.
const STATUS_GRACE: Duration = Duration::from_secs(1);

/// How often to look for it meanwhile.
const STATUS_LOOK: Duration = Duration::from_millis(50);

/// A lease that was confirmed less than this part of its time ago is taken for ours without asking.
const TRUSTED_PART: u32 = 4;

/// Publishes for the holder of a lease.
pub(super) struct Publisher<'a> {
    provider: &'a Provider,
    lease: Lease,
    /// From here on a storage that does not answer is not waited for.
    give_up: &'a CancellationToken,
    /// The text of the job, where it was read.
    job: Option<Arc<Document>>,
    /// The slot in which the job was run. It is free again when the outcome is stored, or when the storage lets us wait.
    slot: Mutex<Option<OwnedSemaphorePermit>>,
    trusted_for: Duration,
    trusted_until: Mutex<Instant>,
}

/// What came of publishing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Published {
    /// The job has come to its end.
    Ended,
    /// Another spooler has taken the job over: what was to be published is dropped.
    LeaseLost,
}

/// Why publishing stopped before its end.
enum Halt {
    LeaseLost,
    Storage(StorageError),
}

impl From<StorageError> for Halt {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

fn told(done: Result<(), Halt>) -> Result<Published, StorageError> {
    match done {
        Ok(()) => Ok(Published::Ended),
        Err(Halt::LeaseLost) => Ok(Published::LeaseLost),
        Err(Halt::Storage(error)) => Err(error),
    }
}

impl<'a> Publisher<'a> {
    /// A publisher for a lease that has just become ours.
    pub(super) fn new(provider: &'a Provider, lease: Lease, shared: &'a Shared) -> Self {
        Self::with_limits(provider, lease, shared.options.lease(), &shared.give_back)
    }

    /// The same from its parts.
    pub(super) fn with_limits(
        provider: &'a Provider,
        lease: Lease,
        lease_time: Duration,
        give_up: &'a CancellationToken,
    ) -> Self {
        let trusted_for = lease_time / TRUSTED_PART;
        let trusted_until = Mutex::new(Instant::now() + trusted_for);
        Self { provider, lease, give_up, job: None, slot: Mutex::default(), trusted_for, trusted_until }
    }

    /// The same for a job that was read, and run in a slot.
    pub(super) fn of_run(self, job: Option<Arc<Document>>, slot: Option<OwnedSemaphorePermit>) -> Self {
        Self { job, slot: Mutex::new(slot), ..self }
    }

    /// The lease.
    pub(super) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Stores the result and ends the job well. A result that the storage refuses ends it with an error.
    pub(super) async fn success(self, result: &Document) -> Result<Published, StorageError> {
        match self.store(result).await {
            Ok(None) => self.end_well().await,
            Ok(Some(refusal)) => self.error(refusal).await,
            Err(halt) => told(Err(halt)),
        }
    }

    /// Ends the job with an error.
    pub(super) async fn error(mut self, status: Status) -> Result<Published, StorageError> {
        self.lease.record.verdict = Some(status.clone());
        self.distrust();
        self.end_with_error(&status).await
    }

    /// From a stored result on: finished, DONE, lease released.
    pub(super) async fn end_well(&self) -> Result<Published, StorageError> {
        told(self.end(Place::Finished(&self.lease.backend), &Status::done(&self.lease.job_id)).await)
    }

    /// From a noted verdict on: deleted, ERROR, lease released.
    pub(super) async fn end_with_error(&self, status: &Status) -> Result<Published, StorageError> {
        told(self.end(Place::Deleted, status).await)
    }

    /// Ends the lease of a job that has nothing left to do.
    pub(super) async fn release(&self) -> Result<(), StorageError> {
        retry(self.give_up, || async { self.provider.storage()?.release(&self.lease).await }).await
    }

    /// Stores the result, or says with which status the job ends since the storage will never take it.
    async fn store(&self, result: &Document) -> Result<Option<Status>, Halt> {
        let (backend, job_id) = (&self.lease.backend, &self.lease.job_id);
        self.distrust();
        match self.step(|| self.provider.upload_result(backend, job_id, result)).await {
            Ok(()) => Ok(None),
            // An earlier attempt got that far: what readers may have seen already stays.
            Err(Halt::Storage(error)) if error.kind() == StorageErrorKind::AlreadyExists => {
                if self.is_result_whole().await? {
                    tracing::info!("the job has a result already; it is kept");
                } else {
                    tracing::warn!("the job has half of a result, which a peer left in the writing; it is replaced");
                    let id = self.document_id();
                    let place = Place::Results(backend);
                    self.step(|| async { self.provider.storage()?.update(place, &id, result).await }).await?;
                }
                Ok(None)
            }
            Err(Halt::Storage(error)) if !error.is_temporary() => {
                tracing::error!(%error, "the storage refuses the result");
                let why = match error.sizes() {
                    Some((bytes, allowed)) => format!(
                        "the result has {bytes} bytes as the storage keeps it; allowed: {allowed}; ask for fewer \
                         shots, or split the job"
                    ),
                    None => "the storage refused the result; the operator finds the reason in the log".to_owned(),
                };
                Ok(Some(Status::failed(job_id, &why)))
            }
            Err(halt) => Err(halt),
        }
    }

    /// Whether the result that is there is one, as far as can be told.
    async fn is_result_whole(&self) -> Result<bool, Halt> {
        match self.step(|| self.provider.get_result(&self.lease.backend, &self.lease.job_id)).await {
            Ok(found) => Ok(found.is_json()),
            Err(Halt::Storage(error)) if !error.is_temporary() => Ok(true),
            Err(halt) => Err(halt),
        }
    }

    async fn end(&self, place: Place<'_>, status: &Status) -> Result<(), Halt> {
        self.move_to(place).await?;
        self.free_slot();
        self.write_status(status).await?;
        Ok(self.release().await?)
    }

    /// Does one step while the lease is ours, again and again as long as that may help.
    async fn step<T, F: Future<Output = Result<T, StorageError>>>(&self, step: impl Fn() -> F) -> Result<T, Halt> {
        let attempt = || async {
            let done = if self.is_held().await? { Some(step().await?) } else { None };
            Ok(done)
        };
        let attempt = || async { attempt().await.inspect_err(|error: &StorageError| self.failed(error)) };
        retry(self.give_up, attempt).await?.ok_or(Halt::LeaseLost)
    }

    /// A storage that is away must not keep other storages' jobs from running.
    fn failed(&self, error: &StorageError) {
        if error.is_temporary() {
            self.free_slot();
        }
    }

    fn free_slot(&self) {
        drop(self.slot.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Has the lease confirmed before the next step, and its record stored.
    fn distrust(&self) {
        *self.trusted_until.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    async fn is_held(&self) -> Result<bool, StorageError> {
        let trusted_until = *self.trusted_until.lock().unwrap_or_else(PoisonError::into_inner);
        if Instant::now() < trusted_until {
            return Ok(true);
        }
        let asked = Instant::now();
        let is_held = self.provider.storage()?.renew(&self.lease).await? != Renewal::Lost;
        if is_held {
            *self.trusted_until.lock().unwrap_or_else(PoisonError::into_inner) = asked + self.trusted_for;
        }
        Ok(is_held)
    }

    /// Moves the job out of running. It may be there already, by an earlier attempt.
    async fn move_to(&self, place: Place<'_>) -> Result<(), Halt> {
        let id = self.document_id();
        match self.step(|| async { self.provider.storage()?.move_to(Place::Running, place, &id).await }).await {
            Err(Halt::Storage(error)) if error.kind() == StorageErrorKind::NotFound => self.has_left(place).await,
            Err(Halt::Storage(error)) if error.kind() == StorageErrorKind::AlreadyExists => {
                if self.read(Place::Running).await? == self.read(place).await? {
                    tracing::debug!(%place, "the job had been copied already");
                } else {
                    tracing::error!(%place, "two jobs have this id; the one that has just run is removed from running");
                }
                let removed = self.step(|| async { self.provider.storage()?.delete(Place::Running, &id).await }).await;
                match removed {
                    Err(Halt::Storage(error)) if error.kind() == StorageErrorKind::NotFound => Ok(()),
                    removed => removed,
                }
            }
            moved => moved,
        }
    }

    /// The job at a place; none if there is none that can be read.
    async fn read(&self, place: Place<'_>) -> Result<Option<Document>, Halt> {
        match self.step(|| self.provider.get_job(place, &self.lease.job_id)).await {
            Err(Halt::Storage(error)) if !error.is_temporary() => Ok(None),
            read => read.map(Some),
        }
    }

    /// Makes sure that a job which is not in running any more lies at its end.
    async fn has_left(&self, place: Place<'_>) -> Result<(), Halt> {
        let id = self.document_id();
        for end in [Place::Finished(&self.lease.backend), Place::Deleted] {
            if self.step(|| async { self.provider.storage()?.exists(end, &id).await }).await? {
                tracing::debug!(place = %end, "the job had left running already");
                return Ok(());
            }
        }
        let Some(job) = &self.job else {
            tracing::error!("the job's document has vanished from the storage");
            return Ok(());
        };
        tracing::warn!("the job's document had vanished from the storage; it is stored again");
        match self.step(|| async { self.provider.storage()?.upload(place, &id, job).await }).await {
            Err(Halt::Storage(error)) if error.kind() == StorageErrorKind::AlreadyExists => Ok(()),
            stored => stored,
        }
    }

    async fn write_status(&self, status: &Status) -> Result<(), Halt> {
        let (backend, job_id) = (&self.lease.backend, &self.lease.job_id);
        let update = async || self.step(|| self.provider.update_status(backend, job_id, status)).await;
        let looks = STATUS_GRACE.as_millis() / STATUS_LOOK.as_millis();
        for _ in 0..looks {
            match update().await {
                Err(Halt::Storage(error)) if error.kind() == StorageErrorKind::NotFound => {}
                updated => return updated,
            }
            tokio::select! {
                () = tokio::time::sleep(STATUS_LOOK) => {}
                () = self.give_up.cancelled() => break,
            }
        }
        match self.step(|| self.provider.upload_status(backend, job_id, status)).await {
            Err(Halt::Storage(error)) if error.kind() == StorageErrorKind::AlreadyExists => update().await,
            stored => stored,
        }
    }

    fn document_id(&self) -> DocumentId {
        (&self.lease.job_id).into()
    }
}
