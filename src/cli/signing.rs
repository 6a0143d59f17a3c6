//! The key that signs, as the configuration gives it.

use std::path::Path;
use std::sync::Arc;

use super::failure::{Exit, Failure};
use crate::config::Config;
use crate::secret::read_secret;
use crate::signing::PrivateKey;

/// The variable by which the reference is given the key.
const VARIABLE: &str = "PRIVATE_JWK_STR";

/// A key, and where it comes from in words.
pub(super) struct SigningKey {
    pub(super) key: Arc<PrivateKey>,
    pub(super) origin: String,
}

/// The key of the environment, or else that of the file; none where neither is given.
pub(super) fn signing_key(config: &Config) -> Result<Option<SigningKey>, Failure> {
    match (&config.private_jwk, &config.signing.key_file) {
        (Some(text), _) => parsed(text.expose(), format!("the environment variable {VARIABLE}"), VARIABLE).map(Some),
        (None, Some(path)) => read_key(path, "signing.key_file").map(Some),
        (None, None) => Ok(None),
    }
}

/// The same where one is needed; `why` says for what.
pub(super) fn require_signing_key(config: &Config, why: Option<String>) -> Result<SigningKey, Failure> {
    signing_key(config)?.ok_or_else(|| {
        let failure = Failure::new(Exit::Configuration, "there is no key that signs");
        why.into_iter()
            .fold(failure, Failure::because)
            .hint(format!("`qspool key new` makes one; set signing.key_file to its file, or {VARIABLE}"))
    })
}

/// The key in a file that was given as `option`.
pub(super) fn read_key(path: &Path, option: &str) -> Result<SigningKey, Failure> {
    let text = read_secret(path).map_err(|error| unusable(format!("{option} {error}")))?;
    parsed(text.expose(), path.display().to_string(), &format!("{option} ({})", path.display()))
}

fn parsed(text: &str, origin: String, named: &str) -> Result<SigningKey, Failure> {
    let key = PrivateKey::parse(text).map_err(|error| unusable(format!("{named} {error}")))?;
    // Its public half will lie in storages under this name.
    key.key_id().map_err(|error| unusable(format!("{named}: {error}")))?;
    Ok(SigningKey { key: Arc::new(key), origin })
}

fn unusable(why: String) -> Failure {
    Failure::new(Exit::Configuration, "the key that signs cannot be used").because(why)
}
