//! What can be set of signatures.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The key that signs what backends with `sign = true` write. The environment variable `PRIVATE_JWK_STR`, where it is
/// set, goes before it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SigningOptions {
    /// A file that holds the private key; `qspool key new` writes it.
    #[schemars(extend("format" = "path"), example = "/etc/qspool/signing_key")]
    pub key_file: Option<PathBuf>,
}
