//! Lists by cursors. A list is no snapshot: what changes meanwhile follows as later entries of the same cursor.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::files::{Files, Node, Tags, deleted_metadata, hex, is_within, parent};

/// Where a reader is. It travels as an opaque text.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// Cursors of an older age are not good any more.
    pub(super) age: u64,
    /// The folder in lower case; the empty one is the root.
    folder: String,
    recursive: bool,
    include_deleted: bool,
    limit: usize,
    /// How far the first walk through the folder has come; none when it is done.
    walk: Option<u64>,
    /// The changes that have been told of.
    since: usize,
    /// Whether the last page was held back.
    blank: bool,
}

/// What a list is asked for.
#[derive(Debug)]
pub(super) struct ListArguments {
    pub(super) path: String,
    pub(super) recursive: bool,
    pub(super) include_deleted: bool,
    pub(super) limit: usize,
}

/// How the service pages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paging {
    /// The most entries of a page, whatever the caller allows.
    pub(super) size: usize,
    /// Whether every second page is an empty one.
    pub(super) empty: bool,
}

impl Cursor {
    pub(super) fn to_text(&self) -> String {
        let text = serde_json::to_vec(self).expect("it serialises");
        format!("AAE{}", hex(&text))
    }

    pub(super) fn from_text(text: &str) -> Option<Self> {
        let hex = text.strip_prefix("AAE").filter(|hex| hex.is_ascii())?;
        let digits = (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16));
        serde_json::from_slice(&digits.collect::<Result<Vec<_>, _>>().ok()?).ok()
    }

    fn concerns(&self, lower: &str) -> bool {
        if self.recursive { is_within(lower, &self.folder) } else { parent(lower) == self.folder && !lower.is_empty() }
    }
}

/// The order of the walk: none that a reader could lean on.
fn position(lower: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    lower.hash(&mut hasher);
    hasher.finish().max(1)
}

impl Files {
    /// A cursor at the beginning of a folder, or behind all that is there now.
    pub(super) fn cursor(&self, arguments: &ListArguments, at_end: bool, age: u64) -> Result<Cursor, Tags> {
        // The trailing slash is allowed here and nowhere else.
        let path = arguments.path.strip_suffix('/').unwrap_or(&arguments.path);
        let folder = if path.is_empty() {
            String::new()
        } else {
            let entry = self.find(path)?;
            match entry.node {
                Node::Folder { .. } => entry.display.to_lowercase(),
                Node::File(_) => return Err(vec!["not_folder"]),
            }
        };
        let ListArguments { recursive, include_deleted, limit, .. } = *arguments;
        let walk = if at_end { None } else { Some(0) };
        let since = self.journal.len();
        Ok(Cursor { age, folder, recursive, include_deleted, limit, walk, since, blank: false })
    }

    /// The next entries, the cursor behind them, and whether there are more.
    pub(super) fn page(&self, cursor: &Cursor, paging: Paging) -> Result<(Vec<Value>, Cursor, bool), Tags> {
        if !cursor.folder.is_empty() && !self.nodes.contains_key(&cursor.folder) {
            return Err(vec!["not_found"]);
        }
        if paging.empty && !cursor.blank {
            return Ok((Vec::new(), Cursor { blank: true, ..cursor.clone() }, true));
        }
        let mut next = Cursor { blank: false, ..cursor.clone() };
        let size = cursor.limit.min(paging.size).max(1);
        let mut entries = Vec::new();
        if let Some(after) = cursor.walk {
            let mut rest = self.rest_of_walk(cursor, after);
            rest.sort_by_key(|(position, _)| *position);
            next.walk = rest.get(size - 1).filter(|_| rest.len() > size).map(|(position, _)| *position);
            entries.extend(rest.into_iter().take(size).map(|(_, metadata)| metadata));
        }
        if next.walk.is_none() {
            let last: HashMap<&str, usize> =
                self.journal.iter().enumerate().map(|(at, change)| (change.lower.as_str(), at)).collect();
            for (at, change) in self.journal.iter().enumerate().skip(cursor.since) {
                if cursor.concerns(&change.lower) && last[change.lower.as_str()] == at {
                    if entries.len() >= size {
                        break;
                    }
                    entries.push(change.metadata.clone());
                }
                next.since = at + 1;
            }
        }
        let has_more = next.walk.is_some() || self.has_news(&next);
        Ok((entries, next, has_more))
    }

    fn rest_of_walk(&self, cursor: &Cursor, after: u64) -> Vec<(u64, Value)> {
        let there = self.nodes.iter().map(|(lower, entry)| (lower, entry.metadata()));
        let gone = self.deleted.iter().filter(|_| cursor.include_deleted);
        let gone = gone.map(|(lower, display)| (lower, deleted_metadata(display)));
        there
            .chain(gone)
            .filter(|(lower, _)| cursor.concerns(lower))
            .map(|(lower, metadata)| (position(lower), metadata))
            .filter(|(position, _)| *position > after)
            .collect()
    }

    /// Whether something has changed since the cursor was given.
    pub(super) fn has_news(&self, cursor: &Cursor) -> bool {
        cursor.walk.is_some() || self.journal.iter().skip(cursor.since).any(|change| cursor.concerns(&change.lower))
    }
}
