//! One function per route that is used, with what it takes and answers as types.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::client::{Client, Style};
use super::error::{CallError, Cause};

/// The state of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    /// The path as the service spells it.
    pub(super) path: String,
    /// The path without regard to case: what counts.
    pub(super) path_lower: String,
    /// One content at one place.
    pub(super) rev: String,
    /// The last write, in whole seconds. A move may or may not count.
    pub(super) modified: Timestamp,
    pub(super) content_hash: String,
}

/// What a listing tells of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    File(File),
    Folder { path: String, path_lower: String },
    Deleted { path_lower: String },
}

/// A part of a listing.
pub(super) struct Page {
    pub(super) entries: Vec<Entry>,
    pub(super) cursor: String,
    pub(super) has_more: bool,
}

/// Under which condition a document is written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mode<'a> {
    /// Nothing may be there.
    Add,
    /// The file must be in this state.
    Update(&'a str),
    /// Whatever is there is replaced.
    Overwrite,
}

fn unreadable(what: &str) -> CallError {
    Cause::Unavailable(format!("Dropbox answers with {what} that nobody can read")).certain()
}

fn text(value: &Value, key: &str) -> Option<String> {
    value[key].as_str().map(ToOwned::to_owned)
}

fn read_file(value: &Value) -> Option<File> {
    Some(File {
        path: text(value, "path_display").or_else(|| text(value, "path_lower"))?,
        path_lower: text(value, "path_lower")?,
        rev: text(value, "rev")?,
        modified: value["server_modified"].as_str()?.parse().ok()?,
        content_hash: text(value, "content_hash").unwrap_or_default(),
    })
}

/// `None` for a kind of entry that is not known.
fn read_entry(value: &Value) -> Option<Entry> {
    match value[".tag"].as_str()? {
        "file" => read_file(value).map(Entry::File),
        "folder" => {
            let path_lower = text(value, "path_lower")?;
            let path = text(value, "path_display").unwrap_or_else(|| path_lower.clone());
            Some(Entry::Folder { path, path_lower })
        }
        "deleted" => Some(Entry::Deleted { path_lower: text(value, "path_lower")? }),
        _ => None,
    }
}

fn read_page(value: &Value) -> Result<Page, CallError> {
    let page = || {
        Some(Page {
            entries: value["entries"].as_array()?.iter().filter_map(read_entry).collect(),
            cursor: text(value, "cursor")?,
            has_more: value["has_more"].as_bool()?,
        })
    };
    page().ok_or_else(|| unreadable("a listing"))
}

/// The hash by which the service knows a content: over the hashes of its blocks of 4 MiB.
pub(super) fn content_hash(content: &[u8]) -> String {
    const BLOCK: usize = 4 * 1024 * 1024;
    let mut whole = Sha256::new();
    content.chunks(BLOCK).for_each(|block| whole.update(Sha256::digest(block)));
    let mut hex = String::new();
    for byte in whole.finalize() {
        let written = write!(hex, "{byte:02x}");
        debug_assert!(written.is_ok(), "a String takes everything");
    }
    hex
}

impl Client {
    /// Asks for the account: whether the login is good.
    pub(super) async fn get_current_account(&self) -> Result<(), CallError> {
        self.call(Style::Read, "users/get_current_account", &Value::Null, Vec::new()).await.map(|_| ())
    }

    /// Writes a document.
    pub(super) async fn upload(&self, path: &str, content: &[u8], mode: Mode<'_>) -> Result<File, CallError> {
        let mode = match mode {
            Mode::Add => json!("add"),
            Mode::Update(rev) => json!({ ".tag": "update", "update": rev }),
            Mode::Overwrite => json!("overwrite"),
        };
        let argument = json!({
            "path": path,
            "mode": mode,
            "autorename": false,
            "strict_conflict": mode != "overwrite",
            "mute": true,
            "content_hash": content_hash(content),
        });
        let answer = self.call(Style::Upload, "files/upload", &argument, content.to_vec()).await?;
        read_file(&answer.result).ok_or_else(|| unreadable("a file"))
    }

    /// Reads a document of at most `limit` bytes.
    pub(super) async fn download(&self, path: &str, limit: u64) -> Result<(File, Vec<u8>), CallError> {
        let argument = json!({ "path": path });
        let answer = self.call(Style::Download { limit }, "files/download", &argument, Vec::new()).await?;
        let file = read_file(&answer.result).ok_or_else(|| unreadable("a file"))?;
        Ok((file, answer.content))
    }

    /// The state of a file; `None` if no file is there.
    pub(super) async fn get_metadata(&self, path: &str) -> Result<Option<File>, CallError> {
        match self.call(Style::Read, "files/get_metadata", &json!({ "path": path }), Vec::new()).await {
            Ok(answer) => Ok(match read_entry(&answer.result) {
                Some(Entry::File(file)) => Some(file),
                _ => None,
            }),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Moves a file or a folder.
    pub(super) async fn move_v2(&self, from: &str, to: &str) -> Result<(), CallError> {
        let argument = json!({ "from_path": from, "to_path": to, "autorename": false });
        self.call(Style::Write, "files/move_v2", &argument, Vec::new()).await.map(|_| ())
    }

    /// Deletes a file, if asked only in the state `rev`, or a folder.
    pub(super) async fn delete_v2(&self, path: &str, rev: Option<&str>) -> Result<(), CallError> {
        let mut argument = json!({ "path": path });
        if let Some(rev) = rev {
            argument["parent_rev"] = rev.into();
        }
        self.call(Style::Write, "files/delete_v2", &argument, Vec::new()).await.map(|_| ())
    }

    /// Makes a folder; one that is there already is as good.
    pub(super) async fn create_folder_v2(&self, path: &str) -> Result<(), CallError> {
        match self.call(Style::Write, "files/create_folder_v2", &json!({ "path": path }), Vec::new()).await {
            Err(error) if error.is("path/conflict/folder") => Ok(()),
            result => result.map(|_| ()),
        }
    }

    /// Begins to list a folder.
    pub(super) async fn list_folder(&self, path: &str, recursive: bool) -> Result<Page, CallError> {
        let argument = json!({ "path": path, "recursive": recursive, "include_deleted": false, "limit": 2000 });
        let answer = self.call(Style::Read, "files/list_folder", &argument, Vec::new()).await?;
        read_page(&answer.result)
    }

    /// What comes after a cursor.
    pub(super) async fn list_folder_continue(&self, cursor: &str) -> Result<Page, CallError> {
        let argument = json!({ "cursor": cursor });
        read_page(&self.call(Style::Read, "files/list_folder/continue", &argument, Vec::new()).await?.result)
    }

    /// Waits for a change after a cursor, or until the time is over; says how long to rest before the next wait.
    pub(super) async fn wait_for_change(&self, cursor: &str, timeout: Duration) -> Result<Duration, CallError> {
        let answer = self.longpoll(cursor, timeout).await?.result;
        if !answer["changes"].is_boolean() {
            return Err(unreadable("a wait for changes"));
        }
        Ok(Duration::from_secs(answer["backoff"].as_u64().unwrap_or_default()))
    }
}

/// A folder as its listing tells it, by lower-case paths. Entries are put in in the order in which they come.
#[derive(Debug, Default)]
pub(super) struct Listing(BTreeMap<String, Entry>);

impl Listing {
    pub(super) fn put(&mut self, entry: Entry) {
        match entry {
            Entry::Deleted { path_lower } => {
                let below = format!("{path_lower}/");
                self.0.retain(|path, _| *path != path_lower && !path.starts_with(&below));
            }
            Entry::File(File { ref path_lower, .. }) | Entry::Folder { ref path_lower, .. } => {
                self.0.insert(path_lower.clone(), entry);
            }
        }
    }

    /// Forgets one path.
    pub(super) fn remove(&mut self, path: &str) {
        self.0.remove(&path.to_ascii_lowercase());
    }

    /// The files.
    pub(super) fn files(&self) -> impl Iterator<Item = &File> {
        self.0.values().filter_map(|entry| match entry {
            Entry::File(file) => Some(file),
            _ => None,
        })
    }

    /// The paths of the folders, as the service spells them.
    pub(super) fn folders(&self) -> impl Iterator<Item = &str> {
        self.0.values().filter_map(|entry| match entry {
            Entry::Folder { path, .. } => Some(path.as_str()),
            _ => None,
        })
    }
}

impl Client {
    /// All that is in a folder, and the cursor after it; `None` if there is no such folder.
    pub(super) async fn list(&self, path: &str, recursive: bool) -> Result<Option<(Listing, String)>, CallError> {
        // A cursor may be told that it is of no use any more; then the listing begins anew, a few times.
        let mut resets = 3;
        'anew: loop {
            let mut listing = Listing::default();
            let mut page = match self.list_folder(path, recursive).await {
                Err(error) if error.is_not_found() => return Ok(None),
                page => page?,
            };
            loop {
                page.entries.into_iter().for_each(|entry| listing.put(entry));
                if !page.has_more {
                    return Ok(Some((listing, page.cursor)));
                }
                page = match self.list_folder_continue(&page.cursor).await {
                    Err(error) if error.is("reset") && resets > 0 => {
                        resets -= 1;
                        continue 'anew;
                    }
                    Err(error) if error.is_not_found() => return Ok(None),
                    page => page?,
                };
            }
        }
    }

    /// All that is in a folder; nothing if there is no such folder.
    pub(super) async fn list_or_nothing(&self, path: &str, recursive: bool) -> Result<Listing, CallError> {
        Ok(self.list(path, recursive).await?.map(|(listing, _)| listing).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_a_content_is_that_of_its_blocks() {
        let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(content_hash(b""), nothing);
        let block = vec![0; 4 * 1024 * 1024];
        let two: Vec<u8> = [Sha256::digest(&block).to_vec(), Sha256::digest(b"x").to_vec()].concat();
        let expected = Sha256::digest(two).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        assert_eq!(content_hash(&[block, b"x".to_vec()].concat()), expected);
    }

    #[test]
    fn entries_count_in_the_order_in_which_they_come() {
        let mut listing = Listing::default();
        let file = |path: &str| {
            let value = json!({".tag": "file", "path_display": path, "path_lower": path.to_lowercase(), "rev": "1",
                "server_modified": "2026-11-25T00:00:00Z", "something": "new"});
            read_entry(&value).expect("a file")
        };
        let deleted = |path: &str| read_entry(&json!({".tag": "deleted", "path_lower": path})).expect("an entry");
        listing.put(file("/A/b"));
        listing.put(file("/a/c"));
        listing.put(file("/ab"));
        listing.put(deleted("/a"));
        listing.put(file("/a/C"));
        let paths: Vec<&str> = listing.files().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["/a/C", "/ab"]);
        assert_eq!(read_entry(&json!({".tag": "planet"})), None);
    }
}
