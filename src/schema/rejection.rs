//! The answer to a job that may not run.

use std::fmt;

/// Why a job may not run. Its text is one line of bounded length: the first problem, and how many more there are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Rejection {
    kind: RejectionKind,
    problems: Vec<String>,
    has_more: bool,
}

/// The two ways to fail, which peers tell apart by the text of the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectionKind {
    /// The job is not what the schema asks for.
    Invalid,
    /// The job is well formed, but its Hilbert space is too large.
    TooLarge,
}

impl Rejection {
    /// `problems`: at least one. `has_more` says that the search for problems was given up.
    pub fn new(kind: RejectionKind, problems: Vec<String>, has_more: bool) -> Self {
        Self { kind, problems, has_more }
    }

    /// In which of the two ways the job failed.
    pub fn kind(&self) -> RejectionKind {
        self.kind
    }

    /// One line per problem, in the order of the job; never empty. The search ends after some twenty.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.problems.first().map_or("", String::as_str))?;
        let others = self.problems.len().saturating_sub(1);
        match (others, self.has_more) {
            (0, false) => Ok(()),
            (_, false) => write!(formatter, " (and {others} more)"),
            (_, true) => write!(formatter, " (and at least {others} more)"),
        }
    }
}
