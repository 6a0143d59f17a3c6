//! Adopts jobs that a peer which knows no leases has left in running, where the configuration says after which time.

use jiff::Timestamp;

use crate::job::{BackendName, DocumentId, JobId};
use crate::storage::{Lease, Place, Provider, StorageError};

/// Takes the leases of the running jobs that have none and have not changed since `time`.
pub(super) async fn adopt_unleased_since(provider: &Provider, time: Timestamp) -> Result<Vec<Lease>, StorageError> {
    let storage = provider.storage()?;
    let old = storage.unchanged_since(Place::Running, time).await?;
    if old.is_empty() {
        return Ok(Vec::new());
    }
    let held = storage.leases().await?;
    let is_held = |job_id: &JobId| held.iter().any(|held| held.lease.job_id == *job_id);
    let mut adopted = Vec::new();
    for job_id in old.iter().filter_map(|id| id.as_str().parse().ok()).filter(|job_id| !is_held(job_id)) {
        if let Some(backend) = backend_of(provider, &job_id).await? {
            adopted.extend(storage.adopt_unleased(&backend, &job_id).await?);
        }
    }
    Ok(adopted)
}

/// The backend of a running job: the one below which its status lies.
async fn backend_of(provider: &Provider, job_id: &JobId) -> Result<Option<BackendName>, StorageError> {
    let (storage, id) = (provider.storage()?, DocumentId::from(job_id));
    for backend in storage.backends().await? {
        if storage.exists(Place::Status(&backend), &id).await? {
            return Ok(Some(backend));
        }
    }
    Ok(None)
}
