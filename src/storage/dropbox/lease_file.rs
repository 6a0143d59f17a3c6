//! The file in which an instance holds its leases: written only in the state in which it was known, so that of two who
//! write it one learns of the other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::client::Client;
use super::clock::{Moment, later};
use super::error::{CallError, Cause};
use super::paths;
use super::routes::{File, Mode};
use crate::job::{BackendName, InstanceName, JobId, Progress};
use crate::storage::{Lease, LeaseRecord};

/// The largest file of leases that is read.
pub(super) const LARGEST_FILE: u64 = 16 << 20;

/// How often a write may meet somebody else's before it gives up.
const ROUNDS: usize = 8;

/// What the file says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Content {
    /// When the leases end, by the clock of the service.
    pub(super) until: Timestamp,
    pub(super) jobs: BTreeMap<JobId, Noted>,
    /// Who renews the leases, where that is not the instance that the file is named after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) heir: Option<InstanceName>,
    #[serde(default)]
    pub(super) host: String,
    #[serde(default)]
    pub(super) pid: u32,
}

/// A job and the record of its lease.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Noted {
    pub(super) backend: BackendName,
    #[serde(flatten)]
    pub(super) record: LeaseRecord,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) cancel: bool,
}

impl Noted {
    pub(super) fn of(lease: &Lease) -> Self {
        Self { backend: lease.backend.clone(), record: lease.record.clone(), cancel: false }
    }

    /// What is kept of it for the next claim, when the job goes back to its queue.
    pub(super) fn kept(&self) -> Self {
        Self { backend: self.backend.clone(), record: self.record.without_progress(), cancel: false }
    }

    pub(super) fn lease(&self, job_id: &JobId) -> Lease {
        Lease { backend: self.backend.clone(), job_id: job_id.clone(), record: self.record.clone() }
    }
}

/// The computer and process that write.
pub(super) fn host() -> (String, u32) {
    (rustix::system::uname().nodename().to_string_lossy().into_owned(), std::process::id())
}

/// Reads a file of leases, whoever's it is; `None` if it is not there, or is no such file.
pub(super) async fn read(client: &Client, name: &InstanceName) -> Result<Option<(File, Content)>, CallError> {
    match client.download(&paths::instance_file(name), LARGEST_FILE).await {
        Ok((file, text)) => Ok(serde_json::from_slice(&text).ok().map(|content| (file, content))),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the leases of a file are ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    Ours,
    /// Somebody has taken them all over.
    Lost,
}

/// A file of leases that this process holds: its own, or one that it has taken over.
///
/// All changes are made here first and then written, those of many callers by one write.
pub(super) struct LeaseFile {
    client: Arc<Client>,
    /// The instance that the file and the folder of jobs on their way are named after.
    pub(super) name: InstanceName,
    heir: Option<InstanceName>,
    lease: Duration,
    known: Mutex<Known>,
    writing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    jobs: BTreeMap<JobId, Noted>,
    /// The state of the file; none if there is no file.
    rev: Option<String>,
    /// When the leases were last extended.
    extended: Option<Moment>,
    /// Counts the changes, and those of them that are written.
    changes: u64,
    written: u64,
    is_lost: bool,
}

impl LeaseFile {
    /// A file that is written with its first lease.
    pub(super) fn new(client: Arc<Client>, name: InstanceName, lease: Duration) -> Self {
        let (known, writing) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { client, name, heir: None, lease, known, writing }
    }

    /// The file of a dead instance, in the state in which `heir` has taken it over at `extended`.
    pub(super) fn taken_over(
        client: Arc<Client>,
        name: InstanceName,
        heir: InstanceName,
        lease: Duration,
        (jobs, rev, extended): (BTreeMap<JobId, Noted>, String, Moment),
    ) -> Self {
        let known = Known { jobs, rev: Some(rev), extended: Some(extended), ..Known::default() };
        Self { heir: Some(heir), known: Mutex::new(known), ..Self::new(client, name, lease) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lease of a job, if it is in this file.
    pub(super) fn get(&self, job_id: &JobId) -> Option<Noted> {
        self.known().jobs.get(job_id).cloned()
    }

    pub(super) fn is_lost(&self) -> bool {
        self.known().is_lost
    }

    /// Whether the file holds no lease any more, and is gone.
    pub(super) fn is_done(&self) -> bool {
        let known = self.known();
        known.jobs.is_empty() && known.written == known.changes
    }

    /// How long the leases hold at least, without another renewal.
    pub(super) fn holds_for(&self) -> Duration {
        let known = self.known();
        if known.is_lost {
            return Duration::ZERO;
        }
        known.extended.map_or(Duration::ZERO, |extended| self.lease.saturating_sub(extended.longest_elapsed()))
    }

    /// Notes the lease of a job, or another record of it, and writes that.
    pub(super) async fn note(&self, lease: &Lease) -> Result<Hold, CallError> {
        self.change(|jobs| {
            let cancel = jobs.get(&lease.job_id).is_some_and(|noted| noted.cancel);
            jobs.insert(lease.job_id.clone(), Noted { cancel, ..Noted::of(lease) });
        })
        .await
    }

    /// Notes how far the run of a job has come, for the next write, whatever it is due for: alone it is worth none.
    pub(super) fn note_progress(&self, job_id: &JobId, progress: Option<Progress>) {
        if let Some(noted) = self.known().jobs.get_mut(job_id) {
            noted.record.progress = progress;
        }
    }

    /// Removes the lease of a job, and writes that.
    pub(super) async fn remove(&self, job_id: &JobId) -> Result<Hold, CallError> {
        if self.get(job_id).is_none() && !self.has_unwritten() {
            return Ok(Hold::Ours);
        }
        self.change(|jobs| drop(jobs.remove(job_id))).await
    }

    /// Removes the lease of a job from what is written next.
    pub(super) fn forget(&self, job_id: &JobId) {
        let mut known = self.known();
        known.jobs.remove(job_id);
        known.changes += 1;
    }

    /// Marks a job of this process for cancellation; false if it is not in this file.
    pub(super) fn cancel(&self, job_id: &JobId) -> bool {
        self.known().jobs.get_mut(job_id).is_some_and(|noted| {
            noted.cancel = true;
            true
        })
    }

    /// Extends the leases if a good part of their time has passed.
    pub(super) async fn extend(&self) -> Result<Hold, CallError> {
        if self.is_fresh() {
            return Ok(Hold::Ours);
        }
        let _turn = self.writing.lock().await;
        self.write(None).await
    }

    fn is_fresh(&self) -> bool {
        self.holds_for() >= self.lease * 3 / 4 && !self.has_unwritten()
    }

    fn has_unwritten(&self) -> bool {
        let known = self.known();
        known.written < known.changes
    }

    async fn change(&self, change: impl FnOnce(&mut BTreeMap<JobId, Noted>)) -> Result<Hold, CallError> {
        let wanted = {
            let mut known = self.known();
            if known.is_lost {
                return Ok(Hold::Lost);
            }
            change(&mut known.jobs);
            known.changes += 1;
            known.changes
        };
        let _turn = self.writing.lock().await;
        self.write(Some(wanted)).await
    }

    /// Writes the leases as they are now, unless another caller has just done so: with `wanted` it is enough that this
    /// change is written, without that they are extended.
    async fn write(&self, wanted: Option<u64>) -> Result<Hold, CallError> {
        for _ in 0..ROUNDS {
            if wanted.is_none() && self.is_fresh() {
                return Ok(Hold::Ours);
            }
            let (content, changes, rev, now) = {
                let known = self.known();
                if known.is_lost {
                    return Ok(Hold::Lost);
                }
                if wanted.is_some_and(|wanted| known.written >= wanted) {
                    return Ok(Hold::Ours);
                }
                (self.content(&known), known.changes, known.rev.clone(), Moment::now())
            };
            let written = if content.jobs.is_empty() {
                self.delete(rev.as_deref()).await
            } else {
                self.upload(&content, rev.as_deref()).await
            };
            match written {
                Ok(rev) => {
                    let mut known = self.known();
                    known.written = changes;
                    known.extended = rev.is_some().then_some(now);
                    known.rev = rev;
                    return Ok(Hold::Ours);
                }
                Err(error) if error.is_conflict() || error.is_not_found() => {
                    self.look_who_wrote(&content, changes, now).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Err(Cause::Unavailable("others write the same file of leases all the time".to_owned()).certain())
    }

    fn content(&self, known: &Known) -> Content {
        let (host, pid) = host();
        let until = later(self.client.clock().latest_now(), self.lease);
        Content { until, jobs: known.jobs.clone(), heir: self.heir.clone(), host, pid }
    }

    async fn upload(&self, content: &Content, rev: Option<&str>) -> Result<Option<String>, CallError> {
        let text = serde_json::to_vec(content).map_err(|error| Cause::Bad(error.to_string()).certain())?;
        let mode = rev.map_or(Mode::Add, Mode::Update);
        let file = self.client.upload(&paths::instance_file(&self.name), &text, mode).await?;
        Ok(Some(file.rev))
    }

    /// Without leases there is no file: an idle spooler has nothing to renew.
    async fn delete(&self, rev: Option<&str>) -> Result<Option<String>, CallError> {
        let Some(rev) = rev else { return Ok(None) };
        match self.client.delete_v2(&paths::instance_file(&self.name), Some(rev)).await {
            // Nobody deletes it but its holder, and it holds no lease any more.
            Err(error) if error.is_not_found() => Ok(None),
            result => result.map(|()| None),
        }
    }

    /// After a conflict: takes over what somebody else has written there, or learns that it was written by us.
    async fn look_who_wrote(&self, sent: &Content, changes: u64, now: Moment) -> Result<(), CallError> {
        let found = read(&self.client, &self.name).await?;
        let mut known = self.known();
        match found {
            // The answer to our own write was lost.
            Some((file, content)) if content == *sent => {
                known.rev = Some(file.rev);
                known.extended = Some(now);
                known.written = changes;
            }
            // Somebody wants a job cancelled.
            Some((file, content)) if content.heir == self.heir => {
                for (job_id, theirs) in content.jobs.iter().filter(|(_, theirs)| theirs.cancel) {
                    if let Some(ours) = known.jobs.get_mut(job_id)
                        && ours.backend == theirs.backend
                    {
                        ours.cancel = true;
                    }
                }
                known.rev = Some(file.rev);
            }
            // It was to be new: whatever stood in the way has gone.
            None if known.rev.is_none() => {}
            Some(_) | None => known.lose(),
        }
        Ok(())
    }
}

impl Known {
    fn lose(&mut self) {
        self.is_lost = true;
        self.jobs.clear();
    }
}
