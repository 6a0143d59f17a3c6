//! What can go wrong at a storage, in words for a person and kinds for the code that decides.

use std::error::Error;
use std::fmt;

use super::Place;
use crate::job::DocumentId;

/// What an error means for whoever asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageErrorKind {
    /// There is no such document.
    NotFound,
    /// There is one already, and it was left as it is.
    AlreadyExists,
    /// The storage is marked inactive and refuses everything.
    Inactive,
    /// The document is larger than the medium or the configuration allows.
    TooLarge,
    /// This request will never succeed: unreadable content, not allowed, a defect of the peer.
    Refused,
    /// The login information is missing or wrong, or lacks a right. It stays so until somebody mends it, here or there.
    Denied,
    /// The medium cannot do it now; trying again may help.
    Unavailable,
}

/// An operation of a storage failed.
///
/// `Display` names the operation, the place and the cause, and is meant for the log and the operator: a job's status
/// never shows it.
#[derive(Debug)]
pub struct StorageError {
    kind: StorageErrorKind,
    what: String,
    sizes: Option<(u64, u64)>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl StorageError {
    /// An error of `kind`; `what` says what was tried on what, and what is wrong.
    pub fn new(kind: StorageErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), sizes: None, source: None }
    }

    /// The same with the error below it.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// No document `id` at `place`.
    pub fn not_found(place: &Place<'_>, id: &DocumentId) -> Self {
        Self::new(StorageErrorKind::NotFound, format!("{place} has no document {id}"))
    }

    /// A document `id` at `place` stands in the way.
    pub fn already_exists(place: &Place<'_>, id: &DocumentId) -> Self {
        Self::new(StorageErrorKind::AlreadyExists, format!("{place} has a document {id} already; it was left as it is"))
    }

    /// `what` is too large: it has `bytes` bytes in the form of the medium, more than the `allowed` ones.
    pub fn too_large(what: impl fmt::Display, bytes: u64, allowed: u64) -> Self {
        let what = format!("{what}: it has {bytes} bytes; allowed: {allowed}");
        Self { sizes: Some((bytes, allowed)), ..Self::new(StorageErrorKind::TooLarge, what) }
    }

    /// The bytes that were found, and those that are allowed, where the error is about a size.
    pub fn sizes(&self) -> Option<(u64, u64)> {
        self.sizes
    }

    /// What the error means.
    pub fn kind(&self) -> StorageErrorKind {
        self.kind
    }

    /// Whether trying again may help: the medium may come back, and a login may be mended.
    pub fn is_temporary(&self) -> bool {
        matches!(self.kind, StorageErrorKind::Unavailable | StorageErrorKind::Denied)
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.what)?;
        match &self.source {
            Some(source) => write!(formatter, ": {source}"),
            None => Ok(()),
        }
    }
}

// The source is part of the message; naming it here too would print it twice in a chain.
impl Error for StorageError {}
