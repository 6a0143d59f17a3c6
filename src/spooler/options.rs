//! What can be set of the loop that works through the queues.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the spooler works through the queues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SpoolerOptions {
    /// How long a job stays claimed without a sign of life of its spooler, in seconds; then another may take it.
    #[schemars(range(min = 1, max = 3600))]
    pub lease_s: u32,
    /// How long a stopping spooler lets running jobs go on before it puts them back into their queues, in seconds.
    #[schemars(range(min = 0, max = 3600))]
    pub grace_period_s: u32,
    /// How long one job may run, in seconds; then it ends with an error.
    #[schemars(range(min = 1, max = 604_800))]
    pub job_time_limit_s: u32,
    /// How much memory all running jobs may take together, their results included, in MiB.
    #[schemars(range(min = 64, max = 16_777_216))]
    pub memory_limit_mib: u32,
    /// How often a job is started before it ends with an error, when each time the spooler died over it.
    #[schemars(range(min = 1, max = 100))]
    pub max_attempts: u32,
    /// How long a running job that no spooler of ours holds must not have changed before it is taken over, in seconds.
    /// Such a job was claimed by a program that knows no leases, and may still be worked on: set this only where no such
    /// program takes as long over a job. Without it these jobs are left alone.
    #[schemars(range(min = 60, max = 31_536_000), example = &86400)]
    pub adopt_unleased_after_s: Option<u32>,
    /// How often the queues are looked at though no change was announced, in seconds.
    #[schemars(range(min = 1, max = 3600))]
    pub scan_interval_s: u32,
    /// The size of the largest job text that is read, in MiB.
    #[schemars(range(min = 1, max = 1024))]
    pub max_job_mib: u32,
    /// How long jobs that have ended are kept with their statuses and results, in days since their last change; then
    /// they are removed. Without it everything is kept.
    #[schemars(range(min = 1, max = 36_500), example = 365)]
    pub retention_days: Option<u32>,
}

impl Default for SpoolerOptions {
    fn default() -> Self {
        Self {
            lease_s: 60,
            grace_period_s: 30,
            job_time_limit_s: 3600,
            memory_limit_mib: 2048,
            max_attempts: 3,
            adopt_unleased_after_s: None,
            scan_interval_s: 5,
            max_job_mib: 64,
            retention_days: None,
        }
    }
}

const MIB: u64 = 1024 * 1024;

impl SpoolerOptions {
    /// How long a claim holds without renewal.
    pub fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_s.into())
    }

    /// How long running jobs may go on after the order to stop.
    pub fn grace_period(&self) -> Duration {
        Duration::from_secs(self.grace_period_s.into())
    }

    /// How long one job may run.
    pub fn job_time_limit(&self) -> Duration {
        Duration::from_secs(self.job_time_limit_s.into())
    }

    /// How old a running job without a lease must be to be taken over, if ever.
    pub fn adopt_unleased_after(&self) -> Option<Duration> {
        self.adopt_unleased_after_s.map(|seconds| Duration::from_secs(seconds.into()))
    }

    /// The time between two looks at a queue in which nothing was announced.
    pub fn scan_interval(&self) -> Duration {
        Duration::from_secs(self.scan_interval_s.into())
    }

    /// The size of the largest job text, in bytes.
    pub fn max_job_bytes(&self) -> u64 {
        u64::from(self.max_job_mib) * MIB
    }

    /// How long what has ended is kept; for ever where there is none.
    pub fn retention(&self) -> Option<Duration> {
        self.retention_days.map(|days| Duration::from_secs(u64::from(days) * 24 * 3600))
    }
}
