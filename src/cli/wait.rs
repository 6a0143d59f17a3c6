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

/// How often one of the looks is for how far the run has come.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

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

/// The same as [`wait_for_end`], with a sign of life on the terminal: how far the run has come, where that is known.
pub(super) async fn watch_to_end(
    provider: &Provider,
    backend: &BackendName,
    job_id: &JobId,
    arguments: &WaitArguments,
) -> Result<Status, Failure> {
    let spinner = ProgressBar::new_spinner().with_message(waits_for(backend, job_id));
    spinner.set_style(ProgressStyle::with_template("{spinner} {msg}  {elapsed}").expect("the template is valid"));
    spinner.enable_steady_tick(Duration::from_millis(100));
    let seen = (!spinner.is_hidden()).then_some(&spinner);
    let ended = wait_for_end(provider, backend, job_id, arguments.timeout.map(Duration::from_secs), seen).await;
    spinner.finish_and_clear();
    ended
}

fn waits_for(backend: &BackendName, job_id: &JobId) -> String {
    format!("job {job_id} on {backend}")
}

/// The status with which the job ends. `None` as limit waits for ever. With a spinner a look now and then is not for the
/// status but for what the spinner tells.
pub(super) async fn wait_for_end(
    provider: &Provider,
    backend: &BackendName,
    job_id: &JobId,
    limit: Option<Duration>,
    spinner: Option<&ProgressBar>,
) -> Result<Status, Failure> {
    let begin = Instant::now();
    let (mut pause, mut progress_due) = (FIRST_LOOK, begin + PROGRESS_INTERVAL);
    loop {
        if let Some(spinner) = spinner.filter(|_| Instant::now() >= progress_due) {
            progress_due = Instant::now() + PROGRESS_INTERVAL;
            // Who may read a status need not be able to read leases.
            let known = provider.get_progress(backend, job_id).await.unwrap_or_default();
            let told = known.map_or_else(String::new, |progress| format!(", {progress}"));
            spinner.set_message(format!("{}{told}", waits_for(backend, job_id)));
            tokio::time::sleep(pause).await;
        }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::job::{Document, Progress};
    use crate::storage::{Claim, LocalOptions, MediumOptions, StorageContext, open};

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_learns_how_far_the_run_has_come() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let options = MediumOptions::Local(LocalOptions { base_path: folder.path().to_owned() });
        let context = StorageContext { lease: Duration::from_secs(60), max_job_bytes: 1 << 20 };
        let storage = open(&"lab".parse().expect("a name"), &options, context).await.expect("the storage opens");
        let provider = Provider::new("lab".parse().expect("a name"), true, Arc::clone(&storage));
        let (backend, job_id) = ("fermions".parse().expect("a name"), "a1".parse().expect("an id"));
        provider.upload_job(&backend, &job_id, &Document::from_text("{}")).await.expect("queued");
        let Claim::Won(mut lease) = storage.claim(&backend, &job_id).await.expect("an answer") else {
            panic!("nobody else is there");
        };
        lease.record.progress = Some(Progress { done: 3, total: 4 });
        storage.renew(&lease).await.expect("renewed");
        let spinner = ProgressBar::hidden();
        let limit = Some(PROGRESS_INTERVAL * 2);
        let waited = wait_for_end(&provider, &backend, &job_id, limit, Some(&spinner)).await;
        assert_eq!(waited.expect_err("nobody runs it").exit(), Exit::TryAgain);
        assert_eq!(spinner.message(), "job a1 on fermions, 3 of 4 experiments done");
    }
}
