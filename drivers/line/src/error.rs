//! What is wrong with a file.

use std::path::{Path, PathBuf};

/// A file does not describe a device. One line: the file, the key, what was found, and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {key}{}{what}", .file.display(), if .key.is_empty() { "" } else { ": " })]
pub struct FileError {
    file: PathBuf,
    key: String,
    what: String,
}

impl FileError {
    /// Something is wrong at this key.
    pub fn new(file: &Path, key: impl Into<String>, what: impl Into<String>) -> Self {
        Self { file: file.to_owned(), key: key.into(), what: what.into() }
    }

    /// The key, such as `gates.delay.emit`; empty where it is about the whole file.
    pub fn key(&self) -> &str {
        &self.key
    }
}

/// `name` is not one of `allowed`; with the nearest one, if it is near.
pub(crate) fn unknown(name: &str, allowed: &[&str]) -> String {
    let near = allowed.iter().map(|one| (strsim::damerau_levenshtein(name, one), one)).min();
    let hint = match near {
        Some((distance, nearest)) if distance <= 1 + nearest.len() / 4 => format!("; did you mean {nearest:?}?"),
        _ => String::new(),
    };
    if allowed.is_empty() {
        return format!("unknown {name:?}; none is allowed here");
    }
    format!("unknown {name:?}; allowed are {}{hint}", allowed.join(", "))
}
