//! File and environment in, one checked configuration out.
//!
//! The options structs are the one description of the configuration: their fields give the JSON schema, the schema
//! gives the checks, the names of the environment variables and the sample file.

mod check;
mod error;
mod layers;
mod load;
mod options;
mod sample;
mod schema;
mod sources;

pub use error::{ConfigError, Place, Problem};
pub use load::{Config, Origin};
pub use options::SchemasOptions;
pub use sample::sample;
pub use schema::schema;
pub use sources::{SourceFile, Sources};
