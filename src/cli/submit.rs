//! `qspool submit`: puts a job into a queue.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::args::StorageArguments;
use super::client::Client;
use super::failure::{Exit, Failure};
use super::result::print_result;
use super::wait::wait_for_end;
use super::{output, plan};
use crate::backend::{Backend, BackendOptions};
use crate::job::{BackendName, Document, JobId, JobState, Status};
use crate::storage::Provider;

#[derive(Debug, Args)]
pub(super) struct SubmitArguments {
    /// The backend that is to run the job.
    backend: BackendName,
    /// The file with the job, or - for standard input.
    #[arg(value_name = "JOB.json")]
    job: PathBuf,
    /// Wait for the end of the job and show its result.
    #[arg(long)]
    wait: bool,
    /// Wait no longer than this, in seconds; then exit with 75.
    #[arg(long, value_name = "SECONDS", requires = "wait")]
    timeout: Option<u64>,
    /// Submit the job as it is, without checking it first.
    #[arg(long)]
    no_check: bool,
    #[command(flatten)]
    storage: StorageArguments,
}

pub(super) async fn run(arguments: SubmitArguments) -> Result<(), Failure> {
    let SubmitArguments { backend, job, wait, timeout, no_check, storage } = arguments;
    let client = Client::open(&storage).await?;
    let text = read_job(&job)?;
    if !no_check {
        check(&client, &backend, &text, &job)?;
    }
    let job_id = submit(&client.provider, &backend, &Document::from_text(text)).await?;
    if !wait {
        if storage.json {
            return output::print_json(&json!({ "job_id": job_id }));
        }
        output::print(job_id.as_str());
        return Ok(());
    }
    let spinner = ProgressBar::new_spinner().with_message(format!("job {job_id} on {backend}"));
    spinner.set_style(ProgressStyle::with_template("{spinner} {msg}  {elapsed}").expect("the template is valid"));
    spinner.enable_steady_tick(Duration::from_millis(100));
    let ended = wait_for_end(&client.provider, &backend, &job_id, timeout.map(Duration::from_secs)).await;
    spinner.finish_and_clear();
    let status = ended?;
    if status.status == JobState::Error {
        if storage.json {
            output::print_json(&status)?;
        }
        return Err(Failure::new(Exit::Failed, format!("the job {job_id} failed")).because(status.error_message));
    }
    if !storage.json {
        output::note(format!("job {job_id}"));
    }
    print_result(&client.provider, &backend, &job_id, storage.json).await
}

/// Puts a job and its first status into the storage. The status comes first, so that a reader who knows the id always
/// finds one.
pub(super) async fn submit(provider: &Provider, backend: &BackendName, job: &Document) -> Result<JobId, Failure> {
    let job_id = provider.create_job_id();
    provider.upload_status(backend, &job_id, &Status::accepted(&job_id)).await?;
    provider.upload_job(backend, &job_id, job).await?;
    Ok(job_id)
}

fn read_job(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut text).map(|_| text)
    } else {
        std::fs::read(path)
    };
    read.map_err(|error| Failure::new(Exit::Usage, format!("cannot read the job {}", path.display())).because(error))
}

/// Refuses here what the daemon would refuse, as far as the backend's schema is known here.
fn check(client: &Client, backend: &BackendName, text: &[u8], path: &Path) -> Result<(), Failure> {
    let limit = client.config.spooler.max_job_bytes();
    if text.len() as u64 > limit {
        let size = text.len();
        return Err(Failure::new(Exit::Usage, format!("the job has {size} bytes; allowed: {limit}")));
    }
    let schemas = plan::schemas(&client.config)?;
    let served = plan::backends(&client.config, &schemas);
    let Some((_, options)) = served.iter().find(|(name, _)| name == backend) else {
        let known: Vec<String> = served.iter().map(|(name, _)| name.to_string()).collect();
        return Err(Failure::new(
            Exit::Usage,
            format!("there is no backend {backend}; there are: {}", known.join(", ")),
        )
        .hint("--no-check submits to a backend that another daemon serves"));
    };
    let options: &BackendOptions = options;
    match Backend::open(backend, options, &schemas)?.prepare(text) {
        Ok(_) => Ok(()),
        Err(rejection) => {
            let failure = Failure::new(Exit::Usage, format!("{} is not a job for {backend}", path.display()));
            Err(rejection.problems().iter().fold(failure, Failure::because))
        }
    }
}
