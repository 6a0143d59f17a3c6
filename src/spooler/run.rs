//! Runs a job on a thread of its own, where it may take its time, fail or panic.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use qspool_driver::StopFlag;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::spooler::Shared;
use crate::backend::{Backend, Prepared, RunError};
use crate::job::{Document, JobId, Status};
use crate::schema::{Rejection, RejectionKind};

/// How a run ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// With a result.
    Done(Document),
    /// With an error that the status tells.
    Error(Status),
    /// Because it was told to stop.
    Stopped,
}

const MIB: u64 = 1024 * 1024;

/// How long a run may take to notice that its time is over, before it is left behind.
const TIME_OUT_WAIT: Duration = Duration::from_secs(2);

/// Validates `text`, waits for the memory that it needs, and runs it until it ends, `stop` is raised, or its time is
/// over.
pub(super) async fn run(
    backend: &Arc<Backend>,
    shared: &Shared,
    job_id: &JobId,
    text: Document,
    stop: StopFlag,
) -> Ended {
    let (prepared, memory) = match prepare(backend, shared, job_id, text).await {
        Ok(ready) => ready,
        Err(ended) => return ended,
    };
    let running = {
        let (backend, job_id, stop) = (Arc::clone(backend), job_id.clone(), stop.clone());
        on_own_thread(move || {
            let _memory = memory;
            backend.run(&job_id, &prepared, &stop)
        })
    };
    tokio::pin!(running);
    let limit = shared.options.job_time_limit();
    let ended = match tokio::time::timeout(limit, &mut running).await {
        Ok(ended) => ended,
        Err(_elapsed) => {
            stop.raise();
            if tokio::time::timeout(TIME_OUT_WAIT, running).await.is_err() {
                tracing::error!("the run does not stop; it is left behind");
            }
            let seconds = limit.as_secs();
            return Ended::Error(Status::failed(job_id, &format!("the job ran longer than the allowed {seconds} s")));
        }
    };
    match ended {
        Ok(Ok(result)) => Ended::Done(result),
        Ok(Err(RunError::Stopped)) => Ended::Stopped,
        Ok(Err(error)) => Ended::Error(Status::failed(job_id, &error.to_string())),
        Err(panic) => Ended::Error(panicked(job_id, &panic)),
    }
}

/// Reads and checks the job, and reserves the memory for its run.
async fn prepare(
    backend: &Arc<Backend>,
    shared: &Shared,
    job_id: &JobId,
    text: Document,
) -> Result<(Prepared, OwnedSemaphorePermit), Ended> {
    let text = Arc::new(text);
    let mut needed_mib = mib(Backend::job_bytes(text.text().len()));
    loop {
        let mut memory = reserve(shared, job_id, needed_mib).await?;
        let (of, read) = (Arc::clone(backend), Arc::clone(&text));
        // Short work, so a thread of the pool does: starting one costs more than most jobs take to validate.
        let prepared = match tokio::task::spawn_blocking(move || of.prepare(read.text())).await {
            Ok(Ok(prepared)) => prepared,
            Ok(Err(rejection)) => return Err(Ended::Error(rejected(job_id, &rejection))),
            Err(ended) => {
                let panic = ended.try_into_panic().unwrap_or_else(|cancelled| Box::new(cancelled.to_string()));
                return Err(Ended::Error(panicked(job_id, &panic)));
            }
        };
        let total_mib = mib(prepared.memory_bytes());
        let missing = u32::try_from(total_mib.saturating_sub(needed_mib)).unwrap_or(u32::MAX);
        match Arc::clone(&shared.memory).try_acquire_many_owned(missing) {
            Ok(more) => {
                memory.merge(more);
                return Ok((prepared, memory));
            }
            // Two jobs that each held a part and waited for the rest could wait for ever: give back and wait for all.
            Err(_) => needed_mib = total_mib,
        }
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

type Panic = Box<dyn Any + Send>;

/// Runs `action` on a new thread. A thread that is left behind by dropping the future ends by itself.
async fn on_own_thread<T: Send + 'static>(action: impl FnOnce() -> T + Send + 'static) -> Result<T, Panic> {
    let (sender, receiver) = oneshot::channel();
    let span = tracing::Span::current();
    let spawned = std::thread::Builder::new().name("job".into()).spawn(move || {
        let _entered = span.entered();
        let result = catch_unwind(AssertUnwindSafe(action));
        // Nobody waits for a run that was left behind.
        let _unheard = sender.send(result);
    });
    match spawned {
        Ok(_detached) => receiver.await.unwrap_or_else(|closed| Err(Box::new(closed.to_string()))),
        Err(error) => Err(Box::new(format!("no thread could be started: {error}"))),
    }
}

/// The status of a job whose run panicked: the cause is for the log only.
fn panicked(job_id: &JobId, panic: &Panic) -> Status {
    let cause = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!(cause = cause.unwrap_or("unknown"), "the run panicked: a defect of the simulator or driver");
    Status::failed(job_id, "the run failed for a reason inside the backend; its operator finds it in the log")
}

fn rejected(job_id: &JobId, rejection: &Rejection) -> Status {
    let why = rejection.to_string();
    match rejection.kind() {
        RejectionKind::Invalid => Status::invalid(job_id, &why),
        RejectionKind::TooLarge => Status::too_large(job_id, &why),
    }
}
