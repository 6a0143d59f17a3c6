//! From the configuration to what the spooler serves.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::failure::Failure;
use super::signing::require_signing_key;
use crate::backend::{Backend, BackendError, BackendOptions, DriverOptions, SchemaSet};
use crate::config::Config;
use crate::job::{BackendName, DriverName, StorageName};
use crate::signing::PrivateKey;
use crate::spooler::{Plan, ServedBackend, Source, SpoolerOptions};
use crate::storage::StorageOptions;

/// The schemas that the configuration gives.
pub(super) fn schemas(config: &Config) -> Result<SchemaSet, Failure> {
    Ok(SchemaSet::load(config.schemas.directory.as_deref())?)
}

/// The backends that the configuration has served: the named ones, or else one for each schema.
pub(super) fn backends(config: &Config, schemas: &SchemaSet) -> Vec<(BackendName, BackendOptions)> {
    match &config.backends {
        Some(backends) => backends.iter().map(|(name, options)| (name.clone(), options.clone())).collect(),
        None => schemas.names().map(|name| (name.clone(), BackendOptions::default())).collect(),
    }
}

/// The backend `name`, on what the configuration has it run on.
pub(super) fn open_backend(
    drivers: &BTreeMap<DriverName, DriverOptions>,
    name: &BackendName,
    options: &BackendOptions,
    schemas: &SchemaSet,
) -> Result<Backend, BackendError> {
    // The configuration was checked to have every driver that a backend names.
    match options.driver.as_ref().and_then(|driver| drivers.get_key_value(driver)) {
        Some((driver, settings)) => Backend::open_on_device(name, options, schemas, driver, settings),
        None => Backend::open(name, options, schemas),
    }
}

/// Everything that the spooler needs.
pub(super) fn plan(config: &Config) -> Result<Plan, Failure> {
    let schemas = schemas(config)?;
    let source = |options: &StorageOptions| Source::Options(options.clone());
    let storages: Vec<_> = config.storages.iter().map(|(name, options)| (name.clone(), source(options))).collect();
    let backends = backends(config, &schemas);
    // A key that nobody needs may be as bad as it likes.
    let key = match backends.iter().find(|(_, options)| options.sign) {
        Some((name, _)) => Some(require_signing_key(config, Some(format!("the backend {name} is to sign")))?.key),
        None => None,
    };
    plan_of(backends, &config.drivers, &schemas, key.as_ref(), storages, config.spooler.clone())
}

/// The same from its parts; a backend without a list of storages is served at all.
pub(super) fn plan_of(
    backends: Vec<(BackendName, BackendOptions)>,
    drivers: &BTreeMap<DriverName, DriverOptions>,
    schemas: &SchemaSet,
    key: Option<&Arc<PrivateKey>>,
    storages: Vec<(StorageName, Source)>,
    options: SpoolerOptions,
) -> Result<Plan, Failure> {
    let mut served = Vec::new();
    for (name, options) in backends {
        let backend = open_backend(drivers, &name, &options, schemas)?;
        let backend = match key.filter(|_| options.sign) {
            Some(key) => backend.signed_by(Arc::clone(key)),
            None => backend,
        };
        served.push(ServedBackend {
            backend: Arc::new(backend),
            workers: usize::try_from(options.workers).unwrap_or(1),
            storages: options.storage.unwrap_or_else(|| storages.iter().map(|(name, _)| name.clone()).collect()),
        });
    }
    Ok(Plan { storages, backends: served, options })
}
