//! What can be set of the log.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// What is logged, and in which form.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogOptions {
    /// The form of the log. A reload does not change it, a restart does.
    pub format: LogFormat,
    /// What is logged: `off`, `error`, `warn`, `info`, `debug` or `trace`, or a list that gives single parts a level
    /// of their own, as in `info,qspool::spooler=debug`.
    #[schemars(with = "String")]
    pub level: LogLevel,
}

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people on the standard error stream, coloured on a terminal.
    #[default]
    Text,
    /// One JSON object per line on the standard error stream.
    Json,
    /// Entries of the journal of systemd, with their fields.
    Journald,
}

/// A level, or a list of levels for parts of the program, in the syntax of `tracing_subscriber::EnvFilter`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct LogLevel(String);

/// A log level that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{given:?} is not a log level; allowed: off, error, warn, info, debug, trace, \
     or a list such as \"info,qspool::spooler=debug\""
)]
pub struct LogLevelError {
    given: String,
}

impl LogLevel {
    /// The filter that lets through what the level says.
    pub(super) fn filter(&self) -> EnvFilter {
        EnvFilter::new(&self.0)
    }
}

impl Default for LogLevel {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl FromStr for LogLevel {
    type Err = LogLevelError;

    /// Reads a level. A single word must be a level, though the filter would take it for a part of the program: it is
    /// a mistyped level far more often.
    fn from_str(text: &str) -> Result<Self, LogLevelError> {
        let is_mistyped = |directive: &str| {
            let is_word = !directive.contains(['=', '[', ':']);
            directive.is_empty() || (is_word && directive.parse::<LevelFilter>().is_err())
        };
        if text.split(',').any(is_mistyped) || EnvFilter::try_new(text).is_err() {
            return Err(LogLevelError { given: text.to_owned() });
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for LogLevel {
    type Error = LogLevelError;

    fn try_from(text: String) -> Result<Self, LogLevelError> {
        text.parse()
    }
}

impl From<LogLevel> for String {
    fn from(level: LogLevel) -> Self {
        level.0
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_level_is_refused() {
        for level in ["inof", "", "info,", "debgu,qspool=info", "qspool=inof", "1.5"] {
            assert!(level.parse::<LogLevel>().is_err(), "{level:?}");
        }
        for level in ["off", "INFO", "info,qspool::spooler=debug", "warn,qspool[job]=trace"] {
            assert!(level.parse::<LogLevel>().is_ok(), "{level:?}");
        }
    }
}
