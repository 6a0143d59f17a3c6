//! Names and ids. A value of one of these types has passed the allow-list, so it may become part of a path or a query.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// A name that the allow-list refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {given:?} is not allowed; allowed: {allowed}")]
pub struct NameError {
    what: &'static str,
    given: String,
    allowed: &'static str,
}

/// Longest piece of a refused name that is repeated in the error.
const SHOWN_CHARACTERS: usize = 40;

fn lower_case_or_digit(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn id_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

fn dots_inside(name: &str) -> bool {
    !name.starts_with('.') && !name.ends_with('.')
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $allowed:literal, $max:literal, $character:expr, $whole:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(name: &str) -> Result<Self, NameError> {
                let whole: fn(&str) -> bool = $whole;
                if (1..=$max).contains(&name.len()) && name.bytes().all($character) && whole(name) {
                    Ok(Self(name.to_owned()))
                } else {
                    let given = name.chars().take(SHOWN_CHARACTERS).collect();
                    Err(NameError { what: $what, given, allowed: $allowed })
                }
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, formatter)
            }
        }
    };
}

name!(
    /// The short name of a backend: `^[a-z0-9]+$`, at most 64 characters.
    BackendName, "backend name", "1 to 64 lower-case letters and digits", 64, lower_case_or_digit, |_| true
);
name!(
    /// The name of a storage: `^[a-z0-9]+$`, at most 64 characters.
    StorageName, "storage name", "1 to 64 lower-case letters and digits", 64, lower_case_or_digit, |_| true
);
name!(
    /// The name of a driver in the configuration: lower-case letters, digits, `_` and `-`, at most 64 characters.
    DriverName, "driver name", "1 to 64 lower-case letters, digits, _ and -", 64,
    |byte| lower_case_or_digit(byte) || byte == b'_' || byte == b'-', |_| true
);
name!(
    /// The id of a job: `[A-Za-z0-9_-]{1,128}`, and dots inside, since on Dropbox the name of a user is part of it.
    ///
    /// Where qspool makes one it is a time-ordered `ObjectId`; peers make random ones.
    JobId, "job id", "1 to 128 letters, digits, _, - and, inside, dots", 128,
    |byte| id_character(byte) || byte == b'.', dots_inside
);
name!(
    /// The name of a user: `[A-Za-z0-9_.]{1,64}`, dots only inside. It becomes part of ids and paths on Dropbox.
    UserName, "user name", "1 to 64 letters, digits, _ and, inside, dots", 64,
    |byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.', dots_inside
);
name!(
    /// The id of a key, its `kid`: as a job id, with dots inside.
    KeyId, "key id", "1 to 128 letters, digits, _, - and, inside, dots", 128,
    |byte| id_character(byte) || byte == b'.', dots_inside
);
name!(
    /// The name of one start of one spooler: 24 lower-case hex digits, never used twice.
    InstanceName, "instance name", "24 lower-case hex digits", 24,
    |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'), |name| name.len() == 24
);
name!(
    /// The id under which a document lies at its place: a job id, a backend name or a key id.
    DocumentId, "document id", "1 to 128 letters, digits, _, - and, inside, dots", 128,
    |byte| id_character(byte) || byte == b'.', dots_inside
);

impl From<&JobId> for DocumentId {
    fn from(id: &JobId) -> Self {
        Self(id.0.clone())
    }
}

impl From<&BackendName> for DocumentId {
    fn from(name: &BackendName) -> Self {
        Self(name.0.clone())
    }
}

impl From<&KeyId> for DocumentId {
    fn from(id: &KeyId) -> Self {
        Self(id.0.clone())
    }
}

/// The text of an `ObjectId`: 4 bytes of seconds, then 8 bytes, in 24 lower-case hex digits.
fn object_id(seconds: u32, nanoseconds: u32, random: u32) -> String {
    format!("{seconds:08x}{nanoseconds:08x}{random:08x}")
}

impl JobId {
    /// A time-ordered id: the time since 1970, in seconds and nanoseconds, then a random number that keeps two jobs of
    /// one moment apart. It has the form of an `ObjectId` of BSON.
    pub fn time_ordered(seconds: u32, nanoseconds: u32, random: u32) -> Self {
        Self(object_id(seconds, nanoseconds, random))
    }

    /// An id that names its user, as jobs on Dropbox have: `time` is `YYYYMMDD_HHMMSS` in UTC, and of `random` the
    /// lowest 20 bits are taken.
    pub fn of_user(time: &str, backend: &BackendName, user: &UserName, random: u32) -> Result<Self, NameError> {
        format!("{time}-{backend}-{user}-{:05x}", random & 0xf_ffff).parse()
    }

    /// The user that the id names, if it does: the third part between `-`.
    pub fn user(&self) -> Option<UserName> {
        self.0.split('-').nth(2)?.parse().ok()
    }
}

impl InstanceName {
    /// The name of an instance that started at this time since 1970; `random` keeps two starts at one moment apart.
    pub fn new(seconds: u32, nanoseconds: u32, random: u32) -> Self {
        Self(object_id(seconds, nanoseconds, random))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_a_directory_are_refused() {
        for name in ["", ".", "..", "../x", "a/b", "a\\b", "a\0b", "ä", "a b", ".hidden", "x.", &"a".repeat(129)] {
            assert!(name.parse::<JobId>().is_err(), "{name:?} as job id");
            assert!(name.parse::<KeyId>().is_err(), "{name:?} as key id");
            assert!(name.parse::<DocumentId>().is_err(), "{name:?} as document id");
            assert!(name.parse::<BackendName>().is_err(), "{name:?} as backend name");
        }
        assert!("Fermions".parse::<BackendName>().is_err());
        assert!("v1.2".parse::<KeyId>().is_ok());
        assert!("20240101_120000-fermions-ada-0a1b2".parse::<JobId>().is_ok());
    }

    #[test]
    fn an_id_of_dropbox_names_its_user() {
        let (backend, user) = ("fermions".parse().expect("a name"), "ada.l".parse().expect("a name"));
        let id = JobId::of_user("20240101_120000", &backend, &user, 0xabc_0a1b2).expect("an id");
        assert_eq!(id.as_str(), "20240101_120000-fermions-ada.l-0a1b2");
        assert_eq!(id.user(), Some(user));
        assert_eq!(JobId::time_ordered(1, 2, 3).user(), None);
        for name in ["", "..", "a-b", "a/b", "a b", ".a", "ä"] {
            assert!(name.parse::<UserName>().is_err(), "{name:?} as user name");
        }
    }

    #[test]
    fn a_refused_name_is_shown_only_in_part() {
        let error = "/".repeat(5000).parse::<JobId>().expect_err("slashes are not allowed");
        assert!(error.to_string().len() < 200, "{error}");
    }

    #[test]
    fn job_ids_sort_by_time() {
        let ids = [(1, 999_999_999, u32::MAX), (2, 0, u32::MAX), (2, 1, 0), (u32::MAX, 0, 0)]
            .map(|(seconds, nanoseconds, random)| JobId::time_ordered(seconds, nanoseconds, random));
        assert!(ids.is_sorted(), "{ids:?}");
        assert!(ids.iter().all(|id| id.as_str().len() == 24), "{ids:?}");
    }
}
