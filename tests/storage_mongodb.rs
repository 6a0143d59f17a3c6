//! What is particular to MongoDB: types and ids, log-ins, crashes between two documents, and servers that go away.
#![cfg(feature = "storage-mongodb")]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::certificates::{Authority, ServerCertificate};
use common::mongodb::{Lent, PASSWORD, READER, Server, USER, lend, options, run_script};
use common::{backend, eventually, job_id, plan};
use jiff::Timestamp;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, DateTime, Document as BsonDocument, RawDocumentBuf, doc};
use mongodb::{Client, Collection};
use qspool::job::{Document, DocumentId, JobId, JobState, Status};
use qspool::spooler::{Spooler, SpoolerOptions};
use qspool::storage::{
    Claim, Holder, Lease, MediumOptions, Place, Provider, Renewal, Storage, StorageContext, StorageError,
    StorageErrorKind, open,
};
use serde_json::{Value, json};

const LEASE: Duration = Duration::from_secs(2);

const TEXT: &str = r#"{"experiment_0": {"shots": 1}}"#;

const GOOD: &str = r#"{"experiment_0": {"instructions": [["load", [0], []], ["measure", [0], []]], "num_wires": 8,
    "shots": 3, "wire_order": "interleaved"}}"#;

async fn try_open(options: &MediumOptions) -> Result<Arc<dyn Storage>, StorageError> {
    let context = StorageContext { lease: LEASE, max_job_bytes: 1 << 20 };
    open(&"lab".parse().expect("a name"), options, context).await
}

/// The storage of a spooler with [`spooler_options`].
async fn provider(options: &MediumOptions) -> Provider {
    let context = StorageContext { lease: spooler_options().lease(), max_job_bytes: 1 << 20 };
    let storage = open(&"lab".parse().expect("a name"), options, context).await.expect("the storage opens");
    Provider::new("lab".parse().expect("a name"), true, storage)
}

fn spooler_options() -> SpoolerOptions {
    SpoolerOptions { lease_s: 5, ..SpoolerOptions::default() }
}

async fn opened(options: &MediumOptions) -> Arc<dyn Storage> {
    try_open(options).await.expect("the storage opens")
}

/// Options with a short time-out.
fn impatient(url: &str, login: Option<(&str, &str)>) -> MediumOptions {
    let MediumOptions::Mongodb(mut mongodb) = options(url, login) else { unreachable!("it is that") };
    mongodb.timeout_s = 1;
    MediumOptions::Mongodb(mongodb)
}

fn with_ca(options: MediumOptions, path: &std::path::Path) -> MediumOptions {
    let MediumOptions::Mongodb(mut mongodb) = options else { unreachable!("it is that") };
    mongodb.ca_file = Some(path.to_owned());
    MediumOptions::Mongodb(mongodb)
}

async fn root(lent: &Lent) -> Client {
    Client::with_uri_str(lent.root_url()).await.expect("a client")
}

fn id(job: &JobId) -> DocumentId {
    job.into()
}

fn key(job: &JobId) -> Bson {
    ObjectId::parse_str(job.as_str()).map_or_else(|_| Bson::String(job.to_string()), Bson::ObjectId)
}

async fn submitted(storage: &dyn Storage, number: u32) -> JobId {
    let job = job_id(number);
    let document = Document::from_text(TEXT);
    storage.upload(Place::Queued(&backend()), &id(&job), &document).await.expect("a new job is taken");
    job
}

async fn claim(storage: &dyn Storage, job: &JobId) -> Lease {
    match storage.claim(&backend(), job).await {
        Ok(Claim::Won(lease)) => lease,
        other => panic!("{job}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_have_the_types_that_the_reference_gives_them() {
    const ODD: &str = r#"{"job_id": "a", "b": 1, "c": 2147483648, "d": -9223372036854775808, "e": 1.0, "f": 1e300,
        "g": [true, null, [], {}, {"z": "\u00e4\u0000", "a": 0.1}], "": -0.5, "h.i": "$j"}"#;
    let lent = lend().await;
    let storage = opened(&lent.options()).await;
    let (ours, theirs) = (job_id(1), job_id(2));
    storage.upload(Place::Status(&backend()), &id(&ours), &Document::from_text(ODD)).await.expect("stored");
    let config = r#"{"display_name": "fermions", "last_queue_check": "2026-11-22T04:15:19+00:00"}"#;
    let name = (&backend()).into();
    storage.upload(Place::Configs, &name, &Document::from_text(config)).await.expect("stored");
    let seen = run_script(
        "reference.py",
        &json!({ "url": lent.root_url(), "text": ODD, "ours": ours.as_str(), "theirs": theirs.as_str() }),
    );
    let expected: Value = serde_json::from_str(ODD).expect("JSON");
    assert_eq!(seen["ours"].to_string(), expected.to_string(), "pymongo reads what we wrote, in order");
    assert_eq!(seen["check"], json!(["datetime", "2026-11-22T04:15:19"]));

    let status: Collection<RawDocumentBuf> = root(&lent).await.database("status").collection("fermions");
    let raw = async |job: &JobId| {
        let found = status.find_one(doc! { "_id": key(job) }).await.expect("found").expect("it is there");
        // The length, then the `_id` of twelve bytes behind its sign and its name.
        found.into_bytes().split_off(4 + 1 + 4 + 12)
    };
    assert_eq!(raw(&ours).await, raw(&theirs).await, "the same bytes");
    let theirs = storage.get(Place::Status(&backend()), &id(&theirs)).await.expect("read");
    let theirs: Value = serde_json::from_slice(theirs.text()).expect("JSON");
    assert_eq!(theirs.to_string(), expected.to_string());
    let rydberg = "rydberg".parse().expect("a name");
    let text = storage.get(Place::Configs, &rydberg).await.expect("read");
    let text = std::str::from_utf8(text.text()).expect("UTF-8").to_owned();
    assert_eq!(text, r#"{"display_name": "rydberg", "last_queue_check": "2026-11-22T04:15:19+00:00"}"#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_is_an_object_id_where_it_has_the_form_of_one() {
    let lent = lend().await;
    let storage = opened(&lent.options()).await;
    let queue: Collection<BsonDocument> = root(&lent).await.database("jobs").collection("queued.fermions");
    let (object_id, text) = (job_id(1), "20240101_120000-fermions-ada-0a1b2".parse::<JobId>().expect("an id"));
    for job in [&object_id, &text] {
        storage.upload(Place::Queued(&backend()), &id(job), &Document::from_text(TEXT)).await.expect("stored");
    }
    // A peer's document of an `_id` that no id means is none of ours.
    queue.insert_one(doc! { "_id": 7 }).await.expect("stored");
    queue.insert_one(doc! { "_id": "0123456789abcdef01234567" }).await.expect("stored");
    let listed = storage.list(Place::Queued(&backend())).await.expect("listed");
    assert_eq!(listed, [id(&object_id), id(&text)]);
    let claimed = [claim(&*storage, &object_id).await, claim(&*storage, &text).await];
    let leases: Collection<BsonDocument> = root(&lent).await.database("jobs").collection("leases");
    for lease in &claimed {
        let found = leases.find_one(doc! { "_id": key(&lease.job_id) }).await.expect("found");
        assert!(found.is_some(), "{}", lease.job_id);
    }
    assert_eq!(queue.count_documents(doc! {}).await.expect("counted"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_of_a_peer_keeps_its_id() {
    let lent = lend().await;
    let storage = opened(&lent.options()).await;
    let configs: Collection<BsonDocument> = root(&lent).await.database("backends").collection("configs");
    let (plain, signed) = (ObjectId::new(), ObjectId::new());
    configs.insert_one(doc! { "_id": plain, "display_name": "fermions", "version": "1" }).await.expect("stored");
    configs.insert_one(doc! { "display_name": "fermions", "version": "2" }).await.expect("stored by a race");
    let payload = doc! { "display_name": "rydberg", "last_queue_check": DateTime::from_millis(0) };
    let document = doc! { "_id": signed, "header": { "kid": "k" }, "payload": payload, "signature": "s" };
    configs.insert_one(document).await.expect("stored");

    let (fermions, rydberg): (DocumentId, DocumentId) = ((&backend()).into(), "rydberg".parse().expect("a name"));
    assert_eq!(storage.list(Place::Configs).await.expect("listed"), [fermions.clone(), rydberg.clone()]);
    let text = Document::from_text(r#"{"display_name": "fermions", "version": "3"}"#);
    let taken = storage.upload(Place::Configs, &fermions, &text).await.expect_err("a peer was first");
    assert_eq!(taken.kind(), StorageErrorKind::AlreadyExists);
    storage.update(Place::Configs, &fermions, &text).await.expect("replaced");
    let found = configs.find_one(doc! { "_id": plain }).await.expect("found").expect("it is there");
    assert_eq!(found, doc! { "_id": plain, "display_name": "fermions", "version": "3" });
    assert_eq!(configs.count_documents(doc! {}).await.expect("counted"), 3);
    let text = storage.get(Place::Configs, &rydberg).await.expect("read");
    assert_eq!(text.signed().expect("it is signed").kid(), "k");
    assert!(String::from_utf8_lossy(text.text()).contains(r#""last_queue_check": "1970-01-01T00:00:00+00:00""#));
    let other = Document::from_text(r#"{"display_name": "spins"}"#);
    let refused = storage.update(Place::Configs, &fermions, &other).await.expect_err("it would be lost");
    assert_eq!(refused.kind(), StorageErrorKind::Refused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_create_a_configuration_one_does() {
    let lent = lend().await;
    let mut creators = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let storage = opened(&lent.options()).await;
        creators.spawn(async move {
            let text = Document::from_text(r#"{"display_name": "fermions"}"#);
            storage.upload(Place::Configs, &(&backend()).into(), &text).await.is_ok()
        });
    }
    assert_eq!(creators.join_all().await.into_iter().filter(|created| *created).count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_start_makes_no_second_index() {
    let lent = lend().await;
    let client = root(&lent).await;
    let indexes = async || {
        let mut names = Vec::new();
        for (database, collection) in [("jobs", "leases"), ("backends", "configs"), ("backends", "public_keys")] {
            let collection: Collection<BsonDocument> = client.database(database).collection(collection);
            names.extend(collection.list_index_names().await.expect("listed"));
        }
        names
    };
    drop(opened(&lent.options()).await);
    let first = indexes().await;
    assert_eq!(first.len(), 3 + 2 + 2 + 1, "{first:?}");
    drop(opened(&lent.options()).await);
    assert_eq!(indexes().await, first);
}

/// The error of an attempt to open, or to write, and how long it took.
async fn refusal(options: &MediumOptions) -> (StorageError, Duration) {
    let begin = Instant::now();
    let error = match try_open(options).await {
        Err(error) => error,
        Ok(storage) => storage
            .upload(Place::Deleted, &id(&job_id(1)), &Document::from_text("{}"))
            .await
            .expect_err("it is not allowed"),
    };
    let text = error.to_string();
    assert!(!text.contains(PASSWORD) && !text.contains("hunter2"), "{text}");
    (error, begin.elapsed())
}

#[track_caller]
fn check_refusal((error, took): (StorageError, Duration), kind: StorageErrorKind, parts: &[&str]) {
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    for part in parts {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert!(took < Duration::from_secs(8), "{took:?}: {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_in_that_is_refused_says_what_to_mend() {
    let lent = lend().await;
    let MediumOptions::Mongodb(good) = lent.options() else { unreachable!("it is that") };
    let url = good.mongodb_database_url.expect("it is set").expose().to_owned();
    let keys = ["storage.lab.mongodb_username", "storage.lab.mongodb_password", "127.0.0.1"];
    for login in [(USER, "hunter2"), ("nobody", "hunter2"), ("nobody", PASSWORD)] {
        check_refusal(refusal(&options(&url, Some(login))).await, StorageErrorKind::Denied, &keys);
    }
    let rights = ["readWriteAnyDatabase", "storage.lab.mongodb_username"];
    check_refusal(refusal(&options(&url, Some((READER, PASSWORD)))).await, StorageErrorKind::Denied, &rights);
    check_refusal(refusal(&options(&url, None)).await, StorageErrorKind::Denied, &["storage.lab.mongodb_username"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_is_told_in_time() {
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let url = format!("mongodb://127.0.0.1:{port}/");
    let away = refusal(&impatient(&url, Some((USER, PASSWORD)))).await;
    check_refusal(away, StorageErrorKind::Unavailable, &["cannot open the storage", &format!("127.0.0.1:{port}")]);
    let nowhere = refusal(&impatient("mongodb://nowhere.invalid/", Some((USER, PASSWORD)))).await;
    check_refusal(nowhere, StorageErrorKind::Unavailable, &["nowhere.invalid"]);
    let unknown = refusal(&impatient("nowhere.invalid", Some((USER, PASSWORD)))).await;
    check_refusal(unknown, StorageErrorKind::Unavailable, &["nowhere.invalid"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_trusted_if_its_authority_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let authority = Authority::new("the laboratory");
    let ServerCertificate { certificate, key } = authority.sign_server();
    let (cert, key) = (write("cert.pem", &certificate), write("key.pem", &key));
    let (ca, stranger) = (write("ca.pem", authority.pem()), write("stranger.pem", Authority::new("a stranger").pem()));
    let flags = ["--tls-cert-file", cert.to_str().expect("UTF-8"), "--tls-key-file", key.to_str().expect("UTF-8")];
    let server = Server::start(&flags);
    let options = impatient(&format!("{}&tls=true", server.url()), None);

    let storage = opened(&with_ca(options.clone(), &ca)).await;
    storage.upload(Place::Deleted, &id(&job_id(1)), &Document::from_text("{}")).await.expect("stored");
    // The authority alone turns TLS on.
    drop(opened(&with_ca(impatient(&server.url(), None), &ca)).await);
    let named = ["storage.lab.ca_file"];
    check_refusal(refusal(&options).await, StorageErrorKind::Denied, &named);
    check_refusal(refusal(&with_ca(options.clone(), &stranger)).await, StorageErrorKind::Denied, &named);
    check_refusal(refusal(&with_ca(options.clone(), &key_less(&folder))).await, StorageErrorKind::Denied, &named);
    check_refusal(refusal(&with_ca(options, "/nowhere/ca.pem".as_ref())).await, StorageErrorKind::Denied, &named);
    let off = with_ca(impatient(&format!("{}&tls=false", server.url()), None), &ca);
    check_refusal(refusal(&off).await, StorageErrorKind::Denied, &["storage.lab.ca_file", "turns TLS off"]);
    let plain = refusal(&impatient(&server.url(), None)).await;
    check_refusal(plain, StorageErrorKind::Unavailable, &["127.0.0.1"]);
}

/// A file that holds no certificate.
fn key_less(folder: &tempfile::TempDir) -> std::path::PathBuf {
    let path = folder.path().join("empty.pem");
    std::fs::write(&path, "nothing").expect("written");
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_beyond_the_limit_is_refused_with_both_figures() {
    let lent = lend().await;
    let storage = opened(&lent.options()).await;
    let huge = Document::from_text(format!(r#"{{"memory": "{}"}}"#, "0".repeat(17 << 20)));
    let place = Place::Results(&backend());
    let error = storage.upload(place, &id(&job_id(1)), &huge).await.expect_err("MongoDB takes 16 MiB");
    assert_eq!(error.kind(), StorageErrorKind::TooLarge, "{error}");
    // Length, `_id`, sign and name, length, text with its end, end.
    let found = 4 + (1 + 4 + 12) + (1 + 7) + 4 + (17 << 20) + 1 + 1;
    for figure in [found, 16 << 20] {
        assert!(error.to_string().contains(&figure.to_string()), "{figure}: {error}");
    }
    assert!(!storage.exists(place, &id(&job_id(1))).await.expect("an answer"));
    let large = Document::from_text(format!(r#"{{"memory": "{}"}}"#, "0".repeat(15 << 20)));
    storage.upload(place, &id(&job_id(1)), &large).await.expect("stored");
    assert_eq!(storage.get(place, &id(&job_id(1))).await.expect("results are read whole"), large);
    let job = Document::from_text(format!(r#"{{"a": "{}"}}"#, "0".repeat(2 << 20)));
    storage.upload(Place::Running, &id(&job_id(1)), &job).await.expect("stored");
    let error = storage.get(Place::Running, &id(&job_id(1))).await.expect_err("jobs have a limit of their own");
    assert_eq!(error.kind(), StorageErrorKind::TooLarge, "{error}");
    for (text, expected) in [("[1]", "not a JSON object"), (r#"{"a": 1e999}"#, "not JSON"), ("", "not JSON")] {
        let error = storage.upload(Place::Running, &id(&job_id(2)), &Document::from_text(text)).await;
        let error = error.expect_err("it cannot be stored");
        assert_eq!(error.kind(), StorageErrorKind::Refused, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

/// A million shots of eight wires: as text 17 MB, as BSON more, since there every shot has a number of its own.
const HUGE: &str = r#"{"experiment_0": {"instructions": [["load", [0], []], ["measure", [0], []], ["measure", [1], []],
    ["measure", [2], []], ["measure", [3], []], ["measure", [4], []], ["measure", [5], []], ["measure", [6], []],
    ["measure", [7], []]], "num_wires": 8, "shots": 1000000, "wire_order": "interleaved"}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_beyond_the_limit_ends_its_job_with_both_figures() {
    let lent = lend().await;
    let provider = provider(&lent.options()).await;
    let job = job_id(1);
    provider.upload_status(&backend(), &job, &Status::accepted(&job)).await.expect("accepted");
    provider.upload_job(&backend(), &job, &Document::from_text(HUGE)).await.expect("queued");
    let spooler = Spooler::start(plan(provider.clone(), 1, spooler_options()));
    let status = eventually("the end of the job", async || {
        let status = provider.get_status(&backend(), &job).await.ok()?;
        status.status.is_final().then_some(status)
    })
    .await;
    spooler.drain().await;
    assert_eq!(status.status, JobState::Error);
    let why = status.error_message;
    let bytes: Option<u64> = (|| why.strip_prefix("the result has ")?.split(' ').next()?.parse().ok())();
    assert!(bytes.is_some_and(|bytes| bytes > 16 << 20), "{why}");
    assert!(why.contains("allowed: 16777216;"), "{why}");
    assert_eq!(provider.jobs(Place::Deleted).await.expect("listed"), [job]);
}

/// What a spooler that died left of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    Valid,
    Expired,
    Record,
}

/// What another spooler has to make of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Nothing changes.
    Untouched,
    /// The job lies in its queue, and only there.
    Queued,
    /// The lease is that of the other, with one more attempt.
    Adopted,
    /// Nothing is left.
    Cleared,
}

/// Every state between two steps of a claim, of putting back, and of the end of a job: whether the document lies in the
/// queue, in running and in finished, the lease, and what comes of it.
const STATES: [(bool, bool, bool, Left, Outcome); 14] = [
    // A claim.
    (true, false, false, Left::Nothing, Outcome::Untouched),
    (true, true, false, Left::Nothing, Outcome::Queued),
    (true, true, false, Left::Valid, Outcome::Untouched),
    (true, true, false, Left::Expired, Outcome::Queued),
    (false, true, false, Left::Valid, Outcome::Untouched),
    (false, true, false, Left::Expired, Outcome::Adopted),
    // Putting back, and the claim after it.
    (true, false, false, Left::Expired, Outcome::Queued),
    (true, false, false, Left::Record, Outcome::Untouched),
    (true, true, false, Left::Record, Outcome::Queued),
    // The end.
    (false, true, true, Left::Expired, Outcome::Adopted),
    (false, false, true, Left::Expired, Outcome::Adopted),
    // What peers do, who know no leases.
    (false, true, false, Left::Nothing, Outcome::Untouched),
    (false, true, false, Left::Record, Outcome::Untouched),
    (false, false, false, Left::Record, Outcome::Cleared),
];

const FIRST_CLAIMED: &str = "2026-11-22T04:15:19.123456789Z";

fn left_lease(job: &JobId, left: Left) -> Option<BsonDocument> {
    let now = DateTime::from_millis(Timestamp::now().as_millisecond());
    let (owner, until) = match left {
        Left::Nothing => return None,
        Left::Valid => (Some("0123456789abcdef01234567"), now.saturating_add_millis(3_600_000)),
        Left::Expired => (Some("0123456789abcdef01234567"), now.saturating_add_millis(-1_000)),
        Left::Record => (None, now),
    };
    Some(doc! { "_id": key(job), "owner": owner, "backend": "fermions", "until": until, "host": "gone", "pid": 1_i64,
    "attempts": 1_i64, "first_claimed": FIRST_CLAIMED, "verdict": null, "cancel": false })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_or_a_return_cut_after_any_step_loses_nothing() {
    let lent = lend().await;
    let jobs = root(&lent).await.database("jobs");
    let collection = |name: &str| jobs.collection::<BsonDocument>(name);
    let places = ["queued.fermions", "running", "finished.fermions"].map(collection);
    let leases = collection("leases");
    for (number, (queued, running, finished, left, _)) in (0..).zip(STATES) {
        let job = job_id(number);
        for (place, is_there) in places.iter().zip([queued, running, finished]) {
            if is_there {
                place.insert_one(doc! { "_id": key(&job), "number": i64::from(number) }).await.expect("stored");
            }
        }
        if let Some(lease) = left_lease(&job, left) {
            leases.insert_one(lease).await.expect("stored");
        }
    }
    // Several look at the same time; of what is to be taken over each thing is taken by one.
    let heirs = [opened(&lent.options()).await, opened(&lent.options()).await, opened(&lent.options()).await];
    let mut adopted = Vec::new();
    let begin = Instant::now();
    while begin.elapsed() < LEASE * 2 {
        let [a, b, c] = &heirs;
        let looks = tokio::join!(a.adopt_orphans(), b.adopt_orphans(), c.adopt_orphans());
        adopted.extend([looks.0, looks.1, looks.2].into_iter().flat_map(|look| look.expect("looked")));
        for lease in &adopted {
            // Whoever it is whose lease it is keeps it.
            for heir in &heirs {
                let _held = heir.renew(lease).await.expect("an answer");
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for (number, state) in (0..).zip(STATES) {
        let (queued, running, finished, left, outcome) = state;
        let job = job_id(number);
        let mut there = Vec::new();
        for place in &places {
            there.push(place.find_one(doc! { "_id": key(&job) }).await.expect("found").is_some());
        }
        let lease = leases.find_one(doc! { "_id": key(&job) }).await.expect("found");
        let mine: Vec<&Lease> = adopted.iter().filter(|lease| lease.job_id == job).collect();
        match outcome {
            Outcome::Untouched => {
                assert_eq!(there, [queued, running, finished], "{state:?}");
                assert_eq!(lease.is_some(), left != Left::Nothing, "{state:?}");
                assert!(mine.is_empty(), "{state:?}: {mine:?}");
            }
            Outcome::Queued => {
                assert_eq!(there, [true, false, finished], "{state:?}");
                assert_eq!(lease.expect("a record").get("owner"), Some(&Bson::Null), "{state:?}");
                assert!(mine.is_empty(), "{state:?}: {mine:?}");
                let record = claim(&*heirs[0], &job).await.record;
                assert_eq!(record.attempts, u32::from(left != Left::Nothing), "{state:?}: no further attempt");
            }
            Outcome::Adopted => {
                assert_eq!(there, [queued, running, finished], "{state:?}");
                assert_eq!(mine.len(), 1, "{state:?}: {mine:?}");
                assert_eq!(mine[0].record.attempts, 2, "{state:?}");
                assert_eq!(mine[0].record.first_claimed, FIRST_CLAIMED.parse().expect("a time"), "{state:?}");
            }
            Outcome::Cleared => {
                assert_eq!((there, lease), (vec![false, false, false], None), "{state:?}");
                assert!(mine.is_empty(), "{state:?}: {mine:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spooler_that_dies_at_any_moment_of_a_claim_or_a_return_loses_nothing() {
    const JOBS: u32 = 60;
    let lent = lend().await;
    let observer = opened(&lent.options()).await;
    for number in 0..JOBS {
        submitted(&*observer, number).await;
    }
    for number in 0..JOBS {
        let dying = opened(&lent.options()).await;
        let (job, moment) = (job_id(number), Duration::from_micros(u64::from(number / 2) * 900));
        if number % 2 == 0 {
            let _cut = tokio::time::timeout(moment, dying.claim(&backend(), &job)).await;
        } else {
            let lease = claim(&*dying, &job).await;
            let _cut = tokio::time::timeout(moment, dying.put_back(&lease)).await;
        }
    }
    let begin = Instant::now();
    while begin.elapsed() < LEASE * 2 {
        for lease in observer.adopt_orphans().await.expect("looked") {
            observer.put_back(&lease).await.expect("put back");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(observer.list(Place::Running).await.expect("listed"), []);
    let mut queued = observer.list(Place::Queued(&backend())).await.expect("listed");
    queued.sort();
    assert_eq!(queued, (0..JOBS).map(|number| id(&job_id(number))).collect::<Vec<_>>());
    let held = observer.leases().await.expect("listed").into_iter().find(|held| held.holder != Holder::Nobody);
    assert_eq!(held, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_claims_by_one_spooler_one_wins() {
    let lent = lend().await;
    let storage = opened(&lent.options()).await;
    let job = submitted(&*storage, 1).await;
    let mut claims = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (storage, job) = (Arc::clone(&storage), job.clone());
        claims.spawn(async move { matches!(storage.claim(&backend(), &job).await, Ok(Claim::Won(_))) });
    }
    let answers = tokio::time::timeout(Duration::from_secs(30), claims.join_all()).await.expect("all have an answer");
    assert_eq!(answers.into_iter().filter(|won| *won).count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_jobs_of_one_id_are_both_kept() {
    let lent = lend().await;
    let jobs = root(&lent).await.database("jobs");
    let storage = opened(&lent.options()).await;
    let running = claim(&*storage, &submitted(&*storage, 1).await).await;
    let second = doc! { "_id": key(&running.job_id), "second": 1 };
    jobs.collection::<BsonDocument>("queued.fermions").insert_one(&second).await.expect("stored");
    let error = storage.claim(&backend(), &running.job_id).await.expect_err("one of that id runs");
    assert_eq!(error.kind(), StorageErrorKind::AlreadyExists, "{error}");
    let error = storage.put_back(&running).await.expect_err("one of that id waits");
    assert_eq!(error.kind(), StorageErrorKind::AlreadyExists, "{error}");
    let queued = jobs.collection::<BsonDocument>("queued.fermions").find_one(doc! {}).await.expect("found");
    assert_eq!(queued, Some(second));
    assert!(storage.exists(Place::Running, &id(&running.job_id)).await.expect("an answer"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_needs_is_told_and_removed() {
    let lent = lend().await;
    let jobs = root(&lent).await.database("jobs");
    let storage = opened(&lent.options()).await;
    let long_ago = DateTime::from_millis(Timestamp::now().as_millisecond() - 3_600_000);
    for (number, left) in [(1, Left::Record), (2, Left::Expired)] {
        let mut lease = left_lease(&job_id(number), left).expect("a lease");
        lease.insert("until", long_ago);
        jobs.collection("leases").insert_one(lease).await.expect("stored");
    }
    for place in ["queued.fermions", "running"] {
        jobs.collection(place).insert_one(doc! { "_id": key(&job_id(3)), "a": 1 }).await.expect("stored");
    }
    // A peer's running job is none.
    jobs.collection("running").insert_one(doc! { "_id": key(&job_id(4)) }).await.expect("stored");
    assert_eq!(storage.leftovers(false).await.expect("looked").len(), 2, "the double may be a claim under way");
    tokio::time::sleep(LEASE + Duration::from_millis(200)).await;
    for remove in [false, true] {
        let found = opened(&lent.options()).await.leftovers(remove).await.expect("looked");
        let mut paths: Vec<&str> = found.iter().map(|leftover| leftover.path.as_str()).collect();
        paths.sort_unstable();
        let [record, lease] = [1, 2].map(|number| format!("jobs.leases/{}", job_id(number)));
        assert_eq!(paths, [&record, &lease, &format!("jobs.running/{}", job_id(3))]);
        assert!(found.iter().all(|leftover| leftover.removable));
    }
    assert_eq!(storage.leftovers(true).await.expect("looked"), []);
    assert_eq!(storage.list(Place::Running).await.expect("listed"), [id(&job_id(4))]);
    assert_eq!(storage.list(Place::Queued(&backend())).await.expect("listed"), [id(&job_id(3))]);
}

/// Makes commands fail.
async fn fail(lent: &Lent, mode: impl Into<Bson>, data: BsonDocument) {
    let command = doc! { "configureFailPoint": "failCommand", "mode": mode, "data": data };
    root(lent).await.database("admin").run_command(command).await.expect("the server takes fail points");
}

/// The whole life of a job, once there and back.
async fn whole_life(storage: &dyn Storage, number: u32) -> Result<(), StorageError> {
    let job = job_id(number);
    storage.upload(Place::Queued(&backend()), &id(&job), &Document::from_text(TEXT)).await?;
    for is_last in [false, true] {
        let Claim::Won(lease) = storage.claim(&backend(), &job).await? else { panic!("nobody else is there") };
        assert_eq!(lease.record.attempts, 0);
        assert_eq!(storage.renew(&lease).await?, Renewal::Held { cancel: false });
        if is_last {
            storage.move_to(Place::Running, Place::Finished(&backend()), &id(&job)).await?;
            storage.release(&lease).await?;
        } else {
            storage.put_back(&lease).await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_once_is_noticed_by_nobody() {
    let lent = lend().await;
    let storage = opened(&lent.options()).await;
    for (number, command) in (0..).zip(["insert", "find", "delete", "findAndModify"]) {
        fail(&lent, doc! { "times": 1 }, doc! { "failCommands": [command], "closeConnection": true }).await;
        whole_life(&*storage, number).await.unwrap_or_else(|error| panic!("{command}: {error}"));
    }
    assert_eq!(storage.leases().await.expect("listed"), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_disk_is_full_is_waited_for() {
    const OUT_OF_DISK_SPACE: i32 = 14031;
    let lent = lend().await;
    let provider = provider(&lent.options()).await;
    submit(&provider, 0..3).await;
    let full = doc! { "failCommands": ["insert", "update", "findAndModify"], "errorCode": OUT_OF_DISK_SPACE };
    fail(&lent, "alwaysOn", full).await;
    let refused = provider.upload_status(&backend(), &job_id(9), &Status::accepted(&job_id(9))).await;
    assert_eq!(refused.expect_err("there is no room").kind(), StorageErrorKind::Unavailable);
    let spooler = Spooler::start(plan(provider.clone(), 1, spooler_options()));
    // Long enough for every step to have been tried, and failed.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(provider.queue(&backend()).await.expect("listed").len(), 3, "nothing is lost");
    fail(&lent, "off", doc! {}).await;
    eventually("the end of all jobs", async || all_done(&provider, 0..3).await.then_some(())).await;
    spooler.drain().await;
    check_ends(&provider, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_the_network_cuts_is_completed_when_it_is_back() {
    let lent = lend().await;
    let storage = opened(&lent.options()).await;
    for (number, command) in (0..).zip(["insert", "find", "delete", "findAndModify"]) {
        let job = submitted(&*storage, number).await;
        // One that was put back is claimed by findAndModify.
        storage.put_back(&claim(&*storage, &job).await).await.expect("put back");
        fail(&lent, "alwaysOn", doc! { "failCommands": [command], "closeConnection": true }).await;
        let begin = Instant::now();
        let error = storage.claim(&backend(), &job).await.expect_err("the server does not take part");
        assert_eq!(error.kind(), StorageErrorKind::Unavailable, "{command}: {error}");
        assert!(begin.elapsed() < Duration::from_secs(10), "{command}: {:?}", begin.elapsed());
        fail(&lent, "off", doc! {}).await;
        let lease = claim(&*storage, &job).await;
        assert_eq!(lease.record.attempts, 0, "{command}: it was never begun");
        assert!(!storage.exists(Place::Queued(&backend()), &id(&job)).await.expect("an answer"), "{command}");
        assert!(storage.exists(Place::Running, &id(&job)).await.expect("an answer"), "{command}");
        storage.move_to(Place::Running, Place::Deleted, &id(&job)).await.expect("moved");
        storage.release(&lease).await.expect("released");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_server_is_waited_for() {
    let lent = lend().await;
    let storage = opened(&lent.options()).await;
    let commands = ["find", "insert", "delete", "findAndModify"];
    let slow = doc! { "failCommands": commands.to_vec(), "blockConnection": true, "blockTimeMS": 100 };
    fail(&lent, "alwaysOn", slow).await;
    let lived = whole_life(&*storage, 1).await;
    fail(&lent, "off", doc! {}).await;
    lived.expect("it only takes longer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_frozen_for_longer_than_a_lease_lets_another_take_over() {
    let server = Server::start(&[]);
    let options = impatient(&server.url(), None);
    let (holder, heir) = (opened(&options).await, opened(&options).await);
    let job = submitted(&*holder, 1).await;
    let lease = claim(&*holder, &job).await;
    server.freeze();
    let begin = Instant::now();
    let error = holder.renew(&lease).await.expect_err("there is no answer");
    assert_eq!(error.kind(), StorageErrorKind::Unavailable, "{error}");
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    tokio::time::sleep(LEASE).await;
    server.thaw();
    let adopted = eventually("the lease is taken over", async || {
        heir.adopt_orphans().await.ok().and_then(|adopted| adopted.into_iter().next())
    })
    .await;
    assert_eq!((&adopted.job_id, adopted.record.attempts), (&job, 1));
    assert_eq!(holder.renew(&lease).await.expect("an answer"), Renewal::Lost);
    heir.put_back(&adopted).await.expect("put back");
    assert_eq!(heir.list(Place::Queued(&backend())).await.expect("listed"), [id(&job)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_is_watched_again_after_the_server_was_away() {
    let mut server = Server::start(&[]);
    let options = impatient(&server.url(), None);
    let storage = opened(&options).await;
    let mut changes = storage.watch(&backend()).await.expect("watched");
    let other = "rydberg".parse().expect("a name");
    let mut of_other = storage.watch(&other).await.expect("watched");
    submitted(&*storage, 1).await;
    tokio::time::timeout(Duration::from_secs(5), changes.next()).await.expect("it is told");
    let told = tokio::time::timeout(Duration::from_millis(300), of_other.next()).await;
    assert!(told.is_err(), "the other queue has not changed");
    server.kill();
    tokio::task::block_in_place(|| server.run(&[]));
    // That the watch has been away is told to all.
    tokio::time::timeout(Duration::from_secs(30), of_other.next()).await.expect("it is told");
    eventually("a new job is told of", async || {
        while tokio::time::timeout(Duration::from_millis(200), changes.next()).await.is_ok() {}
        let job = JobId::time_ordered(7, rand::random(), 0);
        storage.upload(Place::Queued(&backend()), &id(&job), &Document::from_text(TEXT)).await.ok()?;
        tokio::time::timeout(Duration::from_secs(2), changes.next()).await.ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stands_alone_is_served_by_looking() {
    let server = Server::start(&["--standalone"]);
    let storage = opened(&impatient(&server.url(), None)).await;
    whole_life(&*storage, 1).await.expect("it needs no replica set");
    let refused = storage.watch(&backend()).await.expect_err("it has no change streams");
    assert_eq!(refused.kind(), StorageErrorKind::Refused, "{refused}");
    let provider = provider(&impatient(&server.url(), None)).await;
    let spooler = Spooler::start(plan(provider.clone(), 1, spooler_options()));
    submit(&provider, 2..4).await;
    eventually("the end of the jobs", async || all_done(&provider, 2..4).await.then_some(())).await;
    spooler.drain().await;
}

async fn submit(provider: &Provider, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let job = job_id(number);
        provider.upload_status(&backend(), &job, &Status::accepted(&job)).await.expect("accepted");
        provider.upload_job(&backend(), &job, &Document::from_text(GOOD)).await.expect("queued");
    }
}

async fn all_done(provider: &Provider, mut numbers: std::ops::Range<u32>) -> bool {
    // The last ones are the last to end, as a rule; so most looks need one question.
    while let Some(number) = numbers.next_back() {
        let status = provider.get_status(&backend(), &job_id(number)).await;
        if !status.is_ok_and(|status| status.status == JobState::Done) {
            return false;
        }
    }
    true
}

/// Every job has ended well, in one place, with one result, and nothing of ours is left.
async fn check_ends(provider: &Provider, jobs: u32) {
    let storage = provider.storage().expect("active");
    let ids: Vec<DocumentId> = (0..jobs).map(|number| id(&job_id(number))).collect();
    for place in [Place::Finished(&backend()), Place::Results(&backend()), Place::Status(&backend())] {
        let mut found = storage.list(place).await.expect("listed");
        found.sort();
        assert_eq!(found, ids, "{place}");
    }
    for place in [Place::Queued(&backend()), Place::Running, Place::Deleted] {
        assert_eq!(storage.list(place).await.expect("listed"), [], "{place}");
    }
    assert_eq!(storage.leases().await.expect("listed"), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_spoolers_share_a_queue() {
    const JOBS: u32 = 120;
    let lent = lend().await;
    let options = lent.options();
    let observer = provider(&options).await;
    let spoolers = [
        Spooler::start(plan(provider(&options).await, 2, spooler_options())),
        Spooler::start(plan(provider(&options).await, 2, spooler_options())),
    ];
    submit(&observer, 0..JOBS).await;
    eventually("the end of all jobs", async || all_done(&observer, 0..JOBS).await.then_some(())).await;
    for spooler in spoolers {
        tokio::time::timeout(Duration::from_secs(60), spooler.drain()).await.expect("a spooler drains");
    }
    check_ends(&observer, JOBS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_again_and_again_loses_no_job() {
    const JOBS: u32 = 60;
    let mut server = Server::start(&[]);
    let options = options(&server.url(), None);
    let observer = provider(&options).await;
    submit(&observer, 0..JOBS).await;
    let spoolers = [
        Spooler::start(plan(provider(&options).await, 2, spooler_options())),
        Spooler::start(plan(provider(&options).await, 2, spooler_options())),
    ];
    for done in [10, 25, 40] {
        eventually("some jobs have ended", async || {
            let finished = observer.jobs(Place::Finished(&backend())).await.ok()?;
            (finished.len() >= done).then_some(())
        })
        .await;
        server.kill();
        tokio::task::block_in_place(|| server.run(&[]));
    }
    eventually("the end of all jobs", async || all_done(&observer, 0..JOBS).await.then_some(())).await;
    for spooler in spoolers {
        tokio::time::timeout(Duration::from_secs(60), spooler.drain()).await.expect("a spooler drains");
    }
    check_ends(&observer, JOBS).await;
}
