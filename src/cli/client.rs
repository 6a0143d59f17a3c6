//! What commands share that look at a storage from outside, as a user's program does.

use std::collections::BTreeSet;

use super::args::StorageArguments;
use super::failure::{Exit, Failure};
use super::plan;
use crate::config::Config;
use crate::job::{BackendName, JobId, Status, StorageName};
use crate::storage::{Place, Provider, StorageContext, StorageErrorKind};

/// The configuration, and the storage that the arguments choose.
pub(super) struct Client {
    pub(super) config: Config,
    pub(super) provider: Provider,
}

impl Client {
    pub(super) async fn open(arguments: &StorageArguments) -> Result<Self, Failure> {
        let config = Config::read(arguments.config.config.as_deref())?;
        let name = match &arguments.storage {
            Some(name) => name.clone(),
            None => config.default_storage().cloned().ok_or_else(|| {
                Failure::new(Exit::Unavailable, "no storage is active").hint("set storage.<name>.active = true")
            })?,
        };
        let provider = open_provider(&config, &name).await?;
        Ok(Self { config, provider })
    }

    /// The backend whose job this is, with the job's status: the one below which the status lies.
    pub(super) async fn find(&self, job_id: &JobId) -> Result<(BackendName, Status), Failure> {
        for backend in self.backends().await? {
            match self.provider.get_status(&backend, job_id).await {
                Ok(status) => return Ok((backend, status)),
                Err(error) if error.kind() == StorageErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        let storage = self.provider.name();
        Err(Failure::new(Exit::Usage, format!("the storage {storage} has no job {job_id}"))
            .hint("`qspool jobs` lists them; --storage chooses another storage"))
    }

    /// The backends whose jobs may lie here, by name: those that were served here, and those that would be.
    pub(super) async fn backends(&self) -> Result<BTreeSet<BackendName>, Failure> {
        let would_be = plan::backends(&self.config, &plan::schemas(&self.config)?);
        Ok(self.provider.get_backends().await?.into_iter().chain(would_be.into_iter().map(|(name, _)| name)).collect())
    }

    /// The jobs at a place; none where the place cannot be.
    pub(super) async fn jobs(&self, place: Place<'_>) -> Result<Vec<JobId>, Failure> {
        Ok(self.provider.jobs(place).await?)
    }
}

/// Opens a storage of the configuration by its name.
pub(super) async fn open_provider(config: &Config, name: &StorageName) -> Result<Provider, Failure> {
    let Some(options) = config.storages.get(name) else {
        let known: Vec<String> = config.storages.keys().map(ToString::to_string).collect();
        return Err(Failure::new(Exit::Usage, format!("there is no storage {name}; there are: {}", known.join(", "))));
    };
    let context = StorageContext { lease: config.spooler.lease(), max_job_bytes: config.spooler.max_job_bytes() };
    Provider::open(name.clone(), options, context).await.map_err(|error| match error.kind() {
        StorageErrorKind::Denied => {
            Failure::new(Exit::Configuration, format!("the login at the storage {name} is refused")).because(error)
        }
        _ => Failure::new(Exit::Unavailable, format!("the storage {name} is out of reach")).because(error),
    })
}
