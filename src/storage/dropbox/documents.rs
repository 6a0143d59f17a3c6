//! Creating, replacing, moving and deleting files, with lost answers found out about.
//!
//! A refusal after an attempt whose answer was lost may be the echo of our own success. Then, and only then, is what
//! lies there compared with what was to be done.

use super::client::Client;
use super::error::{CallError, Cause};
use super::routes::{File, Mode, content_hash};

/// The most that one upload may carry.
pub(super) const LARGEST_UPLOAD: u64 = 150 * 1024 * 1024;

/// How often a replacement may meet somebody else's, before it gives up.
const ROUNDS: usize = 8;

/// What came of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moved {
    /// It lies at its target.
    Done,
    /// Nothing was there to be moved.
    Missing,
    /// Something else lies at the target; both are as they were.
    Taken,
}

impl Client {
    fn check_size(content: &[u8]) -> Result<(), CallError> {
        let size = content.len() as u64;
        if size <= LARGEST_UPLOAD {
            return Ok(());
        }
        Err(Cause::TooLarge { bytes: size, allowed: LARGEST_UPLOAD }.certain())
    }

    /// Creates a file; `None` if something is there already.
    pub(super) async fn create(&self, path: &str, content: &[u8]) -> Result<Option<File>, CallError> {
        Self::check_size(content)?;
        match self.upload(path, content, Mode::Add).await {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.is_conflict() && error.doubtful => {
                let found = self.get_metadata(path).await?;
                Ok(found.filter(|file| file.content_hash == content_hash(content)))
            }
            Err(error) if error.is_conflict() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces a file; false if none is there.
    pub(super) async fn replace(&self, path: &str, content: &[u8]) -> Result<bool, CallError> {
        Self::check_size(content)?;
        let hash = content_hash(content);
        for _ in 0..ROUNDS {
            let Some(found) = self.get_metadata(path).await? else { return Ok(false) };
            // Whether equal bytes make a new state is not known, so they are never sent.
            if found.content_hash == hash {
                return Ok(true);
            }
            match self.upload(path, content, Mode::Update(&found.rev)).await {
                Ok(_) => return Ok(true),
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error),
            }
        }
        Err(Cause::Unavailable("others write the same document all the time".to_owned()).certain())
    }

    /// Moves a file.
    pub(super) async fn rename(&self, from: &str, to: &str) -> Result<Moved, CallError> {
        match self.move_v2(from, to).await {
            Ok(()) => Ok(Moved::Done),
            Err(error) if error.is("from_lookup/not_found") => {
                let is_done = error.doubtful && self.get_metadata(to).await?.is_some();
                Ok(if is_done { Moved::Done } else { Moved::Missing })
            }
            Err(error) if error.is("to/conflict") => {
                // Somebody who comes too late may be told of the target instead of the source.
                let is_there = self.get_metadata(from).await?.is_some();
                Ok(match (is_there, error.doubtful) {
                    (true, _) => Moved::Taken,
                    (false, true) => Moved::Done,
                    (false, false) => Moved::Missing,
                })
            }
            Err(error) => Err(error),
        }
    }

    /// Deletes a file; false if none is there.
    pub(super) async fn remove(&self, path: &str) -> Result<bool, CallError> {
        match self.delete_v2(path, None).await {
            Ok(()) => Ok(true),
            Err(error) if error.is_not_found() => Ok(error.doubtful),
            Err(error) => Err(error),
        }
    }
}
