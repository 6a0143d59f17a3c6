//! Puts a backend together.

use std::path::PathBuf;

use qspool_driver::{Capabilities, DriverError};

use super::device::Device;
use super::{Backend, BackendOptions, DriverOptions, Runner, SchemaSet, SchemaSource};
use crate::job::{BackendName, DriverName};
use crate::schema::{BackendSchema, SchemaError};
use crate::simulator::{self, SIMULATORS};

/// A backend cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// No schema has that name.
    #[error("backend {backend}: there is no schema {schema:?}; there are: {}", .known.join(", "))]
    UnknownSchema {
        /// The backend.
        backend: BackendName,
        /// The schema that it asks for.
        schema: String,
        /// The names of all schemas.
        known: Vec<String>,
    },
    /// The schema's file cannot be read.
    #[error("backend {backend}: cannot read the schema {}: {source}", path.display())]
    Unreadable {
        /// The backend.
        backend: BackendName,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The schema is not one.
    #[error("backend {backend}, schema {schema}: {source}")]
    BadSchema {
        /// The backend.
        backend: BackendName,
        /// Where the schema comes from.
        schema: String,
        /// What is wrong with it.
        source: SchemaError,
    },
    /// The schema names a simulator that does not exist.
    #[error("backend {backend}: there is no simulator {simulator:?}; there are: {}", .known.join(", "))]
    UnknownSimulator {
        /// The backend.
        backend: BackendName,
        /// What the schema names.
        simulator: String,
        /// The names of all simulators.
        known: Vec<&'static str>,
    },
    /// The schema names no simulator, and no device is given.
    #[error(
        "backend {backend}: its schema names no simulator, so a device has to run its jobs; set backend.{backend}.driver"
    )]
    NothingRuns {
        /// The backend.
        backend: BackendName,
    },
    /// A device runs one job at a time.
    #[error(
        "backend {backend}: {workers} workers on the driver {driver}, whose device runs one job at a time; allowed: 1"
    )]
    Workers {
        /// The backend.
        backend: BackendName,
        /// The driver.
        driver: DriverName,
        /// What is set.
        workers: u32,
    },
    /// The driver does not accept its settings.
    #[error("driver {source}")]
    BadDriver {
        /// The driver.
        driver: DriverName,
        /// Why not.
        source: DriverError,
    },
    /// The schema lets through what the device cannot do.
    #[error("backend {backend}: its schema asks for {asked}; the driver {driver} has {found}")]
    TooMuch {
        /// The backend.
        backend: BackendName,
        /// The driver.
        driver: DriverName,
        /// What the schema allows.
        asked: String,
        /// What the device can do.
        found: String,
    },
}

impl Backend {
    /// The backend `name`, as `options` describe it, on the simulator that its schema names.
    pub fn open(name: &BackendName, options: &BackendOptions, schemas: &SchemaSet) -> Result<Self, BackendError> {
        let schema = read_schema(name, options, schemas)?;
        let Some(simulator) = schema.simulator() else {
            return Err(BackendError::NothingRuns { backend: name.clone() });
        };
        let runner = simulator::simulator(simulator).ok_or_else(|| BackendError::UnknownSimulator {
            backend: name.clone(),
            simulator: simulator.to_owned(),
            known: SIMULATORS.iter().map(|(name, _)| *name).collect(),
        })?;
        Ok(Self::new(name.clone(), schema, Runner::Simulator(runner)))
    }

    /// The same on the device of `driver`. The device itself is not touched.
    pub fn open_on_device(
        name: &BackendName,
        options: &BackendOptions,
        schemas: &SchemaSet,
        driver: &DriverName,
        settings: &DriverOptions,
    ) -> Result<Self, BackendError> {
        let schema = read_schema(name, options, schemas)?;
        if options.workers != 1 {
            let (backend, driver) = (name.clone(), driver.clone());
            return Err(BackendError::Workers { backend, driver, workers: options.workers });
        }
        let opened = Device::new(driver.as_str(), settings.make_driver(driver.as_str()))
            .map_err(|source| BackendError::BadDriver { driver: driver.clone(), source })?;
        check_capabilities(&schema, &opened.capabilities()).map_err(|(asked, found)| BackendError::TooMuch {
            backend: name.clone(),
            driver: driver.clone(),
            asked,
            found,
        })?;
        Ok(Self::new(name.clone(), schema, Runner::Device(opened)))
    }
}

/// What the schema asks for and the device does not have, both in words.
fn check_capabilities(schema: &BackendSchema, device: &Capabilities) -> Result<(), (String, String)> {
    let missing = schema.supported_instructions().iter().find(|name| !device.instructions.contains(name));
    if let Some(name) = missing {
        return Err((format!("the instruction {name}"), format!("only {}", device.instructions.join(", "))));
    }
    if schema.max_num_wires() > device.num_wires {
        return Err((format!("{} wires", schema.max_num_wires()), device.num_wires.to_string()));
    }
    if schema.max_shots() > device.max_shots {
        return Err((format!("{} shots", schema.max_shots()), format!("{} at most", device.max_shots)));
    }
    Ok(())
}

fn read_schema(
    name: &BackendName,
    options: &BackendOptions,
    schemas: &SchemaSet,
) -> Result<BackendSchema, BackendError> {
    let source = options.schema.clone().unwrap_or_else(|| SchemaSource::Name(name.clone()));
    let text = match &source {
        SchemaSource::File(path) => std::fs::read_to_string(path).map_err(|source| BackendError::Unreadable {
            backend: name.clone(),
            path: path.clone(),
            source,
        })?,
        SchemaSource::Name(schema) => match schemas.get(schema) {
            Some((_, text)) => text.to_owned(),
            None => {
                let known = schemas.names().map(ToString::to_string).collect();
                let schema = schema.to_string();
                return Err(BackendError::UnknownSchema { backend: name.clone(), schema, known });
            }
        },
    };
    BackendSchema::parse(&text).map_err(|error| BackendError::BadSchema {
        backend: name.clone(),
        schema: source.to_string(),
        source: error,
    })
}
