//! What came of a copy.

use serde::Serialize;

use crate::job::{BackendName, DocumentId, StorageName};
use crate::storage::StorageError;

/// How far a copy has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyProgress {
    /// The documents that are dealt with.
    pub done: u64,
    /// All documents.
    pub total: u64,
}

/// What came of a copy.
#[derive(Debug, Serialize)]
pub struct CopyReport {
    /// Where it came from.
    pub from: StorageName,
    /// Where it went.
    pub to: StorageName,
    /// How it ended.
    #[serde(serialize_with = "end_word")]
    pub end: CopyEnd,
    /// The counts at each place at which the source holds anything, in the order in which they were copied.
    pub places: Vec<PlaceCounts>,
    /// What could not be copied, and why.
    pub problems: Vec<CopyProblem>,
    /// The queues that the target does not list in the source's order.
    pub out_of_order: Vec<BackendName>,
    /// How many documents have come to the source, or to another place there, since the copy began.
    pub arrived: u64,
}

/// How a copy ended.
#[derive(Debug)]
pub enum CopyEnd {
    /// All was looked at, and the counts were compared.
    Complete,
    /// It was told to stop.
    Interrupted,
    /// A storage did not take part any more.
    OutOfReach(StorageName, StorageError),
}

/// What came of the documents of one place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PlaceCounts {
    /// The place at the source; the jobs of `jobs/running` go into queues.
    pub place: String,
    /// The documents at the source.
    pub at_source: u64,
    /// All documents at that place of the target, afterwards; none if nobody has looked.
    pub at_target: Option<u64>,
    /// Written and read back.
    pub copied: u64,
    /// Written in place of an older one, and read back.
    pub replaced: u64,
    /// There already, with the same values.
    pub there_already: u64,
    /// Left as they are, because the target is further on.
    pub further_on: u64,
    /// Not copied, or not as they are: there is a problem for each.
    pub failed: u64,
}

/// A document that could not be copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CopyProblem {
    /// The place at the source.
    pub place: String,
    /// Its id.
    pub id: DocumentId,
    /// Why, in words.
    pub what: String,
}

impl CopyReport {
    /// Whether the target holds now whatever the source held when the copy began.
    pub fn is_whole(&self) -> bool {
        matches!(self.end, CopyEnd::Complete) && self.problems.is_empty()
    }
}

fn end_word<S: serde::Serializer>(end: &CopyEnd, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match end {
        CopyEnd::Complete => "complete",
        CopyEnd::Interrupted => "interrupted",
        CopyEnd::OutOfReach(..) => "out of reach",
    })
}
