//! Whole storages are copied: between any two media, cut off anywhere, and with something else at the target already.

mod common;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use common::fated::{Death, Fated, Mortal};
use common::{TempStorage, backend, eventually, job_id, package_file};
use qspool::job::{BackendConfig, BackendName, Document, DocumentId, JobId, Status};
use qspool::spooler::{CopyEnd, CopyOptions, CopyRefusal, CopyReport, copy_storage};
use qspool::storage::{Claim, Holder, Lease, Place, Provider, Storage, StorageErrorKind};
use rustix::process::{Pid, Signal, kill_process};
use tokio_util::sync::CancellationToken;

/// Calls every check of the suite with a fresh source and a fresh target.
macro_rules! copy_suite {
    ($pair:ident: $from:ident => $to:ident) => {
        copy_suite!($pair: $from => $to:
            every_document_arrives_and_the_source_stays,
            a_second_copy_writes_nothing,
            a_copy_cut_at_any_operation_goes_on_where_it_ended,
            a_queue_keeps_its_order,
            what_differs_is_told_and_left_as_it_is,
            of_two_configurations_the_later_one_stays,
            a_job_that_the_target_has_run_is_not_queued_again,
            a_job_that_the_source_has_run_leaves_the_queue_of_the_target,
            the_running_job_of_a_dead_spooler_is_queued_first,
            an_end_that_a_dead_spooler_has_not_told_is_told_at_the_target,
            nothing_is_copied_while_a_spooler_works,
            a_storage_is_not_copied_to_itself,
            a_copy_that_is_stopped_says_so_and_goes_on_later,
        );
    };
    ($pair:ident: $from:ident => $to:ident: $($check:ident),+ $(,)?) => {
        mod $pair {
            use crate::common::TempStorage;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                super::$check(TempStorage::$from().await, TempStorage::$to().await).await;
            })+
        }
    };
}

copy_suite!(local_to_local: local => local);
#[cfg(feature = "storage-dropbox")]
copy_suite!(local_to_dropbox: local => dropbox);
#[cfg(feature = "storage-dropbox")]
copy_suite!(dropbox_to_local: dropbox => local);
#[cfg(feature = "storage-mongodb")]
copy_suite!(local_to_mongodb: local => mongodb);
#[cfg(feature = "storage-mongodb")]
copy_suite!(mongodb_to_local: mongodb => local);

const TEXT: &str = r#"{"experiment_0": {"shots":  1}}"#;

/// The document of the recorded tree that lies at this path.
struct Recorded {
    place: OwnedPlace,
    id: DocumentId,
    text: String,
}

/// A place with its backend.
#[derive(Debug, Clone, PartialEq, Eq)]
struct OwnedPlace {
    path: String,
    backend: BackendName,
}

impl OwnedPlace {
    /// The place of a path such as `jobs/queued/fermions`.
    fn new(path: &str) -> Self {
        let last = path.rsplit('/').next().expect("a path has a last part");
        Self { path: path.to_owned(), backend: last.parse().unwrap_or_else(|_| backend()) }
    }

    fn get(&self) -> Place<'_> {
        let backend = &self.backend;
        let places = [Place::Configs, Place::PublicKeys, Place::Running, Place::Deleted];
        let of_backend = [Place::Queued, Place::Finished, Place::Status, Place::Results].map(|place| place(backend));
        let mut places = places.into_iter().chain(of_backend);
        places.find(|place| place.to_string() == self.path).expect("a place of the contract")
    }
}

/// The storage folder that the reference has left, below `tests/golden`.
fn recorded() -> Vec<Recorded> {
    let base = package_file("tests/golden/local-tree");
    let mut found = Vec::new();
    let mut folders = vec![base.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("listed") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "json") {
                let place = folder.strip_prefix(&base).expect("below the base").to_str().expect("a name");
                let id = path.file_stem().and_then(|stem| stem.to_str()).expect("a name").parse().expect("an id");
                let text = std::fs::read_to_string(&path).expect("read");
                found.push(Recorded { place: OwnedPlace::new(place), id, text });
            }
        }
    }
    found.sort_by(|a, b| (&a.place.path, &a.id).cmp(&(&b.place.path, &b.id)));
    assert!(found.len() > 20, "the recorded tree is there");
    found
}

/// Fills a storage with the recorded tree: documents of every kind, signed ones too, and jobs that a peer has left in
/// running.
async fn fill(storage: &dyn Storage) {
    upload(storage, recorded()).await;
}

async fn upload(storage: &dyn Storage, documents: Vec<Recorded>) {
    for Recorded { place, id, text } in documents {
        storage.upload(place.get(), &id, &Document::from_text(text)).await.expect("uploaded");
    }
}

/// Where each document of the recorded tree lies after a copy: the running jobs in the queues of their backends.
fn copied() -> Vec<Recorded> {
    after_copy(recorded())
}

fn after_copy(all: Vec<Recorded>) -> Vec<Recorded> {
    let backend_of: HashMap<DocumentId, BackendName> = all
        .iter()
        .filter(|document| document.place.path.starts_with("status/"))
        .map(|document| (document.id.clone(), document.place.backend.clone()))
        .collect();
    let moved = |document: Recorded| match document.place.path.as_str() {
        "jobs/running" => {
            let path = format!("jobs/queued/{}", backend_of[&document.id]);
            Recorded { place: OwnedPlace::new(&path), ..document }
        }
        _ => document,
    };
    all.into_iter().map(moved).collect()
}

/// All documents of a storage by place and id.
async fn contents(storage: &dyn Storage) -> BTreeMap<(String, DocumentId), Document> {
    let backends = storage.backends().await.expect("listed");
    let mut places = vec![Place::Configs, Place::PublicKeys, Place::Running, Place::Deleted];
    for backend in &backends {
        places.extend([Place::Queued, Place::Finished, Place::Status, Place::Results].map(|place| place(backend)));
    }
    let mut found = BTreeMap::new();
    for place in places {
        for id in storage.list(place).await.expect("listed") {
            let document = storage.get(place, &id).await.expect("read");
            found.insert((place.to_string(), id), document);
        }
    }
    found
}

/// The target has all these documents, and no others.
async fn check_copied(from: &TempStorage, to: &TempStorage, documents: Vec<Recorded>, case: &str) {
    let mut found = contents(&*to.open().await).await;
    for Recorded { place, id, text } in documents {
        let document = found.remove(&(place.path.clone(), id.clone()));
        let document = document.unwrap_or_else(|| panic!("{case}: {id} is missing at {}", place.path));
        let is_same = from.is_same(&document, &text) || to.is_same(&document, &text);
        assert!(is_same, "{case}: {id} at {}: {document:?}", place.path);
    }
    assert!(found.is_empty(), "{case}: {found:?}");
}

const OPTIONS: CopyOptions = CopyOptions { force: false, patience: Duration::ZERO };

async fn try_copy(from: &Provider, to: &Provider, options: &CopyOptions) -> Result<CopyReport, CopyRefusal> {
    copy_storage(from, to, options, &CancellationToken::new(), &|_| ()).await
}

/// Copies what nothing stands in the way of.
async fn copy(from: &TempStorage, to: &TempStorage) -> CopyReport {
    let report = try_copy(&from.provider().await, &to.provider().await, &OPTIONS).await.expect("nothing refuses");
    assert!(matches!(report.end, CopyEnd::Complete), "{report:?}");
    report
}

async fn copy_all(from: &TempStorage, to: &TempStorage) -> CopyReport {
    let report = copy(from, to).await;
    assert!(report.is_whole() && report.out_of_order.is_empty() && report.arrived == 0, "{report:?}");
    report
}

async fn put(storage: &dyn Storage, place: Place<'_>, id: &JobId, text: &str) {
    storage.upload(place, &id.into(), &Document::from_text(text)).await.expect("uploaded");
}

async fn put_status(storage: &dyn Storage, id: &JobId, status: &Status) {
    storage.upload(Place::Status(&backend()), &id.into(), &Document::new(status)).await.expect("uploaded");
}

async fn submitted(storage: &dyn Storage, id: &JobId) {
    put_status(storage, id, &Status::accepted(id)).await;
    put(storage, Place::Queued(&backend()), id, TEXT).await;
}

async fn claimed(storage: &dyn Storage, id: &JobId) -> Lease {
    let claim = storage.claim(&backend(), id).await.expect("an answer");
    let Claim::Won(lease) = claim else { panic!("{claim:?}") };
    lease
}

async fn every_document_arrives_and_the_source_stays(from: TempStorage, to: TempStorage) {
    let source = from.open().await;
    fill(&*source).await;
    for text in ["20240101_120000-fermions-ada.l-0a1b2", "a", "A_-", "a.b", &"x".repeat(128)] {
        submitted(&*source, &text.parse().expect("an id")).await;
    }
    let before = contents(&*source).await;
    let report = copy_all(&from, &to).await;
    assert_eq!(contents(&*source).await, before, "the source is only read");
    let target = to.open().await;
    let found = contents(&*target).await;
    for ((place, id), document) in &before {
        let at = match place.as_str() {
            "jobs/running" => found.iter().find(|((place, found), _)| place.starts_with("jobs/queued") && found == id),
            _ => found.get_key_value(&(place.clone(), id.clone())),
        };
        let (_, copy) = at.unwrap_or_else(|| panic!("{id} of {place} is missing"));
        let text = str::from_utf8(document.text()).expect("is text");
        assert!(from.is_same(copy, text) || to.is_same(copy, text), "{id} of {place}: {copy:?}");
    }
    assert_eq!(found.len(), before.len());
    let sum = |count: fn(&qspool::spooler::PlaceCounts) -> u64| report.places.iter().map(count).sum::<u64>();
    assert_eq!((sum(|place| place.at_source), sum(|place| place.copied)), (before.len() as u64, before.len() as u64));
    let queue = report.places.iter().find(|place| place.place == "jobs/queued/plainqc").expect("it has one job");
    assert_eq!((queue.at_source, queue.at_target), (1, Some(2)), "one more came out of running");
}

async fn a_second_copy_writes_nothing(from: TempStorage, to: TempStorage) {
    fill(&*from.open().await).await;
    let first = copy_all(&from, &to).await;
    let second = copy_all(&from, &to).await;
    for (first, second) in first.places.iter().zip(&second.places) {
        assert_eq!((second.copied, second.replaced, second.there_already), (0, 0, first.copied), "{second:?}");
    }
    check_copied(&from, &to, copied(), "twice").await;
}

/// A target that dies at an operation.
async fn mortal(to: &TempStorage, dies_at: usize, answers: Death) -> (Provider, Arc<AtomicUsize>) {
    let operations = Arc::new(AtomicUsize::new(0));
    let storage = to.open().await;
    let mortal = Fated { storage, fate: Mortal { operations: Arc::clone(&operations), dies_at, answers } };
    (Provider::new("mortal".parse().expect("a name"), true, Arc::new(mortal)), operations)
}

/// What a half-finished copy must not show: a DONE without its result, or a job to run without its status.
async fn check_misleads_nobody(to: &TempStorage, case: &str) {
    let found = contents(&*to.open().await).await;
    for ((place, id), document) in &found {
        let (kind, backend) = place.rsplit_once('/').expect("a path");
        let has = |kind: &str| found.contains_key(&(format!("{kind}/{backend}"), id.clone()));
        match kind {
            "status" => {
                let status: Status = document.read("status").expect("a status");
                let is_done = format!("{:?}", status.status) == "Done";
                assert!(!is_done || has("results"), "{case}: {id} says DONE without a result");
            }
            "jobs/queued" | "jobs/finished" => assert!(has("status"), "{case}: {id} of {place} without a status"),
            _ => {}
        }
    }
}

async fn a_copy_cut_at_any_operation_goes_on_where_it_ended(from: TempStorage, to: TempStorage) {
    let resolution = to.open().await.arrival_resolution();
    // One document of each kind is enough.
    let few = || {
        let mut few = recorded();
        let ids: Vec<_> =
            few.iter().filter(|one| one.place.path == "status/signedqc").map(|one| one.id.clone()).collect();
        let is_config = |one: &Recorded| one.place.path.starts_with("backends/") && one.id.as_str() != "plainqc";
        few.retain(|one| is_config(one) || ids.contains(&one.id));
        // Where the order of a queue takes waiting, the job that comes there from running has to do.
        few.retain(|one| resolution < Duration::from_secs(1) || !one.place.path.starts_with("jobs/queued"));
        few
    };
    upload(&*from.open().await, few()).await;
    let source = from.provider().await;
    let (target, operations) = mortal(&to, usize::MAX, Death::Before).await;
    let report = try_copy(&source, &target, &OPTIONS).await.expect("nothing refuses");
    assert!(report.is_whole(), "{report:?}");
    let count = operations.load(std::sync::atomic::Ordering::SeqCst);
    assert!(count > 2 * few().len(), "{count} operations: each document is written and read back");
    for dies_at in 0..count {
        for answers in [Death::Before, Death::After] {
            let case = format!("death at operation {dies_at}, {answers:?}");
            empty(&to).await;
            let (target, _) = mortal(&to, dies_at, answers).await;
            match try_copy(&source, &target, &OPTIONS).await {
                Ok(CopyReport { end: CopyEnd::OutOfReach(storage, error), .. }) => {
                    assert_eq!(storage.as_str(), "mortal", "{case}");
                    assert_eq!(error.kind(), StorageErrorKind::Unavailable, "{case}");
                }
                Err(CopyRefusal::Storage(storage, _)) => assert_eq!(storage.as_str(), "mortal", "{case}"),
                other => panic!("{case}: {other:?}"),
            }
            remove_probes(&to).await;
            check_misleads_nobody(&to, &case).await;
            copy_all(&from, &to).await;
            check_copied(&from, &to, after_copy(few()), &case).await;
        }
    }
}

/// Removes every document.
async fn empty(temp: &TempStorage) {
    let storage = temp.open().await;
    for (place, id) in contents(&*storage).await.into_keys() {
        storage.delete(OwnedPlace::new(&place).get(), &id).await.expect("deleted");
    }
}

/// Removes the document by which a copy finds out whether the target is the source, where it died before it could.
async fn remove_probes(to: &TempStorage) {
    let storage = to.open().await;
    for id in storage.list(Place::Deleted).await.expect("listed") {
        if storage.get(Place::Deleted, &id).await.expect("read") == Document::from_text("{}") {
            storage.delete(Place::Deleted, &id).await.expect("deleted");
        }
    }
}

async fn a_queue_keeps_its_order(from: TempStorage, to: TempStorage) {
    let source = from.open().await;
    let mut arrived: Vec<DocumentId> = Vec::new();
    for number in [9, 3, 7, 1, 8] {
        submitted(&*source, &job_id(number)).await;
        arrived.push((&job_id(number)).into());
        tokio::time::sleep(source.arrival_resolution()).await;
    }
    assert_eq!(source.list(Place::Queued(&backend())).await.expect("listed"), arrived);
    copy_all(&from, &to).await;
    assert_eq!(to.open().await.list(Place::Queued(&backend())).await.expect("listed"), arrived);
}

async fn what_differs_is_told_and_left_as_it_is(from: TempStorage, to: TempStorage) {
    let (source, target) = (from.open().await, to.open().await);
    fill(&*source).await;
    let of = |path: &str| recorded().into_iter().filter(|one| one.place.path == path).map(|one| one.id).next();
    let id = |path: &str| of(path).expect("there is one");
    let other = Document::from_text(r#"{"other": 1}"#);
    let differing = ["jobs/finished/plainqc", "results/plainqc", "backends/public_keys", "jobs/queued/signedqc"];
    for path in differing {
        // A key is found by its kid on some media.
        let text = format!(r#"{{"other": 1, "kid": "{}"}}"#, id(path));
        target.upload(OwnedPlace::new(path).get(), &id(path), &Document::from_text(text)).await.expect("uploaded");
    }
    // A job that has ended otherwise there.
    let ended: JobId = id("jobs/finished/signedqc").as_str().parse().expect("an id");
    let signed: BackendName = "signedqc".parse().expect("a name");
    let status = Document::new(&Status::failed(&ended, "why"));
    target.upload(Place::Status(&signed), &(&ended).into(), &status).await.expect("uploaded");
    target.upload(Place::Deleted, &(&ended).into(), &other).await.expect("uploaded");
    let before = contents(&*target).await;

    let report = copy(&from, &to).await;
    let mut told: Vec<&str> = report.problems.iter().map(|problem| problem.place.as_str()).collect();
    told.sort_unstable();
    let mut expected: Vec<&str> = differing.into_iter().chain(["jobs/finished/signedqc", "status/signedqc"]).collect();
    expected.sort_unstable();
    assert_eq!(told, expected, "{report:?}");
    assert!(!report.is_whole());
    let after = contents(&*target).await;
    for (at, document) in &before {
        assert_eq!(after.get(at), Some(document), "{at:?} was left as it was");
    }
    // All else has arrived.
    assert_eq!(after.len(), copied().len(), "the one that has ended otherwise lies elsewhere");
}

async fn of_two_configurations_the_later_one_stays(from: TempStorage, to: TempStorage) {
    let (source, target) = (from.provider().await, to.provider().await);
    let golden = std::fs::read_to_string(package_file("tests/golden/configs/fermions.json")).expect("read");
    let config = |backend: &BackendName, time: &str| {
        let mut config: BackendConfig = serde_json::from_str(&golden).expect("a configuration");
        config.display_name = backend.to_string();
        config.last_queue_check = Some(time.parse().expect("a time"));
        config
    };
    let (early, late) = ("2026-11-22T04:00:00Z", "2026-11-22T05:00:00Z");
    let [older, newer] = ["older", "newer"].map(|name| name.parse::<BackendName>().expect("a name"));
    source.upload_config(&older, &config(&older, early), None).await.expect("uploaded");
    source.upload_config(&newer, &config(&newer, late), None).await.expect("uploaded");
    target.upload_config(&older, &config(&older, late), None).await.expect("uploaded");
    target.upload_config(&newer, &config(&newer, early), None).await.expect("uploaded");
    let report = copy_all(&from, &to).await;
    for backend in [&older, &newer] {
        let found = target.get_config(backend).await.expect("read").last_queue_check;
        assert_eq!(found, config(backend, late).last_queue_check, "{backend}");
    }
    assert_eq!((report.places[0].replaced, report.places[0].further_on), (1, 1), "{report:?}");
}

/// Ends a queued job well.
async fn finish(storage: &dyn Storage, id: &JobId) {
    let lease = claimed(storage, id).await;
    put(storage, Place::Results(&backend()), id, r#"{"success": true}"#).await;
    storage.move_to(Place::Running, Place::Finished(&backend()), &id.into()).await.expect("moved");
    let done = Document::new(&Status::done(id));
    storage.update(Place::Status(&backend()), &id.into(), &done).await.expect("updated");
    storage.release(&lease).await.expect("released");
}

async fn a_job_that_the_target_has_run_is_not_queued_again(from: TempStorage, to: TempStorage) {
    let (source, target) = (from.open().await, to.open().await);
    submitted(&*source, &job_id(1)).await;
    submitted(&*source, &job_id(2)).await;
    copy_all(&from, &to).await;
    finish(&*target, &job_id(1)).await;
    let report = copy_all(&from, &to).await;
    let backend = backend();
    assert_eq!(target.list(Place::Queued(&backend)).await.expect("listed"), [(&job_id(2)).into()]);
    assert_eq!(target.list(Place::Finished(&backend)).await.expect("listed"), [(&job_id(1)).into()]);
    assert_eq!(to.provider().await.get_status(&backend, &job_id(1)).await.expect("read"), Status::done(&job_id(1)));
    assert_eq!(report.places.iter().map(|place| place.further_on).sum::<u64>(), 2, "job and status: {report:?}");
}

async fn a_job_that_the_source_has_run_leaves_the_queue_of_the_target(from: TempStorage, to: TempStorage) {
    let (source, target) = (from.open().await, to.open().await);
    submitted(&*source, &job_id(1)).await;
    submitted(&*source, &job_id(2)).await;
    copy_all(&from, &to).await;
    finish(&*source, &job_id(1)).await;
    copy_all(&from, &to).await;
    let backend = backend();
    assert_eq!(target.list(Place::Queued(&backend)).await.expect("listed"), [(&job_id(2)).into()]);
    assert_eq!(target.list(Place::Finished(&backend)).await.expect("listed"), [(&job_id(1)).into()]);
    assert_eq!(target.list(Place::Results(&backend)).await.expect("listed"), [(&job_id(1)).into()]);
    assert_eq!(to.provider().await.get_status(&backend, &job_id(1)).await.expect("read"), Status::done(&job_id(1)));
}

async fn the_running_job_of_a_dead_spooler_is_queued_first(from: TempStorage, to: TempStorage) {
    let (source, observer) = (from.open().await, from.open().await);
    // The dead spooler's job has no status: its lease tells the backend.
    put(&*source, Place::Queued(&backend()), &job_id(5), TEXT).await;
    submitted(&*source, &job_id(1)).await;
    claimed(&*source, &job_id(5)).await;
    // A job that nobody knows anything of.
    put(&*source, Place::Running, &job_id(9), TEXT).await;
    TempStorage::kill(source);
    seen_dead(&*observer).await;
    let report = copy(&from, &to).await;
    let queue = to.open().await.list(Place::Queued(&backend())).await.expect("listed");
    assert_eq!(queue, [(&job_id(5)).into(), (&job_id(1)).into()]);
    assert_eq!(report.problems.len(), 1, "{report:?}");
    assert_eq!(report.problems[0].id, (&job_id(9)).into(), "{report:?}");
    assert!(report.problems[0].what.contains("no status tells for which backend"), "{report:?}");
}

async fn an_end_that_a_dead_spooler_has_not_told_is_told_at_the_target(from: TempStorage, to: TempStorage) {
    let (source, observer) = (from.open().await, from.open().await);
    let (done, failed) = (job_id(1), job_id(2));
    for id in [&done, &failed] {
        submitted(&*source, id).await;
    }
    claimed(&*source, &done).await;
    put(&*source, Place::Results(&backend()), &done, r#"{"success": true}"#).await;
    source.move_to(Place::Running, Place::Finished(&backend()), &(&done).into()).await.expect("moved");
    let mut lease = claimed(&*source, &failed).await;
    let verdict = Status::failed(&failed, "why");
    lease.record.verdict = Some(verdict.clone());
    source.renew(&lease).await.expect("renewed");
    source.move_to(Place::Running, Place::Deleted, &(&failed).into()).await.expect("moved");
    TempStorage::kill(source);
    seen_dead(&*observer).await;
    copy_all(&from, &to).await;
    let target = to.provider().await;
    assert_eq!(target.get_status(&backend(), &done).await.expect("read"), Status::done(&done));
    assert_eq!(target.get_status(&backend(), &failed).await.expect("read"), verdict);
    let found = from.provider().await.get_status(&backend(), &done).await.expect("read");
    assert_eq!(found, Status::accepted(&done), "the source is only read");
}

/// Waits until the spooler that holds leases is seen to be dead.
async fn seen_dead(observer: &dyn Storage) {
    eventually("the death of the spooler is seen", async || {
        let leases = observer.leases().await.expect("listed");
        leases.iter().all(|held| !matches!(held.holder, Holder::Living(_))).then_some(())
    })
    .await;
}

async fn nothing_is_copied_while_a_spooler_works(from: TempStorage, to: TempStorage) {
    let (source, target) = (from.provider().await, to.provider().await);
    let at_source = source.storage().expect("active");
    submitted(at_source, &job_id(1)).await;
    submitted(at_source, &job_id(2)).await;
    let lease = claimed(at_source, &job_id(1)).await;
    let refusal = try_copy(&source, &target, &OPTIONS).await.expect_err("a spooler works at the source");
    let CopyRefusal::Held { held, .. } = &refusal else { panic!("{refusal}") };
    assert_eq!(held[0].0, job_id(1));
    assert!(contents(&*to.open().await).await.is_empty(), "nothing was copied");
    let forced = CopyOptions { force: true, ..OPTIONS };
    let report = try_copy(&source, &target, &forced).await.expect("forced");
    assert_eq!(report.problems.len(), 1, "{report:?}");
    assert_eq!(report.problems[0].place, "jobs/running", "{report:?}");
    assert_eq!(to.open().await.list(Place::Queued(&backend())).await.expect("listed"), [(&job_id(2)).into()]);
    at_source.put_back(&lease).await.expect("put back");

    // The same at the target.
    let at_target = target.storage().expect("active");
    claimed(at_target, &job_id(2)).await;
    let refusal = try_copy(&source, &target, &OPTIONS).await.expect_err("a spooler works at the target");
    assert!(matches!(refusal, CopyRefusal::Held { .. }), "{refusal}");
}

async fn a_storage_is_not_copied_to_itself(from: TempStorage, _to: TempStorage) {
    let provider = from.provider().await;
    fill(provider.storage().expect("active")).await;
    let before = contents(provider.storage().expect("active")).await;
    let again = Provider::new("again".parse().expect("a name"), true, from.open().await);
    let refusal = try_copy(&provider, &again, &OPTIONS).await.expect_err("it is the same");
    assert!(matches!(refusal, CopyRefusal::SamePlace(..)), "{refusal}");
    assert_eq!(contents(provider.storage().expect("active")).await, before, "nothing is left of the look");
}

async fn a_copy_that_is_stopped_says_so_and_goes_on_later(from: TempStorage, to: TempStorage) {
    fill(&*from.open().await).await;
    let (source, target) = (from.provider().await, to.provider().await);
    for stop_at in [0, 1, 9, 15] {
        empty(&to).await;
        let stop = CancellationToken::new();
        if stop_at == 0 {
            stop.cancel();
        }
        let progress = |progress: qspool::spooler::CopyProgress| {
            if progress.done >= stop_at {
                stop.cancel();
            }
        };
        let report = copy_storage(&source, &target, &OPTIONS, &stop, &progress).await.expect("nothing refuses");
        assert!(matches!(report.end, CopyEnd::Interrupted), "{report:?}");
        assert!(!report.is_whole());
        let count: u64 = report.places.iter().map(|place| place.copied).sum();
        assert_eq!(contents(&*to.open().await).await.len() as u64, count, "whatever is there was counted");
        assert!(count >= stop_at && count < recorded().len() as u64, "{count} of {stop_at}");
        check_misleads_nobody(&to, "stopped").await;
        copy_all(&from, &to).await;
        check_copied(&from, &to, copied(), "stopped").await;
    }
}

/// The files below a folder by their paths.
fn files(base: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![base.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("listed") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(base).expect("below the base").display().to_string();
                found.insert(name, std::fs::read(&path).expect("read"));
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tree_that_python_wrote_is_copied_byte_for_byte() {
    let (from, to) = (TempStorage::local().await, TempStorage::local().await);
    for Recorded { place, id, text } in recorded() {
        let folder = from.path().join(&place.path);
        std::fs::create_dir_all(&folder).expect("created");
        std::fs::write(folder.join(format!("{id}.json")), text).expect("written");
    }
    let before = files(from.path());
    copy_all(&from, &to).await;
    assert_eq!(files(from.path()), before, "the source is only read");
    let expected: BTreeMap<String, Vec<u8>> = copied()
        .into_iter()
        .map(|document| (format!("{}/{}.json", document.place.path, document.id), document.text.into_bytes()))
        .collect();
    assert_eq!(files(to.path()), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_that_cannot_be_copied_keeps_no_other_back() {
    let (from, to) = (TempStorage::local().await, TempStorage::local().await);
    let source = from.open().await;
    submitted(&*source, &job_id(1)).await;
    submitted(&*source, &job_id(3)).await;
    // Written by somebody who knows no limit.
    put_status(&*source, &job_id(2), &Status::accepted(&job_id(2))).await;
    let large = from.path().join(format!("jobs/queued/fermions/{}.json", job_id(2)));
    std::fs::write(large, vec![b' '; (1 << 20) + 1]).expect("written");
    let report = copy(&from, &to).await;
    assert_eq!(report.problems.len(), 1, "{report:?}");
    assert_eq!(report.problems[0].id, (&job_id(2)).into());
    assert!(report.problems[0].what.contains("it has 1048577 bytes; allowed: 1048576"), "{report:?}");
    let queue = to.open().await.list(Place::Queued(&backend())).await.expect("listed");
    assert_eq!(queue, [(&job_id(1)).into(), (&job_id(3)).into()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_to_the_source_meanwhile_is_counted() {
    let (from, to) = (TempStorage::local().await, TempStorage::local().await);
    fill(&*from.open().await).await;
    let path = from.path().join("jobs/queued/plainqc").join(format!("{}.json", job_id(1)));
    let (source, target) = (from.provider().await, to.provider().await);
    let progress = |progress: qspool::spooler::CopyProgress| {
        if progress.done == progress.total {
            std::fs::write(&path, TEXT).expect("written");
        }
    };
    let stop = CancellationToken::new();
    let report = copy_storage(&source, &target, &OPTIONS, &stop, &progress).await.expect("nothing refuses");
    assert!(report.is_whole(), "{report:?}");
    assert_eq!(report.arrived, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_command_says_how_to_go_on() {
    let (from, to) = (TempStorage::local().await, TempStorage::local().await);
    for number in 0..1000 {
        let folder = from.path().join("results/fermions");
        std::fs::create_dir_all(&folder).expect("created");
        std::fs::write(folder.join(format!("{}.json", job_id(number))), TEXT).expect("written");
    }
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("qspool.toml");
    let storage = |name: &str, temp: &TempStorage| {
        format!("[storage.{name}]\ntype = \"local\"\nbase_path = {:?}\n", temp.path().display().to_string())
    };
    std::fs::write(&file, storage("lab", &from) + &storage("attic", &to)).expect("written");
    let command = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qspool"));
        command.args(["storage", "copy", "lab", "attic", "--config"]).arg(&file);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let child = command().spawn().expect("starts");
    eventually("the first document is there", async || {
        std::fs::read_dir(to.path().join("results/fermions")).ok()?.next().map(|_| ())
    })
    .await;
    kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(75), "{said}");
    assert!(said.contains("error: the copy was interrupted\n\nhint: the same command goes on"), "{said}");
    let names: Vec<_> = files(to.path()).into_keys().collect();
    let is_document = |name: &String| Path::new(name).extension().is_some_and(|extension| extension == "json");
    assert!(names.iter().all(is_document), "between two documents: {names:?}");
    assert!(names.len() < 1000, "it was interrupted");
    let output = command().output().expect("runs");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(files(to.path()), files(from.path()));
}
