//! Errors of commands, and the exit codes.

use std::fmt;
use std::process::ExitCode;

use crate::backend::{BackendError, SchemaSetError};
use crate::config::ConfigError;
use crate::job::NameError;
use crate::storage::{StorageError, StorageErrorKind};

/// The exit codes. They are part of the interface and only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// Unexpected, or a job that ended with an error.
    Failed = 1,
    /// The command line, or what it names, is wrong.
    Usage = 2,
    /// A storage or device is out of reach.
    Unavailable = 69,
    /// Not yet: try again.
    TryAgain = 75,
    /// The configuration or a schema is wrong.
    Configuration = 78,
}

/// Why a command failed.
#[derive(Debug)]
pub(super) struct Failure {
    exit: Exit,
    what: String,
    causes: Vec<String>,
    hint: Option<String>,
}

impl Failure {
    pub(super) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), causes: Vec::new(), hint: None }
    }

    pub(super) fn because(mut self, cause: impl fmt::Display) -> Self {
        self.causes.push(cause.to_string());
        self
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same in one line, for a log.
    pub(super) fn one_line(&self) -> String {
        let lines = self.causes.iter().flat_map(|cause| cause.lines()).chain(self.hint.as_deref());
        std::iter::once(self.what.as_str()).chain(lines).collect::<Vec<_>>().join("; ")
    }

    /// The exit code that it stands for.
    pub(super) fn exit(&self) -> Exit {
        self.exit
    }

    /// The causes in one line, or else what it says itself.
    pub(super) fn reason(&self) -> String {
        if self.causes.is_empty() { self.what.clone() } else { self.causes.join("; ").replace('\n', "; ") }
    }

    pub(super) fn code(&self) -> ExitCode {
        ExitCode::from(self.exit as u8)
    }
}

/// What was done, its causes indented below it, and the hint after an empty line.
impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.what)?;
        for line in self.causes.iter().flat_map(|cause| cause.lines()) {
            write!(formatter, "\n  {line}")?;
        }
        match &self.hint {
            Some(hint) => write!(formatter, "\n\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(Exit::Configuration, "the configuration is not valid").because(error)
    }
}

impl From<SchemaSetError> for Failure {
    fn from(error: SchemaSetError) -> Self {
        Self::new(Exit::Configuration, "the schemas cannot be read").because(error)
    }
}

impl From<BackendError> for Failure {
    fn from(error: BackendError) -> Self {
        Self::new(Exit::Configuration, "a backend cannot be served").because(error)
    }
}

impl From<NameError> for Failure {
    fn from(error: NameError) -> Self {
        Self::new(Exit::Usage, error.to_string())
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        let exit = match error.kind() {
            StorageErrorKind::NotFound => Exit::Usage,
            StorageErrorKind::Unavailable | StorageErrorKind::Inactive => Exit::Unavailable,
            StorageErrorKind::Denied => Exit::Configuration,
            StorageErrorKind::AlreadyExists | StorageErrorKind::TooLarge | StorageErrorKind::Refused => Exit::Failed,
        };
        Self::new(exit, error.to_string())
    }
}
