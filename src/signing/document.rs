//! Signed documents: the reference's form of JWS (RFC 7515).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use serde::{Deserialize, Serialize};

use super::key::{PrivateKey, PublicKey};
use super::python_json::{NotJson, push_python_json, python_json};
use crate::job::{Document, SignedParts};

/// How much memory [`sign`] takes at most beside a result of so many bytes.
///
/// Python's blanks make the text longer by half at most, and what is signed is a third longer than that.
pub fn signing_bytes(result_bytes: u64) -> u64 {
    const FIXED: u64 = 4096;
    (result_bytes / 2).saturating_mul(7).saturating_add(FIXED)
}

/// The header, with the fields in the order in which they are signed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    kid: String,
    typ: String,
    version: String,
}

impl Header {
    fn of(kid: &str) -> Self {
        Self { alg: "EdDSA".into(), kid: kid.into(), typ: "JWS".into(), version: "0.1".into() }
    }

    /// # Panics
    /// Never: texts always serialise.
    fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts always serialise")
    }
}

/// What is signed: both parts in base64url with padding, and a dot between them.
fn message(header: &Header, payload: &str) -> String {
    let header = header.to_json();
    let encoded_length = |text: &str| text.len().div_ceil(3) * 4;
    let mut message = String::with_capacity(encoded_length(&header) + 1 + encoded_length(payload));
    URL_SAFE.encode_string(&header, &mut message);
    message.push('.');
    URL_SAFE.encode_string(payload, &mut message);
    message
}

/// The signed form of a document.
///
/// # Errors
///
/// Where the document is no JSON.
pub fn sign(payload: &Document, key: &PrivateKey) -> Result<Document, NotJson> {
    let text = std::str::from_utf8(payload.text()).map_err(|error| {
        let kind = std::io::ErrorKind::InvalidData;
        NotJson::from(serde_json::Error::io(std::io::Error::new(kind, error)))
    })?;
    let header = Header::of(key.kid());
    let mut signed = String::with_capacity(text.len() + text.len() / 2 + 512);
    signed.push_str(r#"{"header": "#);
    push_python_json(&mut signed, &header.to_json())?;
    signed.push_str(r#", "payload": "#);
    let begin = signed.len();
    push_python_json(&mut signed, text)?;
    let signature = key.sign(message(&header, &signed[begin..]).as_bytes());
    signed.push_str(r#", "signature": ""#);
    URL_SAFE.encode_string(signature, &mut signed);
    signed.push_str(r#""}"#);
    Ok(Document::from_text(signed))
}

/// Whether the other half of `key` has signed the document, and nothing of it was changed since.
///
/// It is stricter than the reference where that takes parts of a document for signed that are not: unknown or missing
/// fields of the header, and stray characters in the signature, do not pass.
pub fn is_signed_by(signed: &SignedParts<'_>, key: &PublicKey) -> bool {
    let check = || {
        let header: Header = serde_json::from_str(signed.header).ok()?;
        let payload = python_json(signed.payload).ok()?;
        let signature: String = serde_json::from_str(signed.signature).ok()?;
        let signature = URL_SAFE.decode(signature).ok()?.try_into().ok()?;
        Some(key.verifies(message(&header, &payload).as_bytes(), &signature))
    };
    check().unwrap_or(false)
}

/// What is known of who wrote a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is as the key that the backend publishes has signed it.
    Valid {
        /// The id of the key.
        kid: String,
    },
    /// Nobody has signed it.
    NotSigned,
    /// It names a key that the storage does not have.
    UnknownKey {
        /// The id that it names.
        kid: String,
    },
    /// It is as another key has signed it than the one that the backend publishes.
    OtherKey {
        /// The id of the other key.
        kid: String,
    },
    /// The signature does not fit: the document was changed after it was signed, or was never signed by the key that it
    /// names.
    Altered {
        /// The id that it names; may be empty.
        kid: String,
    },
}

impl Verdict {
    /// Whether the document can be trusted as far as the published key can.
    pub fn is_valid(&self) -> bool {
        matches!(self, Self::Valid { .. })
    }

    /// The id of the key that the document names.
    pub fn kid(&self) -> Option<&str> {
        match self {
            Self::NotSigned => None,
            Self::Valid { kid } | Self::UnknownKey { kid } | Self::OtherKey { kid } | Self::Altered { kid } => {
                Some(kid)
            }
        }
    }
}

/// The verdict in one or two words.
impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Valid { .. } => "valid",
            Self::NotSigned => "not signed",
            Self::UnknownKey { .. } => "unknown key",
            Self::OtherKey { .. } => "other key",
            Self::Altered { .. } => "altered",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> PrivateKey {
        PrivateKey::new(&"lab".parse().expect("an id"), &[seed; 32])
    }

    #[test]
    fn what_was_signed_verifies_and_what_was_changed_does_not() {
        let document = Document::from_text(r#"{"shots":3,"x":1.50}"#);
        let signed = sign(&document, &key(1)).expect("JSON");
        let text = String::from_utf8(signed.text().to_vec()).expect("text");
        assert!(text.contains(r#""payload": {"shots": 3, "x": 1.5}"#), "{text}");
        let check = |text: &str, seed| {
            let document = Document::from_text(text);
            document.signed().is_some_and(|signed| is_signed_by(&signed, &key(seed).public()))
        };
        assert!(check(&text, 1));
        // Another order, other blanks: what is not signed may differ.
        assert!(check(&text.replace(": ", " :  "), 1));
        assert!(!check(&text, 2));
        for (part, other) in [("3", "4"), ("1.5", "1.6"), ("lab", "lob"), ("EdDSA", "none"), ("JWS", "JWT")] {
            assert!(!check(&text.replacen(part, other, 1), 1), "{part}");
        }
        // Nothing may stand in the header that the signature does not cover.
        assert!(!check(&text.replace(r#""typ""#, r#""role": "admin", "typ""#), 1));
        assert!(!check(&text.replace(r#", "version": "0.1""#, ""), 1));
        assert!(!check(&text.replace("\"signature\": \"", "\"signature\": \" "), 1));
    }

    #[test]
    fn a_document_that_is_no_json_is_not_signed() {
        for text in [&b"{"[..], b"\xff", b""] {
            assert!(sign(&Document::from_text(text), &key(1)).is_err());
        }
    }
}
