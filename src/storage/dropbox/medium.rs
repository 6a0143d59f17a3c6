//! The storage operations on a Dropbox account.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::client::Client;
use super::clock::later;
use super::documents::Moved;
use super::error::CallError;
use super::leases::Leases;
use super::orphans::Orphans;
use super::paths;
use super::queues::Queues;
use super::routes::{File, Listing};
use super::watch::Watch;
use crate::job::{BackendName, Document, DocumentId, JobId, NameError, Progress, StorageName, UserName};
use crate::storage::options::DropboxOptions;
use crate::storage::{
    Changes, Claim, HeldLease, Lease, Leftover, Place, Renewal, Storage, StorageContext, StorageError,
};

/// A storage in a Dropbox account, or in the folder of an app.
pub struct Dropbox {
    client: Arc<Client>,
    queues: Arc<Queues>,
    leases: Leases,
    orphans: Orphans,
    watch: Watch,
    context: StorageContext,
    /// Counts from a random number on, so that no two ids of one second are the same.
    ids: AtomicU32,
}

impl Dropbox {
    /// Opens the storage `name`, and makes sure that the login is good.
    pub async fn open(
        name: &StorageName,
        options: &DropboxOptions,
        context: StorageContext,
    ) -> Result<Self, StorageError> {
        let client = Arc::new(Client::new(name, options)?);
        client.get_current_account().await.map_err(|error| error.of(format_args!("cannot open the storage {name}")))?;
        let queues = Arc::new(Queues::new(Arc::clone(&client)));
        let leases = Leases::new(Arc::clone(&client), Arc::clone(&queues), context.lease);
        let (orphans, watch, ids) = (Orphans::default(), Watch::default(), AtomicU32::new(rand::random()));
        Ok(Self { client, queues, leases, orphans, watch, context, ids })
    }

    fn size_limit(&self, place: Place<'_>) -> u64 {
        if place.holds_jobs() { self.context.max_job_bytes } else { u64::MAX }
    }

    /// What lies at a place, in the order in which it came.
    async fn files(&self, place: Place<'_>) -> Result<Vec<(DocumentId, File)>, CallError> {
        let listing: Listing = self.client.list_or_nothing(&paths::folder(place), paths::has_subfolders(place)).await?;
        let mut files: Vec<_> =
            listing.files().filter_map(|file| Some((paths::id_at(place, &file.path)?, file.clone()))).collect();
        files.sort_by(|(a_id, a), (b_id, b)| (a.modified, a_id.as_str()).cmp(&(b.modified, b_id.as_str())));
        // A status may lie at both of its places.
        let mut seen = BTreeSet::new();
        files.retain(|(id, _)| seen.insert(id.as_str().to_owned()));
        Ok(files)
    }

    /// Notes what a successful operation of ours has changed in a queue.
    fn note_arrival(&self, place: Place<'_>) {
        if let Place::Queued(_) = place {
            self.queues.has_come();
        }
    }
}

fn cannot<'a>(doing: &'a str, id: &'a DocumentId, place: &'a Place<'_>) -> impl Fn(CallError) -> StorageError + 'a {
    move |error| error.of(format_args!("cannot {doing} {id} at {place}"))
}

#[async_trait]
impl Storage for Dropbox {
    async fn upload(&self, place: Place<'_>, id: &DocumentId, document: &Document) -> Result<(), StorageError> {
        let created = self.client.create(&paths::document(place, id), document.text()).await;
        let created = created.map_err(cannot("create", id, &place))?;
        self.note_arrival(place);
        created.map(drop).ok_or_else(|| StorageError::already_exists(&place, id))
    }

    async fn get(&self, place: Place<'_>, id: &DocumentId) -> Result<Document, StorageError> {
        let limit = self.size_limit(place);
        let mut found = self.client.download(&paths::document(place, id), limit).await;
        if let (Err(error), Some(second)) = (&found, paths::second_document(place, id))
            && error.is_not_found()
        {
            found = self.client.download(&second, limit).await;
        }
        match found {
            Ok((_, text)) => Ok(Document::from_text(text)),
            Err(error) if error.is_not_found() => Err(StorageError::not_found(&place, id)),
            Err(error) => Err(cannot("read", id, &place)(error)),
        }
    }

    async fn exists(&self, place: Place<'_>, id: &DocumentId) -> Result<bool, StorageError> {
        let failed = cannot("look for", id, &place);
        if self.client.get_metadata(&paths::document(place, id)).await.map_err(&failed)?.is_some() {
            return Ok(true);
        }
        let Some(second) = paths::second_document(place, id) else { return Ok(false) };
        Ok(self.client.get_metadata(&second).await.map_err(&failed)?.is_some())
    }

    async fn update(&self, place: Place<'_>, id: &DocumentId, document: &Document) -> Result<(), StorageError> {
        let replaced = self.client.replace(&paths::document(place, id), document.text()).await;
        let is_done = replaced.map_err(cannot("replace", id, &place))?;
        if is_done { Ok(()) } else { Err(StorageError::not_found(&place, id)) }
    }

    async fn move_to(&self, from: Place<'_>, to: Place<'_>, id: &DocumentId) -> Result<(), StorageError> {
        let source = paths::document(from, id);
        let moved = self.client.rename(&source, &paths::document(to, id)).await;
        match moved.map_err(|error| error.of(format_args!("cannot move {id} from {from} to {to}")))? {
            Moved::Done => {
                self.queues.has_left(&source);
                self.note_arrival(to);
                Ok(())
            }
            Moved::Missing => Err(StorageError::not_found(&from, id)),
            Moved::Taken => Err(StorageError::already_exists(&to, id)),
        }
    }

    async fn delete(&self, place: Place<'_>, id: &DocumentId) -> Result<(), StorageError> {
        let path = paths::document(place, id);
        let removed = self.client.remove(&path).await.map_err(cannot("delete", id, &place))?;
        self.queues.has_left(&path);
        if removed { Ok(()) } else { Err(StorageError::not_found(&place, id)) }
    }

    async fn list(&self, place: Place<'_>) -> Result<Vec<DocumentId>, StorageError> {
        let listed = match place {
            Place::Queued(backend) => self.queues.list(backend).await,
            _ => self.files(place).await.map(|files| files.into_iter().map(|(id, _)| id).collect()),
        };
        listed.map_err(|error| error.of(format_args!("cannot list {place}")))
    }

    async fn claim(&self, backend: &BackendName, job_id: &JobId) -> Result<Claim, StorageError> {
        let claimed = self.leases.claim(backend, job_id).await;
        claimed.map_err(|error| error.of(format_args!("cannot claim {job_id} of {backend}")))
    }

    async fn renew(&self, lease: &Lease) -> Result<Renewal, StorageError> {
        let renewed = self.leases.renew(lease).await;
        renewed.map_err(|error| error.of(format_args!("cannot renew the lease of {}", lease.job_id)))
    }

    async fn put_back(&self, lease: &Lease) -> Result<(), StorageError> {
        let returned = self.leases.put_back(lease).await;
        returned.map_err(|error| error.of(format_args!("cannot put {} back to its queue", lease.job_id)))
    }

    async fn release(&self, lease: &Lease) -> Result<(), StorageError> {
        let released = self.leases.release(lease).await;
        released.map_err(|error| error.of(format_args!("cannot end the lease of {}", lease.job_id)))
    }

    async fn adopt_orphans(&self) -> Result<Vec<Lease>, StorageError> {
        let adopted = self.leases.adopt_orphans(&self.orphans).await;
        adopted.map_err(|error| error.of("cannot look for the jobs of spoolers that died"))
    }

    /// One listing each time; the leases of a dead spooler have to end first in any case.
    fn orphan_interval(&self) -> Duration {
        self.context.lease
    }

    async fn request_cancel(&self, backend: &BackendName, job_id: &JobId) -> Result<bool, StorageError> {
        let asked = self.leases.request_cancel(backend, job_id).await;
        asked.map_err(|error| error.of(format_args!("cannot ask for the cancellation of {job_id}")))
    }

    async fn watch(&self, backend: &BackendName) -> Result<Changes, StorageError> {
        let changes = self.queues.follow(backend);
        self.watch.begin(&self.client, &self.queues);
        Ok(changes)
    }

    fn new_job_id(&self, backend: &BackendName, user: &UserName) -> Result<JobId, NameError> {
        let time = Timestamp::now().strftime("%Y%m%d_%H%M%S").to_string();
        JobId::of_user(&time, backend, user, self.ids.fetch_add(1, Ordering::Relaxed))
    }

    async fn backends(&self) -> Result<Vec<BackendName>, StorageError> {
        let mut backends = BTreeSet::new();
        for folder in paths::folders_by_backend() {
            let listed = self.client.list_or_nothing(&folder, false).await;
            let listing = listed.map_err(|error| error.of("cannot list the backends"))?;
            backends.extend(
                listing
                    .folders()
                    .filter_map(|path| paths::last_part(path).to_ascii_lowercase().parse::<BackendName>().ok()),
            );
        }
        Ok(backends.into_iter().collect())
    }

    async fn unchanged_since(&self, place: Place<'_>, time: Timestamp) -> Result<Vec<DocumentId>, StorageError> {
        let failed = |error: CallError| error.of(format_args!("cannot list {place}"));
        let files = self.files(place).await.map_err(failed)?;
        // The age counts, by the clock of the service; its times are cut to the second.
        let age = Duration::try_from(Timestamp::now().duration_since(time)).unwrap_or_default();
        let is_old = |since: Timestamp| later(since, age) <= self.client.clock().earliest_now();
        let old: Vec<DocumentId> = match place {
            Place::Running => {
                let seen = self.client.first_seen(&files).await.map_err(failed)?;
                files
                    .into_iter()
                    .map(|(id, _)| id)
                    .filter(|id| seen.get(id).is_some_and(|since| is_old(*since)))
                    .collect()
            }
            _ => {
                let is_old = |file: &File| is_old(later(file.modified, Duration::from_secs(1)));
                files.into_iter().filter(|(_, file)| is_old(file)).map(|(id, _)| id).collect()
            }
        };
        Ok(old)
    }

    async fn leases(&self) -> Result<Vec<HeldLease>, StorageError> {
        self.leases.held().await.map_err(|error| error.of("cannot list the leases"))
    }

    async fn progress(&self, backend: &BackendName, job_id: &JobId) -> Result<Option<Progress>, StorageError> {
        let known = self.leases.progress(backend, job_id).await;
        known.map_err(|error| error.of(format_args!("cannot look how far {job_id} has come")))
    }

    async fn adopt_unleased(&self, backend: &BackendName, job_id: &JobId) -> Result<Option<Lease>, StorageError> {
        let adopted = self.leases.adopt_unleased(backend, job_id).await;
        adopted.map_err(|error| error.of(format_args!("cannot take the lease of {job_id}")))
    }

    async fn leftovers(&self, remove: bool) -> Result<Vec<Leftover>, StorageError> {
        self.leases.leftovers(remove).await.map_err(|error| error.of("cannot look for leftovers"))
    }
}
