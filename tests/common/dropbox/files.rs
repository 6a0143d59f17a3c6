//! The files and folders of one account, and what writing to them means. No clock and no network.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The tags of an outcome that the specification names, from the outermost on.
pub(crate) type Tags = Vec<&'static str>;

#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) id: String,
    pub(super) rev: String,
    pub(super) content: Arc<[u8]>,
    hash: String,
    server_modified: i64,
    client_modified: String,
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    File(File),
    Folder { id: String },
}

/// What lies at a path, with the path as it is spelt.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) display: String,
    pub(super) node: Node,
}

/// What became of a path.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) lower: String,
    pub(super) metadata: Value,
}

/// The tree. The keys are the paths in lower case; the root, which is the empty one, is never in it.
#[derive(Debug, Default)]
pub(crate) struct Files {
    pub(super) nodes: BTreeMap<String, Entry>,
    /// Paths at which something was, with their spelling.
    pub(super) deleted: BTreeMap<String, String>,
    /// All changes, oldest first.
    pub(super) journal: Vec<Change>,
    revs: u64,
    /// Whether an upload finds no room.
    pub(super) full: bool,
    /// Whether a move changes `server_modified`.
    pub(super) moves_change_times: bool,
    /// Whether a move whose source is gone, and whose target is there, is told of the target.
    pub(super) late_moves_conflict: bool,
}

/// How an upload treats what is there.
#[derive(Debug, Clone)]
pub(super) enum Mode {
    Add,
    Overwrite,
    Update(String),
}

/// What an upload wants.
#[derive(Debug)]
pub(super) struct Upload<'a> {
    pub(super) path: &'a str,
    pub(super) mode: Mode,
    pub(super) autorename: bool,
    pub(super) strict_conflict: bool,
    pub(super) client_modified: Option<String>,
}

/// A path that something may be written to.
struct Target {
    lower: String,
    display: String,
    /// The folders above that are not there yet.
    missing: Vec<(String, String)>,
}

/// Names that the service leaves to the system's own programs.
const DISALLOWED: [&str; 5] = ["desktop.ini", "thumbs.db", ".ds_store", ".dropbox", ".dropbox.attr"];

const LONGEST_NAME: usize = 255;

/// Refuses a path that no file can have.
pub(super) fn check_path(path: &str) -> Result<(), Tags> {
    let Some(names) = path.strip_prefix('/') else { return Err(vec!["malformed_path"]) };
    for name in names.split('/') {
        let is_malformed = name.is_empty()
            || [".", ".."].contains(&name)
            || name.ends_with(char::is_whitespace)
            || name.contains(['\\', '\0'])
            || name.chars().count() > LONGEST_NAME;
        if is_malformed {
            return Err(vec!["malformed_path"]);
        }
        if DISALLOWED.contains(&name.to_lowercase().as_str()) {
            return Err(vec!["disallowed_name"]);
        }
    }
    Ok(())
}

/// The tags of `inner` below `outer`.
pub(super) fn below(outer: &'static str, inner: Tags) -> Tags {
    [outer].into_iter().chain(inner).collect()
}

pub(super) fn parent(lower: &str) -> &str {
    lower.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Whether `lower` is `folder` or lies below it.
pub(super) fn is_within(lower: &str, folder: &str) -> bool {
    lower.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// SHA-256 over the digests of the blocks of 4 MiB.
pub(crate) fn content_hash(content: &[u8]) -> String {
    let mut outer = Sha256::new();
    for block in content.chunks(4 << 20) {
        outer.update(Sha256::digest(block));
    }
    hex(&outer.finalize())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xF]);
    digits.map(|digit| char::from_digit(digit.into(), 16).expect("four bits")).collect()
}

pub(super) fn time_text(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).expect("a time").to_string()
}

fn new_id() -> String {
    format!("id:{:032x}", rand::random::<u128>())
}

impl Entry {
    /// The metadata with its tag, as lists have it.
    pub(super) fn metadata(&self) -> Value {
        let name = self.display.rsplit('/').next().expect("a path has a name");
        let lower = self.display.to_lowercase();
        match &self.node {
            Node::File(file) => json!({
                ".tag": "file",
                "name": name,
                "path_lower": lower,
                "path_display": self.display,
                "id": file.id,
                "client_modified": file.client_modified,
                "server_modified": time_text(file.server_modified),
                "rev": file.rev,
                "size": file.content.len(),
                "is_downloadable": true,
                "content_hash": file.hash,
                "x_since_next_year": { ".tag": "new" },
            }),
            Node::Folder { id } => json!({
                ".tag": "folder", "name": name, "path_lower": lower, "path_display": self.display, "id": id,
                "x_since_next_year": null,
            }),
        }
    }

    fn file(&self) -> Option<&File> {
        match &self.node {
            Node::File(file) => Some(file),
            Node::Folder { .. } => None,
        }
    }

    /// The tag of the conflict that this entry is for whoever wants its place.
    fn conflict(&self) -> Tags {
        vec!["conflict", if self.file().is_some() { "file" } else { "folder" }]
    }
}

/// The metadata of what is no longer at a path.
pub(super) fn deleted_metadata(display: &str) -> Value {
    let name = display.rsplit('/').next().expect("a path has a name");
    json!({ ".tag": "deleted", "name": name, "path_lower": display.to_lowercase(), "path_display": display })
}

/// Metadata as routes answer that always give a file.
pub(super) fn untagged(mut metadata: Value) -> Value {
    metadata.as_object_mut().expect("an object").remove(".tag");
    metadata
}

impl Files {
    /// What is at a path, which may also be an `id:` or a `rev:`.
    pub(super) fn find(&self, path: &str) -> Result<&Entry, Tags> {
        let found = if path.starts_with("id:") {
            self.nodes.values().find(|entry| match &entry.node {
                Node::File(file) => file.id == path,
                Node::Folder { id } => id == path,
            })
        } else if let Some(rev) = path.strip_prefix("rev:") {
            self.nodes.values().find(|entry| entry.file().is_some_and(|file| file.rev == rev))
        } else {
            check_path(path).map_err(|_| vec!["malformed_path"])?;
            self.nodes.get(&path.to_lowercase())
        };
        found.ok_or_else(|| vec!["not_found"])
    }

    fn new_rev(&mut self) -> String {
        self.revs += rand::random_range(1..1000);
        format!("{:015x}", 0x6_1000_0000_0000 + self.revs)
    }

    /// Finds out what a new entry at `path` would be called, and which folders are missing above it.
    fn target(&self, path: &str) -> Result<Target, Tags> {
        check_path(path)?;
        let (mut lower, mut display, mut missing) = (String::new(), String::new(), Vec::new());
        let names: Vec<&str> = path[1..].split('/').collect();
        let (name, folders) = names.split_last().expect("there is at least one");
        for folder in folders {
            lower = format!("{lower}/{}", folder.to_lowercase());
            match self.nodes.get(&lower) {
                Some(Entry { node: Node::File(_), .. }) => return Err(vec!["conflict", "file_ancestor"]),
                Some(entry) => display.clone_from(&entry.display),
                None => {
                    display = format!("{display}/{folder}");
                    missing.push((lower.clone(), display.clone()));
                }
            }
        }
        Ok(Target { lower: format!("{lower}/{}", name.to_lowercase()), display: format!("{display}/{name}"), missing })
    }

    /// The first free name beside `path`: `name (1).json`, and so on.
    fn renamed(&self, path: &str) -> Result<Target, Tags> {
        let (folder, name) = path.rsplit_once('/').expect("a checked path");
        let (stem, extension) =
            name.rsplit_once('.').map_or((name, String::new()), |(stem, e)| (stem, format!(".{e}")));
        for number in 1.. {
            let target = self.target(&format!("{folder}/{stem} ({number}){extension}"))?;
            if !self.nodes.contains_key(&target.lower) {
                return Ok(target);
            }
        }
        unreachable!("numbers do not end")
    }

    fn insert(&mut self, target: Target, node: Node) -> Value {
        for (lower, display) in target.missing {
            let folder = Entry { display, node: Node::Folder { id: new_id() } };
            self.record(&lower, folder);
        }
        self.record(&target.lower, Entry { display: target.display, node })
    }

    fn record(&mut self, lower: &str, entry: Entry) -> Value {
        let metadata = entry.metadata();
        self.deleted.remove(lower);
        self.nodes.insert(lower.to_owned(), entry);
        self.journal.push(Change { lower: lower.to_owned(), metadata: metadata.clone() });
        metadata
    }

    /// Removes what is at a path and all below it; lists tell only of the uppermost.
    fn remove(&mut self, lower: &str) -> Vec<(String, Entry)> {
        let paths: Vec<String> = self.nodes.keys().filter(|path| is_within(path, lower)).cloned().collect();
        let taken = paths.into_iter().filter_map(|path| self.nodes.remove_entry(&path)).collect::<Vec<_>>();
        for (path, entry) in &taken {
            self.deleted.insert(path.clone(), entry.display.clone());
        }
        let display = &taken[0].1.display;
        self.journal.push(Change { lower: lower.to_owned(), metadata: deleted_metadata(display) });
        taken
    }

    /// Writes a file by the rules of the write mode. The tags of an error begin below `path`.
    pub(super) fn upload(&mut self, upload: &Upload<'_>, content: &[u8], now: i64) -> Result<Value, Tags> {
        let Upload { path, mode, autorename, strict_conflict, client_modified } = upload;
        let mut target = self.target(path)?;
        let there = self.nodes.get(&target.lower);
        let is_same = there.and_then(Entry::file).is_some_and(|file| *file.content == *content);
        if let (Some(entry), true, false) = (there, is_same, strict_conflict) {
            // Nothing is written, and nobody hears that somebody else had written it.
            return Ok(entry.metadata());
        }
        let conflict = match (there, mode) {
            (Some(entry @ Entry { node: Node::Folder { .. }, .. }), _) | (Some(entry), Mode::Add) => {
                Some(entry.conflict())
            }
            (Some(Entry { node: Node::File(file), .. }), Mode::Update(rev)) => {
                // Not stated: whether equal bytes at the right rev are a conflict. The stricter reading.
                (file.rev != *rev || is_same).then(|| vec!["conflict", "file"])
            }
            (None, Mode::Update(_)) => strict_conflict.then(|| vec!["conflict", "file"]),
            (Some(_), Mode::Overwrite) | (None, Mode::Add | Mode::Overwrite) => None,
        };
        match conflict {
            Some(_) if *autorename => target = self.renamed(path)?,
            Some(tags) => return Err(tags),
            None => {}
        }
        if self.full {
            return Err(vec!["insufficient_space"]);
        }
        let there = self.nodes.get(&target.lower);
        let id = there.and_then(Entry::file).map_or_else(new_id, |file| file.id.clone());
        if let Some(entry) = there {
            target.display.clone_from(&entry.display);
        }
        let file = File {
            id,
            rev: self.new_rev(),
            content: content.into(),
            hash: content_hash(content),
            server_modified: now,
            client_modified: client_modified.clone().unwrap_or_else(|| time_text(now)),
        };
        Ok(self.insert(target, Node::File(file)))
    }

    /// Moves a file, or a folder with all below it.
    pub(super) fn move_to(&mut self, from: &str, to: &str, autorename: bool, now: i64) -> Result<Value, Tags> {
        let found = self.find(from).map(|entry| entry.display.to_lowercase());
        let target = self.target(to).map_err(|tags| below("to", tags));
        let source = match found {
            Ok(source) => source,
            Err(tags) => {
                if let (true, Ok(target)) = (self.late_moves_conflict, &target)
                    && let Some(entry) = self.nodes.get(&target.lower)
                {
                    return Err(below("to", entry.conflict()));
                }
                return Err(below("from_lookup", tags));
            }
        };
        let mut target = target?;
        if let Some(entry) = self.nodes.get(&target.lower) {
            if !autorename || target.lower == source {
                return Err(below("to", entry.conflict()));
            }
            target = self.renamed(to).map_err(|tags| below("to", tags))?;
        }
        if is_within(&target.lower, &source) {
            return Err(vec!["cant_move_folder_into_itself"]);
        }
        let (to_lower, to_display) = (target.lower.clone(), target.display.clone());
        let mut taken = self.remove(&source).into_iter();
        let (_, first) = taken.next().expect("the source is there");
        let from_display = first.display;
        let node = self.moved(first.node, now);
        let metadata = self.insert(target, node);
        for (lower, entry) in taken {
            let node = self.moved(entry.node, now);
            let display = format!("{to_display}{}", &entry.display[from_display.len()..]);
            self.record(&format!("{to_lower}{}", &lower[source.len()..]), Entry { display, node });
        }
        Ok(metadata)
    }

    fn moved(&mut self, node: Node, now: i64) -> Node {
        match node {
            Node::File(file) => {
                let server_modified = if self.moves_change_times { now } else { file.server_modified };
                Node::File(File { rev: self.new_rev(), server_modified, ..file })
            }
            folder @ Node::Folder { .. } => folder,
        }
    }

    /// Deletes a file, if its rev is `parent_rev`, or a folder with all below it, and gives what it was.
    pub(super) fn delete(&mut self, path: &str, parent_rev: Option<&str>) -> Result<Value, Tags> {
        let entry = self.find(path).map_err(|tags| below("path_lookup", tags))?;
        match (parent_rev, entry.file()) {
            (Some(rev), Some(file)) if file.rev != rev => return Err(vec!["path_write", "conflict", "file"]),
            (Some(_), None) => return Err(vec!["path_lookup", "not_file"]),
            _ => {}
        }
        let (metadata, lower) = (entry.metadata(), entry.display.to_lowercase());
        self.remove(&lower);
        Ok(metadata)
    }

    /// Makes a folder, and those above it.
    pub(super) fn create_folder(&mut self, path: &str, autorename: bool) -> Result<Value, Tags> {
        let mut target = self.target(path)?;
        match self.nodes.get(&target.lower) {
            Some(_) if autorename => target = self.renamed(path)?,
            Some(entry) => return Err(entry.conflict()),
            None => {}
        }
        Ok(self.insert(target, Node::Folder { id: new_id() }))
    }

    /// The paths of all files, as they are spelt, sorted; folders end in a slash.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut paths: Vec<String> = self
            .nodes
            .values()
            .map(|entry| if entry.file().is_some() { entry.display.clone() } else { format!("{}/", entry.display) })
            .collect();
        paths.sort();
        paths
    }

    /// The content of a file.
    pub(super) fn content(&self, path: &str) -> Option<Vec<u8>> {
        Some(self.nodes.get(&path.to_lowercase())?.file()?.content.to_vec())
    }
}
