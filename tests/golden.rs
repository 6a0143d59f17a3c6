//! The recorded jobs of the Python stack: same probabilities, same shots.

#[path = "common/dense.rs"]
mod dense;

use std::fs;
use std::path::Path;

use qspool::backend::device::StopRun;
use qspool::backend::{Backend, BackendOptions, ProgressCounter, SchemaSet};
use qspool::job::{Experiment, Job};
use qspool::schema::{BackendSchema, Valid, builtin};
use qspool::simulator::{ShotRandom, simulator};
use qspool_driver::{Outcome, Program, StopFlag};
use serde_json::Value;

/// What the records promise: 12 significant digits, and the drift of the norm in the reference's own propagation.
const PROBABILITY_TOLERANCE: f64 = 1e-9;

/// One recorded job of one backend.
struct Recorded(Value);

/// One experiment of a recorded job.
struct RecordedExperiment<'a> {
    name: String,
    program: Program,
    probabilities: Option<Vec<f64>>,
    dims: Vec<usize>,
    /// What the seed gives.
    memory: Vec<&'a str>,
}

fn recorded(backend: &str) -> Vec<Recorded> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{backend}.jsonl"));
    let text = fs::read_to_string(path).expect("the golden jobs are there");
    text.lines().map(|line| Recorded(serde_json::from_str(line).expect("JSON"))).collect()
}

impl Recorded {
    fn is_comparable(&self) -> bool {
        self.0.get("reference_noop").is_none()
    }

    /// Whether every experiment has a seed, and the recorded memory is what the bare seed gives.
    fn has_shots_of_the_seed(&self) -> bool {
        let from_seed = self.0["memory_from_seed"].as_array().expect("a list");
        from_seed.iter().all(Value::is_null)
            && self.experiments().iter().all(|experiment| experiment.program.seed.is_some())
    }

    fn id(&self) -> &str {
        text(&self.0["job_id"])
    }

    fn experiments(&self) -> Vec<RecordedExperiment<'_>> {
        let job = valid(text(&self.0["backend"]), &self.0["job"]);
        let one = |(index, experiment): (usize, &Experiment)| {
            let from_seed = &self.0["memory_from_seed"][index];
            let memory =
                if from_seed.is_null() { &self.0["result"]["results"][index]["data"]["memory"] } else { from_seed };
            let probabilities = &self.0["probabilities"][index];
            RecordedExperiment {
                name: experiment.name.clone(),
                program: experiment.program.clone(),
                probabilities: probabilities.as_array().map(|list| list.iter().map(number).collect()),
                dims: list(&self.0["dims"][index], |dim| whole(dim) as usize),
                memory: list(memory, text),
            }
        };
        job.experiments.iter().enumerate().map(one).collect()
    }
}

/// The job as the backend's schema reads it.
fn valid(backend: &str, job: &Value) -> Valid<Job> {
    let (_, text) = builtin().find(|(name, _)| *name == backend).expect("one of the four");
    let schema = BackendSchema::parse(text).expect("a schema");
    schema.validate(job.to_string().as_bytes()).unwrap_or_else(|rejection| panic!("{backend}: {rejection}"))
}

fn list<'a, T>(value: &'a Value, one: impl FnMut(&'a Value) -> T) -> Vec<T> {
    value.as_array().expect("a list").iter().map(one).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

fn whole(value: &Value) -> u32 {
    u32::try_from(value.as_u64().expect("a whole number")).expect("a small number")
}

/// One text per shot, as in a result document.
fn memory(outcome: &Outcome) -> Vec<String> {
    let row = |&shot: &u32| outcome.row(shot).iter().map(i64::to_string).collect::<Vec<_>>().join(" ");
    outcome.shots().iter().map(row).collect()
}

/// Runs every recorded job of `backend`; checks at least that many experiments for probabilities and for shots.
fn check(backend: &str, least_probabilities: usize, least_memories: usize) {
    let simulator = simulator(backend).expect("one of the four");
    let stop = StopFlag::default();
    let (mut probabilities_seen, mut memories_seen) = (0, 0);
    for job in recorded(backend).iter().filter(|job| job.is_comparable()) {
        for experiment in job.experiments() {
            let place = format!("{backend}, job {}, {}", job.id(), experiment.name);
            let program = &experiment.program;
            let prepared = simulator.prepare(program, &stop).unwrap_or_else(|error| panic!("{place}: {error}"));
            assert_eq!(prepared.state.shape().dims(), experiment.dims, "{place}");
            let norm = prepared.state.norm_sqr();
            assert!((norm - 1.0).abs() < 1e-12, "{place}: squared norm 1 + {:e}", norm - 1.0);
            if let Some(expected) = &experiment.probabilities {
                let found = prepared.probabilities();
                let sum: f64 = expected.iter().sum();
                let differences = found.iter().zip(expected).map(|(found, expected)| (found - expected / sum).abs());
                let worst = differences.fold(0.0, f64::max);
                assert!(worst < PROBABILITY_TOLERANCE, "{place}: probability off by {worst}");
                probabilities_seen += 1;
            }
            let Some(seed) = program.seed else { continue };
            let outcome = prepared.sample(program.shots, &mut ShotRandom::from_seed(seed), &stop).expect("not stopped");
            assert_eq!(memory(&outcome), experiment.memory, "{place}");
            memories_seen += usize::from(!experiment.memory.is_empty());
        }
    }
    assert!(probabilities_seen >= least_probabilities, "only {probabilities_seen} probabilities checked");
    assert!(memories_seen >= least_memories, "only {memories_seen} memories checked");
}

#[test]
fn results_are_the_recorded_documents() {
    let schemas = SchemaSet::load(None).expect("the built-in schemas");
    let mut seen = 0;
    for backend in ["singlequdit", "multiqudit", "fermions", "rydberg"] {
        let name = backend.parse().expect("a backend name");
        let backend_of_that_name = Backend::open(&name, &BackendOptions::default(), &schemas).expect("built in");
        for job in recorded(backend).iter().filter(|job| job.is_comparable() && job.has_shots_of_the_seed()) {
            let prepared = backend_of_that_name.prepare(job.0["job"].to_string().as_bytes()).expect("a valid job");
            let job_id = job.id().parse().expect("a job id");
            let result = backend_of_that_name
                .run(&job_id, &prepared, &StopRun::default(), &ProgressCounter::default())
                .expect("runs");
            let mut expected = job.0["result"].clone();
            // The reference stores INITIALIZING in every result; ours says what is true.
            expected["status"] = "DONE".into();
            assert_eq!(String::from_utf8_lossy(result.text()), expected.to_string(), "{}", job.id());
            seen += 1;
        }
    }
    assert!(seen >= 120, "only {seen} documents compared");
}

#[test]
fn singlequdit_gives_the_recorded_shots() {
    check("singlequdit", 100, 98);
}

#[test]
fn multiqudit_gives_the_recorded_shots() {
    check("multiqudit", 70, 70);
}

#[test]
fn fermions_gives_the_recorded_shots() {
    check("fermions", 93, 91);
}

#[test]
fn rydberg_gives_the_recorded_shots() {
    check("rydberg", 91, 89);
}

#[test]
fn chain_gates_that_the_reference_ignores_agree_with_dense_matrices() {
    let simulator = simulator("multiqudit").expect("one of the four");
    let jobs = recorded("multiqudit");
    let ignored: Vec<&Recorded> = jobs.iter().filter(|job| !job.is_comparable()).collect();
    assert_eq!(ignored.len(), 5, "the golden jobs with reference_noop");
    for experiment in ignored.into_iter().flat_map(Recorded::experiments) {
        let prepared = simulator.prepare(&experiment.program, &StopFlag::default()).expect("runs");
        let (dims, psi) = dense::amplitudes("multiqudit", &experiment.program);
        assert_eq!(prepared.state.shape().dims(), dims);
        let found = prepared.state.amplitudes();
        let pairs = found.iter().zip(&psi);
        let worst = pairs.map(|(fast, slow)| (fast - slow).norm()).fold(0.0, f64::max);
        assert!(worst < 1e-11, "{}: amplitude off by {worst}", experiment.name);
    }
}
