//! `qspool storage check`: can a storage be reached, and written to?

use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use crate::cli::args::ConfigArguments;
use crate::cli::client::open_provider;
use crate::cli::failure::Failure;
use crate::cli::output::{self, BAD, CAUTION, GOOD, styled, table};
use crate::config::Config;
use crate::job::StorageName;
use crate::storage::Provider;

#[derive(Debug, Args)]
pub(in crate::cli) struct CheckArguments {
    /// The storage.
    name: StorageName,
    #[command(flatten)]
    config: ConfigArguments,
    /// Print JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// What a look at a storage has shown.
pub(in crate::cli) struct Look {
    /// How long it took until the storage answered, or why it did not.
    pub(in crate::cli) reached: Result<Duration, Failure>,
    /// How long it took to write, read and delete a document, or why that failed. Not tried where it did not answer.
    pub(in crate::cli) written: Option<Result<Duration, Failure>>,
    /// The storage, where it answered.
    pub(in crate::cli) provider: Option<Provider>,
}

impl Look {
    /// Opens a storage of the configuration, and writes, reads and deletes a document.
    pub(in crate::cli) async fn at(config: &Config, name: &StorageName) -> Self {
        let begin = Instant::now();
        let provider = match open_provider(config, name).await {
            Ok(provider) => provider,
            Err(failure) => return Self { reached: Err(failure), written: None, provider: None },
        };
        let reached = begin.elapsed();
        let written = match provider.probe().await {
            Ok(()) => Ok(begin.elapsed().saturating_sub(reached)),
            Err(error) => Err(Failure::from(error)),
        };
        Self { reached: Ok(reached), written: Some(written), provider: Some(provider) }
    }

    /// Nothing, or the first that went wrong.
    pub(in crate::cli) fn failure(self) -> Option<Failure> {
        match self {
            Self { reached: Err(failure), .. } | Self { written: Some(Err(failure)), .. } => Some(failure),
            _ => None,
        }
    }
}

#[derive(Serialize)]
struct CheckedStorage<'a> {
    name: &'a StorageName,
    place: String,
    reachable: bool,
    writable: bool,
    reach_ms: Option<f64>,
    write_ms: Option<f64>,
    error: Option<String>,
}

pub(in crate::cli) async fn run(arguments: CheckArguments) -> Result<(), Failure> {
    let CheckArguments { name, config, json } = arguments;
    let config = Config::read(config.config.as_deref())?;
    let look = Look::at(&config, &name).await;
    let Some(options) = config.storages.get(&name) else {
        return look.failure().map_or(Ok(()), Err);
    };
    let written = look.written.as_ref().and_then(|written| written.as_ref().ok()).copied();
    let reached = look.reached.as_ref().ok().copied();
    if !json {
        print(&options.medium.to_string(), &look)?;
    }
    let failure = look.failure();
    if json {
        output::print_json(&CheckedStorage {
            name: &name,
            place: options.medium.to_string(),
            reachable: reached.is_some(),
            writable: written.is_some(),
            reach_ms: reached.map(milliseconds),
            write_ms: written.map(milliseconds),
            error: failure.as_ref().map(Failure::one_line),
        })?;
    }
    failure.map_or(Ok(()), Err)
}

fn print(place: &str, look: &Look) -> Result<(), Failure> {
    let verdict = |done: &Result<Duration, Failure>, what: &str| match done {
        Ok(time) => format!("{} {what}, in {:.1} ms", styled(GOOD, "yes:"), milliseconds(*time)),
        // The reason follows as the error of the command.
        Err(_) => styled(BAD, "no"),
    };
    let written = match &look.written {
        Some(written) => verdict(written, "a document was written, read and deleted"),
        None => styled(CAUTION, "not tried"),
    };
    let rows = [
        ["place".to_owned(), place.to_owned()].to_vec(),
        ["reachable".to_owned(), verdict(&look.reached, "it answers")].to_vec(),
        ["writable".to_owned(), written].to_vec(),
    ];
    output::print(table(&rows))
}

fn milliseconds(time: Duration) -> f64 {
    // Three digits after the point are more than enough.
    (time.as_secs_f64() * 1e6).round() / 1e3
}
