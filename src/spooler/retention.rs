//! Removes what has lain in a storage for longer than is wanted.
//!
//! A job goes with its status and its result, and only when all of them are old. What waits, runs or has a lease stays,
//! and so does whatever belongs to it. Statuses and results whose job lies nowhere go when they are old.
//!
//! Of each job the result goes first, then the status, then the job itself: a sweep that ends half-way leaves the job,
//! by which the next one finds the rest.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::spooler::Shared;
use crate::job::{BackendName, DocumentId};
use crate::storage::{Place, Provider, Storage, StorageError, StorageErrorKind};

/// How long after the start the first sweep comes: the queues go first.
const FIRST_SWEEP: Duration = Duration::from_secs(300);

/// The time between the end of a sweep and the next one.
const INTERVAL: Duration = Duration::from_secs(3600);

/// After so many removals the sweep rests for as long as they took, so that it never takes more than half of what a
/// medium can do.
const BATCH: u32 = 50;

/// Sweeps one storage.
pub(super) struct Retention {
    pub(super) provider: Provider,
    pub(super) shared: Shared,
}

impl Retention {
    /// Sweeps again and again until no further job is to be taken; not at all where nothing is to be removed.
    pub(super) async fn keep_sweeping(self) {
        let Some(age) = self.shared.options.retention() else { return };
        let mut pause = FIRST_SWEEP;
        loop {
            tokio::select! {
                () = self.shared.stop_taking.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = INTERVAL;
            match self.sweep(age).await {
                Ok(Swept { jobs: 0, statuses: 0, results: 0 }) => {}
                Ok(Swept { jobs, statuses, results }) => {
                    tracing::info!(jobs, statuses, results, "removed what was older than the retention time");
                }
                Err(error) => {
                    tracing::warn!(%error, "old documents could not be removed; the next attempt is in an hour");
                }
            }
        }
    }

    async fn sweep(&self, age: Duration) -> Result<Swept, StorageError> {
        // Within the range of the setting every time can be told.
        let before = Timestamp::now().checked_sub(age).unwrap_or(Timestamp::MIN);
        sweep(self.provider.storage()?, before, &self.shared.stop_taking).await
    }
}

/// How many documents a sweep has removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Finished and deleted jobs.
    pub jobs: u64,
    /// Statuses.
    pub statuses: u64,
    /// Results.
    pub results: u64,
}

/// Removes what has not changed since `before`, until `stop` is cancelled. Several may sweep at the same time.
///
/// # Errors
///
/// The storage does not take part any more. What was removed until then is gone, and nothing else.
pub async fn sweep(storage: &dyn Storage, before: Timestamp, stop: &CancellationToken) -> Result<Swept, StorageError> {
    let mut sweep = Sweep {
        storage,
        before,
        stop,
        backends: storage.backends().await?,
        busy: HashSet::new(),
        swept: Swept::default(),
        batch: (0, Instant::now()),
    };
    sweep.run().await?;
    Ok(sweep.swept)
}

/// One sweep.
struct Sweep<'a> {
    storage: &'a dyn Storage,
    before: Timestamp,
    stop: &'a CancellationToken,
    backends: Vec<BackendName>,
    /// What waits, runs, or has a lease.
    busy: HashSet<DocumentId>,
    swept: Swept,
    /// The removals since the last rest, and when they began.
    batch: (u32, Instant),
}

/// The ids at a place, and which of them are old.
struct Aged {
    all: HashSet<DocumentId>,
    old: HashSet<DocumentId>,
}

/// What is known of a backend's statuses, results and finished jobs.
struct OfBackend {
    statuses: Aged,
    results: Aged,
    finished: Aged,
}

impl OfBackend {
    /// Where documents about the job lie; `None` if one of them is not old.
    fn documents<'b>(&self, backend: &'b BackendName, id: &DocumentId) -> Option<Vec<Place<'b>>> {
        let mut places = Vec::new();
        for (aged, place) in [(&self.results, Place::Results(backend)), (&self.statuses, Place::Status(backend))] {
            if aged.old.contains(id) {
                places.push(place);
            } else if aged.all.contains(id) {
                return None;
            }
        }
        Some(places)
    }
}

impl Sweep<'_> {
    async fn run(&mut self) -> Result<(), StorageError> {
        // Before anything else is listed: what ends meanwhile is not old.
        self.busy = self.waiting_and_running().await?;
        self.busy.extend(self.storage.leases().await?.iter().map(|held| DocumentId::from(&held.lease.job_id)));
        let backends = self.backends.clone();
        let deleted = self.aged(Place::Deleted).await?;
        // The documents about each old deleted job, which may lie below any backend.
        let mut about_deleted: HashMap<&DocumentId, Vec<Place<'_>>> =
            deleted.old.iter().filter(|id| !self.busy.contains(*id)).map(|id| (id, Vec::new())).collect();
        let mut without_job = Vec::new();
        for backend in &backends {
            let found = self.look_at(backend).await?;
            about_deleted.retain(|id, places| match found.documents(backend, id) {
                Some(more) if !found.finished.all.contains(*id) => {
                    places.extend(more);
                    true
                }
                _ => false,
            });
            let lies_nowhere = |id: &&DocumentId| {
                !(self.busy.contains(*id) || deleted.all.contains(*id) || found.finished.all.contains(*id))
            };
            for id in found.statuses.old.union(&found.results.old).filter(lies_nowhere) {
                without_job.extend(found.documents(backend, id).map(|places| (id.clone(), places)));
            }
            for id in &found.finished.old {
                if self.busy.contains(id) || deleted.all.contains(id) {
                    continue;
                }
                if let Some(places) = found.documents(backend, id) {
                    self.remove_job(id, &places, Place::Finished(backend)).await?;
                }
            }
        }
        for (id, places) in about_deleted {
            self.remove_job(id, &places, Place::Deleted).await?;
        }
        self.remove_without_job(without_job).await
    }

    async fn look_at(&self, backend: &BackendName) -> Result<OfBackend, StorageError> {
        Ok(OfBackend {
            statuses: self.aged(Place::Status(backend)).await?,
            results: self.aged(Place::Results(backend)).await?,
            finished: self.aged(Place::Finished(backend)).await?,
        })
    }

    async fn aged(&self, place: Place<'_>) -> Result<Aged, StorageError> {
        let old = self.storage.unchanged_since(place, self.before).await?.into_iter().collect();
        let all = self.storage.list(place).await?.into_iter().collect();
        Ok(Aged { all, old })
    }

    /// What waits or runs. A job that is claimed or put back meanwhile is met at one of the two.
    async fn waiting_and_running(&self) -> Result<HashSet<DocumentId>, StorageError> {
        let mut found: HashSet<_> = self.storage.list(Place::Running).await?.into_iter().collect();
        for backend in &self.backends {
            found.extend(self.storage.list(Place::Queued(backend)).await?);
        }
        found.extend(self.storage.list(Place::Running).await?);
        Ok(found)
    }

    /// Removes documents whose job was nowhere, if it is still nowhere.
    async fn remove_without_job(&mut self, documents: Vec<(DocumentId, Vec<Place<'_>>)>) -> Result<(), StorageError> {
        if documents.is_empty() {
            return Ok(());
        }
        // It may be one that was on its way, or another backend's.
        let mut known = self.waiting_and_running().await?;
        known.extend(self.storage.list(Place::Deleted).await?);
        for backend in &self.backends {
            known.extend(self.storage.list(Place::Finished(backend)).await?);
        }
        for (id, places) in documents {
            if !known.contains(&id) {
                self.remove_all(&id, &places).await?;
            }
        }
        Ok(())
    }

    async fn remove_job(
        &mut self,
        id: &DocumentId,
        documents: &[Place<'_>],
        place: Place<'_>,
    ) -> Result<(), StorageError> {
        if self.remove_all(id, documents).await? {
            self.remove(place, id).await?;
        }
        Ok(())
    }

    /// Whether nothing is left at these places.
    async fn remove_all(&mut self, id: &DocumentId, places: &[Place<'_>]) -> Result<bool, StorageError> {
        for place in places {
            if !self.remove(*place, id).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the document is gone.
    async fn remove(&mut self, place: Place<'_>, id: &DocumentId) -> Result<bool, StorageError> {
        self.rest().await;
        if self.stop.is_cancelled() {
            return Ok(false);
        }
        match self.storage.delete(place, id).await {
            Ok(()) => {}
            // Another spooler sweeps as well.
            Err(error) if error.kind() == StorageErrorKind::NotFound => return Ok(true),
            Err(error) if error.is_temporary() => return Err(error),
            Err(error) => {
                tracing::debug!(%error, "an old document stays");
                return Ok(false);
            }
        }
        match place {
            Place::Status(_) => self.swept.statuses += 1,
            Place::Results(_) => self.swept.results += 1,
            _ => self.swept.jobs += 1,
        }
        Ok(true)
    }

    async fn rest(&mut self) {
        let (count, begin) = self.batch;
        if count < BATCH {
            self.batch.0 += 1;
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(begin.elapsed()) => {}
            () = self.stop.cancelled() => {}
        }
        self.batch = (1, Instant::now());
    }
}
