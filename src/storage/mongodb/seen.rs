//! Since when documents have lain where they are. MongoDB keeps no times, so the first look at each is noted.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use mongodb::bson::{DateTime, RawDocumentBuf, doc};

use super::places::Target;
use super::server::Server;
use crate::job::DocumentId;
use crate::storage::{Place, StorageError, StorageErrorKind};

impl Server {
    /// The ids at a place that any process has seen there at `time` or before.
    pub(super) async fn unchanged_since(
        &self,
        place: Place<'_>,
        time: Timestamp,
    ) -> Result<Vec<DocumentId>, StorageError> {
        let (seen, latest, now) = (Target::seen(), self.clock.at(time), self.clock.now());
        let ids = self.list(place).await?;
        // `0` is what follows `/`, and no id holds either.
        let (begin, end) = (format!("{place}/"), format!("{place}0"));
        let noted = self.all(&seen, doc! { "_id": { "$gt": &begin, "$lt": end } }, None).await?;
        let noted: HashMap<&str, DateTime> = noted
            .iter()
            .filter_map(|note| {
                Some((note.get_str("_id").ok()?.strip_prefix(&begin)?, note.get_datetime("since").ok()?))
            })
            .collect();
        let present: HashSet<&str> = ids.iter().map(DocumentId::as_str).collect();
        let gone: Vec<String> =
            noted.keys().filter(|id| !present.contains(*id)).map(|id| format!("{begin}{id}")).collect();
        if !gone.is_empty() {
            let delete = self.collection(&seen);
            let delete = delete.delete_many(doc! { "_id": { "$in": gone } });
            self.call(|| format!("cannot delete from {seen}"), delete).await?;
        }
        for id in ids.iter().filter(|id| !noted.contains_key(id.as_str())) {
            let note = RawDocumentBuf::try_from(&doc! { "_id": format!("{begin}{id}"), "since": now });
            let note = note
                .map_err(|error| StorageError::new(StorageErrorKind::Refused, "cannot note a time").caused_by(error))?;
            // Whoever was quicker has noted the same.
            self.insert(&seen, &note).await?;
        }
        let is_old = |id: &DocumentId| noted.get(id.as_str()).is_some_and(|since| *since <= latest);
        Ok(ids.iter().filter(|id| is_old(id)).cloned().collect())
    }
}
