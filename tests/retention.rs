//! Old documents are removed with everything that belongs to them, and nothing else ever is.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::fated::{Death, Fate, Fated, Mortal};
use common::{TempStorage, backend, job_id, plan};
use jiff::Timestamp;
use qspool::job::{BackendName, Document, JobId, Status};
use qspool::spooler::{Spooler, SpoolerOptions, Swept, sweep};
use qspool::storage::{Claim, Place, Provider, Storage, StorageError};
use tokio_util::sync::CancellationToken;

/// Calls every check of the suite with a fresh storage of the medium.
macro_rules! retention_suite {
    ($($medium:ident),+) => {
        $(mod $medium {
            retention_suite!($medium:
                what_is_old_goes_with_all_that_belongs_to_it_and_nothing_else_does,
                a_job_with_a_lease_stays_whole,
                two_that_sweep_at_once_do_no_harm,
                a_sweep_that_is_stopped_removes_nothing_more,
            );
        })+
    };
    ($medium:ident: $($check:ident),+ $(,)?) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $check() {
            super::$check(crate::common::TempStorage::$medium().await).await;
        })+
    };
}

retention_suite!(local);
#[cfg(feature = "storage-dropbox")]
retention_suite!(dropbox);
#[cfg(feature = "storage-mongodb")]
retention_suite!(mongodb);

/// Some media tell times in whole seconds, so old and new lie further apart.
const APART: Duration = Duration::from_millis(2100);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    Old,
    New,
}

/// Where the job of a case lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lies {
    Nowhere,
    Queued,
    Running,
    Finished,
    Deleted,
}

/// A job and what belongs to it, with the ages.
#[derive(Debug, Clone)]
struct Case {
    id: JobId,
    backend: BackendName,
    lies: Lies,
    job: Age,
    status: Option<Age>,
    result: Option<Age>,
}

impl Case {
    /// Every document of the case.
    fn documents(&self) -> Vec<(Place<'_>, Age)> {
        let backend = &self.backend;
        let job = match self.lies {
            Lies::Nowhere => None,
            Lies::Queued => Some(Place::Queued(backend)),
            Lies::Running => Some(Place::Running),
            Lies::Finished => Some(Place::Finished(backend)),
            Lies::Deleted => Some(Place::Deleted),
        };
        let documents = [
            job.map(|place| (place, self.job)),
            self.status.map(|age| (Place::Status(backend), age)),
            self.result.map(|age| (Place::Results(backend), age)),
        ];
        documents.into_iter().flatten().collect()
    }

    fn stays(&self) -> bool {
        let may_go = matches!(self.lies, Lies::Nowhere | Lies::Finished | Lies::Deleted);
        !may_go || self.documents().iter().any(|(_, age)| *age == Age::New)
    }
}

/// Every combination of places and ages.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let ages = [None, Some(Age::Old), Some(Age::New)];
    for backend in ["fermions", "rydberg"] {
        for lies in [Lies::Nowhere, Lies::Queued, Lies::Running, Lies::Finished, Lies::Deleted] {
            for job in [Age::Old, Age::New] {
                for status in ages {
                    for result in ages {
                        let id = job_id(u32::try_from(cases.len()).expect("few cases"));
                        let backend = backend.parse().expect("a name");
                        cases.push(Case { id, backend, lies, job, status, result });
                    }
                }
            }
        }
    }
    cases
}

async fn upload(storage: &dyn Storage, place: Place<'_>, id: &JobId) {
    storage.upload(place, &id.into(), &Document::new(&Status::accepted(id))).await.expect("uploaded");
}

/// Uploads the documents of that age.
async fn upload_those(storage: &dyn Storage, cases: &[Case], wanted: Age) {
    for case in cases {
        for (place, age) in case.documents() {
            if age == wanted {
                upload(storage, place, &case.id).await;
            }
        }
    }
}

/// The time that lies after what is there already and before what comes now. Media that keep no times of their own are
/// asked for the first time here.
async fn now_and_later(storage: &dyn Storage) -> Timestamp {
    let all = ["fermions", "rydberg"].map(|name| name.parse::<BackendName>().expect("a name"));
    let mut places = vec![Place::Deleted, Place::Running];
    for backend in &all {
        places.extend([Place::Queued, Place::Finished, Place::Status, Place::Results].map(|place| place(backend)));
    }
    for place in places {
        storage.unchanged_since(place, Timestamp::now()).await.expect("an answer");
    }
    tokio::time::sleep(APART).await;
    let between = Timestamp::now();
    tokio::time::sleep(APART).await;
    between
}

async fn found(storage: &dyn Storage) -> BTreeSet<String> {
    let all = ["fermions", "rydberg"].map(|name| name.parse::<BackendName>().expect("a name"));
    let mut places = vec![Place::Deleted, Place::Running, Place::Configs, Place::PublicKeys];
    for backend in &all {
        places.extend([Place::Queued, Place::Finished, Place::Status, Place::Results].map(|place| place(backend)));
    }
    let mut found = BTreeSet::new();
    for place in places {
        found.extend(storage.list(place).await.expect("listed").into_iter().map(|id| format!("{place}/{id}")));
    }
    found
}

async fn sweep_all(storage: &dyn Storage, before: Timestamp) -> Swept {
    sweep(storage, before, &CancellationToken::new()).await.expect("swept")
}

async fn what_is_old_goes_with_all_that_belongs_to_it_and_nothing_else_does(temp: TempStorage) {
    let storage = temp.open().await;
    let cases = cases();
    upload_those(&*storage, &cases, Age::Old).await;
    // Old, and never to be removed.
    let (kid, name) = ("lab.key-1".parse().expect("a kid"), "fermions".parse().expect("a name"));
    let key = Document::from_text(r#"{"kid": "lab.key-1"}"#);
    let config = Document::from_text(r#"{"display_name": "fermions"}"#);
    storage.upload(Place::PublicKeys, &kid, &key).await.expect("uploaded");
    storage.upload(Place::Configs, &name, &config).await.expect("uploaded");
    let between = now_and_later(&*storage).await;
    upload_those(&*storage, &cases, Age::New).await;
    let all = found(&*storage).await;
    let gone: BTreeSet<String> = cases
        .iter()
        .filter(|case| !case.stays())
        .flat_map(|case| case.documents().into_iter().map(|(place, _)| format!("{place}/{}", case.id)))
        .collect();
    assert!(gone.len() > 30 && all.len() > 2 * gone.len(), "{} of {}", gone.len(), all.len());

    let swept = sweep_all(&*storage, between).await;
    let left = found(&*storage).await;
    let expected: BTreeSet<String> = all.difference(&gone).cloned().collect();
    let wrong: Vec<_> = left.symmetric_difference(&expected).collect();
    assert!(wrong.is_empty(), "removed in error or left in error: {wrong:?}");
    assert_eq!(swept.jobs + swept.statuses + swept.results, gone.len() as u64, "{swept:?}");
    assert_eq!(sweep_all(&*storage, between).await, Swept::default(), "nothing is left to do");
}

async fn a_job_with_a_lease_stays_whole(temp: TempStorage) {
    let storage = temp.open().await;
    let (held, free) = (job_id(1), job_id(2));
    for id in [&held, &free] {
        upload(&*storage, Place::Queued(&backend()), id).await;
        let Claim::Won(lease) = storage.claim(&backend(), id).await.expect("an answer") else { panic!("{id}") };
        upload(&*storage, Place::Results(&backend()), id).await;
        upload(&*storage, Place::Status(&backend()), id).await;
        storage.move_to(Place::Running, Place::Finished(&backend()), &id.into()).await.expect("moved");
        if id == &free {
            storage.release(&lease).await.expect("released");
        }
    }
    let between = now_and_later(&*storage).await;
    assert_eq!(sweep_all(&*storage, between).await, Swept { jobs: 1, statuses: 1, results: 1 });
    let left = found(&*storage).await;
    assert_eq!(left.len(), 3, "{left:?}");
    assert!(left.iter().all(|path| path.ends_with(held.as_str())), "{left:?}");
}

/// Old documents of three kinds: a job that is done, one that failed, and a status without a job.
async fn upload_old(storage: &dyn Storage, count: u32) {
    let backend = backend();
    for number in 0..count {
        let (done, failed, lost) = (job_id(3 * number), job_id(3 * number + 1), job_id(3 * number + 2));
        for place in [Place::Finished(&backend), Place::Results(&backend), Place::Status(&backend)] {
            upload(storage, place, &done).await;
        }
        upload(storage, Place::Deleted, &failed).await;
        for id in [&failed, &lost] {
            upload(storage, Place::Status(&backend), id).await;
        }
    }
}

async fn two_that_sweep_at_once_do_no_harm(temp: TempStorage) {
    let (one, other) = (temp.open().await, temp.open().await);
    upload_old(&*one, 20).await;
    let between = now_and_later(&*one).await;
    let (first, second) = tokio::join!(sweep_all(&*one, between), sweep_all(&*other, between));
    assert_eq!(found(&*one).await, BTreeSet::new());
    assert_eq!(first.jobs + second.jobs, 40, "{first:?} {second:?}");
    assert_eq!(first.statuses + second.statuses, 60, "{first:?} {second:?}");
}

async fn a_sweep_that_is_stopped_removes_nothing_more(temp: TempStorage) {
    let storage = temp.open().await;
    upload_old(&*storage, 2).await;
    let between = now_and_later(&*storage).await;
    let before = found(&*storage).await;
    let stop = CancellationToken::new();
    stop.cancel();
    assert_eq!(sweep(&*storage, between, &stop).await.expect("an answer"), Swept::default());
    assert_eq!(found(&*storage).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_cut_at_any_operation_is_ended_by_the_next() {
    let prepared = async || {
        let temp = TempStorage::local().await;
        upload_old(&*temp.open().await, 1).await;
        temp
    };
    let mortal = async |temp: &TempStorage, dies_at: usize, answers: Death| {
        let operations = Arc::new(AtomicUsize::new(0));
        let storage = temp.open().await;
        Fated { storage, fate: Mortal { operations, dies_at, answers } }
    };
    let healthy = prepared().await;
    let mut storages = Vec::new();
    // More than there are operations: those at the end are swept without a death.
    for dies_at in 0..40 {
        for answers in [Death::Before, Death::After] {
            storages.push((prepared().await, dies_at, answers));
        }
    }
    let between = now_and_later(&*healthy.open().await).await;
    let counted = mortal(&healthy, usize::MAX, Death::Before).await;
    sweep_all(&counted, between).await;
    let operations = counted.fate.operations.load(Ordering::SeqCst);
    assert!((15..40).contains(&operations), "{operations} operations");
    for (temp, dies_at, answers) in storages {
        let case = format!("death at operation {dies_at}, {answers:?}");
        let storage = mortal(&temp, dies_at, answers).await;
        let cut = sweep(&storage, between, &CancellationToken::new()).await;
        assert_eq!(cut.is_err(), dies_at < operations, "{case}: {cut:?}");
        let left = found(&*temp.open().await).await;
        for (about, job) in [("results", "finished"), ("status", "finished")] {
            let has = |place: &str| left.contains(&format!("{place}/fermions/{}", job_id(0)));
            assert!(!has(about) || has(&format!("jobs/{job}")), "{case}: the job goes last: {left:?}");
        }
        sweep_all(&*temp.open().await, between).await;
        assert_eq!(found(&*temp.open().await).await, BTreeSet::new(), "{case}");
    }
}

/// Counts the times at which something asks for old documents.
struct Counted(Arc<AtomicUsize>);

impl Fate for Counted {
    fn before(&self, operation: &str) -> Result<usize, StorageError> {
        if operation == "unchanged_since" {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
        Ok(0)
    }
}

/// How often a spooler asks for old documents within its first minutes and hours, by a clock that jumps.
async fn asked(retention_days: Option<u32>, minutes: &[u64]) -> Vec<usize> {
    let temp = TempStorage::local().await;
    let count = Arc::new(AtomicUsize::new(0));
    let storage = Fated { storage: temp.open().await, fate: Counted(Arc::clone(&count)) };
    let provider = Provider::new("test".parse().expect("a name"), true, Arc::new(storage));
    let options = SpoolerOptions { retention_days, scan_interval_s: 3600, ..SpoolerOptions::default() };
    let spooler = Spooler::start(plan(provider, 1, options));
    let begin = tokio::time::Instant::now();
    let mut asked = Vec::new();
    for minute in minutes {
        tokio::time::sleep_until(begin + Duration::from_secs(60 * minute + 30)).await;
        asked.push(count.swap(0, Ordering::SeqCst));
    }
    spooler.drain().await;
    asked
}

#[tokio::test(start_paused = true)]
async fn a_spooler_sweeps_some_minutes_after_its_start_and_then_every_hour() {
    let asked = asked(Some(30), &[1, 4, 5, 63, 66]).await;
    let swept: Vec<bool> = asked.iter().map(|count| *count > 0).collect();
    assert_eq!(swept, [false, false, true, false, true], "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn without_a_retention_time_nothing_is_swept() {
    assert_eq!(asked(None, &[10, 200]).await, [0, 0]);
}
