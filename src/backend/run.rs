//! Validates and runs jobs.

use std::sync::Arc;

use qspool_driver::{Identity, Outcome, Program, StopFlag, Stopped};
use rand::TryRng;
use rand::rngs::SysRng;

use super::device::{Device, DeviceError, Ran, StopRun};
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
        // Experiments run one after the other, so the largest decides.
        let peak_of = |experiment: &Experiment| match &self.runner {
            Runner::Simulator(simulator) => simulator.memory(&experiment.program),
            Runner::Device(_) => {
                let Program { shots, .. } = experiment.program;
                Outcome::bytes(shots, u64::from(shots), experiment.program.measured_values() as u64)
            }
        };
        let peak_bytes = job.experiments.iter().map(peak_of).max().unwrap_or(0).max(signing_bytes);
        Ok(Prepared { job, result_bytes, peak_bytes: peak_bytes.saturating_add(Self::job_bytes(text.len())) })
    }

    /// Runs the experiments in order and writes the result document, signed if the backend signs.
    pub fn run(&self, job_id: &JobId, prepared: &Prepared, stop: &StopRun) -> Result<Document, RunError> {
        let no_room = || RunError::NoRoom { bytes: prepared.result_bytes };
        let size_bound = usize::try_from(prepared.result_bytes).map_err(|_| no_room())?;
        let mut result =
            ResultWriter::new(&self.name, self.schema.version(), job_id, size_bound).map_err(|_| no_room())?;
        for experiment in &prepared.job.experiments {
            stop.now.check()?;
            let (outcome, mark) = match &self.runner {
                Runner::Simulator(simulator) => (simulate(*simulator, experiment, &stop.now)?, None),
                Runner::Device(device) => {
                    let ran = run_on(device, experiment, stop)?;
                    (ran.outcome, Some(mark(device, ran.identity)))
                }
            };
            let Experiment { name, program } = experiment;
            result.push(name, program, &outcome, self.schema.reports_instructions(), mark.as_ref());
        }
        let result = result.finish();
        match self.key() {
            None => Ok(result),
            // What the writer has written is JSON.
            Some(key) => sign(&result, key).map_err(|_| RunError::NotSigned),
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
