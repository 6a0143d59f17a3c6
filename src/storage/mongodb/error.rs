//! What an error of the driver means, in words that hold no secrets.

use mongodb::error::{Error, ErrorKind, WriteFailure};

use crate::job::StorageName;
use crate::storage::{StorageError, StorageErrorKind};

/// Codes of the server that say something about the request itself: it will never succeed.
const NEVER: [i32; 9] = [2, 9, 14, 15, 22, 28, 52, 54, 57];
const UNAUTHORIZED: i32 = 13;
const AUTHENTICATION_FAILED: i32 = 18;
/// Atlas says it of a wrong password, among others.
const ATLAS: i32 = 8000;
const DUPLICATE_KEY: i32 = 11000;
const TOO_LARGE: [i32; 3] = [10334, 17419, 17420];
/// What servers without change streams say: stand-alone ones, and those that do not know the stage at all.
const NO_CHANGE_STREAMS: [i32; 4] = [40573, 40324, 59, 115];

/// Where an error came from, as people know it.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    /// The storage whose keys the message names.
    pub(super) storage: StorageName,
    /// The server, without secrets.
    pub(super) shown: String,
}

impl Origin {
    /// The error of an operation; `what` says what was tried.
    pub(super) fn failure(&self, what: &str, error: &Error) -> StorageError {
        let Self { storage, shown } = self;
        let code = code(error);
        let words = words(error);
        let new = |kind, why: String| StorageError::new(kind, format!("{what}: {why}"));
        let is_login = matches!(*error.kind, ErrorKind::Authentication { .. })
            || matches!(code, Some(AUTHENTICATION_FAILED | ATLAS))
            // Where the log-in fails while a server is looked for, the text alone tells.
            || (matches!(*error.kind, ErrorKind::ServerSelection { .. }) && words.contains("SCRAM failure"));
        if is_login {
            let keys = format!("storage.{storage}.mongodb_username and storage.{storage}.mongodb_password");
            let why =
                format!("{shown} refuses the log-in ({words}); check {keys}, or the user and password of the URL");
            return new(StorageErrorKind::Denied, why);
        }
        if code == Some(UNAUTHORIZED) {
            let why = format!(
                "{shown} does not let the user do that ({words}); grant the role readWriteAnyDatabase to \
                 storage.{storage}.mongodb_username"
            );
            return new(StorageErrorKind::Denied, why);
        }
        if let ErrorKind::InvalidTlsConfig { message, .. } = &*error.kind {
            let why = format!("storage.{storage}.ca_file cannot be used: {message}");
            return new(StorageErrorKind::Denied, why);
        }
        if is_untrusted(&words) {
            let why = format!(
                "{shown} shows a certificate that is not trusted ({words}); name the authority that signed it with \
                 storage.{storage}.ca_file"
            );
            return new(StorageErrorKind::Denied, why);
        }
        let kind = match (&*error.kind, code) {
            (_, Some(code)) if TOO_LARGE.contains(&code) => StorageErrorKind::TooLarge,
            (_, Some(code)) if NEVER.contains(&code) => StorageErrorKind::Refused,
            (ErrorKind::InvalidArgument { .. } | ErrorKind::Bson(_), _) => StorageErrorKind::Refused,
            _ => StorageErrorKind::Unavailable,
        };
        new(kind, format!("{shown}: {words}"))
    }
}

/// Whether a document of that `_id` is there already.
pub(super) fn is_duplicate(error: &Error) -> bool {
    code(error) == Some(DUPLICATE_KEY)
}

/// Whether the server has no change streams.
pub(super) fn has_no_change_streams(error: &Error) -> bool {
    code(error).is_some_and(|code| NO_CHANGE_STREAMS.contains(&code))
        || matches!(*error.kind, ErrorKind::IncompatibleServer { .. })
}

fn code(error: &Error) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(command) => Some(command.code),
        ErrorKind::Write(WriteFailure::WriteError(write)) => Some(write.code),
        ErrorKind::Write(WriteFailure::WriteConcernError(concern)) => Some(concern.code),
        _ => None,
    }
}

/// The driver's words without its own terms around them.
fn words(error: &Error) -> String {
    match &*error.kind {
        ErrorKind::Command(command) => format!("{}, code {}", command.message, command.code),
        ErrorKind::Write(WriteFailure::WriteError(write)) => format!("{}, code {}", write.message, write.code),
        ErrorKind::Write(WriteFailure::WriteConcernError(concern)) => {
            format!("{}, code {}", concern.message, concern.code)
        }
        kind => kind.to_string(),
    }
}

fn is_untrusted(words: &str) -> bool {
    ["UnknownIssuer", "invalid peer certificate", "BadSignature", "NotValidForName"]
        .iter()
        .any(|sign| words.contains(sign))
}
