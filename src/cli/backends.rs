//! `qspool backends`: who serves what.

use clap::Args;
use futures::{StreamExt, TryStreamExt, future, stream};
use jiff::Timestamp;
use serde::Serialize;

use super::args::AllStoragesArguments;
use super::client::{at_each, open_provider, storages};
use super::failure::{Exit, Failure};
use super::output::{self, print_table};
use crate::config::Config;
use crate::job::{BackendName, BackendStatus, StorageName};
use crate::storage::{Provider, StorageError, StorageErrorKind};

/// How many configurations of one storage are read at the same time.
const AT_ONCE: usize = 8;

#[derive(Debug, Args)]
pub(super) struct BackendsArguments {
    #[command(flatten)]
    storages: AllStoragesArguments,
}

/// One entry of the list for programs.
#[derive(Serialize)]
#[serde(untagged)]
enum Listed {
    Backend {
        storage: StorageName,
        display_name: BackendName,
        description: String,
        #[serde(flatten)]
        status: BackendStatus,
    },
    /// Its configuration cannot be read.
    Unreadable { storage: StorageName, display_name: BackendName, error: String },
    /// Nobody knows which backends it has.
    OutOfReach {
        storage: StorageName,
        #[serde(skip)]
        state: &'static str,
        #[serde(skip)]
        reason: String,
        error: String,
    },
}

pub(super) async fn run(arguments: BackendsArguments) -> Result<(), Failure> {
    let AllStoragesArguments { config, storage, json } = arguments.storages;
    let config = Config::read(config.config.as_deref())?;
    let names = storages(&config, storage.as_ref())?;
    let looks = at_each(names, |name| {
        let config = config.clone();
        async move { look(&open_provider(&config, &name).await?).await }
    });
    let (mut listed, mut failures, mut answered) = (Vec::new(), Vec::new(), Vec::new());
    for (name, found) in looks.await {
        match found {
            Ok(backends) => {
                listed.extend(backends);
                answered.push(name);
            }
            Err(failure) => {
                listed.push(out_of_reach(name, &failure));
                failures.push(failure);
            }
        }
    }
    let has_several = answered.len() + failures.len() > 1;
    if json {
        output::print_json(&listed)?;
    } else if has_several && !listed.is_empty() {
        print_table(&rows(&listed))?;
    } else if !listed.is_empty() && failures.is_empty() {
        // The storage needs no naming.
        print_table(&rows(&listed).into_iter().map(|row| row[1..].to_vec()).collect::<Vec<_>>())?;
    } else if let [name] = &answered[..] {
        output::note(format!("no backend has been served at the storage {name} yet"));
    } else if failures.is_empty() {
        output::note("no backend has been served at any of the storages yet");
    }
    if !answered.is_empty() {
        return Ok(());
    }
    if !has_several {
        return failures.pop().map_or(Ok(()), Err);
    }
    let are_refused = failures.iter().all(|failure| failure.exit() == Exit::Configuration);
    let exit = if are_refused { Exit::Configuration } else { Exit::Unavailable };
    Err(Failure::new(exit, "none of the storages can be used"))
}

/// The backends of one storage, by name.
async fn look(provider: &Provider) -> Result<Vec<Listed>, Failure> {
    let names = stream::iter(provider.get_backends().await?);
    let listed = names.map(|name| look_at(provider, name)).buffered(AT_ONCE).try_filter_map(future::ok);
    Ok(listed.try_collect().await?)
}

/// One backend; none if it was removed just now.
async fn look_at(provider: &Provider, display_name: BackendName) -> Result<Option<Listed>, StorageError> {
    let storage = provider.name().clone();
    match provider.get_config(&display_name).await {
        Ok(config) => {
            let status = config.status(&storage, Timestamp::now());
            Ok(Some(Listed::Backend { storage, display_name, description: config.description, status }))
        }
        Err(error) if error.kind() == StorageErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == StorageErrorKind::Refused => {
            Ok(Some(Listed::Unreadable { storage, display_name, error: error.to_string() }))
        }
        Err(error) => Err(error),
    }
}

fn out_of_reach(storage: StorageName, failure: &Failure) -> Listed {
    let state = match failure.exit() {
        Exit::Configuration => "login refused",
        Exit::Unavailable => "out of reach",
        _ => "not usable",
    };
    Listed::OutOfReach { storage, state, reason: failure.reason(), error: failure.one_line() }
}

fn rows(listed: &[Listed]) -> Vec<Vec<String>> {
    let row = |listed: &Listed| match listed {
        Listed::Backend { storage, display_name, description, status } => {
            let state = if status.operational { "operational" } else { "away" };
            let (version, waiting) = (&status.backend_version, status.pending_jobs.to_string());
            [storage.as_str(), display_name.as_str(), version, state, &waiting, description].map(String::from)
        }
        Listed::Unreadable { storage, display_name, error } => {
            [storage.as_str(), display_name.as_str(), "-", "unreadable", "-", error].map(String::from)
        }
        Listed::OutOfReach { storage, state, reason, .. } => {
            [storage.as_str(), "-", "-", state, "-", reason].map(String::from)
        }
    };
    let header = ["STORAGE", "BACKEND", "VERSION", "STATE", "WAITING", "DESCRIPTION"].map(String::from);
    [header].into_iter().chain(listed.iter().map(row)).map(Vec::from).collect()
}
