//! Waits for the end of a job.

use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use super::failure::{Exit, Failure};
use crate::job::{BackendName, JobId, Status};
use crate::storage::{Provider, StorageErrorKind};

const FIRST_LOOK: Duration = Duration::from_millis(2);
const SLOWEST_LOOK: Duration = Duration::from_millis(200);

/// What every command takes that can wait for a job.
#[derive(Debug, Args)]
pub(super) struct WaitArguments {
    /// Wait for the end of the job and show its result.
    #[arg(long)]
    pub(super) wait: bool,
    /// Wait no longer than this, in seconds; then exit with 75.
    #[arg(long, value_name = "SECONDS", requires = "wait")]
    timeout: Option<u64>,
}

/// The same as [`wait_for_end`], with a sign of life on the terminal.
pub(super) async fn watch_to_end(
    provider: &Provider,
    backend: &BackendName,
    job_id: &JobId,
    arguments: &WaitArguments,
) -> Result<Status, Failure> {
    let spinner = ProgressBar::new_spinner().with_message(format!("job {job_id} on {backend}"));
    spinner.set_style(ProgressStyle::with_template("{spinner} {msg}  {elapsed}").expect("the template is valid"));
    spinner.enable_steady_tick(Duration::from_millis(100));
    let ended = wait_for_end(provider, backend, job_id, arguments.timeout.map(Duration::from_secs)).await;
    spinner.finish_and_clear();
    ended
}

/// The status with which the job ends. `None` as limit waits for ever.
pub(super) async fn wait_for_end(
    provider: &Provider,
    backend: &BackendName,
    job_id: &JobId,
    limit: Option<Duration>,
) -> Result<Status, Failure> {
    let begin = Instant::now();
    let mut pause = FIRST_LOOK;
    loop {
        match provider.get_status(backend, job_id).await {
            Ok(status) if status.status.is_final() => return Ok(status),
            Ok(_) => {}
            Err(error) if error.kind() == StorageErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        if limit.is_some_and(|limit| begin.elapsed() >= limit) {
            return Err(Failure::new(Exit::TryAgain, format!("the job {job_id} has not ended yet"))
                .hint(format!("`qspool status {job_id}` tells how it goes; is the daemon running?")));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(SLOWEST_LOOK);
    }
}
