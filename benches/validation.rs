//! How long a backend's schema takes to compile, and a job of 1,000 experiments with 100 instructions to be checked.

use std::fmt::Write as _;

use divan::Bencher;
use divan::counter::BytesCount;
use qspool::schema::{BackendSchema, builtin};

fn main() {
    divan::main();
}

fn text(name: &str) -> &'static str {
    builtin().find(|(known, _)| *known == name).map(|(_, text)| text).expect("a built-in schema")
}

fn schema(name: &str) -> BackendSchema {
    BackendSchema::parse(text(name)).expect("a built-in schema is right")
}

/// A job whose experiments each hold `loop_of` instructions again and again, then a measurement; `broken` spoils it.
fn job(loop_of: &[&str], num_wires: u32, is_broken: bool) -> String {
    const EXPERIMENTS: usize = 1000;
    const INSTRUCTIONS: usize = 100;
    let mut job = String::from("{");
    for number in 0..EXPERIMENTS {
        write!(job, r#""experiment_{number}": {{"instructions": ["#).expect("a String takes all");
        for index in 0..INSTRUCTIONS - 1 {
            job.push_str(loop_of[index % loop_of.len()]);
            job.push_str(", ");
        }
        let wire = if is_broken { 9 } else { 0 };
        write!(
            job,
            r#"["measure", [{wire}], []]], "num_wires": {num_wires}, "shots": 500, "wire_order": "interleaved"}}, "#
        )
        .expect("a String takes all");
    }
    job.truncate(job.len() - 2);
    job.push('}');
    job
}

const MULTIQUDIT: &[&str] =
    &[r#"["rlx", [1], [0.7853981633974483]]"#, r#"["rlxly", [0, 1], [1.25]]"#, r#"["rlzlz", [0, 1, 2, 3, 4], [0.5]]"#];
const FERMIONS: &[&str] = &[r#"["fhop", [0, 1, 2, 3], [0.7853981633974483]]"#, r#"["fphase", [2, 3], [1.25]]"#];

#[divan::bench(args = ["multiqudit", "fermions"])]
fn large_job(bencher: Bencher, backend: &str) {
    let (loop_of, num_wires) = if backend == "fermions" { (FERMIONS, 8) } else { (MULTIQUDIT, 5) };
    let schema = schema(backend);
    let job = job(loop_of, num_wires, false);
    schema.validate(job.as_bytes()).expect("a valid job");
    bencher.counter(BytesCount::of_str(&job)).bench(|| schema.validate(divan::black_box(job.as_bytes())));
}

#[divan::bench]
fn large_job_that_is_refused(bencher: Bencher) {
    let schema = schema("multiqudit");
    let job = job(MULTIQUDIT, 5, true);
    schema.validate(job.as_bytes()).expect_err("a broken job");
    bencher.counter(BytesCount::of_str(&job)).bench(|| schema.validate(divan::black_box(job.as_bytes())));
}

/// The least that reading such a job as JSON costs.
#[divan::bench]
fn large_job_read_as_json_only(bencher: Bencher) {
    let job = job(MULTIQUDIT, 5, false);
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
    bencher.counter(BytesCount::of_str(&job)).bench(|| read(divan::black_box(&job)));
}

#[divan::bench(args = ["singlequdit", "multiqudit", "fermions", "rydberg"])]
fn compile(bencher: Bencher, backend: &str) {
    let text = text(backend);
    bencher.bench(|| BackendSchema::parse(divan::black_box(text)));
}
