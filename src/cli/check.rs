//! `qspool check`: is everything as it should be, and what would run?

use std::sync::Arc;

use clap::Args;

use super::args::ConfigArguments;
use super::failure::{Exit, Failure};
use super::output::{self, BAD, CAUTION, GOOD, NAME, styled, table};
use super::plan;
use super::signing::{SigningKey, signing_key};
use super::storage::Look;
use crate::config::{self, Config};
use crate::signing::PrivateKey;
use crate::storage::{Provider, StorageErrorKind};

#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Leave the storages alone: only configuration and schemas.
    #[arg(long)]
    offline: bool,
    /// Print a sample configuration with every setting, its meaning and its default, and check nothing.
    #[arg(long, conflicts_with_all = ["offline", "config"])]
    sample: bool,
}

pub(super) async fn run(arguments: CheckArguments) -> Result<(), Failure> {
    if arguments.sample {
        output::print(config::sample().trim_end())?;
        return Ok(());
    }
    let config = Config::read(arguments.config.config.as_deref())?;
    output::print(styled(NAME, "configuration"))?;
    output::print(format!("  {}", config.origin))?;
    let key = check_key(&config)?;
    let bad_backends = check_backends(&config, matches!(key, Key::Good(_)))?;
    let Storages { bad: bad_storages, open } = check_storages(&config, arguments.offline).await?;
    let foreign = check_owners(&config, &key, &open).await?;
    if config.default_storage().is_none() {
        output::note(format!("{} no storage is active, so nothing would be served", styled(CAUTION, "note:")));
    }
    match (bad_backends, bad_storages) {
        (0, _) if matches!(key, Key::Bad) => {
            Err(Failure::new(Exit::Configuration, "the key that signs cannot be used"))
        }
        (0, 0) if foreign > 0 => Err(Failure::new(
            Exit::Configuration,
            format!("{foreign} of the backends cannot be served at a storage, since others own their names there"),
        )),
        (0, 0) => Ok(()),
        (0, count) => Err(Failure::new(Exit::Unavailable, format!("{count} of the storages cannot be used"))),
        (count, _) => Err(Failure::new(Exit::Configuration, format!("{count} of the backends cannot be served"))),
    }
}

/// What is with the key that signs.
enum Key {
    NotGiven,
    Good(Arc<PrivateKey>),
    Bad,
}

/// Prints which key signs, if any is given.
fn check_key(config: &Config) -> Result<Key, Failure> {
    let (key, verdict) = match signing_key(config) {
        Ok(None) => return Ok(Key::NotGiven),
        Ok(Some(SigningKey { key, origin })) => {
            let verdict = format!("{} {}, from {origin}", styled(GOOD, "good:"), key.kid());
            (Key::Good(key), verdict)
        }
        Err(failure) => (Key::Bad, format!("{} {}", styled(BAD, "bad:"), failure.reason())),
    };
    output::print(styled(NAME, "key that signs"))?;
    output::print(format!("  {verdict}"))?;
    Ok(key)
}

/// Prints a line per backend, and counts the bad ones.
fn check_backends(config: &Config, has_key: bool) -> Result<usize, Failure> {
    let schemas = plan::schemas(config)?;
    output::print(styled(NAME, "backends"))?;
    let (mut rows, mut bad) = (Vec::new(), 0);
    for (name, options) in plan::backends(config, &schemas) {
        let verdict = match plan::open_backend(&config.drivers, &name, &options, &schemas) {
            Ok(_) if options.sign && !has_key => {
                bad += 1;
                format!("{} it is to sign, and there is no key that it could sign with", styled(BAD, "bad:"))
            }
            Ok(backend) => {
                let configuration = backend.configuration();
                let workers = match options.workers {
                    1 => "1 worker".to_owned(),
                    count => format!("{count} workers"),
                };
                let signed = if options.sign { ", signed" } else { "" };
                format!("{} version {}, {workers}{signed}", styled(GOOD, "good:"), configuration.version)
            }
            Err(error) => {
                bad += 1;
                format!("{} {error}", styled(BAD, "bad:"))
            }
        };
        rows.push(vec![format!("  {name}"), verdict]);
    }
    output::print(table(&rows))?;
    Ok(bad)
}

/// What became of the storages.
struct Storages {
    /// How many are active and cannot be used.
    bad: usize,
    /// Those that answered.
    open: Vec<Provider>,
}

/// Prints a line per storage.
async fn check_storages(config: &Config, offline: bool) -> Result<Storages, Failure> {
    output::print(styled(NAME, "storages"))?;
    let (mut rows, mut bad, mut open) = (Vec::new(), 0, Vec::new());
    for (name, options) in &config.storages {
        let place = &options.medium;
        let verdict = if !options.active {
            format!("{} {place}; it is not active", styled(CAUTION, "left out:"))
        } else if offline {
            format!("{} {place}; not looked at", styled(CAUTION, "offline:"))
        } else {
            let mut look = Look::at(config, name).await;
            open.extend(look.provider.take());
            match look.failure() {
                None => format!("{} {place}; documents can be written, read and deleted", styled(GOOD, "good:")),
                Some(failure) => {
                    bad += 1;
                    format!("{} {}", styled(BAD, "bad:"), failure.to_string().replace('\n', "\n    "))
                }
            }
        };
        rows.push(vec![format!("  {name}"), verdict]);
    }
    output::print(table(&rows))?;
    Ok(Storages { bad, open })
}

/// Counts the backends whose names belong to the keys of others at a storage, and says so of each.
async fn check_owners(config: &Config, key: &Key, storages: &[Provider]) -> Result<usize, Failure> {
    let mut foreign = 0;
    for (name, options) in plan::backends(config, &plan::schemas(config)?) {
        let key = match key {
            Key::Good(key) if options.sign => Some(&**key),
            _ => None,
        };
        let is_served_at =
            |storage: &&Provider| options.storage.as_ref().is_none_or(|names| names.contains(storage.name()));
        for storage in storages.iter().filter(is_served_at) {
            // What else may be wrong with it was said of the storage.
            if let Err(error) = storage.check_owner(&name, key).await
                && error.kind() == StorageErrorKind::Refused
            {
                foreign += 1;
                output::print(format!("{} {error}", styled(BAD, "bad:")))?;
            }
        }
    }
    Ok(foreign)
}
