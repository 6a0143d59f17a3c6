//! Measured constants, under a name and version that results tell.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::error::FileError;
use crate::expression::{is_name, is_taken};
use crate::toml_file::{read, read_toml};

/// What formulas take from measurements.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Calibration {
    /// What was measured.
    pub name: String,
    /// When, or which one.
    pub version: String,
    /// Each by its name.
    pub constants: BTreeMap<String, f64>,
}

impl Calibration {
    /// As results name it.
    pub fn label(&self) -> String {
        format!("{} {}", self.name, self.version)
    }
}

/// A calibration, or the file that holds it, as it stands in a file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationTable {
    file: Option<String>,
    name: Option<String>,
    version: Option<String>,
    constants: Option<BTreeMap<String, f64>>,
}

impl CalibrationTable {
    /// The calibration of the file `owner`, beside which another one is looked for.
    ///
    /// # Errors
    ///
    /// What is missing, cannot be read, or is no name or number.
    pub fn load(&self, owner: &Path) -> Result<Calibration, FileError> {
        let Some(other) = &self.file else { return self.check(owner, "calibration.") };
        if self.name.is_some() || self.version.is_some() || self.constants.is_some() {
            return Err(FileError::new(owner, "calibration", "either `file`, or `name`, `version` and `constants`"));
        }
        let other = owner.parent().unwrap_or(Path::new("")).join(other);
        let table: Self = read_toml(&other, "", &read(owner, &other, "calibration.file")?)?;
        if table.file.is_some() {
            return Err(FileError::new(&other, "file", "a calibration file names no other one"));
        }
        table.check(&other, "")
    }

    fn check(&self, path: &Path, below: &str) -> Result<Calibration, FileError> {
        let fail = |key: &str, what: String| Err(FileError::new(path, format!("{below}{key}"), what));
        let (Some(name), Some(version), Some(constants)) = (&self.name, &self.version, &self.constants) else {
            return fail("", "a calibration needs `name`, `version` and `constants`".to_owned());
        };
        for (name, value) in constants {
            if !is_name(name) || is_taken(name) {
                let what = "it is no name for a constant, or has a meaning already";
                return fail(&format!("constants.{name}"), what.to_owned());
            }
            if !value.is_finite() {
                return fail(&format!("constants.{name}"), format!("{value} is no number"));
            }
        }
        Ok(Calibration { name: name.clone(), version: version.clone(), constants: constants.clone() })
    }
}
