//! Whether a device can take a program.

use qspool_driver::Identity;

/// Whether a device can take a program now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Availability {
    /// Nobody has asked for it yet, or it is being identified for the first time.
    Starting,
    /// It was identified and configured.
    Ready {
        /// Which device it is.
        identity: Identity,
        /// What a person should look at, where something is not as it should be.
        note: Option<String>,
    },
    /// It cannot be used; it is asked for again and again.
    Away {
        /// Why, in one line for the operator.
        why: String,
    },
}

impl Availability {
    /// Whether a program can be run now.
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready { .. })
    }

    /// What is to be told of it where the backend is published; none if everything is well.
    pub fn note(&self) -> Option<String> {
        match self {
            Self::Starting => Some("the device is being started".to_owned()),
            Self::Ready { note, .. } => note.clone(),
            Self::Away { why } => Some(format!("the device is away: {why}")),
        }
    }
}
