//! The keys of a storage that hold secrets, and the files that hold them instead.

use std::path::PathBuf;

use super::{StorageError, StorageErrorKind};
use crate::job::StorageName;
use crate::secret::{Secret, read_secret};

/// A key of a storage that holds a secret: given itself, or by the file that holds it.
pub(super) struct SecretKey<'a> {
    /// The storage whose key it is.
    pub(super) storage: &'a StorageName,
    /// The name of the key, as in `mongodb_password`.
    pub(super) key: &'static str,
    /// Its value in the configuration.
    pub(super) value: Option<&'a Secret>,
    /// The value of `<key>_file`.
    pub(super) file: Option<&'a PathBuf>,
}

impl SecretKey<'_> {
    /// The secret, if one is given.
    ///
    /// # Errors
    ///
    /// `Denied` where it is given twice, or its file cannot be read, is open to every user, or holds no text; the
    /// message names the key.
    pub(super) fn read(&self) -> Result<Option<Secret>, StorageError> {
        match (self.value, self.file) {
            (Some(_), Some(_)) => {
                Err(self.refused(&format!("is given twice, by itself and by {}_file; keep one of them", self.key)))
            }
            (value, None) => Ok(value.cloned()),
            (None, Some(path)) => read_secret(path).map(Some).map_err(|error| self.refused(&error.to_string())),
        }
    }

    /// The secret.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read), and `Denied` where none is given.
    pub(super) fn require(&self) -> Result<Secret, StorageError> {
        self.read()?.ok_or_else(|| self.refused(&format!("is missing; set it, or {}_file", self.key)))
    }

    fn refused(&self, why: &str) -> StorageError {
        let Self { storage, key, .. } = self;
        StorageError::new(StorageErrorKind::Denied, format!("storage.{storage}.{key} {why}"))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn check(value: Option<&Secret>, content: Option<(&str, u32)>, expected: &str) {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("secret");
        if let Some((content, mode)) = content {
            fs::write(&file, content).expect("written");
            fs::set_permissions(&file, Permissions::from_mode(mode)).expect("set");
        }
        let storage = "lab".parse().expect("a name");
        let file_given = content.is_some().then_some(&file);
        let key = SecretKey { storage: &storage, key: "mongodb_password", value, file: file_given };
        let found = match key.require() {
            Ok(secret) => secret.expose().to_owned(),
            Err(error) => error.to_string().replace(&file.display().to_string(), "FILE"),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn a_secret_comes_from_its_key_or_from_a_file_that_is_not_open_to_all() {
        let secret = Secret::from("hunter2".to_owned());
        check(Some(&secret), None, "hunter2");
        check(None, Some(("from file\n", 0o600)), "from file");
        check(None, None, "storage.lab.mongodb_password is missing; set it, or mongodb_password_file");
        let open = "is in FILE, which every user of this machine can read; chmod o-rw FILE";
        check(None, Some(("x", 0o644)), &format!("storage.lab.mongodb_password {open}"));
        let twice = "is given twice, by itself and by mongodb_password_file; keep one of them";
        check(Some(&secret), Some(("x", 0o600)), &format!("storage.lab.mongodb_password {twice}"));
    }
}
