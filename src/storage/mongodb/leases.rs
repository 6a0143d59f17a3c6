//! Leases as documents, and why no crash between two of their steps loses or doubles a job.
//!
//! A job's document lies in `jobs.queued.<backend>`, `jobs.running`, or both for a moment, as its submitter wrote it.
//! All that is ours about it is its lease in `jobs.leases`, under the same `_id`. Unique `_id`s decide who wins.
//!
//! A claim inserts the document into running, inserts the lease, and deletes the document from the queue. Putting
//! back extends the lease, inserts the document into the queue, deletes it from running, and leaves the lease without an
//! owner and without the progress of the run: that is the record for the next claim. Whatever a crash leaves, any spooler can tell what to do:
//!
//! | queued | running | lease | meaning | what is done |
//! |---|---|---|---|---|
//! | yes | no | none, or without owner | the job waits | it is claimed |
//! | yes | yes | none, or without owner | a claim was cut before its lease | after one lease period: out of running, and it waits again |
//! | yes | yes | valid | a claim, or putting back, is under way | it is left |
//! | yes | any | expired | that was cut | the lease is taken over; out of running, and it waits again |
//! | no | yes | valid | the job runs | it is left |
//! | no | yes | expired | its spooler died while it ran, or while it published the end | the lease is taken over, with one more attempt |
//! | no | yes | none, or without owner | a peer's job: peers know no leases | it is left, unless the doctor adopts it |
//! | no | no | expired | its spooler died when nearly all was done | the lease is taken over; whoever does it finds the end and ends the lease |
//! | no | no | without owner | a peer took a job that was put back | the record goes after one lease period |
//!
//! A peer deletes a job from the queue before it inserts it into running, where it may still lie when it is put back. So
//! who puts a job back looks afterwards that it is somewhere.
//!
//! Whoever takes a lease over names the owner and the time that it saw, so of several one wins. Times are the server's.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mongodb::bson::{Bson, doc};

use super::clock::later;
use super::places::{Target, job_key};
use super::record::{Owner, StoredLease, held_by_somebody, new_lease, owner_fields, record_fields};
use super::server::Server;
use crate::job::{BackendName, DocumentId, InstanceName, JobId};
use crate::storage::provider::since_1970;
use crate::storage::{Claim, Lease, LeaseRecord, Place, Renewal, StorageError, StorageErrorKind};

/// How often, and how far apart, a lease is looked at that its owner may be about to give up.
const LOOKS: u32 = 5;
const LOOK_INTERVAL: Duration = Duration::from_millis(40);

/// How often a job is looked for that a peer has taken out of its queue: for a second, while the peer goes on.
const DROPPED_LOOKS: u32 = 25;

/// How long a job may be on its way before it stands aside in a view of the queue.
const ON_ITS_WAY: Duration = Duration::from_millis(500);

/// The pause between looks at a job that is on its way.
const WAY_INTERVAL: Duration = Duration::from_millis(20);

/// How often a claim whose outcome is unknown is looked into, and the first pause before that.
const CLAIM_TRIES: u32 = 4;
const CLAIM_PAUSE: Duration = Duration::from_millis(100);

/// This process as a holder of leases at one storage.
pub(super) struct Leases {
    pub(super) server: Arc<Server>,
    pub(super) owner: Owner,
    /// How long a lease holds without renewal.
    pub(super) period: Duration,
    known: Mutex<Known>,
}

/// What this process knows beyond the storage.
#[derive(Default)]
struct Known {
    /// Leases that the spooler has been given.
    held: HashSet<JobId>,
    /// Claims that have begun and whose outcome is unknown.
    begun: HashSet<JobId>,
    /// Jobs that somebody else is moving, with the times of the first look and the last.
    on_their_way: HashMap<JobId, (Instant, Instant)>,
    /// Jobs that a task of this process is moving.
    occupied: HashSet<JobId>,
    /// What has to stay as it is for a while before anything is done about it, with the time of the first look.
    waiting: HashMap<String, Instant>,
}

/// What came of an attempt to claim.
enum Attempt {
    Won(Lease),
    Gone,
    /// Somebody else is moving it.
    OnItsWay,
}

/// Keeps other tasks of this process from moving a job.
pub(super) struct Occupied<'a> {
    leases: &'a Leases,
    job_id: &'a JobId,
}

impl Drop for Occupied<'_> {
    fn drop(&mut self) {
        self.leases.known().occupied.remove(self.job_id);
    }
}

impl Leases {
    pub(super) fn new(server: Arc<Server>, period: Duration) -> Self {
        let (seconds, nanoseconds) = since_1970(Timestamp::now());
        let owner = Owner {
            name: InstanceName::new(seconds, nanoseconds, rand::random()).to_string(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            pid: std::process::id(),
        };
        Self { server, owner, period, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` where another task of this process is moving the job. To the storage they are the same owner.
    pub(super) fn occupy<'a>(&'a self, job_id: &'a JobId) -> Option<Occupied<'a>> {
        let is_free = self.known().occupied.insert(job_id.clone());
        // Made only where it is free: dropping it frees the job again.
        is_free.then(|| Occupied { leases: self, job_id })
    }

    /// Whether the spooler of this process has been given the lease.
    pub(super) fn holds(&self, job_id: &JobId) -> bool {
        self.known().held.contains(job_id)
    }

    pub(super) fn hold(&self, job_id: &JobId) {
        self.known().held.insert(job_id.clone());
    }

    fn let_go(&self, job_id: &JobId) {
        self.known().held.remove(job_id);
    }

    /// Of `what` is seen now, that which has been seen for a whole lease period; the rest is forgotten.
    pub(super) fn seen_long_enough(&self, what: &HashSet<String>) -> HashSet<String> {
        let waiting = &mut self.known().waiting;
        waiting.retain(|known, _| what.contains(known));
        let now = Instant::now();
        let is_old = |seen: &&String| {
            let since = *waiting.entry((*seen).clone()).or_insert(now);
            now.duration_since(since) > self.period
        };
        what.iter().filter(is_old).cloned().collect()
    }

    /// Takes a job out of the queue. An outcome that the network hides is looked into.
    pub(super) async fn claim(&self, backend: &BackendName, job_id: &JobId) -> Result<Claim, StorageError> {
        let Some(_occupied) = self.occupy(job_id) else { return Ok(self.wait_on_its_way(job_id).await) };
        let (begin, mut pause) = (Instant::now(), CLAIM_PAUSE);
        for tries in 1.. {
            match self.try_claim(backend, job_id).await {
                Ok(Attempt::Won(lease)) => {
                    let mut known = self.known();
                    known.begun.remove(job_id);
                    known.on_their_way.remove(job_id);
                    known.held.insert(job_id.clone());
                    return Ok(Claim::Won(lease));
                }
                Ok(Attempt::Gone) => {
                    let mut known = self.known();
                    known.begun.remove(job_id);
                    known.on_their_way.remove(job_id);
                    break;
                }
                Ok(Attempt::OnItsWay) => return Ok(self.wait_on_its_way(job_id).await),
                Err(error) => {
                    let is_unknown = error.is_temporary() && self.known().begun.contains(job_id);
                    if !is_unknown || tries == CLAIM_TRIES || begin.elapsed() > self.period / 2 {
                        return Err(error);
                    }
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
            }
        }
        Ok(Claim::Gone)
    }

    /// A job that stays on its way for long, since a spooler died there, must not keep its queue busy.
    async fn wait_on_its_way(&self, job_id: &JobId) -> Claim {
        let now = Instant::now();
        let (is_new, since) = {
            let ways = &mut self.known().on_their_way;
            ways.retain(|_, (_, last)| now.duration_since(*last) < ON_ITS_WAY * 4);
            let is_new = !ways.contains_key(job_id);
            let (first, last) = ways.entry(job_id.clone()).or_insert((now, now));
            *last = now;
            (is_new, *first)
        };
        if since.elapsed() > ON_ITS_WAY {
            return Claim::Unsettled;
        }
        if !is_new {
            tokio::time::sleep(WAY_INTERVAL).await;
        }
        Claim::Gone
    }

    async fn try_claim(&self, backend: &BackendName, job_id: &JobId) -> Result<Attempt, StorageError> {
        let server = &self.server;
        let (id, key): (DocumentId, Bson) = (job_id.into(), job_key(job_id));
        let (queue, running) = (Target::of(Place::Queued(backend)), Target::of(Place::Running));
        let queued = server.find(&queue, doc! { "_id": &key }).await?;
        let lease = self.read(&key).await?;
        if let Some((owner, lease)) = lease.as_ref().and_then(|lease| Some((lease.document.owner.as_ref()?, lease))) {
            if *owner != self.owner.name || lease.document.backend != *backend {
                return Ok(if queued.is_none() { Attempt::Gone } else { Attempt::OnItsWay });
            }
            if self.holds(job_id) {
                return Err(StorageError::already_exists(&Place::Running, &id));
            }
            // An earlier attempt got that far.
            let Some(lease) = self.extend(&key, doc! {}).await? else { return Ok(Attempt::OnItsWay) };
            return self.end_claim(lease.into_lease(), &key).await;
        }
        let Some(job) = queued else { return Ok(Attempt::Gone) };
        if self.holds(job_id) {
            // A task of ours has lost the job and does not know it yet. To the storage it would be the owner again.
            return Ok(Attempt::OnItsWay);
        }
        let had_begun = !self.known().begun.insert(job_id.clone());
        if !server.insert(&running, &job).await.inspect_err(|error| self.forget_unless_temporary(job_id, error))?
            && !had_begun
        {
            self.known().begun.remove(job_id);
            return Ok(Attempt::OnItsWay);
        }
        match self.take(backend, job_id, &key).await? {
            Some(record) => {
                let lease = Lease { backend: backend.clone(), job_id: job_id.clone(), record };
                self.end_claim(lease, &key).await
            }
            None => {
                self.known().begun.remove(job_id);
                Ok(Attempt::OnItsWay)
            }
        }
    }

    fn forget_unless_temporary(&self, job_id: &JobId, error: &StorageError) {
        if !error.is_temporary() {
            self.known().begun.remove(job_id);
        }
    }

    /// The rest of a claim, once the lease is ours and has just been extended.
    async fn end_claim(&self, lease: Lease, key: &Bson) -> Result<Attempt, StorageError> {
        let (server, backend) = (&self.server, &lease.backend);
        let (queue, running) = (Target::of(Place::Queued(backend)), Target::of(Place::Running));
        if !server.exists(&running, doc! { "_id": key }).await? {
            if server.exists(&queue, doc! { "_id": key }).await? {
                // Putting back was cut after the job had left running.
                self.leave_record(key).await?;
                return Ok(Attempt::OnItsWay);
            }
            // Somebody else has brought it to its end.
            self.remove(key).await?;
            return Ok(Attempt::Gone);
        }
        let was_queued = server.delete(&queue, doc! { "_id": key }).await?;
        if !was_queued && self.has_ended(backend, key).await? {
            // Between our look at the queue and our insert another spooler brought it to its end.
            server.delete(&running, doc! { "_id": key }).await?;
            self.remove(key).await?;
            return Ok(Attempt::Gone);
        }
        Ok(Attempt::Won(lease))
    }

    async fn has_ended(&self, backend: &BackendName, key: &Bson) -> Result<bool, StorageError> {
        for place in [Place::Finished(backend), Place::Deleted, Place::Results(backend)] {
            if self.server.exists(&Target::of(place), doc! { "_id": key }).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The lease of a job, if there is one.
    pub(super) async fn read(&self, key: &Bson) -> Result<Option<StoredLease>, StorageError> {
        let found = self.server.find(&Target::leases(), doc! { "_id": key }).await?;
        Ok(found.as_ref().and_then(StoredLease::read))
    }

    /// Takes the lease of a job that nobody holds; `None` if somebody does.
    pub(super) async fn take(
        &self,
        backend: &BackendName,
        job_id: &JobId,
        key: &Bson,
    ) -> Result<Option<LeaseRecord>, StorageError> {
        let leases = Target::leases();
        for look in 0..LOOKS {
            if look > 0 {
                // A job that is being put back is ours in a moment.
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
            let until = later(self.server.clock.now(), self.period);
            let owner = owner_fields(&self.owner, backend, until);
            let record = LeaseRecord::new(Timestamp::now());
            if self.server.insert(&leases, &new_lease(key, owner.clone(), &record)?).await? {
                return Ok(Some(record));
            }
            let mut fields = owner;
            fields.insert("cancel", false);
            let taken = self.server.set(&leases, doc! { "_id": key, "owner": null }, fields).await?;
            if let Some(lease) = taken.as_ref().and_then(StoredLease::read) {
                return Ok(Some(lease.record()));
            }
            match self.read(key).await? {
                // Our own insert, sent again by the driver after its answer had been lost.
                Some(lease) if lease.document.owner.as_deref() == Some(self.owner.name.as_str()) => {
                    return Ok((!self.holds(job_id)).then(|| lease.record()));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// Extends a lease of ours and sets fields of it; `None` if it is not ours any more.
    pub(super) async fn extend(
        &self,
        key: &Bson,
        mut fields: mongodb::bson::Document,
    ) -> Result<Option<StoredLease>, StorageError> {
        fields.insert("until", later(self.server.clock.now(), self.period));
        let ours = doc! { "_id": key, "owner": &self.owner.name };
        let extended = self.server.set(&Target::leases(), ours, fields).await?;
        Ok(extended.as_ref().and_then(StoredLease::read))
    }

    /// Stores the record and extends the lease.
    pub(super) async fn renew(&self, lease: &Lease) -> Result<Renewal, StorageError> {
        match self.extend(&job_key(&lease.job_id), record_fields(&lease.record)?).await? {
            Some(stored) => Ok(Renewal::Held { cancel: stored.document.cancel }),
            None => {
                self.let_go(&lease.job_id);
                Ok(Renewal::Lost)
            }
        }
    }

    /// Puts the running job of a lease back to its queue. Without the lease nothing moves.
    pub(super) async fn put_back(&self, lease: &Lease) -> Result<(), StorageError> {
        let key = job_key(&lease.job_id);
        // Held leases are left alone by everybody else, so nobody is moving the job; a claim waits until this is done.
        let _occupied = self.occupy(&lease.job_id);
        let extended = Instant::now();
        if self.extend(&key, record_fields(&lease.record)?).await?.is_some() {
            self.return_to_queue(&lease.backend, &key, extended).await?;
        }
        self.let_go(&lease.job_id);
        Ok(())
    }

    /// Lets the job of a lease of ours, which was extended at a time, go back from running to its queue. A job that lies
    /// in neither has ended, and the lease with it.
    pub(super) async fn return_to_queue(
        &self,
        backend: &BackendName,
        key: &Bson,
        extended: Instant,
    ) -> Result<(), StorageError> {
        let server = &self.server;
        let (queue, running) = (Target::of(Place::Queued(backend)), Target::of(Place::Running));
        let Some(job) = server.find(&running, doc! { "_id": key }).await? else {
            if server.exists(&queue, doc! { "_id": key }).await? {
                return self.leave_record(key).await;
            }
            return self.remove(key).await;
        };
        if !server.copy(&queue, key, &job).await? {
            let what = format!("cannot put {key} back to {queue}: another job of that id waits there");
            return Err(StorageError::new(StorageErrorKind::AlreadyExists, what));
        }
        // Once the lease has expired another spooler may have put the job into running anew.
        if extended.elapsed() > self.period / 2 && self.extend(key, doc! {}).await?.is_none() {
            return Ok(());
        }
        server.delete(&running, doc! { "_id": key }).await?;
        if self.is_taken_and_dropped(backend, key).await? {
            tracing::warn!(%key, "a peer has dropped the job on its way back; it is put back anew");
            server.copy(&queue, key, &job).await?;
        }
        self.leave_record(key).await
    }

    /// Whether a job that goes back to its queue, and has just left running, is nowhere any more.
    ///
    /// sqooler 0.9.0 takes a job by deleting it from the queue and inserting it into running. If it
    /// does so before the job has left running, its insert fails, and it dies. If it is only slow between the two, the
    /// job turns up within the time that is waited here; else it is run twice, and its first result stays.
    async fn is_taken_and_dropped(&self, backend: &BackendName, key: &Bson) -> Result<bool, StorageError> {
        for look in 0..DROPPED_LOOKS {
            if look > 0 {
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
            for place in [Place::Queued(backend), Place::Running] {
                if self.server.exists(&Target::of(place), doc! { "_id": key }).await? {
                    return Ok(false);
                }
            }
            if self.has_ended(backend, key).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Ends a lease of ours and leaves its record for the next claim.
    pub(super) async fn leave_record(&self, key: &Bson) -> Result<(), StorageError> {
        let ours = doc! { "_id": key, "owner": &self.owner.name };
        let nobody = doc! { "owner": null, "until": self.server.clock.now(), "cancel": false, "progress": null };
        self.server.set(&Target::leases(), ours, nobody).await.map(drop)
    }

    /// Ends a lease of ours and leaves nothing.
    pub(super) async fn remove(&self, key: &Bson) -> Result<(), StorageError> {
        let ours = doc! { "_id": key, "owner": &self.owner.name };
        self.server.delete(&Target::leases(), ours).await.map(drop)
    }

    /// Ends the lease of a job that has come to its end.
    pub(super) async fn release(&self, lease: &Lease) -> Result<(), StorageError> {
        self.remove(&job_key(&lease.job_id)).await?;
        self.let_go(&lease.job_id);
        Ok(())
    }

    /// Marks the job for cancellation if a spooler holds it.
    pub(super) async fn request_cancel(&self, backend: &BackendName, job_id: &JobId) -> Result<bool, StorageError> {
        let mut held = held_by_somebody();
        held.insert("_id", job_key(job_id));
        held.insert("backend", backend.as_str());
        Ok(self.server.set(&Target::leases(), held, doc! { "cancel": true }).await?.is_some())
    }

    /// Takes the lease of a running job that nobody holds.
    pub(super) async fn adopt_unleased(
        &self,
        backend: &BackendName,
        job_id: &JobId,
    ) -> Result<Option<Lease>, StorageError> {
        let Some(_occupied) = self.occupy(job_id) else { return Ok(None) };
        let (key, running) = (job_key(job_id), Target::of(Place::Running));
        if !self.server.exists(&running, doc! { "_id": &key }).await? {
            return Ok(None);
        }
        let Some(record) = self.take(backend, job_id, &key).await? else { return Ok(None) };
        if !self.server.exists(&running, doc! { "_id": &key }).await? {
            // It has left meanwhile.
            self.remove(&key).await?;
            return Ok(None);
        }
        self.hold(job_id);
        Ok(Some(Lease { backend: backend.clone(), job_id: job_id.clone(), record }))
    }

    /// The jobs of a backend that were put back, by the time of their first claim.
    pub(super) async fn put_back_of(&self, backend: &BackendName) -> Result<Vec<JobId>, StorageError> {
        let filter = doc! { "backend": backend.as_str(), "owner": null };
        let found = self.server.all(&Target::leases(), filter, None).await?;
        let mut records: Vec<StoredLease> = found.iter().filter_map(StoredLease::read).collect();
        records.sort_by_key(StoredLease::first_claimed);
        Ok(records.into_iter().map(|record| record.job_id).collect())
    }
}
