//! `qspool run`: the daemon.

use std::path::Path;

use clap::Args;

use super::args::ConfigArguments;
use super::failure::{Exit, Failure};
use super::plan::plan;
use crate::config::Config;
use crate::service::{Log, Signal, Signals, notify};
use crate::spooler::{Plan, Spooler};

#[derive(Debug, Args)]
pub(super) struct RunArguments {
    #[command(flatten)]
    config: ConfigArguments,
}

pub(super) async fn run(arguments: RunArguments) -> Result<(), Failure> {
    let path = arguments.config.config.as_deref();
    let config = Config::read(path)?;
    let plan = plan(&config)?;
    let log = Log::begin(&config.log).map_err(|error| Failure::new(Exit::Configuration, error.to_string()))?;
    let signals =
        Signals::take_over().map_err(|error| Failure::new(Exit::Failed, "cannot listen for signals").because(error))?;
    log_start(&config, &plan);
    let grace = config.spooler.grace_period();
    let spooler = Spooler::start(plan);
    notify::ready();
    work(spooler, signals, path, &log, grace).await;
    Ok(())
}

/// Works until a signal ends it.
async fn work(
    mut spooler: Spooler,
    mut signals: Signals,
    path: Option<&Path>,
    log: &Log,
    mut grace: std::time::Duration,
) {
    loop {
        match signals.next().await {
            Signal::Reload => {
                notify::reloading();
                match reload(path) {
                    Ok((config, plan)) => {
                        log.set_level(&config.log.level);
                        grace = config.spooler.grace_period();
                        log_start(&config, &plan);
                        let stopped = tokio::select! {
                            () = spooler.reload(plan) => false,
                            () = until_stop(&mut signals) => true,
                        };
                        if stopped {
                            break;
                        }
                    }
                    Err(failure) => {
                        let why = failure.one_line();
                        tracing::error!(why, "the configuration is not reloaded; the old one holds");
                    }
                }
                notify::ready();
            }
            Signal::Stop => break,
            Signal::StopNow => return,
        }
    }
    tracing::info!("stopping: no further job is taken; a second signal ends at once");
    notify::stopping(grace);
    tokio::select! {
        () = spooler.drain() => tracing::info!("stopped"),
        () = until_stop(&mut signals) => tracing::warn!("stopped at once; the next start goes on with what was running"),
    }
}

async fn until_stop(signals: &mut Signals) {
    while signals.next().await == Signal::Reload {}
}

fn reload(path: Option<&Path>) -> Result<(Config, Plan), Failure> {
    let config = Config::read(path)?;
    let plan = plan(&config)?;
    Ok((config, plan))
}

fn log_start(config: &Config, plan: &Plan) {
    let names = |names: Vec<String>| names.join(", ");
    tracing::info!(
        configuration = config.origin.file.as_ref().map_or("defaults".into(), |path| path.display().to_string()),
        storages = names(plan.storages.iter().map(|(name, _)| name.to_string()).collect()),
        backends = names(plan.backends.iter().map(|served| served.backend.name().to_string()).collect()),
        version = env!("CARGO_PKG_VERSION"),
        "serving"
    );
}
