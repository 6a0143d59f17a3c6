//! How many jobs per second one spooler and several take from one queue, by medium, and what a job costs the server.
//!
//! Run it by `cargo bench --bench scaling`. Names of media choose some of them: `cargo bench --bench scaling -- mongodb`.
//! The servers are those of the tests: `QSPOOL_TEST_MONGODB_DAEMON` names another daemon for MongoDB, which is the first
//! thing to do for figures that mean something.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::{Duration, Instant};

use common::{TempStorage, backend, job_id, plan};
use qspool::job::{Document, Status};
use qspool::spooler::{Spooler, SpoolerOptions};
use qspool::storage::{Place, Provider};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// One small job: two fermions tunnel between two sites.
const JOB: &str = r#"{"experiment_0": {"instructions": [["load", [0], []], ["load", [1], []],
    ["fhop", [0, 1, 2, 3], [0.785]], ["measure", [0], []], ["measure", [2], []]],
    "num_wires": 4, "shots": 4, "wire_order": "interleaved", "seed": 7}}"#;

/// How many jobs each spooler runs at the same time.
const WORKERS: usize = 8;

/// How many spoolers share the queue.
const SPOOLERS: [usize; 4] = [1, 2, 4, 8];

/// How many submit at the same time.
const SUBMITTERS: u32 = 16;

fn main() {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_chosen = |medium: &str| chosen.is_empty() || chosen.iter().any(|name| name == medium);
    let runtime = Runtime::new().expect("a runtime");
    if is_chosen("local") {
        measure(&runtime, "local", 2000, || runtime.block_on(TempStorage::local()));
    }
    #[cfg(feature = "storage-mongodb")]
    if is_chosen("mongodb") {
        measure(&runtime, "mongodb", 1000, || runtime.block_on(TempStorage::mongodb()));
    }
    #[cfg(feature = "storage-dropbox")]
    if is_chosen("dropbox") {
        measure(&runtime, "dropbox (the server of the tests, in this process)", 300, || {
            runtime.block_on(TempStorage::dropbox())
        });
    }
}

fn measure(runtime: &Runtime, medium: &str, jobs: u32, new: impl Fn() -> TempStorage) {
    println!("\n{medium}: {jobs} queued jobs, {WORKERS} workers for each spooler");
    for spoolers in SPOOLERS {
        let temp = new();
        let (submitting, working) = runtime.block_on(run(&temp, jobs, spoolers));
        let rate = |time: Duration| f64::from(jobs) / time.as_secs_f64();
        println!(
            "  {spoolers} spooler(s) {:>8.1} jobs/s   ({:.2} s)   submission, {SUBMITTERS} at a time {:>8.1} jobs/s",
            rate(working),
            working.as_secs_f64(),
            rate(submitting)
        );
    }
}

async fn run(temp: &TempStorage, jobs: u32, spoolers: usize) -> (Duration, Duration) {
    let observer = temp.provider().await;
    let begin = Instant::now();
    let mut submitters = JoinSet::new();
    for first in 0..SUBMITTERS {
        let provider = observer.clone();
        submitters.spawn(async move {
            for number in (first..jobs).step_by(SUBMITTERS as usize) {
                submit(&provider, number).await;
            }
        });
    }
    submitters.join_all().await;
    let submitting = begin.elapsed();
    let mut storages = Vec::new();
    for _ in 0..spoolers {
        storages.push(temp.provider().await);
    }
    // A lease that nobody of the living loses, whatever the medium has in tests.
    let options = SpoolerOptions { lease_s: 2, ..SpoolerOptions::default() };
    let begin = Instant::now();
    let started: Vec<Spooler> =
        storages.into_iter().map(|provider| Spooler::start(plan(provider, WORKERS, options.clone()))).collect();
    while observer.jobs(Place::Finished(&backend())).await.expect("listed").len() < jobs as usize {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let working = begin.elapsed();
    for spooler in started {
        spooler.drain().await;
    }
    (submitting, working)
}

async fn submit(provider: &Provider, number: u32) {
    let id = job_id(number);
    provider.upload_status(&backend(), &id, &Status::accepted(&id)).await.expect("accepted");
    provider.upload_job(&backend(), &id, &Document::from_text(JOB)).await.expect("queued");
}
