//! From the whereabouts of one job to what is wrong with it. No storage is asked here.

use super::finding::{Finding, FindingKind, Outcome};
use super::reading::Read;
use crate::job::{BackendName, JobId, JobState, Status};
use crate::storage::{Holder, Place};

/// All that is known of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) job_id: JobId,
    pub(super) backend: Option<BackendName>,
    /// A second backend that has documents about a job of this id.
    pub(super) other_backend: Option<BackendName>,
    pub(super) spots: Vec<Spot>,
    pub(super) status: Read<Status>,
    pub(super) result: Read<()>,
    /// The job's own text, where it has finished.
    pub(super) job: Read<()>,
    pub(super) holder: Option<Holder>,
    /// Whether the job that has finished is the one that waits or runs as well.
    pub(super) is_copy: bool,
}

/// Where a job may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spot {
    Queued,
    Running,
    Finished,
    Deleted,
}

/// How a job can be mended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Repair {
    /// Its dead holder's leases are taken over.
    TakeOver,
    /// Its lease is taken, and the job goes on from where it lies.
    Adopt,
    /// Its lease is taken, and it ends with the error that its status tells.
    AdoptAsTold(Status),
    /// It is claimed, and goes on from where its result lies.
    Claim,
    /// A status is created.
    CreateStatus(Status),
    /// The status tells the end.
    TellEnd(Status),
}

/// What is wrong with a job, and how it can be mended, if it can safely.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Diagnosis {
    pub(super) kind: FindingKind,
    problem: String,
    advice: String,
    pub(super) repair: Option<Repair>,
}

const SUBMIT_AGAIN: &str = "submit the job again if its result is needed, and remove this document";
const LOST_REASON: &str = "the job failed, but the reason was lost when its spooler ended";

impl Case {
    /// The state that the status tells, if there is a readable one.
    fn state(&self) -> Option<JobState> {
        match &self.status {
            Read::Good(status) => Some(status.status),
            _ => None,
        }
    }

    fn has_ended_by_status(&self) -> bool {
        self.state().is_some_and(JobState::is_final)
    }

    /// Everything that is wrong.
    pub(super) fn diagnose(&self) -> Vec<Diagnosis> {
        let mut found: Vec<Diagnosis> = self.of_place().into_iter().collect();
        let mends_status = found.iter().any(|found| matches!(found.repair, Some(Repair::TellEnd(_))));
        if let Some(problem) = self.status.problem().filter(|_| !mends_status) {
            let advice = "a job that waits or runs gets a new one when it ends; else remove it";
            found.push(unreadable(FindingKind::UnreadableStatus, problem, advice));
        }
        // Where the job is run again because of it, that is told already.
        let mends_result = found.iter().any(|found| found.kind == FindingKind::RunningWithoutLease);
        if let Some(problem) = self.result.problem().filter(|_| !mends_result) {
            found.push(unreadable(FindingKind::UnreadableResult, problem, "submit the job again, and remove it"));
        }
        if let Some(problem) = self.job.problem() {
            found.push(unreadable(
                FindingKind::UnreadableJob,
                problem,
                "nobody needs it any more: look at it or remove it",
            ));
        }
        found
    }

    /// What is wrong with where the job lies and what is told of it.
    fn of_place(&self) -> Option<Diagnosis> {
        if let Some(other) = &self.other_backend {
            let first = self.backend.as_ref().map_or("?", BackendName::as_str);
            let problem = format!("the backends {first} and {other} both have documents of this job");
            return for_people(
                FindingKind::JobOfTwoBackends,
                problem,
                "find out whose job it is, and remove the others",
            );
        }
        match &self.holder {
            Some(Holder::Dead(who)) => {
                let problem = format!("it is held by the spooler {who}, which has died");
                let advice = "any spooler that is started on this storage goes on with it";
                mend(FindingKind::HolderDied, problem, advice, Repair::TakeOver)
            }
            Some(Holder::Living(who)) => self.of_held(who),
            Some(Holder::Nobody) | None if self.spots.len() > 1 => self.of_two_places(),
            Some(Holder::Nobody) | None => match self.spots.first() {
                Some(Spot::Queued) => self.of_queued(),
                Some(Spot::Running) => self.of_running(),
                Some(Spot::Finished) => self.of_finished(),
                Some(Spot::Deleted) => self.of_deleted(),
                None => self.of_nowhere(),
            },
        }
    }

    /// A job that a living spooler works on: it will mend what is not in order yet.
    fn of_held(&self, who: &str) -> Option<Diagnosis> {
        let kind = FindingKind::LeaseWithoutJob;
        let advice = "the spooler gives it up when it ends: restart it";
        match self.spots[..] {
            [] => for_people(kind, format!("the spooler {who} holds a job that is nowhere"), advice),
            [Spot::Finished | Spot::Deleted] if self.has_ended_by_status() => {
                for_people(kind, format!("the spooler {who} still holds the job, which has ended"), advice)
            }
            [Spot::Running] if self.status == Read::Absent => self.without_status(),
            _ => None,
        }
    }

    fn without_status(&self) -> Option<Diagnosis> {
        let repair = Repair::CreateStatus(Status::accepted(&self.job_id));
        let advice = "it gets the status of an accepted job";
        mend(FindingKind::JobWithoutStatus, "its user is told that there is no such job", advice, repair)
    }

    fn of_two_places(&self) -> Option<Diagnosis> {
        let names: Vec<String> = self.spots.iter().map(|spot| self.place(*spot)).collect();
        let problem = format!("the job lies at {}", names.join(" and at "));
        let kind = FindingKind::JobAtTwoPlaces;
        let may_end_well = self.is_copy && self.result.is_there() && self.state() != Some(JobState::Error);
        match self.spots[..] {
            [Spot::Queued, Spot::Finished] if may_end_well => {
                mend(kind, problem, "the copy that waits is removed: the job has its result", Repair::Claim)
            }
            [Spot::Running, Spot::Finished] if may_end_well => {
                mend(kind, problem, "the copy in running is removed: the job has its result", Repair::Adopt)
            }
            _ => for_people(kind, problem, "find out which of them is right, and remove the others"),
        }
    }

    fn of_queued(&self) -> Option<Diagnosis> {
        if self.status == Read::Absent {
            return self.without_status();
        }
        let kind = FindingKind::WaitingThoughEnded;
        match self.state() {
            Some(JobState::Done) => {
                let problem = "its status is DONE, but it waits to be run";
                for_people(kind, problem, "it is run once more; remove it from the queue if it has its result")
            }
            Some(JobState::Error) => {
                let problem = "its status is ERROR, but it waits to be run";
                for_people(kind, problem, "it is run, and its status follows; move it to jobs/deleted to prevent that")
            }
            _ => None,
        }
    }

    fn of_running(&self) -> Option<Diagnosis> {
        if self.backend.is_none() {
            let problem = "no spooler of ours holds it, and neither a status nor a result tells whose job it is";
            let advice = "if nobody works on it, move it back to the queue that it came from";
            return for_people(FindingKind::RunningOfUnknownBackend, problem, advice);
        }
        let problem = "no spooler of ours holds it; a program that knows no leases may still work on it";
        let kind = FindingKind::RunningWithoutLease;
        match (&self.status, self.result.is_there()) {
            (Read::Good(status), true) if status.status == JobState::Error => {
                let problem = "its status is ERROR, but it has a result";
                for_people(FindingKind::RunningThoughEnded, problem, "decide which is right, and remove the other")
            }
            (Read::Good(status), false) if status.status == JobState::Done => {
                let problem = "its status is DONE, but it has no result";
                let advice = "if nobody works on it, move it back to its queue: it is run once more";
                for_people(FindingKind::RunningThoughEnded, problem, advice)
            }
            (Read::Good(status), false) if status.status == JobState::Error => {
                let advice = "it goes to the failed jobs, as its status tells";
                mend(kind, problem, advice, Repair::AdoptAsTold(status.clone()))
            }
            (_, true) if self.result.problem().is_some() => {
                let advice = "if nobody works on it: where its result was cut off it goes back to its queue, else it is \
                              finished with it";
                mend(kind, problem, advice, Repair::Adopt)
            }
            (_, true) => mend(kind, problem, "it has a result, and is finished with it", Repair::Adopt),
            (_, false) => mend(kind, problem, "if nobody works on it, it goes back to its queue", Repair::Adopt),
        }
    }

    fn of_finished(&self) -> Option<Diagnosis> {
        if !self.result.is_there() {
            let problem = "its result is missing";
            return for_people(
                FindingKind::FinishedWithoutResult,
                problem,
                "submit the job again if its result is needed",
            );
        }
        match self.state() {
            Some(JobState::Done) => None,
            Some(JobState::Error) => {
                let problem = "it has finished with a result, but its status is ERROR";
                for_people(FindingKind::EndContradicted, problem, "decide which is right, and remove the other")
            }
            _ if self.result.problem().is_some() => {
                let problem = "its status does not tell that it has ended, and its result cannot be read";
                for_people(FindingKind::EndNotTold, problem, "submit the job again")
            }
            _ => {
                let repair = Repair::TellEnd(Status::done(&self.job_id));
                mend(FindingKind::EndNotTold, self.untold(), "its result is there: the status becomes DONE", repair)
            }
        }
    }

    fn of_deleted(&self) -> Option<Diagnosis> {
        match self.state() {
            Some(JobState::Error) if self.result.is_there() => result_of_failed(),
            Some(JobState::Error) => None,
            Some(JobState::Done) => {
                let problem = "it lies with the failed jobs, but its status is DONE";
                for_people(FindingKind::EndContradicted, problem, "decide which is right, and move or remove the other")
            }
            _ if self.backend.is_none() => {
                let problem = "it has failed, but nothing tells its user so, nor of which backend it was";
                for_people(FindingKind::EndNotTold, problem, "remove it, or submit it again")
            }
            _ if self.result.is_there() => {
                let problem = "it lies with the failed jobs, has a result, and its status tells no end";
                for_people(FindingKind::EndContradicted, problem, "decide which is right, and move or remove the other")
            }
            _ => {
                let repair = Repair::TellEnd(Status::failed(&self.job_id, LOST_REASON));
                let advice = "the status becomes ERROR; the reason is lost, unless the log still has it";
                mend(FindingKind::EndNotTold, self.untold(), advice, repair)
            }
        }
    }

    fn untold(&self) -> String {
        match &self.status {
            Read::Absent => "it has ended, but has no status".to_owned(),
            Read::Bad(problem) => format!("it has ended, but its status cannot be read: {problem}"),
            Read::Good(_) => "it has ended, but its status does not tell".to_owned(),
        }
    }

    fn of_nowhere(&self) -> Option<Diagnosis> {
        match (self.state(), self.result.is_there()) {
            (Some(JobState::Done), true) => {
                let problem = "its result and status are there, but the job itself is not";
                for_people(
                    FindingKind::DoneWithoutJob,
                    problem,
                    "nothing, if the finished jobs are cleared from time to time",
                )
            }
            (Some(JobState::Done), false) => {
                let problem = "its status is DONE, but neither its result nor the job itself is there";
                for_people(FindingKind::DoneWithoutResult, problem, SUBMIT_AGAIN)
            }
            (Some(JobState::Error), true) => result_of_failed(),
            // On MongoDB a peer leaves this that dies between the two steps of its move out of running.
            (Some(_), true) if self.result.problem().is_none() => {
                let problem = "the job itself is nowhere; it has a result, but its status does not tell";
                let repair = Repair::TellEnd(Status::done(&self.job_id));
                mend(
                    FindingKind::ResultWithoutJob,
                    problem,
                    "the status becomes DONE, so that its user gets it",
                    repair,
                )
            }
            (_, true) => {
                let problem = "the job itself is nowhere, and its status does not tell that it is DONE";
                for_people(FindingKind::ResultWithoutJob, problem, "look at it or remove it")
            }
            (Some(JobState::Error), false) => {
                let problem = "its status is ERROR, and the job itself is nowhere";
                for_people(
                    FindingKind::StatusWithoutJob,
                    problem,
                    "nothing, if the failed jobs are cleared from time to time",
                )
            }
            // One that cannot be read is told as such.
            (Some(_), false) => {
                let problem = "the job itself is nowhere: its user waits for ever";
                for_people(FindingKind::StatusWithoutJob, problem, SUBMIT_AGAIN)
            }
            (None, false) => None,
        }
    }

    fn place(&self, spot: Spot) -> String {
        match (spot, &self.backend) {
            (Spot::Queued, Some(backend)) => Place::Queued(backend).to_string(),
            (Spot::Finished, Some(backend)) => Place::Finished(backend).to_string(),
            // Those two always have a backend: they were found by it.
            (Spot::Queued, None) => "jobs/queued".to_owned(),
            (Spot::Finished, None) => "jobs/finished".to_owned(),
            (Spot::Running, _) => Place::Running.to_string(),
            (Spot::Deleted, _) => Place::Deleted.to_string(),
        }
    }

    /// The place to look at because of a diagnosis.
    fn place_of(&self, kind: FindingKind) -> String {
        let of_backend = |place: fn(&BackendName) -> Place<'_>| {
            self.backend.as_ref().map_or_else(String::new, |backend| place(backend).to_string())
        };
        match kind {
            FindingKind::UnreadableStatus | FindingKind::StatusWithoutJob | FindingKind::DoneWithoutResult => {
                of_backend(|backend| Place::Status(backend))
            }
            FindingKind::UnreadableResult
            | FindingKind::ResultWithoutJob
            | FindingKind::ResultOfFailedJob
            | FindingKind::DoneWithoutJob => of_backend(|backend| Place::Results(backend)),
            FindingKind::LeaseWithoutJob if self.spots.is_empty() => "jobs/leases".to_owned(),
            _ => self
                .spots
                .first()
                .map_or_else(|| of_backend(|backend| Place::Status(backend)), |spot| self.place(*spot)),
        }
    }

    /// The finding of a diagnosis that is not mended yet.
    pub(super) fn finding(&self, diagnosis: &Diagnosis) -> Finding {
        Finding {
            kind: diagnosis.kind,
            place: self.place_of(diagnosis.kind),
            backend: self.backend.clone(),
            job_id: Some(self.job_id.clone()),
            problem: diagnosis.problem.clone(),
            advice: diagnosis.advice.clone(),
            outcome: if diagnosis.repair.is_some() { Outcome::Repairable } else { Outcome::ForPeople },
        }
    }
}

fn unreadable(kind: FindingKind, problem: &str, advice: &str) -> Diagnosis {
    let problem = format!("it cannot be read: {problem}");
    Diagnosis { kind, problem, advice: advice.to_owned(), repair: None }
}

fn result_of_failed() -> Option<Diagnosis> {
    let problem = "it ended with an error, but has a result, which nobody is shown";
    for_people(FindingKind::ResultOfFailedJob, problem, "look at it or remove it")
}

#[expect(clippy::unnecessary_wraps, reason = "what every look at a place gives")]
fn for_people(kind: FindingKind, problem: impl Into<String>, advice: &str) -> Option<Diagnosis> {
    Some(Diagnosis { kind, problem: problem.into(), advice: advice.to_owned(), repair: None })
}

#[expect(clippy::unnecessary_wraps, reason = "what every look at a place gives")]
fn mend(kind: FindingKind, problem: impl Into<String>, advice: &str, repair: Repair) -> Option<Diagnosis> {
    Some(Diagnosis { kind, problem: problem.into(), advice: advice.to_owned(), repair: Some(repair) })
}
