//! `qspool cancel`: ends a job before its time.

use clap::Args;
use serde_json::json;

use super::args::AllStoragesArguments;
use super::client::Client;
use super::failure::{Exit, Failure};
use super::output;
use crate::job::JobId;
use crate::spooler::{Cancellation, cancel};

#[derive(Debug, Args)]
pub(super) struct CancelArguments {
    /// The id that `submit` printed.
    id: JobId,
    #[command(flatten)]
    storage: AllStoragesArguments,
}

pub(super) async fn run(arguments: CancelArguments) -> Result<(), Failure> {
    let id = &arguments.id;
    let (client, backend, _) = Client::of_job(&arguments.storage, id).await?;
    let (outcome, text) = match cancel(&client.provider, &backend, id).await? {
        Cancellation::Cancelled => ("cancelled", format!("job {id} is cancelled")),
        Cancellation::Asked => ("asked", format!("job {id} is running; its spooler was asked to end it")),
        Cancellation::HeldByPeer => {
            return Err(Failure::new(
                Exit::TryAgain,
                format!("the job {id} is held by a program that knows no cancellation"),
            )
            .hint("docs/operating.md tells what to do when that program is gone"));
        }
        Cancellation::Ended => return Err(Failure::new(Exit::Usage, format!("the job {id} has ended already"))),
    };
    if arguments.storage.json {
        return output::print_json(&json!({ "job_id": id, "cancellation": outcome }));
    }
    output::note(text);
    Ok(())
}
