//! What can be set of a backend.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::job::{BackendName, DriverName, NameError, StorageName};

/// One backend that is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BackendOptions {
    /// The schema that the backend follows: a name, or a file if it has a `/` or a `.` in it. Without it, the schema
    /// that has the backend's own name.
    #[schemars(with = "Option<String>", extend("format" = "name-or-path"), example = &"fermions")]
    pub schema: Option<SchemaSource>,
    /// The names of the storages that hold jobs for the backend. Without it, all storages.
    #[schemars(with = "Option<Vec<String>>", length(min = 1), extend("uniqueItems" = true), example = ["local"])]
    pub storage: Option<Vec<StorageName>>,
    /// How many jobs of the backend run at the same time.
    #[schemars(range(min = 1, max = 1024))]
    pub workers: u32,
    /// The driver of the device that runs the jobs, by its name in the table `driver`. Without it, the simulator that the
    /// schema names.
    #[schemars(with = "Option<String>", example = &"exec")]
    pub driver: Option<DriverName>,
    /// Whether the configuration and the results are signed, by the key of the table `signing`.
    pub sign: bool,
}

impl Default for BackendOptions {
    fn default() -> Self {
        Self { schema: None, storage: None, workers: 1, driver: None, sign: false }
    }
}

/// Where the schema of a backend comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaSource {
    /// The schema of this name: built in, or a file of the schema directory.
    Name(BackendName),
    /// The schema in this file.
    File(PathBuf),
}

impl FromStr for SchemaSource {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.contains(['/', '.']) { Ok(Self::File(text.into())) } else { text.parse().map(Self::Name) }
    }
}

impl fmt::Display for SchemaSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(formatter),
            Self::File(path) => path.display().fmt(formatter),
        }
    }
}

impl Serialize for SchemaSource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SchemaSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_a_name_or_a_file() {
        let file = |path: &str| Ok(SchemaSource::File(path.into()));
        assert_eq!("fermions".parse(), "fermions".parse().map(SchemaSource::Name));
        assert_eq!("my.json".parse(), file("my.json"));
        assert_eq!("/etc/qspool/mine".parse(), file("/etc/qspool/mine"));
        assert!("Fermions".parse::<SchemaSource>().is_err());
    }
}
