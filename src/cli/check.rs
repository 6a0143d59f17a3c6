//! `qspool check`: is everything as it should be, and what would run?

use clap::Args;

use super::args::ConfigArguments;
use super::failure::{Exit, Failure};
use super::output::{self, BAD, CAUTION, GOOD, NAME, styled, table};
use super::plan;
use super::signing::{SigningKey, signing_key};
use super::storage::Look;
use crate::backend::Backend;
use crate::config::{self, Config};

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
    let bad_backends = check_backends(&config, matches!(key, Key::Good))?;
    let bad_storages = check_storages(&config, arguments.offline).await?;
    if config.default_storage().is_none() {
        output::note(format!("{} no storage is active, so nothing would be served", styled(CAUTION, "note:")));
    }
    match (bad_backends, bad_storages) {
        (0, _) if matches!(key, Key::Bad) => {
            Err(Failure::new(Exit::Configuration, "the key that signs cannot be used"))
        }
        (0, 0) => Ok(()),
        (0, count) => Err(Failure::new(Exit::Unavailable, format!("{count} of the storages cannot be used"))),
        (count, _) => Err(Failure::new(Exit::Configuration, format!("{count} of the backends cannot be served"))),
    }
}

/// What is with the key that signs.
enum Key {
    NotGiven,
    Good,
    Bad,
}

/// Prints which key signs, if any is given.
fn check_key(config: &Config) -> Result<Key, Failure> {
    let verdict = match signing_key(config) {
        Ok(None) => return Ok(Key::NotGiven),
        Ok(Some(SigningKey { key, origin })) => Ok(format!("{} {}, from {origin}", styled(GOOD, "good:"), key.kid())),
        Err(failure) => Err(format!("{} {}", styled(BAD, "bad:"), failure.reason())),
    };
    output::print(styled(NAME, "key that signs"))?;
    output::print(format!("  {}", verdict.as_ref().unwrap_or_else(|bad| bad)))?;
    Ok(if verdict.is_ok() { Key::Good } else { Key::Bad })
}

/// Prints a line per backend, and counts the bad ones.
fn check_backends(config: &Config, has_key: bool) -> Result<usize, Failure> {
    let schemas = plan::schemas(config)?;
    output::print(styled(NAME, "backends"))?;
    let (mut rows, mut bad) = (Vec::new(), 0);
    for (name, options) in plan::backends(config, &schemas) {
        let verdict = match Backend::open(&name, &options, &schemas) {
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

/// Prints a line per storage, and counts those that are active and cannot be used.
async fn check_storages(config: &Config, offline: bool) -> Result<usize, Failure> {
    output::print(styled(NAME, "storages"))?;
    let (mut rows, mut bad) = (Vec::new(), 0);
    for (name, options) in &config.storages {
        let place = &options.medium;
        let verdict = if !options.active {
            format!("{} {place}; it is not active", styled(CAUTION, "left out:"))
        } else if offline {
            format!("{} {place}; not looked at", styled(CAUTION, "offline:"))
        } else {
            match Look::at(config, name).await.failure() {
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
    Ok(bad)
}
