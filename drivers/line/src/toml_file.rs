//! Reading TOML, with errors for a person.

use std::fs;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::error::{FileError, unknown};

/// Reads a file into a type.
///
/// # Errors
///
/// Of the key, with the nearest one where it is unknown, and the line.
pub fn load_toml<T: DeserializeOwned>(path: &Path) -> Result<T, FileError> {
    read_toml(path, "", &read(path, path, "")?)
}

/// Reads a file that `owner` names at `key`.
pub(crate) fn read(owner: &Path, path: &Path, key: &str) -> Result<String, FileError> {
    fs::read_to_string(path)
        .map_err(|error| FileError::new(owner, key, format!("{} cannot be read: {error}", path.display())))
}

/// Reads TOML into a type, with the key and the nearest one in its errors. `below` is where it belongs in the file.
pub(crate) fn read_toml<T: DeserializeOwned>(path: &Path, below: &str, text: &str) -> Result<T, FileError> {
    let line = |error: &toml::de::Error| {
        let before = text.get(..error.span()?.start)?;
        Some(before.matches('\n').count() + 1)
    };
    let fail = |key: String, error: &toml::de::Error| {
        let at = line(error).map_or_else(String::new, |line| format!(" (line {line})"));
        let key =
            [below, &key].into_iter().filter(|part| !part.is_empty() && *part != ".").collect::<Vec<_>>().join(".");
        FileError::new(path, key, format!("{}{at}", explain(error.message())))
    };
    let deserializer = toml::Deserializer::parse(text).map_err(|error| fail(String::new(), &error))?;
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let key = error.path().to_string();
        fail(key, error.inner())
    })
}

/// Serde's words for an unknown key, with the nearest one.
fn explain(message: &str) -> String {
    let Some(rest) = message.strip_prefix("unknown field `") else { return message.trim().replace('\n', " ") };
    let mut names = rest.split('`').step_by(2);
    let found = names.next().unwrap_or_default();
    let allowed: Vec<&str> = rest.split('`').skip(2).step_by(2).collect();
    format!("key {}", unknown(found, &allowed))
}
