//! Who works on a job.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::job::{BackendName, JobId, Progress, Status};

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
    /// How far the run had come when the lease was renewed. It ends with the run: whoever has the job next begins anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

impl LeaseRecord {
    /// The record of a job that was never claimed before.
    pub fn new(now: Timestamp) -> Self {
        Self { attempts: 0, first_claimed: now, verdict: None, progress: None }
    }

    /// Whether nothing has happened to the job yet but its claim.
    pub(super) fn is_fresh(&self) -> bool {
        self.attempts == 0 && self.verdict.is_none() && self.progress.is_none()
    }

    /// Counts a spooler that died over the job, and its run with it.
    pub(super) fn count_death(&mut self) {
        self.attempts = self.attempts.saturating_add(1);
        self.progress = None;
    }

    /// The same without the run, which is over or counts for nothing.
    pub(super) fn without_progress(&self) -> Self {
        Self { progress: None, ..self.clone() }
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

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = r#"{"attempts":2,"first_claimed":"2026-11-22T04:15:19Z","verdict":null}"#;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let old: LeaseRecord = serde_json::from_str(OLD).expect("a record without a progress");
        assert_eq!((old.attempts, old.progress), (2, None));
        assert_eq!(serde_json::to_string(&old).expect("JSON"), OLD, "without a progress nobody meets a new field");
        let running = LeaseRecord { progress: Some(Progress { done: 340, total: 1000 }), ..old };
        let text = serde_json::to_string(&running).expect("JSON");
        assert!(text.ends_with(r#""progress":{"done":340,"total":1000}}"#), "{text}");
        assert_eq!(serde_json::from_str::<LeaseRecord>(&text).expect("a record"), running);
    }

    #[test]
    fn whoever_takes_a_job_over_knows_nothing_of_the_run_that_ended() {
        let mut record = LeaseRecord::new(Timestamp::UNIX_EPOCH);
        assert!(record.is_fresh());
        record.progress = Some(Progress { done: 1, total: 3 });
        assert!(!record.is_fresh(), "it is worth to be stored");
        assert!(record.without_progress().is_fresh());
        record.count_death();
        assert_eq!((record.attempts, record.progress), (1, None));
    }
}
