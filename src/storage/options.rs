//! What can be set of a storage: the keys that every medium has, and those of each medium.

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// One storage: it holds jobs, statuses, results and the configurations of backends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct StorageOptions {
    /// The medium and where it is.
    #[schemars(flatten)]
    pub medium: MediumOptions,
    /// Whether the storage is used; an inactive one refuses every operation.
    #[schemars(default = "active_default")]
    pub active: bool,
    /// Whose storage it is, for people.
    #[schemars(default)]
    pub owner: String,
    /// What the storage is for, for people.
    #[schemars(default)]
    pub description: String,
}

/// The media that a storage can have, chosen by the key `type`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum MediumOptions {
    /// A directory of files.
    Local(LocalOptions),
}

impl fmt::Display for MediumOptions {
    /// Writes what the medium is and where, without secrets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(options) => write!(formatter, "files in {}", options.base_path.display()),
        }
    }
}

/// Where a local storage lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocalOptions {
    /// The directory below which the documents lie; it is made where it is missing.
    #[schemars(extend("format" = "path"), example = "/var/lib/qspool")]
    pub base_path: PathBuf,
}

/// The keys that every medium has.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CommonKeys {
    active: bool,
    owner: String,
    description: String,
}

impl Default for CommonKeys {
    fn default() -> Self {
        Self { active: active_default(), owner: String::new(), description: String::new() }
    }
}

fn active_default() -> bool {
    true
}

impl StorageOptions {
    /// An active storage in the directory `base_path`.
    pub fn local(base_path: PathBuf) -> Self {
        let CommonKeys { active, owner, description } = CommonKeys::default();
        Self { medium: MediumOptions::Local(LocalOptions { base_path }), active, owner, description }
    }
}

impl<'de> Deserialize<'de> for StorageOptions {
    /// Reads the keys of every medium and leaves the rest to the medium, so that each refuses what it does not know.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut medium = Map::deserialize(deserializer)?;
        let mut common = Map::new();
        for key in ["active", "owner", "description"] {
            common.extend(medium.remove_entry(key));
        }
        let CommonKeys { active, owner, description } =
            CommonKeys::deserialize(Value::Object(common)).map_err(D::Error::custom)?;
        let medium = MediumOptions::deserialize(Value::Object(medium)).map_err(D::Error::custom)?;
        Ok(Self { medium, active, owner, description })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let found = match toml::from_str::<StorageOptions>(text) {
            Ok(options) => format!("{options:?}"),
            Err(error) => error.message().to_owned(),
        };
        assert!(found.contains(expected), "{text}: {found}");
    }

    #[test]
    fn a_storage_has_the_keys_of_every_medium_and_those_of_its_own() {
        check("type = 'local'\nbase_path = '/srv'\nactive = false", r#"{ base_path: "/srv" }), active: false"#);
        check("type = 'local'\nbase_path = '/srv'", "active: true");
    }

    #[test]
    fn a_key_that_the_medium_does_not_know_is_refused() {
        check("type = 'local'\nbase_path = '/srv'\napp_key = 'k'", "unknown field `app_key`");
        check("type = 'tape'", "unknown variant `tape`");
        check("base_path = '/srv'", "missing field `type`");
    }
}
