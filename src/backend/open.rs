//! Puts a backend together.

use std::path::PathBuf;

use super::{Backend, BackendOptions, SchemaSet, SchemaSource};
use crate::job::BackendName;
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
}

impl Backend {
    /// The backend `name`, as `options` describe it.
    pub fn open(name: &BackendName, options: &BackendOptions, schemas: &SchemaSet) -> Result<Self, BackendError> {
        let own_name = || SchemaSource::Name(name.clone());
        let source = options.schema.clone().unwrap_or_else(own_name);
        let text =
            match &source {
                SchemaSource::File(path) => std::fs::read_to_string(path)
                    .map_err(|source| BackendError::Unreadable { backend: name.clone(), path: path.clone(), source })?,
                SchemaSource::Name(schema) => match schemas.get(schema) {
                    Some((_, text)) => text.to_owned(),
                    None => {
                        let known = schemas.names().map(ToString::to_string).collect();
                        let schema = schema.to_string();
                        return Err(BackendError::UnknownSchema { backend: name.clone(), schema, known });
                    }
                },
            };
        let schema = BackendSchema::parse(&text).map_err(|error| BackendError::BadSchema {
            backend: name.clone(),
            schema: source.to_string(),
            source: error,
        })?;
        let simulator = simulator::simulator(schema.simulator()).ok_or_else(|| BackendError::UnknownSimulator {
            backend: name.clone(),
            simulator: schema.simulator().to_owned(),
            known: SIMULATORS.iter().map(|(name, _)| *name).collect(),
        })?;
        Ok(Self::new(name.clone(), schema, simulator))
    }
}
