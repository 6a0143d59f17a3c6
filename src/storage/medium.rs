//! What a medium must do.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

#[cfg(feature = "storage-dropbox")]
use super::dropbox::Dropbox;
use super::local::Local;
use super::provider::since_1970;
use super::{Changes, Claim, HeldLease, Lease, MediumOptions, Place, Renewal, StorageError};
use crate::job::{BackendName, Document, DocumentId, JobId, NameError, Progress, StorageName, UserName};

/// A medium that keeps documents at places.
///
/// The five operations behave alike on every medium. Who may move what, and what a place means, is the spooler's
/// business. Claiming, renewing and giving up jobs, and noticing new ones, are done by each medium in its own way.
///
/// A document is either absent or whole, also after a power failure, as soon as an operation has returned.
#[async_trait]
pub trait Storage: Send + Sync {
    /// Creates a document. Fails with `AlreadyExists` where there is one, and leaves it as it is.
    async fn upload(&self, place: Place<'_>, id: &DocumentId, document: &Document) -> Result<(), StorageError>;

    /// Reads a document, or fails with `NotFound`.
    async fn get(&self, place: Place<'_>, id: &DocumentId) -> Result<Document, StorageError>;

    /// Whether there is a document, readable or not; it is not read.
    async fn exists(&self, place: Place<'_>, id: &DocumentId) -> Result<bool, StorageError>;

    /// Replaces a document, or fails with `NotFound`.
    async fn update(&self, place: Place<'_>, id: &DocumentId, document: &Document) -> Result<(), StorageError>;

    /// Moves a document, content untouched. Fails with `NotFound`, or with `AlreadyExists` if the target is taken.
    async fn move_to(&self, from: Place<'_>, to: Place<'_>, id: &DocumentId) -> Result<(), StorageError>;

    /// Deletes a document, or fails with `NotFound`.
    async fn delete(&self, place: Place<'_>, id: &DocumentId) -> Result<(), StorageError>;

    /// The ids at a place, first come first; an unknown place is an empty one.
    async fn list(&self, place: Place<'_>) -> Result<Vec<DocumentId>, StorageError>;

    /// How long after another a document must arrive to be listed behind it whatever their names are.
    fn arrival_resolution(&self) -> Duration {
        // The coarsest that is known keeps whole seconds.
        Duration::from_millis(1100)
    }

    /// Tries to take a job out of the queue into running, with a lease. Of all that try, in any process, one wins.
    async fn claim(&self, backend: &BackendName, job_id: &JobId) -> Result<Claim, StorageError>;

    /// Stores the lease's record, extends the lease, and says whether it is still held and shall go on.
    ///
    /// Where nothing but the progress has changed, the record may be stored with a later renewal, or not at all.
    async fn renew(&self, lease: &Lease) -> Result<Renewal, StorageError>;

    /// Puts a running job back to the head of its queue and ends the lease; its record survives, but for the progress.
    async fn put_back(&self, lease: &Lease) -> Result<(), StorageError>;

    /// Ends the lease of a job that has come to its end.
    async fn release(&self, lease: &Lease) -> Result<(), StorageError>;

    /// Takes over the leases of spoolers that died. A job that was not running yet goes back to its queue; of each
    /// other one the lease is ours afterwards, with one more attempt and no progress in its record.
    async fn adopt_orphans(&self) -> Result<Vec<Lease>, StorageError>;

    /// How often to look for orphans.
    fn orphan_interval(&self) -> Duration;

    /// Marks a running job for cancellation. False if no spooler of ours holds it.
    async fn request_cancel(&self, backend: &BackendName, job_id: &JobId) -> Result<bool, StorageError>;

    /// Begins to watch the queue of a backend. A medium that cannot do it, now or ever, fails; then the queue is polled.
    async fn watch(&self, backend: &BackendName) -> Result<Changes, StorageError>;

    /// A new id for a job of `user`. It sorts by time.
    fn new_job_id(&self, backend: &BackendName, user: &UserName) -> Result<JobId, NameError> {
        let _ = (backend, user);
        let (seconds, nanoseconds) = since_1970(Timestamp::now());
        Ok(JobId::time_ordered(seconds, nanoseconds, rand::random()))
    }

    /// The backends of which the storage holds anything, by name: a configuration, jobs, statuses or results.
    async fn backends(&self) -> Result<Vec<BackendName>, StorageError>;

    /// The ids at a place whose documents have lain there, as they are, since `time` or longer. A medium that keeps no
    /// times counts from when it was first asked, by whichever process.
    async fn unchanged_since(&self, place: Place<'_>, time: Timestamp) -> Result<Vec<DocumentId>, StorageError>;

    /// All leases, and the records of jobs that were put back, in no order.
    async fn leases(&self) -> Result<Vec<HeldLease>, StorageError>;

    /// How far the run of a job has come, as the record of its lease says; users ask for that again and again. `None`
    /// where nobody holds the job, or nothing is noted.
    async fn progress(&self, backend: &BackendName, job_id: &JobId) -> Result<Option<Progress>, StorageError>;

    /// Takes the lease of a running job that has none: one that a peer has claimed and left. `None` if the job is not
    /// running, or has a lease. Of all that try one wins.
    async fn adopt_unleased(&self, backend: &BackendName, job_id: &JobId) -> Result<Option<Lease>, StorageError>;

    /// What lies in the storage and is neither a document nor needed: halves of writes, and what dead spoolers left
    /// beside their leases. Whatever may still be in use is left out. With `remove` it is removed.
    async fn leftovers(&self, remove: bool) -> Result<Vec<Leftover>, StorageError>;
}

/// Something in a storage that nobody needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// Where it lies, for people.
    pub path: String,
    /// What it is, in words.
    pub what: &'static str,
    /// Whether it was removed, or would be.
    pub removable: bool,
}

/// What a medium has to know of the process that uses it.
#[derive(Debug, Clone, Copy)]
pub struct StorageContext {
    /// How long a lease holds without renewal, where the medium cannot tell that its holder died.
    pub lease: Duration,
    /// The largest job that is read, in bytes.
    pub max_job_bytes: u64,
}

/// Opens the medium that the options of the storage `name` describe, and makes sure that it answers.
///
/// # Errors
///
/// `Unavailable` where it does not answer, `Denied` where the login is refused or incomplete; the message names the key.
#[cfg_attr(
    not(any(feature = "storage-dropbox", feature = "storage-mongodb")),
    expect(unused_variables, reason = "only the errors about a login name the storage")
)]
pub async fn open(
    name: &StorageName,
    options: &MediumOptions,
    context: StorageContext,
) -> Result<Arc<dyn Storage>, StorageError> {
    match options {
        MediumOptions::Local(options) => Ok(Arc::new(Local::open(options, context).await?)),
        #[cfg(feature = "storage-mongodb")]
        MediumOptions::Mongodb(options) => Ok(Arc::new(super::mongodb::Mongodb::open(name, options, context).await?)),
        #[cfg(feature = "storage-dropbox")]
        MediumOptions::Dropbox(options) => Ok(Arc::new(Dropbox::open(name, options, context).await?)),
    }
}
