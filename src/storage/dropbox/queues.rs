//! The queues as they were last seen, so that looking at one that nothing happens to costs no call.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::client::Client;
use super::error::CallError;
use super::paths::{self, LeaseEntry};
use super::routes::{Entry, File, Listing};
use crate::job::{BackendName, DocumentId, JobId};
use crate::storage::changes::FollowedQueues;
use crate::storage::{Changes, Place};

/// All queues of the storage.
pub(super) struct Queues {
    client: Arc<Client>,
    mirror: Mutex<Mirror>,
    followed: FollowedQueues,
}

/// What the last looks have told.
#[derive(Default)]
struct Mirror {
    listing: Listing,
    records: HashSet<JobId>,
    /// Whether somebody keeps it up to date.
    is_followed: bool,
    /// Counts what we have put into queues ourselves, and how much of that was seen back.
    own_changes: u64,
    seen_back: u64,
}

impl Queues {
    pub(super) fn new(client: Arc<Client>) -> Self {
        Self { client, mirror: Mutex::default(), followed: FollowedQueues::default() }
    }

    fn mirror(&self) -> MutexGuard<'_, Mirror> {
        self.mirror.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The jobs that wait for a backend: those that were put back, then the others by time and name.
    pub(super) async fn list(&self, backend: &BackendName) -> Result<Vec<DocumentId>, CallError> {
        {
            let mirror = self.mirror();
            if mirror.is_followed && mirror.seen_back == mirror.own_changes {
                return Ok(in_order(backend, &mirror.listing, &mirror.records));
            }
        }
        let listing = self.client.list_or_nothing(&paths::folder(Place::Queued(backend)), false).await?;
        let is_short = listing.files().nth(1).is_none();
        let records = if is_short { HashSet::new() } else { self.list_records().await? };
        Ok(in_order(backend, &listing, &records))
    }

    /// The jobs that have a record of an earlier claim. It is written before its job goes back to the queue.
    async fn list_records(&self) -> Result<HashSet<JobId>, CallError> {
        let listing = self.client.list_or_nothing(&paths::leases(), false).await?;
        let record = |file: &File| match paths::lease_entry_at(&file.path) {
            Some(LeaseEntry::Record(job_id)) => Some(job_id),
            _ => None,
        };
        Ok(listing.files().filter_map(record).collect())
    }

    /// Notes that a job has left its queue, by whomever.
    pub(super) fn has_left(&self, path: &str) {
        self.mirror().listing.remove(path);
    }

    /// Notes that this process has put a job into a queue: until it is seen there, the queues are listed.
    pub(super) fn has_come(&self) {
        self.mirror().own_changes += 1;
    }

    /// Tells of changes of a queue from now on.
    pub(super) fn follow(&self, backend: &BackendName) -> Changes {
        self.followed.follow(backend)
    }

    /// Begins to follow the queues; gives the cursor for what comes next.
    pub(super) async fn begin(&self) -> Result<String, CallError> {
        let own_changes = self.mirror().own_changes;
        let (listing, cursor) = loop {
            match self.client.list(&paths::queues(), true).await? {
                Some(found) => break found,
                None => self.client.create_folder_v2(&paths::queues()).await?,
            }
        };
        let records = self.list_records().await?;
        {
            let mut mirror = self.mirror();
            (mirror.listing, mirror.records) = (listing, records);
            (mirror.is_followed, mirror.seen_back) = (true, own_changes);
        }
        self.followed.tell_all();
        Ok(cursor)
    }

    /// Notes that nobody keeps up with the queues any more.
    pub(super) fn lose_sight(&self) {
        self.mirror().is_followed = false;
    }

    /// Takes in what has happened since the cursor; gives the next one.
    pub(super) async fn catch_up(&self, mut cursor: String) -> Result<String, CallError> {
        let own_changes = self.mirror().own_changes;
        let mut entries = Vec::new();
        loop {
            let page = self.client.list_folder_continue(&cursor).await?;
            entries.extend(page.entries);
            cursor = page.cursor;
            if !page.has_more {
                break;
            }
        }
        let arrived: HashSet<BackendName> = entries.iter().filter_map(arrival).collect();
        let records = if arrived.is_empty() { None } else { Some(self.list_records().await?) };
        {
            let mut mirror = self.mirror();
            entries.into_iter().for_each(|entry| mirror.listing.put(entry));
            mirror.seen_back = own_changes;
            if let Some(records) = records {
                mirror.records = records;
            }
        }
        arrived.iter().for_each(|backend| self.followed.tell(backend.as_str()));
        Ok(cursor)
    }
}

/// The backend in whose queue something has appeared.
fn arrival(entry: &Entry) -> Option<BackendName> {
    match entry {
        Entry::File(file) => Some(paths::queued_at(&file.path)?.0),
        _ => None,
    }
}

fn in_order(backend: &BackendName, listing: &Listing, records: &HashSet<JobId>) -> Vec<DocumentId> {
    let mut jobs: Vec<_> = listing
        .files()
        .filter_map(|file| {
            let (of, job_id) = paths::queued_at(&file.path)?;
            (of == *backend).then(|| (!records.contains(&job_id), file.modified, job_id))
        })
        .collect();
    jobs.sort();
    jobs.iter().map(|(_, _, job_id)| job_id.into()).collect()
}
