//! What only the storage in Dropbox does: it lives with lost answers, limits, tokens that end, and a clock far away.
#![cfg(feature = "storage-dropbox")]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::dropbox::{DropboxServer, Fault, LimitForm, When};
use common::{backend, dropbox_options, eventually, job_id, plan};
use jiff::Timestamp;
use qspool::job::{Document, DocumentId, JobId, Progress, Status};
use qspool::spooler::{Spooler, SpoolerOptions};
use qspool::storage::{
    Claim, DropboxOptions, Holder, Lease, MediumOptions, Place, Provider, Renewal, Storage, StorageContext,
    StorageError, StorageErrorKind, open,
};
use tokio::task::JoinSet;

const LEASE: Duration = Duration::from_secs(1);

const TEXT: &str = r#"{"experiment_0": {"shots":  1}}"#;

async fn open_with(options: DropboxOptions) -> Result<Arc<dyn Storage>, StorageError> {
    let context = StorageContext { lease: LEASE, max_job_bytes: 1 << 20 };
    open(&"lab".parse().expect("a name"), &MediumOptions::Dropbox(options), context).await
}

async fn open_at(server: &DropboxServer) -> Arc<dyn Storage> {
    open_with(dropbox_options(server)).await.expect("the storage opens")
}

/// The error of a storage that must not open, which names the key and never holds a secret.
async fn refused(options: DropboxOptions, key: &str) -> String {
    let secrets = [options.refresh_token.clone(), options.app_secret.clone()];
    let Err(error) = open_with(options).await else { panic!("it opens") };
    assert_eq!(error.kind(), StorageErrorKind::Denied, "{error}");
    let text = error.to_string();
    assert!(text.contains(key), "{text}");
    for secret in secrets.iter().flatten() {
        assert!(!text.contains(secret.expose()) && !format!("{error:?}").contains(secret.expose()), "{text}");
    }
    text
}

fn id(job_id: &JobId) -> DocumentId {
    job_id.into()
}

fn document(text: &str) -> Document {
    Document::from_text(text)
}

async fn submitted(storage: &dyn Storage, number: u32) -> JobId {
    let job = job_id(number);
    storage.upload(Place::Queued(&backend()), &id(&job), &document(TEXT)).await.expect("a new job is taken");
    job
}

async fn claim(storage: &dyn Storage, job: &JobId) -> Option<Lease> {
    match storage.claim(&backend(), job).await.expect("a claim has an answer") {
        Claim::Won(lease) => Some(lease),
        Claim::Gone => None,
        Claim::Unsettled => panic!("{job} is whole"),
    }
}

/// The paths at which the job lies.
fn places(server: &DropboxServer, job: &JobId) -> Vec<String> {
    server.paths().into_iter().filter(|path| path.ends_with(&format!("/job-{job}.json"))).collect()
}

fn queued_path(job: &JobId) -> String {
    format!("/Backend_files/Queued_Jobs/fermions/job-{job}.json")
}

fn running_path(job: &JobId) -> String {
    format!("/Backend_files/Running_Jobs/job-{job}.json")
}

// Tokens and logins.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_callers_with_an_expired_token_one_gets_a_new_one() {
    let server = DropboxServer::start();
    let storage = open_at(&server).await;
    assert_eq!(server.count("oauth2/token"), 1);
    for _ in 0..3 {
        server.expire_access_tokens();
        server.forget_calls();
        let mut callers = JoinSet::new();
        for _ in 0..16 {
            let storage = Arc::clone(&storage);
            callers.spawn(async move { storage.exists(Place::Running, &id(&job_id(1))).await.expect("an answer") });
        }
        callers.join_all().await;
        assert_eq!(server.count("oauth2/token"), 1);
    }
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends() {
    let server = DropboxServer::start();
    server.set_token_life(Duration::from_secs(2));
    let storage = open_at(&server).await;
    eventually("the token is renewed twice", async || {
        storage.exists(Place::Running, &id(&job_id(1))).await.expect("an answer");
        (server.count("oauth2/token") == 3).then_some(())
    })
    .await;
    let refused: Vec<_> = server.calls().into_iter().filter(|call| call.status == Some(401)).collect();
    assert!(refused.is_empty(), "{refused:?}");
}

#[tokio::test]
async fn a_token_that_still_holds_is_used_while_no_new_one_can_be_had() {
    let server = DropboxServer::start();
    server.set_token_life(Duration::from_secs(40));
    let options = DropboxOptions { timeout_s: 1, ..dropbox_options(&server) };
    let storage = open_with(options).await.expect("the storage opens");
    server.fail("oauth2/token", 1000, When::Before, Fault::Status(503));
    assert!(!storage.exists(Place::Running, &id(&job_id(1))).await.expect("an answer"));
}

#[tokio::test]
async fn a_token_that_is_refused_again_and_again_is_a_wrong_login() {
    let server = DropboxServer::start();
    let storage = open_at(&server).await;
    server.fail("files/get_metadata", 1, When::Before, Fault::ExpiredToken);
    assert!(!storage.exists(Place::Running, &id(&job_id(1))).await.expect("an answer"));
    server.fail("files/get_metadata", 2, When::Before, Fault::ExpiredToken);
    let error = storage.exists(Place::Running, &id(&job_id(1))).await.expect_err("refused twice");
    assert_eq!(error.kind(), StorageErrorKind::Denied, "{error}");
    assert!(error.to_string().contains("storage.lab.refresh_token"), "{error}");
}

#[tokio::test]
async fn a_wrong_login_names_the_key() {
    let server = DropboxServer::start();
    let right = || dropbox_options(&server);
    let wrong = |text: &str| Some(text.to_owned().into());
    let text =
        refused(DropboxOptions { refresh_token: wrong("hunter2"), ..right() }, "storage.lab.refresh_token").await;
    assert!(text.contains("qspool dropbox authorize"), "{text}");
    refused(DropboxOptions { app_key: "nobody".to_owned(), ..right() }, "storage.lab.app_key").await;
    refused(DropboxOptions { app_secret: wrong("hunter2"), ..right() }, "app_secret").await;
    let missing = refused(DropboxOptions { refresh_token: None, ..right() }, "storage.lab.refresh_token").await;
    assert!(missing.contains("refresh_token_file"), "{missing}");
    let plain = Some("http://dropbox.example.org".to_owned());
    refused(DropboxOptions { endpoint: plain, ..right() }, "storage.lab.endpoint").await;
    let nowhere = Some("/nowhere/ca.pem".into());
    refused(DropboxOptions { ca_file: nowhere, ..right() }, "storage.lab.ca_file").await;
    // A login with a secret, as the reference needs it.
    let with_secret = DropboxOptions {
        refresh_token: Some(server.refresh_token_with_secret().into()),
        app_secret: Some(server.app_secret().to_owned().into()),
        ..right()
    };
    open_with(with_secret).await.expect("the storage opens");
    server.revoke(server.refresh_token());
    refused(right(), "storage.lab.refresh_token").await;
}

#[tokio::test]
async fn a_certificate_is_trusted_if_its_authority_is_named() {
    let server = DropboxServer::start_encrypted();
    open_at(&server).await.upload(Place::Deleted, &id(&job_id(1)), &document("{}")).await.expect("stored");
    let stranger = DropboxServer::start_encrypted();
    for ca_file in [None, stranger.ca_file().map(ToOwned::to_owned)] {
        refused(DropboxOptions { ca_file, ..dropbox_options(&server) }, "storage.lab.ca_file").await;
    }
}

#[tokio::test]
async fn a_permission_that_the_app_lacks_is_named() {
    let server = DropboxServer::start();
    let storage = open_at(&server).await;
    server.withhold_scope("files.content.write");
    let written = storage.upload(Place::Running, &id(&job_id(1)), &document("{}")).await;
    let error = written.expect_err("the scope is missing");
    assert_eq!(error.kind(), StorageErrorKind::Denied, "{error}");
    assert!(error.to_string().contains("files.content.write"), "{error}");
    server.withhold_scope("account_info.read");
    let text = refused(dropbox_options(&server), "account_info.read").await;
    assert!(text.contains("qspool dropbox authorize"), "{text}");
}

#[tokio::test]
async fn a_login_that_is_mended_in_its_file_is_good_without_a_restart() {
    let server = DropboxServer::start();
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("token");
    let write = |text: &str| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(&file, text).expect("written");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("set");
    };
    write(server.refresh_token());
    let options =
        DropboxOptions { refresh_token: None, refresh_token_file: Some(file.clone()), ..dropbox_options(&server) };
    let storage = open_with(options).await.expect("the storage opens");
    server.expire_access_tokens();
    write("wrong");
    let error = storage.exists(Place::Running, &id(&job_id(1))).await.expect_err("the token is wrong");
    assert_eq!(error.kind(), StorageErrorKind::Denied, "{error}");
    write(server.refresh_token());
    assert!(!storage.exists(Place::Running, &id(&job_id(1))).await.expect("an answer"));
}

// Limits and contention.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_callers_wait_when_the_service_asks_for_it() {
    for fault in [Fault::TooManyRequests(1), Fault::TooManyRequestsInText(1)] {
        let server = DropboxServer::start();
        let storage = open_at(&server).await;
        server.fail("files/get_metadata", 1, When::Before, fault);
        let begin = Instant::now();
        let first = {
            let storage = Arc::clone(&storage);
            async move { storage.exists(Place::Running, &id(&job_id(1))).await }
        };
        let mut callers = JoinSet::new();
        callers.spawn(first);
        eventually("the first is refused", async || (server.count("files/get_metadata") == 1).then_some(())).await;
        // The answer is on its way to the client, which is the same process.
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.forget_calls();
        for number in 0..8 {
            let storage = Arc::clone(&storage);
            callers.spawn(async move { storage.exists(Place::Deleted, &id(&job_id(number))).await });
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(server.calls(), [], "somebody does not wait");
        for answer in callers.join_all().await {
            assert!(!answer.expect("an answer"));
        }
        assert!(begin.elapsed() >= Duration::from_secs(1));
    }
}

#[tokio::test]
async fn a_wait_longer_than_an_operation_may_take_is_an_error_at_once() {
    let server = DropboxServer::start();
    let storage = open_at(&server).await;
    server.limit_calls(Duration::from_secs(300), LimitForm::Json);
    let begin = Instant::now();
    let error = storage.exists(Place::Running, &id(&job_id(1))).await.expect_err("it would take minutes");
    assert_eq!(error.kind(), StorageErrorKind::Unavailable, "{error}");
    assert!(begin.elapsed() < Duration::from_secs(5), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_movers_get_through_the_lock_of_the_account() {
    let server = DropboxServer::start();
    let storage = open_at(&server).await;
    let jobs = [submitted(&*storage, 1).await, submitted(&*storage, 2).await];
    server.contend(Duration::from_millis(40), 2);
    let mut claimers = JoinSet::new();
    for number in 0..16 {
        let (storage, job) = (open_at(&server).await, jobs[number % 2].clone());
        claimers.spawn(async move { (claim(&*storage, &job).await, storage) });
    }
    let claims = claimers.join_all().await;
    assert_eq!(claims.iter().filter(|(lease, _)| lease.is_some()).count(), 2);
    let refused = server.calls().iter().filter(|call| call.status == Some(429)).count();
    assert!(refused > 0, "there was no contention");
}

// Lost answers.

/// Does something in a storage with one queued job, while one call goes wrong; checks what came of it.
async fn with_fault(route: &str, when: When, fault: Fault) {
    let server = DropboxServer::start();
    let storage = open_at(&server).await;
    let (backend, job, other) = (backend(), job_id(1), job_id(2));
    let place = Place::Results(&backend);
    server.fail(route, 1, when, fault);
    let context = format!("{route} {when:?} {fault:?}");
    storage.upload(place, &id(&job), &document("{}")).await.expect(&context);
    let again = storage.upload(place, &id(&job), &document("{}")).await.expect_err(&context);
    assert_eq!(again.kind(), StorageErrorKind::AlreadyExists, "{context}: {again}");
    storage.update(place, &id(&job), &document(TEXT)).await.expect(&context);
    assert_eq!(storage.get(place, &id(&job)).await.expect(&context).text(), TEXT.as_bytes(), "{context}");
    storage.move_to(place, Place::Deleted, &id(&job)).await.expect(&context);
    assert!(!storage.exists(place, &id(&job)).await.expect(&context), "{context}");
    assert_eq!(storage.list(Place::Deleted).await.expect(&context), [id(&job)], "{context}");
    storage.delete(Place::Deleted, &id(&job)).await.expect(&context);
    let missing = storage.delete(Place::Deleted, &id(&job)).await.expect_err(&context);
    assert_eq!(missing.kind(), StorageErrorKind::NotFound, "{context}: {missing}");
    let missing = storage.move_to(Place::Deleted, Place::Running, &id(&job)).await.expect_err(&context);
    assert_eq!(missing.kind(), StorageErrorKind::NotFound, "{context}: {missing}");
    submitted(&*storage, 2).await;
    let lease = claim(&*storage, &other).await.expect(&context);
    storage.put_back(&lease).await.expect(&context);
    assert_eq!(storage.list(Place::Queued(&backend)).await.expect(&context), [id(&other)], "{context}");
    let lease = claim(&*storage, &other).await.expect(&context);
    storage.move_to(Place::Running, Place::Finished(&backend), &id(&other)).await.expect(&context);
    storage.release(&lease).await.expect(&context);
    assert_eq!(storage.leases().await.expect(&context), [], "{context}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_lives_with_a_lost_answer() {
    const ROUTES: [&str; 7] = [
        "files/upload",
        "files/download",
        "files/get_metadata",
        "files/move_v2",
        "files/delete_v2",
        "files/list_folder",
        "oauth2/token",
    ];
    const FAULTS: [Fault; 5] = [
        Fault::Status(500),
        Fault::Status(503),
        Fault::Reset,
        Fault::Tag("internal_error"),
        Fault::Tag("too_many_write_operations"),
    ];
    let mut cases = JoinSet::new();
    for route in ROUTES {
        for when in [When::Before, When::After] {
            for fault in FAULTS {
                // A refusal does nothing.
                if !(when == When::After && fault == Fault::Tag("too_many_write_operations")) {
                    cases.spawn(with_fault(route, when, fault));
                }
            }
        }
    }
    cases.join_all().await;
}

#[tokio::test]
async fn an_answer_that_never_comes_is_asked_for_again() {
    let server = DropboxServer::start();
    let options = DropboxOptions { timeout_s: 4, ..dropbox_options(&server) };
    let storage = open_with(options).await.expect("the storage opens");
    server.fail("files/upload", 1, When::After, Fault::Hang);
    let begin = Instant::now();
    storage.upload(Place::Running, &id(&job_id(1)), &document("{}")).await.expect("the second attempt");
    assert!(begin.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn only_an_echo_of_the_own_upload_counts_as_done() {
    let server = DropboxServer::start();
    let storage = open_at(&server).await;
    let upload = async |text| storage.upload(Place::Deleted, &id(&job_id(1)), &document(text)).await;
    upload("{}").await.expect("created");
    // Equal bytes of somebody else are a conflict all the same, and so are others behind a lost answer.
    assert_eq!(upload("{}").await.expect_err("it is there").kind(), StorageErrorKind::AlreadyExists);
    server.fail("files/upload", 1, When::Before, Fault::Reset);
    assert_eq!(upload("[]").await.expect_err("it is there").kind(), StorageErrorKind::AlreadyExists);
    assert_eq!(server.content(&format!("/Backend_files/Deleted_Jobs/job-{}.json", job_id(1))), Some(b"{}".to_vec()));
}

#[tokio::test]
async fn a_late_move_is_told_what_is_missing_whatever_the_service_says() {
    for of_target in [false, true] {
        let server = DropboxServer::start();
        server.tell_late_moves_of_the_target(of_target);
        let storage = open_at(&server).await;
        let job = submitted(&*storage, 1).await;
        let (from, to) = (Place::Queued(&backend()), Place::Running);
        storage.move_to(from, to, &id(&job)).await.expect("moved");
        let late = storage.move_to(from, to, &id(&job)).await.expect_err("too late");
        assert_eq!(late.kind(), StorageErrorKind::NotFound, "{late}");
        submitted(&*storage, 1).await;
        let taken = storage.move_to(from, to, &id(&job)).await.expect_err("taken");
        assert_eq!(taken.kind(), StorageErrorKind::AlreadyExists, "{taken}");
    }
}

/// Lets one call of a claim go wrong while two others try for the same job.
async fn one_wins_although(skip: usize, when: When, fault: Fault) {
    let server = DropboxServer::start();
    let mut storages = Vec::new();
    for _ in 0..3 {
        storages.push(open_at(&server).await);
    }
    let job = submitted(&*storages[0], 1).await;
    server.fail_later("*", skip, 1, when, fault);
    let mut claims = JoinSet::new();
    for storage in storages.iter().map(Arc::clone) {
        let job = job.clone();
        claims.spawn(async move { claim(&*storage, &job).await });
    }
    let won = claims.join_all().await.into_iter().flatten().count();
    assert_eq!(won, 1, "call {skip} {when:?} {fault:?}");
    assert_eq!(places(&server, &job), [running_path(&job)], "call {skip} {when:?} {fault:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_has_one_winner_whichever_answer_is_lost() {
    let mut cases = JoinSet::new();
    for skip in 0..10 {
        for when in [When::Before, When::After] {
            for fault in [Fault::Reset, Fault::Status(500), Fault::Tag("internal_error")] {
                cases.spawn(one_wins_although(skip, when, fault));
            }
        }
    }
    cases.join_all().await;
}

// Spoolers that die.

/// What a spooler was about to do when it died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Claim,
    ClaimAgain,
    PutBack,
    Release,
    TakeOver,
}

async fn prepare(deed: Deed, server: &DropboxServer) -> (JobId, Arc<dyn Storage>, Option<Lease>) {
    let storage = open_at(server).await;
    let job = submitted(&*storage, 1).await;
    let lease = match deed {
        Deed::Claim => None,
        Deed::ClaimAgain => {
            let mut lease = claim(&*storage, &job).await.expect("claimed");
            lease.record.attempts = 5;
            storage.put_back(&lease).await.expect("put back");
            None
        }
        Deed::PutBack | Deed::Release => claim(&*storage, &job).await,
        Deed::TakeOver => {
            let dead = open_at(server).await;
            claim(&*dead, &job).await.expect("claimed");
            // It has a second job on its way, which is not noted.
            let instance = server.paths().into_iter().find(|path| path.contains("/Leases/") && !path.ends_with('/'));
            let folder = instance.expect("a file of leases").replace(".json", "");
            server.put(&format!("{folder}/fermions/job-{}.json", job_id(2)), TEXT.as_bytes());
            drop(dead);
            // The clock of the service is known to a second, and it tells whole ones.
            tokio::time::sleep(LEASE + Duration::from_millis(2100)).await;
            None
        }
    };
    (job, storage, lease)
}

/// Lets a spooler die at one of its calls, and others look after what is left. False if there is no such call.
async fn dies_at(deed: Deed, call: usize, when: When) -> bool {
    let server = DropboxServer::start();
    let context = format!("{deed:?} dies at call {call}, {when:?}");
    let (job, storage, lease) = prepare(deed, &server).await;
    server.forget_calls();
    server.fail_later("*", call, 10_000, when, Fault::Hang);
    let act = async {
        match (deed, &lease) {
            (Deed::Claim | Deed::ClaimAgain, _) => drop(storage.claim(&backend(), &job).await),
            (Deed::PutBack, Some(lease)) => drop(storage.put_back(lease).await),
            (Deed::Release, Some(lease)) => {
                let moved = storage.move_to(Place::Running, Place::Finished(&backend()), &id(&job)).await;
                moved.expect("moved");
                drop(storage.release(lease).await);
            }
            (_, _) => drop(storage.adopt_orphans().await),
        }
    };
    // What hangs would hang for ever: it dies there.
    let is_done = tokio::time::timeout(Duration::from_secs(1), act).await.is_ok();
    drop(storage);
    server.fail_no_more();
    if is_done {
        return false;
    }
    let heirs = [open_at(&server).await, open_at(&server).await];
    let is_at_its_end = places(&server, &job) == [format!("/Backend_files/Finished_Jobs/fermions/None/job-{job}.json")];
    // Until the job is somebody's, waits in its queue, or was at its end already.
    let adopted = eventually(&context, async || {
        let mut adopted = Vec::new();
        for heir in &heirs {
            adopted.extend(heir.adopt_orphans().await.expect("looked").into_iter().map(|lease| (lease, heir)));
        }
        let lies_at = places(&server, &job);
        assert!(lies_at.len() == 1, "{context}: {lies_at:?}");
        let has_dead = heirs[0].leases().await.expect("seen").iter().any(|held| matches!(held.holder, Holder::Dead(_)));
        let is_settled = is_at_its_end || lies_at[0] == queued_path(&job);
        (!adopted.is_empty() || (is_settled && !has_dead)).then_some(adopted)
    })
    .await;
    assert!(adopted.len() <= 1, "{context}: {adopted:?}", adopted = adopted.len());
    match adopted.first() {
        Some((lease, heir)) => {
            let attempts = if deed == Deed::ClaimAgain { 6 } else { 1 };
            // Who dies after a take-over has died with the job in its hands as well.
            assert!(lease.record.attempts >= attempts, "{context}: {lease:?}");
            if !is_at_its_end {
                assert_eq!(places(&server, &job), [running_path(&job)], "{context}");
            }
            assert_eq!(heir.renew(lease).await.expect("renewed"), Renewal::Held { cancel: false }, "{context}");
            heir.release(lease).await.expect("released");
        }
        None if is_at_its_end => {}
        None => {
            let lease = claim(&*heirs[1], &job).await.expect(&context);
            let attempts = if deed == Deed::ClaimAgain { 5 } else { 0 };
            assert_eq!(lease.record.attempts, attempts, "{context}");
            heirs[1].release(&lease).await.expect("released");
        }
    }
    if deed == Deed::TakeOver {
        eventually("the job on its way goes back to its queue", async || {
            for heir in &heirs {
                heir.adopt_orphans().await.expect("looked");
            }
            (places(&server, &job_id(2)) == [queued_path(&job_id(2))]).then_some(())
        })
        .await;
    }
    true
}

async fn dies_anywhere(deed: Deed, least: usize) {
    let cases = (0..14).flat_map(|call| [When::Before, When::After].map(|when| dies_at(deed, call, when)));
    let died = futures::future::join_all(cases).await.into_iter().filter(|died| *died).count();
    assert!(died >= 2 * least, "it died only {died} times");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_cut_off_after_any_step_loses_nothing() {
    dies_anywhere(Deed::Claim, 4).await;
    dies_anywhere(Deed::ClaimAgain, 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_return_cut_off_after_any_step_loses_nothing() {
    dies_anywhere(Deed::PutBack, 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_cut_off_after_any_step_is_found() {
    dies_anywhere(Deed::Release, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_take_over_cut_off_after_any_step_is_done_by_the_next() {
    dies_anywhere(Deed::TakeOver, 6).await;
}

#[tokio::test]
async fn a_spooler_that_was_taken_for_dead_learns_of_it_and_enters_anew() {
    let server = DropboxServer::start();
    let (sleeper, heir) = (open_at(&server).await, open_at(&server).await);
    let job = submitted(&*sleeper, 1).await;
    let lease = claim(&*sleeper, &job).await.expect("claimed");
    let adopted = eventually("the lease ends", async || {
        Some(heir.adopt_orphans().await.expect("looked")).filter(|adopted| !adopted.is_empty())
    })
    .await;
    assert_eq!(sleeper.renew(&lease).await.expect("an answer"), Renewal::Lost);
    sleeper.put_back(&lease).await.expect("nothing to do");
    sleeper.release(&lease).await.expect("nothing to do");
    assert_eq!(places(&server, &job), [running_path(&job)]);
    assert_eq!(heir.renew(&adopted[0]).await.expect("an answer"), Renewal::Held { cancel: false });
    let next = submitted(&*sleeper, 2).await;
    let lease = claim(&*sleeper, &next).await.expect("claimed by a new instance");
    assert_eq!(sleeper.renew(&lease).await.expect("an answer"), Renewal::Held { cancel: false });
    // Taken over twice: the heir dies as well.
    drop(heir);
    let again = eventually("the heir's leases end", async || {
        Some(sleeper.adopt_orphans().await.expect("looked")).filter(|adopted| !adopted.is_empty())
    })
    .await;
    assert_eq!((&again[0].job_id, again[0].record.attempts), (&job, 2));
    sleeper.put_back(&again[0]).await.expect("put back");
    assert_eq!(places(&server, &job), [queued_path(&job)]);
    assert_eq!(claim(&*sleeper, &job).await.expect("claimed").record.attempts, 2);
}

#[tokio::test]
async fn leases_end_by_the_clock_of_the_service() {
    for offset_s in [-100_000, 100_000] {
        let server = DropboxServer::start();
        server.set_clock_offset(offset_s);
        let (holder, other) = (open_at(&server).await, open_at(&server).await);
        let job = submitted(&*holder, 1).await;
        let lease = claim(&*holder, &job).await.expect("claimed");
        for _ in 0..6 {
            assert_eq!(holder.renew(&lease).await.expect("renewed"), Renewal::Held { cancel: false });
            assert_eq!(other.adopt_orphans().await.expect("looked"), [], "offset {offset_s}");
            tokio::time::sleep(LEASE / 3).await;
        }
        drop(holder);
        let adopted = eventually("the lease ends", async || other.adopt_orphans().await.expect("looked").pop()).await;
        assert_eq!(adopted.job_id, job);
    }
}

#[tokio::test]
async fn many_leases_are_renewed_by_one_write() {
    let server = DropboxServer::start();
    let storage = open_at(&server).await;
    let mut leases = Vec::new();
    for number in 0..8 {
        let job = submitted(&*storage, number).await;
        leases.push(claim(&*storage, &job).await.expect("claimed"));
    }
    server.forget_calls();
    let begin = Instant::now();
    while begin.elapsed() < LEASE {
        // How far each has come costs no write of its own.
        let done = u32::try_from(begin.elapsed().as_millis()).expect("a short time");
        for lease in &mut leases {
            lease.record.progress = Some(Progress { done, total: 100_000 });
            assert_eq!(storage.renew(lease).await.expect("renewed"), Renewal::Held { cancel: false });
        }
        tokio::time::sleep(LEASE / 20).await;
    }
    let calls = server.calls();
    assert!((3..=5).contains(&calls.len()), "{calls:?}");
    for held in storage.leases().await.expect("listed") {
        assert!(held.lease.record.progress.is_some_and(|progress| progress.done > 0), "{held:?}");
    }
}

#[tokio::test]
async fn a_job_that_waited_long_is_not_old_in_running() {
    for moves_change_times in [false, true] {
        let server = DropboxServer::start();
        server.change_times_at_moves(moves_change_times);
        let storage = open_at(&server).await;
        let job = job_id(1);
        server.put_at(&queued_path(&job), TEXT.as_bytes(), 1_000_000);
        storage.move_to(Place::Queued(&backend()), Place::Running, &id(&job)).await.expect("a peer's claim");
        let age = Duration::from_secs(1);
        let old = async || {
            // Each look by another process.
            let storage = open_at(&server).await;
            storage.unchanged_since(Place::Running, Timestamp::now() - age).await.expect("an answer")
        };
        assert_eq!(old().await, [], "it was claimed just now");
        eventually("it has lain there for a while", async || (old().await == [id(&job)]).then_some(())).await;
        // Another claim of the same job begins anew.
        storage.move_to(Place::Running, Place::Deleted, &id(&job)).await.expect("moved");
        storage.move_to(Place::Deleted, Place::Running, &id(&job)).await.expect("moved");
        assert_eq!(old().await, [], "it was claimed again");
    }
}

#[tokio::test]
async fn what_nobody_needs_is_found_and_removed() {
    let server = DropboxServer::start();
    let storage = open_at(&server).await;
    let folder = "/Backend_files/Leases/650000000000000000000000";
    server.put(&format!("{folder}/fermions/job-{}.json", job_id(1)), TEXT.as_bytes());
    server.put(&format!("/Backend_files/Leases/record-{}.json", job_id(2)), b"{}");
    let stays = submitted(&*storage, 3).await;
    let lease = claim(&*storage, &stays).await.expect("claimed");
    storage.put_back(&lease).await.expect("put back");
    let found = storage.leftovers(true).await.expect("looked");
    assert_eq!(found.len(), 1, "the folder has a job: {found:?}");
    assert!(found[0].path.contains("record-") && found[0].removable, "{found:?}");
    eventually("the stray job goes back to its queue", async || {
        storage.adopt_orphans().await.expect("looked");
        (places(&server, &job_id(1)) == [queued_path(&job_id(1))]).then_some(())
    })
    .await;
    for remove in [false, true] {
        let found = storage.leftovers(remove).await.expect("looked");
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].path.as_str(), found[0].removable), (folder, true));
    }
    assert_eq!(storage.leftovers(true).await.expect("looked"), []);
    assert!(!server.paths().iter().any(|path| path.starts_with(folder)), "{:?}", server.paths());
    assert_eq!(claim(&*storage, &stays).await.expect("claimed").record, lease.record);
}

// Looking at the queues.

#[tokio::test]
async fn an_idle_queue_costs_no_calls() {
    let server = DropboxServer::start();
    let storage = open_at(&server).await;
    let mut changes = storage.watch(&backend()).await.expect("watched");
    changes.next().await;
    eventually("the wait has begun", async || {
        storage.list(Place::Queued(&backend())).await.expect("listed");
        (server.count("files/list_folder") >= 2).then_some(())
    })
    .await;
    server.forget_calls();
    for _ in 0..200 {
        assert_eq!(storage.list(Place::Queued(&backend())).await.expect("listed"), []);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(server.calls(), []);
    // What comes is seen, also what we put there ourselves.
    server.put(&queued_path(&job_id(3)), TEXT.as_bytes());
    tokio::time::timeout(Duration::from_secs(2), changes.next()).await.expect("a change is told");
    assert_eq!(storage.list(Place::Queued(&backend())).await.expect("listed"), [id(&job_id(3))]);
    submitted(&*storage, 1).await;
    assert_eq!(storage.list(Place::Queued(&backend())).await.expect("listed").len(), 2);
    let lease = claim(&*storage, &job_id(3)).await.expect("claimed");
    assert_eq!(storage.list(Place::Queued(&backend())).await.expect("listed"), [id(&job_id(1))]);
    storage.put_back(&lease).await.expect("put back");
    let listed = storage.list(Place::Queued(&backend())).await.expect("listed");
    assert_eq!(listed, [id(&job_id(3)), id(&job_id(1))], "what was put back goes first");
    // What others have taken is gone after one try, although nobody has told us yet.
    server.remove(&queued_path(&job_id(1)));
    assert!(claim(&*storage, &job_id(1)).await.is_none());
    assert_eq!(storage.list(Place::Queued(&backend())).await.expect("listed"), [id(&job_id(3))]);
}

/// Lets `trouble` happen to the watch, then waits for a job that comes.
async fn notices_after(trouble: impl FnOnce(&DropboxServer), within: Duration) {
    let server = DropboxServer::start();
    let storage = open_at(&server).await;
    let mut changes = storage.watch(&backend()).await.expect("watched");
    changes.next().await;
    trouble(&server);
    server.put(&queued_path(&job_id(1)), TEXT.as_bytes());
    let seen = async {
        while storage.list(Place::Queued(&backend())).await.expect("listed").is_empty() {
            changes.next().await;
        }
    };
    tokio::time::timeout(within, seen).await.expect("it is noticed");
}

#[tokio::test]
async fn a_job_is_noticed_whatever_happens_to_the_watch() {
    let (soon, later) = (Duration::from_secs(3), Duration::from_secs(12));
    notices_after(DropboxServer::reset_cursors, soon).await;
    notices_after(DropboxServer::wake_longpolls, soon).await;
    notices_after(|server| server.fail("files/list_folder/longpoll", 1, When::Before, Fault::Status(503)), soon).await;
    notices_after(|server| server.fail("files/list_folder/continue", 1, When::Before, Fault::Reset), soon).await;
    notices_after(|server| server.set_page_size(1), soon).await;
    notices_after(|server| server.give_empty_pages(true), soon).await;
    notices_after(|server| server.remove("/Backend_files/Queued_Jobs"), soon).await;
    notices_after(|server| server.block_longpolls(true), later).await;
}

#[tokio::test]
async fn a_wait_that_shall_rest_is_not_repeated_at_once() {
    let server = DropboxServer::start();
    server.set_backoff(Some(2));
    server.set_longpoll_time(Duration::from_millis(50));
    let storage = open_at(&server).await;
    storage.watch(&backend()).await.expect("watched");
    eventually("it has waited", async || (server.count("files/list_folder/longpoll") >= 1).then_some(())).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(server.count("files/list_folder/longpoll") <= 2, "{:?}", server.calls());
}

#[tokio::test]
async fn the_watch_ends_with_the_storage() {
    let server = DropboxServer::start();
    server.set_longpoll_time(Duration::from_millis(50));
    let storage = open_at(&server).await;
    storage.watch(&backend()).await.expect("watched");
    eventually("it waits", async || (server.count("files/list_folder/longpoll") >= 2).then_some(())).await;
    drop(storage);
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.forget_calls();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(server.calls(), []);
}

#[tokio::test]
async fn a_long_listing_comes_in_pages_and_is_whole() {
    let server = DropboxServer::start();
    server.set_page_size(3);
    server.give_empty_pages(true);
    let storage = open_at(&server).await;
    for number in 0..10 {
        server.put_at(&queued_path(&job_id(number)), TEXT.as_bytes(), 1_000_000 - i64::from(number));
    }
    let listed = storage.list(Place::Queued(&backend())).await.expect("listed");
    let expected: Vec<DocumentId> = (0..10).rev().map(|number| id(&job_id(number))).collect();
    assert_eq!(listed, expected, "by time");
}

// Documents.

#[tokio::test]
async fn a_status_below_its_user_is_read_as_well() {
    let server = DropboxServer::start();
    let storage = open_at(&server).await;
    let (backend, job) = (backend(), "20240101_120000-fermions-ada-0a1b2".parse::<JobId>().expect("an id"));
    let place = Place::Status(&backend);
    server.put(&format!("/Backend_files/Status/fermions/ada/status-{job}.json"), b"[1]");
    assert_eq!(storage.get(place, &id(&job)).await.expect("read").text(), b"[1]");
    assert!(storage.exists(place, &id(&job)).await.expect("an answer"));
    storage.upload(place, &id(&job), &document("[2]")).await.expect("created where peers look");
    assert_eq!(storage.get(place, &id(&job)).await.expect("read").text(), b"[2]");
    assert_eq!(storage.list(place).await.expect("listed"), [id(&job)]);
    let path = format!("/Backend_files/Status/fermions/None/status-{job}.json");
    assert_eq!(server.content(&path), Some(b"[2]".to_vec()));
}

#[tokio::test]
async fn what_is_too_large_is_refused_with_figures() {
    let server = DropboxServer::start();
    let storage = open_at(&server).await;
    server.put(&running_path(&job_id(1)), &vec![b' '; (1 << 20) + 1]);
    let error = storage.get(Place::Running, &id(&job_id(1))).await.expect_err("too large");
    assert_eq!(error.kind(), StorageErrorKind::TooLarge, "{error}");
    assert!(error.to_string().contains("1048577 bytes; allowed: 1048576"), "{error}");
    let huge = Document::from_text(vec![b' '; 150 * 1024 * 1024 + 1]);
    let error = storage.upload(Place::Deleted, &id(&job_id(1)), &huge).await.expect_err("too large");
    assert_eq!(error.kind(), StorageErrorKind::TooLarge, "{error}");
    assert!(error.to_string().contains("157286401 bytes; allowed: 157286400"), "{error}");
}

#[tokio::test]
async fn a_full_account_is_said_in_words() {
    let server = DropboxServer::start();
    let storage = open_at(&server).await;
    server.set_full(true);
    let error = storage.upload(Place::Deleted, &id(&job_id(1)), &document("{}")).await.expect_err("no room");
    assert_eq!(error.kind(), StorageErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("insufficient_space"), "{error}");
}

#[tokio::test]
async fn an_update_beside_others_writes_once_and_never_makes_a_document() {
    let server = DropboxServer::start();
    let storage = open_at(&server).await;
    let (place, job) = (Place::Deleted, id(&job_id(1)));
    storage.upload(place, &job, &document("{}")).await.expect("created");
    server.forget_calls();
    storage.update(place, &job, &document("{}")).await.expect("as it is");
    assert_eq!(server.count("files/upload"), 0, "equal bytes are not sent");
    let mut writers = JoinSet::new();
    for number in 0..6 {
        let (storage, job) = (Arc::clone(&storage), job.clone());
        writers.spawn(async move { storage.update(Place::Deleted, &job, &document(&format!("[{number}]"))).await });
    }
    for written in writers.join_all().await {
        written.expect("each gets its turn");
    }
    storage.delete(place, &job).await.expect("deleted");
    let error = storage.update(place, &job, &document("[]")).await.expect_err("nothing is there");
    assert_eq!(error.kind(), StorageErrorKind::NotFound, "{error}");
}

#[tokio::test]
async fn a_storage_that_goes_and_comes_goes_on() {
    let server = DropboxServer::start();
    let options = DropboxOptions { timeout_s: 1, ..dropbox_options(&server) };
    let storage = open_with(options).await.expect("the storage opens");
    let mut changes = storage.watch(&backend()).await.expect("watched");
    changes.next().await;
    let job = submitted(&*storage, 1).await;
    server.set_down(true);
    let error = storage.claim(&backend(), &job).await.expect_err("nobody answers");
    assert_eq!(error.kind(), StorageErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("gave up after 1 s"), "{error}");
    server.set_down(false);
    assert!(claim(&*storage, &job).await.is_some());
    let late = job_id(2);
    server.put(&queued_path(&late), TEXT.as_bytes());
    let seen = async {
        while storage.list(Place::Queued(&backend())).await.expect("listed") != [id(&late)] {
            changes.next().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), seen).await.expect("it is noticed");
}

// What it costs.

/// The most calls that one job may cost, from the claim to the release.
const CALLS_PER_JOB: usize = 10;

/// The most that the watch of the queues may add to that.
const CALLS_OF_WATCH: usize = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_through_a_spooler_costs_few_calls() {
    const JOB: &str = r#"{"experiment_0": {"instructions": [["load", [0], []], ["measure", [0], []]], "num_wires": 8,
        "shots": 3, "wire_order": "interleaved"}}"#;
    let server = DropboxServer::start();
    let options = SpoolerOptions { grace_period_s: 5, ..SpoolerOptions::default() };
    let context = StorageContext { lease: options.lease(), max_job_bytes: options.max_job_bytes() };
    let medium = MediumOptions::Dropbox(dropbox_options(&server));
    let storage = open(&"lab".parse().expect("a name"), &medium, context).await.expect("the storage opens");
    let provider = Provider::new("lab".parse().expect("a name"), true, storage);
    let observer = Provider::new("lab".parse().expect("a name"), true, open_at(&server).await);
    let spooler = Spooler::start(plan(provider, 1, options));
    eventually("it waits for jobs", async || {
        (server.count("files/list_folder/longpoll") == 0).then_some(())?;
        server.paths().iter().any(|path| path.ends_with("Config/fermions/config.json")).then_some(())
    })
    .await;
    // The first poll hangs, and is not counted yet.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let id = job_id(1);
    observer.upload_status(&backend(), &id, &Status::accepted(&id)).await.expect("accepted");
    server.forget_calls();
    observer.upload_job(&backend(), &id, &document(JOB)).await.expect("queued");
    eventually("the job is done", async || {
        let status = server.content(&format!("/Backend_files/Status/fermions/None/status-{id}.json"))?;
        let is_free = !server.paths().iter().any(|path| path.contains("/Leases/") && !path.ends_with('/'));
        (is_free && String::from_utf8_lossy(&status).contains("DONE")).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let calls: Vec<String> = server.calls().into_iter().map(|call| call.route).collect();
    // One is the upload of the job; the others that are not the job's own are the watch of the queues.
    let watch = ["files/list_folder", "files/list_folder/continue", "files/list_folder/longpoll"];
    let own = calls.iter().filter(|route| !watch.contains(&route.as_str())).count() - 1;
    assert!(own <= CALLS_PER_JOB, "{own}: {calls:?}");
    assert!(calls.len() - own - 1 <= CALLS_OF_WATCH, "{calls:?}");
    server.forget_calls();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(server.calls(), [], "an idle spooler asks nothing for seconds");
    spooler.drain().await;
}
