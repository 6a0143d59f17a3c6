//! What a call can come back with instead of an answer.

use std::fmt;

use serde_json::Value;

use crate::storage::{StorageError, StorageErrorKind};

/// The error of a route as the list of its tags, from the outermost on: `path`, `conflict`, `file`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tags(Vec<String>);

/// No error of the service nests deeper.
const MOST_TAGS: usize = 16;

impl Tags {
    /// Reads the `error` of an answer. Members that are not known are passed over.
    pub(super) fn of(error: &Value) -> Self {
        let mut tags = Vec::new();
        let mut next = Some(error);
        while let Some(value) = next.take()
            && tags.len() < MOST_TAGS
        {
            if let Some(tag) = value.as_str().or_else(|| value[".tag"].as_str()) {
                // In the error of an upload the member `path` is a struct, and the next union its `reason`.
                next = value.get(tag).or_else(|| value.get("reason"));
                tags.push(tag.to_owned());
            }
        }
        Self(tags)
    }

    /// Whether the list begins with `path`, whose tags are separated by `/`.
    pub(super) fn begin_with(&self, path: &str) -> bool {
        path.split('/').enumerate().all(|(at, tag)| self.0.get(at).is_some_and(|found| found == tag))
    }

    /// Whether `tag` is among them.
    pub(super) fn have(&self, tag: &str) -> bool {
        self.0.iter().any(|found| found == tag)
    }
}

impl fmt::Display for Tags {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join("/"))
    }
}

/// A call that has not done what was asked.
#[derive(Debug)]
pub(super) struct CallError {
    pub(super) cause: Cause,
    /// An attempt may have been carried out although its answer was lost.
    pub(super) doubtful: bool,
}

/// Why a call failed. The texts are for people and hold no secrets.
#[derive(Debug, Clone)]
pub(super) enum Cause {
    /// The route refused.
    Route(Tags),
    /// The request was wrong: a defect of this program.
    Bad(String),
    /// The login is wrong or lacks a right.
    Denied(String),
    /// Something else is in the way.
    Taken(String),
    /// The document is larger than allowed.
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The largest one.
        allowed: u64,
    },
    /// The service did not answer, or not in time.
    Unavailable(String),
}

impl Cause {
    pub(super) fn certain(self) -> CallError {
        CallError { cause: self, doubtful: false }
    }
}

impl CallError {
    /// Whether the route refused with these tags first.
    pub(super) fn is(&self, path: &str) -> bool {
        matches!(&self.cause, Cause::Route(tags) if tags.begin_with(path))
    }

    /// Whether the route refused because nothing is there.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(&self.cause, Cause::Route(tags) if tags.have("not_found"))
    }

    /// Whether the route refused because something else is there.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(&self.cause, Cause::Route(tags) if tags.have("conflict"))
    }

    /// The error of the storage; `doing` says what was tried.
    pub(super) fn of(self, doing: impl fmt::Display) -> StorageError {
        let (kind, why) = match self.cause {
            Cause::Route(tags) => (kind_of(&tags), format!("Dropbox answers {tags}")),
            Cause::Bad(why) => (StorageErrorKind::Refused, why),
            Cause::Denied(why) => (StorageErrorKind::Denied, why),
            Cause::Taken(why) => (StorageErrorKind::AlreadyExists, why),
            Cause::TooLarge { bytes, allowed } => return StorageError::too_large(doing, bytes, allowed),
            Cause::Unavailable(why) => (StorageErrorKind::Unavailable, why),
        };
        StorageError::new(kind, format!("{doing}: {why}"))
    }
}

fn kind_of(tags: &Tags) -> StorageErrorKind {
    const KINDS: [(&str, StorageErrorKind); 8] = [
        ("not_found", StorageErrorKind::NotFound),
        ("conflict", StorageErrorKind::AlreadyExists),
        ("payload_too_large", StorageErrorKind::TooLarge),
        ("no_write_permission", StorageErrorKind::Denied),
        // Somebody can make room.
        ("insufficient_space", StorageErrorKind::Unavailable),
        ("insufficient_quota", StorageErrorKind::Unavailable),
        ("too_many_write_operations", StorageErrorKind::Unavailable),
        // Damaged on its way.
        ("content_hash_mismatch", StorageErrorKind::Unavailable),
    ];
    KINDS.iter().find(|(tag, _)| tags.have(tag)).map_or(StorageErrorKind::Refused, |(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_error_is_read_as_the_list_of_its_tags() {
        let check = |error: Value, expected: &str| assert_eq!(Tags::of(&error).to_string(), expected);
        check(json!({".tag": "path", "path": {".tag": "not_found"}}), "path/not_found");
        check(json!({".tag": "path", "path": "not_found"}), "path/not_found");
        let upload = json!({".tag": "path", "reason": {".tag": "conflict", "conflict": {".tag": "file"}}, "id": "x"});
        check(upload, "path/conflict/file");
        check(
            json!({".tag": "to", "to": {".tag": "conflict", "conflict": "file_ancestor"}}),
            "to/conflict/file_ancestor",
        );
        check(json!({".tag": "internal_error"}), "internal_error");
        check(json!({"unknown": 1}), "");
        check(json!(null), "");
    }

    #[test]
    fn what_an_error_means_is_in_its_tags() {
        let error = |error: Value| Cause::Route(Tags::of(&error)).certain();
        let lost = error(json!({".tag": "from_lookup", "from_lookup": {".tag": "not_found"}}));
        assert!(lost.is_not_found() && lost.is("from_lookup/not_found") && !lost.is("to") && !lost.is_conflict());
        assert_eq!(lost.of("cannot move it").to_string(), "cannot move it: Dropbox answers from_lookup/not_found");
        let full = error(json!({".tag": "path", "reason": {".tag": "insufficient_space"}}));
        assert_eq!(full.of("").kind(), StorageErrorKind::Unavailable);
    }
}
