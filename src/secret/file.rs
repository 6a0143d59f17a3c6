//! Files that hold one secret each: written so that only their owner can read them, at any moment, and read with care.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use super::Secret;

/// Where a secret is to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretFile(PathBuf);

/// Read and written by its owner, and by nobody else.
const MODE: u32 = 0o600;

/// The bits of a file's mode that let every user of the machine read or write it.
const OTHERS: u32 = 0o006;

/// More than any secret has.
const LARGEST: u64 = 64 * 1024;

/// Why no secret came out of a file. It goes on a sentence that begins with the name of the secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// It cannot be read.
    #[error("cannot be read from {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Every user of the machine can read or write it.
    #[error("is in {}, which every user of this machine can read; chmod o-rw {}", .0.display(), .0.display())]
    OpenToAll(PathBuf),
    /// It is something else than a file, or too large for a secret.
    #[error("is in {}, which is no file of at most {LARGEST} bytes", .0.display())]
    NoFile(PathBuf),
    /// Nothing is in it.
    #[error("is in {}, which is empty", .0.display())]
    Empty(PathBuf),
}

/// Reads the secret in the file at `path`, without the line end behind it.
pub fn read_secret(path: &Path) -> Result<Secret, SecretFileError> {
    let unreadable = |source| SecretFileError::Unreadable { path: path.to_owned(), source };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if metadata.permissions().mode() & OTHERS != 0 {
        return Err(SecretFileError::OpenToAll(path.to_owned()));
    }
    if !metadata.is_file() || metadata.len() > LARGEST {
        return Err(SecretFileError::NoFile(path.to_owned()));
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(unreadable)?);
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(SecretFileError::Empty(path.to_owned())),
        text => Ok(text.to_owned().into()),
    }
}

impl SecretFile {
    /// The file at `path`, which has to be a regular one where there is one, in a directory that can be written to.
    ///
    /// # Errors
    ///
    /// What would keep a secret from being stored there; a link is never followed.
    pub fn at(path: &Path) -> io::Result<Self> {
        match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_symlink() => {
                return Err(io::Error::new(ErrorKind::InvalidInput, "it is a link, and links are not followed"));
            }
            Ok(metadata) if !metadata.is_file() => {
                return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
            }
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(_) | Err(_) => {}
        }
        let file = Self(path.to_owned());
        fs::metadata(file.directory())?;
        // It is gone again at the end of the line, and says now what would be a pity to learn only later.
        file.temporary()?;
        Ok(file)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Stores a secret durably where there is no file yet; one that is there stays, with `AlreadyExists`.
    pub fn create(&self, secret: &Secret) -> io::Result<()> {
        self.written(secret)?.persist_noclobber(&self.0)?;
        File::open(self.directory())?.sync_all()
    }

    /// Stores a secret durably, in place of the one that is there. A reader sees the old one or the new one. The owner
    /// of the file stays: who authorizes may not be who serves.
    pub fn store(&self, secret: &Secret) -> io::Result<()> {
        let file = self.written(secret)?;
        if let Ok(before) = fs::symlink_metadata(&self.0) {
            let ours = file.as_file().metadata()?;
            if before.is_file() && (before.uid(), before.gid()) != (ours.uid(), ours.gid()) {
                fchown(file.as_file(), Some(before.uid()), Some(before.gid()))?;
            }
        }
        // Renaming replaces a link that has come meanwhile, and does not follow it.
        file.persist(&self.0)?;
        File::open(self.directory())?.sync_all()
    }

    /// A temporary file that holds the secret.
    fn written(&self, secret: &Secret) -> io::Result<NamedTempFile> {
        let mut file = self.temporary()?;
        file.write_all(secret.expose().as_bytes())?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        Ok(file)
    }

    fn directory(&self) -> &Path {
        self.0.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    /// A new file beside it, which removes itself unless it takes its place.
    fn temporary(&self) -> io::Result<NamedTempFile> {
        let mut prefix = std::ffi::OsString::from(".");
        prefix.push(self.0.file_name().ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "it has no name"))?);
        let permissions = Permissions::from_mode(MODE);
        tempfile::Builder::new().prefix(&prefix).suffix(".tmp").permissions(permissions).tempfile_in(self.directory())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).expect("a directory");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_secret_replaces_the_one_before_and_is_its_owners_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("token");
        fs::write(&path, "old").expect("written");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("set");
        let file = SecretFile::at(&path).expect("a good place");
        assert_eq!(fs::read_to_string(&path).expect("text"), "old");
        assert_eq!(names(directory.path()), ["token"]);
        file.store(&"new".to_owned().into()).expect("stored");
        assert_eq!(fs::read_to_string(&path).expect("text"), "new\n");
        assert_eq!(fs::metadata(&path).expect("metadata").permissions().mode() & 0o777, MODE);
        assert_eq!(names(directory.path()), ["token"]);
    }

    #[test]
    fn a_new_secret_never_replaces_one_that_is_there() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("key");
        let file = SecretFile::at(&path).expect("a good place");
        file.create(&"first".to_owned().into()).expect("created");
        assert_eq!(fs::metadata(&path).expect("metadata").permissions().mode() & 0o777, MODE);
        let refused = file.create(&"second".to_owned().into()).expect_err("there is one");
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
        assert_eq!(read_secret(&path).expect("it is readable").expose(), "first");
        assert_eq!(names(directory.path()), ["key"]);
    }

    #[test]
    fn a_secret_is_read_from_no_file_that_is_open_to_all() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("secret");
        let read = |content: &str, mode: u32| {
            fs::write(&path, content).expect("written");
            fs::set_permissions(&path, Permissions::from_mode(mode)).expect("set");
            read_secret(&path).map(|secret| secret.expose().to_owned()).map_err(|error| error.to_string())
        };
        let shown = path.display();
        assert_eq!(read("from file\r\n", 0o640), Ok("from file".to_owned()));
        let open = format!("is in {shown}, which every user of this machine can read; chmod o-rw {shown}");
        assert_eq!(read("x", 0o604), Err(open.clone()));
        assert_eq!(read("x", 0o602), Err(open));
        assert_eq!(read("\n", 0o600), Err(format!("is in {shown}, which is empty")));
        let large = "x".repeat(65537);
        assert_eq!(read(&large, 0o600), Err(format!("is in {shown}, which is no file of at most 65536 bytes")));
        let missing = read_secret(&directory.path().join("none")).expect_err("it is not there");
        assert!(missing.to_string().starts_with("cannot be read from "), "{missing}");
    }

    #[test]
    fn the_owner_of_the_file_stays() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("token");
        fs::write(&path, "old").expect("written");
        // Only the system's administrator may give files away; for anybody else this owner is the one before.
        let _given = chown(&path, Some(12345), Some(54321));
        let owner = |metadata: fs::Metadata| (metadata.uid(), metadata.gid());
        let before = owner(fs::metadata(&path).expect("metadata"));
        SecretFile::at(&path).expect("a good place").store(&"new".to_owned().into()).expect("stored");
        let after = fs::metadata(&path).expect("metadata");
        assert_eq!(after.permissions().mode() & 0o777, MODE);
        assert_eq!(owner(after), before);
    }

    #[test]
    fn no_link_is_followed() {
        let directory = tempfile::tempdir().expect("a directory");
        let (path, target) = (directory.path().join("token"), directory.path().join("target"));
        let file = SecretFile::at(&path).expect("a good place");
        fs::write(&target, "old").expect("written");
        symlink(&target, &path).expect("linked");
        let refused = SecretFile::at(&path).expect_err("a link");
        assert_eq!(refused.to_string(), "it is a link, and links are not followed");
        // Even one that comes between the look and the write.
        file.store(&"new".to_owned().into()).expect("stored");
        assert_eq!(fs::read_to_string(&target).expect("text"), "old");
        assert_eq!(fs::read_to_string(&path).expect("text"), "new\n");
    }

    #[test]
    fn a_place_where_nothing_can_be_stored_is_refused_at_once() {
        let directory = tempfile::tempdir().expect("a directory");
        assert!(SecretFile::at(directory.path()).is_err());
        assert!(SecretFile::at(&directory.path().join("missing/token")).is_err());
        assert!(SecretFile::at(Path::new("/")).is_err());
    }
}
