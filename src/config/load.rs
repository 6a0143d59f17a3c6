//! The way from the sources to the checked configuration.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::check::{check, fit};
use super::error::{ConfigError, Place, Problem};
use super::layers::{Key, Layers, PREFIX, Step};
use super::options::{SchemasOptions, Tables};
use super::schema::schema;
use super::sources::{FILE_VARIABLE, SourceFile, Sources};
use crate::backend::{BackendOptions, DriverOptions, SchemaSource};
use crate::job::{BackendName, DriverName, StorageName};
use crate::secret::Secret;
use crate::service::LogOptions;
use crate::signing::SigningOptions;
use crate::spooler::SpoolerOptions;
use crate::storage::StorageOptions;

/// The checked configuration: every name in it exists, every number is in its range, every path is absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The storages; at least one.
    pub storages: BTreeMap<StorageName, StorageOptions>,
    /// The backends that are served; without a list, all whose schemas are known.
    pub backends: Option<BTreeMap<BackendName, BackendOptions>>,
    /// The drivers of devices.
    pub drivers: BTreeMap<DriverName, DriverOptions>,
    /// Where schemas come from.
    pub schemas: SchemasOptions,
    /// Where the key lies that signs.
    pub signing: SigningOptions,
    /// The key itself, where the environment gives it; it goes before the one in a file.
    pub private_jwk: Option<Secret>,
    /// How the queues are worked through.
    pub spooler: SpoolerOptions,
    /// What is logged.
    pub log: LogOptions,
    /// Where all this was said.
    pub origin: Origin,
}

/// Where a configuration was said, for people.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// The file, if there was one.
    pub file: Option<PathBuf>,
    /// The environment variables that set something.
    pub variables: Vec<String>,
}

/// The name of the storage that is there when none is configured.
const DEFAULT_STORAGE: &str = "local";

impl Config {
    /// Reads and checks the configuration; `flag` is the file named on the command line.
    pub fn read(flag: Option<&Path>) -> Result<Self, ConfigError> {
        Self::load(&Sources::read(flag)?)
    }

    /// Checks the configuration that `sources` say.
    ///
    /// # Errors
    ///
    /// All problems at once; of a file that is no TOML only the first.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let schema = schema();
        let mut layers = lay(&schema, sources)?;
        let fitted = fit(&schema, &layers.value);
        let mut problems = std::mem::take(&mut layers.problems);
        problems.extend(check(&fitted, &layers));
        ConfigError::unless_none(problems)?;

        let mut value = layers.value.take();
        make_absolute(&fitted, &mut value, &Key::default(), &|key| start_of_paths(sources, &layers.place(key)));
        let tables: Tables = serde_path_to_error::deserialize(value).map_err(|error| {
            let key = key_of(error.path());
            Problem::new(layers.place(&key), format!("{key}: {}", error.inner()))
        })?;
        ConfigError::unless_none(unknown_names(&tables, &layers))?;
        Ok(Self {
            storages: tables.storage,
            backends: Some(tables.backend).filter(|backends| !backends.is_empty()),
            drivers: tables.driver,
            schemas: tables.schemas,
            signing: tables.signing,
            private_jwk: sources.private_jwk.clone(),
            spooler: tables.spooler,
            log: tables.log,
            origin: Origin {
                file: sources.file.as_ref().map(|file| file.path.clone()),
                variables: settings(sources).map(|(name, _)| name.to_owned()).collect(),
            },
        })
    }

    /// The storage that is meant when none is named: `local` if it is active, else the first active one by name.
    pub fn default_storage(&self) -> Option<&StorageName> {
        let active = || self.storages.iter().filter(|(_, options)| options.active).map(|(name, _)| name);
        active().find(|name| name.as_str() == DEFAULT_STORAGE).or_else(|| active().next())
    }
}

/// Lays the environment over the file, and both over the default storage.
fn lay(schema: &Value, sources: &Sources) -> Result<Layers, ConfigError> {
    let mut layers = match &sources.file {
        Some(SourceFile { path, text }) => Layers::from_file(path, text)?,
        None => Layers::default(),
    };
    let has_default_storage = [Value::Null, json!({})].contains(&layers.value["storage"]);
    if has_default_storage {
        layers.set_default(&Key::from_iter(["storage", DEFAULT_STORAGE, "type"]), "local".into());
    }
    for (name, value) in settings(sources) {
        layers.set_variable(schema, name, value);
    }
    if has_default_storage {
        add_default_directory(&mut layers, &sources.variables);
    }
    for (name, path) in &sources.credentials {
        add_credential(&mut layers, name, path);
    }
    Ok(layers)
}

/// Lets the secret `name`, as in `storage.lab.mongodb_password`, come from a file, unless it is said already.
fn add_credential(layers: &mut Layers, name: &str, path: &Path) {
    let Some((table, secret)) = name.rsplit_once('.') else { return };
    let steps: Vec<&str> = table.split('.').collect();
    let is_said = steps.iter().fold(&layers.value, |value, step| &value[*step]).get(secret).is_some();
    if !is_said {
        let key = Key::from_iter(steps).join(&format!("{secret}_file"));
        layers.set_default(&key, path.to_str().into());
    }
}

/// The environment variables that set something.
fn settings(sources: &Sources) -> impl Iterator<Item = (&str, &str)> {
    let variables = sources.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    variables.filter(|(name, _)| name.starts_with(PREFIX) && *name != FILE_VARIABLE)
}

/// Gives the default storage the directory that the environment has for it.
fn add_default_directory(layers: &mut Layers, variables: &BTreeMap<String, String>) {
    let variable = |name: &str| variables.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
    // systemd separates several directories of one service by colons; the first is ours.
    let state = variables.get("STATE_DIRECTORY").and_then(|list| list.split(':').next()).map(PathBuf::from);
    let directory = state
        .or_else(|| Some(variable("XDG_DATA_HOME")?.join("qspool")))
        .or_else(|| Some(variable("HOME")?.join(".local/share/qspool")));
    let key = Key::from_iter(["storage", DEFAULT_STORAGE, "base_path"]);
    let is_unknown = directory.is_none() && layers.value["storage"][DEFAULT_STORAGE]["base_path"].is_null();
    // Where there is none the null keeps the place, so that its absence is told once, in the words below.
    layers.set_default(&key, directory.as_deref().and_then(Path::to_str).into());
    if is_unknown {
        let what = format!(
            "no directory for the storage {DEFAULT_STORAGE:?}: neither STATE_DIRECTORY, XDG_DATA_HOME nor HOME is set"
        );
        let hint = "set QSPOOL_STORAGE_LOCAL_BASE_PATH, or storage.local.base_path in a configuration file";
        layers.problems.push(Problem { hint: Some(hint.to_owned()), ..Problem::new(Place::Default, what) });
    }
}

/// The directory that relative paths said at `place` start from.
fn start_of_paths(sources: &Sources, place: &Place) -> PathBuf {
    match place {
        Place::File(path) | Place::Line(path, _) => sources.directory.join(path.parent().unwrap_or(Path::new(""))),
        Place::Variable(_) | Place::Default => sources.directory.clone(),
    }
}

/// Makes relative paths absolute; `start` is the directory in which the paths of a key start.
fn make_absolute(schema: &Value, value: &mut Value, at: &Key, start: &dyn Fn(&Key) -> PathBuf) {
    match value {
        Value::Object(table) => {
            for (name, value) in table {
                make_absolute(&schema["properties"][name.as_str()], value, &at.join(name), start);
            }
        }
        Value::String(text) => {
            let is_path = match schema["format"].as_str() {
                Some("path") => true,
                Some("name-or-path") => matches!(text.parse(), Ok(SchemaSource::File(_))),
                _ => false,
            };
            if let Some(path) = start(at).join(&text).to_str().filter(|_| is_path) {
                path.clone_into(text);
            }
        }
        _ => {}
    }
}

fn key_of(path: &serde_path_to_error::Path) -> Key {
    use serde_path_to_error::Segment;
    let step = |segment: &Segment| match segment {
        Segment::Map { key } => Some(Step::Name(key.clone())),
        Segment::Seq { index } => Some(Step::Index(*index)),
        Segment::Enum { .. } | Segment::Unknown => None,
    };
    Key(path.iter().filter_map(step).collect())
}

/// Finds the storages and drivers that a backend names and nobody configured.
fn unknown_names(tables: &Tables, layers: &Layers) -> Vec<Problem> {
    let known: Vec<_> = tables.storage.keys().map(StorageName::as_str).collect();
    let known_drivers: Vec<_> = tables.driver.keys().map(DriverName::as_str).collect();
    let mut problems = Vec::new();
    for (backend, options) in &tables.backend {
        if let Some(driver) = options.driver.as_ref().filter(|driver| !tables.driver.contains_key(*driver)) {
            let key = Key::from_iter(["backend", backend.as_str(), "driver"]);
            let what = format!("{key} is {:?}; there is no driver of this name", driver.as_str());
            problems.push(Problem::new(layers.place(&key), what).with_nearest(driver.as_str(), &known_drivers));
        }
        for (index, storage) in options.storage.iter().flatten().enumerate() {
            if !tables.storage.contains_key(storage) {
                let key = Key::from_iter(["backend", backend.as_str(), "storage"]).element(index);
                let what = format!("{key} is {:?}; there is no storage of this name", storage.as_str());
                problems.push(Problem::new(layers.place(&key), what).with_nearest(storage.as_str(), &known));
            }
        }
    }
    problems
}

impl fmt::Display for Origin {
    /// Writes it as in "qspool.toml and the environment variable `QSPOOL_LOG_LEVEL`".
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(path) => write!(formatter, "{}", path.display())?,
            None => formatter.write_str("built-in defaults")?,
        }
        match self.variables.as_slice() {
            [] => Ok(()),
            [one] => write!(formatter, " and the environment variable {one}"),
            several => write!(formatter, " and the environment variables {}", several.join(", ")),
        }
    }
}
