//! What is particular to local files: crashes between two renames, other writers, links, and other machines.
#![expect(clippy::case_sensitive_file_extension_comparisons, reason = "names that qspool makes itself")]

mod common;

use std::collections::HashSet;
use std::fs::{self, FileTimes};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use common::{TempStorage, backend, eventually, job_id};
use qspool::job::{BackendConfig, Document, DocumentId, JobId, Status};
use qspool::signing::{PrivateKey, sign};
use qspool::storage::{Claim, Holder, Place, StorageErrorKind};

const TEXT: &str = r#"{"experiment_0": {}}"#;
const DEAD: &str = "0123456789abcdef01234567";
const RECORD: &str = r#"{"attempts": 1, "first_claimed": "2026-01-01T00:00:00Z"}"#;

/// The folder that an instance leaves behind when its process is killed.
fn dead_instance(base: &Path, mark: &str) -> PathBuf {
    let folder = base.join("jobs/leases").join(DEAD);
    fs::create_dir_all(folder.join("fermions")).expect("created");
    fs::write(folder.join("alive"), mark).expect("written");
    folder
}

fn here() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("Linux has one");
    format!(r#"{{"boot": "{}", "host": "", "pid": 1, "lease_s": 60}}"#, boot.trim())
}

fn elsewhere() -> String {
    r#"{"boot": "another", "host": "another.example", "pid": 1, "lease_s": 60}"#.to_owned()
}

fn write(path: PathBuf, text: &str) {
    fs::create_dir_all(path.parent().expect("below the base")).expect("created");
    fs::write(path, text).expect("written");
}

fn document_id(job: &JobId) -> DocumentId {
    job.into()
}

/// Where the files of a job are, relative to the base, in order.
fn files_of(base: &Path, job: &JobId) -> Vec<String> {
    fn collect(folder: &Path, base: &Path, job: &JobId, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).expect("listed") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                collect(&path, base, job, found);
            } else if path.to_string_lossy().contains(job.as_str()) {
                let relative = path.strip_prefix(base).expect("below the base");
                found.push(relative.to_string_lossy().replace(job.as_str(), "ID"));
            }
        }
    }
    let mut found = Vec::new();
    collect(base, base, job, &mut found);
    found.sort();
    found
}

/// Leaves the files `left` (`DEAD` stands for the dead instance's folder, `ID` for the job), lets another spooler look
/// after them, and compares where the job is then and with how many attempts it was taken over.
async fn check_crash(left: &[&str], then: &[&str], taken_over: Option<u32>) {
    let temp = TempStorage::local().await;
    let base = temp.path();
    dead_instance(base, &here());
    let job = job_id(1);
    for file in left {
        let path = file.replace("DEAD", &format!("jobs/leases/{DEAD}/fermions")).replace("ID", job.as_str());
        let is_job = path.ends_with(".job") || path.ends_with(".json");
        write(base.join(path), if is_job { TEXT } else { RECORD });
    }
    let storage = temp.open().await;
    let adopted = storage.adopt_orphans().await.expect("looked");
    let outside: Vec<String> = files_of(base, &job).into_iter().filter(|file| !file.ends_with(".lease")).collect();
    assert_eq!(outside, then, "left: {left:?}");
    assert_eq!(adopted.first().map(|lease| lease.record.attempts), taken_over, "left: {left:?}");
    assert!(!base.join("jobs/leases").join(DEAD).exists(), "the dead instance is cleared away: {left:?}");
}

#[tokio::test]
async fn a_claim_or_a_return_cut_after_any_step_loses_nothing() {
    const QUEUED: &str = "jobs/queued/fermions/ID.json";
    const RUNNING: &str = "jobs/running/ID.json";
    const RECORD: &str = "jobs/leases/ID.record";
    // A claim.
    check_crash(&[QUEUED], &[QUEUED], None).await;
    check_crash(&["DEAD/ID.job"], &[QUEUED], None).await;
    check_crash(&["DEAD/ID.job", "DEAD/ID.lease"], &[RECORD, QUEUED], None).await;
    check_crash(&["DEAD/ID.lease", RUNNING], &[RUNNING], Some(2)).await;
    // A claim of a job that had been put back before.
    check_crash(&["DEAD/ID.job", RECORD], &[RECORD, QUEUED], None).await;
    check_crash(&["DEAD/ID.lease", RUNNING, RECORD], &[RECORD, RUNNING], Some(2)).await;
    // A return to the queue.
    check_crash(&["DEAD/ID.job", "DEAD/ID.lease", RECORD], &[RECORD, QUEUED], None).await;
    check_crash(&["DEAD/ID.job", "DEAD/ID.cancel", RECORD], &[RECORD, QUEUED], None).await;
    check_crash(&[RECORD, QUEUED], &[RECORD, QUEUED], None).await;
    // The end of a job.
    check_crash(&["DEAD/ID.lease", "jobs/deleted/ID.json"], &["jobs/deleted/ID.json"], Some(2)).await;
}

#[tokio::test]
async fn a_lease_emptied_by_a_power_failure_is_taken_over_all_the_same() {
    let temp = TempStorage::local().await;
    let folder = dead_instance(temp.path(), "");
    write(folder.join(format!("fermions/{}.lease", job_id(1))), "");
    let adopted = temp.open().await.adopt_orphans().await.expect("looked");
    assert_eq!(adopted.len(), 1);
    assert_eq!((&adopted[0].backend, adopted[0].record.attempts), (&backend(), 1));
}

#[tokio::test]
async fn an_instance_of_another_machine_is_dead_when_it_has_been_silent_for_a_lease() {
    let temp = TempStorage::local().await;
    let folder = dead_instance(temp.path(), &elsewhere());
    write(folder.join(format!("fermions/{}.lease", job_id(1))), RECORD);
    let storage = temp.open().await;
    assert_eq!(storage.adopt_orphans().await.expect("looked"), [], "it may live: its lock is not seen from here");
    let long_ago = SystemTime::now() - Duration::from_secs(61);
    let alive = fs::File::options().write(true).open(folder.join("alive")).expect("opened");
    alive.set_times(FileTimes::new().set_modified(long_ago)).expect("set");
    assert_eq!(storage.adopt_orphans().await.expect("looked").len(), 1);
}

#[tokio::test]
async fn a_job_that_a_peer_still_writes_is_claimed_when_it_is_whole() {
    let temp = TempStorage::local().await;
    let storage = temp.open().await;
    let job = job_id(1);
    let path = temp.path().join(format!("jobs/queued/fermions/{job}.json"));
    for half in ["", "{", r#"{"experiment_0": {"shots": 1"#, "[1]", "12"] {
        write(path.clone(), half);
        let claim = storage.claim(&backend(), &job).await.expect("an answer");
        assert!(matches!(claim, Claim::Unsettled), "{half:?}: {claim:?}");
    }
    write(path, TEXT);
    assert!(matches!(storage.claim(&backend(), &job).await.expect("an answer"), Claim::Won(_)));
}

#[tokio::test]
async fn an_unreadable_job_that_nobody_writes_any_more_is_claimed() {
    let temp = TempStorage::local().await;
    let storage = temp.open().await;
    let job = job_id(1);
    let path = temp.path().join(format!("jobs/queued/fermions/{job}.json"));
    write(path.clone(), "{");
    let old = SystemTime::now() - Duration::from_secs(3);
    let file = fs::File::options().write(true).open(path).expect("opened");
    file.set_times(FileTimes::new().set_modified(old)).expect("set");
    assert!(matches!(storage.claim(&backend(), &job).await.expect("an answer"), Claim::Won(_)));
}

#[tokio::test]
async fn only_regular_files_named_for_an_id_are_jobs() {
    let temp = TempStorage::local().await;
    let queue = temp.path().join("jobs/queued/fermions");
    write(queue.join("a1.json"), TEXT);
    write(queue.join("not an id.json"), TEXT);
    write(queue.join(".a2.json.7f-1.tmp"), TEXT);
    write(queue.join("a3.txt"), TEXT);
    write(queue.join("a4.json/a5.json"), TEXT);
    symlink("/etc/hostname", queue.join("a6.json")).expect("linked");
    let jobs = temp.open().await.list(Place::Queued(&backend())).await.expect("listed");
    assert_eq!(jobs, ["a1".parse::<DocumentId>().expect("an id")]);
}

#[tokio::test]
async fn no_link_leads_out_of_the_base_path() {
    let outside = tempfile::tempdir().expect("a directory");
    write(outside.path().join("a1.json"), TEXT);
    let temp = TempStorage::local().await;
    fs::create_dir_all(temp.path().join("results")).expect("created");
    symlink(outside.path(), temp.path().join("results/fermions")).expect("linked");
    write(temp.path().join("jobs/running/a0.json"), TEXT);
    symlink(outside.path().join("a1.json"), temp.path().join("jobs/running/a1.json")).expect("linked");
    let storage = temp.open().await;
    let a1: DocumentId = "a1".parse().expect("an id");
    let new: DocumentId = "a2".parse().expect("an id");
    let results = Place::Results(&backend());
    for refused in [
        storage.get(results, &a1).await.err(),
        storage.list(results).await.err(),
        storage.upload(results, &new, &Document::from_text(TEXT)).await.err(),
        storage.delete(results, &a1).await.err(),
        storage.get(Place::Running, &a1).await.err(),
    ] {
        let error = refused.expect("a link leads outside");
        assert_ne!(error.kind(), StorageErrorKind::NotFound, "{error}");
    }
    let left: Vec<_> =
        fs::read_dir(outside.path()).expect("listed").map(|entry| entry.expect("one").file_name()).collect();
    assert_eq!(left, ["a1.json"]);
}

#[tokio::test]
async fn a_job_beyond_the_limit_is_not_read() {
    let temp = TempStorage::local().await;
    let job = job_id(1);
    write(temp.path().join(format!("jobs/running/{job}.json")), &" ".repeat((1 << 20) + 1));
    let error = temp.open().await.get(Place::Running, &document_id(&job)).await.expect_err("it is too large");
    assert_eq!(error.kind(), StorageErrorKind::TooLarge);
    assert!(error.to_string().contains("1048577") && error.to_string().contains("1048576"), "{error}");
}

#[tokio::test]
async fn nothing_is_left_behind_by_a_spooler_that_ends_well() {
    let temp = TempStorage::local().await;
    let storage = temp.open().await;
    let job = job_id(1);
    write(temp.path().join(format!("jobs/queued/fermions/{job}.json")), TEXT);
    let Claim::Won(lease) = storage.claim(&backend(), &job).await.expect("an answer") else { panic!("not won") };
    storage.move_to(Place::Running, Place::Finished(&backend()), &document_id(&job)).await.expect("moved");
    storage.release(&lease).await.expect("released");
    drop(storage);
    assert_eq!(files_of(temp.path(), &job), ["jobs/finished/fermions/ID.json"]);
    assert_eq!(fs::read_dir(temp.path().join("jobs/leases")).expect("listed").count(), 0);
}

#[tokio::test]
async fn the_storage_goes_on_when_somebody_clears_the_leases_by_hand() {
    let temp = TempStorage::local().await;
    let storage = temp.open().await;
    for number in 0..2 {
        let job = job_id(number);
        write(temp.path().join(format!("jobs/queued/fermions/{job}.json")), TEXT);
        let claim = storage.claim(&backend(), &job).await.expect("an answer");
        assert!(matches!(claim, Claim::Won(_)), "{claim:?}");
        fs::remove_dir_all(temp.path().join("jobs/leases")).expect("cleared");
    }
}

/// The permissions of a folder of the storage.
fn mode(path: PathBuf) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o7777
}

#[tokio::test]
async fn folders_are_open_to_the_people_of_the_storage_whatever_the_umask() {
    let temp = TempStorage::local().await;
    fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o2770)).expect("set");
    let storage = temp.open().await;
    storage
        .upload(Place::Results(&backend()), &document_id(&job_id(1)), &Document::from_text(TEXT))
        .await
        .expect("new");
    storage.watch(&backend()).await.expect("watched");
    let job = job_id(2);
    write(temp.path().join(format!("jobs/queued/fermions/{job}.json")), TEXT);
    assert!(matches!(storage.claim(&backend(), &job).await.expect("an answer"), Claim::Won(_)));
    let leases = fs::read_dir(temp.path().join("jobs/leases")).expect("listed").next().expect("ours").expect("one");
    for folder in [leases.path(), leases.path().join("fermions")] {
        assert_eq!(mode(folder.clone()), 0o2770, "{folder:?}");
    }
    for folder in ["results", "results/fermions", "jobs/queued/fermions", "status/fermions", "jobs/deleted"] {
        assert_eq!(mode(temp.path().join(folder)), 0o2770, "{folder}");
    }
}

#[tokio::test]
async fn an_unfinished_job_with_a_time_in_the_future_is_claimed_when_it_does_not_change() {
    let temp = TempStorage::local().await;
    let storage = temp.open().await;
    let job = job_id(1);
    let path = temp.path().join(format!("jobs/queued/fermions/{job}.json"));
    write(path.clone(), "{");
    let future = SystemTime::now() + Duration::from_secs(100_000);
    let file = fs::File::options().write(true).open(path).expect("opened");
    file.set_times(FileTimes::new().set_modified(future)).expect("set");
    eventually("the claim", async || {
        matches!(storage.claim(&backend(), &job).await.expect("an answer"), Claim::Won(_)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipes_and_folders_in_the_place_of_files_stop_nobody() {
    let temp = TempStorage::local().await;
    let job = job_id(1);
    write(temp.path().join(format!("jobs/queued/fermions/{job}.json")), TEXT);
    let leases = temp.path().join("jobs/leases");
    let dead = dead_instance(temp.path(), &here());
    write(dead.join(format!("fermions/{}.lease", job_id(2))), RECORD);
    // The mark of an instance that is a folder, one that is a pipe, one that is a file; and the record of a job.
    fs::create_dir_all(leases.join("aaaaaaaaaaaaaaaaaaaaaaaa/alive")).expect("created");
    fs::create_dir_all(leases.join("bbbbbbbbbbbbbbbbbbbbbbbb")).expect("created");
    write(leases.join("cccccccccccccccccccccccc"), "");
    for pipe in ["bbbbbbbbbbbbbbbbbbbbbbbb/alive".to_owned(), format!("{job}.record")] {
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, leases.join(pipe), rustix::fs::FileType::Fifo, mode, 0).expect("made");
    }
    let storage = temp.open().await;
    let adopted = storage.adopt_orphans().await.expect("looked");
    assert_eq!(adopted.len(), 1, "the others are in nobody's way");
    assert!(matches!(storage.claim(&backend(), &job).await.expect("an answer"), Claim::Won(_)));
}

#[tokio::test]
async fn a_job_that_cannot_go_back_to_its_queue_hinders_no_other() {
    let temp = TempStorage::local().await;
    let dead = dead_instance(temp.path(), &here());
    let (stuck, free, leased) = (job_id(1), job_id(2), job_id(3));
    write(dead.join(format!("fermions/{stuck}.job")), TEXT);
    write(dead.join(format!("fermions/{free}.job")), TEXT);
    write(dead.join(format!("fermions/{leased}.lease")), RECORD);
    write(dead.join(format!("fermions/.{leased}.lease.7f-1.tmp")), "{");
    write(temp.path().join(format!("jobs/queued/fermions/{stuck}.json")), r#"{"another": "job of that id"}"#);
    let storage = temp.open().await;
    assert_eq!(storage.adopt_orphans().await.expect("looked").len(), 1);
    assert!(storage.exists(Place::Queued(&backend()), &document_id(&free)).await.expect("an answer"));
    assert_eq!(files_of(temp.path(), &leased).len(), 1, "only our own lease");
    assert!(dead.join(format!("fermions/{stuck}.job")).exists(), "nothing is lost");
}

#[tokio::test]
async fn a_lease_that_was_left_behind_never_costs_the_document_that_it_named() {
    let temp = TempStorage::local().await;
    let storage = temp.open().await;
    let job = job_id(1);
    let queued = temp.path().join(format!("jobs/queued/fermions/{job}.json"));
    write(queued.clone(), TEXT);
    assert!(matches!(storage.claim(&backend(), &job).await.expect("an answer"), Claim::Won(_)));
    // The job ends, but its lease is not released; then a job of the same id comes, with and without a record.
    storage.move_to(Place::Running, Place::Finished(&backend()), &document_id(&job)).await.expect("moved");
    for record in [None, Some(RECORD)] {
        write(queued.clone(), r#"{"experiment_1": {}}"#);
        if let Some(record) = record {
            write(temp.path().join(format!("jobs/leases/{job}.record")), record);
        }
        assert!(matches!(storage.claim(&backend(), &job).await.expect("an answer"), Claim::Won(_)));
        let running = storage.get(Place::Running, &document_id(&job)).await.expect("running");
        assert_eq!(running, Document::from_text(r#"{"experiment_1": {}}"#));
        let finished = storage.get(Place::Finished(&backend()), &document_id(&job)).await.expect("finished");
        assert_eq!(finished, Document::from_text(TEXT));
        storage.delete(Place::Running, &document_id(&job)).await.expect("deleted");
    }
}

#[tokio::test]
async fn leases_are_taken_over_though_something_cannot_be_cleared_away() {
    let temp = TempStorage::local().await;
    let dead = dead_instance(temp.path(), &here());
    for (number, backend) in [(1, "fermions"), (2, "rydberg")] {
        write(dead.join(format!("{backend}/{}.lease", job_id(number))), RECORD);
        // A folder in the place of a mark.
        fs::create_dir_all(dead.join(backend).join(format!("{}.cancel", job_id(3)))).expect("created");
    }
    let storage = temp.open().await;
    assert_eq!(storage.adopt_orphans().await.expect("looked").len(), 2);
    assert_eq!(storage.adopt_orphans().await.expect("looked"), []);
}

fn age(path: &Path, seconds: u64) {
    let old = SystemTime::now() - Duration::from_secs(seconds);
    fs::File::open(path).expect("opened").set_times(FileTimes::new().set_modified(old)).expect("set");
}

#[tokio::test]
async fn halves_of_writes_are_removed_when_they_are_old() {
    let temp = TempStorage::local().await;
    let halves = [
        "results/fermions/.a1.json.7f-1.tmp",
        "jobs/running/.a1.json.7f-2.tmp",
        "backends/configs/.fermions.json.7f-3.tmp",
        "jobs/leases/.a1.record.7f-4.tmp",
        "jobs/leases/0123456789abcdef01234567/fermions/.a1.lease.7f-5.tmp",
    ];
    dead_instance(temp.path(), &elsewhere());
    for half in halves {
        write(temp.path().join(half), "{");
    }
    let storage = temp.open().await;
    assert_eq!(storage.leftovers(true).await.expect("looked"), [], "they may still be written");
    for half in halves {
        age(&temp.path().join(half), 3660);
    }
    for (remove, are_left) in [(false, true), (true, false)] {
        let found = storage.leftovers(remove).await.expect("looked");
        let paths: HashSet<&str> = found.iter().map(|leftover| &*leftover.path).collect();
        assert_eq!(paths, HashSet::from(halves));
        assert!(found.iter().all(|leftover| leftover.removable), "{found:?}");
        assert!(halves.iter().all(|half| temp.path().join(half).exists() == are_left), "removed: {remove}");
    }
    assert_eq!(storage.leftovers(true).await.expect("looked"), []);
}

#[tokio::test]
async fn what_may_be_somebodys_is_told_and_stays() {
    let temp = TempStorage::local().await;
    let queue = temp.path().join("jobs/queued/fermions");
    write(queue.join("a1.json"), TEXT);
    write(queue.join("not an id.json"), TEXT);
    write(queue.join("a3.json.bak"), TEXT);
    write(queue.join("new.txt"), TEXT);
    fs::create_dir(queue.join("a4.json")).expect("created");
    symlink("a1.json", queue.join("a5.json")).expect("linked");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let pipe = temp.path().join("jobs/queued/a6");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).expect("made");
    fs::create_dir_all(temp.path().join("jobs/queued/Not A Backend")).expect("created");
    write(temp.path().join("jobs/leases/notes.txt"), "");
    for old in ["jobs/queued/fermions/not an id.json", "jobs/queued/fermions/a3.json.bak", "jobs/leases/notes.txt"] {
        age(&temp.path().join(old), 3660);
    }
    let storage = temp.open().await;
    let found = storage.leftovers(true).await.expect("looked");
    let paths: Vec<&str> = found.iter().map(|leftover| &*leftover.path).collect();
    let expected = [
        "jobs/leases/notes.txt",
        "jobs/queued/Not A Backend",
        "jobs/queued/a6",
        "jobs/queued/fermions/a3.json.bak",
        "jobs/queued/fermions/a4.json",
        "jobs/queued/fermions/a5.json",
        "jobs/queued/fermions/not an id.json",
    ];
    assert_eq!(paths, expected, "a file that is not an hour old may be about to become a document");
    assert!(found.iter().all(|leftover| !leftover.removable), "{found:?}");
    assert!(expected.iter().all(|path| temp.path().join(path).symlink_metadata().is_ok()), "nothing is removed");
}

#[tokio::test]
async fn a_start_that_was_cut_off_is_cleared_away_and_one_that_goes_on_is_not() {
    let temp = TempStorage::local().await;
    let leases = temp.path().join("jobs/leases");
    let [cut, empty, stopped, fresh] =
        ["a", "b", "c", "d"].map(|letter| leases.join(format!(".{}", letter.repeat(24))));
    for start in [&cut, &stopped, &fresh] {
        write(start.join("alive"), "");
    }
    fs::create_dir_all(&empty).expect("created");
    let lock = fs::File::open(stopped.join("alive")).expect("opened");
    lock.lock().expect("locked");
    for start in [&cut, &empty, &stopped] {
        age(start, 3660);
    }
    let storage = temp.open().await;
    assert_eq!(storage.leftovers(false).await.expect("looked").len(), 2);
    let found = storage.leftovers(true).await.expect("looked");
    assert!(found.len() == 2 && found.iter().all(|leftover| leftover.removable), "{found:?}");
    assert_eq!([cut, empty, stopped, fresh].map(|start| start.exists()), [false, false, true, true]);
}

#[tokio::test]
async fn a_record_is_kept_as_long_as_its_job_may_need_it() {
    let temp = TempStorage::local().await;
    let [queued, running, leased, gone, new] = [1, 2, 3, 4, 5].map(job_id);
    let record = |job: &JobId| temp.path().join(format!("jobs/leases/{job}.record"));
    for job in [&queued, &running, &leased, &gone, &new] {
        write(record(job), RECORD);
    }
    for job in [&queued, &running, &leased, &gone] {
        age(&record(job), 3660);
    }
    write(temp.path().join(format!("jobs/queued/fermions/{queued}.json")), TEXT);
    write(temp.path().join(format!("jobs/running/{running}.json")), TEXT);
    write(dead_instance(temp.path(), &here()).join(format!("fermions/{leased}.job")), TEXT);
    let storage = temp.open().await;
    let found = storage.leftovers(true).await.expect("looked");
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!([queued, running, leased, gone, new].map(|job| record(&job).exists()), [true, true, true, false, true]);
}

#[tokio::test]
async fn a_move_counts_as_a_change_although_it_keeps_the_time_of_modification() {
    let temp = TempStorage::local().await;
    let storage = temp.open().await;
    let job = job_id(1);
    let queued = temp.path().join(format!("jobs/queued/fermions/{job}.json"));
    write(queued.clone(), TEXT);
    age(&queued, 7200);
    storage.move_to(Place::Queued(&backend()), Place::Running, &document_id(&job)).await.expect("moved");
    let before = jiff::Timestamp::now() - Duration::from_secs(3600);
    assert_eq!(storage.unchanged_since(Place::Running, before).await.expect("an answer"), []);
    let now = jiff::Timestamp::now() + Duration::from_secs(1);
    assert_eq!(storage.unchanged_since(Place::Running, now).await.expect("an answer"), [document_id(&job)]);
}

#[tokio::test]
async fn whoever_looks_at_leases_keeps_nobody_from_taking_them_over() {
    let temp = TempStorage::local().await;
    let folder = dead_instance(temp.path(), &elsewhere());
    write(folder.join(format!("fermions/{}.lease", job_id(1))), RECORD);
    write(folder.join(format!("fermions/{}.job", job_id(2))), TEXT);
    let observer = temp.open().await;
    let holders = async || -> Vec<Holder> {
        observer.leases().await.expect("listed").into_iter().map(|held| held.holder).collect()
    };
    let found = holders().await;
    assert!(matches!(&*found, [Holder::Living(a), Holder::Living(_)] if a.contains("another.example")), "{found:?}");
    age(&folder.join("alive"), 61);
    let found = holders().await;
    assert!(matches!(&*found, [Holder::Dead(_), Holder::Dead(_)]), "{found:?}");
    assert_eq!(temp.open().await.adopt_orphans().await.expect("looked").len(), 1);
    assert_eq!(holders().await.len(), 1);
}

#[tokio::test]
async fn an_adopted_job_keeps_its_record_and_its_place_in_the_queue() {
    let temp = TempStorage::local().await;
    let [left, waiting] = [2, 1].map(job_id);
    let running = temp.path().join(format!("jobs/running/{left}.json"));
    write(running.clone(), TEXT);
    age(&running, 100);
    write(temp.path().join(format!("jobs/queued/fermions/{waiting}.json")), TEXT);
    write(temp.path().join(format!("jobs/leases/{left}.record")), RECORD);
    let storage = temp.open().await;
    let lease = storage.adopt_unleased(&backend(), &left).await.expect("an answer").expect("it has no lease");
    assert_eq!(lease.record.attempts, 1);
    storage.put_back(&lease).await.expect("put back");
    let queue = storage.list(Place::Queued(&backend())).await.expect("listed");
    assert_eq!(queue, [document_id(&left), document_id(&waiting)]);
}

/// Does something while a peer writes a file: in place, and not all at once.
async fn meanwhile<T>(path: &Path, text: &[u8], action: impl Future<Output = T>) -> T {
    fs::create_dir_all(path.parent().expect("below the base")).expect("created");
    fs::write(path, &text[..text.len() / 2]).expect("written");
    let (done, ()) = tokio::join!(action, async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        fs::write(path, text).expect("written");
    });
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_or_key_that_a_peer_still_writes_is_not_taken_for_nobodys() {
    let temp = TempStorage::local().await;
    let provider = temp.provider().await;
    let [ours, theirs] = [1, 2].map(|seed| PrivateKey::new(&"lab".parse().expect("a kid"), &[seed; 32]));
    let golden = fs::read(common::package_file("tests/golden/configs/fermions.json")).expect("it is in the repository");
    let config: BackendConfig = Document::from_text(golden).read("configuration").expect("one");
    let stored = sign(&Document::new(&config), &theirs).expect("JSON");

    let path = temp.path().join("backends/configs/fermions.json");
    let name = backend();
    let replaced = meanwhile(&path, stored.text(), provider.update_config(&name, &config, Some(&ours))).await;
    assert_eq!(replaced.expect_err("it is theirs").kind(), StorageErrorKind::Refused);
    assert_eq!(fs::read(&path).expect("it is there"), stored.text());
    provider.update_config(&backend(), &config, Some(&theirs)).await.expect("it is whole, and theirs");

    let path = temp.path().join("backends/public_keys/lab.json");
    let (public, stored) = (theirs.public(), theirs.public().to_document());
    let replaced = meanwhile(&path, stored.text(), provider.upload_public_key(&ours.public())).await;
    assert_eq!(replaced.expect_err("it is theirs").kind(), StorageErrorKind::Refused);
    meanwhile(&path, stored.text(), provider.upload_public_key(&public)).await.expect("it is the same key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_that_a_peer_still_writes_is_read_when_it_is_whole() {
    let temp = TempStorage::local().await;
    let (provider, name, job) = (temp.provider().await, backend(), job_id(1));
    let status = Status::accepted(&job);
    let path = temp.path().join(format!("status/fermions/{job}.json"));
    let read = meanwhile(&path, Document::new(&status).text(), provider.get_status(&name, &job)).await;
    assert_eq!(read.expect("it is whole"), status);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_was_left_half_written_is_replaced() {
    let temp = TempStorage::local().await;
    let golden = fs::read(common::package_file("tests/golden/configs/fermions.json")).expect("it is in the repository");
    let config: BackendConfig = Document::from_text(golden).read("configuration").expect("one");
    write(temp.path().join("backends/configs/fermions.json"), r#"{"header": {"alg"#);
    let provider = temp.provider().await;
    provider.update_config(&backend(), &config, None).await.expect("nobody writes it any more");
    assert_eq!(provider.get_config(&backend()).await.expect("it is whole"), config);
}
