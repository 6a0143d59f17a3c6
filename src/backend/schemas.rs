//! The schemas at hand: the built-in ones, and those of a directory, which override and add.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::job::BackendName;
use crate::schema::builtin;

/// The texts of all schemas, by name.
#[derive(Debug, Clone)]
pub struct SchemaSet {
    schemas: BTreeMap<BackendName, (SchemaOrigin, String)>,
}

/// Where a schema comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaOrigin {
    /// It is part of the program.
    BuiltIn,
    /// It was read from this file.
    File(PathBuf),
}

/// A directory of schemas cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SchemaSetError {
    /// The directory or a file in it cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// What was to be read.
        path: PathBuf,
        /// Why it was not.
        source: std::io::Error,
    },
    /// A file's name is not that of a backend.
    #[error("{} is not named for a backend: {source}", path.display())]
    BadName {
        /// The file.
        path: PathBuf,
        /// What is allowed.
        source: crate::job::NameError,
    },
}

impl SchemaSet {
    /// The built-in schemas, with those in `directory` over and beside them: one `<name>.json` per backend.
    ///
    /// # Panics
    /// If a built-in schema has a name that no backend may have; a test reads them all.
    pub fn load(directory: Option<&Path>) -> Result<Self, SchemaSetError> {
        let built_in = builtin().map(|(name, text)| {
            let name = name.parse().expect("a test parses the names of all built-in schemas");
            (name, (SchemaOrigin::BuiltIn, text.to_owned()))
        });
        let mut set = Self { schemas: built_in.collect() };
        let Some(directory) = directory else { return Ok(set) };
        let unreadable = |path: &Path| {
            let path = path.to_owned();
            move |source| SchemaSetError::Unreadable { path, source }
        };
        for entry in std::fs::read_dir(directory).map_err(unreadable(directory))? {
            let path = entry.map_err(unreadable(directory))?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let name = stem.parse().map_err(|source| SchemaSetError::BadName { path: path.clone(), source })?;
            let text = std::fs::read_to_string(&path).map_err(unreadable(&path))?;
            set.schemas.insert(name, (SchemaOrigin::File(path), text));
        }
        Ok(set)
    }

    /// The names of all schemas.
    pub fn names(&self) -> impl Iterator<Item = &BackendName> {
        self.schemas.keys()
    }

    /// The schema of this name: where it comes from, and its text.
    pub fn get(&self, name: &BackendName) -> Option<(&SchemaOrigin, &str)> {
        self.schemas.get(name).map(|(origin, text)| (origin, text.as_str()))
    }
}
