//! How fast the queue is: from submission to DONE, jobs per second, and beside them what the disk and the Python stack's
//! own loop do on the same machine in the same run.
//!
//! Run it by `cargo bench --bench queue`. The storage lies in the build folder, so that folder's disk is measured.
//!
//! The flushes of one job are counted by hand: start the daemon under
//! `strace -f -c -e trace=fsync,fdatasync target/release/qspool run`, submit jobs, and divide.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

#[path = "../tests/common/python.rs"]
mod environment;
#[path = "../tests/peers/python.rs"]
mod python;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use python::Script;
use qspool::backend::{Backend, BackendOptions, SchemaSet};
use qspool::job::{BackendName, Document, JobId, JobState, Status, StorageName};
use qspool::spooler::{Plan, ServedBackend, Source, Spooler, SpoolerOptions};
use qspool::storage::{Provider, StorageContext, StorageOptions};
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// One small job: two fermions tunnel between two sites.
const JOB: &str = r#"{"experiment_0": {"instructions": [["load", [0], []], ["load", [1], []],
    ["fhop", [0, 1, 2, 3], [0.785]], ["measure", [0], []], ["measure", [2], []]],
    "num_wires": 4, "shots": 4, "wire_order": "interleaved", "seed": 7}}"#;

const SYNCS: usize = 300;
const SINGLE_JOBS: usize = 200;
const QUEUED_JOBS: usize = 2000;

fn main() {
    let runtime = Runtime::new().expect("a runtime");
    println!("disk below the build folder");
    disk();
    println!("\nfrom submission to DONE, one job at a time, the spooler idle before each");
    latency(&runtime);
    println!("\n{QUEUED_JOBS} queued jobs");
    for workers in [1, 16] {
        throughput(&runtime, workers);
    }
    println!("\nsqooler 0.9.0, its own loop, one backend, jobs that cost it nothing");
    reference("as it comes (T_WAIT_MAIN = 0.2)", "0.2", 20);
    reference("without its pause (T_WAIT_MAIN = 0)", "0", 200);
}

/// A storage in the build folder, for one measurement.
struct Place {
    directory: TempDir,
    name: StorageName,
    backend: BackendName,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let name = "bench".parse().expect("a name");
        Self { directory, name, backend: "fermions".parse().expect("a name") }
    }

    async fn provider(&self) -> Provider {
        let options = StorageOptions::local(self.directory.path().to_owned());
        let context = StorageContext { lease: Duration::from_secs(60), max_job_bytes: 1 << 20 };
        Provider::open(self.name.clone(), &options, context).await.expect("the storage opens")
    }

    /// A spooler of this storage, in the current runtime.
    async fn spooler(&self, workers: usize) -> Spooler {
        let schemas = SchemaSet::load(None).expect("the built-in schemas");
        let backend = Backend::open(&self.backend, &BackendOptions::default(), &schemas).expect("a built-in backend");
        Spooler::start(Plan {
            storages: vec![(self.name.clone(), Source::Open(self.provider().await))],
            backends: vec![ServedBackend { backend: Arc::new(backend), workers, storages: vec![self.name.clone()] }],
            options: SpoolerOptions::default(),
        })
    }

    async fn submit(&self, provider: &Provider) -> JobId {
        let user = "bench".parse().expect("a name");
        let job_id = provider.create_job_id(&self.backend, &user).expect("an id");
        let status = Status::accepted(&job_id);
        provider.upload_status(&self.backend, &job_id, &status).await.expect("the status is stored");
        provider.upload_job(&self.backend, &job_id, &Document::from_text(JOB)).await.expect("the job is stored");
        job_id
    }

    fn path(&self, below: &str) -> PathBuf {
        self.directory.path().join(below)
    }

    fn is_done(&self, job_id: &JobId) -> bool {
        let text = fs::read(self.path(&format!("status/fermions/{job_id}.json"))).expect("it was submitted");
        let status: Status = serde_json::from_slice(&text).expect("a status is always whole");
        assert_ne!(status.status, JobState::Error, "{}", status.error_message);
        status.status == JobState::Done
    }
}

fn disk() {
    let place = Place::new();
    let directory = File::open(place.directory.path()).expect("it was made");
    let (mut of_file, mut of_directory) = (Vec::new(), Vec::new());
    for number in 0..SYNCS {
        let mut file = File::create(place.path(&number.to_string())).expect("a file");
        file.write_all(JOB.as_bytes()).expect("written");
        of_file.push(timed(|| file.sync_data().expect("the disk takes it")));
        fs::rename(place.path(&number.to_string()), place.path(&format!("{number}.json"))).expect("renamed");
        of_directory.push(timed(|| directory.sync_all().expect("the disk takes it")));
    }
    print_times("fdatasync of a new small file", of_file);
    print_times("fsync of its directory", of_directory);
}

fn latency(runtime: &Runtime) {
    let place = Place::new();
    let provider = runtime.block_on(place.provider());
    let spooler = runtime.block_on(place.spooler(1));
    wait_until(|| place.path("backends/configs/fermions.json").exists());
    let (mut submitting, mut ending) = (Vec::new(), Vec::new());
    for _ in 0..SINGLE_JOBS {
        // Long enough for the spooler to be done with the one before.
        std::thread::sleep(Duration::from_millis(20));
        let begin = Instant::now();
        let job_id = runtime.block_on(place.submit(&provider));
        submitting.push(begin.elapsed());
        while !place.is_done(&job_id) {
            std::thread::sleep(Duration::from_micros(50));
        }
        ending.push(begin.elapsed());
    }
    runtime.block_on(spooler.drain());
    print_times("submission alone", submitting);
    print_times("submission to DONE", ending);
}

fn throughput(runtime: &Runtime, workers: usize) {
    let place = Arc::new(Place::new());
    let provider = runtime.block_on(place.provider());
    let mut job_ids = Vec::new();
    let submitting = timed(|| job_ids = runtime.block_on(submit_many(&place, &provider)));
    let mut spooler = None;
    let working = timed(|| {
        spooler = Some(runtime.block_on(place.spooler(workers)));
        wait_until(|| count(&place.path("jobs/finished/fermions")) == QUEUED_JOBS);
        wait_until(|| job_ids.iter().all(|job_id| place.is_done(job_id)));
    });
    if let Some(spooler) = spooler {
        runtime.block_on(spooler.drain());
    }
    print_rate(&format!("{workers} worker(s)"), QUEUED_JOBS, working);
    print_rate("  their submission, 16 at a time", QUEUED_JOBS, submitting);
}

async fn submit_many(place: &Arc<Place>, provider: &Provider) -> Vec<JobId> {
    let mut submitters = JoinSet::new();
    for _ in 0..16 {
        let (place, provider) = (Arc::clone(place), provider.clone());
        submitters.spawn(async move {
            let mut job_ids = Vec::new();
            for _ in 0..QUEUED_JOBS / 16 {
                job_ids.push(place.submit(&provider).await);
            }
            job_ids
        });
    }
    submitters.join_all().await.concat()
}

fn reference(label: &str, pause_s: &str, jobs: usize) {
    let place = Place::new();
    let given = json!({
        "storage": { "type": "local", "base_path": place.directory.path() }, "backend": "fermions", "publish": true, "jobs": jobs, "until_empty": false,
    });
    for number in 0..jobs {
        write(&place.path(&format!("jobs/queued/fermions/{number:024x}.json")), JOB);
        let status = Status::accepted(&format!("{number:024x}").parse().expect("an id"));
        write(&place.path(&format!("status/fermions/{number:024x}.json")), &json!(status).to_string());
    }
    let mut script = Script::start("spooler.py", &given, &[("T_WAIT_MAIN", pause_s)]);
    script.report();
    script.go_on();
    let report = script.finish();
    assert_eq!(count(&place.path("jobs/finished/fermions")), jobs, "{report}");
    print_rate(label, jobs, Duration::from_secs_f64(report["seconds"].as_f64().expect("a number")));
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("below the storage")).expect("a directory");
    fs::write(path, text).expect("written");
}

fn count(directory: &Path) -> usize {
    fs::read_dir(directory).map_or(0, Iterator::count)
}

fn wait_until(condition: impl Fn() -> bool) {
    while !condition() {
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn timed(action: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    action();
    begin.elapsed()
}

fn print_times(label: &str, mut times: Vec<Duration>) {
    times.sort();
    let milliseconds = |percent: usize| times[times.len() * percent / 100].as_secs_f64() * 1e3;
    println!("  {label:<36} median {:>8.3} ms   p95 {:>8.3} ms", milliseconds(50), milliseconds(95));
}

fn print_rate(label: &str, jobs: usize, time: Duration) {
    let seconds = time.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a few thousand jobs")]
    let rate = jobs as f64 / seconds;
    println!("  {label:<36} {rate:>8.1} jobs/s   ({jobs} in {seconds:.2} s)");
}
