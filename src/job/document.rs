//! A JSON document as it lies in a storage.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The text of one JSON document. A storage keeps it as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document(Vec<u8>);

/// A document that is not what its place promises.
#[derive(Debug, thiserror::Error)]
#[error("not a readable {what}: {source}")]
pub struct DocumentError {
    what: &'static str,
    source: serde_json::Error,
}

impl Document {
    /// The document with this text.
    pub fn from_text(text: impl Into<Vec<u8>>) -> Self {
        Self(text.into())
    }

    /// The document that says `content`.
    ///
    /// # Panics
    /// Never for the types of this room: their keys are strings and their numbers finite.
    pub fn new(content: &impl Serialize) -> Self {
        Self(serde_json::to_vec(content).expect("string keys and finite numbers always serialise"))
    }

    /// The text as bytes; UTF-8 if the writer kept to JSON.
    pub fn text(&self) -> &[u8] {
        &self.0
    }

    /// Reads the document as a `T`; one that is signed is read by its payload.
    ///
    /// The signature is not looked at: that is for whoever needs to know who wrote it. `what` names the kind of
    /// document in the error.
    pub fn read<T: DeserializeOwned>(&self, what: &'static str) -> Result<T, DocumentError> {
        let error = |source| DocumentError { what, source };
        let mut value: Value = serde_json::from_slice(&self.0).map_err(error)?;
        if let Some(signed) = SignedParts::of(&mut value) {
            value = signed.payload;
        }
        serde_json::from_value(value).map_err(error)
    }

    /// The `kid` in the header, if the document is signed; empty if the header names none.
    pub fn signed_by(&self) -> Option<String> {
        let mut value: Value = serde_json::from_slice(&self.0).ok()?;
        let signed = SignedParts::of(&mut value)?;
        Some(signed.header.get("kid").and_then(Value::as_str).unwrap_or_default().to_owned())
    }
}

/// A signed document is one whose keys are exactly header, payload and signature (the reference's own rule).
struct SignedParts {
    header: Value,
    payload: Value,
}

impl SignedParts {
    fn of(value: &mut Value) -> Option<Self> {
        let object = value.as_object_mut()?;
        let is_signed =
            object.len() == 3 && ["header", "payload", "signature"].iter().all(|key| object.contains_key(*key));
        is_signed.then(|| Self { header: object["header"].take(), payload: object["payload"].take() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Status;

    #[test]
    fn a_signed_document_is_read_by_its_payload() {
        let plain = r#"{"job_id": "a", "status": "DONE", "detail": "d", "error_message": "None", "new key": 1}"#;
        let signed = format!(r#"{{"header": {{"kid": "k"}}, "payload": {plain}, "signature": "s"}}"#);
        let read = |text: &str| Document::from_text(text).read::<Status>("status").expect("a status");
        assert_eq!(read(plain), read(&signed));
        assert_eq!(Document::from_text(signed).signed_by().as_deref(), Some("k"));
        assert_eq!(Document::from_text(plain).signed_by(), None);
    }
}
