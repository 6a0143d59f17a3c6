//! Publishes the end of a job, in an order in which no crash loses it and no reader meets a DONE without a result.

use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::retry::retry;
use crate::job::{Document, DocumentId, Status};
use crate::storage::{Lease, Place, Provider, Renewal, StorageError, StorageErrorKind};

/// How long a missing status is waited for. A peer that has just put a job into the queue writes the status next, in
/// place and without asking; written over ours it would hide the end of the job.
const STATUS_GRACE: Duration = Duration::from_secs(1);

/// How often to look for it meanwhile.
const STATUS_LOOK: Duration = Duration::from_millis(50);

/// Publishes for the holder of a lease.
pub(super) struct Publisher<'a> {
    pub(super) provider: &'a Provider,
    pub(super) lease: Lease,
    /// From here on a storage that does not answer is not waited for.
    pub(super) give_up: &'a CancellationToken,
}

/// What came of publishing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Published {
    /// The job has come to its end.
    Ended,
    /// Another spooler has taken the job over: what was to be published is dropped.
    LeaseLost,
}

impl Publisher<'_> {
    /// Stores the result and ends the job well. A result that the storage refuses ends it with an error.
    pub(super) async fn success(
        self,
        result: &Document,
        slot: Option<OwnedSemaphorePermit>,
    ) -> Result<Published, StorageError> {
        if !self.still_held().await? {
            return Ok(Published::LeaseLost);
        }
        let (backend, job_id) = (&self.lease.backend, &self.lease.job_id);
        match retry(self.give_up, || async { self.provider.upload_result(backend, job_id, result).await }).await {
            Ok(()) => {}
            // An earlier attempt got that far: what readers may have seen already stays.
            Err(error) if error.kind() == StorageErrorKind::AlreadyExists => {
                tracing::info!("the job has a result already; it is kept");
            }
            Err(error) if error.is_temporary() => return Err(error),
            Err(error) => {
                tracing::error!(%error, "the storage refuses the result");
                let bytes = result.text().len();
                let why = match error.kind() {
                    StorageErrorKind::TooLarge => format!("the result has {bytes} bytes, more than the storage takes"),
                    _ => "the storage refused the result; the operator finds the reason in the log".to_owned(),
                };
                let status = Status::failed(job_id, &why);
                return self.error(status, slot).await;
            }
        }
        self.end_well(slot).await.map(|()| Published::Ended)
    }

    /// Ends the job with an error.
    pub(super) async fn error(
        mut self,
        status: Status,
        slot: Option<OwnedSemaphorePermit>,
    ) -> Result<Published, StorageError> {
        self.lease.record.verdict = Some(status.clone());
        if !self.still_held().await? {
            return Ok(Published::LeaseLost);
        }
        self.end_with_error(&status, slot).await.map(|()| Published::Ended)
    }

    /// From a stored result on: finished, DONE, lease released.
    pub(super) async fn end_well(&self, slot: Option<OwnedSemaphorePermit>) -> Result<(), StorageError> {
        self.move_to(Place::Finished(&self.lease.backend)).await?;
        drop(slot);
        self.write_status(&Status::done(&self.lease.job_id)).await?;
        self.release().await
    }

    /// From a noted verdict on: deleted, ERROR, lease released.
    pub(super) async fn end_with_error(
        &self,
        status: &Status,
        slot: Option<OwnedSemaphorePermit>,
    ) -> Result<(), StorageError> {
        self.move_to(Place::Deleted).await?;
        drop(slot);
        self.write_status(status).await?;
        self.release().await
    }

    /// Ends the lease of a job that has nothing left to do.
    pub(super) async fn release(&self) -> Result<(), StorageError> {
        retry(self.give_up, || async { self.provider.storage()?.release(&self.lease).await }).await
    }

    /// Notes the verdict in the lease, and makes sure that the job is still ours to end.
    async fn still_held(&self) -> Result<bool, StorageError> {
        let renewed = retry(self.give_up, || async { self.provider.storage()?.renew(&self.lease).await }).await?;
        Ok(renewed != Renewal::Lost)
    }

    /// Moves the job out of running. It may be there already, by an earlier attempt.
    async fn move_to(&self, place: Place<'_>) -> Result<(), StorageError> {
        let id: DocumentId = (&self.lease.job_id).into();
        let moved =
            retry(self.give_up, || async { self.provider.storage()?.move_to(Place::Running, place, &id).await }).await;
        match moved {
            Err(error) if error.kind() == StorageErrorKind::NotFound => {
                tracing::debug!(%place, "the job had left running already");
                Ok(())
            }
            Err(error) if error.kind() == StorageErrorKind::AlreadyExists => {
                tracing::error!(%place, "two jobs have this id; the one that has just run is removed from running");
                retry(self.give_up, || async { self.provider.storage()?.delete(Place::Running, &id).await }).await
            }
            result => result,
        }
    }

    async fn write_status(&self, status: &Status) -> Result<(), StorageError> {
        let (backend, job_id) = (&self.lease.backend, &self.lease.job_id);
        let looks = STATUS_GRACE.as_millis() / STATUS_LOOK.as_millis();
        for _ in 0..looks {
            match retry(self.give_up, || async { self.provider.update_status(backend, job_id, status).await }).await {
                Err(error) if error.kind() == StorageErrorKind::NotFound => {}
                result => return result,
            }
            tokio::select! {
                () = tokio::time::sleep(STATUS_LOOK) => {}
                () = self.give_up.cancelled() => break,
            }
        }
        match retry(self.give_up, || async { self.provider.upload_status(backend, job_id, status).await }).await {
            Err(error) if error.kind() == StorageErrorKind::AlreadyExists => {
                retry(self.give_up, || async { self.provider.update_status(backend, job_id, status).await }).await
            }
            result => result,
        }
    }
}
