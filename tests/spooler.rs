//! The loop in this process, with simulators that misbehave and storages that do not answer.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::fated::{Fate, Fated, away};
use common::{TempStorage, backend, eventually, job_id, plan};
use qspool::backend::{Backend, BackendOptions, Runner, SchemaSet};
use qspool::job::{BackendName, Document, JobState, Status};
use qspool::schema::BackendSchema;
use qspool::simulator::{Prepared, Shape, SimulationError, Simulator};
use qspool::spooler::{Cancellation, Plan, ServedBackend, Source, Spooler, SpoolerOptions, cancel};
use qspool::storage::{Place, Provider, StorageError, StorageOptions};
use qspool_driver::{Program, StopFlag};

const JOB: &str = r#"{"experiment_0": {"instructions": [["load", [0], []], ["measure", [0], []]], "num_wires": 8,
    "shots": 3, "wire_order": "interleaved"}}"#;

/// A simulator with a defect.
struct Panicking;

impl Simulator for Panicking {
    fn shape(&self, _: &Program) -> Result<Shape, SimulationError> {
        Shape::new([2])
    }
    fn gate_bytes(&self, _: &Program, _: &Shape) -> u64 {
        0
    }
    fn prepare(&self, _: &Program, _: &StopFlag) -> Result<Prepared, SimulationError> {
        panic!("secret /path/of/the/host")
    }
}

/// A simulator that never looks at its stop flag, until the test is over.
struct Deaf;

static DEAF_MAY_END: AtomicBool = AtomicBool::new(false);

impl Simulator for Deaf {
    fn shape(&self, _: &Program) -> Result<Shape, SimulationError> {
        Shape::new([2])
    }
    fn gate_bytes(&self, _: &Program, _: &Shape) -> u64 {
        0
    }
    fn prepare(&self, _: &Program, _: &StopFlag) -> Result<Prepared, SimulationError> {
        while !DEAF_MAY_END.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(SimulationError::Stopped)
    }
}

/// A plan that serves the fermions' schema by another simulator.
fn plan_with(provider: Provider, simulator: &'static dyn Simulator, options: SpoolerOptions) -> Plan {
    let schemas = SchemaSet::load(None).expect("the built-in schemas");
    let (_, text) = schemas.get(&backend()).expect("built in");
    let schema = BackendSchema::parse(text).expect("a schema");
    let served = ServedBackend {
        backend: Arc::new(Backend::new(backend(), schema, Runner::Simulator(simulator))),
        workers: 1,
        storages: vec![provider.name().clone()],
    };
    Plan { storages: vec![(provider.name().clone(), Source::Open(provider))], backends: vec![served], options }
}

async fn submit(provider: &Provider, number: u32) {
    let id = job_id(number);
    provider.upload_status(&backend(), &id, &Status::accepted(&id)).await.expect("accepted");
    provider.upload_job(&backend(), &id, &Document::from_text(JOB)).await.expect("queued");
}

async fn end_of(provider: &Provider, number: u32) -> Status {
    eventually("the end of the job", async || {
        let status = provider.get_status(&backend(), &job_id(number)).await.ok()?;
        status.status.is_final().then_some(status)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_ends_its_job_and_nothing_else() {
    let temp = TempStorage::local().await;
    let provider = temp.provider().await;
    submit(&provider, 0).await;
    submit(&provider, 1).await;
    let spooler = Spooler::start(plan_with(provider.clone(), &Panicking, SpoolerOptions::default()));
    for number in 0..2 {
        let status = end_of(&provider, number).await;
        assert_eq!(status.status, JobState::Error);
        assert!(!status.error_message.contains("path"), "nothing of the host is told: {}", status.error_message);
    }
    spooler.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_never_stops_is_left_behind_and_the_next_job_has_its_turn() {
    let temp = TempStorage::local().await;
    let provider = temp.provider().await;
    submit(&provider, 0).await;
    submit(&provider, 1).await;
    let options = SpoolerOptions { job_time_limit_s: 1, ..SpoolerOptions::default() };
    let spooler = Spooler::start(plan_with(provider.clone(), &Deaf, options));
    for number in 0..2 {
        let status = end_of(&provider, number).await;
        assert_eq!(status.error_message, "the job ran longer than the allowed 1 s");
    }
    spooler.drain().await;
    DEAF_MAY_END.store(true, Ordering::SeqCst);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_job_is_cancelled_though_no_spooler_is_there() {
    let temp = TempStorage::local().await;
    let provider = temp.provider().await;
    submit(&provider, 0).await;
    let answer = cancel(&provider, &backend(), &job_id(0)).await.expect("an answer");
    assert_eq!(answer, Cancellation::Cancelled);
    assert_eq!(end_of(&provider, 0).await, Status::cancelled(&job_id(0)));
    assert_eq!(provider.jobs(Place::Deleted).await.expect("listed"), [job_id(0)]);
    assert_eq!(cancel(&provider, &backend(), &job_id(0)).await.expect("an answer"), Cancellation::Ended);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_that_cannot_be_opened_does_not_disturb_the_others() {
    let temp = TempStorage::local().await;
    let provider = temp.provider().await;
    let mut plan = plan(provider.clone(), 1, SpoolerOptions::default());
    let file = temp.path().join("a file and no directory");
    std::fs::write(&file, "").expect("written");
    let gone: qspool::job::StorageName = "gone".parse().expect("a name");
    plan.storages.insert(0, (gone.clone(), Source::Options(StorageOptions::local(file.clone()))));
    plan.backends[0].storages.push(gone.clone());
    let spooler = Spooler::start(plan);
    submit(&provider, 0).await;
    assert_eq!(end_of(&provider, 0).await.status, JobState::Done);
    // It comes back by itself.
    std::fs::remove_file(&file).expect("removed");
    eventually("the opening of the storage", async || {
        file.join("backends/configs/fermions.json").exists().then_some(())
    })
    .await;
    spooler.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_configuration_is_not_overwritten_and_its_backend_not_served() {
    let temp = TempStorage::local().await;
    let provider = temp.provider().await;
    let signed = Document::from_text(r#"{"header": {"kid": "somebody"}, "payload": {}, "signature": "s"}"#);
    let storage = provider.storage().expect("active");
    storage.upload(Place::Configs, &(&backend()).into(), &signed).await.expect("uploaded");
    submit(&provider, 0).await;
    let mut plan = plan(provider.clone(), 1, SpoolerOptions::default());
    let schemas = SchemaSet::load(None).expect("the built-in schemas");
    let other: BackendName = "rydberg".parse().expect("a name");
    let other_backend = Backend::open(&other, &BackendOptions::default(), &schemas).expect("built in");
    let storages = plan.backends[0].storages.clone();
    plan.backends.push(ServedBackend { backend: Arc::new(other_backend), workers: 1, storages });
    let spooler = Spooler::start(plan);
    eventually("the other backend's configuration", async || provider.get_config(&other).await.ok()).await;
    spooler.drain().await;
    assert_eq!(storage.get(Place::Configs, &(&backend()).into()).await.expect("there"), signed);
    assert_eq!(provider.queue(&backend()).await.expect("listed"), [job_id(0)]);
}

#[tokio::test]
async fn the_configuration_is_published_anew_every_two_minutes() {
    let temp = TempStorage::local().await;
    let provider = temp.provider().await;
    let spooler = Spooler::start(plan(provider.clone(), 1, SpoolerOptions::default()));
    eventually("the configuration", async || provider.get_config(&backend()).await.ok()).await;
    let storage = provider.storage().expect("active");
    storage.delete(Place::Configs, &(&backend()).into()).await.expect("deleted");
    // Two minutes pass at once.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(121)).await;
    tokio::time::resume();
    eventually("the configuration, published anew", async || provider.get_config(&backend()).await.ok()).await;
    spooler.drain().await;
}

/// Storing results fails while the storage is away.
struct NoResults {
    away_now: Arc<AtomicBool>,
    waits: Arc<AtomicBool>,
    claimed: AtomicBool,
}

impl Fate for NoResults {
    fn before(&self, operation: &str) -> Result<usize, StorageError> {
        match operation {
            "claim" => self.claimed.store(true, Ordering::SeqCst),
            "upload" if self.claimed.load(Ordering::SeqCst) && self.away_now.load(Ordering::SeqCst) => {
                self.waits.store(true, Ordering::SeqCst);
                return Err(away());
            }
            _ => {}
        }
        Ok(0)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_that_goes_away_during_a_job_keeps_no_other_from_running() {
    let (near, far) = (TempStorage::local().await, TempStorage::local().await);
    let (away_now, waits) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
    let fate =
        NoResults { away_now: Arc::clone(&away_now), waits: Arc::clone(&waits), claimed: AtomicBool::new(false) };
    let fated = Arc::new(Fated { storage: far.open().await, fate });
    let (near, far) = (near.provider().await, far.provider().await);
    submit(&far, 0).await;
    // One worker for both.
    let mut plan = plan(near.clone(), 1, SpoolerOptions::default());
    let name: qspool::job::StorageName = "far".parse().expect("a name");
    plan.storages.push((name.clone(), Source::Open(Provider::new(name.clone(), true, fated))));
    plan.backends[0].storages.push(name);
    let spooler = Spooler::start(plan);
    eventually("the job at the storage that is away waits", async || waits.load(Ordering::SeqCst).then_some(())).await;
    submit(&near, 1).await;
    assert_eq!(end_of(&near, 1).await.status, JobState::Done);
    assert_eq!(far.get_status(&backend(), &job_id(0)).await.expect("there"), Status::accepted(&job_id(0)));
    away_now.store(false, Ordering::SeqCst);
    assert_eq!(end_of(&far, 0).await.status, JobState::Done);
    spooler.drain().await;
}

/// The document of a running job vanishes before it is moved to its end.
struct Vanishing(std::path::PathBuf);

impl Fate for Vanishing {
    fn before(&self, operation: &str) -> Result<usize, StorageError> {
        if operation == "move_to" {
            std::fs::remove_file(&self.0).expect("it is there, once");
        }
        Ok(0)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_document_vanished_while_it_ran_is_stored_with_its_end() {
    let temp = TempStorage::local().await;
    let running = temp.path().join(format!("jobs/running/{}.json", job_id(0)));
    let fated = Arc::new(Fated { storage: temp.open().await, fate: Vanishing(running) });
    let observer = temp.provider().await;
    submit(&observer, 0).await;
    let provider = Provider::new("test".parse().expect("a name"), true, fated);
    let spooler = Spooler::start(plan(provider, 1, SpoolerOptions::default()));
    assert_eq!(end_of(&observer, 0).await.status, JobState::Done);
    let job = observer.get_job(Place::Finished(&backend()), &job_id(0)).await.expect("it is finished");
    assert_eq!(job, Document::from_text(JOB));
    spooler.drain().await;
}
