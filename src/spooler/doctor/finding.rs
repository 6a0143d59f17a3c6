//! What the doctor finds, in words.

use serde::Serialize;

use crate::job::{BackendName, JobId};

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// A place cannot be listed.
    UnreadablePlace,
    /// The configuration of a backend is not one.
    UnreadableConfiguration,
    /// A public key is not one.
    UnreadableKey,
    /// A spooler has died, and nobody has taken its jobs over.
    HolderDied,
    /// A running job that no spooler of ours holds.
    RunningWithoutLease,
    /// The same, of a backend that nothing tells.
    RunningOfUnknownBackend,
    /// A running job of which the status tells another end than its result does.
    RunningThoughEnded,
    /// A lease of a job that is nowhere, or has ended.
    LeaseWithoutJob,
    /// A job that waits or runs has no status.
    JobWithoutStatus,
    /// A job waits of which the status tells that it has ended.
    WaitingThoughEnded,
    /// A job has ended, and its status does not tell so.
    EndNotTold,
    /// A job lies with the finished or failed ones, and its status tells the opposite.
    EndContradicted,
    /// A job has finished, and its result is missing.
    FinishedWithoutResult,
    /// A job is DONE, and neither its result nor the job itself is there.
    DoneWithoutResult,
    /// A job is DONE, and the job itself is missing.
    DoneWithoutJob,
    /// A job ended with an error, and has a result.
    ResultOfFailedJob,
    /// A result of a job that is nowhere and not DONE.
    ResultWithoutJob,
    /// A status of a job that is nowhere.
    StatusWithoutJob,
    /// A job lies at two places.
    JobAtTwoPlaces,
    /// Two backends have documents about jobs of one id.
    JobOfTwoBackends,
    /// A status is not one.
    UnreadableStatus,
    /// A result is not one.
    UnreadableResult,
    /// A finished job is not one.
    UnreadableJob,
    /// Something that is no document.
    Leftover,
}

impl FindingKind {
    /// The kind as a heading.
    pub fn heading(self) -> &'static str {
        match self {
            Self::UnreadablePlace => "places that cannot be listed",
            Self::UnreadableConfiguration => "configurations that cannot be read",
            Self::UnreadableKey => "public keys that cannot be read",
            Self::HolderDied => "jobs of a spooler that has died",
            Self::RunningWithoutLease => "running jobs that no spooler of ours holds",
            Self::RunningOfUnknownBackend => "running jobs of an unknown backend",
            Self::RunningThoughEnded => "running jobs whose status and result contradict each other",
            Self::LeaseWithoutJob => "leases without a job",
            Self::JobWithoutStatus => "jobs without a status",
            Self::WaitingThoughEnded => "waiting jobs that have ended by their status",
            Self::EndNotTold => "ended jobs whose status does not tell",
            Self::EndContradicted => "ended jobs whose status tells the opposite",
            Self::FinishedWithoutResult => "finished jobs without a result",
            Self::DoneWithoutResult => "DONE without a result and without the job",
            Self::DoneWithoutJob => "DONE without the job",
            Self::ResultOfFailedJob => "results of jobs that ended with an error",
            Self::ResultWithoutJob => "results of jobs that are nowhere",
            Self::StatusWithoutJob => "statuses of jobs that are nowhere",
            Self::JobAtTwoPlaces => "jobs at two places",
            Self::JobOfTwoBackends => "ids that two backends have",
            Self::UnreadableStatus => "statuses that cannot be read",
            Self::UnreadableResult => "results that cannot be read",
            Self::UnreadableJob => "finished jobs that cannot be read",
            Self::Leftover => "leftovers",
        }
    }
}

/// What has become of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It can be mended safely.
    Repairable,
    /// A person has to decide.
    ForPeople,
    /// It is mended.
    Repaired,
    /// Mending it has failed.
    RepairFailed,
}

/// Something that does not fit together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of thing it is.
    pub kind: FindingKind,
    /// Where: a place, or what lies there.
    pub place: String,
    /// The backend, where it is known and concerned.
    pub backend: Option<BackendName>,
    /// The job, where one is concerned.
    pub job_id: Option<JobId>,
    /// What is wrong, in a sentence.
    pub problem: String,
    /// What to do, or what was done.
    pub advice: String,
    /// Whether it is mended, or can be.
    pub outcome: Outcome,
}
