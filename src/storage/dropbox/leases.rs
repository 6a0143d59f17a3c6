//! Claims, leases and returns, and why no crash between two of their steps loses or doubles a job.
//!
//! | path below `Leases` | meaning |
//! |---|---|
//! | `<instance>.json` | the leases of an instance: until when they hold, and the record of each, with how far its run had come at the last write; gone while there is none |
//! | `<instance>/<backend>/job-<id>.json` | a job on its way from the queue to running or back: that instance has it alone |
//! | `record-<id>.json` | the record of a job that was put back, without its run; it waits for the next claim, and lets the job go first |
//!
//! A claim moves the job from the queue to the folder of the instance, which decides among all that try, peers
//! included; notes the lease; and moves the job to running. Putting back keeps the record, moves the job to the folder,
//! removes the lease, and moves the job to the queue. A job is thus noted from before it is running until after it is
//! not any more, and what is in the folder is not running. So of an instance that died:
//!
//! | job in the folder | noted | the job lies | it died | the heir |
//! |---|---|---|---|---|
//! | yes | no | in the folder | while claiming, before the note; or while putting back, after it was removed | lets it go back to its queue |
//! | yes | yes | in the folder | while claiming, after the note; or while putting back, before it was removed | the same, and keeps the record |
//! | no | yes | in running | while the job ran, or before it was put back | takes the lease over |
//! | no | yes | elsewhere | after the job had ended, before the release | takes the lease over, and finds that out |
//! | no | no | in the queue, or at its end | between two jobs | has nothing to do |
//!
//! The heir of an instance, see [`super::orphans`], takes the whole file over by one write in the state that it has
//! read: of all that try one wins, and the instance, should it still live, learns of it with its own next write. The
//! leases stay in that file. Where there is no file, because it held no lease yet or none any more, jobs in the folder
//! go back after two periods of a lease.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::client::Client;
use super::clock::Moment;
use super::documents::Moved;
use super::error::{CallError, Cause};
use super::lease_file::{Hold, LARGEST_FILE, LeaseFile, Noted};
use super::paths;
use super::queues::Queues;
use super::routes::Mode;
use crate::job::{BackendName, InstanceName, JobId};
use crate::storage::provider::since_1970;
use crate::storage::{Claim, Lease, LeaseRecord, Place, Renewal};

/// The leases that this process holds, and its jobs on their way.
pub(super) struct Leases {
    pub(super) client: Arc<Client>,
    pub(super) queues: Arc<Queues>,
    pub(super) lease: Duration,
    files: Mutex<Files>,
    /// Read by those who move a job, written by those who look for jobs that nobody moves any more.
    pub(super) transit: tokio::sync::RwLock<()>,
    /// Jobs of which it is not known where they lie, since a move had no answer, with the file that they belong to.
    stuck: Mutex<BTreeMap<JobId, (BackendName, Arc<LeaseFile>)>>,
}

#[derive(Default)]
struct Files {
    /// For new leases.
    own: Option<Arc<LeaseFile>>,
    taken_over: Vec<Arc<LeaseFile>>,
}

impl Leases {
    pub(super) fn new(client: Arc<Client>, queues: Arc<Queues>, lease: Duration) -> Self {
        let (files, transit, stuck) = (Mutex::default(), tokio::sync::RwLock::default(), Mutex::default());
        Self { client, queues, lease, files, transit, stuck }
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stuck(&self) -> MutexGuard<'_, BTreeMap<JobId, (BackendName, Arc<LeaseFile>)>> {
        self.stuck.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file for new leases. An instance that others took for dead never comes back under its name.
    pub(super) fn own(&self) -> Arc<LeaseFile> {
        let own = &mut self.files().own;
        if let Some(file) = own.as_ref().filter(|file| !file.is_lost()) {
            return Arc::clone(file);
        }
        let (seconds, nanoseconds) = since_1970(Timestamp::now());
        let name = InstanceName::new(seconds, nanoseconds, rand::random());
        Arc::clone(own.insert(Arc::new(LeaseFile::new(Arc::clone(&self.client), name, self.lease))))
    }

    /// All files that this process holds.
    pub(super) fn all(&self) -> Vec<Arc<LeaseFile>> {
        let mut files = self.files();
        files.taken_over.retain(|file| !file.is_lost() && !file.is_done());
        files.own.iter().chain(&files.taken_over).filter(|file| !file.is_lost()).cloned().collect()
    }

    /// Adds a file that was taken over.
    pub(super) fn add(&self, file: LeaseFile) {
        self.files().taken_over.push(Arc::new(file));
    }

    fn holder_of(&self, job_id: &JobId) -> Option<(Arc<LeaseFile>, Noted)> {
        self.all().into_iter().find_map(|file| file.get(job_id).map(|noted| (file, noted)))
    }

    fn get_stuck(&self, job_id: &JobId, backend: &BackendName, file: &Arc<LeaseFile>) {
        self.stuck().insert(job_id.clone(), (backend.clone(), Arc::clone(file)));
    }

    /// Takes a job out of its queue.
    pub(super) async fn claim(&self, backend: &BackendName, job_id: &JobId) -> Result<Claim, CallError> {
        let _moving = self.transit.read().await;
        let (file, begin) = (self.own(), Moment::now());
        let queued = paths::document(Place::Queued(backend), &job_id.into());
        let transit = paths::transit(&file.name, backend, job_id);
        let (moved, kept) = tokio::join!(self.client.rename(&queued, &transit), self.read_record(job_id));
        match moved {
            Ok(Moved::Done) => self.queues.has_left(&queued),
            Ok(Moved::Missing) => {
                self.queues.has_left(&queued);
                return Ok(Claim::Gone);
            }
            Ok(Moved::Taken) => {
                self.get_stuck(job_id, backend, &file);
                return Err(unavailable("a job of that id is on its way already"));
            }
            Err(error) => {
                if error.doubtful {
                    self.get_stuck(job_id, backend, &file);
                }
                return Err(error);
            }
        }
        let taken = async {
            let kept = kept?;
            if begin.longest_elapsed() >= self.lease {
                return Err(unavailable("Dropbox is too slow for the time that a lease lasts"));
            }
            let record = kept.clone().unwrap_or_else(|| LeaseRecord::new(Timestamp::now()));
            let lease = Lease { backend: backend.clone(), job_id: job_id.clone(), record };
            self.run(&file, lease, kept.is_some()).await
        };
        let taken = taken.await;
        if matches!(taken, Ok(Claim::Won(_))) {
            self.stuck().remove(job_id);
        } else {
            self.get_stuck(job_id, backend, &file);
            // At once if that goes, else with the next look.
            if let Err(error) = self.settle(job_id, backend, &file).await {
                let error = error.of("it cannot go back to its queue yet");
                tracing::debug!(%job_id, %error, "a job that could not be claimed is kept until it can go back");
            }
        }
        taken
    }

    /// Notes the lease of a job that is on its way, and lets it run.
    async fn run(&self, file: &LeaseFile, lease: Lease, has_record: bool) -> Result<Claim, CallError> {
        if file.note(&lease).await? == Hold::Lost {
            return Ok(Claim::Gone);
        }
        let transit = paths::transit(&file.name, &lease.backend, &lease.job_id);
        let running = paths::document(Place::Running, &(&lease.job_id).into());
        match self.client.rename(&transit, &running).await? {
            Moved::Done => {}
            Moved::Missing => {
                // Somebody has put it back, and what lies in running is another's.
                file.forget(&lease.job_id);
                return Ok(Claim::Gone);
            }
            Moved::Taken => {
                return Err(Cause::Taken("a running job has the same id".to_owned()).certain());
            }
        }
        if file.holds_for().is_zero() && file.extend().await? == Hold::Lost {
            return Ok(Claim::Gone);
        }
        if has_record && let Err(error) = self.client.remove(&paths::record(&lease.job_id)).await {
            let error = error.of("it cannot be deleted");
            tracing::debug!(job_id = %lease.job_id, %error, "an old record is left, which does no harm");
        }
        Ok(Claim::Won(lease))
    }

    /// Stores the record of a lease, and extends it. Progress is stored with the next write that is due anyway.
    pub(super) async fn renew(&self, lease: &Lease) -> Result<Renewal, CallError> {
        let Some((file, noted)) = self.holder_of(&lease.job_id) else { return Ok(Renewal::Lost) };
        let hold = if noted.record.without_progress() == lease.record.without_progress() {
            file.note_progress(&lease.job_id, lease.record.progress);
            file.extend().await?
        } else {
            file.note(lease).await?
        };
        Ok(match file.get(&lease.job_id) {
            Some(noted) if hold == Hold::Ours => Renewal::Held { cancel: noted.cancel },
            _ => Renewal::Lost,
        })
    }

    /// Puts a running job back to the head of its queue.
    pub(super) async fn put_back(&self, lease: &Lease) -> Result<(), CallError> {
        let _moving = self.transit.read().await;
        let Some((file, _)) = self.holder_of(&lease.job_id) else { return Ok(()) };
        if file.extend().await? == Hold::Lost {
            return Ok(());
        }
        self.get_stuck(&lease.job_id, &lease.backend, &file);
        self.return_running(&file, lease).await?;
        self.stuck().remove(&lease.job_id);
        Ok(())
    }

    /// Ends the lease of a job.
    pub(super) async fn release(&self, lease: &Lease) -> Result<(), CallError> {
        for file in self.all() {
            file.remove(&lease.job_id).await?;
        }
        Ok(())
    }

    /// Lets the running job of a lease go back; without one, only the lease ends.
    async fn return_running(&self, file: &LeaseFile, lease: &Lease) -> Result<(), CallError> {
        let (job_id, backend) = (&lease.job_id, &lease.backend);
        self.write_record(job_id, &Noted::of(lease)).await?;
        let transit = paths::transit(&file.name, backend, job_id);
        let running = paths::document(Place::Running, &job_id.into());
        let moved = self.client.rename(&running, &transit).await?;
        if moved == Moved::Missing && self.client.get_metadata(&transit).await?.is_none() {
            // The job has come to its end already.
            self.client.remove(&paths::record(job_id)).await?;
            return file.remove(job_id).await.map(drop);
        }
        // Whoever dies from here on leaves the job in the folder, and nobody takes it for running.
        if file.remove(job_id).await? == Hold::Lost {
            return Ok(());
        }
        self.return_transit(&file.name, backend, job_id).await
    }

    /// Moves a job on its way back to its queue. One that lies there already was put there by somebody else.
    pub(super) async fn return_transit(
        &self,
        name: &InstanceName,
        backend: &BackendName,
        job_id: &JobId,
    ) -> Result<(), CallError> {
        let transit = paths::transit(name, backend, job_id);
        let queued = paths::document(Place::Queued(backend), &job_id.into());
        let moved = self.client.rename(&transit, &queued).await?;
        self.queues.has_come();
        if moved == Moved::Taken {
            let (ours, theirs) = (self.client.get_metadata(&transit).await?, self.client.get_metadata(&queued).await?);
            match (ours, theirs) {
                (Some(ours), Some(theirs)) if ours.content_hash == theirs.content_hash => {
                    self.client.remove(&transit).await?;
                }
                (Some(_), Some(_)) => {
                    tracing::error!(%job_id, %backend, transit, "two jobs have this id; one of them stays where it is");
                }
                _ => return Err(unavailable("somebody else moves it at the same time")),
            }
        }
        Ok(())
    }

    /// Finds out where the jobs lie whose moves had no answer, and lets them go back.
    pub(super) async fn settle_all(&self) {
        let stuck = self.stuck().clone();
        if stuck.is_empty() {
            return;
        }
        let _nobody_moves = self.transit.write().await;
        for (job_id, (backend, file)) in &stuck {
            if self.stuck().contains_key(job_id)
                && let Err(error) = self.settle(job_id, backend, file).await
            {
                let error = error.of("trying again with the next look");
                tracing::debug!(%job_id, %error, "a job is stuck between its queue and running");
            }
        }
    }

    async fn settle(&self, job_id: &JobId, backend: &BackendName, file: &LeaseFile) -> Result<(), CallError> {
        let transit = paths::transit(&file.name, backend, job_id);
        if !file.is_lost() {
            let running = paths::document(Place::Running, &job_id.into());
            let noted = file.get(job_id);
            if self.client.get_metadata(&transit).await?.is_some() {
                if let Some(noted) = &noted {
                    self.write_record(job_id, noted).await?;
                }
                if file.remove(job_id).await? == Hold::Ours {
                    self.return_transit(&file.name, backend, job_id).await?;
                }
            } else if let Some(noted) = noted
                && self.client.get_metadata(&running).await?.is_some()
            {
                self.return_running(file, &noted.lease(job_id)).await?;
            } else {
                file.remove(job_id).await?;
            }
        }
        self.stuck().remove(job_id);
        Ok(())
    }

    /// Keeps a record for the next claim.
    pub(super) async fn write_record(&self, job_id: &JobId, noted: &Noted) -> Result<(), CallError> {
        let text = serde_json::to_vec(&noted.kept()).map_err(|error| Cause::Bad(error.to_string()).certain())?;
        self.client.upload(&paths::record(job_id), &text, Mode::Overwrite).await.map(drop)
    }

    async fn read_record(&self, job_id: &JobId) -> Result<Option<LeaseRecord>, CallError> {
        Ok(self.read_kept(job_id).await?.map(|noted| noted.record))
    }

    /// What was kept of a job that went back to its queue. What nobody can read is as good as none.
    pub(super) async fn read_kept(&self, job_id: &JobId) -> Result<Option<Noted>, CallError> {
        match self.client.download(&paths::record(job_id), LARGEST_FILE).await {
            Ok((_, text)) => Ok(serde_json::from_slice(&text).ok()),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

pub(super) fn unavailable(why: &str) -> CallError {
    Cause::Unavailable(why.to_owned()).certain()
}
