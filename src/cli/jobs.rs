//! `qspool jobs`: what lies in a storage.

use clap::Args;
use serde::Serialize;

use super::args::StorageArguments;
use super::client::Client;
use super::failure::Failure;
use super::output::{self, print_table};
use crate::job::{BackendName, JobId, JobState, Status};
use crate::storage::Place;

#[derive(Debug, Args)]
pub(super) struct JobsArguments {
    /// Only the jobs of this backend.
    #[arg(long)]
    backend: Option<BackendName>,
    /// Show at most this many of each kind, the newest.
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    last: usize,
    #[command(flatten)]
    storage: StorageArguments,
}

#[derive(Serialize)]
struct ListedJob {
    job_id: JobId,
    backend: Option<BackendName>,
    place: &'static str,
    status: Option<JobState>,
    error_message: Option<String>,
}

pub(super) async fn run(arguments: JobsArguments) -> Result<(), Failure> {
    let client = Client::open(&arguments.storage).await?;
    let backends = match &arguments.backend {
        Some(backend) => [backend.clone()].into(),
        None => client.backends().await?,
    };
    let mut jobs = Vec::new();
    for backend in &backends {
        for (name, place) in [("queued", Place::Queued(backend)), ("finished", Place::Finished(backend))] {
            for job_id in newest(client.jobs(place).await?, arguments.last) {
                let status = client.provider.get_status(backend, &job_id).await.ok();
                jobs.push(listed(job_id, Some(backend.clone()), name, status));
            }
        }
    }
    for (name, place) in [("running", Place::Running), ("deleted", Place::Deleted)] {
        for job_id in newest(client.jobs(place).await?, arguments.last) {
            let found = client.find(&job_id).await.ok().flatten();
            let backend = found.as_ref().map(|(backend, _)| backend.clone());
            if arguments.backend.is_none() || arguments.backend == backend {
                jobs.push(listed(job_id, backend, name, found.map(|(_, status)| status)));
            }
        }
    }
    jobs.sort_by(|a, b| a.job_id.cmp(&b.job_id));
    if arguments.storage.json {
        return output::print_json(&jobs);
    }
    if jobs.is_empty() {
        output::note("no jobs");
        return Ok(());
    }
    let mut rows = vec![["JOB", "BACKEND", "PLACE", "NOTE"].map(String::from).to_vec()];
    rows.extend(jobs.iter().map(row));
    print_table(&rows)?;
    Ok(())
}

fn newest(mut jobs: Vec<JobId>, count: usize) -> Vec<JobId> {
    jobs.split_off(jobs.len().saturating_sub(count))
}

fn listed(job_id: JobId, backend: Option<BackendName>, place: &'static str, status: Option<Status>) -> ListedJob {
    let error_message =
        status.as_ref().filter(|status| status.status == JobState::Error).map(|status| status.error_message.clone());
    ListedJob { job_id, backend, place, status: status.map(|status| status.status), error_message }
}

fn row(job: &ListedJob) -> Vec<String> {
    let backend = job.backend.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string);
    vec![job.job_id.to_string(), backend, job.place.to_owned(), job.error_message.clone().unwrap_or_default()]
}
