//! Waits for the end of a job.

use std::time::Duration;

use tokio::time::Instant;

use super::failure::{Exit, Failure};
use crate::job::{BackendName, JobId, Status};
use crate::storage::{Provider, StorageErrorKind};

const FIRST_LOOK: Duration = Duration::from_millis(2);
const SLOWEST_LOOK: Duration = Duration::from_millis(200);

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
