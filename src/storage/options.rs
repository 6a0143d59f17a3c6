//! What can be set of a storage: the keys that every medium has, and those of each medium.

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

#[cfg(any(feature = "storage-dropbox", feature = "storage-mongodb"))]
use crate::secret::Secret;

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
    /// A MongoDB server, replica set or Atlas cluster.
    #[cfg(feature = "storage-mongodb")]
    Mongodb(MongodbOptions),
    /// A Dropbox account, or the folder that an app has in it.
    #[cfg(feature = "storage-dropbox")]
    Dropbox(DropboxOptions),
}

impl MediumOptions {
    /// The value of the key `type`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Local(_) => "local",
            #[cfg(feature = "storage-mongodb")]
            Self::Mongodb(_) => "mongodb",
            #[cfg(feature = "storage-dropbox")]
            Self::Dropbox(_) => "dropbox",
        }
    }
}

impl fmt::Display for MediumOptions {
    /// Writes what the medium is and where, without secrets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(options) => write!(formatter, "files in {}", options.base_path.display()),
            #[cfg(feature = "storage-mongodb")]
            Self::Mongodb(options) => write!(formatter, "{options}"),
            #[cfg(feature = "storage-dropbox")]
            Self::Dropbox(options) => write!(formatter, "{options}"),
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

/// Where a MongoDB storage lies, and how to log in.
#[cfg(feature = "storage-mongodb")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MongodbOptions {
    /// The user; leave it out where the URL names one, or where the server asks for none.
    #[schemars(example = &"qspool")]
    pub mongodb_username: Option<String>,
    /// The password of the user.
    #[schemars(example = &"secret")]
    pub mongodb_password: Option<Secret>,
    /// A file that holds the password.
    #[schemars(extend("format" = "path"), example = "/etc/qspool/mongodb_password")]
    pub mongodb_password_file: Option<PathBuf>,
    /// The host, which is looked up as `mongodb+srv://`, or a whole URL, which is taken as it is. Since it may hold a
    /// password it is not shown.
    #[schemars(example = "cluster0.example.mongodb.net")]
    pub mongodb_database_url: Option<Secret>,
    /// A file that holds the URL.
    #[schemars(extend("format" = "path"), example = "/etc/qspool/mongodb_database_url")]
    pub mongodb_database_url_file: Option<PathBuf>,
    /// A file of certificate authorities (PEM) to trust in place of the built-in ones.
    #[schemars(extend("format" = "path"), example = "/etc/qspool/ca.pem")]
    pub ca_file: Option<PathBuf>,
    /// How long an operation may wait for the server, in seconds.
    #[serde(default = "mongodb_timeout_default")]
    #[schemars(range(min = 1, max = 600))]
    pub timeout_s: u32,
}

#[cfg(feature = "storage-mongodb")]
fn mongodb_timeout_default() -> u32 {
    10
}

#[cfg(feature = "storage-mongodb")]
impl fmt::Display for MongodbOptions {
    /// Writes the host, where that can be told without the rest of the URL.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.mongodb_database_url {
            Some(url) => write!(formatter, "MongoDB at {}", hosts_of(url.expose())),
            None => formatter.write_str("MongoDB"),
        }
    }
}

/// The hosts of a MongoDB URL, without user, password, database and options.
#[cfg(feature = "storage-mongodb")]
fn hosts_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    authority.rsplit('@').next().unwrap_or_default()
}

/// The account and app of a Dropbox storage.
#[cfg(feature = "storage-dropbox")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DropboxOptions {
    /// The key of the app.
    #[schemars(example = &"abcdefghijklmno")]
    pub app_key: String,
    /// The secret of the app. It is not needed for a refresh token that `qspool dropbox authorize` has got.
    #[schemars(example = &"secret")]
    pub app_secret: Option<Secret>,
    /// A file that holds the secret of the app.
    #[schemars(extend("format" = "path"), example = "/etc/qspool/dropbox_app_secret")]
    pub app_secret_file: Option<PathBuf>,
    /// The refresh token.
    #[schemars(example = &"secret")]
    pub refresh_token: Option<Secret>,
    /// A file that holds the refresh token; `qspool dropbox authorize` writes it.
    #[schemars(extend("format" = "path"), example = "/etc/qspool/dropbox_refresh_token")]
    pub refresh_token_file: Option<PathBuf>,
    /// One base URL in place of the three hosts of Dropbox: https, or http on this machine.
    #[schemars(example = "https://dropbox.example.org")]
    pub endpoint: Option<String>,
    /// A file of further certificate authorities to trust (PEM).
    #[schemars(extend("format" = "path"), example = "/etc/qspool/ca.pem")]
    pub ca_file: Option<PathBuf>,
    /// How long one call of the API may take with all its repetitions, in seconds.
    #[serde(default = "dropbox_timeout_default")]
    #[schemars(range(min = 1, max = 600))]
    pub timeout_s: u32,
}

#[cfg(feature = "storage-dropbox")]
fn dropbox_timeout_default() -> u32 {
    120
}

#[cfg(feature = "storage-dropbox")]
impl fmt::Display for DropboxOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Dropbox by the app {}", self.app_key)?;
        self.endpoint.as_ref().map_or(Ok(()), |endpoint| write!(formatter, " at {endpoint}"))
    }
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

    #[cfg(feature = "storage-mongodb")]
    #[test]
    fn a_login_is_read_and_its_secrets_are_never_shown() {
        let text = "type = 'mongodb'\nmongodb_username = 'ada'\nmongodb_password = 'hunter2'\n\
                    mongodb_database_url = 'mongodb://u:hunter2@db.example:27017/?tls=true'";
        let options = toml::from_str::<StorageOptions>(text).expect("options");
        assert_eq!(options.medium.to_string(), "MongoDB at db.example:27017");
        assert!(!format!("{options:?}").contains("hunter2"), "{options:?}");
    }

    #[test]
    fn a_key_that_the_medium_does_not_know_is_refused() {
        check("type = 'local'\nbase_path = '/srv'\napp_key = 'k'", "unknown field `app_key`");
        check("type = 'tape'", "unknown variant `tape`");
        check("base_path = '/srv'", "missing field `type`");
    }
}
