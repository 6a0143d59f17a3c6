//! What lies in the storage as a whole: for which backends there is something, and what is nobody's.

use std::io::{self, ErrorKind};
use std::time::{Duration, SystemTime};

use cap_std::fs::Dir;

use super::files::{Tree, is_temporary, open_file};
use super::holders::lost_records;
use super::instance::{ALIVE, LEASES, instance_names};
use super::leases::backends_of;
use crate::job::{BackendName, DocumentId, InstanceName};
use crate::storage::Leftover;

/// The folders that have one folder per backend.
const BY_BACKEND: [&str; 4] = ["jobs/queued", "jobs/finished", "status", "results"];

/// The other folders that hold documents.
const FLAT: [&str; 4] = ["backends/configs", "backends/public_keys", "jobs/running", "jobs/deleted"];

/// How long a file must not have been written before it counts as left: no write takes that long.
const AGE: Duration = Duration::from_secs(3600);

/// Whether the file is a document: its name ends in `.json` and is an id before that.
fn is_document(name: &str) -> bool {
    name.strip_suffix(".json").is_some_and(|id| id.parse::<DocumentId>().is_ok())
}

/// The backends that have a folder at `path`, in no order.
pub(super) fn folders_of(tree: &Tree, path: &str) -> io::Result<Vec<BackendName>> {
    let names = names_in(tree, path)?;
    let backends = names.iter().filter_map(|name| name.parse::<BackendName>().ok());
    Ok(backends.filter(|backend| tree.dir(&format!("{path}/{backend}")).is_ok()).collect())
}

/// The backends of which there is a configuration or any other document, by name.
pub(super) fn backends(tree: &Tree) -> io::Result<Vec<BackendName>> {
    let configs = names_in(tree, "backends/configs")?;
    let mut backends: Vec<BackendName> =
        configs.iter().filter_map(|name| name.strip_suffix(".json")?.parse().ok()).collect();
    for path in BY_BACKEND {
        for backend in folders_of(tree, path)? {
            if holds_a_document(&tree.dir(&format!("{path}/{backend}"))?)? {
                backends.push(backend);
            }
        }
    }
    backends.sort();
    backends.dedup();
    Ok(backends)
}

/// Looks no further than to the first.
fn holds_a_document(dir: &Dir) -> io::Result<bool> {
    for entry in dir.entries()? {
        if entry?.file_name().to_str().is_some_and(is_document) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// All that is nobody's. With `remove`, halves of writes and what crashed spoolers left are removed; what may be
/// somebody's stays.
pub(super) fn leftovers(tree: &Tree, remove: bool) -> io::Result<Vec<Leftover>> {
    let mut found = Found { remove, leftovers: Vec::new() };
    for path in FLAT {
        found.look_at_documents(tree, path);
    }
    for path in BY_BACKEND {
        found.look_at_backends(tree, path);
    }
    found.look_at_leases(tree)?;
    for record in lost_records(tree, remove)? {
        let path = format!("{LEASES}/{record}");
        found.push(path, "the record of a job that is neither queued nor running", true);
    }
    found.leftovers.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found.leftovers)
}

/// What has been found so far.
struct Found {
    remove: bool,
    leftovers: Vec<Leftover>,
}

impl Found {
    fn push(&mut self, path: String, what: &'static str, removable: bool) {
        self.leftovers.push(Leftover { path, what, removable });
    }

    /// A folder of documents. What cannot be listed is told by whoever needs it.
    fn look_at_documents(&mut self, tree: &Tree, path: &str) {
        self.look_at(tree, path, |name| !is_document(name));
    }

    /// A folder of folders of documents, one per backend.
    fn look_at_backends(&mut self, tree: &Tree, path: &str) {
        let Ok(names) = names_in(tree, path) else { return };
        for name in names {
            let below = format!("{path}/{name}");
            if name.parse::<BackendName>().is_ok() && tree.dir(&below).is_ok() {
                self.look_at_documents(tree, &below);
            } else if let Ok(dir) = tree.dir(path) {
                self.look_at_one(&dir, path, &name, "it is not the folder of a backend");
            }
        }
    }

    fn look_at(&mut self, tree: &Tree, path: &str, is_foreign: impl Fn(&str) -> bool) {
        let Ok(dir) = tree.dir(path) else { return };
        let Ok(entries) = dir.entries() else { return };
        for entry in entries.flatten() {
            // Names of other than letters are none of ours, and cannot be told in words either.
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
            if !is_file || is_foreign(&name) {
                self.look_at_one(&dir, path, &name, "a file that is no document: its name is not an id and .json");
            }
        }
    }

    /// One thing that is no document.
    fn look_at_one(&mut self, dir: &Dir, path: &str, name: &str, what: &'static str) {
        // A network file system keeps what is deleted but still open under such a name.
        if name.starts_with(".nfs") {
            return;
        }
        let Ok(metadata) = dir.symlink_metadata(name) else { return };
        let full = format!("{path}/{name}");
        if metadata.is_dir() {
            self.push(full, "a folder in a place of documents", false);
        } else if metadata.is_symlink() {
            self.push(full, "a link, which is never followed", false);
        } else if !metadata.is_file() {
            self.push(full, "a pipe, a socket or a device", false);
        } else if metadata.modified().is_ok_and(|time| is_old(time.into_std())) {
            let is_half = is_temporary(name);
            if !is_half {
                self.push(full, what, false);
            } else if !self.remove || dir.remove_file(name).is_ok() {
                self.push(full, "half of a document: its write was cut off", true);
            } else {
                self.push(full, "half of a document, which cannot be removed", false);
            }
        }
    }

    fn look_at_leases(&mut self, tree: &Tree) -> io::Result<()> {
        for instance in instance_names(tree)? {
            let folder = format!("{LEASES}/{instance}");
            let Ok(backends) = backends_of(tree, &folder) else {
                if let Ok(dir) = tree.dir(LEASES) {
                    self.look_at_one(&dir, LEASES, instance.as_str(), "it has the name of a spooler and is none");
                }
                continue;
            };
            for (backend, _) in backends {
                let path = format!("{folder}/{backend}");
                self.look_at(tree, &path, |name| !is_of_a_lease(name));
            }
        }
        let Ok(leases) = tree.dir(LEASES) else { return Ok(()) };
        for name in names_in(tree, LEASES)? {
            let is_record = name.strip_suffix(".record").is_some_and(|id| id.parse::<DocumentId>().is_ok());
            let is_instance = name.parse::<InstanceName>().is_ok();
            let is_start = name.strip_prefix('.').is_some_and(|name| name.parse::<InstanceName>().is_ok());
            if is_start {
                self.look_at_start(&leases, &name);
            } else if !is_instance && (!is_record || !leases.symlink_metadata(&name).is_ok_and(|entry| entry.is_file()))
            {
                self.look_at_one(&leases, LEASES, &name, "a file that has nothing to do with leases");
            }
        }
        Ok(())
    }

    /// The folder of an instance that was not complete yet when its process died: it holds no leases.
    fn look_at_start(&mut self, leases: &Dir, name: &str) {
        let Ok(metadata) = leases.symlink_metadata(name) else { return };
        if !metadata.is_dir() || !metadata.modified().is_ok_and(|time| is_old(time.into_std())) {
            return;
        }
        let Ok(folder) = leases.open_dir(name) else { return };
        // A lock that is held means a process that is stopped half-way, and may go on.
        let lock = open_file(&folder, ALIVE).map(cap_std::fs::File::into_std);
        if lock.as_ref().is_ok_and(|lock| lock.try_lock_shared().is_err()) {
            return;
        }
        let removed = if self.remove { remove_start(leases, &folder, name) } else { Ok(()) };
        let path = format!("{LEASES}/{name}");
        self.push(path, "what a spooler left that was killed while it started", removed.is_ok());
    }
}

/// Whether a file belongs to a lease, or to a job on its way.
fn is_of_a_lease(name: &str) -> bool {
    let stem = [".job", ".lease", ".cancel"].iter().find_map(|ending| name.strip_suffix(ending));
    stem.is_some_and(|id| id.parse::<DocumentId>().is_ok())
}

/// Anything else in the folder stays, and the folder with it.
fn remove_start(leases: &Dir, folder: &Dir, name: &str) -> io::Result<()> {
    match folder.remove_file(ALIVE) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        result => result?,
    }
    leases.remove_dir(name)
}

fn is_old(modified: SystemTime) -> bool {
    modified.elapsed().is_ok_and(|age| age > AGE)
}

/// The names at `path`, in no order; none if there is no such folder.
fn names_in(tree: &Tree, path: &str) -> io::Result<Vec<String>> {
    let dir = match tree.dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        dir => dir?,
    };
    let mut names = Vec::new();
    for entry in dir.entries()? {
        names.extend(entry?.file_name().into_string());
    }
    Ok(names)
}
