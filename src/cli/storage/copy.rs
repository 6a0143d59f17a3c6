//! `qspool storage copy`: a whole storage into another one.

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio_util::sync::CancellationToken;

use crate::cli::args::ConfigArguments;
use crate::cli::client::open_provider;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{self, CAUTION, print_table, styled};
use crate::config::Config;
use crate::job::StorageName;
use crate::service::Signals;
use crate::spooler::{CopyEnd, CopyOptions, CopyProgress, CopyRefusal, CopyReport, PlaceCounts, copy_storage};
use crate::storage::{Provider, StorageErrorKind};

/// How long a storage that has stopped to answer is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// More problems than this are only counted, unless JSON is asked for.
const MOST_PROBLEMS: usize = 20;

#[derive(Debug, Args)]
pub(in crate::cli) struct CopyArguments {
    /// The storage to copy from; it is only read.
    from: StorageName,
    /// The storage to copy to. What it holds already stays.
    to: StorageName,
    /// Copy although spoolers work on jobs of these storages; the jobs that they hold are left out.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    config: ConfigArguments,
    /// Print JSON, for programs.
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) async fn run(arguments: CopyArguments) -> Result<(), Failure> {
    let CopyArguments { from, to, force, config, json } = arguments;
    let config = Config::read(config.config.as_deref())?;
    if from == to {
        return Err(Failure::new(Exit::Usage, format!("the storage {from} cannot be copied to itself")));
    }
    let (source, target) = (active(&config, &from).await?, active(&config, &to).await?);
    let stop = CancellationToken::new();
    let options = CopyOptions { force, patience: PATIENCE };
    let bar = bar(&from, &to);
    let show = |progress: CopyProgress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    };
    let mut signals =
        Signals::take_over().map_err(|error| Failure::new(Exit::Failed, "cannot listen for signals").because(error))?;
    let stopped_at_once = async {
        signals.next().await;
        bar.set_message("stopping after the documents under way");
        stop.cancel();
        signals.next().await;
    };
    let copied = tokio::select! {
        copied = copy_storage(&source, &target, &options, &stop, &show) => copied,
        () = stopped_at_once => return Err(interrupted()),
    };
    bar.finish_and_clear();
    let report = copied.map_err(refused)?;
    if json {
        output::print_json(&report)?;
    } else {
        print(&report)?;
    }
    verdict(report)
}

/// The storage of that name, which has to be active, even to be copied from.
async fn active(config: &Config, name: &StorageName) -> Result<Provider, Failure> {
    let provider = open_provider(config, name).await?;
    provider.storage()?;
    Ok(provider)
}

fn bar(from: &StorageName, to: &StorageName) -> ProgressBar {
    // Nobody watches a file.
    let is_watched = std::io::stderr().is_terminal();
    let target = if is_watched { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(None, target).with_message(format!("{from} to {to}"));
    let template = "{bar:40} {human_pos} of {human_len} documents, {eta} to go  {msg}";
    bar.set_style(ProgressStyle::with_template(template).expect("the template is valid"));
    bar
}

fn interrupted() -> Failure {
    Failure::new(Exit::TryAgain, "the copy was interrupted").hint("the same command goes on where it ended")
}

fn refused(refusal: CopyRefusal) -> Failure {
    let what = "nothing was copied";
    match refusal {
        CopyRefusal::SamePlace(..) => Failure::new(Exit::Usage, what).because(refusal),
        CopyRefusal::Held { .. } => Failure::new(Exit::TryAgain, what)
            .because(refusal)
            .hint("stop them, or leave out the jobs that they hold with --force"),
        CopyRefusal::Storage(_, ref error) => {
            let exit = if error.kind() == StorageErrorKind::Denied { Exit::Configuration } else { Exit::Unavailable };
            Failure::new(exit, what).because(refusal)
        }
    }
}

fn print(report: &CopyReport) -> Result<(), Failure> {
    if report.places.is_empty() {
        output::note(format!("the storage {} is empty", report.from));
        return Ok(());
    }
    let header = ["PLACE", "AT SOURCE", "AT TARGET", "COPIED", "REPLACED", "THERE ALREADY", "FURTHER ON", "FAILED"];
    let mut rows = vec![header.map(String::from).to_vec()];
    rows.extend(report.places.iter().map(row));
    print_table(&rows)?;
    for problem in report.problems.iter().take(MOST_PROBLEMS) {
        output::note(format!("{} {} of {}: {}", styled(CAUTION, "left:"), problem.id, problem.place, problem.what));
    }
    if report.problems.len() > MOST_PROBLEMS {
        let more = report.problems.len() - MOST_PROBLEMS;
        output::note(format!("{} {more} more; --json tells all", styled(CAUTION, "left:")));
    }
    for backend in &report.out_of_order {
        let text = format!("the storage {} does not list the queue of {backend} in its old order", report.to);
        output::note(format!("{} {text}", styled(CAUTION, "note:")));
    }
    Ok(())
}

fn row(counts: &PlaceCounts) -> Vec<String> {
    let PlaceCounts { place, at_source, at_target, copied, replaced, there_already, further_on, failed } = counts;
    let at_target = at_target.map_or_else(|| "?".to_owned(), |count| count.to_string());
    let counts = [copied, replaced, there_already, further_on, failed].map(ToString::to_string);
    [place.clone(), at_source.to_string(), at_target].into_iter().chain(counts).collect()
}

fn verdict(report: CopyReport) -> Result<(), Failure> {
    match report.end {
        CopyEnd::Interrupted => Err(interrupted()),
        CopyEnd::OutOfReach(storage, error) => {
            let (exit, what) = match error.kind() {
                StorageErrorKind::Denied => {
                    (Exit::Configuration, format!("the login at the storage {storage} is refused"))
                }
                _ => (Exit::Unavailable, format!("the storage {storage} is out of reach")),
            };
            Err(Failure::new(exit, what).because(error).hint("the same command goes on where it ended"))
        }
        CopyEnd::Complete if !report.problems.is_empty() => {
            Err(Failure::new(Exit::Failed, format!("{} of the documents were not copied", report.problems.len())))
        }
        CopyEnd::Complete if report.arrived > 0 => {
            let what = format!("{} documents have come to the storage {} meanwhile", report.arrived, report.from);
            Err(Failure::new(Exit::TryAgain, what).hint("the same command copies them as well"))
        }
        CopyEnd::Complete => Ok(()),
    }
}
