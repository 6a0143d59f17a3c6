//! How far the run of a job has come.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How many experiments of a job are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Those that have their shots.
    pub done: u32,
    /// All experiments of the job.
    pub total: u32,
}

impl fmt::Display for Progress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { done, total } = self;
        write!(formatter, "{done} of {total} experiments done")
    }
}
