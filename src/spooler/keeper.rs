//! Serves one storage: opens it, looks after the jobs of spoolers that died, and feeds the backends from its queues.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::feeder::Feeder;
use super::rescue;
use super::retention::Retention;
use super::retry::Backoff;
use super::spooler::{Shared, Source};
use crate::backend::Backend;
use crate::job::StorageName;
use crate::storage::{Provider, StorageContext, StorageErrorKind};

/// One storage and the backends that it holds jobs for.
pub(super) struct Keeper {
    name: StorageName,
    source: Source,
    backends: Vec<(Arc<Backend>, Arc<Semaphore>)>,
    shared: Shared,
}

impl Keeper {
    pub(super) fn new(
        name: StorageName,
        source: Source,
        backends: Vec<(Arc<Backend>, Arc<Semaphore>)>,
        shared: Shared,
    ) -> Self {
        Self { name, source, backends, shared }
    }

    /// Serves the storage until no further job is to be taken.
    pub(super) async fn keep(self) {
        let span = tracing::info_span!("storage", storage = %self.name);
        self.serve().instrument(span).await;
    }

    async fn serve(self) {
        let Some(provider) = self.open().await else { return };
        if let Err(error) = provider.storage() {
            tracing::info!(%error, "not served");
            return;
        }
        let rescue = rescue::Rescue { provider: provider.clone(), shared: self.shared.clone() };
        // Before the first claim, so that a job that was interrupted goes first.
        rescue.begin().await;
        let tasks = TaskTracker::new();
        for (backend, slots) in self.backends {
            let span = tracing::info_span!("backend", backend = %backend.name());
            let feeder = Feeder::new(provider.clone(), backend, slots, self.shared.clone());
            tasks.spawn(feeder.feed().instrument(span.or_current()));
        }
        let retention = Retention { provider, shared: self.shared.clone() };
        tasks.spawn(rescue.keep_looking().in_current_span());
        tasks.spawn(retention.keep_sweeping().in_current_span());
        tasks.close();
        tasks.wait().await;
    }

    async fn open(&self) -> Option<Provider> {
        let options = match &self.source {
            Source::Open(provider) => return Some(provider.clone()),
            Source::Options(options) => options,
        };
        let context =
            StorageContext { lease: self.shared.options.lease(), max_job_bytes: self.shared.options.max_job_bytes() };
        let mut backoff = Backoff::new();
        loop {
            let error = match Provider::open(self.name.clone(), options, context).await {
                Ok(provider) => {
                    if !backoff.is_fresh() {
                        tracing::info!("the storage is open now");
                    }
                    return Some(provider);
                }
                Err(error) if error.kind() == StorageErrorKind::Refused => {
                    tracing::error!(%error, "the storage cannot be opened; the others are served");
                    return None;
                }
                Err(error) => {
                    if backoff.is_fresh() {
                        tracing::error!(%error, "the storage cannot be opened; trying again until it can");
                    }
                    error
                }
            };
            if !backoff.wait_after(&error, &self.shared.stop_taking).await {
                return None;
            }
        }
    }
}
