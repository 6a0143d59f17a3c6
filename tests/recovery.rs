//! A spooler dies at every single operation on its storage, and the next one brings each job to its one end.

mod common;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::mortal::{Death, Mortal};
use common::{TempStorage, backend, eventually, job_id, plan};
use qspool::job::{Document, DocumentId, JobId, JobState, Status};
use qspool::spooler::{Spooler, SpoolerOptions};
use qspool::storage::{Place, Provider};
use tokio::runtime::Runtime;

const GOOD: &str = r#"{"experiment_0": {"instructions": [["load", [0], []], ["measure", [0], []]], "num_wires": 8,
    "shots": 3, "wire_order": "interleaved"}}"#;
const INVALID: &str = r#"{"experiment_0": {"instructions": [["jump", [0], []]], "num_wires": 8, "shots": 3,
    "wire_order": "interleaved"}}"#;
const FAILING: &str = r#"{"experiment_0": {"instructions": [["load", [0], []], ["load", [0], []], ["measure", [0], []]],
    "num_wires": 8, "shots": 3, "wire_order": "interleaved"}}"#;

/// The jobs of each case, with the states in which they have to end.
const JOBS: [(&str, JobState); 3] = [(GOOD, JobState::Done), (INVALID, JobState::Error), (FAILING, JobState::Error)];

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn options() -> SpoolerOptions {
    SpoolerOptions { scan_interval_s: 3600, grace_period_s: 0, ..SpoolerOptions::default() }
}

async fn submit_all(provider: &Provider) {
    for (number, (text, _)) in (0..).zip(JOBS) {
        let id = job_id(number);
        provider.upload_status(&backend(), &id, &Status::accepted(&id)).await.expect("accepted");
        provider.upload_job(&backend(), &id, &Document::from_text(text)).await.expect("queued");
    }
}

/// Runs a spooler that dies at an operation, with all that belongs to it; says how many operations it did.
fn run_and_die(temp: &TempStorage, dies_at: usize, answers: Death) -> usize {
    let runtime = runtime();
    let operations = Arc::new(AtomicUsize::new(0));
    runtime.block_on(async {
        let storage = temp.open().await;
        let mortal = Mortal { storage, operations: Arc::clone(&operations), dies_at, answers, loses_leases: false };
        let observer = temp.provider().await;
        let provider = Provider::new("test".parse().expect("a name"), true, Arc::new(mortal));
        let _spooler = Spooler::start(plan(provider, 1, options()));
        eventually("the death of the spooler, or the end of the jobs", async || {
            let died = operations.load(Ordering::SeqCst) > dies_at;
            (died || all_ended(&observer).await).then_some(())
        })
        .await;
        // Whatever is under way ends before the runtime does: the release after a last status, for instance.
        tokio::time::sleep(Duration::from_millis(20)).await;
    });
    runtime.shutdown_timeout(Duration::from_secs(10));
    operations.load(Ordering::SeqCst)
}

async fn all_ended(provider: &Provider) -> bool {
    for (number, _) in (0..).zip(JOBS) {
        let status = provider.get_status(&backend(), &job_id(number)).await;
        if !status.is_ok_and(|status| status.status.is_final()) {
            return false;
        }
    }
    true
}

/// Lets a healthy spooler end all jobs.
fn run_to_the_end(temp: &TempStorage) {
    let runtime = runtime();
    runtime.block_on(async {
        let provider = temp.provider().await;
        let spooler = Spooler::start(plan(provider.clone(), 1, options()));
        eventually("the end of all jobs", async || all_ended(&provider).await.then_some(())).await;
        spooler.drain().await;
    });
}

/// Every job is in exactly one end state, with exactly one result or error, and the status agrees.
fn check_ends(temp: &TempStorage, case: &str) {
    let runtime = runtime();
    runtime.block_on(async {
        let provider = temp.provider().await;
        let backend = backend();
        let jobs = async |place: Place<'_>| provider.jobs(place).await.expect("listed");
        assert_eq!(jobs(Place::Queued(&backend)).await, [], "{case}: nothing waits");
        assert_eq!(jobs(Place::Running).await, [], "{case}: nothing runs");
        for (number, (text, state)) in (0..).zip(JOBS) {
            let id = job_id(number);
            let status = provider.get_status(&backend, &id).await.expect("a status");
            assert_eq!(status.status, state, "{case}: {status:?}");
            let (end, other) = match state {
                JobState::Done => (Place::Finished(&backend), Place::Deleted),
                _ => (Place::Deleted, Place::Finished(&backend)),
            };
            assert_eq!(provider.get_job(end, &id).await.expect("the job"), Document::from_text(text), "{case}");
            assert!(provider.get_job(other, &id).await.is_err(), "{case}: only one end");
            let has_result = provider.get_result(&backend, &id).await.is_ok();
            assert_eq!(has_result, state == JobState::Done, "{case}: a result where it is DONE");
        }
        let why = provider.get_status(&backend, &job_id(2)).await.expect("a status").error_message;
        assert!(why.contains("experiment_0, instruction 1 (load)"), "{case}: the reason survives: {why}");
    });
    assert_eq!(leftovers(temp.path()), [""; 0], "{case}: nothing of ours is left");
}

/// Files of leases, and temporary ones.
fn leftovers(base: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![base.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("listed") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_none_or(|extension| extension != "json") {
                found.push(path.strip_prefix(base).expect("below the base").display().to_string());
            }
        }
    }
    found
}

async fn fresh() -> TempStorage {
    let temp = TempStorage::local().await;
    submit_all(&temp.provider().await).await;
    temp
}

#[test]
fn a_spooler_that_dies_at_any_operation_loses_and_doubles_nothing() {
    let healthy = runtime().block_on(fresh());
    let operations = run_and_die(&healthy, usize::MAX, Death::Before);
    check_ends(&healthy, "without a death");
    assert!(operations > 20, "{operations} operations: the wrapper is not in the way");
    for dies_at in 0..operations {
        for answers in [Death::Before, Death::After] {
            let temp = runtime().block_on(fresh());
            run_and_die(&temp, dies_at, answers);
            run_to_the_end(&temp);
            check_ends(&temp, &format!("death at operation {dies_at}, {answers:?}"));
        }
    }
}

#[test]
fn a_spooler_that_dies_while_it_mends_what_another_left_does_no_harm() {
    for first in (4..40).step_by(5) {
        for second in 1..6 {
            let temp = runtime().block_on(fresh());
            run_and_die(&temp, first, Death::After);
            run_and_die(&temp, second, Death::After);
            run_to_the_end(&temp);
            check_ends(&temp, &format!("deaths at operations {first} and {second}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_outcome_of_a_lost_lease_is_dropped() {
    let temp = fresh().await;
    let operations = Arc::new(AtomicUsize::new(0));
    let mortal = Mortal {
        storage: temp.open().await,
        operations: Arc::clone(&operations),
        dies_at: usize::MAX,
        answers: Death::Before,
        loses_leases: true,
    };
    let provider = Provider::new("test".parse().expect("a name"), true, Arc::new(mortal));
    let spooler = Spooler::start(plan(provider, 1, options()));
    let observer = temp.provider().await;
    eventually("the claim of all jobs", async || {
        (observer.jobs(Place::Running).await.expect("listed").len() == JOBS.len()).then_some(())
    })
    .await;
    spooler.drain().await;
    for (number, _) in (0..).zip(JOBS) {
        let id = job_id(number);
        let status = observer.get_status(&backend(), &id).await.expect("a status");
        assert_eq!(status, Status::accepted(&id), "nothing was published");
        assert!(observer.get_result(&backend(), &id).await.is_err(), "no result was stored");
    }
}
