//! The document of a lease.

use jiff::Timestamp;
use mongodb::bson::{Bson, DateTime, Document, RawDocumentBuf, deserialize_from_slice, doc, serialize_to_bson};
use serde::{Deserialize, Serialize};

use super::places::{Target, id_of, key};
use super::server::key_of;
use crate::job::{BackendName, DocumentId, JobId, Progress, Status};
use crate::storage::{HeldLease, Holder, Lease, LeaseRecord, StorageError, StorageErrorKind};

/// A lease as it lies in `jobs.leases`; its `_id` is that of the job. Without an owner it is the record of a job that
/// was put back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct LeaseDocument {
    /// Which instance of a spooler holds it.
    pub(super) owner: Option<String>,
    /// The backend whose queue the job came from.
    pub(super) backend: BackendName,
    /// When it ends, by the server's time; of a record, when the job was put back.
    pub(super) until: DateTime,
    attempts: i64,
    /// As text: a date of BSON has milliseconds only.
    first_claimed: String,
    verdict: Option<Status>,
    #[serde(default)]
    progress: Option<Progress>,
    /// Whether somebody asked for the job to be cancelled.
    pub(super) cancel: bool,
    /// Where the holder runs, for people.
    host: String,
    pid: i64,
}

/// Who holds leases: one start of one spooler.
#[derive(Debug, Clone)]
pub(super) struct Owner {
    pub(super) name: String,
    pub(super) host: String,
    pub(super) pid: u32,
}

/// A lease document with the id of its job.
#[derive(Debug, Clone)]
pub(super) struct StoredLease {
    pub(super) job_id: JobId,
    pub(super) document: LeaseDocument,
}

impl StoredLease {
    /// Reads a document of `jobs.leases`. One that is none of ours is left alone.
    pub(super) fn read(raw: &RawDocumentBuf) -> Option<Self> {
        let id: DocumentId = id_of(key_of(raw)?)?;
        match deserialize_from_slice(raw.as_bytes()) {
            Ok(document) => Some(Self { job_id: id.as_str().parse().ok()?, document }),
            Err(error) => {
                tracing::debug!(%id, %error, "a document among the leases is no lease");
                None
            }
        }
    }

    pub(super) fn key(&self) -> Bson {
        key(&(&self.job_id).into())
    }

    /// What has to survive the holder.
    pub(super) fn record(&self) -> LeaseRecord {
        let LeaseDocument { attempts, first_claimed, verdict, progress, .. } = &self.document;
        LeaseRecord {
            attempts: u32::try_from(*attempts).unwrap_or(u32::MAX),
            first_claimed: first_claimed.parse().unwrap_or_default(),
            verdict: verdict.clone(),
            progress: *progress,
        }
    }

    /// The first claim, for the order of those that were put back.
    pub(super) fn first_claimed(&self) -> Timestamp {
        self.record().first_claimed
    }

    pub(super) fn into_lease(self) -> Lease {
        let record = self.record();
        Lease { backend: self.document.backend, job_id: self.job_id, record }
    }

    /// The lease with its holder in words, at a time of the server.
    pub(super) fn into_held(self, now: DateTime) -> HeldLease {
        let LeaseDocument { owner, until, host, pid, .. } = &self.document;
        let holder = match owner {
            None => Holder::Nobody,
            Some(owner) => {
                let text = format!("{owner} (process {pid} on {host})");
                if *until <= now { Holder::Dead(text) } else { Holder::Living(text) }
            }
        };
        HeldLease { holder, lease: self.into_lease() }
    }
}

/// Nine digits after the point: nothing is lost.
fn exact(time: Timestamp) -> String {
    format!("{time:.9}")
}

/// The fields that a record has.
pub(super) fn record_fields(record: &LeaseRecord) -> Result<Document, StorageError> {
    let verdict = serialize_to_bson(&record.verdict).map_err(|error| {
        StorageError::new(StorageErrorKind::Refused, "the verdict cannot be stored").caused_by(error)
    })?;
    let progress =
        record.progress.map(|Progress { done, total }| doc! { "done": i64::from(done), "total": i64::from(total) });
    Ok(doc! {
        "attempts": i64::from(record.attempts), "first_claimed": exact(record.first_claimed), "verdict": verdict,
        "progress": progress,
    })
}

/// The fields that change hands with a lease. The run of another holder is over.
pub(super) fn owner_fields(owner: &Owner, backend: &BackendName, until: DateTime) -> Document {
    doc! {
        "owner": &owner.name, "backend": backend.as_str(), "until": until, "host": &owner.host,
        "pid": i64::from(owner.pid), "progress": null,
    }
}

/// A whole new lease.
pub(super) fn new_lease(key: &Bson, owner: Document, record: &LeaseRecord) -> Result<RawDocumentBuf, StorageError> {
    let mut lease = doc! { "_id": key };
    lease.extend(owner);
    lease.extend(record_fields(record)?);
    lease.insert("cancel", false);
    RawDocumentBuf::try_from(&lease)
        .map_err(|error| StorageError::new(StorageErrorKind::Refused, "the lease cannot be stored").caused_by(error))
}

/// Finds the lease if somebody, not only a record, holds it.
pub(super) fn held_by_somebody() -> Document {
    doc! { "owner": { "$gt": "" } }
}

/// The collection and its indexes.
pub(super) fn indexes() -> (Target, [Document; 2]) {
    (Target::leases(), [doc! { "owner": 1, "until": 1 }, doc! { "backend": 1, "owner": 1 }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_read_as_it_was_written() {
        let owner = Owner { name: "a".repeat(24), host: "lab".into(), pid: 7 };
        let job_id: JobId = "20240101_120000-fermions-ada-0a1b2".parse().expect("an id");
        let record = LeaseRecord {
            attempts: 3,
            first_claimed: "2026-11-22T04:15:19.000000001Z".parse().expect("a time"),
            verdict: Some(Status::failed(&job_id, "why")),
            progress: Some(Progress { done: 340, total: 1000 }),
        };
        let backend: BackendName = "fermions".parse().expect("a name");
        let fields = owner_fields(&owner, &backend, DateTime::from_millis(5));
        let raw = new_lease(&key(&(&job_id).into()), fields, &record).expect("written");
        let read = StoredLease::read(&raw).expect("read");
        assert_eq!((read.record(), &read.job_id, read.document.cancel), (record.clone(), &job_id, false));
        let held = read.into_held(DateTime::from_millis(5));
        assert!(matches!(held.holder, Holder::Dead(text) if text.contains("process 7 on lab")));
        assert_eq!(held.lease, Lease { backend, job_id, record });
        let mut old = Document::try_from(&raw).expect("a document");
        old.remove("progress");
        let old = RawDocumentBuf::try_from(&old).expect("a document");
        assert_eq!(StoredLease::read(&old).expect("read").record(), held.lease.record.without_progress());
        let stranger = RawDocumentBuf::try_from(&doc! { "_id": "x", "owner": 5 }).expect("a document");
        assert!(StoredLease::read(&stranger).is_none());
    }
}
