//! Durable files below one directory that no path and no symbolic link can leave.

use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, File, Metadata, MetadataExt, OpenOptions, OpenOptionsExt};
use jiff::Timestamp;
use rustix::fs::{Mode, OFlags, RenameFlags, fsync, openat, renameat_with};
use rustix::io::Errno;

/// A directory tree. Paths inside it are relative, with `/` between components, and were built from checked names.
pub(super) struct Tree {
    root: Dir,
    /// Makes the names of temporary files differ from those of any other process.
    tag: String,
    counter: AtomicU64,
}

/// A file of a directory listing.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) modified: SystemTime,
    /// When the file was last written, renamed, or given a second name.
    pub(super) changed: Timestamp,
}

impl Tree {
    /// Opens `base`, and creates it if need be.
    pub(super) fn open(base: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(base)?;
        let root = Dir::open_ambient_dir(base, ambient_authority())?;
        let tag = format!("{:x}-{:08x}", std::process::id(), rand::random::<u32>());
        Ok(Self { root, tag, counter: AtomicU64::new(0) })
    }

    /// The directory at `path`.
    pub(super) fn dir(&self, path: &str) -> io::Result<Dir> {
        self.root.open_dir(path)
    }

    /// The directory at `path`, created durably if need be.
    pub(super) fn dir_or_new(&self, path: &str) -> io::Result<Dir> {
        match self.root.open_dir(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
                let mut parent = self.root.try_clone()?;
                for end in ends {
                    parent = new_folder(&self.root, &parent, &path[..end])?;
                }
                Ok(parent)
            }
            result => result,
        }
    }

    /// Writes a new file. It is there, whole and durable, when this returns; an older one is never touched.
    pub(super) fn create(&self, dir: &Dir, name: &str, content: &[u8]) -> io::Result<()> {
        self.write(dir, name, content, |temporary| rename_new(dir, temporary, dir, name))
    }

    /// Writes a file in place of the one that is there. Readers see the old content or the new, never a part.
    pub(super) fn replace(&self, dir: &Dir, name: &str, content: &[u8]) -> io::Result<()> {
        dir.symlink_metadata(name)?;
        self.write(dir, name, content, |temporary| dir.rename(temporary, dir, name))
    }

    fn write(
        &self,
        dir: &Dir,
        name: &str,
        content: &[u8],
        publish: impl FnOnce(&str) -> io::Result<()>,
    ) -> io::Result<()> {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let temporary = format!(".{name}.{}-{number:x}.tmp", self.tag);
        let written = (|| {
            let mut file = dir.open_with(&temporary, OpenOptions::new().write(true).create_new(true))?;
            file.write_all(content)?;
            file.sync_data()?;
            publish(&temporary)
        })();
        if written.is_err() {
            // What failed is reported; a leftover is harmless, since its name does not end in .json.
            let _unremoved = dir.remove_file(&temporary);
        }
        written?;
        sync(dir)
    }

    /// Moves a file durably; a file at the target is never touched.
    pub(super) fn move_file(&self, from: &str, to: &str, name: &str) -> io::Result<()> {
        let source = self.dir(from)?;
        // Without this look, a move of nothing would leave a new, empty folder behind.
        source.symlink_metadata(name)?;
        let target = self.dir_or_new(to)?;
        rename_new(&source, name, &target, name)?;
        sync(&target)
    }

    /// The regular files at `path`, in no order; none if there is no such directory.
    pub(super) fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        let dir = match self.dir(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            dir => dir?,
        };
        let mut entries = Vec::new();
        for entry in dir.entries()? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            match entry.metadata() {
                Ok(metadata) if metadata.is_file() => {
                    let modified = metadata.modified()?.into_std();
                    entries.push(Entry { name, modified, changed: changed(&metadata) });
                }
                // Directories and links are none of ours; a file that has just gone belongs to somebody else now.
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(entries)
    }
}

/// When the inode changed last. Unlike the time of modification, a rename sets it, and no program can. A time that no
/// calendar has counts as one that is never over.
pub(super) fn changed(metadata: &Metadata) -> Timestamp {
    let nanoseconds = i32::try_from(metadata.ctime_nsec()).unwrap_or_default();
    Timestamp::new(metadata.ctime(), nanoseconds).unwrap_or(Timestamp::MAX)
}

/// Whether a file has the name of one that was being written.
pub(super) fn is_temporary(name: &str) -> bool {
    name.starts_with('.') && Path::new(name).extension().is_some_and(|extension| extension == "tmp")
}

/// The folder at `path` below `parent`, created durably if need be. A new one is open to the same people as its parent,
/// whatever the umask of the process: the storage may be shared by a group.
fn new_folder(root: &Dir, parent: &Dir, path: &str) -> io::Result<Dir> {
    match root.create_dir(path) {
        Ok(()) => {
            let folder = root.open_dir(path)?;
            let shared = parent.dir_metadata()?.permissions();
            // Whoever may not set them has made a folder that is open to fewer, and no harm is done.
            let _as_it_is = root.set_permissions(path, shared);
            sync(parent)?;
            Ok(folder)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => root.open_dir(path),
        Err(error) => Err(error),
    }
}

/// Opens a regular file for reading. Nothing else is waited for or followed: no link, no pipe, no device.
pub(super) fn open_file(dir: &Dir, name: &str) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let file = dir.open_with(name, OpenOptions::new().read(true).custom_flags(flags))?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"))
    }
}

/// Reads a file of at most `limit` bytes; `FileTooLarge` if it has more.
pub(super) fn read_file(dir: &Dir, name: &str, limit: u64) -> io::Result<Vec<u8>> {
    let file = open_file(dir, name)?;
    let size = file.metadata()?.len();
    if size > limit {
        return Err(io::Error::new(ErrorKind::FileTooLarge, format!("it has {size} bytes; allowed: {limit}")));
    }
    let mut content = Vec::with_capacity(usize::try_from(size).map_err(io::Error::other)?);
    file.take(limit).read_to_end(&mut content)?;
    Ok(content)
}

/// Renames a file unless the target exists.
pub(super) fn rename_new(from_dir: &Dir, from: &str, to_dir: &Dir, to: &str) -> io::Result<()> {
    match renameat_with(from_dir, from, to_dir, to, RenameFlags::NOREPLACE) {
        // A file system without that flag (some network ones): a hard link never replaces either.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            from_dir.hard_link(from, to_dir, to)?;
            from_dir.remove_file(from)
        }
        result => Ok(result?),
    }
}

/// Makes the names in a directory durable.
pub(super) fn sync(dir: &Dir) -> io::Result<()> {
    // The handle of a `Dir` only names the directory; syncing takes one that is open for reading.
    let open = openat(dir, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    match fsync(open) {
        // Some network file systems cannot sync a directory; they are as durable as they are.
        Err(Errno::INVAL) => Ok(()),
        result => Ok(result?),
    }
}
