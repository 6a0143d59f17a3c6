//! What every storage has to do, called once per medium on the real thing.

mod common;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use common::{TempStorage, backend, job_id};
use qspool::job::{Document, DocumentId, JobId, Status};
use qspool::storage::{Claim, Lease, NextJob, Place, QueueView, Renewal, Storage, StorageErrorKind};

/// Calls every check of the suite with a fresh storage of the medium.
macro_rules! storage_suite {
    ($medium:ident: $($check:ident),+ $(,)?) => {
        mod $medium {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                super::$check(crate::common::TempStorage::$medium().await).await;
            })+
        }
    };
}

storage_suite!(local:
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
);

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
    assert_eq!(storage.get(to, &id).await.expect("read at its new place"), document(TEXT));
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
    assert_eq!(storage.get(Place::Running, &id).await.expect("still there"), document(r#"{"a":1}"#));
    assert_eq!(storage.get(Place::Deleted, &id).await.expect("untouched"), document(r#"{"b":1}"#));
}

async fn a_moved_document_keeps_its_bytes(temp: TempStorage) {
    let storage = temp.open().await;
    let odd = document("{ \"b\" : 1.50, \"a\":1e2,\n\"\\u00e4\": -0.0 }");
    let job = job_id(7);
    storage.upload(Place::Queued(&backend()), &id(&job), &odd).await.expect("created");
    let lease = claim(&*storage, &job).await.expect("claimed");
    storage.move_to(Place::Running, Place::Finished(&backend()), &id(&job)).await.expect("moved");
    storage.release(&lease).await.expect("released");
    assert_eq!(storage.get(Place::Finished(&backend()), &id(&job)).await.expect("read"), odd);
}

async fn a_queue_is_listed_in_the_order_of_arrival(temp: TempStorage) {
    let storage = temp.open().await;
    let mut arrived = Vec::new();
    for number in [9, 3, 7, 1] {
        arrived.push(id(&submitted(&*storage, number).await));
        tokio::time::sleep(Duration::from_millis(20)).await;
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
    assert_eq!(storage.get(Place::Running, &id(&job)).await.expect("running"), document(TEXT));
    lease.record.verdict = Some(Status::failed(&job, "why"));
    assert_eq!(storage.renew(&lease).await.expect("renewed"), Renewal::Held { cancel: false });
}

async fn a_job_put_back_is_first_again_and_keeps_its_record(temp: TempStorage) {
    let storage = temp.open().await;
    let first = submitted(&*storage, 5).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
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
    let mut heirs = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let storage = temp.open().await;
        heirs.spawn(async move { (storage.adopt_orphans().await.expect("looked"), storage) });
    }
    let heirs = heirs.join_all().await;
    let adopted: Vec<_> = heirs.iter().flat_map(|(leases, _)| leases).collect();
    assert_eq!(adopted.len(), 1);
    assert_eq!((&adopted[0].job_id, adopted[0].record.attempts), (&job, 1));
    assert_eq!(adopted[0].record.verdict, lease.record.verdict);
    assert_eq!(heirs[0].1.list(Place::Running).await.expect("listed"), [id(&job)]);
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
    assert_eq!(holder.renew(&lease).await.expect("renewed"), Renewal::Held { cancel: true });
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

async fn an_inactive_storage_refuses_by_name(temp: TempStorage) {
    let storage: Arc<dyn Storage> = temp.open().await;
    let provider = qspool::storage::Provider::new("attic".parse().expect("a name"), false, storage);
    let error = provider.get_status(&backend(), &job_id(1)).await.expect_err("it is inactive");
    assert_eq!(error.kind(), StorageErrorKind::Inactive);
    assert!(error.to_string().contains("attic"), "{error}");
}
