//! What every storage has to do, called once per medium on the real thing.

mod common;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use common::{TempStorage, backend, eventually, job_id};
use jiff::Timestamp;
use qspool::job::{BackendConfig, BackendName, Document, DocumentId, JobId, Progress, Status};
use qspool::signing::{PrivateKey, PublicKey, is_signed_by, sign};
use qspool::storage::{
    Claim, Holder, Lease, LeaseRecord, NextJob, Place, QueueView, Renewal, Storage, StorageErrorKind,
};

/// Calls every check of the suite with a fresh storage of the medium.
macro_rules! storage_suite {
    ($medium:ident) => {
        storage_suite!($medium:
            a_document_is_created_read_replaced_moved_and_deleted,
            what_is_missing_is_not_found,
            what_exists_is_never_overwritten,
            a_moved_document_keeps_its_bytes,
            a_queue_is_listed_in_the_order_of_arrival,
            of_many_claims_of_one_job_one_wins,
            many_claimers_of_many_jobs_take_each_once,
            a_claimed_job_lies_in_running_with_a_lease,
            a_job_put_back_is_first_again_and_keeps_its_record,
            a_released_job_is_not_held_any_more,
            the_lease_of_a_living_spooler_is_not_taken,
            the_lease_of_a_dead_spooler_is_taken_over_by_one,
            a_job_of_a_peer_in_running_is_left_alone,
            a_cancellation_reaches_the_holder_of_the_lease,
            a_new_job_is_noticed_at_once,
            an_inactive_storage_refuses_by_name,
            ids_of_any_allowed_form_are_taken,
            new_ids_are_all_different_and_sort_by_time,
            a_backend_is_known_by_anything_that_it_has,
            what_has_not_changed_for_a_while_is_told,
            everybody_sees_who_holds_a_lease,
            how_far_a_run_has_come_is_told_until_its_job_changes_hands,
            a_job_that_a_peer_left_in_running_is_adopted_by_one,
            an_adopted_job_goes_back_to_its_queue,
            a_storage_in_order_has_no_leftovers,
            a_public_key_is_found_by_its_kid,
            a_configuration_is_kept_with_its_times,
            a_signed_configuration_is_replaced_by_its_own_key_only,
            a_public_key_is_never_replaced_by_another_of_its_kid,
            a_result_is_told_valid_not_signed_altered_or_of_another_key,
        );
    };
    ($medium:ident: $($check:ident),+ $(,)?) => {
        mod $medium {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                super::$check(crate::common::TempStorage::$medium().await).await;
            })+
        }
    };
}

storage_suite!(local);
#[cfg(feature = "storage-mongodb")]
storage_suite!(mongodb);
#[cfg(feature = "storage-dropbox")]
storage_suite!(dropbox);

const TEXT: &str = r#"{"experiment_0": {"shots":  1}}"#;

fn document(text: &str) -> Document {
    Document::from_text(text)
}

fn id(job_id: &JobId) -> DocumentId {
    job_id.into()
}

async fn claim(storage: &dyn Storage, job: &JobId) -> Option<Lease> {
    match storage.claim(&backend(), job).await.expect("a claim has an answer") {
        Claim::Won(lease) => Some(lease),
        Claim::Gone => None,
        Claim::Unsettled => panic!("{job} is whole"),
    }
}

async fn submitted(storage: &dyn Storage, number: u32) -> JobId {
    let job = job_id(number);
    storage.upload(Place::Queued(&backend()), &id(&job), &document(TEXT)).await.expect("a new job is taken");
    job
}

async fn a_document_is_created_read_replaced_moved_and_deleted(temp: TempStorage) {
    let storage = temp.open().await;
    let (from, to, id) = (Place::Running, Place::Deleted, id(&job_id(1)));
    storage.upload(from, &id, &document("{}")).await.expect("created");
    assert_eq!(storage.get(from, &id).await.expect("read"), document("{}"));
    assert!(storage.exists(from, &id).await.expect("an answer"));
    storage.update(from, &id, &document(TEXT)).await.expect("replaced");
    storage.move_to(from, to, &id).await.expect("moved");
    assert!(temp.is_same(&storage.get(to, &id).await.expect("read at its new place"), TEXT));
    assert_eq!(storage.list(from).await.expect("listed"), []);
    storage.delete(to, &id).await.expect("deleted");
    assert_eq!(storage.list(to).await.expect("listed"), []);
}

async fn what_is_missing_is_not_found(temp: TempStorage) {
    let storage = temp.open().await;
    let (place, id) = (Place::Deleted, id(&job_id(1)));
    let answers = [
        storage.get(place, &id).await.err(),
        storage.update(place, &id, &document("{}")).await.err(),
        storage.move_to(place, Place::Running, &id).await.err(),
        storage.delete(place, &id).await.err(),
    ];
    for answer in answers {
        let error = answer.expect("nothing is there");
        assert_eq!(error.kind(), StorageErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains("jobs/deleted"), "{error}");
    }
    assert!(!storage.exists(place, &id).await.expect("an answer"));
    assert_eq!(storage.list(Place::Running).await.expect("an unknown place is empty"), []);
}

async fn what_exists_is_never_overwritten(temp: TempStorage) {
    let storage = temp.open().await;
    let id = id(&job_id(1));
    storage.upload(Place::Running, &id, &document(r#"{"a":1}"#)).await.expect("created");
    storage.upload(Place::Deleted, &id, &document(r#"{"b":1}"#)).await.expect("created elsewhere");
    for error in [
        storage.upload(Place::Running, &id, &document("{}")).await.err(),
        storage.move_to(Place::Running, Place::Deleted, &id).await.err(),
    ] {
        assert_eq!(error.expect("it is there").kind(), StorageErrorKind::AlreadyExists);
    }
    assert!(temp.is_same(&storage.get(Place::Running, &id).await.expect("still there"), r#"{"a":1}"#));
    assert!(temp.is_same(&storage.get(Place::Deleted, &id).await.expect("untouched"), r#"{"b":1}"#));
}

async fn a_moved_document_keeps_its_bytes(temp: TempStorage) {
    let storage = temp.open().await;
    let odd = "{ \"b\" : 1.50, \"a\":1e2,\n\"\\u00e4\": -0.0 }";
    let job = job_id(7);
    storage.upload(Place::Queued(&backend()), &id(&job), &document(odd)).await.expect("created");
    let stored = storage.get(Place::Queued(&backend()), &id(&job)).await.expect("read");
    assert!(temp.is_same(&stored, odd));
    let lease = claim(&*storage, &job).await.expect("claimed");
    storage.move_to(Place::Running, Place::Finished(&backend()), &id(&job)).await.expect("moved");
    storage.release(&lease).await.expect("released");
    assert_eq!(storage.get(Place::Finished(&backend()), &id(&job)).await.expect("read"), stored);
}

async fn a_queue_is_listed_in_the_order_of_arrival(temp: TempStorage) {
    let storage = temp.open().await;
    let mut arrived = Vec::new();
    for number in [9, 3, 7, 1] {
        arrived.push(id(&submitted(&*storage, number).await));
        tokio::time::sleep(storage.arrival_resolution()).await;
    }
    assert_eq!(storage.list(Place::Queued(&backend())).await.expect("listed"), arrived);
}

async fn of_many_claims_of_one_job_one_wins(temp: TempStorage) {
    let job = submitted(&*temp.open().await, 1).await;
    let mut claims = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (storage, job) = (temp.open().await, job.clone());
        claims.spawn(async move { (claim(&*storage, &job).await.is_some(), storage) });
    }
    // The storages live until all have tried: a winner that goes away would free its job.
    let answers = claims.join_all().await;
    assert_eq!(answers.iter().filter(|(won, _)| *won).count(), 1);
}

async fn many_claimers_of_many_jobs_take_each_once(temp: TempStorage) {
    const JOBS: u32 = 200;
    let first = temp.provider().await;
    for number in 0..JOBS {
        submitted(first.storage().expect("active"), number).await;
    }
    let mut claimers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let provider = temp.provider().await;
        claimers.spawn(async move {
            let (mut view, mut taken) = (QueueView::default(), Vec::new());
            while let NextJob::Claimed(lease) =
                provider.get_next_job_in_queue(&backend(), &mut view).await.expect("an answer")
            {
                taken.push(lease.job_id);
            }
            (taken, provider)
        });
    }
    let all: Vec<JobId> = claimers.join_all().await.into_iter().flat_map(|(taken, _)| taken).collect();
    assert_eq!(all.len(), JOBS as usize);
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), JOBS as usize);
}

async fn a_claimed_job_lies_in_running_with_a_lease(temp: TempStorage) {
    let storage = temp.open().await;
    let job = submitted(&*storage, 1).await;
    let mut lease = claim(&*storage, &job).await.expect("claimed");
    assert_eq!(lease.record.attempts, 0);
    assert_eq!(storage.list(Place::Queued(&backend())).await.expect("listed"), []);
    assert!(temp.is_same(&storage.get(Place::Running, &id(&job)).await.expect("running"), TEXT));
    lease.record.verdict = Some(Status::failed(&job, "why"));
    assert_eq!(storage.renew(&lease).await.expect("renewed"), Renewal::Held { cancel: false });
}

async fn a_job_put_back_is_first_again_and_keeps_its_record(temp: TempStorage) {
    let storage = temp.open().await;
    let first = submitted(&*storage, 5).await;
    tokio::time::sleep(storage.arrival_resolution()).await;
    let second = submitted(&*storage, 1).await;
    let mut lease = claim(&*storage, &first).await.expect("claimed");
    lease.record.attempts = 2;
    storage.put_back(&lease).await.expect("put back");
    assert_eq!(storage.list(Place::Running).await.expect("listed"), []);
    assert_eq!(storage.list(Place::Queued(&backend())).await.expect("listed"), [id(&first), id(&second)]);
    assert_eq!(storage.renew(&lease).await.expect("an answer"), Renewal::Lost);
    let again = claim(&*temp.open().await, &first).await.expect("claimed by another");
    assert_eq!(again.record, lease.record);
}

async fn a_released_job_is_not_held_any_more(temp: TempStorage) {
    let storage = temp.open().await;
    let job = submitted(&*storage, 1).await;
    let lease = claim(&*storage, &job).await.expect("claimed");
    storage.move_to(Place::Running, Place::Deleted, &id(&job)).await.expect("moved");
    storage.release(&lease).await.expect("released");
    storage.release(&lease).await.expect("twice does no harm");
    assert_eq!(storage.renew(&lease).await.expect("an answer"), Renewal::Lost);
    drop(storage);
    // Long enough for a lease that is left to expire, if the medium has to wait for that.
    tokio::time::sleep(temp.expiry()).await;
    assert_eq!(temp.open().await.adopt_orphans().await.expect("looked"), []);
}

async fn the_lease_of_a_living_spooler_is_not_taken(temp: TempStorage) {
    let living = temp.open().await;
    let job = submitted(&*living, 1).await;
    let lease = claim(&*living, &job).await.expect("claimed");
    assert_eq!(temp.open().await.adopt_orphans().await.expect("looked"), []);
    assert_eq!(living.renew(&lease).await.expect("renewed"), Renewal::Held { cancel: false });
}

async fn the_lease_of_a_dead_spooler_is_taken_over_by_one(temp: TempStorage) {
    let dead = temp.open().await;
    let job = submitted(&*dead, 1).await;
    let mut lease = claim(&*dead, &job).await.expect("claimed");
    lease.record.verdict = Some(Status::failed(&job, "why"));
    dead.renew(&lease).await.expect("renewed");
    TempStorage::kill(dead);
    let mut heirs = Vec::new();
    for _ in 0..8 {
        heirs.push(temp.open().await);
    }
    // All look at the same time, again and again until the lease has expired, where it has to.
    let look = async || {
        let mut looks = tokio::task::JoinSet::new();
        for heir in &heirs {
            let heir = Arc::clone(heir);
            looks.spawn(async move { heir.adopt_orphans().await.expect("looked") });
        }
        looks.join_all().await.concat()
    };
    let mut adopted =
        eventually("the lease is taken over", async || Some(look().await).filter(|all| !all.is_empty())).await;
    adopted.extend(look().await);
    assert_eq!(adopted.len(), 1, "{adopted:?}");
    assert_eq!((&adopted[0].job_id, adopted[0].record.attempts), (&job, 1));
    assert_eq!(adopted[0].record.verdict, lease.record.verdict);
    assert_eq!(heirs[0].list(Place::Running).await.expect("listed"), [id(&job)]);
}

async fn a_job_of_a_peer_in_running_is_left_alone(temp: TempStorage) {
    let storage = temp.open().await;
    let job = submitted(&*storage, 1).await;
    storage.move_to(Place::Queued(&backend()), Place::Running, &id(&job)).await.expect("a peer's claim");
    drop(storage);
    let storage = temp.open().await;
    assert_eq!(storage.adopt_orphans().await.expect("looked"), []);
    assert_eq!(storage.list(Place::Running).await.expect("listed"), [id(&job)]);
}

async fn a_cancellation_reaches_the_holder_of_the_lease(temp: TempStorage) {
    let holder = temp.open().await;
    let job = submitted(&*holder, 1).await;
    let other = temp.open().await;
    assert!(!other.request_cancel(&backend(), &job).await.expect("an answer"), "nobody holds it");
    let lease = claim(&*holder, &job).await.expect("claimed");
    assert!(other.request_cancel(&backend(), &job).await.expect("an answer"));
    // At once, or with the next renewal that has to ask others.
    eventually("the holder learns of it", async || {
        let renewed = holder.renew(&lease).await.expect("renewed");
        (renewed == Renewal::Held { cancel: true }).then_some(())
    })
    .await;
}

async fn a_new_job_is_noticed_at_once(temp: TempStorage) {
    let watcher = temp.open().await;
    let mut changes = watcher.watch(&backend()).await.expect("watched");
    let storage = temp.open().await;
    for number in 0..3 {
        submitted(&*storage, number).await;
        // Far below the slow look that the spooler has beside it.
        tokio::time::timeout(Duration::from_secs(2), changes.next()).await.expect("a change is told");
    }
}

async fn ids_of_any_allowed_form_are_taken(temp: TempStorage) {
    let storage = temp.open().await;
    let longest = "x".repeat(128);
    for text in ["20240101_120000-fermions-ada.l-0a1b2", "a", "0123456789abcdef01234567", "A_-", "a.b", &longest] {
        let job: JobId = text.parse().expect("an id");
        storage.upload(Place::Queued(&backend()), &id(&job), &document(TEXT)).await.expect("taken");
        storage.upload(Place::Status(&backend()), &id(&job), &document("{}")).await.expect("taken");
        storage.upload(Place::Results(&backend()), &id(&job), &document("{}")).await.expect("taken");
        let lease = claim(&*storage, &job).await.expect("claimed");
        storage.move_to(Place::Running, Place::Finished(&backend()), &id(&job)).await.expect("moved");
        storage.release(&lease).await.expect("released");
        for place in [Place::Finished(&backend()), Place::Status(&backend()), Place::Results(&backend())] {
            assert!(storage.list(place).await.expect("listed").contains(&id(&job)), "{text} at {place}");
        }
    }
}

async fn new_ids_are_all_different_and_sort_by_time(temp: TempStorage) {
    let storage = temp.open().await;
    let user = "ada".parse().expect("a name");
    let new = || storage.new_job_id(&backend(), &user).expect("an id");
    let ids: HashSet<JobId> = (0..100).map(|_| new()).collect();
    assert_eq!(ids.len(), 100);
    let first = new();
    // Ids of Dropbox tell whole seconds.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert!(first < new());
}

async fn a_backend_is_known_by_anything_that_it_has(temp: TempStorage) {
    let storage = temp.open().await;
    assert_eq!(storage.backends().await.expect("listed"), []);
    let names = ["a", "b", "c", "d", "e"].map(|name| name.parse::<BackendName>().expect("a name"));
    let [a, b, c, d, e] = &names;
    let job = id(&job_id(1));
    for place in [Place::Queued(a), Place::Finished(b), Place::Status(c), Place::Results(d)] {
        storage.upload(place, &job, &document("{}")).await.expect("uploaded");
    }
    storage.upload(Place::Configs, &e.into(), &document(r#"{"display_name": "e"}"#)).await.expect("uploaded");
    storage.upload(Place::Running, &job, &document("{}")).await.expect("uploaded");
    assert_eq!(storage.backends().await.expect("listed"), names);
}

async fn what_has_not_changed_for_a_while_is_told(temp: TempStorage) {
    let storage = temp.open().await;
    let (place, old, new) = (Place::Finished(&backend()), id(&job_id(1)), id(&job_id(2)));
    let before = Timestamp::now() - Duration::from_secs(60);
    storage.upload(place, &old, &document("{}")).await.expect("uploaded");
    assert_eq!(storage.unchanged_since(place, before).await.expect("an answer"), []);
    // Times are whole seconds on some media, and it counts from the first look on others.
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let between = Timestamp::now();
    tokio::time::sleep(Duration::from_millis(2100)).await;
    storage.upload(place, &new, &document("{}")).await.expect("uploaded");
    assert_eq!(storage.unchanged_since(place, between).await.expect("an answer"), [old]);
    assert_eq!(storage.unchanged_since(Place::Deleted, Timestamp::now()).await.expect("an answer"), []);
}

async fn everybody_sees_who_holds_a_lease(temp: TempStorage) {
    let holder = temp.open().await;
    let (held, back) = (submitted(&*holder, 1).await, submitted(&*holder, 2).await);
    let lease = claim(&*holder, &held).await.expect("claimed");
    let mut put_back = claim(&*holder, &back).await.expect("claimed");
    put_back.record.attempts = 1;
    holder.put_back(&put_back).await.expect("put back");
    let mut seen = temp.open().await.leases().await.expect("listed");
    seen.sort_by(|a, b| a.lease.job_id.cmp(&b.lease.job_id));
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert_eq!((&seen[0].lease.job_id, &seen[0].lease.backend), (&lease.job_id, &lease.backend));
    assert!(matches!(seen[0].holder, Holder::Living(_)), "{seen:?}");
    assert_eq!((&seen[1].lease, &seen[1].holder), (&put_back, &Holder::Nobody));
    TempStorage::kill(holder);
    let observer = temp.open().await;
    eventually("the death of the holder is seen", async || {
        let seen = observer.leases().await.expect("listed");
        seen.iter().any(|seen| seen.lease.job_id == held && matches!(seen.holder, Holder::Dead(_))).then_some(())
    })
    .await;
}

async fn how_far_a_run_has_come_is_told_until_its_job_changes_hands(temp: TempStorage) {
    let (holder, observer) = (temp.open().await, temp.open().await);
    let job = submitted(&*holder, 1).await;
    let told = async || observer.progress(&backend(), &job).await.expect("an answer");
    let tell = async |mut lease: Lease, done: u32| {
        let progress = Some(Progress { done, total: 4 });
        lease.record.progress = progress;
        // Some media store it only with a renewal that is due.
        eventually("the progress is told", async || {
            assert_eq!(holder.renew(&lease).await.expect("renewed"), Renewal::Held { cancel: false });
            (told().await == progress).then_some(())
        })
        .await;
        lease
    };
    let lease = claim(&*holder, &job).await.expect("claimed");
    assert_eq!(told().await, None);
    tell(lease.clone(), 0).await;
    let lease = tell(lease, 3).await;
    let elsewhere: BackendName = "rydberg".parse().expect("a name");
    assert_eq!(observer.progress(&elsewhere, &job).await.expect("an answer"), None);
    holder.put_back(&lease).await.expect("put back");
    assert_eq!(told().await, None);
    let again = claim(&*holder, &job).await.expect("claimed again");
    assert_eq!(again.record, LeaseRecord { progress: None, ..lease.record });
    tell(again, 1).await;
    TempStorage::kill(holder);
    let adopted =
        eventually("the lease is taken over", async || observer.adopt_orphans().await.expect("looked").pop()).await;
    assert_eq!((adopted.record.attempts, adopted.record.progress), (1, None));
    assert_eq!(told().await, None);
}

/// Claims a job as a program does that knows no leases.
async fn claimed_by_peer(storage: &dyn Storage, number: u32) -> JobId {
    let job = submitted(storage, number).await;
    storage.move_to(Place::Queued(&backend()), Place::Running, &id(&job)).await.expect("a peer's claim");
    job
}

async fn a_job_that_a_peer_left_in_running_is_adopted_by_one(temp: TempStorage) {
    let first = temp.open().await;
    let job = claimed_by_peer(&*first, 1).await;
    let queued = submitted(&*first, 2).await;
    let mut heirs = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (storage, job) = (temp.open().await, job.clone());
        heirs.spawn(async move { (storage.adopt_unleased(&backend(), &job).await.expect("an answer"), storage) });
    }
    let heirs = heirs.join_all().await;
    let winners: Vec<_> = heirs.iter().filter_map(|(lease, storage)| Some((lease.as_ref()?, storage))).collect();
    assert_eq!(winners.len(), 1);
    let (lease, storage) = winners[0];
    assert_eq!((&lease.job_id, &lease.backend), (&job, &backend()));
    assert_eq!(storage.renew(lease).await.expect("renewed"), Renewal::Held { cancel: false });
    assert_eq!(storage.list(Place::Running).await.expect("listed"), [id(&job)]);
    assert_eq!(first.adopt_unleased(&backend(), &queued).await.expect("an answer"), None, "it is not running");
    let leased = claim(&*first, &queued).await.expect("claimed").job_id;
    assert_eq!(storage.adopt_unleased(&backend(), &leased).await.expect("an answer"), None, "somebody holds it");
}

async fn an_adopted_job_goes_back_to_its_queue(temp: TempStorage) {
    let storage = temp.open().await;
    let job = claimed_by_peer(&*storage, 1).await;
    let lease = storage.adopt_unleased(&backend(), &job).await.expect("an answer").expect("it has no lease");
    storage.put_back(&lease).await.expect("put back");
    assert_eq!(storage.list(Place::Running).await.expect("listed"), []);
    assert_eq!(storage.list(Place::Queued(&backend())).await.expect("listed"), [id(&job)]);
    assert!(claim(&*storage, &job).await.is_some());
}

async fn a_storage_in_order_has_no_leftovers(temp: TempStorage) {
    let storage = temp.open().await;
    let (ended, back) = (submitted(&*storage, 1).await, submitted(&*storage, 2).await);
    let lease = claim(&*storage, &ended).await.expect("claimed");
    storage.upload(Place::Results(&backend()), &id(&ended), &document("{}")).await.expect("uploaded");
    storage.move_to(Place::Running, Place::Finished(&backend()), &id(&ended)).await.expect("moved");
    storage.release(&lease).await.expect("released");
    let lease = claim(&*storage, &back).await.expect("claimed");
    storage.put_back(&lease).await.expect("put back");
    let running = submitted(&*storage, 3).await;
    assert!(claim(&*storage, &running).await.is_some());
    for remove in [false, true] {
        assert_eq!(temp.open().await.leftovers(remove).await.expect("looked"), []);
    }
    assert_eq!(storage.list(Place::Running).await.expect("listed"), [id(&running)]);
}

async fn a_public_key_is_found_by_its_kid(temp: TempStorage) {
    let storage = temp.open().await;
    let kid: DocumentId = "lab.key-1".parse().expect("a kid");
    let key =
        r#"{"x": "abc", "key_ops": ["verify"], "kid": "lab.key-1", "kty": "OKP", "alg": "EdDSA", "crv": "Ed25519"}"#;
    storage.upload(Place::PublicKeys, &kid, &document(key)).await.expect("uploaded");
    let again = storage.upload(Place::PublicKeys, &kid, &document(key)).await.expect_err("it is there");
    assert_eq!(again.kind(), StorageErrorKind::AlreadyExists);
    assert!(temp.is_same(&storage.get(Place::PublicKeys, &kid).await.expect("read"), key));
    assert_eq!(storage.list(Place::PublicKeys).await.expect("listed"), [kid]);
}

/// What the backend of [`backend`] publishes.
fn configuration() -> BackendConfig {
    let golden = std::fs::read_to_string(common::package_file("tests/golden/configs/fermions.json")).expect("read");
    serde_json::from_str(&golden).expect("a configuration")
}

async fn a_configuration_is_kept_with_its_times(temp: TempStorage) {
    let provider = temp.provider().await;
    let mut config = configuration();
    config.last_queue_check = Some("2026-11-22T04:15:19Z".parse().expect("a time"));
    provider.upload_config(&backend(), &config, None).await.expect("uploaded");
    assert_eq!(provider.get_config(&backend()).await.expect("read"), config);
    config.pending_jobs = Some(3);
    config.last_queue_check = Some("2026-11-22T04:16:20Z".parse().expect("a time"));
    provider.update_config(&backend(), &config, None).await.expect("updated");
    assert_eq!(provider.get_config(&backend()).await.expect("read"), config);
    assert_eq!(provider.get_backends().await.expect("listed"), [backend()]);
}

async fn an_inactive_storage_refuses_by_name(temp: TempStorage) {
    let storage: Arc<dyn Storage> = temp.open().await;
    let provider = qspool::storage::Provider::new("attic".parse().expect("a name"), false, storage);
    let error = provider.get_status(&backend(), &job_id(1)).await.expect_err("it is inactive");
    assert_eq!(error.kind(), StorageErrorKind::Inactive);
    assert!(error.to_string().contains("attic"), "{error}");
}

fn key(kid: &str, seed: u8) -> PrivateKey {
    PrivateKey::new(&kid.parse().expect("a kid"), &[seed; 32])
}

async fn a_signed_configuration_is_replaced_by_its_own_key_only(temp: TempStorage) {
    let provider = temp.provider().await;
    let (ours, other, false_one) = (key("ours", 1), key("other", 2), key("ours", 3));
    let mut config = configuration();
    (config.sign, config.kid) = (true, Some("ours".to_owned()));
    provider.upload_config(&backend(), &config, Some(&ours)).await.expect("uploaded");
    config.last_queue_check = Some("2026-11-27T04:15:19Z".parse().expect("a time"));
    config.version.push_str(" \u{3b1}");
    provider.update_config(&backend(), &config, Some(&ours)).await.expect("updated by its key");
    let stored = temp.open().await.get(Place::Configs, &(&backend()).into()).await.expect("it is there");
    assert!(is_signed_by(&stored.signed().expect("it is signed"), &ours.public()));
    for (key, said) in [(None, "sign = true"), (Some(&other), "\"other\""), (Some(&false_one), "not by the one")] {
        let refused = provider.update_config(&backend(), &config, key).await.expect_err("it is not theirs");
        assert_eq!(refused.kind(), StorageErrorKind::Refused);
        for word in ["fermions", "\"ours\"", said] {
            assert!(refused.to_string().contains(word), "{refused}");
        }
    }
    assert_eq!(temp.open().await.get(Place::Configs, &(&backend()).into()).await.expect("it is there"), stored);
    assert_eq!(provider.get_config(&backend()).await.expect("it is read by its payload"), config);
}

async fn a_public_key_is_never_replaced_by_another_of_its_kid(temp: TempStorage) {
    let provider = temp.provider().await;
    let ours = key("lab.1", 1).public();
    provider.upload_public_key(&ours).await.expect("published");
    provider.upload_public_key(&ours).await.expect("the same is there");
    let refused = provider.upload_public_key(&key("lab.1", 2).public()).await.expect_err("it is another one");
    assert_eq!(refused.kind(), StorageErrorKind::Refused);
    assert!(refused.to_string().contains("lab.1"), "{refused}");
    assert_eq!(provider.get_public_key(&"lab.1".parse().expect("a kid")).await.expect("it is there"), ours);
}

async fn a_result_is_told_valid_not_signed_altered_or_of_another_key(temp: TempStorage) {
    let provider = temp.provider().await;
    let (ours, other, stranger) = (key("ours", 1), key("other", 2), key("stranger", 3));
    let result = document(r#"{"status":"DONE","results":[{"shots":3,"data":{"params":[0.1,1e-7,3.0]}}]}"#);
    let signed = |key: &PrivateKey| sign(&result, key).expect("JSON");
    let altered =
        String::from_utf8(signed(&ours).text().to_vec()).expect("text").replace("\"shots\": 3", "\"shots\": 4");
    let documents = [
        (result.clone(), "not signed"),
        (signed(&ours), "valid"),
        (signed(&other), "other key"),
        (signed(&stranger), "unknown key"),
        (document(&altered), "altered"),
        (document(&altered.replace("\"ours\"", "\"other\"")), "altered"),
        (document(&altered.replace("\"ours\"", "\"../x\"")), "unknown key"),
        (document(&altered.replace("\"ours\"", "7")), "altered"),
    ];
    let mut config = configuration();
    (config.sign, config.kid) = (true, Some("ours".to_owned()));
    for (number, (document, _)) in (0..).zip(&documents) {
        provider.upload_result(&backend(), &job_id(number), document).await.expect("uploaded");
    }
    let verdicts = async |trusted: Option<&PublicKey>| {
        let mut verdicts = Vec::new();
        for number in 0..8 {
            let verdict = provider.verify_result(&backend(), &job_id(number), trusted).await.expect("a verdict");
            assert_eq!(verdict.is_valid(), verdict.to_string() == "valid");
            verdicts.push(verdict.to_string());
        }
        verdicts
    };
    // Nobody has published anything yet: that is no error.
    assert!(verdicts(None).await.iter().all(|verdict| verdict != "valid"));
    provider.upload_config(&backend(), &config, Some(&ours)).await.expect("uploaded");
    provider.upload_public_key(&ours.public()).await.expect("published");
    provider.upload_public_key(&other.public()).await.expect("published");
    assert_eq!(verdicts(None).await, documents.map(|(_, verdict)| verdict));
    // Whoever trusts another key than the published one is told so.
    let of_other = verdicts(Some(&other.public())).await;
    assert_eq!((of_other[1].as_str(), of_other[2].as_str()), ("other key", "valid"));
    let missing = provider.verify_result(&backend(), &job_id(99), None).await.expect_err("there is none");
    assert_eq!(missing.kind(), StorageErrorKind::NotFound);
}
