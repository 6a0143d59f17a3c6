//! Whether documents are what their places promise.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::job::{BackendConfig, BackendName, Document, DocumentId, Status};
use crate::storage::{Place, Storage, StorageError, StorageErrorKind};

/// So many documents in a row that a storage does not give are the storage's fault, and not theirs.
const FAILURES_IN_A_ROW: usize = 20;

/// A document as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Read<T> {
    /// There is none.
    Absent,
    /// It is what its place promises.
    Good(T),
    /// It is not, or cannot be read. The text says why.
    Bad(String),
}

/// Reads documents, and gives up when the storage gives none any more.
pub(super) struct Reader<'a> {
    pub(super) storage: &'a dyn Storage,
    failures: AtomicUsize,
}

/// Those fields of a result by which it is known; a signed one has them below `payload`.
#[derive(Deserialize)]
struct ResultHead {
    job_id: Option<String>,
    results: Option<Vec<IgnoredAny>>,
    payload: Option<Box<ResultHead>>,
}

/// Those fields of a public key that make it one.
#[derive(Deserialize)]
struct KeyHead {
    kid: String,
    kty: String,
    x: String,
}

impl<'a> Reader<'a> {
    pub(super) fn new(storage: &'a dyn Storage) -> Self {
        Self { storage, failures: AtomicUsize::new(0) }
    }

    /// The status of a job.
    pub(super) async fn status(&self, backend: &BackendName, id: &DocumentId) -> Result<Read<Status>, StorageError> {
        self.read(Place::Status(backend), id, |document| {
            let status: Status = document.read("status").map_err(|error| error.to_string())?;
            named(&status.job_id, id.as_str()).map(|()| status)
        })
        .await
    }

    /// Whether there is a result of a job.
    pub(super) async fn result(&self, backend: &BackendName, id: &DocumentId) -> Result<Read<()>, StorageError> {
        self.read(Place::Results(backend), id, |document| {
            // Read without holding all of its shots.
            let head: ResultHead = serde_json::from_slice(document.text()).map_err(|error| error.to_string())?;
            let head = match head.payload {
                Some(payload) if head.results.is_none() => *payload,
                _ => head,
            };
            head.results.ok_or("it has no list of results")?;
            named(&head.job_id.ok_or("it names no job")?, id.as_str())
        })
        .await
    }

    /// Whether there is a job, and its text is an object.
    pub(super) async fn job(&self, place: Place<'_>, id: &DocumentId) -> Result<Read<()>, StorageError> {
        self.read(place, id, |document| {
            serde_json::from_slice::<IgnoredAny>(document.text()).map_err(|error| error.to_string())?;
            let is_object = document.text().trim_ascii_start().starts_with(b"{");
            if is_object { Ok(()) } else { Err("it is no JSON object".to_owned()) }
        })
        .await
    }

    /// Whether there is a configuration of a backend.
    pub(super) async fn configuration(&self, id: &DocumentId) -> Result<Read<()>, StorageError> {
        self.read(Place::Configs, id, |document| {
            document.read::<BackendConfig>("configuration").map(|_| ()).map_err(|error| error.to_string())
        })
        .await
    }

    /// Whether there is a public key.
    pub(super) async fn key(&self, id: &DocumentId) -> Result<Read<()>, StorageError> {
        self.read(Place::PublicKeys, id, |document| {
            let KeyHead { kid, kty, x } = document.read("public key").map_err(|error| error.to_string())?;
            if kid != id.as_str() {
                return Err(format!("it is of the key {kid:?}"));
            }
            if kty != "OKP" || x.is_empty() { Err("it is no key of Ed25519".to_owned()) } else { Ok(()) }
        })
        .await
    }

    async fn read<T>(
        &self,
        place: Place<'_>,
        id: &DocumentId,
        look: impl FnOnce(&Document) -> Result<T, String>,
    ) -> Result<Read<T>, StorageError> {
        let got = self.storage.get(place, id).await;
        let is_away = got.as_ref().is_err_and(StorageError::is_temporary);
        let failures = if is_away { self.failures.fetch_add(1, Ordering::Relaxed) + 1 } else { 0 };
        if !is_away {
            self.failures.store(0, Ordering::Relaxed);
        }
        match got {
            Ok(document) => Ok(look(&document).map_or_else(Read::Bad, Read::Good)),
            Err(error) if error.kind() == StorageErrorKind::NotFound => Ok(Read::Absent),
            // One that stays so is told as one that cannot be read.
            Err(error) if failures < FAILURES_IN_A_ROW && error.kind() != StorageErrorKind::Denied => {
                Ok(Read::Bad(error.to_string()))
            }
            Err(error) => Err(error),
        }
    }
}

/// Makes sure that a document speaks of the job that its id names.
fn named(found: &str, id: &str) -> Result<(), String> {
    if found == id { Ok(()) } else { Err(format!("it speaks of the job {found:?}")) }
}

impl<T> Read<T> {
    /// Whether a document is there, readable or not.
    pub(super) fn is_there(&self) -> bool {
        !matches!(self, Self::Absent)
    }

    /// Why it cannot be read, if that is so.
    pub(super) fn problem(&self) -> Option<&str> {
        match self {
            Self::Bad(problem) => Some(problem),
            _ => None,
        }
    }
}
