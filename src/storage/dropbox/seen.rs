//! Since when jobs lie in running. Whether a move changes the time of a file is not known, so a job that waited long in
//! its queue might look as if it had been running for long. What is seen there is therefore noted, with the time.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::client::Client;
use super::error::{CallError, Cause};
use super::lease_file::LARGEST_FILE;
use super::paths;
use super::routes::{File, Mode};
use crate::job::DocumentId;

/// When a job was seen first, in which state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Seen {
    rev: String,
    since: Timestamp,
}

impl Client {
    /// When each of the jobs in running was seen there first, by whichever process; those that are new are noted.
    pub(super) async fn first_seen(
        &self,
        running: &[(DocumentId, File)],
    ) -> Result<BTreeMap<DocumentId, Timestamp>, CallError> {
        let path = paths::seen_running();
        let (state, known): (_, BTreeMap<DocumentId, Seen>) = match self.download(&path, LARGEST_FILE).await {
            Ok((file, text)) => (Some(file), serde_json::from_slice(&text).unwrap_or_default()),
            Err(error) if error.is_not_found() => (None, BTreeMap::new()),
            Err(error) => return Err(error),
        };
        let now = self.clock().latest_now();
        let seen = |(id, file): &(DocumentId, File)| {
            let since = known.get(id).filter(|seen| seen.rev == file.rev).map_or(now, |seen| seen.since);
            (id.clone(), Seen { rev: file.rev.clone(), since })
        };
        let seen: BTreeMap<DocumentId, Seen> = running.iter().map(seen).collect();
        if seen != known {
            let text = serde_json::to_vec(&seen).map_err(|error| Cause::Bad(error.to_string()).certain())?;
            let mode = state.as_ref().map_or(Mode::Add, |file| Mode::Update(&file.rev));
            match self.upload(&path, &text, mode).await {
                // Somebody else has noted what is there.
                Err(error) if error.is_conflict() => {}
                result => drop(result?),
            }
        }
        Ok(seen.into_iter().map(|(id, seen)| (id, seen.since)).collect())
    }
}
