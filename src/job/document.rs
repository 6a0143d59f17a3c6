//! A JSON document as it lies in a storage.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

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
        let value: Value = match self.signed() {
            Some(signed) => serde_json::from_str(signed.payload).map_err(error)?,
            None => serde_json::from_slice(&self.0).map_err(error)?,
        };
        serde_json::from_value(value).map_err(error)
    }

    /// Whether it is whole: peers write local files in place, so a part of one may be met.
    pub fn is_json(&self) -> bool {
        serde_json::from_slice::<IgnoredAny>(&self.0).is_ok()
    }

    /// The parts of the document, if it is signed: if its keys are exactly header, payload and signature, which is the
    /// reference's own rule.
    pub fn signed(&self) -> Option<SignedParts<'_>> {
        let Parts { header, payload, signature } = serde_json::from_slice(&self.0).ok()?;
        Some(SignedParts { header: header.get(), payload: payload.get(), signature: signature.get() })
    }
}

/// The parts of a signed document, each as it lies there in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedParts<'a> {
    /// Which key has signed, and how.
    pub header: &'a str,
    /// What was signed.
    pub payload: &'a str,
    /// The signature, in base64url.
    pub signature: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts<'a> {
    #[serde(borrow)]
    header: &'a RawValue,
    #[serde(borrow)]
    payload: &'a RawValue,
    #[serde(borrow)]
    signature: &'a RawValue,
}

impl SignedParts<'_> {
    /// The id of the key that the header names; empty if it names none.
    pub fn kid(&self) -> String {
        let header: Option<Value> = serde_json::from_str(self.header).ok();
        header.as_ref().and_then(|header| header.get("kid")?.as_str()).unwrap_or_default().to_owned()
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
        assert_eq!(Document::from_text(signed).signed().expect("it is signed").kid(), "k");
        for not_signed in
            [plain, r#"{"header": 1, "payload": 2}"#, r#"{"header": 1, "payload": 2, "signature": 3, "x": 4}"#]
        {
            assert_eq!(Document::from_text(not_signed).signed(), None, "{not_signed}");
        }
    }
}
