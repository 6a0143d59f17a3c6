//! Mends what can be mended safely, by the same steps as a spooler takes.

use std::collections::HashMap;

use tokio_util::sync::CancellationToken;

use super::diagnosis::{Case, Repair};
use super::reading::{Read, Reader};
use crate::job::{BackendName, JobId, JobState, Status};
use crate::spooler::SpoolerOptions;
use crate::spooler::settle::Settler;
use crate::storage::{Claim, Lease, Provider, StorageError, StorageErrorKind};

/// Mends at one storage.
pub(super) struct Mender<'a> {
    provider: &'a Provider,
    options: &'a SpoolerOptions,
    /// A storage that fails is told, and not waited for.
    at_once: CancellationToken,
    /// Leases of dead spoolers that are ours now, and not settled yet.
    taken_over: HashMap<JobId, Lease>,
}

const OTHERS_DO: &str = "another program has taken care of it meanwhile";

impl<'a> Mender<'a> {
    pub(super) fn new(provider: &'a Provider, options: &'a SpoolerOptions) -> Self {
        let at_once = CancellationToken::new();
        at_once.cancel();
        Self { provider, options, at_once, taken_over: HashMap::new() }
    }

    /// Mends one job, and says in words what was done.
    pub(super) async fn mend(&mut self, case: &Case, repair: &Repair) -> Result<String, StorageError> {
        let job_id = &case.job_id;
        if *repair == Repair::TakeOver {
            return self.take_over(job_id).await;
        }
        // Without a backend nothing is repairable.
        let Some(backend) = &case.backend else { return Ok(OTHERS_DO.to_owned()) };
        let storage = self.provider.storage()?;
        let done = match repair {
            Repair::TakeOver => OTHERS_DO,
            Repair::Adopt => match storage.adopt_unleased(backend, job_id).await? {
                Some(lease) => self.settler().settle(lease).await?,
                None => OTHERS_DO,
            },
            Repair::AdoptAsTold(status) => match storage.adopt_unleased(backend, job_id).await? {
                Some(lease) => self.settler().settle_as_told(lease, status.clone()).await?,
                None => OTHERS_DO,
            },
            Repair::Claim => match storage.claim(backend, job_id).await? {
                Claim::Won(lease) => self.settler().settle(lease).await?,
                Claim::Gone | Claim::Unsettled => OTHERS_DO,
            },
            Repair::CreateStatus(status) => self.create_status(backend, job_id, status).await?,
            Repair::TellEnd(status) => self.tell_end(backend, job_id, status).await?,
        };
        Ok(done.to_owned())
    }

    /// The jobs of dead spoolers that were taken over along with others, and are not settled yet.
    pub(super) fn rest(&mut self) -> Vec<Lease> {
        self.taken_over.drain().map(|(_, lease)| lease).collect()
    }

    /// Goes on with the job of a lease that is ours.
    pub(super) async fn settle(&self, lease: Lease) -> Result<&'static str, StorageError> {
        self.settler().settle(lease).await
    }

    fn settler(&self) -> Settler<'_> {
        Settler { provider: self.provider, options: self.options, give_up: &self.at_once }
    }

    async fn take_over(&mut self, job_id: &JobId) -> Result<String, StorageError> {
        if !self.taken_over.contains_key(job_id) {
            let adopted = self.provider.storage()?.adopt_orphans().await?;
            self.taken_over.extend(adopted.into_iter().map(|lease| (lease.job_id.clone(), lease)));
        }
        match self.taken_over.remove(job_id) {
            Some(lease) => Ok(self.settle(lease).await?.to_owned()),
            None => Ok(OTHERS_DO.to_owned()),
        }
    }

    /// Creates a status, and leaves one that has come meanwhile.
    async fn create_status(
        &self,
        backend: &BackendName,
        job_id: &JobId,
        status: &Status,
    ) -> Result<&'static str, StorageError> {
        match self.provider.upload_status(backend, job_id, status).await {
            Err(error) if error.kind() == StorageErrorKind::AlreadyExists => Ok(OTHERS_DO),
            result => result.map(|()| "it has the status of an accepted job now"),
        }
    }

    /// Writes the end of a job that nobody holds. What tells an end already stays, whoever has written it meanwhile.
    async fn tell_end(
        &self,
        backend: &BackendName,
        job_id: &JobId,
        status: &Status,
    ) -> Result<&'static str, StorageError> {
        let told = match status.status {
            JobState::Done => "its status is DONE now",
            _ => "its status is ERROR now; the reason is lost, unless the log still has it",
        };
        match self.provider.upload_status(backend, job_id, status).await {
            Err(error) if error.kind() == StorageErrorKind::AlreadyExists => {}
            result => return result.map(|()| told),
        }
        let reader = Reader::new(self.provider.storage()?);
        match reader.status(backend, &job_id.into()).await? {
            Read::Good(found) if found.status.is_final() => Ok(OTHERS_DO),
            _ => self.provider.update_status(backend, job_id, status).await.map(|()| told),
        }
    }
}
