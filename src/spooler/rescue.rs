//! Brings the jobs of spoolers that died to an end, or back into their queues.

use tracing::Instrument;

use super::publish::Publisher;
use super::retry::retry;
use super::spooler::Shared;
use crate::job::{DocumentId, JobId, Status};
use crate::storage::{Lease, Place, Provider, StorageError};

/// Looks after one storage.
pub(super) struct Rescue {
    pub(super) provider: Provider,
    pub(super) shared: Shared,
}

impl Rescue {
    /// Looks again and again until no further job is to be taken.
    pub(super) async fn keep_looking(self) {
        let Ok(storage) = self.provider.storage() else { return };
        let interval = storage.orphan_interval();
        loop {
            tokio::select! {
                () = self.shared.stop_taking.cancelled() => return,
                () = tokio::time::sleep(interval) => self.look().await,
            }
        }
    }

    /// Takes over what is left of dead spoolers, and deals with it.
    pub(super) async fn look(&self) {
        let stop = &self.shared.stop_taking;
        let orphans = retry(stop, || async { self.provider.storage()?.adopt_orphans().await }).await;
        let orphans = match orphans {
            Ok(orphans) => orphans,
            Err(error) => {
                tracing::error!(%error, "jobs of dead spoolers could not be looked for");
                return;
            }
        };
        for lease in orphans {
            let span = tracing::info_span!("job", job_id = %lease.job_id, backend = %lease.backend);
            async {
                let attempts = lease.record.attempts;
                match self.settle(lease).await {
                    Ok(what) => tracing::warn!(attempts, "the job's spooler had died; {what}"),
                    Err(error) => tracing::error!(%error, "the job's spooler had died; the job is not settled yet"),
                }
            }
            .instrument(span)
            .await;
        }
    }

    /// Goes on where the dead spooler ended, and says what was done.
    async fn settle(&self, lease: Lease) -> Result<&'static str, StorageError> {
        let job_id = lease.job_id.clone();
        let backend = lease.backend.clone();
        let record = lease.record.clone();
        let publisher = Publisher { provider: &self.provider, lease, give_up: &self.shared.give_back };
        if self.exists(Place::Results(&backend), &job_id).await? {
            publisher.end_well(None).await?;
            return Ok("its result was there, and it is finished now");
        }
        if let Some(status) = &record.verdict {
            publisher.end_with_error(status, None).await?;
            return Ok("it had failed, and says so now");
        }
        if !self.exists(Place::Running, &job_id).await? {
            publisher.release().await?;
            return Ok("it was not running any more");
        }
        if record.attempts >= self.shared.options.max_attempts {
            let times = record.attempts;
            let why = format!("the job was started {times} times, and each time its spooler ended before the job did");
            publisher.end_with_error(&Status::failed(&job_id, &why), None).await?;
            return Ok("that was the last attempt, and it ends with an error");
        }
        self.provider.storage()?.put_back(&publisher.lease).await?;
        Ok("it is back in its queue")
    }

    async fn exists(&self, place: Place<'_>, job_id: &JobId) -> Result<bool, StorageError> {
        let id: DocumentId = job_id.into();
        retry(&self.shared.give_back, || async { self.provider.storage()?.exists(place, &id).await }).await
    }
}
