//! The storage operations on local files.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use cap_std::fs::Dir;
use jiff::Timestamp;
use rustix::io::Errno;
use serde::de::IgnoredAny;
use tokio::runtime::{Handle, RuntimeFlavor};

use super::files::{Entry, Tree, open_file, read_file};
use super::instance::Instance;
use super::watch::QueueWatch;
use super::{holders, leases, survey};
use crate::job::{BackendName, Document, DocumentId, JobId, Progress};
use crate::storage::options::LocalOptions;
use crate::storage::{
    Changes, Claim, HeldLease, Lease, Leftover, Place, Renewal, Storage, StorageContext, StorageError, StorageErrorKind,
};

/// How long an unreadable file in a queue is given to become readable: some peers write in place.
const SETTLING: Duration = Duration::from_secs(2);

/// How long a file that was not whole is remembered.
const FORGETTING: Duration = Duration::from_secs(60);

/// How often to look for spoolers that died. It costs one directory listing.
const ORPHAN_INTERVAL: Duration = Duration::from_secs(1);

/// The clock that gives files their times ticks at least this often.
const ARRIVAL_RESOLUTION: Duration = Duration::from_millis(12);

/// A storage of local files.
pub struct Local {
    disk: Arc<Disk>,
}

/// The blocking side: everything here runs on threads that may wait.
struct Disk {
    base: PathBuf,
    tree: Tree,
    context: StorageContext,
    /// Made at the first claim: whoever only submits or reads holds no leases.
    instance: Mutex<Option<Arc<Instance>>>,
    queues: QueueWatch,
    /// Queued files that were not whole.
    unsettled: Mutex<HashMap<String, Unsettled>>,
}

/// How a file that was not whole looked, and since when it has looked so.
#[derive(Clone, Copy)]
struct Unsettled {
    modified: SystemTime,
    size: u64,
    since: Instant,
}

impl Local {
    /// Opens the storage at `base_path`, and creates the directory if need be.
    pub async fn open(options: &LocalOptions, context: StorageContext) -> Result<Self, StorageError> {
        let base = options.base_path.clone();
        let opening = format!("cannot open the directory {}", base.display());
        let opened = blocking(move || {
            let tree = Tree::open(&base)?;
            Ok(Disk {
                base: base.canonicalize()?,
                tree,
                context,
                instance: Mutex::new(None),
                queues: QueueWatch::new(),
                unsettled: Mutex::default(),
            })
        });
        let disk = opened.await.map_err(|error| failure(opening, error))?;
        Ok(Self { disk: Arc::new(disk) })
    }

    /// Runs `action` on a thread that may wait; `doing` names it in the error.
    async fn run<T: Send + 'static>(
        &self,
        doing: impl FnOnce() -> String,
        action: impl FnOnce(&Disk) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StorageError> {
        let disk = Arc::clone(&self.disk);
        blocking(move || action(&disk)).await.map_err(|error| failure(doing(), error))
    }

    /// The files at a place, first come first.
    async fn entries(&self, place: Place<'_>) -> Result<Vec<Entry>, StorageError> {
        let path = place.to_string();
        let mut entries = self.run(|| format!("cannot list {place}"), move |disk| disk.tree.list(&path)).await?;
        entries.sort_by(|a, b| (a.modified, &a.name).cmp(&(b.modified, &b.name)));
        Ok(entries)
    }

    /// The same for one document, with `NotFound` and `AlreadyExists` in words.
    async fn on_document<T: Send + 'static>(
        &self,
        doing: &str,
        place: Place<'_>,
        id: &DocumentId,
        action: impl FnOnce(&Disk, &str, &str) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StorageError> {
        let disk = Arc::clone(&self.disk);
        let (path, file) = (place.to_string(), file_name(id));
        blocking(move || action(&disk, &path, &file)).await.map_err(|error| match error.kind() {
            ErrorKind::NotFound => StorageError::not_found(&place, id),
            ErrorKind::AlreadyExists => StorageError::already_exists(&place, id),
            _ => failure(format!("cannot {doing} {id} at {place}"), error),
        })
    }
}

/// Runs `action` where it may wait: on this thread, which the runtime replaces meanwhile. Handing it to another thread
/// and back costs two wake-ups per operation. Only a runtime of one thread has no other way.
async fn blocking<T: Send + 'static>(action: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    if Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread {
        // A defect here must not end the task that has a job to bring to its end.
        let caught = tokio::task::block_in_place(|| catch_unwind(AssertUnwindSafe(action)));
        return caught.unwrap_or_else(|_panic| Err(io::Error::other("the operation panicked")));
    }
    match tokio::task::spawn_blocking(action).await {
        Ok(result) => result,
        Err(ended) => Err(io::Error::other(ended)),
    }
}

fn failure(what: String, error: io::Error) -> StorageError {
    let is_link = Errno::from_io_error(&error) == Some(Errno::LOOP);
    let kind = match error.kind() {
        ErrorKind::NotFound => StorageErrorKind::NotFound,
        ErrorKind::AlreadyExists => StorageErrorKind::AlreadyExists,
        ErrorKind::FileTooLarge => StorageErrorKind::TooLarge,
        ErrorKind::IsADirectory | ErrorKind::InvalidInput | ErrorKind::InvalidFilename => StorageErrorKind::Refused,
        _ if is_link => StorageErrorKind::Refused,
        _ => StorageErrorKind::Unavailable,
    };
    StorageError::new(kind, what).caused_by(error)
}

/// The id of the document in a file, if it is one.
fn document_id(entry: &Entry) -> Option<DocumentId> {
    entry.name.strip_suffix(".json")?.parse().ok()
}

fn file_name(id: &DocumentId) -> String {
    format!("{id}.json")
}

impl Disk {
    fn instance(&self) -> io::Result<Arc<Instance>> {
        let mut slot = self.instance.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(instance) = slot.as_ref().filter(|instance| instance.is_in(&self.tree)) {
            return Ok(Arc::clone(instance));
        }
        let instance = Arc::new(Instance::enter(&self.tree, self.context.lease)?);
        *slot = Some(Arc::clone(&instance));
        Ok(instance)
    }

    fn size_limit(&self, place: Place<'_>) -> u64 {
        if place.holds_jobs() { self.context.max_job_bytes } else { u64::MAX }
    }

    /// Whether nobody is writing the queued job any more.
    fn is_settled(&self, queue: &Dir, name: &str) -> io::Result<bool> {
        let metadata = open_file(queue, name)?.metadata()?;
        let modified = metadata.modified()?.into_std();
        if modified.elapsed().is_ok_and(|age| age >= SETTLING) {
            return Ok(true);
        }
        // The clock that gave the time may be wrong, so what was seen is compared too. What has not changed since it
        // was found incomplete need not be read again.
        let known = || self.unsettled.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = known().get(name).copied();
        if let Some(seen) = seen
            && (seen.modified, seen.size) == (modified, metadata.len())
        {
            return Ok(seen.since.elapsed() >= SETTLING);
        }
        let is_whole = self.is_whole(queue, name)?;
        let mut known = known();
        known.retain(|_, seen| seen.since.elapsed() < FORGETTING);
        if is_whole {
            known.remove(name);
        } else {
            let seen = Unsettled { modified, size: metadata.len(), since: Instant::now() };
            known.insert(name.to_owned(), seen);
        }
        Ok(is_whole)
    }

    /// Whether the text ends as a job ends.
    fn is_whole(&self, queue: &Dir, name: &str) -> io::Result<bool> {
        let text = match read_file(queue, name, self.context.max_job_bytes) {
            // It will be refused for its size when its turn has come.
            Err(error) if error.kind() == ErrorKind::FileTooLarge => return Ok(true),
            text => text?,
        };
        // Only an object is known to be whole by its end.
        Ok(text.trim_ascii_start().starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(&text).is_ok())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let instance = self.instance.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(error)) = instance.map(|instance| instance.leave(&self.tree)) {
            tracing::debug!(%error, "leases are left at the storage; whoever starts next takes them over");
        }
    }
}

#[async_trait]
impl Storage for Local {
    async fn upload(&self, place: Place<'_>, id: &DocumentId, document: &Document) -> Result<(), StorageError> {
        let document = document.clone();
        let action = move |disk: &Disk, path: &str, file: &str| {
            let dir = disk.tree.dir_or_new(path)?;
            // The usual conflict is seen before anything is written; the rename decides the rest.
            if dir.symlink_metadata(file).is_ok() {
                return Err(ErrorKind::AlreadyExists.into());
            }
            disk.tree.create(&dir, file, document.text())
        };
        self.on_document("create", place, id, action).await
    }

    async fn get(&self, place: Place<'_>, id: &DocumentId) -> Result<Document, StorageError> {
        let limit = self.disk.size_limit(place);
        let action = move |disk: &Disk, path: &str, file: &str| {
            let dir = disk.tree.dir(path)?;
            read_file(&dir, file, limit).map(Document::from_text)
        };
        self.on_document("read", place, id, action).await
    }

    async fn exists(&self, place: Place<'_>, id: &DocumentId) -> Result<bool, StorageError> {
        let action = |disk: &Disk, path: &str, file: &str| match disk
            .tree
            .dir(path)
            .and_then(|dir| dir.symlink_metadata(file))
        {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        };
        self.on_document("look for", place, id, action).await
    }

    async fn update(&self, place: Place<'_>, id: &DocumentId, document: &Document) -> Result<(), StorageError> {
        let document = document.clone();
        let action =
            move |disk: &Disk, path: &str, file: &str| disk.tree.replace(&disk.tree.dir(path)?, file, document.text());
        self.on_document("replace", place, id, action).await
    }

    async fn move_to(&self, from: Place<'_>, to: Place<'_>, id: &DocumentId) -> Result<(), StorageError> {
        let (source, target, file) = (from.to_string(), to.to_string(), file_name(id));
        let disk = Arc::clone(&self.disk);
        let moved = blocking(move || disk.tree.move_file(&source, &target, &file)).await;
        moved.map_err(|error| match error.kind() {
            ErrorKind::NotFound => StorageError::not_found(&from, id),
            ErrorKind::AlreadyExists => StorageError::already_exists(&to, id),
            _ => failure(format!("cannot move {id} from {from} to {to}"), error),
        })
    }

    async fn delete(&self, place: Place<'_>, id: &DocumentId) -> Result<(), StorageError> {
        let action = |disk: &Disk, path: &str, file: &str| disk.tree.dir(path)?.remove_file(file);
        self.on_document("delete", place, id, action).await
    }

    async fn list(&self, place: Place<'_>) -> Result<Vec<DocumentId>, StorageError> {
        Ok(self.entries(place).await?.iter().filter_map(document_id).collect())
    }

    fn arrival_resolution(&self) -> Duration {
        ARRIVAL_RESOLUTION
    }

    async fn claim(&self, backend: &BackendName, job_id: &JobId) -> Result<Claim, StorageError> {
        let (of, id) = (backend.clone(), job_id.clone());
        let action = move |disk: &Disk| {
            let settled = disk
                .tree
                .dir(&Place::Queued(&of).to_string())
                .and_then(|queue| disk.is_settled(&queue, &file_name(&(&id).into())));
            match settled {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Claim::Gone),
                Ok(false) => return Ok(Claim::Unsettled),
                // A file that cannot be read is claimed, so that its job can end with an error.
                Ok(true) | Err(_) => {}
            }
            let lease = disk.instance()?.claim(&disk.tree, &of, &id)?;
            Ok(lease.map_or(Claim::Gone, Claim::Won))
        };
        self.run(|| format!("cannot claim {job_id} of {backend}"), action).await
    }

    async fn renew(&self, lease: &Lease) -> Result<Renewal, StorageError> {
        let held = lease.clone();
        let action = move |disk: &Disk| disk.instance()?.renew(&disk.tree, &held);
        let cancel = self.run(|| format!("cannot renew the lease of {}", lease.job_id), action).await?;
        Ok(cancel.map_or(Renewal::Lost, |cancel| Renewal::Held { cancel }))
    }

    async fn put_back(&self, lease: &Lease) -> Result<(), StorageError> {
        let held = lease.clone();
        let action = move |disk: &Disk| disk.instance()?.put_back(&disk.tree, &held);
        self.run(|| format!("cannot put {} back to its queue", lease.job_id), action).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StorageError> {
        let held = lease.clone();
        let action = move |disk: &Disk| disk.instance()?.release(&disk.tree, &held);
        self.run(|| format!("cannot end the lease of {}", lease.job_id), action).await
    }

    async fn adopt_orphans(&self) -> Result<Vec<Lease>, StorageError> {
        let action = |disk: &Disk| disk.instance()?.adopt_orphans(&disk.tree);
        self.run(|| "cannot look for the jobs of spoolers that died".into(), action).await
    }

    fn orphan_interval(&self) -> Duration {
        ORPHAN_INTERVAL
    }

    async fn request_cancel(&self, backend: &BackendName, job_id: &JobId) -> Result<bool, StorageError> {
        let (of, id) = (backend.clone(), job_id.clone());
        let action = move |disk: &Disk| leases::request_cancel(&disk.tree, &of, &id);
        self.run(|| format!("cannot ask for the cancellation of {job_id}"), action).await
    }

    async fn watch(&self, backend: &BackendName) -> Result<Changes, StorageError> {
        let of = backend.clone();
        let action = move |disk: &Disk| {
            let queue = Place::Queued(&of).to_string();
            disk.tree.dir_or_new(&queue)?;
            // Made here, and not by the first user, whose umask might keep the spooler out.
            for place in [Place::Status(&of), Place::Results(&of), Place::Finished(&of), Place::Deleted] {
                disk.tree.dir_or_new(&place.to_string())?;
            }
            disk.queues.add(&of, &disk.base.join(queue)).map_err(io::Error::other)
        };
        self.run(|| format!("cannot watch the queue of {backend}"), action).await
    }

    async fn backends(&self) -> Result<Vec<BackendName>, StorageError> {
        self.run(|| "cannot look for backends".into(), |disk| survey::backends(&disk.tree)).await
    }

    async fn unchanged_since(&self, place: Place<'_>, time: Timestamp) -> Result<Vec<DocumentId>, StorageError> {
        let entries = self.entries(place).await?;
        Ok(entries.iter().filter(|entry| entry.changed <= time).filter_map(document_id).collect())
    }

    async fn leases(&self) -> Result<Vec<HeldLease>, StorageError> {
        let action = |disk: &Disk| holders::held_leases(&disk.tree, || disk.instance()?.now());
        self.run(|| "cannot list the leases".into(), action).await
    }

    async fn progress(&self, backend: &BackendName, job_id: &JobId) -> Result<Option<Progress>, StorageError> {
        let (of, id) = (backend.clone(), job_id.clone());
        let action = move |disk: &Disk| holders::progress(&disk.tree, &of, &id);
        self.run(|| format!("cannot look how far {job_id} has come"), action).await
    }

    async fn adopt_unleased(&self, backend: &BackendName, job_id: &JobId) -> Result<Option<Lease>, StorageError> {
        let (of, id) = (backend.clone(), job_id.clone());
        let action = move |disk: &Disk| disk.instance()?.adopt_unleased(&disk.tree, &of, &id);
        self.run(|| format!("cannot adopt {job_id} of {backend}"), action).await
    }

    async fn leftovers(&self, remove: bool) -> Result<Vec<Leftover>, StorageError> {
        self.run(|| "cannot look for leftovers".into(), move |disk| survey::leftovers(&disk.tree, remove)).await
    }
}
