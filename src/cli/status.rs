//! `qspool status`: what has become of a job.

use clap::Args;

use super::args::StorageArguments;
use super::client::Client;
use super::failure::Failure;
use super::output::{self, BAD, CAUTION, GOOD, styled};
use crate::job::{JobId, JobState, Status};

#[derive(Debug, Args)]
pub(super) struct StatusArguments {
    /// The id that `submit` printed.
    id: JobId,
    #[command(flatten)]
    storage: StorageArguments,
}

pub(super) async fn run(arguments: StatusArguments) -> Result<(), Failure> {
    let client = Client::open(&arguments.storage).await?;
    let (backend, status) = client.find(&arguments.id).await?;
    if arguments.storage.json {
        return output::print_json(&status);
    }
    output::print(format!("{}  {backend}  {}", status.job_id, described(&status)));
    Ok(())
}

/// The state and, where there is more to say, the reason.
pub(super) fn described(status: &Status) -> String {
    match status.status {
        JobState::Done => styled(GOOD, "DONE"),
        JobState::Error => format!("{}  {}", styled(BAD, "ERROR"), status.error_message),
        JobState::Initializing => styled(CAUTION, "INITIALIZING"),
        JobState::Queued => styled(CAUTION, "QUEUED"),
    }
}
