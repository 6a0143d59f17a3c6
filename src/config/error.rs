//! What is wrong with a configuration, and where it was said.

use std::fmt;
use std::path::{Path, PathBuf};

/// Everything that is wrong with a configuration: at least one problem, in the order of their places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

/// One thing that is wrong. Its text is one line, without the hint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where it was said.
    pub place: Place,
    /// What is wrong: the key, the value found and what is allowed.
    pub what: String,
    /// What to do about it, as far as that is known.
    pub hint: Option<String>,
}

/// Where a part of the configuration was said.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In a file as a whole.
    File(PathBuf),
    /// In a line of a file; the first is 1.
    Line(PathBuf, usize),
    /// In an environment variable.
    Variable(String),
    /// Nowhere: it is a default.
    Default,
}

impl Place {
    /// The line of the file `path` in which the byte `offset` of its `text` stands.
    pub(super) fn in_text(path: &Path, text: &[u8], offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        Self::Line(path.to_owned(), before.split(|byte| *byte == b'\n').count())
    }
}

impl ConfigError {
    /// The problems, at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Fails if there are problems.
    pub(super) fn unless_none(mut problems: Vec<Problem>) -> Result<(), Self> {
        problems.sort();
        problems.dedup();
        if problems.is_empty() { Ok(()) } else { Err(Self { problems }) }
    }
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }
}

impl Problem {
    /// A problem without a hint.
    pub(super) fn new(place: Place, what: impl Into<String>) -> Self {
        Self { place, what: what.into(), hint: None }
    }

    /// Adds the name that is nearest to `name`; where none is near, all `candidates`.
    pub(super) fn with_nearest(self, name: &str, candidates: &[&str]) -> Self {
        let quoted = |candidate: &&str| format!("{candidate:?}");
        let all = || format!("allowed here: {}", candidates.iter().map(quoted).collect::<Vec<_>>().join(", "));
        Self { hint: Some(nearest(name, candidates.iter().copied()).map_or_else(all, did_you_mean)), ..self }
    }
}

pub(super) fn did_you_mean(name: &str) -> String {
    format!("did you mean {name:?}?")
}

/// How alike two names must be, from 0 to 1, for one to be taken for a slip in the other.
const ALIKE: f64 = 0.6;

/// The candidate that is nearest to `name`, if one is near at all.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |candidate: &str| strsim::normalized_damerau_levenshtein(name, candidate);
    let rated = candidates.map(|candidate| (likeness(candidate), candidate));
    let (likeness, best) = rated.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (likeness >= ALIKE).then_some(best)
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(formatter, "{}", path.display()),
            Self::Line(path, line) => write!(formatter, "{}:{line}", path.display()),
            Self::Variable(name) => write!(formatter, "environment variable {name}"),
            Self::Default => formatter.write_str("default configuration"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place, self.what)
    }
}

impl fmt::Display for ConfigError {
    /// Writes a line for each problem and one for its hint.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(formatter, "{separator}{problem}")?;
            if let Some(hint) = &problem.hint {
                write!(formatter, "\nhint: {hint}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
