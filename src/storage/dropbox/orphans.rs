//! What others left: leases of dead instances, jobs on their way that nobody moves, peers' jobs, and leftovers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use super::clock::{Moment, later};
use super::documents::Moved;
use super::error::{CallError, Cause};
use super::lease_file::{Content, Hold, LARGEST_FILE, LeaseFile, Noted, host, read};
use super::leases::{Leases, unavailable};
use super::paths::{self, LeaseEntry};
use super::routes::{Listing, Mode};
use crate::job::{BackendName, InstanceName, JobId, Progress};
use crate::storage::provider::since_1970;
use crate::storage::{HeldLease, Holder, Lease, LeaseRecord, Leftover, Place};

/// How often a request for cancellation may meet another write before it gives up.
const ROUNDS: usize = 8;

/// An empty folder is taken for left behind when its instance has started so many seconds ago.
const OLD_S: i64 = 24 * 3600;

/// What is known of others by earlier looks.
#[derive(Default)]
pub(super) struct Orphans {
    instances: Mutex<HashMap<InstanceName, Seen>>,
    /// Jobs in folders of instances that have no file, and since when they are seen there.
    strays: Mutex<HashMap<String, Moment>>,
}

/// The file of another instance as it was seen last.
struct Seen {
    rev: String,
    /// Read once for each state that is seen twice: a file that changes between two looks is alive.
    until: Option<Timestamp>,
}

/// What lies below the folder of leases.
struct Found {
    instances: Vec<(InstanceName, String)>,
    transit: Vec<(InstanceName, BackendName, JobId)>,
    records: Vec<JobId>,
    /// Instances that have a folder.
    folders: Vec<InstanceName>,
}

impl Found {
    fn of(listing: &Listing) -> Self {
        let folders = listing.folders().filter_map(paths::instance_of_folder).collect();
        let mut found = Self { instances: Vec::new(), transit: Vec::new(), records: Vec::new(), folders };
        for file in listing.files() {
            match paths::lease_entry_at(&file.path) {
                Some(LeaseEntry::Instance(name)) => found.instances.push((name, file.rev.clone())),
                Some(LeaseEntry::Transit(name, backend, job_id)) => found.transit.push((name, backend, job_id)),
                Some(LeaseEntry::Record(job_id)) => found.records.push(job_id),
                None => {}
            }
        }
        found
    }

    fn has_file(&self, name: &InstanceName) -> bool {
        self.instances.iter().any(|(other, _)| other == name)
    }

    /// The instances of long ago that have an empty folder and no leases.
    fn idle_folders(&self, now: Timestamp) -> Vec<InstanceName> {
        let is_old = |name: &InstanceName| {
            let started = name.as_str().get(..8).and_then(|seconds| i64::from_str_radix(seconds, 16).ok());
            started.is_some_and(|started| now.as_second().saturating_sub(started) > OLD_S)
        };
        let is_idle = |name: &&InstanceName| {
            is_old(name) && !self.has_file(name) && self.transit.iter().all(|(other, _, _)| other != *name)
        };
        self.folders.iter().filter(is_idle).cloned().collect()
    }
}

impl Leases {
    async fn look(&self, recursive: bool) -> Result<Found, CallError> {
        Ok(Found::of(&self.client.list_or_nothing(&paths::leases(), recursive).await?))
    }

    /// Takes over the leases of dead instances, and lets jobs that nobody moves any more go back to their queues.
    pub(super) async fn adopt_orphans(&self, orphans: &Orphans) -> Result<Vec<Lease>, CallError> {
        self.settle_all().await;
        let found = self.look(true).await?;
        let own: BTreeSet<InstanceName> = self.all().iter().map(|file| file.name.clone()).collect();
        let mut adopted = Vec::new();
        for (name, rev) in found.instances.iter().filter(|(name, _)| !own.contains(name)) {
            // What was taken over until an error came is ours, and has to be told; the rest is for the next look.
            let taken = async {
                if self.seems_dead(orphans, name, rev).await? {
                    adopted.extend(self.take_over(name).await?);
                }
                Ok::<_, CallError>(())
            };
            if let Err(error) = taken.await {
                let error = error.of("it cannot be looked after yet");
                tracing::debug!(instance = %name, %error, "another spooler's leases are left for the next look");
            }
        }
        orphans.forget_all_but(&found);
        for (name, backend, job_id) in &found.transit {
            let returned = if own.contains(name) {
                self.return_forgotten(name, backend, job_id).await
            } else if found.has_file(name) || !orphans.is_stray(self, &paths::transit(name, backend, job_id)) {
                Ok(())
            } else {
                tracing::info!(%job_id, %backend, "a job that a dead spooler had on its way goes back to its queue");
                self.return_transit(name, backend, job_id).await
            };
            if let Err(error) = returned {
                let error = error.of("it cannot go back to its queue yet");
                tracing::warn!(%job_id, %backend, %error, "a job is stuck between its queue and running");
            }
        }
        Ok(adopted)
    }

    /// Whether the leases of an instance have ended, as far as can be told without reading its file each time.
    async fn seems_dead(&self, orphans: &Orphans, name: &InstanceName, rev: &str) -> Result<bool, CallError> {
        let known = {
            let mut instances = orphans.instances.lock().unwrap_or_else(PoisonError::into_inner);
            match instances.get_mut(name) {
                Some(seen) if seen.rev != rev => {
                    *seen = Seen { rev: rev.to_owned(), until: None };
                    return Ok(false);
                }
                Some(seen) => seen.until,
                None => None,
            }
        };
        let until = match known {
            Some(until) => until,
            None => {
                let Some((file, content)) = read(&self.client, name).await? else { return Ok(false) };
                let seen = Seen { rev: file.rev, until: Some(content.until) };
                orphans.instances.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), seen);
                content.until
            }
        };
        Ok(self.client.clock().earliest_now() > until)
    }

    /// Takes over the leases of an instance whose time has passed, unless somebody else is quicker.
    async fn take_over(&self, name: &InstanceName) -> Result<Vec<Lease>, CallError> {
        let Some((file, old)) = read(&self.client, name).await? else { return Ok(Vec::new()) };
        if self.client.clock().earliest_now() <= old.until {
            return Ok(Vec::new());
        }
        let listing = self.client.list_or_nothing(&paths::instance_folder(name), true).await?;
        let on_their_way = Found::of(&listing).transit;
        let mut jobs = old.jobs.clone();
        for (_, _, job_id) in &on_their_way {
            jobs.remove(job_id);
        }
        jobs.values_mut().for_each(|noted| noted.record.count_death());
        let (heir, extended) = (self.own().name.clone(), Moment::now());
        let Some(rev) = self.inherit(name, &file.rev, jobs.clone(), &heir).await? else { return Ok(Vec::new()) };
        tracing::info!(instance = %name, jobs = jobs.len(), "took over the leases of a spooler that died");
        let leases = jobs.iter().map(|(job_id, noted)| noted.lease(job_id)).collect();
        let is_empty = jobs.is_empty();
        let state = (jobs, rev.clone(), extended);
        self.add(LeaseFile::taken_over(Arc::clone(&self.client), name.clone(), heir, self.lease, state));
        for (_, backend, job_id) in &on_their_way {
            if let Some(noted) = old.jobs.get(job_id) {
                self.keep_record(job_id, noted).await;
            }
            // One that cannot go back yet does so with the next look, since the folder is ours now.
            if let Err(error) = self.return_transit(name, backend, job_id).await {
                let error = error.of("it cannot go back to its queue yet");
                tracing::warn!(%job_id, %backend, %error, "a job is stuck between its queue and running");
            }
        }
        if is_empty {
            // Only its deletion is left; whoever comes next would do the same.
            let deleted = self.client.delete_v2(&paths::instance_file(name), Some(&rev)).await;
            tracing::debug!(instance = %name, is_deleted = deleted.is_ok(), "a dead spooler held no lease");
        }
        Ok(leases)
    }

    /// Keeps the record of a job that never came to run, if it has any. The one of an earlier return is as new.
    async fn keep_record(&self, job_id: &JobId, noted: &Noted) {
        let is_kept = match serde_json::to_vec(&noted.kept()) {
            Ok(text) => self.client.create(&paths::record(job_id), &text).await.is_ok(),
            Err(_unwritable) => false,
        };
        tracing::debug!(%job_id, is_kept, "a job that was on its way goes first");
    }

    /// Writes us as heir into the file of a dead instance; gives its new state, or nothing if somebody else was quicker.
    async fn inherit(
        &self,
        name: &InstanceName,
        rev: &str,
        jobs: BTreeMap<JobId, Noted>,
        heir: &InstanceName,
    ) -> Result<Option<String>, CallError> {
        let (host, pid) = host();
        let until = later(self.client.clock().latest_now(), self.lease);
        let new = Content { until, jobs, heir: Some(heir.clone()), host, pid };
        let text = serde_json::to_vec(&new).map_err(|error| Cause::Bad(error.to_string()).certain())?;
        match self.client.upload(&paths::instance_file(name), &text, Mode::Update(rev)).await {
            Ok(file) => Ok(Some(file.rev)),
            Err(error) if error.is_conflict() && error.doubtful => {
                let found = read(&self.client, name).await?;
                Ok(found.filter(|(_, content)| *content == new).map(|(file, _)| file.rev))
            }
            Err(error) if error.is_conflict() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lets a job in one of our folders go back, once it is sure that nobody here moves it.
    async fn return_forgotten(
        &self,
        name: &InstanceName,
        backend: &BackendName,
        job_id: &JobId,
    ) -> Result<(), CallError> {
        let _nobody_moves = self.transit.write().await;
        if self.client.get_metadata(&paths::transit(name, backend, job_id)).await?.is_none() {
            return Ok(());
        }
        for file in self.all().iter().filter(|file| file.name == *name) {
            if let Some(noted) = file.get(job_id) {
                self.write_record(job_id, &noted).await?;
            }
            if file.remove(job_id).await? == Hold::Lost {
                return Ok(());
            }
        }
        self.return_transit(name, backend, job_id).await
    }

    /// All files of leases, ours among them.
    async fn read_all(&self, found: &Found) -> Result<Vec<(InstanceName, Content)>, CallError> {
        let mut contents = Vec::new();
        for (name, _) in &found.instances {
            contents.extend(read(&self.client, name).await?.map(|(_, content)| (name.clone(), content)));
        }
        Ok(contents)
    }

    /// All leases, and the records of jobs that were put back.
    pub(super) async fn held(&self) -> Result<Vec<HeldLease>, CallError> {
        let found = self.look(false).await?;
        let mut held = Vec::new();
        for (name, content) in self.read_all(&found).await? {
            let is_dead = self.client.clock().earliest_now() > content.until;
            let holder = content.heir.as_ref().unwrap_or(&name);
            let who = format!("{holder} on {}, process {}", content.host, content.pid);
            let holder = if is_dead { Holder::Dead(who) } else { Holder::Living(who) };
            let lease =
                |(job_id, noted): (&JobId, &Noted)| HeldLease { lease: noted.lease(job_id), holder: holder.clone() };
            held.extend(content.jobs.iter().map(lease));
        }
        for job_id in &found.records {
            if held.iter().all(|held: &HeldLease| held.lease.job_id != *job_id)
                && let Some(kept) = self.read_kept(job_id).await?
            {
                held.push(HeldLease { lease: kept.lease(job_id), holder: Holder::Nobody });
            }
        }
        Ok(held)
    }

    /// How far the run of a job has come.
    pub(super) async fn progress(&self, backend: &BackendName, job_id: &JobId) -> Result<Option<Progress>, CallError> {
        for (name, _) in self.look(false).await?.instances {
            let content = read(&self.client, &name).await?;
            if let Some(noted) = content.as_ref().and_then(|(_, content)| content.jobs.get(job_id))
                && noted.backend == *backend
            {
                return Ok(noted.record.progress);
            }
        }
        Ok(None)
    }

    /// Marks a job for cancellation where an instance holds it.
    pub(super) async fn request_cancel(&self, backend: &BackendName, job_id: &JobId) -> Result<bool, CallError> {
        for file in self.all() {
            if file.get(job_id).is_some_and(|noted| noted.backend == *backend) && file.cancel(job_id) {
                return Ok(true);
            }
        }
        for (name, _) in self.look(false).await?.instances {
            if self.cancel_at(&name, backend, job_id).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn cancel_at(&self, name: &InstanceName, backend: &BackendName, job_id: &JobId) -> Result<bool, CallError> {
        let path = paths::instance_file(name);
        for _ in 0..ROUNDS {
            // Edited as it is: a newer program may keep more in it than this one knows.
            let (file, text) = match self.client.download(&path, LARGEST_FILE).await {
                Err(error) if error.is_not_found() => return Ok(false),
                found => found?,
            };
            let Ok(mut content) = serde_json::from_slice::<serde_json::Value>(&text) else { return Ok(false) };
            let Some(noted) = content["jobs"].get_mut(job_id.as_str()) else { return Ok(false) };
            if noted["backend"] != backend.as_str() {
                return Ok(false);
            }
            if noted["cancel"] == true {
                return Ok(true);
            }
            noted["cancel"] = true.into();
            match self.client.upload(&path, content.to_string().as_bytes(), Mode::Update(&file.rev)).await {
                Err(error) if error.is_conflict() => {}
                result => return result.map(|_| true),
            }
        }
        Err(unavailable("the holder writes its leases all the time"))
    }

    /// Takes the lease of a running job that has none.
    pub(super) async fn adopt_unleased(
        &self,
        backend: &BackendName,
        job_id: &JobId,
    ) -> Result<Option<Lease>, CallError> {
        let _moving = self.transit.read().await;
        let running = paths::document(Place::Running, &job_id.into());
        if self.client.get_metadata(&running).await?.is_none() || self.is_noted(job_id).await? {
            return Ok(None);
        }
        let file = self.own();
        let transit = paths::transit(&file.name, backend, job_id);
        if self.client.rename(&running, &transit).await? != Moved::Done {
            return Ok(None);
        }
        // Ours as long as it lies there; but somebody may have claimed or adopted it just before.
        let mut lease = None;
        if !self.is_noted(job_id).await? {
            let new =
                Lease { backend: backend.clone(), job_id: job_id.clone(), record: LeaseRecord::new(Timestamp::now()) };
            if file.note(&new).await? == Hold::Ours {
                lease = Some(new);
            }
        }
        match self.client.rename(&transit, &running).await? {
            Moved::Done => Ok(lease),
            Moved::Missing | Moved::Taken => {
                file.remove(job_id).await?;
                Ok(None)
            }
        }
    }

    async fn is_noted(&self, job_id: &JobId) -> Result<bool, CallError> {
        let found = self.look(false).await?;
        Ok(self.read_all(&found).await?.iter().any(|(_, content)| content.jobs.contains_key(job_id)))
    }

    /// Records of jobs that are neither in a queue nor held, which nothing will ever read.
    pub(super) async fn leftovers(&self, remove: bool) -> Result<Vec<Leftover>, CallError> {
        let found = self.look(true).await?;
        let held = self.held().await?;
        let mut leftovers = Vec::new();
        for job_id in &found.records {
            let is_held = held.iter().any(|held| held.lease.job_id == *job_id && held.holder != Holder::Nobody);
            if is_held || found.transit.iter().any(|(_, _, other)| other == job_id) {
                continue;
            }
            let path = paths::record(job_id);
            if let Some(kept) = self.read_kept(job_id).await? {
                // Last, since a job may have gone back while the rest was looked at.
                let queued = paths::document(Place::Queued(&kept.backend), &job_id.into());
                if self.client.get_metadata(&queued).await?.is_some() {
                    continue;
                }
            }
            let removable = !remove || self.client.remove(&path).await.is_ok();
            leftovers.push(Leftover { path, what: "the record of a job that does not wait any more", removable });
        }
        for name in found.idle_folders(self.client.clock().earliest_now()) {
            let removable = !remove || self.remove_folder(&name).await?;
            let what = "the empty folder of a spooler that holds no jobs";
            leftovers.push(Leftover { path: paths::instance_folder(&name), what, removable });
        }
        Ok(leftovers)
    }

    /// Removes the folder of an instance, if it is empty. It gets the name of an instance that never was before that,
    /// so that nobody moves a job into what is about to be deleted; a job that came just before is a stray in there.
    async fn remove_folder(&self, name: &InstanceName) -> Result<bool, CallError> {
        let (seconds, nanoseconds) = since_1970(Timestamp::now());
        let apart = paths::instance_folder(&InstanceName::new(seconds, nanoseconds, rand::random()));
        match self.client.move_v2(&paths::instance_folder(name), &apart).await {
            Ok(()) => {}
            Err(error) if error.is_not_found() => return Ok(true),
            Err(error) => return Err(error),
        }
        if self.client.list_or_nothing(&apart, true).await?.files().next().is_some() {
            return Ok(false);
        }
        self.client.remove(&apart).await
    }
}

impl Orphans {
    /// Whether a job was seen there for two periods of a lease; longer than any claim may take.
    fn is_stray(&self, leases: &Leases, path: &str) -> bool {
        let mut strays = self.strays.lock().unwrap_or_else(PoisonError::into_inner);
        strays.entry(path.to_owned()).or_insert_with(Moment::now).longest_elapsed() > leases.lease * 2
    }

    /// Forgets what is not there any more, so that it counts anew should it come again.
    fn forget_all_but(&self, found: &Found) {
        let mut instances = self.instances.lock().unwrap_or_else(PoisonError::into_inner);
        instances.retain(|name, _| found.has_file(name));
        drop(instances);
        let paths: BTreeSet<String> =
            found.transit.iter().map(|(name, backend, job_id)| paths::transit(name, backend, job_id)).collect();
        self.strays.lock().unwrap_or_else(PoisonError::into_inner).retain(|path, _| paths.contains(path));
    }
}
