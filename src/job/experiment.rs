//! A job that a backend may run: its experiments in order.

use qspool_driver::Program;

/// One experiment of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Experiment {
    /// Its key in the job, for example `experiment_0`; the result repeats it.
    pub name: String,
    /// What is to be run.
    pub program: Program,
}

/// The experiments of a job, in the order of its keys: the order in which they run and are reported.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// At least one.
    pub experiments: Vec<Experiment>,
}
