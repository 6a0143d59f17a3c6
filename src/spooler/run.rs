//! Runs a job on a thread where it may take its time, fail or panic.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use super::spooler::Shared;
use crate::backend::device::StopRun;
use crate::backend::{Backend, ProgressCounter, RunError};
use crate::job::{Document, JobId, Status};
use crate::schema::{Rejection, RejectionKind};

/// How a run ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// With a result, and the memory that it takes, which is to be held as long as it is.
    Done(Document, OwnedSemaphorePermit),
    /// With an error that the status tells.
    Error(Status),
    /// Because it was told to stop.
    Stopped,
    /// Because the device went away, and why: the job has to wait for it.
    Away(String),
}

/// How a run is told to stop, whatever it does at that moment.
#[derive(Debug, Default)]
pub(super) struct Stop {
    while_waiting: CancellationToken,
    while_running: StopRun,
}

impl Stop {
    pub(super) fn now(&self) {
        self.while_waiting.cancel();
        self.while_running.now.raise();
    }

    /// Lets a device come to the end of the shot that it is in; a simulator has none, and goes on.
    pub(super) fn after_shot(&self) {
        self.while_waiting.cancel();
        self.while_running.after_shot.raise();
    }
}

const MIB: u64 = 1024 * 1024;

/// How long a run may take to notice that its time is over, before it is left behind.
const TIME_OUT_WAIT: Duration = Duration::from_secs(2);

/// Validates `text` and runs the job, with the memory that this takes reserved, until it ends, it is told to stop, or
/// its time is over.
pub(super) async fn run(
    backend: &Arc<Backend>,
    shared: &Shared,
    job_id: &JobId,
    text: &Arc<Document>,
    stop: &Stop,
    progress: &ProgressCounter,
) -> Ended {
    let mut needed_mib = mib(Backend::job_bytes(text.text().len()));
    loop {
        let reserved = tokio::select! {
            reserved = reserve(shared, job_id, needed_mib) => reserved,
            () = stop.while_waiting.cancelled() => return Ended::Stopped,
        };
        let reserved = match reserved {
            Ok(reserved) => reserved,
            Err(ended) => return ended,
        };
        let attempt = Attempt {
            backend: Arc::clone(backend),
            job_id: job_id.clone(),
            text: Arc::clone(text),
            stop: stop.while_running.clone(),
            progress: progress.clone(),
            memory: Arc::clone(&shared.memory),
        };
        let span = tracing::Span::current();
        let running = tokio::task::spawn_blocking(move || span.in_scope(|| attempt.run(reserved)));
        tokio::pin!(running);
        let limit = shared.options.job_time_limit();
        match tokio::time::timeout(limit, &mut running).await {
            Ok(Ok(Ok(ended))) => return ended,
            // Two jobs that each held a part and waited for the rest could wait for ever: give back, and wait for all.
            Ok(Ok(Err(NeedsMore { total_mib }))) => needed_mib = total_mib,
            Ok(Err(panic)) => return Ended::Error(panicked(job_id, panic)),
            Err(_elapsed) => {
                stop.now();
                if tokio::time::timeout(TIME_OUT_WAIT, running).await.is_err() {
                    tracing::error!("the run does not stop; it is left behind");
                }
                let seconds = limit.as_secs();
                let why = format!("the job ran longer than the allowed {seconds} s");
                return Ended::Error(Status::failed(job_id, &why));
            }
        }
    }
}

/// One attempt to run a job with the memory at hand.
struct Attempt {
    backend: Arc<Backend>,
    job_id: JobId,
    text: Arc<Document>,
    stop: StopRun,
    progress: ProgressCounter,
    memory: Arc<Semaphore>,
}

/// The job is valid, but others hold the memory that it takes.
struct NeedsMore {
    total_mib: u64,
}

impl Attempt {
    /// Holds `reserved`, and what it takes beyond, until the end, also when nobody waits for that any more.
    fn run(self, mut reserved: OwnedSemaphorePermit) -> Result<Ended, NeedsMore> {
        let prepared = match self.backend.prepare(self.text.text()) {
            Ok(prepared) => prepared,
            Err(rejection) => return Ok(Ended::Error(rejected(&self.job_id, &rejection))),
        };
        let total_mib = mib(prepared.memory_bytes());
        let missing = total_mib.saturating_sub(reserved.num_permits() as u64);
        let more = u32::try_from(missing).ok().and_then(|missing| self.memory.try_acquire_many_owned(missing).ok());
        reserved.merge(more.ok_or(NeedsMore { total_mib })?);
        Ok(match self.backend.run(&self.job_id, &prepared, &self.stop, &self.progress) {
            Ok(result) => {
                let kept = usize::try_from(mib(result.text().len() as u64)).unwrap_or(usize::MAX);
                drop(reserved.split(reserved.num_permits().saturating_sub(kept)));
                Ended::Done(result, reserved)
            }
            Err(RunError::Stopped) => Ended::Stopped,
            Err(RunError::Away(why)) => Ended::Away(why),
            Err(error) => Ended::Error(Status::failed(&self.job_id, &error.to_string())),
        })
    }
}

fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(MIB).max(1)
}

/// Waits until so much memory is free, and holds it.
async fn reserve(shared: &Shared, job_id: &JobId, needed_mib: u64) -> Result<OwnedSemaphorePermit, Ended> {
    let limit_mib = shared.options.memory_limit_mib;
    match u32::try_from(needed_mib) {
        Ok(needed) if needed <= limit_mib => {
            // Nobody closes the semaphore; if somebody did, the spooler would be ending.
            Arc::clone(&shared.memory).acquire_many_owned(needed).await.map_err(|_closed| Ended::Stopped)
        }
        _ => {
            let why = format!(
                "the job needs {needed_mib} MiB of memory, its results included; allowed: {limit_mib} MiB; ask for \
                 fewer shots, atoms or wires, or split the job"
            );
            Err(Ended::Error(Status::failed(job_id, &why)))
        }
    }
}

/// The status of a job whose run panicked: the cause is for the log only.
fn panicked(job_id: &JobId, ended: JoinError) -> Status {
    let cause = match ended.try_into_panic() {
        Ok(panic) => panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
            .unwrap_or_default(),
        Err(cancelled) => cancelled.to_string(),
    };
    tracing::error!(cause, "the run panicked: a defect of the simulator or driver");
    Status::failed(job_id, "the run failed for a reason inside the backend; its operator finds it in the log")
}

fn rejected(job_id: &JobId, rejection: &Rejection) -> Status {
    let why = rejection.to_string();
    match rejection.kind() {
        RejectionKind::Invalid => Status::invalid(job_id, &why),
        RejectionKind::TooLarge => Status::too_large(job_id, &why),
    }
}
