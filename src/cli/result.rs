//! `qspool result`: the result of a job.

use clap::Args;
use serde_json::Value;

use super::args::AllStoragesArguments;
use super::client::Client;
use super::failure::{Exit, Failure};
use super::outcome::{self, ShownResult};
use super::output;
use super::wait::{WaitArguments, watch_to_end};
use crate::job::{BackendName, Document, JobId, JobState, Status};
use crate::storage::Provider;

#[derive(Debug, Args)]
pub(super) struct ResultArguments {
    /// The id that `submit` printed.
    id: JobId,
    #[command(flatten)]
    waiting: WaitArguments,
    #[command(flatten)]
    storage: AllStoragesArguments,
}

pub(super) async fn run(arguments: ResultArguments) -> Result<(), Failure> {
    let (client, backend, mut status) = Client::of_job(&arguments.storage, &arguments.id).await?;
    if arguments.waiting.wait && !status.status.is_final() {
        status = watch_to_end(&client.provider, &backend, &arguments.id, &arguments.waiting).await?;
    }
    require_done(&status, &arguments.id)?;
    print_result(&client.provider, &backend, &arguments.id, arguments.storage.json).await
}

/// Fails where a job has no result, or none yet.
pub(super) fn require_done(status: &Status, id: &JobId) -> Result<(), Failure> {
    match status.status {
        JobState::Done => Ok(()),
        JobState::Error => {
            Err(Failure::new(Exit::Failed, format!("the job {id} has no result")).because(&status.error_message))
        }
        JobState::Initializing | JobState::Queued => {
            Err(Failure::new(Exit::TryAgain, format!("the job {id} has not ended yet"))
                .hint("`qspool result --wait` waits for it"))
        }
    }
}

/// Prints the result of a job that is done: charts for people, the document for programs.
pub(super) async fn print_result(
    provider: &Provider,
    backend: &BackendName,
    job_id: &JobId,
    json: bool,
) -> Result<(), Failure> {
    let document = provider.get_result(backend, job_id).await?;
    let unreadable = |error| Failure::new(Exit::Failed, "the storage holds a bad result").because(error);
    if json {
        let mut result: Value = document.read("result").map_err(unreadable)?;
        // Stored without it, since a storage may be renamed.
        result["backend_name"] = long_name(provider, backend).await?.into();
        output::print_json(&result)
    } else {
        output::print(charts(&document).map_err(unreadable)?)?;
        Ok(())
    }
}

fn charts(document: &Document) -> Result<String, crate::job::DocumentError> {
    Ok(outcome::show(&document.read::<ShownResult>("result")?))
}

async fn long_name(provider: &Provider, backend: &BackendName) -> Result<String, Failure> {
    Ok(provider.get_config(backend).await?.long_name(provider.name()))
}
