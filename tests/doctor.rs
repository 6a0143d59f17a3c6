//! The doctor on a real storage: each inconsistency is found in words, mended or left, and gone afterwards; a healthy
//! storage is left in peace, however busy it is.
#![expect(clippy::case_sensitive_file_extension_comparisons, reason = "names that qspool makes itself")]

mod common;

use std::fs::{self, FileTimes};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use common::{TempStorage, backend, eventually, job_id, plan};
use qspool::job::{Document, JobId, JobState, Status};
use qspool::spooler::{Examination, Finding, FindingKind, Outcome, Spooler, SpoolerOptions, examine};
use qspool::storage::{Claim, Lease, Place, Provider};

const JOB: &str = r#"{"experiment_0": {"instructions": [["load", [0], []], ["measure", [0], []]], "num_wires": 8,
    "shots": 3, "wire_order": "interleaved"}}"#;

/// Where a job lies, and what is told of it.
const QUEUED: &str = "jobs/queued/fermions/ID.json";
const RUNNING: &str = "jobs/running/ID.json";
const FINISHED: &str = "jobs/finished/fermions/ID.json";
const DELETED: &str = "jobs/deleted/ID.json";
const RESULT: &str = "results/fermions/ID.json";
const STATUS: &str = "status/fermions/ID.json";

/// Other than the text of the documents at the places above.
enum Text {
    Status(Status),
    Plain(&'static str),
}

fn job() -> JobId {
    job_id(1)
}

fn result() -> String {
    format!(r#"{{"job_id": "{}", "status": "DONE", "results": [{{"data": {{"memory": ["1"]}}}}]}}"#, job())
}

fn write(base: &Path, path: &str, text: &str) {
    let path = base.join(path.replace("ID", job().as_str()));
    fs::create_dir_all(path.parent().expect("below the base")).expect("created");
    fs::write(path, text).expect("written");
}

/// Lays the documents out: jobs and results with a good text, and those of `others` with their own.
fn lay(base: &Path, good: &[&str], others: &[(&str, Text)]) {
    for path in good {
        write(base, path, if *path == RESULT { result() } else { JOB.to_owned() }.as_str());
    }
    for (path, text) in others {
        match text {
            Text::Status(status) => write(base, path, &serde_json::to_string(status).expect("serialises")),
            Text::Plain(text) => write(base, path, text),
        }
    }
}

fn accepted() -> (&'static str, Text) {
    (STATUS, Text::Status(Status::accepted(&job())))
}

fn done() -> (&'static str, Text) {
    (STATUS, Text::Status(Status::done(&job())))
}

fn failed() -> (&'static str, Text) {
    (STATUS, Text::Status(Status::failed(&job(), "why")))
}

async fn look(provider: &Provider, repair: bool) -> (Vec<Finding>, Examination) {
    let mut findings = Vec::new();
    let options = SpoolerOptions::default();
    let examination =
        examine(provider, &options, repair, |finding| findings.push(finding)).await.expect("the storage answers");
    assert_eq!(examination.found, findings.len());
    let left = findings.iter().filter(|finding| finding.outcome != Outcome::Repaired).count();
    assert_eq!(examination.left, left);
    (findings, examination)
}

/// The files of the storage below the places of documents.
fn tree(base: &Path) -> Vec<(String, String)> {
    let (mut found, mut folders) = (Vec::new(), vec![base.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("listed") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = fs::read_to_string(&path).unwrap_or_default();
                found.push((path.strip_prefix(base).expect("below").display().to_string(), text));
            }
        }
    }
    found.sort();
    found
}

/// One finding of `kind` in words that hold `said`; a look changes nothing, and the repair leaves nothing to find or,
/// where it is for people, everything as it was. Gives the storage as it is then.
#[track_caller]
fn check(
    good: &[&str],
    others: &[(&str, Text)],
    kind: FindingKind,
    said: &str,
    repairs: bool,
) -> impl Future<Output = TempStorage> {
    let case = format!("{good:?}, {:?}", others.iter().map(|(path, _)| path).collect::<Vec<_>>());
    async move {
        let temp = TempStorage::local().await;
        lay(temp.path(), good, others);
        let provider = temp.provider().await;
        let before = tree(temp.path());
        let (found, _) = look(&provider, false).await;
        assert_eq!(found.len(), 1, "{case}: {found:?}");
        assert_eq!(found[0].kind, kind, "{case}: {found:?}");
        assert!(found[0].problem.contains(said), "{case}: {found:?}");
        let expected = if repairs { Outcome::Repairable } else { Outcome::ForPeople };
        assert_eq!(found[0].outcome, expected, "{case}: {found:?}");
        assert_eq!(tree(temp.path()), before, "{case}: a look changes nothing");
        let (found, _) = look(&provider, true).await;
        let expected = if repairs { Outcome::Repaired } else { Outcome::ForPeople };
        assert_eq!(found.iter().map(|finding| finding.outcome).collect::<Vec<_>>(), [expected], "{case}: {found:?}");
        if repairs {
            assert_eq!(look(&provider, true).await.0, [], "{case}");
        } else {
            assert_eq!(tree(temp.path()), before, "{case}: what is for people stays");
        }
        temp
    }
}

async fn status(temp: &TempStorage) -> Status {
    temp.provider().await.get_status(&backend(), &job()).await.expect("a status")
}

/// The places of the job and of what is told of it.
fn places(temp: &TempStorage) -> Vec<String> {
    let names = tree(temp.path()).into_iter().map(|(path, _)| path.replace(job().as_str(), "ID"));
    names.filter(|path| path.ends_with(".json")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_storage_in_order_is_left_in_peace() {
    let temp = TempStorage::local().await;
    let provider = temp.provider().await;
    assert_eq!(look(&provider, true).await, (Vec::new(), Examination::default()), "an empty one");
    for (good, others) in [
        (&[FINISHED, RESULT][..], [done()]),
        (&[QUEUED], [accepted()]),
        (&[DELETED], [failed()]),
        // A job that cannot be read is what its error tells.
        (&[], [failed()]),
    ] {
        let temp = TempStorage::local().await;
        lay(temp.path(), good, &others);
        if good.is_empty() {
            write(temp.path(), DELETED, "{");
        }
        let before = tree(temp.path());
        let begin = std::time::Instant::now();
        assert_eq!(look(&temp.provider().await, true).await.0, [], "{good:?}");
        assert!(begin.elapsed() < Duration::from_secs(2), "without a suspicion nothing is waited for");
        assert_eq!(tree(temp.path()), before);
    }
}

#[tokio::test(start_paused = true)]
async fn a_running_job_without_a_lease_goes_on_from_where_it_is() {
    let kind = FindingKind::RunningWithoutLease;
    let temp = check(&[RUNNING], &[accepted()], kind, "may still work on it", true).await;
    assert_eq!(places(&temp), [QUEUED, STATUS]);
    let temp = check(&[RUNNING, RESULT], &[accepted()], kind, "no spooler", true).await;
    assert_eq!(
        (places(&temp), status(&temp).await),
        (vec![FINISHED.into(), RESULT.into(), STATUS.into()], Status::done(&job()))
    );
    let temp = check(&[RUNNING, RESULT], &[done()], kind, "no spooler", true).await;
    assert_eq!(places(&temp), [FINISHED, RESULT, STATUS]);
    let temp = check(&[RUNNING], &[failed()], kind, "no spooler", true).await;
    assert_eq!((places(&temp), status(&temp).await.error_message), (vec![DELETED.into(), STATUS.into()], "why".into()));
}

#[tokio::test(start_paused = true)]
async fn a_running_job_that_contradicts_itself_is_for_people() {
    let kind = FindingKind::RunningThoughEnded;
    check(&[RUNNING, RESULT], &[failed()], kind, "ERROR", false).await;
    check(&[RUNNING], &[done()], kind, "no result", false).await;
    check(&[RUNNING], &[], FindingKind::RunningOfUnknownBackend, "whose job it is", false).await;
}

#[tokio::test(start_paused = true)]
async fn an_end_that_was_not_told_is_told() {
    let kind = FindingKind::EndNotTold;
    for others in [vec![], vec![accepted()], vec![(STATUS, Text::Plain("{"))]] {
        let temp = check(&[FINISHED, RESULT], &others, kind, "it has ended", true).await;
        assert_eq!(status(&temp).await, Status::done(&job()));
        if !others.is_empty() {
            let temp = check(&[DELETED], &others, kind, "it has ended", true).await;
            assert!(status(&temp).await.error_message.contains("reason was lost"), "{:?}", status(&temp).await);
        }
    }
    check(&[DELETED], &[], kind, "nor of which backend", false).await;
}

#[tokio::test(start_paused = true)]
async fn ends_that_contradict_each_other_are_for_people() {
    check(&[FINISHED, RESULT], &[failed()], FindingKind::EndContradicted, "ERROR", false).await;
    check(&[DELETED], &[done()], FindingKind::EndContradicted, "DONE", false).await;
    check(&[DELETED, RESULT], &[accepted()], FindingKind::EndContradicted, "no end", false).await;
    check(&[DELETED, RESULT], &[failed()], FindingKind::ResultOfFailedJob, "has a result", false).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_named() {
    check(&[FINISHED], &[done()], FindingKind::FinishedWithoutResult, "result is missing", false).await;
    check(&[FINISHED], &[accepted()], FindingKind::FinishedWithoutResult, "result is missing", false).await;
    check(&[], &[done()], FindingKind::DoneWithoutResult, "neither", false).await;
    check(&[RESULT], &[done()], FindingKind::DoneWithoutJob, "job itself is not", false).await;
    check(&[RESULT], &[], FindingKind::ResultWithoutJob, "nowhere", false).await;
    check(&[], &[accepted()], FindingKind::StatusWithoutJob, "waits for ever", false).await;
    check(&[], &[failed()], FindingKind::StatusWithoutJob, "nowhere", false).await;
}

#[tokio::test(start_paused = true)]
async fn a_result_reaches_its_user_though_the_job_is_lost() {
    let temp = TempStorage::local().await;
    lay(temp.path(), &[RESULT], &[accepted()]);
    let provider = temp.provider().await;
    let told = async |repair: bool| {
        let (found, _) = look(&provider, repair).await;
        let [finding] = &found[..] else { panic!("{found:?}") };
        (finding.kind, finding.outcome)
    };
    assert_eq!(told(false).await, (FindingKind::ResultWithoutJob, Outcome::Repairable));
    assert_eq!(told(true).await, (FindingKind::ResultWithoutJob, Outcome::Repaired));
    assert_eq!(status(&temp).await, Status::done(&job()));
    assert_eq!(told(true).await, (FindingKind::DoneWithoutJob, Outcome::ForPeople));
}

#[tokio::test(start_paused = true)]
async fn half_of_a_result_lets_its_job_be_run_again() {
    let half = (RESULT, Text::Plain("{\"job_id\": "));
    let temp = TempStorage::local().await;
    lay(temp.path(), &[RUNNING], &[accepted(), half]);
    let (found, _) = look(&temp.provider().await, true).await;
    assert_eq!(found.iter().map(|finding| finding.kind).collect::<Vec<_>>(), [FindingKind::RunningWithoutLease]);
    assert!(places(&temp).contains(&QUEUED.to_owned()), "{:?}", places(&temp));
}

#[tokio::test(start_paused = true)]
async fn a_waiting_job_gets_the_status_that_it_lacks() {
    let temp = check(&[QUEUED], &[], FindingKind::JobWithoutStatus, "no such job", true).await;
    assert_eq!((places(&temp), status(&temp).await), (vec![QUEUED.into(), STATUS.into()], Status::accepted(&job())));
    check(&[QUEUED], &[failed()], FindingKind::WaitingThoughEnded, "ERROR", false).await;
    check(&[QUEUED], &[done()], FindingKind::WaitingThoughEnded, "DONE", false).await;
}

#[tokio::test(start_paused = true)]
async fn a_second_copy_is_removed_when_it_surely_is_one() {
    let kind = FindingKind::JobAtTwoPlaces;
    for (copy, told) in [(QUEUED, done()), (QUEUED, accepted()), (RUNNING, done())] {
        let temp = check(&[copy, FINISHED, RESULT], &[told], kind, "jobs/finished/fermions", true).await;
        assert_eq!(places(&temp), [FINISHED, RESULT, STATUS]);
        assert_eq!(status(&temp).await, Status::done(&job()));
    }
    let another = (QUEUED, Text::Plain(r#"{"experiment_1": {}}"#));
    check(&[FINISHED, RESULT], &[another, done()], kind, "jobs/queued/fermions and at", false).await;
    check(&[QUEUED, FINISHED], &[accepted()], kind, "jobs/queued/fermions and at", false).await;
    check(&[FINISHED, DELETED, RESULT], &[done()], kind, "and at jobs/deleted", false).await;
    check(&[QUEUED, DELETED], &[failed()], kind, "and at jobs/deleted", false).await;
}

#[tokio::test(start_paused = true)]
async fn an_id_that_two_backends_have_is_for_people() {
    let other = ("status/rydberg/ID.json", Text::Status(Status::accepted(&job())));
    check(&[QUEUED], &[accepted(), other], FindingKind::JobOfTwoBackends, "fermions and rydberg", false).await;
}

#[tokio::test(start_paused = true)]
async fn documents_that_cannot_be_read_are_named_with_the_reason() {
    let half = "{\"job_id\": ";
    check(&[QUEUED], &[(STATUS, Text::Plain(half))], FindingKind::UnreadableStatus, "EOF", false).await;
    let unknown = r#"{"job_id": "ID", "status": "MAYBE", "detail": "", "error_message": ""}"#;
    check(&[QUEUED], &[(STATUS, Text::Plain(unknown))], FindingKind::UnreadableStatus, "MAYBE", false).await;
    let another = r#"{"job_id": "b2", "status": "INITIALIZING", "detail": "", "error_message": ""}"#;
    check(&[QUEUED], &[(STATUS, Text::Plain(another))], FindingKind::UnreadableStatus, "the job \"b2\"", false).await;
    for (text, said) in [(half, "EOF"), (r#"{"job_id": "b2", "results": []}"#, "b2"), ("{}", "no list of results")] {
        check(&[FINISHED], &[(RESULT, Text::Plain(text)), done()], FindingKind::UnreadableResult, said, false).await;
    }
    check(&[RESULT], &[(FINISHED, Text::Plain("[1]")), done()], FindingKind::UnreadableJob, "no JSON object", false)
        .await;
    let config = "backends/configs/fermions.json";
    check(&[], &[(config, Text::Plain("{}"))], FindingKind::UnreadableConfiguration, "missing field", false).await;
    let key = "backends/public_keys/lab.json";
    check(
        &[],
        &[(key, Text::Plain(r#"{"kid": "a", "kty": "OKP", "x": "b"}"#))],
        FindingKind::UnreadableKey,
        "\"a\"",
        false,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn signed_documents_are_read_by_their_payload() {
    let temp = TempStorage::local().await;
    let signed = |payload: &str| format!(r#"{{"header": {{"kid": "k"}}, "payload": {payload}, "signature": "s"}}"#);
    lay(temp.path(), &[FINISHED], &[]);
    write(temp.path(), RESULT, &signed(&result()));
    write(temp.path(), STATUS, &signed(&serde_json::to_string(&Status::done(&job())).expect("serialises")));
    assert_eq!(look(&temp.provider().await, false).await.0, []);
}

#[tokio::test(start_paused = true)]
async fn what_sqooler_has_written_is_in_order() {
    let temp = TempStorage::local().await;
    let golden = common::package_file("tests/golden/local-tree");
    for (path, text) in tree(&golden) {
        if path.ends_with(".json") && path.contains('/') {
            write(temp.path(), &path, &text);
        }
    }
    let (found, _) = look(&temp.provider().await, false).await;
    let kinds: Vec<FindingKind> = found.iter().map(|finding| finding.kind).collect();
    // Its jobs in running have no leases.
    assert_eq!(kinds, [FindingKind::RunningWithoutLease; 2], "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn a_place_that_cannot_be_listed_hides_no_other_backend() {
    let temp = TempStorage::local().await;
    let outside = tempfile::tempdir().expect("a directory");
    lay(temp.path(), &[FINISHED], &[done(), ("status/rydberg/a1.json", Text::Plain("{"))]);
    std::os::unix::fs::symlink(outside.path(), temp.path().join("results/fermions"))
        .or_else(|_| {
            fs::create_dir_all(temp.path().join("results"))?;
            std::os::unix::fs::symlink(outside.path(), temp.path().join("results/fermions"))
        })
        .expect("linked");
    let (found, _) = look(&temp.provider().await, false).await;
    let mut kinds: Vec<FindingKind> = found.iter().map(|finding| finding.kind).collect();
    kinds.sort();
    let expected = [FindingKind::UnreadablePlace, FindingKind::UnreadableStatus, FindingKind::Leftover];
    assert_eq!(kinds, expected, "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn halves_of_writes_are_removed_and_foreign_files_are_told() {
    let temp = TempStorage::local().await;
    lay(
        temp.path(),
        &[],
        &[("results/fermions/.ID.json.1-2.tmp", Text::Plain("{")), ("jobs/running/x", Text::Plain(""))],
    );
    for (path, text) in tree(temp.path()) {
        let old = SystemTime::now() - Duration::from_secs(3700);
        let file = fs::File::open(temp.path().join(&path)).expect("opened");
        file.set_times(FileTimes::new().set_modified(old)).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
    let provider = temp.provider().await;
    let outcomes = async |repair| look(&provider, repair).await.0.iter().map(|found| found.outcome).collect::<Vec<_>>();
    assert_eq!(outcomes(false).await, [Outcome::ForPeople, Outcome::Repairable]);
    assert_eq!(outcomes(true).await, [Outcome::ForPeople, Outcome::Repaired]);
    assert_eq!(outcomes(true).await, [Outcome::ForPeople]);
}

async fn claimed(provider: &Provider) -> Lease {
    match provider.storage().expect("active").claim(&backend(), &job()).await.expect("an answer") {
        Claim::Won(lease) => lease,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn jobs_of_a_dead_spooler_are_taken_over() {
    for with_result in [false, true] {
        let temp = TempStorage::local().await;
        lay(temp.path(), &[QUEUED], &[accepted()]);
        let storage = temp.open().await;
        claimed(&Provider::new("test".parse().expect("a name"), true, Arc::clone(&storage))).await;
        if with_result {
            lay(temp.path(), &[RESULT], &[]);
        }
        let provider = temp.provider().await;
        assert_eq!(look(&provider, true).await.0, [], "it lives");
        TempStorage::kill(storage);
        let (found, _) = look(&provider, false).await;
        assert_eq!((found.len(), found[0].kind), (1, FindingKind::HolderDied), "{found:?}");
        let (found, _) = look(&provider, true).await;
        assert_eq!((found.len(), found[0].outcome), (1, Outcome::Repaired), "{found:?}");
        assert_eq!(look(&provider, true).await.0, []);
        let expected = if with_result { vec![FINISHED, RESULT, STATUS] } else { vec![QUEUED, STATUS] };
        assert_eq!(places(&temp), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn the_job_of_a_living_spooler_is_left_to_it() {
    let temp = TempStorage::local().await;
    lay(temp.path(), &[QUEUED], &[]);
    let holder = temp.provider().await;
    let lease = claimed(&holder).await;
    let provider = temp.provider().await;
    let (found, _) = look(&provider, true).await;
    assert_eq!((found.len(), found[0].kind), (1, FindingKind::JobWithoutStatus), "{found:?}");
    // On its way to its end, at each step.
    for path in [RESULT, FINISHED] {
        lay(temp.path(), &[path], &[]);
        assert_eq!(look(&provider, true).await.0, [], "{path}");
    }
    fs::remove_file(temp.path().join(RUNNING.replace("ID", job().as_str()))).expect("removed");
    assert_eq!(look(&provider, true).await.0, [], "its status is still to come");
    lay(temp.path(), &[], &[done()]);
    let (found, _) = look(&provider, true).await;
    assert_eq!((found.len(), found[0].kind), (1, FindingKind::LeaseWithoutJob), "{found:?}");
    fs::remove_file(temp.path().join(FINISHED.replace("ID", job().as_str()))).expect("removed");
    let (found, _) = look(&provider, true).await;
    assert_eq!((found.len(), found[0].kind), (1, FindingKind::LeaseWithoutJob), "{found:?}");
    holder.storage().expect("active").release(&lease).await.expect("released");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_adopts_what_has_lain_in_running_for_as_long_as_is_configured() {
    let temp = TempStorage::local().await;
    lay(temp.path(), &[RUNNING], &[accepted()]);
    let provider = temp.provider().await;
    let storage = provider.storage().expect("active");
    // Of an unknown backend: it stays.
    let foreign = job_id(2);
    storage.upload(Place::Running, &(&foreign).into(), &Document::from_text(JOB)).await.expect("laid");
    eventually("both are old enough", async || {
        let before = jiff::Timestamp::now() - Duration::from_secs(1);
        let old = storage.unchanged_since(Place::Running, before).await.expect("an answer");
        (old.len() == 2).then_some(())
    })
    .await;
    for (age_s, is_adopted) in [(None, false), (Some(3600), false), (Some(1), true)] {
        let options = SpoolerOptions { adopt_unleased_after_s: age_s, ..SpoolerOptions::default() };
        let spooler = Spooler::start(plan(provider.clone(), 1, options));
        if is_adopted {
            eventually("the end of the job", async || (status(&temp).await.status == JobState::Done).then_some(()))
                .await;
        } else {
            // It has looked by the time that it serves.
            let another = job_id(3 + age_s.unwrap_or_default());
            provider.upload_job(&backend(), &another, &Document::from_text(JOB)).await.expect("queued");
            eventually("the end of another job", async || {
                provider
                    .get_status(&backend(), &another)
                    .await
                    .is_ok_and(|status| status.status.is_final())
                    .then_some(())
            })
            .await;
        }
        spooler.drain().await;
        let running = provider.jobs(Place::Running).await.expect("listed");
        assert_eq!(running.contains(&job()), !is_adopted, "{age_s:?}");
        assert!(running.contains(&foreign), "{age_s:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_a_busy_spooler_a_healthy_storage_stays_without_findings() {
    const JOBS: u32 = 1000;
    let temp = TempStorage::local().await;
    let provider = temp.provider().await;
    let spooler = Spooler::start(plan(temp.provider().await, 4, SpoolerOptions::default()));
    let submitter = temp.provider().await;
    let mut submitting = tokio::task::JoinSet::new();
    submitting.spawn(async move {
        for number in 0..JOBS {
            let id = job_id(number);
            submitter.upload_status(&backend(), &id, &Status::accepted(&id)).await.expect("accepted");
            submitter.upload_job(&backend(), &id, &Document::from_text(JOB)).await.expect("queued");
        }
        while submitter.jobs(Place::Finished(&backend())).await.expect("listed").len() < JOBS as usize {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut looks = 0;
    let mut is_over = false;
    while !is_over {
        is_over = submitting.try_join_next().is_some();
        let (found, _) = look(&provider, true).await;
        assert_eq!(found, [], "look {looks}");
        looks += 1;
    }
    assert!(looks > 1, "the spooler was too quick to be looked at");
    submitting.join_all().await;
    spooler.drain().await;
    for number in 0..JOBS {
        let status = provider.get_status(&backend(), &job_id(number)).await.expect("a status");
        assert_eq!(status.status, JobState::Done);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_doctors_and_a_spooler_together_lose_and_double_nothing() {
    const JOBS: u32 = 60;
    let temp = TempStorage::local().await;
    let provider = temp.provider().await;
    let storage = provider.storage().expect("active");
    for number in 0..JOBS {
        let id = job_id(number);
        let text = Document::from_text(JOB);
        if number % 5 != 0 {
            provider.upload_status(&backend(), &id, &Status::accepted(&id)).await.expect("accepted");
        }
        let result = Document::from_text(result().replace(job().as_str(), id.as_str()));
        if matches!(number % 5, 2..=3) {
            provider.upload_result(&backend(), &id, &result).await.expect("stored");
        }
        let backend = backend();
        let places = match number % 5 {
            0 => vec![Place::Queued(&backend)],
            1 | 2 => vec![Place::Running],
            3 => vec![Place::Queued(&backend), Place::Finished(&backend)],
            _ => vec![Place::Deleted],
        };
        for place in places {
            storage.upload(place, &(&id).into(), &text).await.expect("laid");
        }
    }
    let doctors = [temp.provider().await, temp.provider().await];
    let spooler_provider = temp.provider().await;
    let late = async {
        tokio::time::sleep(Duration::from_millis(2050)).await;
        Spooler::start(plan(spooler_provider, 4, SpoolerOptions::default()))
    };
    let (one, two, spooler) = tokio::join!(look(&doctors[0], true), look(&doctors[1], true), late);
    for finding in one.0.iter().chain(&two.0) {
        assert_eq!(finding.outcome, Outcome::Repaired, "{finding:?}");
    }
    eventually("the end of all jobs", async || {
        for number in 0..JOBS {
            let status = provider.get_status(&backend(), &job_id(number)).await.ok()?;
            if !status.status.is_final() {
                return None;
            }
        }
        Some(())
    })
    .await;
    spooler.drain().await;
    for number in 0..JOBS {
        let id = job_id(number);
        let status = provider.get_status(&backend(), &id).await.expect("a status");
        let backend = backend();
        let (state, end) = match number % 5 {
            4 => (JobState::Error, Place::Deleted),
            _ => (JobState::Done, Place::Finished(&backend)),
        };
        assert_eq!(status.status, state, "{number}: {status:?}");
        assert!(storage.exists(end, &(&id).into()).await.expect("an answer"), "{number}");
        let result = provider.get_result(&backend, &id).await;
        assert_eq!(result.is_ok(), state == JobState::Done, "{number}");
        if matches!(number % 5, 2..=3) {
            let text = result.expect("it was there before");
            assert!(String::from_utf8_lossy(text.text()).contains("\"memory\": [\"1\"]"), "a result is never replaced");
        }
    }
    assert_eq!(provider.queue(&backend()).await.expect("listed"), []);
    assert_eq!(provider.jobs(Place::Running).await.expect("listed"), []);
    assert_eq!(look(&provider, true).await.0, []);
}
