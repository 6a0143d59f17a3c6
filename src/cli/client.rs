//! What commands share that look at a storage from outside, as a user's program does.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, future, stream};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use super::args::{AllStoragesArguments, StorageArguments};
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

/// How long all storages together are looked at. A storage that is slower counts as out of reach.
const LONGEST_LOOK: Duration = Duration::from_secs(15);

/// How many statuses of one storage are looked for at the same time.
const STATUSES_AT_ONCE: usize = 8;

impl Client {
    pub(super) async fn open(arguments: &StorageArguments) -> Result<Self, Failure> {
        let config = Config::read(arguments.config.config.as_deref())?;
        let name = match &arguments.storage {
            Some(name) => name.clone(),
            None => config.default_storage().cloned().ok_or_else(no_storage)?,
        };
        Self::at(config, &name).await
    }

    async fn at(config: Config, name: &StorageName) -> Result<Self, Failure> {
        let provider = open_provider(&config, name).await?;
        Ok(Self { config, provider })
    }

    /// Opens the storage that has the job: the chosen one, or else the default one or any other that is active. Gives
    /// the backend and the status as well.
    pub(super) async fn of_job(
        arguments: &AllStoragesArguments,
        job_id: &JobId,
    ) -> Result<(Self, BackendName, Status), Failure> {
        let config = Config::read(arguments.config.config.as_deref())?;
        let mut names = storages(&config, arguments.storage.as_ref())?;
        let first = names.remove(0);
        if names.is_empty() {
            let client = Self::at(config, &first).await?;
            return match client.find(job_id).await? {
                Some((backend, status)) => Ok((client, backend, status)),
                None => Err(Failure::new(Exit::Usage, format!("the storage {first} has no job {job_id}"))
                    .hint("`qspool jobs` lists them; --storage chooses another storage")),
            };
        }
        let mut failures = Vec::new();
        for names in [vec![first], names] {
            let look = |name: StorageName| {
                let (config, job_id) = (config.clone(), job_id.clone());
                async move {
                    let client = Self::at(config, &name).await?;
                    let found = client.find(&job_id).await?;
                    Ok(found.map(|(backend, status)| (client, backend, status)))
                }
            };
            for (_, found) in at_each(names, look).await {
                match found {
                    Ok(Some(found)) => return Ok(found),
                    Ok(None) => {}
                    Err(failure) => failures.push(failure),
                }
            }
        }
        Err(match failures.first() {
            None => Failure::new(Exit::Usage, format!("no storage has a job {job_id}"))
                .hint("`qspool jobs --storage NAME` lists the jobs of a storage"),
            Some(failure) => {
                let failure = Failure::new(failure.exit(), format!("no storage that answers has a job {job_id}"));
                failures.iter().map(Failure::one_line).fold(failure, Failure::because)
            }
        })
    }

    /// The backend whose job this is, with the job's status: the one below which the status lies.
    pub(super) async fn find(&self, job_id: &JobId) -> Result<Option<(BackendName, Status)>, Failure> {
        let look = async |backend: BackendName| match self.provider.get_status(&backend, job_id).await {
            Ok(status) => Ok(Some((backend, status))),
            Err(error) if error.kind() == StorageErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let backends = stream::iter(self.backends().await?);
        let found = backends.map(look).buffered(STATUSES_AT_ONCE).try_filter_map(future::ok);
        Ok(pin!(found).try_next().await?)
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

fn no_storage() -> Failure {
    Failure::new(Exit::Unavailable, "no storage is active").hint("set storage.<name>.active = true")
}

/// The chosen storage, or else all active ones, the default one first. It is never empty.
pub(super) fn storages(config: &Config, chosen: Option<&StorageName>) -> Result<Vec<StorageName>, Failure> {
    if let Some(name) = chosen {
        return Ok(vec![name.clone()]);
    }
    let first = config.default_storage().ok_or_else(no_storage)?;
    let active = config.storages.iter().filter(|(_, options)| options.active).map(|(name, _)| name);
    Ok([first].into_iter().chain(active.filter(|name| *name != first)).cloned().collect())
}

/// Looks at storages side by side, each in a task of its own, so that one that hangs holds up none of the others.
pub(super) async fn at_each<T: Send + 'static, F: Future<Output = Result<T, Failure>> + Send + 'static>(
    names: Vec<StorageName>,
    look: impl Fn(StorageName) -> F,
) -> Vec<(StorageName, Result<T, Failure>)> {
    let tasks = TaskTracker::new();
    let looks: Vec<_> = names.into_iter().map(|name| (name.clone(), tasks.spawn(look(name)))).collect();
    let deadline = Instant::now() + LONGEST_LOOK;
    let mut found = Vec::new();
    for (name, look) in looks {
        let answer = match timeout_at(deadline, look).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(ended)) => {
                Err(Failure::new(Exit::Failed, format!("the storage {name} cannot be looked at")).because(ended))
            }
            Err(_elapsed) => Err(Failure::new(Exit::Unavailable, format!("the storage {name} is out of reach"))
                .because(format!("no answer within {} s", LONGEST_LOOK.as_secs()))),
        };
        found.push((name, answer));
    }
    found
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_storage_that_hangs_holds_up_none_of_the_others() {
        let names = ["hangs", "panics", "answers"].map(|name| name.parse::<StorageName>().expect("a name"));
        let look = |name: StorageName| async move {
            match name.as_str() {
                "hangs" => std::future::pending().await,
                "panics" => panic!("for the test"),
                _ => Ok(name),
            }
        };
        let begin = Instant::now();
        let found = at_each(names.to_vec(), look).await;
        assert_eq!(begin.elapsed(), LONGEST_LOOK);
        let answers: Vec<_> = found.iter().map(|(_, answer)| answer.as_ref().map_err(Failure::one_line)).collect();
        assert_eq!(answers[0], Err("the storage hangs is out of reach; no answer within 15 s".to_owned()));
        assert!(answers[1].is_err(), "{answers:?}");
        assert_eq!(answers[2], Ok(&names[2]));
    }
}
