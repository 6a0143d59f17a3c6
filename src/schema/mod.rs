//! What a backend takes and what it publishes, both read from one schema file: text in, checked job or problems out.

mod annotation;
mod backend;
mod builtin;
mod check;
mod error;
mod file;
mod instruction;
mod keywords;
mod more_gates;
mod reader;
mod rejection;
mod size;
mod valid;
mod variant;
mod words;

pub use backend::BackendSchema;
pub use builtin::builtin;
pub use error::SchemaError;
pub use rejection::{Rejection, RejectionKind};
pub use valid::Valid;
pub use variant::{Variant, variant};
