//! A spooler dies at every single operation on its storage, of every medium, and the next one brings each job to its
//! one end.

mod common;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::fated::{Death, Fate, Fated, Mortal, away};
use common::{TempStorage, backend, eventually, job_id, plan};
use qspool::job::{Document, JobState, Status};
use qspool::spooler::{Spooler, SpoolerOptions};
use qspool::storage::{MediumOptions, Place, Provider, Renewal, StorageError};
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
        let mortal = Fated { storage, fate: Mortal { operations: Arc::clone(&operations), dies_at, answers } };
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
        // Also of those whose spooler died when only its lease was left to end.
        let storage = provider.storage().expect("active");
        eventually("the end of all leases", async || storage.leases().await.expect("listed").is_empty().then_some(()))
            .await;
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
            let ended = provider.get_job(end, &id).await.expect("the job");
            assert!(temp.is_same(&ended, text), "{case}: the job is what was submitted");
            assert!(provider.get_job(other, &id).await.is_err(), "{case}: only one end");
            let has_result = provider.get_result(&backend, &id).await.is_ok();
            assert_eq!(has_result, state == JobState::Done, "{case}: a result where it is DONE");
        }
        let why = provider.get_status(&backend, &job_id(2)).await.expect("a status").error_message;
        assert!(why.contains("experiment_0, instruction 1 (load)"), "{case}: the reason survives: {why}");
        let storage = provider.storage().expect("active");
        assert_eq!(storage.leases().await.expect("listed"), [], "{case}: nobody holds anything");
        assert_eq!(storage.leftovers(false).await.expect("looked"), [], "{case}: nothing is left over");
    });
    if let MediumOptions::Local(options) = temp.options() {
        assert_eq!(leftovers(&options.base_path), [""; 0], "{case}: nothing of ours is left");
    }
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

/// A medium: how many cases are tried at the same time, and what makes a fresh storage.
#[derive(Clone, Copy)]
struct Medium {
    at_once: usize,
    new: fn() -> TempStorage,
}

impl Medium {
    fn fresh(self) -> TempStorage {
        let temp = (self.new)();
        runtime().block_on(async { submit_all(&temp.provider().await).await });
        temp
    }

    /// Tries every case, several at a time: most of the time they wait for leases to expire.
    fn try_all<T: Send>(self, cases: Vec<T>, case: impl Fn(T) + Sync) {
        let cases = Mutex::new(cases);
        std::thread::scope(|scope| {
            for _ in 0..self.at_once {
                scope.spawn(|| {
                    let next = || cases.lock().expect("no case is taken in a panic").pop();
                    while let Some(one) = next() {
                        case(one);
                    }
                });
            }
        });
    }
}

macro_rules! new {
    ($medium:ident) => {
        || runtime().block_on(TempStorage::$medium())
    };
}

const LOCAL: Medium = Medium { at_once: 2, new: new!(local) };
// One server each.
#[cfg(feature = "storage-mongodb")]
const MONGODB: Medium = Medium { at_once: 2, new: new!(mongodb) };
#[cfg(feature = "storage-dropbox")]
const DROPBOX: Medium = Medium { at_once: 8, new: new!(dropbox) };

fn die_at_every_operation(medium: Medium) {
    let healthy = medium.fresh();
    let operations = run_and_die(&healthy, usize::MAX, Death::Before);
    check_ends(&healthy, "without a death");
    assert!(operations > 20, "{operations} operations: the wrapper is not in the way");
    // There are only so many servers.
    drop(healthy);
    let deaths = |answers| (0..operations).map(move |dies_at| (dies_at, answers));
    let cases = [Death::Before, Death::After].into_iter().flat_map(deaths).collect();
    medium.try_all(cases, |(dies_at, answers)| {
        let temp = medium.fresh();
        run_and_die(&temp, dies_at, answers);
        run_to_the_end(&temp);
        check_ends(&temp, &format!("death at operation {dies_at}, {answers:?}"));
    });
}

fn die_twice(medium: Medium) {
    let cases = (4..40).step_by(5).flat_map(|first| (1..6).map(move |second| (first, second))).collect();
    medium.try_all(cases, |(first, second)| {
        let temp = medium.fresh();
        run_and_die(&temp, first, Death::After);
        std::thread::sleep(temp.expiry());
        run_and_die(&temp, second, Death::After);
        run_to_the_end(&temp);
        check_ends(&temp, &format!("deaths at operations {first} and {second}"));
    });
}

/// Both ways to die, on a medium.
macro_rules! deaths {
    ($name:ident, $medium:expr) => {
        mod $name {
            #[test]
            fn a_spooler_that_dies_at_any_operation_loses_and_doubles_nothing() {
                super::die_at_every_operation($medium);
            }

            #[test]
            fn a_spooler_that_dies_while_it_mends_what_another_left_does_no_harm() {
                super::die_twice($medium);
            }
        }
    };
}

deaths!(local, super::LOCAL);
#[cfg(feature = "storage-mongodb")]
deaths!(mongodb, super::MONGODB);
#[cfg(feature = "storage-dropbox")]
deaths!(dropbox, super::DROPBOX);

/// After the claim every operation of one name fails for longer than the lease is trusted; meanwhile the lease is lost.
struct Oversleeping {
    at: &'static str,
    is_claimed: AtomicBool,
    since: Mutex<Option<Instant>>,
}

/// A quarter of the lease below, and some more.
const LONGER_THAN_TRUSTED: Duration = Duration::from_millis(400);

impl Fate for Oversleeping {
    fn before(&self, operation: &str) -> Result<usize, StorageError> {
        if operation == "claim" {
            self.is_claimed.store(true, Ordering::SeqCst);
        }
        if operation == self.at && self.is_claimed.load(Ordering::SeqCst) {
            let mut since = self.since.lock().expect("nobody panics here");
            if since.get_or_insert_with(Instant::now).elapsed() < LONGER_THAN_TRUSTED {
                return Err(away());
            }
        }
        Ok(0)
    }

    fn renewal(&self) -> Option<Renewal> {
        self.since.lock().expect("nobody panics here").map(|_| Renewal::Lost)
    }
}

/// Lets a spooler lose its lease before a step; afterwards only the steps before it must have been done.
async fn check_late(at: &'static str, has_result: bool, place: Place<'_>) {
    let temp = TempStorage::local().await;
    let observer = temp.provider().await;
    let id = job_id(0);
    observer.upload_status(&backend(), &id, &Status::accepted(&id)).await.expect("accepted");
    observer.upload_job(&backend(), &id, &Document::from_text(GOOD)).await.expect("queued");
    let fate = Oversleeping { at, is_claimed: AtomicBool::new(false), since: Mutex::default() };
    let fated = Arc::new(Fated { storage: temp.open().await, fate });
    let provider = Provider::new("test".parse().expect("a name"), true, Arc::<Fated<_>>::clone(&fated));
    let options = SpoolerOptions { lease_s: 1, grace_period_s: 30, ..options() };
    let spooler = Spooler::start(plan(provider, 1, options));
    eventually("the lease is lost", async || fated.fate.renewal()).await;
    // It ends when it has found out, and not when the grace period is over.
    let begin = Instant::now();
    spooler.drain().await;
    assert!(begin.elapsed() < Duration::from_secs(20), "{at}: the late spooler lets go");
    assert_eq!(observer.get_result(&backend(), &id).await.is_ok(), has_result, "before {at}");
    assert_eq!(observer.jobs(place).await.expect("listed"), std::slice::from_ref(&id), "before {at}");
    assert_eq!(observer.get_status(&backend(), &id).await.expect("there"), Status::accepted(&id), "before {at}");
}

/// The job cannot be moved, since one of its id is at the end already; meanwhile the lease is lost.
#[derive(Default)]
struct TakenOver {
    is_lost: AtomicBool,
    deletes: AtomicUsize,
}

impl Fate for TakenOver {
    fn before(&self, operation: &str) -> Result<usize, StorageError> {
        match operation {
            "move_to" => {
                std::thread::sleep(LONGER_THAN_TRUSTED);
                self.is_lost.store(true, Ordering::SeqCst);
                return Err(StorageError::already_exists(&Place::Deleted, &(&job_id(0)).into()));
            }
            "delete" => {
                self.deletes.fetch_add(1, Ordering::SeqCst);
            }
            _ => {}
        }
        Ok(0)
    }

    fn renewal(&self) -> Option<Renewal> {
        self.is_lost.load(Ordering::SeqCst).then_some(Renewal::Lost)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_was_seen_to_be_lost_is_not_taken_for_ours_a_step_later() {
    let temp = TempStorage::local().await;
    let observer = temp.provider().await;
    let id = job_id(0);
    observer.upload_status(&backend(), &id, &Status::accepted(&id)).await.expect("accepted");
    observer.upload_job(&backend(), &id, &Document::from_text(GOOD)).await.expect("queued");
    let fated = Arc::new(Fated { storage: temp.open().await, fate: TakenOver::default() });
    let provider = Provider::new("test".parse().expect("a name"), true, Arc::<Fated<_>>::clone(&fated));
    let options = SpoolerOptions { lease_s: 1, grace_period_s: 30, ..options() };
    let spooler = Spooler::start(plan(provider, 1, options));
    eventually("the lease is lost", async || fated.fate.renewal()).await;
    spooler.drain().await;
    assert_eq!(fated.fate.deletes.load(Ordering::SeqCst), 0, "the job of another spooler stays in running");
    assert_eq!(observer.jobs(Place::Running).await.expect("listed"), [id]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_spooler_that_lost_its_lease_publishes_nothing_more() {
    check_late("upload", false, Place::Running).await;
    check_late("move_to", true, Place::Running).await;
    check_late("update", true, Place::Finished(&backend())).await;
}
