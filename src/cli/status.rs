//! `qspool status`: what has become of a job.

use clap::Args;

use super::args::AllStoragesArguments;
use super::client::Client;
use super::failure::Failure;
use super::output::{self, BAD, CAUTION, GOOD, styled};
use crate::job::{BackendName, JobId, JobState, Status};
use crate::storage::Place;

#[derive(Debug, Args)]
pub(super) struct StatusArguments {
    /// The id that `submit` printed.
    id: JobId,
    #[command(flatten)]
    storage: AllStoragesArguments,
}

pub(super) async fn run(arguments: StatusArguments) -> Result<(), Failure> {
    let (client, backend, status) = Client::of_job(&arguments.storage, &arguments.id).await?;
    if arguments.storage.json {
        return output::print_json(&status);
    }
    let progress =
        if status.status.is_final() { String::new() } else { progress(&client, &backend, &arguments.id).await? };
    output::print(format!("{}  {backend}  {}{progress}", status.job_id, described(&status)))?;
    Ok(())
}

/// Where a job is that has not ended.
async fn progress(client: &Client, backend: &BackendName, job_id: &JobId) -> Result<String, Failure> {
    let queue = client.jobs(Place::Queued(backend)).await?;
    if let Some(ahead) = queue.iter().position(|queued| queued == job_id) {
        return Ok(format!("  waiting, {ahead} before it"));
    }
    if !client.jobs(Place::Running).await?.contains(job_id) {
        return Ok(String::new());
    }
    // Who may read a status need not be able to read leases.
    let known = client.provider.get_progress(backend, job_id).await.unwrap_or_default();
    Ok(known.map_or_else(|| "  running".to_owned(), |progress| format!("  running, {progress}")))
}

/// The state and, where there is more to say, the reason.
fn described(status: &Status) -> String {
    match status.status {
        JobState::Done => styled(GOOD, "DONE"),
        JobState::Error => format!("{}  {}", styled(BAD, "ERROR"), status.error_message),
        JobState::Initializing => styled(CAUTION, "INITIALIZING"),
        JobState::Queued => styled(CAUTION, "QUEUED"),
    }
}
