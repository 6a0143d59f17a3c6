//! The mark of one living spooler: a locked file, which the kernel frees when its process dies.

use std::collections::HashSet;
use std::fs::TryLockError;
use std::io::{self, ErrorKind, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use cap_std::fs::{Dir, OpenOptions};
use jiff::Timestamp;
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, futimens};
use serde::{Deserialize, Serialize};

use super::files::{Tree, open_file, read_file, rename_new};
use crate::job::InstanceName;
use crate::storage::provider::since_1970;

/// Where the leases of all instances lie.
pub(super) const LEASES: &str = "jobs/leases";

/// The file in an instance's folder that is locked while the instance lives, and touched at every renewal.
pub(super) const ALIVE: &str = "alive";

/// This process as a holder of leases at one storage. Its folder is `jobs/leases/<name>`.
pub(super) struct Instance {
    pub(super) name: InstanceName,
    lock: std::fs::File,
    /// Held while a job is on its way from the queue to running or back.
    transit: Mutex<()>,
    said: Mutex<HashSet<String>>,
}

/// Another instance that has died. While this value lives, nobody else clears up after it.
pub(super) struct DeadInstance {
    pub(super) folder: String,
    _lock: std::fs::File,
}

/// An instance as anybody sees it who looks at the storage.
pub(super) struct Seen {
    pub(super) name: InstanceName,
    pub(super) is_dead: bool,
    /// Its name, host and process, as far as they are known.
    pub(super) described: String,
}

/// What an instance says of itself.
#[derive(Serialize, Deserialize)]
struct Mark {
    /// Tells starts of one machine apart, and containers on it not.
    boot: String,
    host: String,
    pid: u32,
    lease_s: u64,
}

impl Mark {
    fn of_this_process(lease: Duration) -> Self {
        Self {
            boot: std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            pid: std::process::id(),
            lease_s: lease.as_secs(),
        }
    }

    /// Whether the lock of that instance can be trusted: it was taken on this machine. Some network file systems
    /// keep locks to themselves, so a lock taken elsewhere may look free although its holder lives.
    fn is_of_this_machine(&self, here: &Self) -> bool {
        (!self.boot.is_empty() && self.boot == here.boot) || (!self.host.is_empty() && self.host == here.host)
    }
}

/// Whether the instance in `folder` has died, now that its lock is free. `now` is the time of the file system.
fn is_dead(folder: &Dir, lock: &std::fs::File, now: impl FnOnce() -> io::Result<SystemTime>) -> io::Result<bool> {
    match read_mark(folder) {
        Some(mark) if !mark.is_of_this_machine(&Mark::of_this_process(Duration::ZERO)) => {
            // Both times are the file system's, so the clocks of the two machines do not matter.
            let silent_for = now()?.duration_since(lock.metadata()?.modified()?);
            Ok(silent_for.is_ok_and(|silence| silence > Duration::from_secs(mark.lease_s)))
        }
        _ => Ok(true),
    }
}

/// Looks whether an instance lives, and disturbs nobody: the lock is asked for together with others. `None` if it has
/// just gone.
pub(super) fn see(
    tree: &Tree,
    name: InstanceName,
    now: impl FnOnce() -> io::Result<SystemTime>,
) -> io::Result<Option<Seen>> {
    let folder = match tree.dir(&format!("{LEASES}/{name}")) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        folder => folder?,
    };
    let lock = match open_file(&folder, ALIVE) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        lock => lock?.into_std(),
    };
    let described = match read_mark(&folder) {
        Some(Mark { host, pid, .. }) if !host.is_empty() => format!("{name} (process {pid} on {host})"),
        Some(Mark { pid, .. }) => format!("{name} (process {pid})"),
        None => name.to_string(),
    };
    let is_dead = match lock.try_lock_shared() {
        Err(TryLockError::WouldBlock) => false,
        result => {
            result.map_err(io::Error::from)?;
            is_dead(&folder, &lock, now)?
        }
    };
    Ok(Some(Seen { name, is_dead, described }))
}

impl Instance {
    /// Enters the storage as a new instance.
    pub(super) fn enter(tree: &Tree, lease: Duration) -> io::Result<Self> {
        let (seconds, nanoseconds) = since_1970(Timestamp::now());
        let name = InstanceName::new(seconds, nanoseconds, rand::random());
        let leases = tree.dir_or_new(LEASES)?;
        // The folder gets its name when the lock is held already: nobody may find it unlocked and take it for dead.
        let hidden = format!(".{name}");
        let entered: io::Result<std::fs::File> = (|| {
            leases.create_dir(&hidden)?;
            // Open to the people of the storage, as every folder: another's daemon takes leases over, and whoever has
            // submitted a job may ask for its cancellation. Without that, fewer can.
            let _as_it_is = leases.set_permissions(&hidden, leases.dir_metadata()?.permissions());
            let folder = leases.open_dir(&hidden)?;
            let options = OpenOptions::new().read(true).write(true).create_new(true).clone();
            let mut lock = folder.open_with(ALIVE, &options)?.into_std();
            lock.try_lock().map_err(io::Error::from)?;
            lock.write_all(&serde_json::to_vec(&Mark::of_this_process(lease))?)?;
            rename_new(&leases, &hidden, &leases, name.as_str())?;
            Ok(lock)
        })();
        if entered.is_err() {
            // A full disk, most likely; what failed is reported.
            let _unremoved = leases.remove_dir_all(&hidden);
        }
        Ok(Self { name, lock: entered?, transit: Mutex::new(()), said: Mutex::default() })
    }

    /// Whether this is said for the first time: what stays wrong is not worth a line per second.
    pub(super) fn says_first(&self, what: &str) -> bool {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).insert(what.to_owned())
    }

    /// The path of the instance's folder.
    pub(super) fn folder(&self) -> String {
        format!("{LEASES}/{}", self.name)
    }

    /// Keeps others of this process from moving jobs.
    pub(super) fn lock_transit(&self) -> MutexGuard<'_, ()> {
        self.transit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the folder is still there; somebody may have cleared the storage by hand.
    pub(super) fn is_in(&self, tree: &Tree) -> bool {
        tree.dir(&self.folder()).is_ok_and(|folder| folder.exists(ALIVE))
    }

    /// Shows that the instance lives, to machines that cannot see its lock.
    pub(super) fn touch(&self) -> io::Result<()> {
        // Now by the clock of the file system, which may be that of another machine.
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        Ok(futimens(&self.lock, &Timestamps { last_access: now, last_modification: now })?)
    }

    /// The time of the file system.
    pub(super) fn now(&self) -> io::Result<SystemTime> {
        self.touch()?;
        self.lock.metadata()?.modified()
    }

    /// The other instances that have died.
    pub(super) fn find_dead(&self, tree: &Tree) -> io::Result<Vec<DeadInstance>> {
        let mut dead = Vec::new();
        for name in instance_names(tree)? {
            if name == self.name {
                continue;
            }
            match self.probe(tree, &name) {
                Ok(instance) => dead.extend(instance),
                Err(error) => {
                    let what = format!("{LEASES}/{name} cannot be looked at: {error}");
                    if self.says_first(&what) {
                        tracing::warn!(what, "jobs of another spooler cannot be looked after");
                    }
                }
            }
        }
        Ok(dead)
    }

    fn probe(&self, tree: &Tree, name: &InstanceName) -> io::Result<Option<DeadInstance>> {
        let path = format!("{LEASES}/{name}");
        let opened = tree.dir(&path).and_then(|folder| {
            // Reading is enough to ask for the lock, and instances may belong to different users.
            let lock = open_file(&folder, ALIVE)?;
            Ok((folder, lock))
        });
        let (folder, lock) = match opened {
            // Somebody else has just cleared up.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let lock = lock.into_std();
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(None),
            result => result.map_err(io::Error::from)?,
        }
        if !folder.exists(ALIVE) {
            return Ok(None);
        }
        let is_dead = is_dead(&folder, &lock, || self.now())?;
        Ok(is_dead.then_some(DeadInstance { folder: path, _lock: lock }))
    }
}

impl DeadInstance {
    /// Removes what is left of the instance, once its leases are dealt with. Whatever is still in there stays.
    pub(super) fn remove(&self, tree: &Tree) -> io::Result<()> {
        remove_folder(tree, &self.folder)
    }
}

impl Instance {
    /// Clears the folder at the end, if no lease is left in it; else whoever comes next deals with it.
    pub(super) fn leave(&self, tree: &Tree) -> io::Result<()> {
        remove_folder(tree, &self.folder())
    }
}

fn remove_folder(tree: &Tree, path: &str) -> io::Result<()> {
    let folder = tree.dir(path)?;
    for entry in folder.entries()? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            folder.remove_dir(entry.file_name())?;
        }
    }
    folder.remove_file(ALIVE)?;
    tree.dir(LEASES)?.remove_dir(path.rsplit('/').next().unwrap_or_default())
}

/// The instances that have a folder, dead or alive.
pub(super) fn instance_names(tree: &Tree) -> io::Result<Vec<InstanceName>> {
    let leases = match tree.dir(LEASES) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        leases => leases?,
    };
    let mut names = Vec::new();
    for entry in leases.entries()? {
        names.extend(entry?.file_name().to_str().and_then(|name| name.parse().ok()));
    }
    Ok(names)
}

fn read_mark(folder: &Dir) -> Option<Mark> {
    const LARGEST_MARK: u64 = 4096;
    serde_json::from_slice(&read_file(folder, ALIVE, LARGEST_MARK).ok()?).ok()
}
