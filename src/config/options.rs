//! The tables of the configuration file, each an options struct of the room that it configures.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::backend::{BackendOptions, DriverOptions};
use crate::job::{BackendName, DriverName, StorageName};
use crate::service::LogOptions;
use crate::signing::SigningOptions;
use crate::spooler::SpoolerOptions;
use crate::storage::StorageOptions;

/// The whole configuration file; every table and key is optional.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "Configuration of qspool")]
pub(super) struct Tables {
    /// The storages by name. Without any, one named `local` in `$STATE_DIRECTORY`, else in `$XDG_DATA_HOME/qspool`,
    /// else in `$HOME/.local/share/qspool`.
    #[schemars(with = "BTreeMap<String, StorageOptions>", example = &"local")]
    pub(super) storage: BTreeMap<StorageName, StorageOptions>,
    /// The backends that are served, by name. Without any, all whose schemas are known.
    #[schemars(with = "BTreeMap<String, BackendOptions>", example = &"fermions")]
    pub(super) backend: BTreeMap<BackendName, BackendOptions>,
    /// The drivers of devices, by name.
    #[schemars(with = "BTreeMap<String, DriverOptions>", example = &"exec")]
    pub(super) driver: BTreeMap<DriverName, DriverOptions>,
    /// Where schemas of backends come from, beside the built-in ones.
    pub(super) schemas: SchemasOptions,
    /// Whose key signs what backends with `sign = true` write.
    pub(super) signing: SigningOptions,
    /// How the spooler works through the queues.
    pub(super) spooler: SpoolerOptions,
    /// What is logged, and in which form.
    pub(super) log: LogOptions,
}

/// Where schemas of backends come from, beside the built-in ones.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SchemasOptions {
    /// A directory of files `<name>.json`, each the schema of the backend `<name>`: it adds a backend, or replaces the
    /// built-in schema of that name.
    #[schemars(extend("format" = "path"), example = "/etc/qspool/schemas")]
    pub directory: Option<PathBuf>,
}
