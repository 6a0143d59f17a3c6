//! Ends a job before its time.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::publish::Publisher;
use crate::job::{BackendName, JobId, Status};
use crate::storage::{Claim, Place, Provider, StorageError};

/// What has become of a cancellation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancellation {
    /// The job waited, and has ended now.
    Cancelled,
    /// The job runs; its spooler ends it when it renews its lease.
    Asked,
    /// The job runs, but at a peer that knows no cancellation.
    HeldByPeer,
    /// There is nothing to cancel.
    Ended,
}

/// Cancels a job of `backend`: one that waits is claimed and ended, one that runs gets a mark in its lease.
pub async fn cancel(provider: &Provider, backend: &BackendName, job_id: &JobId) -> Result<Cancellation, StorageError> {
    let storage = provider.storage()?;
    if let Claim::Won(lease) = storage.claim(backend, job_id).await? {
        // A storage that fails is told to whoever asked, and not waited for.
        let at_once = CancellationToken::new();
        at_once.cancel();
        let publisher = Publisher::with_limits(provider, lease, Duration::ZERO, &at_once);
        publisher.error(Status::cancelled(job_id)).await?;
        return Ok(Cancellation::Cancelled);
    }
    if storage.request_cancel(backend, job_id).await? {
        return Ok(Cancellation::Asked);
    }
    let is_running = storage.exists(Place::Running, &job_id.into()).await?;
    Ok(if is_running { Cancellation::HeldByPeer } else { Cancellation::Ended })
}
