//! Who works on a job.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::job::{BackendName, JobId, Status};

/// A spooler's right, and duty, to bring one running job to its end.
///
/// Held by one spooler at a time. It ends when it is released, when the job is put back, or when its holder dies; then
/// another spooler may take it over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The backend whose queue the job came from.
    pub backend: BackendName,
    /// The job.
    pub job_id: JobId,
    /// What has to survive the holder.
    pub record: LeaseRecord,
}

/// What is stored with a lease, beside who holds it. Peers never see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// How many spoolers died while they held the job. Draining and device faults do not count.
    pub attempts: u32,
    /// When the job was claimed for the first time.
    pub first_claimed: Timestamp,
    /// How the job is to end, noted before the first document of that end is written, so that whoever takes the job
    /// over from there tells the same. A good end needs no note: its result is the note.
    #[serde(default)]
    pub verdict: Option<Status>,
}

impl LeaseRecord {
    /// The record of a job that was never claimed before.
    pub fn new(now: Timestamp) -> Self {
        Self { attempts: 0, first_claimed: now, verdict: None }
    }

    /// Whether nothing has happened to the job yet but its claim.
    pub(super) fn is_fresh(&self) -> bool {
        self.attempts == 0 && self.verdict.is_none()
    }
}

/// A lease as anybody sees it who looks at the storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldLease {
    /// The lease.
    pub lease: Lease,
    /// Who holds it.
    pub holder: Holder,
}

/// Who holds a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// A spooler that lives, or may live. The text names it for people: an instance, and its host where that is known.
    Living(String),
    /// A spooler that has died, and whose jobs nobody has taken over yet.
    Dead(String),
    /// Nobody: the job was put back, and its record waits for the next claim.
    Nobody,
}

/// The answer to an attempt to claim a queued job.
#[derive(Debug)]
pub enum Claim {
    /// The job is ours and lies in running.
    Won(Lease),
    /// Somebody else has it, or it is gone.
    Gone,
    /// A peer is still writing it; look again when something changes, at the latest after two seconds.
    Unsettled,
}

/// The answer to a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// The lease is ours.
    Held {
        /// Somebody asked for the job to be cancelled.
        cancel: bool,
    },
    /// Somebody else holds the job now: whatever we computed must be dropped.
    Lost,
}
