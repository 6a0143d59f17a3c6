//! Brings the jobs of spoolers that died to an end, or back into their queues.

use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::settle::Settler;
use super::spooler::Shared;
use super::unleased::adopt_unleased_since;
use crate::storage::{Lease, Provider};

/// Looks after one storage.
#[derive(Clone)]
pub(super) struct Rescue {
    pub(super) provider: Provider,
    pub(super) shared: Shared,
}

/// How long the first claims wait for the jobs that were interrupted, which are to go first.
const HEAD_START: Duration = Duration::from_secs(2);

/// How often to look for jobs that peers have left in running.
const UNLEASED_INTERVAL: Duration = Duration::from_secs(60);

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
        let mut unleased = tokio::time::interval(UNLEASED_INTERVAL);
        unleased.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.shared.stop_taking.cancelled() => return,
                () = tokio::time::sleep(interval) => drop(self.look().await),
                _ = unleased.tick() => self.look_for_unleased().await,
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
        orphans.into_iter().map(|lease| self.begin_to_settle(lease, "the job's spooler had died")).collect()
    }

    /// Takes over the jobs that peers have left in running, where the configuration says after which time.
    async fn look_for_unleased(&self) {
        let Some(age) = self.shared.options.adopt_unleased_after() else { return };
        match adopt_unleased_since(&self.provider, Timestamp::now() - age).await {
            Ok(adopted) => {
                for lease in adopted {
                    drop(self.begin_to_settle(lease, "the job had no lease for as long as the configuration allows"));
                }
            }
            Err(error) => tracing::debug!(%error, "running jobs without leases could not be looked for"),
        }
    }

    fn begin_to_settle(&self, lease: Lease, why: &'static str) -> JoinHandle<()> {
        let (storage, backend) = (self.provider.name(), &lease.backend);
        let span = tracing::info_span!(parent: None, "job", job_id = %lease.job_id, %backend, %storage);
        self.shared.jobs.spawn(self.clone().settle_and_tell(lease, why).instrument(span))
    }

    async fn settle_and_tell(self, lease: Lease, why: &'static str) {
        let attempts = lease.record.attempts;
        let Shared { options, give_back, .. } = &self.shared;
        let settler = Settler { provider: &self.provider, options, give_up: give_back };
        match settler.settle(lease).await {
            Ok(what) => tracing::warn!(attempts, "{why}; {what}"),
            Err(error) => tracing::error!(%error, "{why}; the job is not settled yet"),
        }
    }
}
