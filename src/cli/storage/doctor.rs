//! `qspool storage doctor`: what does not fit together in a storage, and what to do about it?

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;

use crate::cli::args::StorageArguments;
use crate::cli::client::Client;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{self, BAD, CAUTION, GOOD, NAME, styled};
use crate::job::StorageName;
use crate::spooler::{Examination, Finding, FindingKind, Outcome, examine};

#[derive(Debug, Args)]
pub(in crate::cli) struct DoctorArguments {
    /// Mend what can be mended safely. Jobs in running that no spooler of ours holds are taken over: be sure that no
    /// program that knows no leases works on them.
    #[arg(long)]
    repair: bool,
    #[command(flatten)]
    storage: StorageArguments,
}

/// How many jobs of one finding are shown to people.
const SHOWN: usize = 20;

#[derive(Serialize)]
struct Report<'a> {
    storage: &'a StorageName,
    #[serde(flatten)]
    examination: Examination,
    findings: &'a [Finding],
}

pub(in crate::cli) async fn run(arguments: DoctorArguments) -> Result<(), Failure> {
    let client = Client::open(&arguments.storage).await?;
    let (provider, options) = (&client.provider, &client.config.spooler);
    let mut findings = Vec::new();
    let examination = examine(provider, options, arguments.repair, |finding| findings.push(finding)).await?;
    findings.sort_by(|a, b| (a.kind, &a.place, &a.job_id).cmp(&(b.kind, &b.place, &b.job_id)));
    if arguments.storage.json {
        output::print_json(&Report { storage: provider.name(), examination, findings: &findings })?;
    } else {
        print(&findings)?;
    }
    let Examination { jobs, found, left } = examination;
    let seen = format!("the storage {} has {}", provider.name(), counted(jobs, "job"));
    match (found, left) {
        (0, _) => output::note(format!("{seen}: {}", styled(GOOD, "all is well"))),
        (found, 0) => {
            output::note(format!("{seen}: {}", styled(GOOD, &format!("{} mended", counted(found, "finding")))));
        }
        (found, left) => {
            let of = if found == left { String::new() } else { format!(" of {found}") };
            let failure = Failure::new(Exit::Failed, format!("{seen}: {} left{of}", counted(left, "finding")));
            let repairable = findings.iter().filter(|finding| finding.outcome == Outcome::Repairable).count();
            return Err(match repairable {
                0 => failure,
                count => {
                    failure.hint(format!("{count} of them can be mended safely: `qspool storage doctor --repair`"))
                }
            });
        }
    }
    Ok(())
}

fn counted(count: usize, what: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {what}{ending}")
}

/// Prints each kind of finding once, with the jobs that have it.
fn print(findings: &[Finding]) -> Result<(), Failure> {
    let mut kinds: BTreeMap<FindingKind, Vec<&Finding>> = BTreeMap::new();
    for finding in findings {
        kinds.entry(finding.kind).or_default().push(finding);
    }
    for (kind, findings) in kinds {
        output::print(styled(NAME, kind.heading()))?;
        let mut same: Vec<(&Finding, Vec<String>)> = Vec::new();
        for finding in findings {
            let says = |of: &Finding| (of.problem.clone(), of.advice.clone(), of.outcome);
            match same.iter_mut().find(|(first, _)| says(first) == says(finding)) {
                Some((_, places)) => places.push(place(finding)),
                None => same.push((finding, vec![place(finding)])),
            }
        }
        for (finding, places) in same {
            print_same(finding, &places)?;
        }
    }
    Ok(())
}

fn print_same(finding: &Finding, places: &[String]) -> Result<(), Failure> {
    output::print(format!("  {}", finding.problem))?;
    let (style, label) = match finding.outcome {
        Outcome::Repaired => (GOOD, "mended:"),
        Outcome::Repairable => (CAUTION, "with --repair:"),
        Outcome::ForPeople => (CAUTION, "to do:"),
        Outcome::RepairFailed => (BAD, "not mended:"),
    };
    output::print(format!("  {} {}", styled(style, label), finding.advice))?;
    for place in places.iter().take(SHOWN) {
        output::print(format!("    {place}"))?;
    }
    match places.len().saturating_sub(SHOWN) {
        0 => Ok(()),
        more => output::print(format!("    and {more} more; --json shows all")),
    }
}

/// Where the finding is, with the backend where the place does not tell.
fn place(finding: &Finding) -> String {
    let place = match &finding.job_id {
        Some(job_id) => format!("{}/{job_id}", finding.place),
        None => finding.place.clone(),
    };
    match &finding.backend {
        Some(backend) if !place.contains(backend.as_str()) => format!("{place} ({backend})"),
        _ => place,
    }
}
