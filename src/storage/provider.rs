//! The operations that the wire contract names, written once for every medium.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Claim, Lease, Place, Storage, StorageContext, StorageError, StorageErrorKind, StorageOptions, open};
use crate::job::{
    BackendConfig, BackendName, BackendStatus, ClientConfig, Document, DocumentId, JobId, Progress, Status,
    StorageName, UserName,
};
use crate::signing::PrivateKey;

/// How long a document that is no JSON may still be in the writing. Peers write local files in place, some of them many
/// times: a configuration at each look at the queue.
const HALF_WRITTEN: Duration = Duration::from_secs(2);

/// How soon to look at it again.
const HALF_WRITTEN_LOOK: Duration = Duration::from_millis(20);

/// A storage under its name, with the operations of the contract.
///
/// Cloning is cheap, and clones are the same storage.
#[derive(Clone)]
pub struct Provider {
    name: StorageName,
    owner: String,
    description: String,
    active: bool,
    storage: Arc<dyn Storage>,
}

/// What the queue of a backend has for whoever asks.
#[derive(Debug)]
pub enum NextJob {
    /// The oldest job is ours now and lies in running.
    Claimed(Lease),
    /// No job waits.
    Empty,
    /// All that waits is still being written, or could not be claimed and stands aside for a while.
    Unsettled,
}

/// The rest of one listing of a queue, so that a long queue is not listed anew for each of its jobs.
#[derive(Debug, Default)]
pub struct QueueView {
    upcoming: VecDeque<JobId>,
    aside: HashMap<JobId, Aside>,
    /// Said to be blocked already: once is enough.
    known_as_blocked: HashSet<JobId>,
}

/// Why a job has to wait while others behind it are claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aside {
    Unsettled,
    Blocked,
}

impl QueueView {
    /// Whether a job stands aside until it is whole.
    pub fn has_unsettled(&self) -> bool {
        self.aside.values().any(|aside| *aside == Aside::Unsettled)
    }

    /// Forgets what was listed and which jobs stood aside: the next look begins anew.
    pub fn retry_all(&mut self) {
        self.upcoming.clear();
        self.aside.clear();
    }

    fn say_blocked(&mut self, job_id: &JobId, error: &StorageError) {
        if self.known_as_blocked.insert(job_id.clone()) {
            tracing::error!(%job_id, %error, "a job cannot be claimed; those behind it go first");
        }
    }
}

impl Provider {
    /// Opens the storage `name`.
    pub async fn open(
        name: StorageName,
        options: &StorageOptions,
        context: StorageContext,
    ) -> Result<Self, StorageError> {
        let StorageOptions { medium, active, owner, description } = options;
        let storage = open(&name, medium, context).await?;
        Ok(Self { owner: owner.clone(), description: description.clone(), ..Self::new(name, *active, storage) })
    }

    /// The provider of a storage that is open already.
    pub fn new(name: StorageName, active: bool, storage: Arc<dyn Storage>) -> Self {
        Self { name, owner: String::new(), description: String::new(), active, storage }
    }

    /// Its name.
    pub fn name(&self) -> &StorageName {
        &self.name
    }

    /// Whose storage it is.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// What it is for.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The storage below, unless it is inactive: then every operation is refused by name.
    pub fn storage(&self) -> Result<&dyn Storage, StorageError> {
        if self.active {
            Ok(&*self.storage)
        } else {
            let what = format!("the storage {} is not active; set storage.{}.active to use it", self.name, self.name);
            Err(StorageError::new(StorageErrorKind::Inactive, what))
        }
    }

    /// Writes, reads and deletes a document where no peer looks for work.
    pub async fn probe(&self) -> Result<(), StorageError> {
        let storage = self.storage()?;
        let (seconds, nanoseconds) = since_1970(Timestamp::now());
        let id = (&JobId::time_ordered(seconds, nanoseconds, rand::random())).into();
        storage.upload(Place::Deleted, &id, &Document::from_text("{}")).await?;
        let read = storage.get(Place::Deleted, &id).await.map(|_| ());
        storage.delete(Place::Deleted, &id).await?;
        read
    }

    /// A new id for a job of `user`. It sorts by time.
    pub fn create_job_id(&self, backend: &BackendName, user: &UserName) -> Result<JobId, StorageError> {
        self.storage()?.new_job_id(backend, user).map_err(|error| {
            let what = format!("the storage {} cannot name a job of {backend} for {user}", self.name);
            StorageError::new(StorageErrorKind::Refused, what).caused_by(error)
        })
    }

    /// The configuration of a backend.
    pub async fn get_config(&self, backend: &BackendName) -> Result<BackendConfig, StorageError> {
        let document = self.get_whole(Place::Configs, &backend.into()).await?;
        let mut config: BackendConfig = self.read(&document, "configuration")?;
        backend.as_str().clone_into(&mut config.display_name);
        Ok(config)
    }

    /// The backends that have a configuration here, by name.
    pub async fn get_backends(&self) -> Result<Vec<BackendName>, StorageError> {
        let ids = self.storage()?.list(Place::Configs).await?;
        let mut names: Vec<BackendName> = ids.iter().filter_map(|id| id.as_str().parse().ok()).collect();
        names.sort();
        Ok(names)
    }

    /// The configuration of a backend in the form for clients.
    pub async fn get_backend_dict(&self, backend: &BackendName) -> Result<ClientConfig, StorageError> {
        Ok(self.get_config(backend).await?.for_clients(&self.name, None))
    }

    /// The status of a backend.
    pub async fn get_backend_status(&self, backend: &BackendName) -> Result<BackendStatus, StorageError> {
        Ok(self.get_config(backend).await?.status(&self.name, Timestamp::now()))
    }

    /// Puts a job into the queue of a backend.
    pub async fn upload_job(&self, backend: &BackendName, job_id: &JobId, job: &Document) -> Result<(), StorageError> {
        self.storage()?.upload(Place::Queued(backend), &job_id.into(), job).await
    }

    /// A job, wherever it lies.
    pub async fn get_job(&self, place: Place<'_>, job_id: &JobId) -> Result<Document, StorageError> {
        self.storage()?.get(place, &job_id.into()).await
    }

    /// The jobs that wait for a backend, first come first.
    pub async fn queue(&self, backend: &BackendName) -> Result<Vec<JobId>, StorageError> {
        self.jobs(Place::Queued(backend)).await
    }

    /// The jobs at a place, first come first.
    pub async fn jobs(&self, place: Place<'_>) -> Result<Vec<JobId>, StorageError> {
        Ok(self.storage()?.list(place).await?.iter().filter_map(job_id).collect())
    }

    /// Lists the queue if nothing is left of the last listing, and says whether there is something to claim.
    pub async fn look(&self, backend: &BackendName, view: &mut QueueView) -> Result<bool, StorageError> {
        if view.upcoming.is_empty() {
            view.upcoming = self.queue(backend).await?.into();
            view.upcoming.retain(|job_id| !view.aside.contains_key(job_id));
        }
        Ok(!view.upcoming.is_empty())
    }

    /// Claims the next job of the queue: the oldest that nobody else takes first.
    ///
    /// A job that is not whole yet, or that cannot be claimed, stands aside until [`QueueView::retry_all`], and the one
    /// behind it has its turn: a single file that nobody may touch blocks no queue. When several in a row cannot be
    /// claimed, or nothing else is left, the error is that of the first.
    pub async fn get_next_job_in_queue(
        &self,
        backend: &BackendName,
        view: &mut QueueView,
    ) -> Result<NextJob, StorageError> {
        const FAILURES_IN_A_ROW: usize = 3;
        let storage = self.storage()?;
        let mut failures = Vec::new();
        while failures.len() < FAILURES_IN_A_ROW && self.look(backend, view).await? {
            let Some(job_id) = view.upcoming.pop_front() else { break };
            match storage.claim(backend, &job_id).await {
                Ok(Claim::Won(lease)) => {
                    for (job_id, error) in failures {
                        view.say_blocked(&job_id, &error);
                    }
                    return Ok(NextJob::Claimed(lease));
                }
                Ok(Claim::Gone) => {}
                Ok(Claim::Unsettled) => {
                    view.aside.insert(job_id, Aside::Unsettled);
                }
                Err(error) if error.kind() == StorageErrorKind::AlreadyExists => {
                    // A running job has that id, and will have it for a while.
                    view.aside.insert(job_id.clone(), Aside::Blocked);
                    view.say_blocked(&job_id, &error);
                }
                Err(error) => {
                    view.aside.insert(job_id.clone(), Aside::Blocked);
                    failures.push((job_id, error));
                }
            }
        }
        match failures.into_iter().next() {
            Some((_, error)) => Err(error),
            None if view.has_unsettled() => Ok(NextJob::Unsettled),
            None => Ok(NextJob::Empty),
        }
    }

    /// Stores the result of a job; one that is there already stays.
    pub async fn upload_result(
        &self,
        backend: &BackendName,
        job_id: &JobId,
        result: &Document,
    ) -> Result<(), StorageError> {
        self.storage()?.upload(Place::Results(backend), &job_id.into(), result).await
    }

    /// The result of a job, as it lies there.
    pub async fn get_result(&self, backend: &BackendName, job_id: &JobId) -> Result<Document, StorageError> {
        self.get_whole(Place::Results(backend), &job_id.into()).await
    }

    /// Stores the first status of a job.
    pub async fn upload_status(
        &self,
        backend: &BackendName,
        job_id: &JobId,
        status: &Status,
    ) -> Result<(), StorageError> {
        self.storage()?.upload(Place::Status(backend), &job_id.into(), &Document::new(status)).await
    }

    /// The same, signed, as peers do it where who submits has the backend's key.
    pub async fn upload_signed_status(
        &self,
        backend: &BackendName,
        job_id: &JobId,
        status: &Status,
        key: &PrivateKey,
    ) -> Result<(), StorageError> {
        let document = self.signed(&Document::new(status), Some(key))?;
        self.storage()?.upload(Place::Status(backend), &job_id.into(), &document).await
    }

    /// Replaces the status of a job.
    pub async fn update_status(
        &self,
        backend: &BackendName,
        job_id: &JobId,
        status: &Status,
    ) -> Result<(), StorageError> {
        self.storage()?.update(Place::Status(backend), &job_id.into(), &Document::new(status)).await
    }

    /// The status of a job.
    pub async fn get_status(&self, backend: &BackendName, job_id: &JobId) -> Result<Status, StorageError> {
        let document = self.get_whole(Place::Status(backend), &job_id.into()).await?;
        self.read(&document, "status")
    }

    /// How far the run of a job has come, as its spooler noted with its last renewals; none where that is not known.
    pub async fn get_progress(&self, backend: &BackendName, job_id: &JobId) -> Result<Option<Progress>, StorageError> {
        self.storage()?.progress(backend, job_id).await
    }

    /// A document that is whole, or that has been no JSON for so long that nobody is writing it any more.
    pub(super) async fn get_whole(&self, place: Place<'_>, id: &DocumentId) -> Result<Document, StorageError> {
        let storage = self.storage()?;
        let begin = Instant::now();
        loop {
            let document = storage.get(place, id).await?;
            if document.is_json() || begin.elapsed() >= HALF_WRITTEN {
                return Ok(document);
            }
            tokio::time::sleep(HALF_WRITTEN_LOOK).await;
        }
    }

    pub(super) fn read<T: serde::de::DeserializeOwned>(
        &self,
        document: &Document,
        what: &'static str,
    ) -> Result<T, StorageError> {
        document.read(what).map_err(|error| {
            StorageError::new(StorageErrorKind::Refused, format!("the storage {} holds a bad document", self.name))
                .caused_by(error)
        })
    }
}

/// The time since 1970 in seconds and nanoseconds.
pub(super) fn since_1970(time: Timestamp) -> (u32, u32) {
    let seconds = u32::try_from(time.as_second()).unwrap_or_default();
    (seconds, time.subsec_nanosecond().unsigned_abs())
}

fn job_id(id: &DocumentId) -> Option<JobId> {
    id.as_str().parse().ok()
}
