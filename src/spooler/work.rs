//! Brings one claimed job to its end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, MissedTickBehavior};

use super::publish::{Published, Publisher};
use super::retry::retry;
use super::run::{self, Ended, Stop};
use super::spooler::Shared;
use crate::backend::{Backend, ProgressCounter};
use crate::job::{Document, Progress, Status};
use crate::storage::{Lease, Place, Provider, Renewal, StorageErrorKind};

/// A lease is renewed this many times before it would end.
const RENEWALS_PER_LEASE: u32 = 12;

/// How long a run may take to notice that it has to stop, before it is left behind.
const STOP_WAIT: Duration = Duration::from_secs(2);

/// How long a device may take to come to the end of a shot whose job was cancelled, before it is stopped within it.
const SHOT_WAIT: Duration = Duration::from_secs(10);

/// A claimed job and all that is needed to end it.
pub(super) struct Work {
    pub(super) provider: Provider,
    pub(super) backend: Arc<Backend>,
    pub(super) shared: Shared,
    /// As it was claimed: how far the run has come is told at each renewal, and is nothing to whoever has the job next.
    pub(super) lease: Lease,
    /// Where jobs get the slots that they run in.
    pub(super) slots: Arc<Semaphore>,
}

/// Why a run was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StopReason {
    Cancelled,
    GivenBack,
    LeaseLost,
}

impl Work {
    /// Reads, validates, runs and publishes. The slot is free again once the outcome is stored.
    pub(super) async fn bring_to_end(self, slot: OwnedSemaphorePermit) {
        let begin = Instant::now();
        tracing::debug!(attempts = self.lease.record.attempts, "the job is ours");
        let mut slot = Some(slot);
        let (job, (ended, reason)) = match self.read(&mut slot).await {
            Ok(text) => {
                let text = Arc::new(text);
                (Some(Arc::clone(&text)), self.run(&text).await)
            }
            Err(Some(status)) => (None, (Ended::Error(status), None)),
            Err(None) => return,
        };
        let run_ms = milliseconds(begin);
        let publisher = Publisher::new(&self.provider, self.lease.clone(), &self.shared).of_run(job, slot);
        let published = match (ended, reason) {
            (_, Some(StopReason::LeaseLost)) => Ok(Published::LeaseLost),
            (Ended::Stopped | Ended::Away(_), Some(StopReason::GivenBack)) => return self.put_back().await,
            (Ended::Away(why), None) => {
                tracing::warn!(why, "the device went away; the job waits for it");
                return self.put_back().await;
            }
            (Ended::Done(result, _memory), _) => publisher.success(&result).await,
            (Ended::Stopped | Ended::Away(_), _) => publisher.error(Status::cancelled(&self.lease.job_id)).await,
            (Ended::Error(status), _) => {
                tracing::info!(why = status.error_message, "the job fails");
                publisher.error(status).await
            }
        };
        let total_ms = milliseconds(begin);
        match published {
            Ok(Published::Ended) => tracing::info!(run_ms, total_ms, "the job has ended"),
            Ok(Published::LeaseLost) => {
                tracing::warn!("another spooler has taken the job over; the outcome here is dropped");
            }
            Err(error) => tracing::error!(%error, "the end of the job is not stored wholly; the next start mends it"),
        }
    }

    async fn put_back(&self) {
        let back = async { self.provider.storage()?.put_back(&self.lease).await };
        match back.await {
            Ok(()) => tracing::info!("the job is back in its queue"),
            Err(error) => tracing::warn!(%error, "the job could not be put back; the next start does it"),
        }
    }

    /// The text of the job; else the status that it ends with, or nothing if it has to wait for another start.
    ///
    /// While the storage lets us wait the slot is left to jobs of other storages.
    async fn read(&self, slot: &mut Option<OwnedSemaphorePermit>) -> Result<Document, Option<Status>> {
        let job_id = &self.lease.job_id;
        let read = match self.provider.get_job(Place::Running, job_id).await {
            Err(error) if error.is_temporary() => {
                drop(slot.take());
                let get = || self.provider.get_job(Place::Running, job_id);
                let read = retry(&self.shared.give_back, get).await;
                // Nobody closes the semaphore; if somebody did, the job would run all the same.
                *slot = Arc::clone(&self.slots).acquire_owned().await.ok();
                read
            }
            read => read,
        };
        read.map_err(|error| match error.kind() {
            StorageErrorKind::TooLarge => {
                let limit = self.shared.options.max_job_mib;
                let found = error.sizes().map_or_else(String::new, |(bytes, _)| format!(" with {bytes} bytes"));
                Some(Status::invalid(
                    job_id,
                    &format!("the job{found} is larger than the {limit} MiB that are allowed"),
                ))
            }
            StorageErrorKind::NotFound => {
                tracing::error!("the job has vanished from the storage");
                Some(Status::failed(job_id, "the job's document vanished from the storage before it was run"))
            }
            StorageErrorKind::Refused => {
                tracing::error!(%error, "the job cannot be read");
                Some(Status::invalid(job_id, "the job's document is not a file that the spooler can read"))
            }
            _ => {
                tracing::warn!(%error, "the job could not be read; the next start tries again");
                None
            }
        })
    }

    /// Runs the job, and meanwhile renews the lease and listens for reasons to stop.
    async fn run(&self, text: &Arc<Document>) -> (Ended, Option<StopReason>) {
        let (stop, progress) = (Stop::default(), ProgressCounter::default());
        let run = run::run(&self.backend, &self.shared, &self.lease.job_id, text, &stop, &progress);
        tokio::pin!(run);
        let period = self.shared.options.lease() / RENEWALS_PER_LEASE;
        let mut ticks = tokio::time::interval_at(Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let reason = loop {
            tokio::select! {
                ended = &mut run => return (ended, None),
                () = self.shared.give_back.cancelled() => break StopReason::GivenBack,
                _ = ticks.tick() => match self.renew(progress.progress()).await {
                    Some(Renewal::Lost) => break StopReason::LeaseLost,
                    Some(Renewal::Held { cancel: true }) => break StopReason::Cancelled,
                    Some(Renewal::Held { cancel: false }) | None => {}
                },
            }
        };
        if reason == StopReason::Cancelled && self.backend.device().is_some() {
            stop.after_shot();
            if let Ok(ended) = tokio::time::timeout(SHOT_WAIT, &mut run).await {
                return (ended, Some(reason));
            }
        }
        stop.now();
        match tokio::time::timeout(STOP_WAIT, run).await {
            Ok(ended) => (ended, Some(reason)),
            Err(_elapsed) => {
                tracing::error!("the run does not stop; it is left behind");
                (Ended::Stopped, Some(reason))
            }
        }
    }

    /// Renews the lease, and notes how far the run has come. `None` where the storage gives no answer: the lease holds
    /// for a while longer.
    async fn renew(&self, progress: Option<Progress>) -> Option<Renewal> {
        let mut lease = self.lease.clone();
        lease.record.progress = progress;
        let renewed = match self.provider.storage() {
            Ok(storage) => storage.renew(&lease).await,
            Err(error) => Err(error),
        };
        renewed.inspect_err(|error| tracing::warn!(%error, "the lease was not renewed")).ok()
    }
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
