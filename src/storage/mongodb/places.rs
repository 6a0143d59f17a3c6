//! Which database, collection and document a place and an id are.

use std::fmt;

use mongodb::bson::oid::ObjectId;
use mongodb::bson::raw::RawBsonRef;
use mongodb::bson::{Bson, Document, doc};
use sha2::{Digest, Sha256};

use crate::job::{DocumentId, JobId};
use crate::storage::Place;

/// A collection, with its database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) database: String,
    pub(super) collection: String,
}

impl Target {
    /// The collection of a place: the first part of its path is the database, the rest the collection.
    pub(super) fn of(place: Place<'_>) -> Self {
        let path = place.to_string();
        let (database, rest) = path.split_once('/').unwrap_or((&path, ""));
        Self { database: database.to_owned(), collection: rest.replace('/', ".") }
    }

    /// Where the leases lie.
    pub(super) fn leases() -> Self {
        Self { database: "jobs".into(), collection: "leases".into() }
    }

    /// Where it is noted since when documents have been seen.
    pub(super) fn seen() -> Self {
        Self { database: "jobs".into(), collection: "leases.seen".into() }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.database, self.collection)
    }
}

/// The `_id` of a document: an `ObjectId` where the id has the form of one, which peers can read, else the text.
pub(super) fn key(id: &DocumentId) -> Bson {
    let text = id.as_str();
    let is_object_id = text.len() == 24 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    match ObjectId::parse_str(text) {
        Ok(object_id) if is_object_id => Bson::ObjectId(object_id),
        _ => Bson::String(text.to_owned()),
    }
}

/// The same for a job.
pub(super) fn job_key(id: &JobId) -> Bson {
    key(&id.into())
}

/// The id whose `_id` this is; none for what cannot be asked for by an id.
pub(super) fn id_of(key: RawBsonRef<'_>) -> Option<DocumentId> {
    match key {
        RawBsonRef::ObjectId(id) => id.to_hex().parse().ok(),
        RawBsonRef::String(text) => {
            let id = text.parse().ok()?;
            matches!(self::key(&id), Bson::String(_)).then_some(id)
        }
        _ => None,
    }
}

/// The fields that hold the id, where a place has documents of random `_id`; in the order in which peers ask for them.
pub(super) fn naming_fields(place: Place<'_>) -> &'static [&'static str] {
    match place {
        Place::Configs => &["display_name", "payload.display_name"],
        Place::PublicKeys => &["kid"],
        _ => &[],
    }
}

/// The filters that find a document, to be tried one after the other.
pub(super) fn filters(place: Place<'_>, id: &DocumentId) -> Vec<Document> {
    match naming_fields(place) {
        [] => vec![doc! { "_id": key(id) }],
        fields => fields.iter().map(|field| doc! { *field: id.as_str() }).collect(),
    }
}

/// The `_id` of a new document. Where peers take a random one it follows from the place and the name, so that of two
/// spoolers that create it only one does.
pub(super) fn new_key(place: Place<'_>, id: &DocumentId) -> Bson {
    if naming_fields(place).is_empty() {
        return key(id);
    }
    let digest = Sha256::digest(format!("{place}/{id}"));
    let mut bytes = [0; 12];
    bytes.copy_from_slice(&digest[..12]);
    Bson::ObjectId(ObjectId::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_the_collections_of_the_contract() {
        let backend = "fermions".parse().expect("a name");
        let cases = [
            (Place::Configs, "backends.configs"),
            (Place::PublicKeys, "backends.public_keys"),
            (Place::Queued(&backend), "jobs.queued.fermions"),
            (Place::Running, "jobs.running"),
            (Place::Finished(&backend), "jobs.finished.fermions"),
            (Place::Deleted, "jobs.deleted"),
            (Place::Status(&backend), "status.fermions"),
            (Place::Results(&backend), "results.fermions"),
        ];
        for (place, expected) in cases {
            assert_eq!(Target::of(place).to_string(), expected);
        }
        assert_eq!(Target::of(Place::Queued(&backend)).database, "jobs");
    }

    #[test]
    fn an_id_of_24_hex_digits_is_an_object_id_and_any_other_a_text() {
        let is_object_id = |text: &str| matches!(key(&text.parse().expect("an id")), Bson::ObjectId(_));
        assert!(is_object_id("0123456789abcdef01234567"));
        for text in ["0123456789ABCDEF01234567", "0123456789abcdef0123456", "a", "20240101_120000-fermions-ada-0a1b2"] {
            assert!(!is_object_id(text), "{text}");
            assert_eq!(id_of(RawBsonRef::String(text)).expect("it can be asked for").as_str(), text);
        }
        assert_eq!(id_of(RawBsonRef::String("0123456789abcdef01234567")), None, "the id means another document");
        assert_eq!(id_of(RawBsonRef::Int32(1)), None);
    }

    #[test]
    fn a_new_configuration_has_one_id_whoever_creates_it() {
        let (name, other) = ("fermions".parse().expect("a name"), "rydberg".parse().expect("a name"));
        assert_eq!(new_key(Place::Configs, &name), new_key(Place::Configs, &name));
        assert_ne!(new_key(Place::Configs, &name), new_key(Place::Configs, &other));
        assert_ne!(new_key(Place::Configs, &name), new_key(Place::PublicKeys, &name));
    }
}
