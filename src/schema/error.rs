//! What can be wrong with a schema file.

/// A fault in a schema file. Whoever knows the file's name puts it before the message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// The text is not JSON.
    #[error("line {line}, column {column}: {message}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// The text is JSON, but does not describe a backend.
    #[error("{}: {message}", if pointer.is_empty() { "top level" } else { pointer })]
    Content {
        /// The JSON pointer (RFC 6901) of the place; empty for the whole document.
        pointer: String,
        /// What is wrong there, and what is allowed.
        message: String,
    },
}

impl SchemaError {
    pub(super) fn at(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Content { pointer: pointer.into(), message: message.into() }
    }
}

/// The JSON pointer of the member `key` of the object at `pointer`.
pub(super) fn member(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
}
