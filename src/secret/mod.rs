//! What nobody may see: passwords, tokens and keys, and the files that hold them.

mod file;
mod value;

pub use file::{SecretFile, SecretFileError, read_secret};
pub use value::Secret;
