//! One listing of every place, put together by job.

use std::collections::HashMap;

use crate::job::{BackendName, DocumentId, JobId};
use crate::storage::{HeldLease, Holder, Lease, Place, Storage, StorageError, StorageErrorKind};

/// What one backend has of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Marks(u8);

impl Marks {
    pub(super) const QUEUED: Self = Self(1);
    pub(super) const FINISHED: Self = Self(2);
    pub(super) const STATUS: Self = Self(4);
    pub(super) const RESULT: Self = Self(8);

    pub(super) fn has(self, mark: Self) -> bool {
        self.0 & mark.0 != 0
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn with(self, mark: Self) -> Self {
        Self(self.0 | mark.0)
    }

    /// Where a document with each mark lies.
    pub(super) fn places(backend: &BackendName) -> [(Self, Place<'_>); 4] {
        [
            (Self::QUEUED, Place::Queued(backend)),
            (Self::FINISHED, Place::Finished(backend)),
            (Self::STATUS, Place::Status(backend)),
            (Self::RESULT, Place::Results(backend)),
        ]
    }
}

/// Where documents of one job are. A job of which nothing but its place tells the backend has no entry in `of`.
#[derive(Debug, Clone, Default)]
pub(super) struct Whereabouts {
    /// What the backends have, by their index.
    pub(super) of: Vec<(usize, Marks)>,
    pub(super) is_running: bool,
    pub(super) is_deleted: bool,
}

impl Whereabouts {
    fn mark(&mut self, backend: usize, mark: Marks) {
        match self.of.iter_mut().find(|(of, _)| *of == backend) {
            Some((_, marks)) => *marks = marks.with(mark),
            None => self.of.push((backend, mark)),
        }
    }
}

/// All jobs of a storage.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    pub(super) backends: Vec<BackendName>,
    pub(super) jobs: HashMap<JobId, Whereabouts>,
    pub(super) leases: Leases,
    /// Places that cannot be listed, of which backend they are, and why.
    pub(super) unlisted: Vec<(String, usize, StorageError)>,
    /// The backends of which not all is known, so that none of their jobs is judged.
    pub(super) unjudged: Vec<usize>,
}

/// Who holds which job.
#[derive(Debug, Default)]
pub(super) struct Leases(HashMap<JobId, (Lease, Holder)>);

impl Leases {
    /// Lists the leases. A record of a job that was put back is none.
    pub(super) async fn list(storage: &dyn Storage) -> Result<Self, StorageError> {
        let mut leases = HashMap::new();
        for HeldLease { lease, holder } in storage.leases().await? {
            // A lease that is just taken over may be seen twice; then the living one counts.
            let is_living = matches!(holder, Holder::Living(_));
            if holder != Holder::Nobody && (is_living || !leases.contains_key(&lease.job_id)) {
                leases.insert(lease.job_id.clone(), (lease, holder));
            }
        }
        Ok(Self(leases))
    }

    pub(super) fn of(&self, job_id: &JobId) -> Option<&(Lease, Holder)> {
        self.0.get(job_id)
    }
}

impl Catalog {
    /// Lists every place once.
    pub(super) async fn list(storage: &dyn Storage) -> Result<Self, StorageError> {
        let mut catalog = Self { backends: storage.backends().await?, ..Self::default() };
        catalog.leases = Leases::list(storage).await?;
        for lease in catalog.leases.0.values().map(|(lease, _)| lease) {
            if !catalog.backends.contains(&lease.backend) {
                catalog.backends.push(lease.backend.clone());
            }
        }
        for index in 0..catalog.backends.len() {
            catalog.list_backend(storage, index).await?;
        }
        for job_id in jobs(&storage.list(Place::Running).await?) {
            catalog.jobs.entry(job_id).or_default().is_running = true;
        }
        for job_id in jobs(&storage.list(Place::Deleted).await?) {
            catalog.jobs.entry(job_id).or_default().is_deleted = true;
        }
        for (lease, _) in catalog.leases.0.values() {
            let index = catalog.backends.iter().position(|backend| *backend == lease.backend);
            let job = catalog.jobs.entry(lease.job_id.clone()).or_default();
            index.into_iter().for_each(|index| job.mark(index, Marks::default()));
        }
        Ok(catalog)
    }

    async fn list_backend(&mut self, storage: &dyn Storage, index: usize) -> Result<(), StorageError> {
        let backend = self.backends[index].clone();
        for (mark, place) in Marks::places(&backend) {
            match storage.list(place).await {
                Ok(ids) => jobs(&ids).for_each(|job_id| self.jobs.entry(job_id).or_default().mark(index, mark)),
                Err(error) if error.kind() == StorageErrorKind::Denied => return Err(error),
                Err(error) => self.unlisted.push((place.to_string(), index, error)),
            }
        }
        Ok(())
    }

    /// The backend with this index.
    pub(super) fn backend(&self, index: usize) -> &BackendName {
        &self.backends[index]
    }

    /// The backend that an id of the form of Dropbox names, if it is one of these.
    pub(super) fn backend_in(&self, job_id: &JobId) -> Option<BackendName> {
        let named = job_id.as_str().split('-').nth(1)?;
        self.backends.iter().find(|backend| backend.as_str() == named).cloned()
    }
}

fn jobs(ids: &[DocumentId]) -> impl Iterator<Item = JobId> {
    ids.iter().filter_map(|id| id.as_str().parse().ok())
}
