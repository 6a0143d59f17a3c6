//! What dead spoolers left, put in order by the table of [`leases`](super::leases).

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mongodb::bson::{Bson, DateTime, doc};

use super::clock::later;
use super::leases::Leases;
use super::places::{Target, job_key, key};
use super::record::{StoredLease, held_by_somebody, owner_fields, record_fields};
use crate::job::{BackendName, DocumentId, JobId, Progress};
use crate::storage::{HeldLease, Lease, Leftover, Place, StorageError};

/// What a look after dead spoolers has found.
#[derive(Default)]
pub(super) struct Adopted {
    /// Leases that are ours now.
    pub(super) leases: Vec<Lease>,
    /// Backends to whose queues jobs have come back.
    pub(super) returned: Vec<BackendName>,
}

/// The bounds of the time between two looks.
const SHORTEST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(15);

impl Leases {
    /// How often to look.
    pub(super) fn orphan_interval(&self) -> Duration {
        (self.period / 4).clamp(SHORTEST, LONGEST)
    }

    /// Takes over expired leases and mends claims that were cut. What cannot be dealt with now is for the next look.
    pub(super) async fn adopt_orphans(&self) -> Result<Adopted, StorageError> {
        self.server.measure().await?;
        let now = self.server.clock.now();
        let mut adopted = Adopted::default();
        let mut expired = held_by_somebody();
        expired.insert("until", doc! { "$lte": now });
        let found = self.server.all(&Target::leases(), doc! { "$or": [expired, { "owner": null }] }, None).await?;
        let (expired, records): (Vec<_>, Vec<_>) =
            found.iter().filter_map(StoredLease::read).partition(|lease| lease.document.owner.is_some());
        for lease in expired {
            let job_id = lease.job_id.clone();
            // What was taken over until an error came is ours, and has to be told.
            if let Err(error) = self.adopt(lease, now, &mut adopted).await {
                tracing::debug!(%job_id, %error, "an expired lease could not be dealt with yet");
            }
        }
        if let Err(error) = self.mend(&records, &mut adopted).await {
            tracing::debug!(%error, "what claims left that were cut could not be dealt with yet");
        }
        Ok(adopted)
    }

    async fn adopt(&self, lease: StoredLease, now: DateTime, adopted: &mut Adopted) -> Result<(), StorageError> {
        let is_ours = lease.document.owner.as_ref() == Some(&self.owner.name);
        if is_ours && self.holds(&lease.job_id) {
            // Its holder has been kept from renewing it, and goes on as soon as it can.
            return Ok(());
        }
        let Some(_occupied) = self.occupy(&lease.job_id) else { return Ok(()) };
        let (key, backend) = (lease.key(), lease.document.backend.clone());
        let seen = doc! { "_id": &key, "owner": &lease.document.owner, "until": { "$lte": now } };
        let fields = owner_fields(&self.owner, &backend, later(self.server.clock.now(), self.period));
        let extended = Instant::now();
        let Some(taken) = self.server.set(&Target::leases(), seen, fields).await?.as_ref().and_then(StoredLease::read)
        else {
            return Ok(());
        };
        let is_at = async |place: Place<'_>| self.server.exists(&Target::of(place), doc! { "_id": &key }).await;
        // A claim of ours that was cut has started nothing either.
        if is_at(Place::Queued(&backend)).await? || (is_ours && is_at(Place::Running).await?) {
            self.return_to_queue(&backend, &key, extended).await?;
            adopted.returned.push(backend);
            return Ok(());
        }
        let mut record = taken.record();
        record.count_death();
        let Some(counted) = self.extend(&key, record_fields(&record)?).await? else { return Ok(()) };
        self.hold(&taken.job_id);
        adopted.leases.push(counted.into_lease());
        Ok(())
    }

    /// Mends claims that were cut before their lease, and drops records that no job needs, once both have stayed so for
    /// a lease period.
    async fn mend(&self, records: &[StoredLease], adopted: &mut Adopted) -> Result<(), StorageError> {
        let needless = self.needless(records).await?;
        let doubles = self.doubles().await?;
        let name_record = |lease: &StoredLease| format!("record {}", lease.job_id);
        let name_double = |(backend, id): &(BackendName, DocumentId)| format!("double {backend} {id}");
        let names = needless.iter().map(|lease| name_record(lease)).chain(doubles.iter().map(name_double));
        let old = self.seen_long_enough(&names.collect());
        for record in needless.into_iter().filter(|record| old.contains(&name_record(record))) {
            self.drop_record(record).await?;
        }
        for double in doubles.into_iter().filter(|double| old.contains(&name_double(double))) {
            let (backend, id) = double;
            if self.mend_double(&backend, &id).await? {
                adopted.returned.push(backend);
            }
        }
        Ok(())
    }

    /// Of records those whose job lies neither in its queue nor in running.
    async fn needless<'a>(&self, records: &'a [StoredLease]) -> Result<Vec<&'a StoredLease>, StorageError> {
        let mut by_backend = BTreeMap::<&BackendName, Vec<Bson>>::new();
        for record in records {
            by_backend.entry(&record.document.backend).or_default().push(record.key());
        }
        let mut present = HashSet::new();
        for (backend, keys) in by_backend {
            present.extend(self.server.present(&Target::of(Place::Queued(backend)), &keys).await?);
            present.extend(self.server.present(&Target::of(Place::Running), &keys).await?);
        }
        Ok(records.iter().filter(|record| !present.contains(&DocumentId::from(&record.job_id))).collect())
    }

    /// Jobs that lie in running and a queue, and that nobody holds.
    async fn doubles(&self) -> Result<Vec<(BackendName, DocumentId)>, StorageError> {
        let running = self.server.ids(&Target::of(Place::Running), doc! {}).await?;
        if running.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<Bson> = running.iter().map(key).collect();
        let mut held = held_by_somebody();
        held.insert("_id", doc! { "$in": &keys });
        let held: HashSet<DocumentId> = self.server.ids(&Target::leases(), held).await?.into_iter().collect();
        let free: Vec<Bson> = running.iter().filter(|id| !held.contains(id)).map(key).collect();
        let mut doubles = Vec::new();
        if !free.is_empty() {
            for backend in self.queues().await? {
                let queue = Target::of(Place::Queued(&backend));
                let queued = self.server.present(&queue, &free).await?;
                doubles.extend(queued.into_iter().map(|id| (backend.clone(), id)));
            }
        }
        Ok(doubles)
    }

    /// The backends that have a queue.
    async fn queues(&self) -> Result<Vec<BackendName>, StorageError> {
        let names = self.server.collections("jobs").await?;
        Ok(names.iter().filter_map(|name| name.strip_prefix("queued.")?.parse().ok()).collect())
    }

    /// Takes a job that lies twice out of running; false if somebody else does, or the two are not the same.
    async fn mend_double(&self, backend: &BackendName, id: &DocumentId) -> Result<bool, StorageError> {
        let Ok(job_id) = id.as_str().parse::<JobId>() else { return Ok(false) };
        let Some(_occupied) = self.occupy(&job_id) else { return Ok(false) };
        let key = job_key(&job_id);
        let extended = Instant::now();
        if self.take(backend, &job_id, &key).await?.is_none() {
            return Ok(false);
        }
        let returned = self.return_to_queue(backend, &key, extended).await;
        if let Err(error) = returned {
            tracing::warn!(%job_id, %error, "a job lies in running and in its queue");
            self.leave_record(&key).await?;
            return Ok(false);
        }
        Ok(true)
    }

    async fn drop_record(&self, record: &StoredLease) -> Result<bool, StorageError> {
        let same = doc! { "_id": record.key(), "owner": null, "until": record.document.until };
        self.server.delete(&Target::leases(), same).await
    }

    /// All leases and records.
    pub(super) async fn all(&self) -> Result<Vec<HeldLease>, StorageError> {
        self.server.measure().await?;
        let now = self.server.clock.now();
        let found = self.server.all(&Target::leases(), doc! {}, None).await?;
        Ok(found.iter().filter_map(StoredLease::read).map(|lease| lease.into_held(now)).collect())
    }

    /// How far the run of a job has come.
    pub(super) async fn progress(
        &self,
        backend: &BackendName,
        job_id: &JobId,
    ) -> Result<Option<Progress>, StorageError> {
        let lease = self.read(&job_key(job_id)).await?.filter(|lease| lease.document.backend == *backend);
        Ok(lease.and_then(|lease| lease.record().progress))
    }

    /// What nobody needs and nobody has touched for a lease period.
    pub(super) async fn leftovers(&self, remove: bool) -> Result<Vec<Leftover>, StorageError> {
        self.server.measure().await?;
        let long_ago = later(self.server.clock.now(), Duration::ZERO)
            .saturating_add_millis(-i64::try_from(self.period.as_millis()).unwrap_or(i64::MAX));
        let found = self.server.all(&Target::leases(), doc! { "until": { "$lte": long_ago } }, None).await?;
        let old: Vec<StoredLease> = found.iter().filter_map(StoredLease::read).collect();
        let mut leftovers = Vec::new();
        for lease in self.needless(&old).await? {
            let what = match lease.document.owner {
                None => "the record of a job that is gone",
                Some(_) => "the lease of a job that is gone",
            };
            if remove {
                let same = doc! {
                    "_id": lease.key(), "owner": &lease.document.owner, "until": lease.document.until,
                };
                self.server.delete(&Target::leases(), same).await?;
            }
            leftovers.push(Leftover { path: format!("jobs.leases/{}", lease.job_id), what, removable: true });
        }
        let doubles = self.doubles().await?;
        if !doubles.is_empty() {
            let since = Timestamp::now() - self.period;
            let old: HashSet<DocumentId> =
                self.server.unchanged_since(Place::Running, since).await?.into_iter().collect();
            for (backend, id) in doubles.into_iter().filter(|(_, id)| old.contains(id)) {
                if remove && !self.mend_double(&backend, &id).await? {
                    continue;
                }
                let what = "the second document of a job that waits in its queue";
                leftovers.push(Leftover { path: format!("jobs.running/{id}"), what, removable: true });
            }
        }
        Ok(leftovers)
    }
}
