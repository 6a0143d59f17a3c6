//! Brings the jobs of spoolers that died to an end, or back into their queues.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::publish::{Published, Publisher};
use super::retry::retry;
use super::spooler::Shared;
use crate::job::{DocumentId, JobId, Status};
use crate::storage::{Lease, Place, Provider, StorageError};

/// Looks after one storage.
#[derive(Clone)]
pub(super) struct Rescue {
    pub(super) provider: Provider,
    pub(super) shared: Shared,
}

/// How long the first claims wait for the jobs that were interrupted, which are to go first.
const HEAD_START: Duration = Duration::from_secs(2);

impl Rescue {
    /// Looks for the first time, and gives what it finds a head start. What takes longer hinders nobody.
    pub(super) async fn begin(&self) {
        let settling = TaskTracker::new();
        for task in self.look().await {
            settling.spawn(task);
        }
        settling.close();
        if tokio::time::timeout(HEAD_START, settling.wait()).await.is_err() {
            tracing::warn!("jobs of dead spoolers are not settled yet; the queues are served meanwhile");
        }
    }

    /// Looks again and again until no further job is to be taken.
    pub(super) async fn keep_looking(self) {
        let Ok(storage) = self.provider.storage() else { return };
        let interval = storage.orphan_interval();
        loop {
            tokio::select! {
                () = self.shared.stop_taking.cancelled() => return,
                () = tokio::time::sleep(interval) => drop(self.look().await),
            }
        }
    }

    /// Takes over what is left of dead spoolers, and begins to settle each job in a task of its own.
    async fn look(&self) -> Vec<JoinHandle<()>> {
        let orphans = match self.provider.storage() {
            Ok(storage) => storage.adopt_orphans().await,
            Err(error) => Err(error),
        };
        let orphans = orphans.unwrap_or_else(|error| {
            tracing::debug!(%error, "jobs of dead spoolers could not be looked for");
            Vec::new()
        });
        let begin = |lease: Lease| {
            let (storage, backend) = (self.provider.name(), &lease.backend);
            let span = tracing::info_span!(parent: None, "job", job_id = %lease.job_id, %backend, %storage);
            self.shared.jobs.spawn(self.clone().settle_and_tell(lease).instrument(span))
        };
        orphans.into_iter().map(begin).collect()
    }

    async fn settle_and_tell(self, lease: Lease) {
        let attempts = lease.record.attempts;
        match self.settle(lease).await {
            Ok(what) => tracing::warn!(attempts, "the job's spooler had died; {what}"),
            Err(error) => tracing::error!(%error, "the job's spooler had died; the job is not settled yet"),
        }
    }

    /// Goes on where the dead spooler ended, and says what was done.
    async fn settle(&self, lease: Lease) -> Result<&'static str, StorageError> {
        let job_id = lease.job_id.clone();
        let backend = lease.backend.clone();
        let record = lease.record.clone();
        let publisher = Publisher::new(&self.provider, lease, &self.shared);
        if self.exists(Place::Results(&backend), &job_id).await? {
            return Ok(ended(publisher.end_well().await?, "its result was there, and it is finished now"));
        }
        if let Some(status) = &record.verdict {
            return Ok(ended(publisher.end_with_error(status).await?, "it had failed, and says so now"));
        }
        if !self.exists(Place::Running, &job_id).await? {
            publisher.release().await?;
            return Ok("it was not running any more");
        }
        if record.attempts >= self.shared.options.max_attempts {
            let times = record.attempts;
            let why = format!("the job was started {times} times, and each time its spooler ended before the job did");
            let published = publisher.error(Status::failed(&job_id, &why)).await?;
            return Ok(ended(published, "that was the last attempt, and it ends with an error"));
        }
        let lease = publisher.lease();
        retry(&self.shared.give_back, || async { self.provider.storage()?.put_back(lease).await }).await?;
        Ok("it is back in its queue")
    }

    async fn exists(&self, place: Place<'_>, job_id: &JobId) -> Result<bool, StorageError> {
        let id: DocumentId = job_id.into();
        retry(&self.shared.give_back, || async { self.provider.storage()?.exists(place, &id).await }).await
    }
}

fn ended(published: Published, how: &'static str) -> &'static str {
    match published {
        Published::Ended => how,
        Published::LeaseLost => "another spooler was quicker",
    }
}
