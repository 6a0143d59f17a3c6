//! Who holds which job, as anybody sees it who looks at the storage.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant, SystemTime};

use cap_std::fs::Dir;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, openat};
use rustix::io::Errno;

use super::files::Tree;
use super::instance::{LEASES, instance_names, see};
use super::leases::{
    backends_of, claimed_at, document_file, ids_of, job_file, lease_file, read_record, record_file, remove_if_there,
};
use super::survey::folders_of;
use crate::job::{BackendName, InstanceName, JobId, Progress};
use crate::storage::{HeldLease, Holder, Lease, LeaseRecord, Place};

/// How long to wait for others who adopt a job. Each of them takes less than a millisecond.
const ADOPTION_WAIT: Duration = Duration::from_secs(5);

/// How long a record must have lain without its job before nobody needs it any more.
pub(super) const RECORD_AGE: Duration = Duration::from_secs(3600);

/// All leases, jobs on their way included, and the records of jobs that wait in their queue. `now` is the time of the
/// file system.
pub(super) fn held_leases(tree: &Tree, now: impl Fn() -> io::Result<SystemTime>) -> io::Result<Vec<HeldLease>> {
    let mut held = Vec::new();
    for name in instance_names(tree)? {
        let seen = match see(tree, name, &now) {
            Ok(Some(seen)) => seen,
            Ok(None) => continue,
            Err(error) => {
                tracing::debug!(%error, "an instance cannot be looked at");
                continue;
            }
        };
        let holder = if seen.is_dead { Holder::Dead(seen.described) } else { Holder::Living(seen.described) };
        let folder = format!("{LEASES}/{}", seen.name);
        for (backend, dir) in gone_is_empty(backends_of(tree, &folder))? {
            held.extend(
                leases_in(&dir, &backend)?.into_iter().map(|lease| HeldLease { lease, holder: holder.clone() }),
            );
        }
    }
    let queues = folders_of(tree, "jobs/queued")?;
    for job_id in recorded(tree)? {
        let Some(record) = read_record(&tree.dir(LEASES)?, &record_file(&job_id)) else { continue };
        let backend = queues.iter().find(|backend| is_queued(tree, backend, &job_id)).cloned();
        let lease = backend.map(|backend| Lease { backend, job_id, record });
        held.extend(lease.map(|lease| HeldLease { lease, holder: Holder::Nobody }));
    }
    Ok(held)
}

/// The leases in one folder. A job on its way counts, though its lease may not be written yet.
fn leases_in(dir: &Dir, backend: &BackendName) -> io::Result<Vec<Lease>> {
    let mut ids = ids_of(dir, ".lease")?;
    ids.extend(ids_of(dir, ".job")?);
    ids.sort();
    ids.dedup();
    let lease = |job_id: JobId| {
        let name = lease_file(&job_id);
        let record = read_record(dir, &name).unwrap_or_else(|| LeaseRecord::new(claimed_at(dir, &name)));
        Lease { backend: backend.clone(), job_id, record }
    };
    Ok(ids.into_iter().map(lease).collect())
}

/// How far the run of a job has come, as the record of its lease says. What cannot be read says nothing.
pub(super) fn progress(tree: &Tree, backend: &BackendName, job_id: &JobId) -> io::Result<Option<Progress>> {
    let name = lease_file(job_id);
    let record = |instance: InstanceName| {
        let dir = tree.dir(&format!("{LEASES}/{instance}/{backend}")).ok()?;
        read_record(&dir, &name)
    };
    Ok(instance_names(tree)?.into_iter().find_map(record).and_then(|record| record.progress))
}

/// The jobs that have a record of an earlier claim.
fn recorded(tree: &Tree) -> io::Result<Vec<JobId>> {
    gone_is_empty(tree.dir(LEASES).and_then(|leases| ids_of(&leases, ".record")))
}

/// Whether an instance has the job's lease, or the job itself on its way.
pub(super) fn is_held(tree: &Tree, job_id: &JobId) -> io::Result<bool> {
    is_in_any(tree, &[lease_file(job_id), job_file(job_id)])
}

/// Whether an instance has the job's lease.
pub(super) fn is_leased(tree: &Tree, job_id: &JobId) -> io::Result<bool> {
    is_in_any(tree, &[lease_file(job_id)])
}

fn is_in_any(tree: &Tree, names: &[String]) -> io::Result<bool> {
    for instance in instance_names(tree)? {
        let folders = match backends_of(tree, &format!("{LEASES}/{instance}")) {
            // What is no folder holds no leases.
            Err(error) if error.kind() == ErrorKind::NotADirectory => Vec::new(),
            folders => gone_is_empty(folders)?,
        };
        if folders.iter().any(|(_, dir)| names.iter().any(|name| dir.symlink_metadata(name).is_ok())) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_queued(tree: &Tree, backend: &BackendName, job_id: &JobId) -> bool {
    let queue = tree.dir(&Place::Queued(backend).to_string());
    queue.and_then(|queue| queue.symlink_metadata(document_file(job_id))).is_ok()
}

/// The records that no claim will ever read, because their jobs are neither queued nor running nor anywhere between.
/// With `remove` they are removed.
pub(super) fn lost_records(tree: &Tree, remove: bool) -> io::Result<Vec<String>> {
    let queues = folders_of(tree, "jobs/queued")?;
    let running = Place::Running.to_string();
    let waits = |job_id: &JobId| queues.iter().any(|backend| is_queued(tree, backend, job_id));
    let runs = |job_id: &JobId| tree.dir(&running).is_ok_and(|dir| dir.symlink_metadata(document_file(job_id)).is_ok());
    let mut lost = Vec::new();
    for job_id in recorded(tree)? {
        // The queue once more at the end: a job may have come back to it meanwhile, and then its record is new.
        if waits(&job_id) || runs(&job_id) || is_held(tree, &job_id)? || waits(&job_id) {
            continue;
        }
        let (leases, name) = (tree.dir(LEASES)?, record_file(&job_id));
        let Ok(metadata) = leases.symlink_metadata(&name) else { continue };
        let is_old = metadata.modified()?.into_std().elapsed().is_ok_and(|age| age > RECORD_AGE);
        if metadata.is_file() && is_old {
            if remove {
                remove_if_there(&leases, &name)?;
            }
            lost.push(name);
        }
    }
    Ok(lost)
}

/// Held while a job without a lease is adopted: two who do it at the same moment would take each other's.
pub(super) fn lock_adoption(leases: &Dir) -> io::Result<rustix::fd::OwnedFd> {
    let open = openat(leases, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let begin = Instant::now();
    loop {
        match flock(&open, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if begin.elapsed() < ADOPTION_WAIT => std::thread::sleep(Duration::from_millis(1)),
            Err(Errno::WOULDBLOCK) => {
                let what = format!("another program has kept {LEASES} locked for {} s", ADOPTION_WAIT.as_secs());
                return Err(io::Error::new(ErrorKind::TimedOut, what));
            }
            // Some network file systems lock no folders.
            Ok(()) | Err(_) => return Ok(open),
        }
    }
}

/// What has gone while it was looked at is empty.
fn gone_is_empty<T>(listed: io::Result<Vec<T>>) -> io::Result<Vec<T>> {
    match listed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed,
    }
}
