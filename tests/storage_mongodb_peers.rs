//! On MongoDB, what a peer does that takes a job in three steps (read, delete, insert) between two steps of ours.
//!
//! `tests/interop` has the peer itself; here its steps fall between those of one operation of ours.
#![cfg(feature = "storage-mongodb")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::mongodb::{Lent, lend};
use common::{backend, eventually, job_id};
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document as BsonDocument, doc};
use mongodb::error::{ErrorKind, WriteFailure};
use mongodb::{Client, Collection};
use qspool::job::{Document, JobId};
use qspool::storage::{Claim, Lease, Place, Storage, StorageContext, open};

const LEASE: Duration = Duration::from_secs(10);

const TEXT: &str = r#"{"experiment_0": {"shots": 1}}"#;

/// A storage with one job, and the peer's view of it.
struct Scene {
    lent: Lent,
    ours: Arc<dyn Storage>,
    jobs: mongodb::Database,
    job: JobId,
}

impl Scene {
    async fn new() -> Self {
        let lent = lend().await;
        let context = StorageContext { lease: LEASE, max_job_bytes: 1 << 20 };
        let ours = open(&"lab".parse().expect("a name"), &lent.options(), context).await.expect("the storage opens");
        let jobs = Client::with_uri_str(lent.root_url()).await.expect("a client").database("jobs");
        let job = job_id(1);
        ours.upload(Place::Queued(&backend()), &(&job).into(), &Document::from_text(TEXT)).await.expect("queued");
        Self { lent, ours, jobs, job }
    }

    fn queue(&self) -> Collection<BsonDocument> {
        self.jobs.collection("queued.fermions")
    }

    fn running(&self) -> Collection<BsonDocument> {
        self.jobs.collection("running")
    }

    fn key(&self) -> BsonDocument {
        doc! { "_id": ObjectId::parse_str(self.job.as_str()).expect("it is one") }
    }

    async fn claim(&self) -> Lease {
        match self.ours.claim(&backend(), &self.job).await.expect("an answer") {
            Claim::Won(lease) => lease,
            other => panic!("{other:?}"),
        }
    }

    /// Keeps the next delete from beginning for a while.
    async fn delay_next_delete(&self) {
        let data = doc! { "failCommands": ["delete"], "blockConnection": true, "blockTimeMS": 1000 };
        let command = doc! { "configureFailPoint": "failCommand", "mode": { "times": 1 }, "data": data };
        let admin = Client::with_uri_str(self.lent.root_url()).await.expect("a client").database("admin");
        admin.run_command(command).await.expect("the server takes fail points");
    }

    /// Puts the job back, slowly. Meanwhile, as soon as it lies in its queue and in running, the peer acts.
    async fn put_back_slowly(&self, lease: &Lease, peer: impl AsyncFnOnce(BsonDocument)) {
        self.delay_next_delete().await;
        let (put_back, ()) = tokio::join!(self.ours.put_back(lease), async {
            let read =
                eventually("the job comes back", async || self.queue().find_one(self.key()).await.expect("an answer"));
            peer(read.await).await;
        });
        put_back.expect("put back");
    }

    async fn is_queued_and_running(&self) -> (bool, bool) {
        let is_at =
            async |place: Collection<BsonDocument>| place.find_one(self.key()).await.expect("an answer").is_some();
        (is_at(self.queue()).await, is_at(self.running()).await)
    }
}

fn is_duplicate(error: &mongodb::error::Error) -> bool {
    matches!(*error.kind, ErrorKind::Write(WriteFailure::WriteError(ref error)) if error.code == 11000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_a_peer_drops_on_its_way_back_is_not_lost() {
    let scene = Scene::new().await;
    let lease = scene.claim().await;
    scene
        .put_back_slowly(&lease, async |read| {
            scene.queue().delete_one(scene.key()).await.expect("deleted");
            // It lies in running still: here the peer dies, and the job is left to us.
            let refused = scene.running().insert_one(read).await.expect_err("it is there");
            assert!(is_duplicate(&refused), "{refused}");
        })
        .await;
    assert_eq!(scene.is_queued_and_running().await, (true, false));
    let text = scene.ours.get(Place::Queued(&backend()), &(&scene.job).into()).await.expect("it is there");
    assert_eq!(text.text(), TEXT.as_bytes());
    assert_eq!(scene.claim().await.job_id, scene.job, "it can be taken again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_a_peer_takes_on_its_way_back_is_the_peers() {
    let scene = Scene::new().await;
    let lease = scene.claim().await;
    scene
        .put_back_slowly(&lease, async |read| {
            scene.queue().delete_one(scene.key()).await.expect("deleted");
            eventually("it leaves running", async || {
                let is_there = scene.running().find_one(scene.key()).await.expect("an answer").is_some();
                (!is_there).then_some(())
            })
            .await;
            scene.running().insert_one(read).await.expect("nobody else has it");
        })
        .await;
    assert_eq!(scene.is_queued_and_running().await, (false, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_was_cut_and_that_a_peer_meets_loses_nothing() {
    let scene = Scene::new().await;
    // A spooler of ours has died after the first step of a claim.
    let read = scene.queue().find_one(scene.key()).await.expect("an answer").expect("it is there");
    scene.running().insert_one(&read).await.expect("inserted");
    // A peer takes the job, and dies since it lies in running already.
    scene.queue().delete_one(scene.key()).await.expect("deleted");
    let refused = scene.running().insert_one(read).await.expect_err("it is there");
    assert!(is_duplicate(&refused), "{refused}");
    // Nobody can tell it from a job that the peer works on, so it is for the doctor.
    assert_eq!(scene.ours.adopt_orphans().await.expect("looked"), []);
    let lease = scene.ours.adopt_unleased(&backend(), &scene.job).await.expect("an answer").expect("nobody holds it");
    scene.ours.put_back(&lease).await.expect("put back");
    assert_eq!(scene.is_queued_and_running().await, (true, false));
}
