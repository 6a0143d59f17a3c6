//! Leases as files, and why no crash between two of their steps loses or doubles a job.
//!
//! In the folder of an instance, one subfolder per backend holds up to three files per job:
//!
//! | file | meaning |
//! |---|---|
//! | `<id>.job` | the job itself, on its way from the queue to running or back: whoever has it here has it alone |
//! | `<id>.lease` | the lease: its record, with how far the run has come, or while there is nothing to record a second name of the job |
//! | `<id>.cancel` | somebody wants the job cancelled |
//!
//! The record of a job that went back to the queue lies at `jobs/leases/<id>.record`. It tells of no run.
//!
//! A claim renames the job from the queue to `<id>.job`, which decides among all that try, peers included; writes the
//! lease; and renames the job to running. Putting back does the reverse. So of an instance that died:
//!
//! - a `.job` file goes back to the queue, whether a lease is beside it or not;
//! - a lease without a `.job` file means that the job in running, if there is one, was that instance's. A peer's job in
//!   running never has one.

use std::io::{self, ErrorKind, Write};

use cap_std::fs::{Dir, OpenOptions};
use jiff::Timestamp;

use super::files::{Tree, changed, is_temporary, read_file, rename_new, sync};
use super::holders::{is_held, is_leased, lock_adoption};
use super::instance::{DeadInstance, Instance, LEASES, instance_names};
use crate::job::{BackendName, JobId};
use crate::storage::{Lease, LeaseRecord, Place};

const LARGEST_RECORD: u64 = 1 << 20;

pub(super) fn job_file(job_id: &JobId) -> String {
    format!("{job_id}.job")
}

pub(super) fn lease_file(job_id: &JobId) -> String {
    format!("{job_id}.lease")
}

const CANCEL: &str = ".cancel";

fn cancel_file(job_id: &JobId) -> String {
    format!("{job_id}{CANCEL}")
}

pub(super) fn record_file(job_id: &JobId) -> String {
    format!("{job_id}.record")
}

pub(super) fn document_file(job_id: &JobId) -> String {
    format!("{job_id}.json")
}

/// `Ok` where the file had gone already.
pub(super) fn remove_if_there(dir: &Dir, name: &str) -> io::Result<()> {
    match dir.remove_file(name) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

pub(super) fn read_record(dir: &Dir, name: &str) -> Option<LeaseRecord> {
    serde_json::from_slice(&read_file(dir, name, LARGEST_RECORD).ok()?).ok()
}

/// When a lease without a record was taken: the claim is what changed the file last, also after a power failure that
/// emptied it.
pub(super) fn claimed_at(dir: &Dir, name: &str) -> Timestamp {
    dir.symlink_metadata(name).map_or_else(|_| Timestamp::now(), |metadata| changed(&metadata))
}

impl Instance {
    fn leases_of(&self, tree: &Tree, backend: &BackendName) -> io::Result<Dir> {
        tree.dir_or_new(&format!("{}/{backend}", self.folder()))
    }

    /// Takes a job out of the queue; `None` if it is not there any more.
    pub(super) fn claim(&self, tree: &Tree, backend: &BackendName, job_id: &JobId) -> io::Result<Option<Lease>> {
        let queue = match tree.dir(&Place::Queued(backend).to_string()) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            queue => queue?,
        };
        let own = self.leases_of(tree, backend)?;
        let _transit = self.lock_transit();
        if !self.take(tree, &queue, &own, job_id)? {
            return Ok(None);
        }
        hold(tree, &own, backend, job_id).map(Some).inspect_err(|_| {
            // A full disk, or a job of that id is running: the job goes back where it was, at the latest when this
            // instance looks after what it has in transit.
            if let Err(stuck) = return_transit(tree, &own, backend, job_id, None) {
                tracing::warn!(%job_id, %stuck, "a job that could not be claimed is kept until it can go back");
            }
        })
    }

    /// Takes the lease of a running job that has none; `None` if it is not running, or has one.
    ///
    /// The steps are those of a claim, but that the job comes from running. Those who adopt do it in turn; where the
    /// file system has no locks for that, the second look tells who was first.
    pub(super) fn adopt_unleased(
        &self,
        tree: &Tree,
        backend: &BackendName,
        job_id: &JobId,
    ) -> io::Result<Option<Lease>> {
        let running = match tree.dir(&Place::Running.to_string()) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            running => running?,
        };
        let own = self.leases_of(tree, backend)?;
        let _turn = lock_adoption(&tree.dir(LEASES)?)?;
        let _transit = self.lock_transit();
        // Twice, since one look misses a lease that is taken over from a dead spooler meanwhile.
        if is_held(tree, job_id)? || is_held(tree, job_id)? || !self.take(tree, &running, &own, job_id)? {
            return Ok(None);
        }
        let go_back = || match rename_new(&own, &job_file(job_id), &running, &document_file(job_id)) {
            Ok(()) => {}
            Err(stuck) => tracing::warn!(%job_id, %stuck, "a job that could not be adopted goes to its queue"),
        };
        match is_leased(tree, job_id) {
            Ok(false) => {}
            other => {
                go_back();
                return other.map(|_| None);
            }
        }
        hold(tree, &own, backend, job_id).map(Some).inspect_err(|_| {
            // Without a job beside it a lease would claim what lies in running.
            if remove_if_there(&own, &lease_file(job_id)).is_ok() {
                go_back();
            }
        })
    }

    /// Renames a job to our folder, which decides who has it; false if it is not there any more.
    fn take(&self, tree: &Tree, from: &Dir, own: &Dir, job_id: &JobId) -> io::Result<bool> {
        match rename_new(from, &document_file(job_id), own, &job_file(job_id)) {
            Err(error) if error.kind() == ErrorKind::NotFound && self.is_in(tree) => Ok(false),
            result => result.map(|()| true),
        }
    }

    /// Whether the lease is held, and if so whether the job shall be cancelled. Stores a changed record.
    pub(super) fn renew(&self, tree: &Tree, lease: &Lease) -> io::Result<Option<bool>> {
        let own = self.leases_of(tree, &lease.backend)?;
        let name = lease_file(&lease.job_id);
        if !own.exists(&name) {
            return Ok(None);
        }
        self.touch()?;
        if !lease.record.is_fresh() {
            store_changed(tree, &own, &name, &lease.record)?;
        }
        Ok(Some(own.exists(cancel_file(&lease.job_id))))
    }

    /// Puts the running job of a lease back to its queue. Without a job in running, or without the lease, nothing
    /// moves.
    pub(super) fn put_back(&self, tree: &Tree, lease: &Lease) -> io::Result<()> {
        let own = self.leases_of(tree, &lease.backend)?;
        if self.renew(tree, lease)?.is_none() {
            return Ok(());
        }
        let running = tree.dir_or_new(&Place::Running.to_string())?;
        let _transit = self.lock_transit();
        match rename_new(&running, &document_file(&lease.job_id), &own, &job_file(&lease.job_id)) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            result => {
                result?;
                return_transit(tree, &own, &lease.backend, &lease.job_id, Some(&lease.record))?;
            }
        }
        self.release(tree, lease)
    }

    /// Ends a lease.
    pub(super) fn release(&self, tree: &Tree, lease: &Lease) -> io::Result<()> {
        let own = self.leases_of(tree, &lease.backend)?;
        remove_if_there(&own, &cancel_file(&lease.job_id))?;
        remove_if_there(&own, &lease_file(&lease.job_id))
    }

    /// Deals with all that dead instances left, and takes their leases over.
    pub(super) fn adopt_orphans(&self, tree: &Tree) -> io::Result<Vec<Lease>> {
        let transit = self.lock_transit();
        for (backend, own) in backends_of(tree, &self.folder())? {
            // Whoever moves a job holds the lock, so what is in transit now is stuck there.
            self.return_all(tree, &own, &backend)?;
        }
        drop(transit);
        let mut adopted = Vec::new();
        for dead in self.find_dead(tree)? {
            // What was taken over until an error came is ours, and has to be told; the rest is for the next look.
            let taken = self.adopt_from(tree, &dead, &mut adopted);
            if let Err(error) = taken.and_then(|()| clear(tree, &dead)) {
                tracing::debug!(%error, "the folder of a dead spooler could not be cleared yet");
            }
        }
        Ok(adopted)
    }

    fn adopt_from(&self, tree: &Tree, dead: &DeadInstance, adopted: &mut Vec<Lease>) -> io::Result<()> {
        for (backend, theirs) in backends_of(tree, &dead.folder)? {
            self.return_all(tree, &theirs, &backend)?;
            for job_id in ids_of(&theirs, ".lease")? {
                adopted.extend(self.adopt(tree, &theirs, &backend, &job_id)?);
            }
        }
        Ok(())
    }

    /// Lets everything in transit go back to its queue. What cannot, stays, and hinders nothing else.
    fn return_all(&self, tree: &Tree, dir: &Dir, backend: &BackendName) -> io::Result<()> {
        for job_id in ids_of(dir, ".job")? {
            if let Err(error) = return_transit(tree, dir, backend, &job_id, None) {
                let what = format!("the job {job_id} of {backend} cannot go back to its queue: {error}");
                if self.says_first(&what) {
                    tracing::error!(what, "a job is stuck between its queue and running");
                }
            }
        }
        Ok(())
    }

    fn adopt(&self, tree: &Tree, theirs: &Dir, backend: &BackendName, job_id: &JobId) -> io::Result<Option<Lease>> {
        let own = self.leases_of(tree, backend)?;
        let name = lease_file(job_id);
        let claimed = claimed_at(theirs, &name);
        match rename_new(theirs, &name, &own, &name) {
            // Its job had a .job file and went back to the queue, or another machine was quicker.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            result => result?,
        }
        let mut record = read_record(&own, &name).unwrap_or_else(|| LeaseRecord::new(claimed));
        record.count_death();
        let lease = Lease { backend: backend.clone(), job_id: job_id.clone(), record };
        // From here on the job is ours, whatever else fails: on a full disk the record is stored when it is renewed.
        let stored = tree.replace(&own, &name, &serde_json::to_vec(&lease.record)?);
        let marked = if theirs.exists(cancel_file(job_id)) { own.write(cancel_file(job_id), b"") } else { Ok(()) };
        if let Err(error) = stored.and(marked) {
            tracing::warn!(%job_id, %error, "a lease was taken over, but is not noted wholly yet");
        }
        Ok(Some(lease))
    }
}

/// Stores the record of a lease where another one is stored, or none.
fn store_changed(tree: &Tree, own: &Dir, name: &str, record: &LeaseRecord) -> io::Result<()> {
    let stored = read_record(own, name);
    if stored.as_ref() == Some(record) {
        return Ok(());
    }
    let written = tree.replace(own, name, &serde_json::to_vec(record)?);
    let lasting = record.without_progress();
    let is_known = stored.map_or(lasting.is_fresh(), |stored| stored.without_progress() == lasting);
    // On a full disk a job that runs goes on, though nobody learns how far it has come.
    if is_known { Ok(()) } else { written }
}

/// Makes the lease of a job in our folder, and lets the job go on to running.
fn hold(tree: &Tree, own: &Dir, backend: &BackendName, job_id: &JobId) -> io::Result<Lease> {
    let running = tree.dir_or_new(&Place::Running.to_string())?;
    let leases = tree.dir(LEASES)?;
    let kept = read_record(&leases, &record_file(job_id));
    let had_record = kept.is_some();
    new_lease(own, job_id, kept.as_ref())?;
    let record = kept.unwrap_or_else(|| LeaseRecord::new(Timestamp::now()));
    rename_new(own, &job_file(job_id), &running, &document_file(job_id))?;
    if had_record && let Err(error) = remove_if_there(&leases, &record_file(job_id)) {
        // The job is ours all the same, and an old record does no harm.
        tracing::debug!(%job_id, %error, "the record of an earlier claim could not be removed");
    }
    Ok(Lease { backend: backend.clone(), job_id: job_id.clone(), record })
}

/// Removes what is left of a dead instance that has no leases any more.
fn clear(tree: &Tree, dead: &DeadInstance) -> io::Result<()> {
    for (_, theirs) in backends_of(tree, &dead.folder)? {
        // Marks of cancellation, and halves of records.
        for name in names_of(&theirs)?.iter().filter(|name| name.ends_with(CANCEL) || is_temporary(name)) {
            remove_if_there(&theirs, name)?;
        }
    }
    dead.remove(tree)
}

/// Makes a lease: a file with the record, or a second name of the job where there is none. What has that name already,
/// left by a release that failed, may be a second name of another document, so it is removed and never written to.
fn new_lease(own: &Dir, job_id: &JobId, record: Option<&LeaseRecord>) -> io::Result<()> {
    let name = lease_file(job_id);
    remove_if_there(own, &name)?;
    if record.is_none() && own.hard_link(job_file(job_id), own, &name).is_ok() {
        return Ok(());
    }
    // With a record, or on a file system without hard links.
    let content = record.map(serde_json::to_vec).transpose()?.unwrap_or_default();
    own.open_with(&name, OpenOptions::new().write(true).create_new(true))?.write_all(&content)
}

/// The subfolders of an instance, one per backend.
pub(super) fn backends_of(tree: &Tree, instance: &str) -> io::Result<Vec<(BackendName, Dir)>> {
    let folder = tree.dir(instance)?;
    let mut backends = Vec::new();
    for entry in folder.entries()? {
        let entry = entry?;
        let name = entry.file_name();
        if let Some(backend) = name.to_str().and_then(|name| name.parse().ok())
            && entry.file_type()?.is_dir()
        {
            backends.push((backend, folder.open_dir(name)?));
        }
    }
    Ok(backends)
}

/// The jobs that have a file with this ending.
pub(super) fn ids_of(dir: &Dir, ending: &str) -> io::Result<Vec<JobId>> {
    Ok(names_of(dir)?.iter().filter_map(|name| name.strip_suffix(ending)?.parse().ok()).collect())
}

fn names_of(dir: &Dir) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in dir.entries()? {
        names.extend(entry?.file_name().into_string());
    }
    Ok(names)
}

/// Lets one job go back from transit to its queue. The lease ends first, and before that `record`, or else the stored
/// one, is put where it survives.
fn return_transit(
    tree: &Tree,
    dir: &Dir,
    backend: &BackendName,
    job_id: &JobId,
    record: Option<&LeaseRecord>,
) -> io::Result<()> {
    if let Some(record) = record.cloned().or_else(|| read_record(dir, &lease_file(job_id))) {
        let (leases, name) = (tree.dir(LEASES)?, record_file(job_id));
        let content = serde_json::to_vec(&record.without_progress())?;
        match tree.create(&leases, &name, &content) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => tree.replace(&leases, &name, &content)?,
            result => result?,
        }
    }
    remove_if_there(dir, &lease_file(job_id))?;
    // The modification time stays as it was and the queue is in its order, so the job goes first again.
    let queue = tree.dir_or_new(&Place::Queued(backend).to_string())?;
    rename_new(dir, &job_file(job_id), &queue, &document_file(job_id))?;
    sync(&queue)
}

/// Marks the job for cancellation where an instance holds it.
pub(super) fn request_cancel(tree: &Tree, backend: &BackendName, job_id: &JobId) -> io::Result<bool> {
    for instance in instance_names(tree)? {
        let Ok(theirs) = tree.dir(&format!("{LEASES}/{instance}/{backend}")) else { continue };
        if theirs.exists(lease_file(job_id)) {
            theirs.write(cancel_file(job_id), b"")?;
            return Ok(true);
        }
    }
    Ok(false)
}
