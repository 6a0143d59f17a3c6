//! Backends on a device, with a driver that does what a test tells it.

mod common;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::{TempStorage, backend, eventually, job_id};
use qspool::backend::device::{Availability, Device, MakeDriver};
use qspool::backend::{Backend, Runner, SchemaSet};
use qspool::job::{Document, JobState, Status};
use qspool::schema::BackendSchema;
use qspool::spooler::{Cancellation, Plan, ServedBackend, Source, Spooler, SpoolerOptions, cancel};
use qspool::storage::{Place, Provider};
use qspool_driver::{
    Capabilities, Deadline, Driver, DriverError, ErrorClass, Health, Identity, Problem, Program, RunControl, RunEnd,
    RunPlan, SafeState, ShotSink, StopSupport,
};
use serde_json::Value;

const JOB: &str = r#"{"experiment_0": {"instructions": [["load", [0], []], ["measure", [0], []]], "num_wires": 8,
    "shots": 5, "wire_order": "interleaved"}}"#;

/// What the test and the drivers of one device share.
#[derive(Default)]
struct Bench {
    /// Every request, in order.
    requests: Vec<&'static str>,
    unplugged: bool,
    /// What happens at the next run; the first is taken out.
    runs: Vec<Fault>,
    /// Why the device is not as it should be.
    degraded: Option<String>,
    outputs_on: bool,
}

/// What goes wrong in a run after two shots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    CableIsPulled,
    Garbage,
    Panic,
    TooFewShots,
    /// Says that it was told to stop, though nobody did.
    StopsByItself,
    ValueOutOfRange,
    /// Goes on until it is told to stop.
    Endless,
    /// Does not come back, whatever it is told.
    Deaf,
}

#[derive(Clone, Default)]
struct Apparatus(Arc<Mutex<Bench>>);

impl Apparatus {
    fn bench(&self) -> MutexGuard<'_, Bench> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make(&self) -> MakeDriver {
        let apparatus = self.clone();
        Arc::new(move || Ok(Box::new(Scripted { apparatus: apparatus.clone(), program: None, is_open: false })))
    }

    fn device(&self) -> Device {
        Device::new("apparatus", self.make()).expect("its settings are good")
    }

    fn backend(&self) -> Backend {
        let schemas = SchemaSet::load(None).expect("the built-in schemas");
        let (_, text) = schemas.get(&backend()).expect("built in");
        let schema = BackendSchema::parse(text).expect("a schema");
        Backend::new(backend(), schema, Runner::Device(self.device()))
    }

    fn plan(&self, provider: &Provider, options: SpoolerOptions) -> Plan {
        let name = provider.name().clone();
        let served = ServedBackend { backend: Arc::new(self.backend()), workers: 1, storages: vec![name.clone()] };
        Plan { storages: vec![(name, Source::Open(provider.clone()))], backends: vec![served], options }
    }

    fn count(&self, request: &str) -> usize {
        self.bench().requests.iter().filter(|asked| **asked == request).count()
    }
}

/// A driver of the apparatus.
struct Scripted {
    apparatus: Apparatus,
    program: Option<Program>,
    is_open: bool,
}

impl Scripted {
    fn ask(&mut self, request: &'static str) -> Result<(), DriverError> {
        let mut bench = self.apparatus.bench();
        bench.requests.push(request);
        if bench.unplugged {
            self.is_open = false;
            return Err(DriverError::new(ErrorClass::Device, "apparatus: the port is not there; plug it in"));
        }
        if request == "identify" {
            self.is_open = true;
        } else if !self.is_open {
            return Err(DriverError::new(ErrorClass::Device, "apparatus: not identified yet"));
        }
        Ok(())
    }
}

impl Driver for Scripted {
    fn identify(&mut self, _: Deadline) -> Result<Identity, DriverError> {
        self.ask("identify")?;
        Ok(Identity { model: "Bench".into(), serial: "7".into(), is_simulated: true, ..Identity::default() })
    }

    fn configure(&mut self, _: Deadline) -> Result<(), DriverError> {
        self.ask("configure")?;
        self.apparatus.bench().outputs_on = false;
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            instructions: ["load", "fhop", "fint", "fphase", "measure", "barrier"].map(ToOwned::to_owned).to_vec(),
            num_wires: 8,
            max_shots: 1_000_000,
            largest_value: 1,
            stop: StopSupport::Now,
            calibration: Some("coils 3".into()),
        }
    }

    fn validate(&self, program: &Program) -> Result<(), Problem> {
        let position = program.instructions.iter().position(|instruction| instruction.name == "fint");
        position.map_or(Ok(()), |index| Err(Problem::of_instruction(index, "fint", "no magnet is built in")))
    }

    fn prepare(&mut self, program: &Program, _: Deadline) -> Result<RunPlan, DriverError> {
        self.ask("prepare")?;
        self.program = Some(program.clone());
        Ok(RunPlan { per_shot: Duration::from_millis(1), total: Duration::from_millis(5) })
    }

    fn run(&mut self, control: &RunControl, shots: &mut dyn ShotSink) -> Result<RunEnd, DriverError> {
        self.ask("run")?;
        let program = self.program.take().expect("it was prepared");
        let fault = {
            let mut bench = self.apparatus.bench();
            bench.outputs_on = true;
            if bench.runs.is_empty() { None } else { Some(bench.runs.remove(0)) }
        };
        for shot in 0..program.shots {
            if control.is_stopped() {
                return Ok(RunEnd::Stopped);
            }
            match fault.filter(|_| shot == 2) {
                None => shots.shot(&[1]),
                Some(Fault::CableIsPulled) => {
                    self.apparatus.bench().unplugged = true;
                    self.is_open = false;
                    return Err(DriverError::new(ErrorClass::Device, "apparatus: hung up").sent("run"));
                }
                Some(Fault::Garbage) => {
                    return Err(DriverError::new(ErrorClass::Retry, "apparatus: unreadable").answered(b"\xff\0"));
                }
                Some(Fault::Panic) => panic!("a defect"),
                Some(Fault::TooFewShots) => return Ok(RunEnd::Complete),
                Some(Fault::StopsByItself) => return Ok(RunEnd::Stopped),
                Some(Fault::ValueOutOfRange) => shots.shot(&[2]),
                Some(Fault::Endless) => {
                    while !control.is_stopped() {
                        std::thread::sleep(Duration::from_millis(2));
                    }
                    return Ok(RunEnd::Stopped);
                }
                Some(Fault::Deaf) => std::thread::sleep(Duration::from_secs(3600)),
            }
        }
        Ok(RunEnd::Complete)
    }

    fn safe_state(&mut self, _: Deadline) -> Result<SafeState, DriverError> {
        self.ask("safe_state")?;
        self.apparatus.bench().outputs_on = false;
        Ok(SafeState { read_back: vec!["outputs: off".into()] })
    }

    fn health(&mut self, _: Deadline) -> Result<Health, DriverError> {
        self.ask("health")?;
        Ok(self.apparatus.bench().degraded.clone().map_or(Health::Good, Health::Degraded))
    }

    fn close(&mut self) {
        let mut bench = self.apparatus.bench();
        bench.requests.push("close");
        bench.outputs_on &= bench.unplugged;
    }
}

async fn submit(provider: &Provider, number: u32, job: &str) {
    let id = job_id(number);
    provider.upload_status(&backend(), &id, &Status::accepted(&id)).await.expect("accepted");
    provider.upload_job(&backend(), &id, &Document::from_text(job)).await.expect("queued");
}

async fn end_of(provider: &Provider, number: u32) -> Status {
    eventually("the end of the job", async || {
        let status = provider.get_status(&backend(), &job_id(number)).await.ok()?;
        status.status.is_final().then_some(status)
    })
    .await
}

async fn result(provider: &Provider, number: u32) -> Value {
    provider.get_result(&backend(), &job_id(number)).await.expect("it is there").read("result").expect("readable")
}

/// A storage, the spooler on it, and what it may be told.
async fn served(apparatus: &Apparatus) -> (TempStorage, Provider, Spooler) {
    let temp = TempStorage::local().await;
    let provider = temp.provider().await;
    let spooler = Spooler::start(apparatus.plan(&provider, SpoolerOptions::default()));
    (temp, provider, spooler)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_runs_on_a_device_and_its_result_names_it() {
    let apparatus = Apparatus::default();
    let (_temp, provider, spooler) = served(&apparatus).await;
    submit(&provider, 0, JOB).await;
    assert_eq!(end_of(&provider, 0).await, Status::done(&job_id(0)));
    let result = result(&provider, 0).await;
    assert_eq!(result["results"][0]["data"]["memory"], serde_json::json!(["1", "1", "1", "1", "1"]));
    let device = &result["results"][0]["header"]["device"];
    assert_eq!((&device["driver"], &device["model"]), (&"apparatus".into(), &"Bench".into()));
    assert_eq!((&device["calibration"], &device["simulated"]), (&"coils 3".into(), &true.into()));
    let config = provider.get_config(&backend()).await.expect("published");
    assert!(!config.simulator);
    assert_eq!(config.long_name(provider.name()), "test_fermions_hardware");
    spooler.drain().await;
    // Identified once, and let go in a safe state.
    assert_eq!((apparatus.count("identify"), apparatus.count("close")), (1, 1));
    assert!(!apparatus.bench().outputs_on);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_device_is_away_its_backend_says_so_and_its_jobs_wait() {
    let apparatus = Apparatus::default();
    apparatus.bench().unplugged = true;
    let (_temp, provider, spooler) = served(&apparatus).await;
    submit(&provider, 0, JOB).await;
    let status = eventually("the backend tells of its device", async || {
        let status = provider.get_backend_status(&backend()).await.ok()?;
        status.status_msg.contains("plug it in").then_some(status)
    })
    .await;
    assert!(!status.operational);
    assert_eq!(provider.queue(&backend()).await.expect("listed"), [job_id(0)]);
    apparatus.bench().unplugged = false;
    assert_eq!(end_of(&provider, 0).await.status, JobState::Done);
    let status = provider.get_backend_status(&backend()).await.expect("published");
    assert_eq!((status.operational, status.status_msg.as_str()), (true, ""));
    spooler.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cable_that_is_pulled_in_a_run_costs_no_job() {
    let apparatus = Apparatus::default();
    apparatus.bench().runs = vec![Fault::CableIsPulled];
    let (_temp, provider, spooler) = served(&apparatus).await;
    submit(&provider, 0, JOB).await;
    eventually("the job is back in its queue", async || {
        (apparatus.count("run") == 1).then_some(())?;
        (provider.queue(&backend()).await.expect("listed") == [job_id(0)]).then_some(())
    })
    .await;
    assert_eq!(provider.get_status(&backend(), &job_id(0)).await.expect("it is there").status, JobState::Initializing);
    apparatus.bench().unplugged = false;
    assert_eq!(end_of(&provider, 0).await.status, JobState::Done);
    assert_eq!(result(&provider, 0).await["results"][0]["data"]["memory"].as_array().expect("a list").len(), 5);
    // Everything was programmed anew.
    assert!(apparatus.count("configure") >= 2);
    spooler.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_device_cannot_do_is_refused_before_anything_is_sent() {
    let apparatus = Apparatus::default();
    let (_temp, provider, spooler) = served(&apparatus).await;
    let job = JOB.replace(r#"["measure""#, r#"["fint", [0, 1, 2, 3, 4, 5, 6, 7], [1]], ["measure""#);
    submit(&provider, 0, &job).await;
    let status = end_of(&provider, 0).await;
    assert!(status.error_message.ends_with("experiment_0, instruction 1 (fint): no magnet is built in"), "{status:?}");
    assert_eq!(apparatus.count("prepare"), 0);
    spooler.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_of_a_driver_costs_neither_the_job_nor_the_daemon() {
    let apparatus = Apparatus::default();
    apparatus.bench().runs = vec![Fault::Panic];
    let (_temp, provider, spooler) = served(&apparatus).await;
    submit(&provider, 0, JOB).await;
    assert_eq!(end_of(&provider, 0).await.status, JobState::Done);
    assert_eq!(apparatus.count("run"), 2);
    spooler.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_that_gives_other_shots_than_asked_for_is_not_believed() {
    let apparatus = Apparatus::default();
    apparatus.bench().runs = vec![Fault::TooFewShots, Fault::StopsByItself, Fault::ValueOutOfRange];
    let (_temp, provider, spooler) = served(&apparatus).await;
    submit(&provider, 0, JOB).await;
    assert_eq!(end_of(&provider, 0).await.status, JobState::Done);
    assert_eq!(apparatus.count("run"), 4);
    assert!(apparatus.count("identify") >= 4, "it was started anew each time");
    spooler.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_pass_is_tried_three_times_and_then_ends_the_job() {
    let apparatus = Apparatus::default();
    apparatus.bench().runs = vec![Fault::Garbage, Fault::Garbage, Fault::Garbage];
    let (_temp, provider, spooler) = served(&apparatus).await;
    submit(&provider, 0, JOB).await;
    let status = end_of(&provider, 0).await;
    assert_eq!(status.status, JobState::Error);
    assert!(status.error_message.contains("3 attempts"), "{status:?}");
    assert_eq!(apparatus.count("run"), 3);
    assert_eq!(apparatus.count("identify"), 1, "the device itself is well");
    submit(&provider, 1, JOB).await;
    apparatus.bench().runs = vec![Fault::Garbage];
    assert_eq!(end_of(&provider, 1).await.status, JobState::Done);
    spooler.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_run_stops_and_leaves_the_device_safe() {
    let apparatus = Apparatus::default();
    apparatus.bench().runs = vec![Fault::Endless];
    let temp = TempStorage::local().await;
    let provider = temp.provider().await;
    let options = SpoolerOptions { lease_s: 1, ..SpoolerOptions::default() };
    let spooler = Spooler::start(apparatus.plan(&provider, options));
    submit(&provider, 0, JOB).await;
    eventually("the run", async || (apparatus.count("run") == 1).then_some(())).await;
    let cancelled = cancel(&provider, &backend(), &job_id(0)).await.expect("an answer");
    assert!(matches!(cancelled, Cancellation::Asked), "{cancelled:?}");
    assert_eq!(end_of(&provider, 0).await, Status::cancelled(&job_id(0)));
    assert_eq!(apparatus.count("safe_state"), 1);
    assert!(!apparatus.bench().outputs_on);
    submit(&provider, 1, JOB).await;
    assert_eq!(end_of(&provider, 1).await.status, JobState::Done);
    spooler.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_spooler_makes_the_device_safe_and_puts_the_job_back() {
    let apparatus = Apparatus::default();
    apparatus.bench().runs = vec![Fault::Endless];
    let temp = TempStorage::local().await;
    let provider = temp.provider().await;
    let options = SpoolerOptions { grace_period_s: 0, ..SpoolerOptions::default() };
    let spooler = Spooler::start(apparatus.plan(&provider, options));
    submit(&provider, 0, JOB).await;
    eventually("the run", async || (apparatus.count("run") == 1).then_some(())).await;
    spooler.drain().await;
    assert_eq!(provider.queue(&backend()).await.expect("listed"), [job_id(0)]);
    assert!(provider.jobs(Place::Running).await.expect("listed").is_empty());
    assert_eq!(apparatus.bench().requests.last(), Some(&"close"));
    assert!(!apparatus.bench().outputs_on);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_lets_the_device_go_before_it_is_taken_again() {
    let apparatus = Apparatus::default();
    let (_temp, provider, mut spooler) = served(&apparatus).await;
    submit(&provider, 0, JOB).await;
    end_of(&provider, 0).await;
    eventually("the job is let go", async || provider.jobs(Place::Running).await.ok()?.is_empty().then_some(())).await;
    spooler.reload(apparatus.plan(&provider, SpoolerOptions::default())).await;
    submit(&provider, 1, JOB).await;
    assert_eq!(end_of(&provider, 1).await.status, JobState::Done);
    let order: Vec<&str> =
        apparatus.bench().requests.iter().copied().filter(|asked| ["identify", "close"].contains(asked)).collect();
    assert_eq!(order, ["identify", "close", "identify"]);
    spooler.drain().await;
}

#[test]
fn a_device_tells_what_a_person_should_look_at() {
    let apparatus = Apparatus::default();
    let device = apparatus.device();
    let availability = device.availability();
    assert_eq!(*availability.borrow(), Availability::Starting, "whoever only checks jobs does not touch the device");
    assert!(apparatus.bench().requests.is_empty());
    apparatus.bench().degraded = Some("the oven is at 412 K".into());
    device.start();
    // It is asked between runs, every few seconds.
    let begin = Instant::now();
    while availability.borrow().note().as_deref() != Some("the oven is at 412 K") {
        assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", availability.borrow());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(availability.borrow().is_ready());
    device.close();
}

#[test]
fn a_driver_that_does_not_come_back_holds_up_nobody() {
    let apparatus = Apparatus::default();
    apparatus.bench().runs = vec![Fault::Deaf];
    let device = apparatus.device();
    device.start();
    let program = Program {
        instructions: Vec::new(),
        num_wires: 1,
        shots: 5,
        wire_order: qspool_driver::WireOrder::Sequential,
        seed: None,
    };
    let error = device.run(&program, &qspool::backend::device::StopRun::default()).expect_err("it hangs");
    assert!(error.to_string().contains("does not come back from run"), "{error}");
    assert!(!device.availability().borrow().is_ready());
}
