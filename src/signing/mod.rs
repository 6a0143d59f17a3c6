//! Signatures as the reference (sqooler 0.9.0) makes them: Ed25519 keys in the form of JWK (RFC 8037), documents in the
//! form of JWS (RFC 7515), over the very text that Python's `json.dumps` gives.

mod document;
mod key;
mod options;
mod python_json;

pub use document::{Verdict, is_signed_by, sign, signing_bytes};
pub use key::{KeyError, PrivateKey, PublicKey};
pub use options::SigningOptions;
pub use python_json::{NotJson, python_json};
