//! Validates and runs jobs.

use std::ops::Range;
use std::sync::Arc;

use qspool_driver::{Identity, Outcome, StopFlag, Stopped};
use rand::TryRng;
use rand::rngs::SysRng;
use rayon::prelude::*;

use super::device::{Device, DeviceError, Ran, StopRun};
use super::progress::ProgressCounter;
use crate::job::{
    BackendConfig, BackendName, DeviceMark, Document, Experiment, Job, JobId, ResultWriter, result_size_bound,
};
use crate::schema::{BackendSchema, Rejection, RejectionKind, Valid};
use crate::signing::{PrivateKey, sign, signing_bytes};
use crate::simulator::{ShotRandom, SimulationError, Simulator};

/// A backend that can run jobs.
pub struct Backend {
    name: BackendName,
    schema: BackendSchema,
    runner: Runner,
    key: Option<Arc<PrivateKey>>,
}

/// What runs the programs of a backend.
pub enum Runner {
    /// Arithmetic.
    Simulator(&'static dyn Simulator),
    /// A device.
    Device(Device),
}

/// A job that may run, and what it needs.
pub struct Prepared {
    job: Valid<Job>,
    /// The experiments that run at the same time.
    waves: Vec<Range<usize>>,
    result_bytes: u64,
    peak_bytes: u64,
}

/// A valid job did not come to a result.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It was told to stop.
    #[error("the run was stopped")]
    Stopped,
    /// It cannot be run; the message is one line for the user.
    #[error("{experiment}{}{source}", after_experiment(source))]
    Failed {
        /// The experiment.
        experiment: String,
        /// What is wrong.
        source: SimulationError,
    },
    /// The device cannot do what the job asks for; the message is one line for the user.
    #[error("{experiment}: {what}")]
    Refused {
        /// The experiment.
        experiment: String,
        /// What is wrong.
        what: String,
    },
    /// The device is away: the job has to wait. The message is one line for the operator.
    #[error("{0}")]
    Away(String),
    /// The machine has no memory for the result.
    #[error("the machine has no memory left for a result of {bytes} bytes; ask for fewer shots, or split the job")]
    NoRoom {
        /// The upper bound of the result's size.
        bytes: u64,
    },
    /// The result could not be signed.
    #[error("the result could not be signed, for a reason inside the backend")]
    NotSigned,
    /// The operating system gave no entropy for an experiment without a seed.
    #[error("{experiment}: no entropy for the shots; give the experiment a seed, or try again")]
    NoEntropy {
        /// The experiment.
        experiment: String,
    },
}

/// What stands between the experiment and what is wrong: the same as where a schema refuses an instruction.
fn after_experiment(source: &SimulationError) -> &'static str {
    if matches!(source, SimulationError::Instruction { .. }) { ", " } else { ": " }
}

impl From<Stopped> for RunError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl Prepared {
    /// The memory that the run needs at its peak, the result included, in bytes. More is never allocated.
    pub fn memory_bytes(&self) -> u64 {
        self.result_bytes.saturating_add(self.peak_bytes)
    }
}

impl Backend {
    /// The backend `name`, whose jobs `schema` checks and `runner` runs.
    pub fn new(name: BackendName, schema: BackendSchema, runner: Runner) -> Self {
        Self { name, schema, runner, key: None }
    }

    /// The device that runs the jobs; none where a simulator does.
    pub fn device(&self) -> Option<&Device> {
        match &self.runner {
            Runner::Simulator(_) => None,
            Runner::Device(device) => Some(device),
        }
    }

    /// The same backend, which signs with this key.
    #[must_use]
    pub fn signed_by(self, key: Arc<PrivateKey>) -> Self {
        Self { key: Some(key), ..self }
    }

    /// The key that it signs with, if it signs.
    pub fn key(&self) -> Option<&PrivateKey> {
        self.key.as_deref()
    }

    /// Its name.
    pub fn name(&self) -> &BackendName {
        &self.name
    }

    /// What it publishes of itself.
    pub fn configuration(&self) -> BackendConfig {
        let mut configuration = self.schema.configuration(&self.name);
        configuration.simulator = self.device().is_none();
        configuration.sign = self.key.is_some();
        configuration.kid = self.key().map(|key| key.kid().to_owned());
        configuration
    }

    /// An upper bound of the memory that [`prepare`](Self::prepare) takes for a text of this length, in bytes.
    ///
    /// The densest text is that of short instructions: the 16 bytes of `["rlx",[0],[1]],` become three allocations of
    /// 32 bytes and a struct of 72, twice that while the list of instructions grows.
    pub fn job_bytes(text_bytes: usize) -> u64 {
        (text_bytes as u64).saturating_mul(20)
    }

    /// Checks the text of a job against the backend's schema and the limits of its device, and finds out what it needs
    /// to run.
    pub fn prepare(&self, text: &[u8]) -> Result<Prepared, Rejection> {
        let job = self.schema.validate(text)?;
        if let Some(device) = self.device() {
            let problem = |experiment: &Experiment| {
                let problem = device.validate(&experiment.program).err()?;
                let after_experiment = if problem.instruction.is_some() { "," } else { ":" };
                Some(format!("{}{after_experiment} {problem}", experiment.name))
            };
            let problems: Vec<String> = job.experiments.iter().filter_map(problem).collect();
            if !problems.is_empty() {
                return Err(Rejection::new(RejectionKind::Invalid, problems, false));
            }
        }
        let result_bytes = job.experiments.iter().map(|experiment| self.result_bytes(experiment)).sum();
        let signing_bytes = if self.key.is_some() { signing_bytes(result_bytes) } else { 0 };
        let (waves, wave_bytes) = self.waves(&job.experiments);
        let peak_bytes = wave_bytes.max(signing_bytes).saturating_add(Self::job_bytes(text.len()));
        Ok(Prepared { job, waves, result_bytes, peak_bytes })
    }

    /// Which experiments run at the same time, and what the largest of these groups takes, in bytes.
    ///
    /// On a simulator neighbours do, as long as they take little memory together; on a device there is one at a time.
    /// How they are grouped does not depend on the machine.
    fn waves(&self, experiments: &[Experiment]) -> (Vec<Range<usize>>, u64) {
        let (mut waves, mut largest): (Vec<Range<usize>>, u64) = (Vec::new(), 0);
        let mut together = 0_u64;
        for (index, Experiment { program, .. }) in experiments.iter().enumerate() {
            let bytes = match &self.runner {
                Runner::Simulator(simulator) => simulator.memory(program),
                Runner::Device(_) => {
                    let values = program.measured_values() as u64;
                    Outcome::bytes(program.shots, u64::from(program.shots), values)
                }
            };
            together = together.saturating_add(bytes);
            let may_join = self.device().is_none() && together <= SIDE_BY_SIDE;
            match waves.last_mut().filter(|_| may_join) {
                Some(wave) => wave.end = index + 1,
                None => {
                    waves.push(index..index + 1);
                    together = bytes;
                }
            }
            largest = largest.max(together);
        }
        (waves, largest)
    }

    /// Runs the experiments and writes the result document in their order, signed if the backend signs. Those that are
    /// done are counted.
    pub fn run(
        &self,
        job_id: &JobId,
        prepared: &Prepared,
        stop: &StopRun,
        progress: &ProgressCounter,
    ) -> Result<Document, RunError> {
        let no_room = || RunError::NoRoom { bytes: prepared.result_bytes };
        let size_bound = usize::try_from(prepared.result_bytes).map_err(|_| no_room())?;
        let mut result =
            ResultWriter::new(&self.name, self.schema.version(), job_id, size_bound).map_err(|_| no_room())?;
        progress.begin(prepared.job.experiments.len());
        for wave in &prepared.waves {
            stop.now.check()?;
            let experiments = &prepared.job.experiments[wave.clone()];
            let run =
                |experiment: &Experiment| self.run_experiment(experiment, stop).inspect(|_ran| progress.count_one());
            let ran: Vec<_> = match experiments {
                [alone] => vec![run(alone)],
                _ => experiments.par_iter().map(run).collect(),
            };
            for (Experiment { name, program }, ran) in experiments.iter().zip(ran) {
                let (outcome, mark) = ran?;
                result.push(name, program, &outcome, self.schema.reports_instructions(), mark.as_ref());
            }
        }
        let result = result.finish();
        match self.key() {
            None => Ok(result),
            // What the writer has written is JSON.
            Some(key) => sign(&result, key).map_err(|_| RunError::NotSigned),
        }
    }

    /// The shots of an experiment, and what the device that they come from is.
    fn run_experiment(
        &self,
        experiment: &Experiment,
        stop: &StopRun,
    ) -> Result<(Outcome, Option<DeviceMark>), RunError> {
        match &self.runner {
            Runner::Simulator(simulator) => Ok((simulate(*simulator, experiment, &stop.now)?, None)),
            Runner::Device(device) => {
                let ran = run_on(device, experiment, stop)?;
                Ok((ran.outcome, Some(mark(device, ran.identity))))
            }
        }
    }

    fn result_bytes(&self, experiment: &Experiment) -> u64 {
        let digits = match &self.runner {
            Runner::Simulator(simulator) => simulator.value_digits(&experiment.program),
            Runner::Device(device) => device.capabilities().largest_value.to_string().len() as u64,
        };
        let mark = if self.device().is_some() { MARK_BYTES } else { 0 };
        result_size_bound(&experiment.name, &experiment.program, digits, self.schema.reports_instructions()) + mark
    }
}

/// What experiments may take together that run at the same time, in bytes. One that takes more runs alone, and is large
/// enough for all cores.
const SIDE_BY_SIDE: u64 = 64 << 20;

/// A little more than a device says of itself; what goes beyond it makes the text grow, and nothing worse.
const MARK_BYTES: u64 = 1024;

fn simulate(simulator: &dyn Simulator, experiment: &Experiment, stop: &StopFlag) -> Result<Outcome, RunError> {
    let Experiment { name, program } = experiment;
    let mut random = match program.seed {
        Some(seed) => ShotRandom::from_seed(seed),
        None => entropy().ok_or_else(|| RunError::NoEntropy { experiment: name.clone() })?,
    };
    simulator.run(program, &mut random, stop).map_err(|source| match source {
        SimulationError::Stopped => RunError::Stopped,
        source => RunError::Failed { experiment: name.clone(), source },
    })
}

fn run_on(device: &Device, experiment: &Experiment, stop: &StopRun) -> Result<Ran, RunError> {
    device.run(&experiment.program, stop).map_err(|error| match error {
        DeviceError::Stopped => RunError::Stopped,
        DeviceError::Program(what) => RunError::Refused { experiment: experiment.name.clone(), what },
        DeviceError::Away(why) => RunError::Away(why),
    })
}

/// What the result says of the device.
fn mark(device: &Device, identity: Identity) -> DeviceMark {
    let Identity { model, serial, firmware, is_simulated, .. } = identity;
    DeviceMark {
        driver: device.name().to_owned(),
        model,
        serial,
        firmware,
        calibration: device.capabilities().calibration,
        simulated: is_simulated,
    }
}

/// Randomness from the operating system.
fn entropy() -> Option<ShotRandom> {
    let mut seed = [0; 32];
    SysRng.try_fill_bytes(&mut seed).ok()?;
    Some(ShotRandom::from_entropy(seed))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::{Duration, Instant};

    use qspool_driver::Program;
    use rayon::ThreadPoolBuilder;

    use super::*;
    use crate::job::Progress;
    use crate::schema::builtin;
    use crate::simulator::{Prepared as PreparedState, Shape, Uniform, simulator};

    fn backend(name: &str) -> Backend {
        backend_with(name, simulator(name).expect("built in"))
    }

    fn backend_with(name: &str, simulator: &'static dyn Simulator) -> Backend {
        let (_, text) = builtin().find(|(known, _)| *known == name).expect("built in");
        let schema = BackendSchema::parse(text).expect("good");
        Backend::new(name.parse().expect("a name"), schema, Runner::Simulator(simulator))
    }

    /// A simulator that lets one run end for each word that it is sent.
    struct Gated {
        simulator: &'static dyn Simulator,
        gate: Mutex<Receiver<()>>,
    }

    impl Simulator for Gated {
        fn shape(&self, program: &Program) -> Result<Shape, SimulationError> {
            self.simulator.shape(program)
        }
        fn gate_bytes(&self, program: &Program, shape: &Shape) -> u64 {
            self.simulator.gate_bytes(program, shape)
        }
        fn prepare(&self, program: &Program, stop: &StopFlag) -> Result<PreparedState, SimulationError> {
            self.simulator.prepare(program, stop)
        }
        fn run(
            &self,
            program: &Program,
            random: &mut dyn Uniform,
            stop: &StopFlag,
        ) -> Result<Outcome, SimulationError> {
            self.gate.lock().expect("nobody panics").recv().expect("the test goes on");
            self.simulator.run(program, random, stop)
        }
    }

    /// Hops whose angle grows from one experiment to the next; `bad` puts two fermions into one mode.
    fn fermions(count: usize, bad: &[usize]) -> String {
        let mut job = String::new();
        for index in 0..count {
            let second = if bad.contains(&index) { 0 } else { 3 };
            let before = if index == 0 { '{' } else { ',' };
            write!(
                job,
                r#"{before}"experiment_{index}": {{"instructions": [["load", [0], []], ["load", [{second}], []],
                ["fhop", [0, 1, 2, 3], [0.{index:03}]], ["measure", [0], []], ["measure", [2], []]],
                "num_wires": 8, "shots": 50, "wire_order": "interleaved", "seed": {index}}}"#
            )
            .expect("written");
        }
        job + "}"
    }

    fn run(backend: &Backend, job: &str, threads: usize) -> Result<String, String> {
        run_counted(backend, job, threads, &ProgressCounter::default())
    }

    fn run_counted(backend: &Backend, job: &str, threads: usize, progress: &ProgressCounter) -> Result<String, String> {
        let prepared = backend.prepare(job.as_bytes()).expect("valid");
        let id: JobId = "job-20261129_120000-fermions-user-0123456".parse().expect("an id");
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        let result = pool.install(|| backend.run(&id, &prepared, &StopRun::default(), progress));
        result
            .map(|document| String::from_utf8(document.text().to_vec()).expect("UTF-8"))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn experiments_side_by_side_give_what_they_give_one_after_the_other() {
        let (backend, job) = (backend("fermions"), fermions(300, &[]));
        let one = run(&backend, &job, 1).expect("runs");
        assert_eq!(run(&backend, &job, 4), Ok(one.clone()));
        let result: serde_json::Value = serde_json::from_str(&one).expect("JSON");
        let names = result["results"].as_array().expect("a list").iter().map(|result| &result["header"]["name"]);
        assert!(names.enumerate().all(|(index, name)| *name == format!("experiment_{index}")));
    }

    #[test]
    fn experiments_that_share_eigenvectors_give_what_each_gives_alone() {
        // Three sets of them are new in each round.
        for round in 10..40 {
            let experiment = |index: usize| {
                format!(
                    r#""experiment_{index}": {{"instructions": [["load", [0], [130]], ["sq_full", [0], [1.{round}, {}, 3]],
                    ["measure", [0], []]], "num_wires": 1, "shots": 5, "seed": 1}}"#,
                    index % 3
                )
            };
            let job = format!("{{{}}}", (0..24).map(experiment).collect::<Vec<_>>().join(","));
            let result = run(&backend("singlequdit"), &job, 6).expect("runs");
            let result: serde_json::Value = serde_json::from_str(&result).expect("JSON");
            let results = result["results"].as_array().expect("a list");
            assert!(
                results.len() == 24
                    && results.iter().enumerate().all(|(index, one)| one["data"] == results[index % 3]["data"])
            );
        }
    }

    #[test]
    fn of_several_bad_experiments_the_first_is_told() {
        let error = run(&backend("fermions"), &fermions(100, &[23, 61, 99]), 4).expect_err("bad");
        assert!(error.starts_with("experiment_23, instruction 1 (load)"), "{error}");
    }

    #[test]
    fn experiments_are_counted_while_a_wave_runs() {
        let (let_go, gate) = channel();
        let simulator = simulator("fermions").expect("built in");
        let backend = backend_with("fermions", Box::leak(Box::new(Gated { simulator, gate: Mutex::new(gate) })));
        let (job, progress) = (fermions(3, &[]), ProgressCounter::default());
        assert_eq!(backend.prepare(job.as_bytes()).expect("valid").waves.len(), 1);
        assert_eq!(progress.progress(), None);
        std::thread::scope(|scope| {
            let running = scope.spawn(|| run_counted(&backend, &job, 2, &progress));
            for done in 0..3 {
                let begin = Instant::now();
                while progress.progress() != Some(Progress { done, total: 3 }) {
                    assert!(begin.elapsed() < Duration::from_secs(60), "{done} are never done");
                    std::thread::yield_now();
                }
                let_go.send(()).expect("it runs");
            }
            running.join().expect("no panic").expect("runs");
        });
        assert_eq!(progress.progress(), Some(Progress { done: 3, total: 3 }));
    }

    #[test]
    fn an_experiment_that_fails_is_not_counted() {
        let progress = ProgressCounter::default();
        run_counted(&backend("fermions"), &fermions(100, &[23, 61, 99]), 4, &progress).expect_err("bad");
        assert_eq!(progress.progress(), Some(Progress { done: 97, total: 100 }));
    }

    #[test]
    fn large_experiments_run_alone_and_small_ones_together() {
        let experiment = |index: usize, shots: u32| {
            let gates = r#"["rlx", [0], [1.0]], ["measure", [0], []]"#;
            format!(
                r#""experiment_{index}": {{"instructions": [{gates}], "num_wires": 2, "shots": {shots},
                "wire_order": "sequential"}}"#
            )
        };
        let mut schema: serde_json::Value =
            serde_json::from_str(builtin().find(|(name, _)| *name == "rydberg").expect("built in").1).expect("JSON");
        schema["$defs"]["experiment"]["properties"]["shots"]["maximum"] = 20_000_000.into();
        let schema = BackendSchema::parse(&schema.to_string()).expect("good");
        let rydberg = Runner::Simulator(simulator("rydberg").expect("built in"));
        let backend = Backend::new("rydberg".parse().expect("a name"), schema, rydberg);
        let shots = [10, 10, 10, 20_000_000, 10, 10];
        let job: Vec<String> = shots.iter().enumerate().map(|(index, &shots)| experiment(index, shots)).collect();
        let prepared = backend.prepare(format!("{{{}}}", job.join(",")).as_bytes()).expect("valid");
        assert_eq!(prepared.waves, [0..3, 3..4, 4..6]);
        assert!(prepared.peak_bytes > SIDE_BY_SIDE);
    }
}
