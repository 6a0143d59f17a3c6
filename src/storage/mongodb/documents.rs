//! The operations on single documents.

use mongodb::bson::{Bson, RawDocumentBuf, doc};

use super::bson::{to_bson, to_json};
use super::places::{Target, filters, key, naming_fields, new_key};
use super::server::{Server, key_of};
use crate::job::{Document, DocumentId};
use crate::storage::{Place, StorageError, StorageErrorKind};

impl Server {
    /// The document as it lies there.
    async fn find_raw(&self, place: Place<'_>, id: &DocumentId) -> Result<Option<RawDocumentBuf>, StorageError> {
        for filter in filters(place, id) {
            if let Some(found) = self.find(&Target::of(place), filter).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The `_id` under which the document lies; where peers take random ones it has to be looked up.
    async fn find_key(&self, place: Place<'_>, id: &DocumentId) -> Result<Option<Bson>, StorageError> {
        if naming_fields(place).is_empty() {
            return Ok(Some(key(id)));
        }
        let found = self.find_raw(place, id).await?;
        Ok(found.as_ref().and_then(key_of).and_then(|key| Bson::try_from(key).ok()))
    }

    fn to_bson(
        place: Place<'_>,
        id: &DocumentId,
        key: &Bson,
        document: &Document,
    ) -> Result<RawDocumentBuf, StorageError> {
        let refused =
            |why: String| StorageError::new(StorageErrorKind::Refused, format!("cannot store {id} at {place}: {why}"));
        let stored =
            to_bson(key, document.text(), place == Place::Configs).map_err(|error| refused(error.to_string()))?;
        let fields = naming_fields(place);
        let is_named_so = |field: &&str| {
            let (outer, field) = field.split_once('.').map_or((None, *field), |(outer, field)| (Some(outer), field));
            match outer {
                Some(outer) => stored
                    .get_document(outer)
                    .is_ok_and(|inner| inner.get_str(field).is_ok_and(|name| name == id.as_str())),
                None => stored.get_str(field).is_ok_and(|name| name == id.as_str()),
            }
        };
        if fields.is_empty() || fields.iter().any(is_named_so) {
            Ok(stored)
        } else {
            // It could not be found again.
            Err(refused(format!("its {} is another", fields.join(" or "))))
        }
    }

    pub(super) async fn upload(
        &self,
        place: Place<'_>,
        id: &DocumentId,
        document: &Document,
    ) -> Result<(), StorageError> {
        let stored = Self::to_bson(place, id, &new_key(place, id), document)?;
        let is_there = !naming_fields(place).is_empty() && self.find_raw(place, id).await?.is_some();
        if is_there || !self.insert(&Target::of(place), &stored).await? {
            return Err(StorageError::already_exists(&place, id));
        }
        Ok(())
    }

    /// Reads a document of at most `limit` bytes of text.
    pub(super) async fn get(&self, place: Place<'_>, id: &DocumentId, limit: u64) -> Result<Document, StorageError> {
        let cannot = format!("cannot read {id} at {place}");
        let found = self.find_raw(place, id).await?.ok_or_else(|| StorageError::not_found(&place, id))?;
        let text = to_json(&found)
            .map_err(|error| StorageError::new(StorageErrorKind::Refused, format!("{cannot}: {error}")))?;
        let size = text.len() as u64;
        if size > limit {
            return Err(StorageError::too_large(cannot, size, limit));
        }
        Ok(Document::from_text(text))
    }

    pub(super) async fn has(&self, place: Place<'_>, id: &DocumentId) -> Result<bool, StorageError> {
        for filter in filters(place, id) {
            if self.exists(&Target::of(place), filter).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) async fn update(
        &self,
        place: Place<'_>,
        id: &DocumentId,
        document: &Document,
    ) -> Result<(), StorageError> {
        let not_found = || StorageError::not_found(&place, id);
        let key = self.find_key(place, id).await?.ok_or_else(not_found)?;
        let stored = Self::to_bson(place, id, &key, document)?;
        let replaced = self.replace(&Target::of(place), doc! { "_id": key }, &stored).await?;
        if replaced { Ok(()) } else { Err(not_found()) }
    }

    /// Inserts first and deletes afterwards: a crash between leaves the document twice, and the move is done again.
    pub(super) async fn move_to(&self, from: Place<'_>, to: Place<'_>, id: &DocumentId) -> Result<(), StorageError> {
        let found = self.find_raw(from, id).await?.ok_or_else(|| StorageError::not_found(&from, id))?;
        let Some(key) = key_of(&found).and_then(|key| Bson::try_from(key).ok()) else {
            return Err(StorageError::not_found(&from, id));
        };
        if !self.copy(&Target::of(to), &key, &found).await? {
            return Err(StorageError::already_exists(&to, id));
        }
        self.delete(&Target::of(from), doc! { "_id": key }).await.map(drop)
    }

    /// Makes sure that a copy of a document lies in a collection; false if another document of that `_id` does.
    pub(super) async fn copy(
        &self,
        target: &Target,
        key: &Bson,
        document: &RawDocumentBuf,
    ) -> Result<bool, StorageError> {
        // Where an earlier attempt, one's own or that of a spooler that died, got that far, the same is there already.
        Ok(self.insert(target, document).await?
            || self.find(target, doc! { "_id": key }).await?.is_some_and(|there| there == *document))
    }

    pub(super) async fn remove(&self, place: Place<'_>, id: &DocumentId) -> Result<(), StorageError> {
        let key = self.find_key(place, id).await?;
        let deleted = match key {
            Some(key) => self.delete(&Target::of(place), doc! { "_id": key }).await?,
            None => false,
        };
        if deleted { Ok(()) } else { Err(StorageError::not_found(&place, id)) }
    }

    /// The ids at a place, first come first.
    pub(super) async fn list(&self, place: Place<'_>) -> Result<Vec<DocumentId>, StorageError> {
        let fields = naming_fields(place);
        if fields.is_empty() {
            return self.ids(&Target::of(place), doc! {}).await;
        }
        let projection = fields.iter().map(|field| ((*field).to_owned(), Bson::Int32(1))).collect();
        let mut ids = Vec::new();
        for document in self.all(&Target::of(place), doc! {}, Some(projection)).await? {
            let name = document
                .get_str(fields[0])
                .or_else(|_| document.get_document("payload").and_then(|payload| payload.get_str(fields[0])));
            // Of peers that created one at the same time the first counts.
            if let Ok(Ok(id)) = name.map(str::parse)
                && !ids.contains(&id)
            {
                ids.push(id);
            }
        }
        Ok(ids)
    }
}
