//! Goes on with a job where somebody else ended: what the rescue and the doctor share.

use tokio_util::sync::CancellationToken;

use super::SpoolerOptions;
use super::publish::{Published, Publisher};
use super::retry::retry;
use crate::job::{BackendName, DocumentId, JobId, Status};
use crate::storage::{Lease, Place, Provider, StorageError, StorageErrorKind};

/// Settles jobs whose leases have been taken over.
pub(super) struct Settler<'a> {
    pub(super) provider: &'a Provider,
    pub(super) options: &'a SpoolerOptions,
    /// From here on a storage that does not answer is not waited for.
    pub(super) give_up: &'a CancellationToken,
}

impl Settler<'_> {
    /// Brings the job to the end that it was on its way to, or back into its queue, and says what was done.
    pub(super) async fn settle(&self, lease: Lease) -> Result<&'static str, StorageError> {
        let job_id = lease.job_id.clone();
        let backend = lease.backend.clone();
        let record = lease.record.clone();
        let publisher = self.publisher(lease);
        if self.has_result(&backend, &job_id).await? {
            return Ok(ended(publisher.end_well().await?, "its result was there, and it is finished now"));
        }
        if let Some(status) = &record.verdict {
            return Ok(ended(publisher.end_with_error(status).await?, "it had failed, and says so now"));
        }
        if !self.exists(Place::Running, &job_id).await? {
            publisher.release().await?;
            return Ok("it was not running any more");
        }
        if record.attempts >= self.options.max_attempts {
            let times = record.attempts;
            let why = format!("the job was started {times} times, and each time its spooler ended before the job did");
            let published = publisher.error(Status::failed(&job_id, &why)).await?;
            return Ok(ended(published, "that was the last attempt, and it ends with an error"));
        }
        let lease = publisher.lease();
        retry(self.give_up, || async { self.provider.storage()?.put_back(lease).await }).await?;
        Ok("it is back in its queue")
    }

    /// Ends the job with the error that its status told already.
    pub(super) async fn settle_as_told(&self, lease: Lease, status: Status) -> Result<&'static str, StorageError> {
        Ok(ended(self.publisher(lease).error(status).await?, "it had failed, and lies with the failed ones now"))
    }

    fn publisher(&self, lease: Lease) -> Publisher<'_> {
        Publisher::with_limits(self.provider, lease, self.options.lease(), self.give_up)
    }

    /// Whether there is a whole result. Half of one is what a peer leaves that was killed while it wrote in place.
    async fn has_result(&self, backend: &BackendName, job_id: &JobId) -> Result<bool, StorageError> {
        match retry(self.give_up, || self.provider.get_result(backend, job_id)).await {
            Ok(result) => Ok(result.is_json()),
            Err(error) if error.kind() == StorageErrorKind::NotFound => Ok(false),
            Err(error) if error.is_temporary() => Err(error),
            // What lies there is for a person to look at.
            Err(_) => Ok(true),
        }
    }

    async fn exists(&self, place: Place<'_>, job_id: &JobId) -> Result<bool, StorageError> {
        let id: DocumentId = job_id.into();
        retry(self.give_up, || async { self.provider.storage()?.exists(place, &id).await }).await
    }
}

fn ended(published: Published, how: &'static str) -> &'static str {
    match published {
        Published::Ended => how,
        Published::LeaseLost => "another spooler was quicker",
    }
}
