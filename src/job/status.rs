//! The status of a job, with the words that peers and people know.

use serde::{Deserialize, Serialize};

use super::JobId;

/// The states that peers accept in a status document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum JobState {
    /// Accepted; waiting in a queue or running.
    Initializing,
    /// Written by some peers for a waiting job; qspool reads it and never writes it.
    Queued,
    /// Ended well: the result is there.
    Done,
    /// Ended without a result: the status says why.
    Error,
}

impl JobState {
    /// Whether a job in this state will not change any more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Error)
    }
}

/// The status document of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The job that it speaks of.
    pub job_id: String,
    /// The state.
    pub status: JobState,
    /// What happened so far, in sentences separated by semicolons.
    pub detail: String,
    /// Why the job failed, or the word `None`.
    pub error_message: String,
}

const ACCEPTED: &str = "Got your json.";
const CHECKED: &str = "Passed json sanity check";

impl Status {
    fn new(job_id: &JobId, status: JobState, detail: String, error_message: String) -> Self {
        Self { job_id: job_id.to_string(), status, detail, error_message }
    }

    fn error(job_id: &JobId, before: &str, message: String) -> Self {
        Self::new(job_id, JobState::Error, format!("{before}; {message}"), message)
    }

    /// The job lies in the queue.
    pub fn accepted(job_id: &JobId) -> Self {
        Self::new(job_id, JobState::Initializing, ACCEPTED.into(), "None".into())
    }

    /// The job is not what the backend's schema asks for; `why` is one line for a person.
    pub fn invalid(job_id: &JobId, why: &str) -> Self {
        let message = format!("Failed json sanity check. File will be deleted. Error message : {why}");
        Self::error(job_id, ACCEPTED, message)
    }

    /// The job asks for more atoms than the backend takes.
    pub fn too_large(job_id: &JobId, why: &str) -> Self {
        let message =
            format!("Failed dimensionality test. Too many atoms. File will be deleted. Error message : {why}");
        Self::error(job_id, ACCEPTED, message)
    }

    /// The result is stored.
    pub fn done(job_id: &JobId) -> Self {
        let detail = format!("{ACCEPTED}; {CHECKED}; Compilation done. Shots sent to solver.");
        Self::new(job_id, JobState::Done, detail, "None".into())
    }

    /// The job was valid, but its run failed.
    pub fn failed(job_id: &JobId, why: &str) -> Self {
        Self::error(job_id, &format!("{ACCEPTED}; {CHECKED}"), why.into())
    }

    /// The job was cancelled by its user or an operator.
    pub fn cancelled(job_id: &JobId) -> Self {
        Self::error(job_id, ACCEPTED, "Cancelled.".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_have_the_words_of_the_contract() {
        let id: JobId = "a1".parse().expect("an id");
        let text = |status: Status| (status.status, status.detail, status.error_message);
        assert_eq!(text(Status::accepted(&id)), (JobState::Initializing, "Got your json.".into(), "None".into()));
        assert_eq!(
            text(Status::invalid(&id, "why")),
            (
                JobState::Error,
                "Got your json.; Failed json sanity check. File will be deleted. Error message : why".into(),
                "Failed json sanity check. File will be deleted. Error message : why".into()
            )
        );
        assert_eq!(
            text(Status::too_large(&id, "why")).1,
            "Got your json.; Failed dimensionality test. Too many atoms. File will be deleted. Error message : why"
        );
        assert_eq!(
            text(Status::done(&id)).1,
            "Got your json.; Passed json sanity check; Compilation done. Shots sent to solver."
        );
        assert_eq!(
            text(Status::failed(&id, "why")),
            (JobState::Error, "Got your json.; Passed json sanity check; why".into(), "why".into())
        );
        assert_eq!(
            text(Status::cancelled(&id)),
            (JobState::Error, "Got your json.; Cancelled.".into(), "Cancelled.".into())
        );
        assert_eq!(
            serde_json::to_string(&Status::accepted(&id)).expect("serialises"),
            r#"{"job_id":"a1","status":"INITIALIZING","detail":"Got your json.","error_message":"None"}"#
        );
    }
}
