//! The doctor on every kind of storage: what dead spoolers, peers and losses leave is found, mended, and gone.

mod common;

use common::{TempStorage, backend, job_id};
use qspool::job::{Document, JobId, JobState, Status};
use qspool::spooler::{Finding, FindingKind, Outcome, SpoolerOptions, examine};
use qspool::storage::{Claim, Place, Provider};

const JOB: &str = r#"{"experiment_0": {"instructions": [["load", [0], []], ["measure", [0], []]], "num_wires": 8,
    "shots": 3, "wire_order": "interleaved"}}"#;

fn result(job: &JobId) -> String {
    format!(r#"{{"job_id": "{job}", "status": "DONE", "results": [{{"data": {{"memory": ["1"]}}}}]}}"#)
}

async fn look(provider: &Provider, repair: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let looked = examine(provider, &SpoolerOptions::default(), repair, |finding| findings.push(finding)).await;
    looked.expect("the storage answers");
    findings.sort_by(|a, b| a.job_id.cmp(&b.job_id));
    findings
}

async fn put(provider: &Provider, number: u32, places: &[Place<'_>], status: impl Fn(&JobId) -> Status) -> JobId {
    let job = job_id(number);
    for place in places {
        let storage = provider.storage().expect("active");
        let text = if place.holds_jobs() { JOB.to_owned() } else { result(&job) };
        storage.upload(*place, &(&job).into(), &Document::from_text(text)).await.expect("uploaded");
    }
    provider.upload_status(&backend(), &job, &status(&job)).await.expect("uploaded");
    job
}

async fn check(temp: TempStorage) {
    let provider = temp.provider().await;
    let name = backend();
    let (finished, results) = (Place::Finished(&name), Place::Results(&name));
    // In order: a job that waits, one that is done, and one that a living spooler holds.
    put(&provider, 1, &[Place::Queued(&name)], Status::accepted).await;
    put(&provider, 2, &[finished, results], Status::done).await;
    let held = put(&provider, 3, &[Place::Queued(&name)], Status::accepted).await;
    let holder = temp.open().await;
    assert!(matches!(holder.claim(&name, &held).await.expect("an answer"), Claim::Won(_)));
    assert_eq!(look(&provider, false).await, [], "all is in order");

    // A peer's claim that nobody works on, an end that was not told, and a job that is done without its result.
    let left = put(&provider, 4, &[Place::Running], Status::accepted).await;
    let untold = put(&provider, 5, &[finished, results], Status::accepted).await;
    let lost = put(&provider, 6, &[finished], Status::done).await;
    // The lease of the holder above must not expire meanwhile, on a medium where it does.
    drop(holder);
    let holds = |found: &[Finding], job: &JobId| found.iter().any(|finding| finding.job_id.as_ref() == Some(job));
    let found = look(&provider, false).await;
    for job in [&left, &untold, &lost] {
        assert!(holds(&found, job), "{job}: {found:?}");
    }
    assert!(found.iter().all(|finding| finding.outcome != Outcome::Repaired), "a look changes nothing");
    assert_eq!(provider.jobs(Place::Running).await.expect("listed").iter().filter(|job| **job == left).count(), 1);

    look(&provider, true).await;
    assert!(provider.queue(&name).await.expect("listed").contains(&left), "it waits again");
    assert_eq!(provider.get_status(&name, &untold).await.expect("there").status, JobState::Done);
    // The result is for a person to find; and nothing else is left to tell, once the dead spooler's job is settled too.
    let found = common::eventually("only what needs a person is left", async || {
        let found = look(&provider, true).await;
        (found.len() == 1).then_some(found)
    })
    .await;
    assert_eq!(
        (found[0].job_id.as_ref(), found[0].kind),
        (Some(&lost), FindingKind::FinishedWithoutResult),
        "{found:?}"
    );
    assert!(provider.queue(&name).await.expect("listed").contains(&held), "the job of the dead spooler waits again");
}

macro_rules! media {
    ($($(#[$gate:meta])? $medium:ident),+ $(,)?) => {
        $($(#[$gate])?
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $medium() {
            check(TempStorage::$medium().await).await;
        })+
    };
}

/// What does not fit is found and mended, and what fits is left alone.
mod what_does_not_fit_is_found_and_mended_on {
    use super::{TempStorage, check};

    media!(
        local,
        #[cfg(feature = "storage-mongodb")]
        mongodb,
        #[cfg(feature = "storage-dropbox")]
        dropbox,
    );
}
