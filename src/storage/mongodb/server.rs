//! One client of the server, and the few operations that everything else is made of.

use std::future::IntoFuture;
use std::time::{Duration, Instant};

use mongodb::bson::raw::RawBsonRef;
use mongodb::bson::{Bson, Document, RawDocumentBuf, doc};
use mongodb::options::ReturnDocument;
use mongodb::{Client, Collection, IndexModel};

use super::clock::Clock;
use super::error::{Origin, is_duplicate};
use super::login::Login;
use super::places::{Target, id_of};
use crate::job::{DocumentId, StorageName};
use crate::storage::options::MongodbOptions;
use crate::storage::{StorageError, StorageErrorKind};

/// The driver's own time-outs end a little earlier, and know more about the reason.
const MARGIN: Duration = Duration::from_millis(500);

/// What every server takes, in bytes, unless it says otherwise.
const LARGEST_DOCUMENT: usize = 16 * 1024 * 1024;

/// How often the server's time is measured at first.
const MEASUREMENTS: u32 = 3;

/// A server, replica set or cluster that has answered.
pub(super) struct Server {
    pub(super) client: Client,
    pub(super) clock: Clock,
    pub(super) origin: Origin,
    timeout: Duration,
    /// In bytes of BSON.
    pub(super) largest_document: usize,
}

impl Server {
    /// Connects and logs in.
    pub(super) async fn open(storage: &StorageName, options: &MongodbOptions) -> Result<Self, StorageError> {
        let Login { options, origin, timeout } = Login::read(storage, options).await?;
        let opening = "cannot open the storage";
        let client = Client::with_options(options).map_err(|error| origin.failure(opening, &error))?;
        let mut server = Self { client, clock: Clock::new(), origin, timeout, largest_document: LARGEST_DOCUMENT };
        let admin = server.client.database("admin");
        server.call(|| opening.into(), admin.run_command(doc! { "ping": 1 })).await?;
        for _ in 0..MEASUREMENTS {
            let said = server.measure().await?;
            let largest = said.get_i32("maxBsonObjectSize").ok().and_then(|bytes| usize::try_from(bytes).ok());
            server.largest_document = largest.unwrap_or(LARGEST_DOCUMENT);
        }
        Ok(server)
    }

    /// Asks the server for its time.
    pub(super) async fn measure(&self) -> Result<Document, StorageError> {
        let before = Instant::now();
        let admin = self.client.database("admin");
        let said = self.call(|| "cannot ask for the time".into(), admin.run_command(doc! { "hello": 1 })).await?;
        if let Ok(time) = said.get_datetime("localTime") {
            self.clock.learn(before, Instant::now(), *time);
        }
        Ok(said)
    }

    /// The collection, whose documents are not read into anything.
    pub(super) fn collection(&self, target: &Target) -> Collection<RawDocumentBuf> {
        self.client.database(&target.database).collection(&target.collection)
    }

    /// Waits for an operation as long as the options allow.
    pub(super) async fn call<T>(
        &self,
        what: impl Fn() -> String,
        operation: impl IntoFuture<Output = mongodb::error::Result<T>>,
    ) -> Result<T, StorageError> {
        self.call_for(&what, operation).await?.map_err(|error| self.origin.failure(&what(), &error))
    }

    pub(super) async fn call_for<T>(
        &self,
        what: impl Fn() -> String,
        operation: impl IntoFuture<Output = mongodb::error::Result<T>>,
    ) -> Result<mongodb::error::Result<T>, StorageError> {
        tokio::time::timeout(self.timeout + MARGIN, operation.into_future()).await.map_err(|_elapsed| {
            let (what, shown, seconds) = (what(), &self.origin.shown, self.timeout.as_secs());
            let why = format!("{what}: {shown} gave no answer within {seconds} s");
            StorageError::new(StorageErrorKind::Unavailable, why)
        })
    }

    /// The first document that a filter finds.
    pub(super) async fn find(&self, target: &Target, filter: Document) -> Result<Option<RawDocumentBuf>, StorageError> {
        let collection = self.collection(target);
        self.call(|| format!("cannot read {target}"), collection.find_one(filter)).await
    }

    /// Whether a filter finds anything.
    pub(super) async fn exists(&self, target: &Target, filter: Document) -> Result<bool, StorageError> {
        let collection = self.collection(target);
        let found = collection.find_one(filter).projection(doc! { "_id": 1 });
        Ok(self.call(|| format!("cannot look into {target}"), found).await?.is_some())
    }

    /// All documents that a filter finds, first come first, with the fields of `projection`.
    pub(super) async fn all(
        &self,
        target: &Target,
        filter: Document,
        projection: Option<Document>,
    ) -> Result<Vec<RawDocumentBuf>, StorageError> {
        let what = || format!("cannot list {target}");
        let collection = self.collection(target);
        let mut found = collection.find(filter.clone());
        if filter.is_empty() {
            // Without this a server may take an index, and with it another order.
            found = found.sort(doc! { "$natural": 1 });
        }
        if let Some(projection) = projection {
            found = found.projection(projection);
        }
        let mut cursor = self.call(what, found).await?;
        let mut documents = Vec::new();
        while self.call(what, cursor.advance()).await? {
            documents.push(cursor.current().to_owned());
        }
        Ok(documents)
    }

    /// The ids of the documents that a filter finds, first come first.
    pub(super) async fn ids(&self, target: &Target, filter: Document) -> Result<Vec<DocumentId>, StorageError> {
        let documents = self.all(target, filter, Some(doc! { "_id": 1 })).await?;
        Ok(documents.iter().filter_map(|document| id_of(key_of(document)?)).collect())
    }

    /// Of these ids those that have a document.
    pub(super) async fn present(&self, target: &Target, ids: &[Bson]) -> Result<Vec<DocumentId>, StorageError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        self.ids(target, doc! { "_id": { "$in": ids } }).await
    }

    /// Creates a document; false if there is one of its `_id`.
    pub(super) async fn insert(&self, target: &Target, document: &RawDocumentBuf) -> Result<bool, StorageError> {
        self.fits(target, document)?;
        let what = || format!("cannot write to {target}");
        match self.call_for(what, self.collection(target).insert_one(document)).await? {
            Ok(_) => Ok(true),
            Err(error) if is_duplicate(&error) => Ok(false),
            Err(error) => Err(self.origin.failure(&what(), &error)),
        }
    }

    /// Replaces a document; false if there is none.
    pub(super) async fn replace(
        &self,
        target: &Target,
        filter: Document,
        document: &RawDocumentBuf,
    ) -> Result<bool, StorageError> {
        self.fits(target, document)?;
        let collection = self.collection(target);
        let replaced = self.call(|| format!("cannot write to {target}"), collection.replace_one(filter, document));
        Ok(replaced.await?.matched_count > 0)
    }

    /// Deletes a document; false if there was none.
    pub(super) async fn delete(&self, target: &Target, filter: Document) -> Result<bool, StorageError> {
        let collection = self.collection(target);
        let deleted = self.call(|| format!("cannot delete from {target}"), collection.delete_one(filter));
        Ok(deleted.await?.deleted_count > 0)
    }

    /// Sets fields of one document, and gives it as it is then; none if the filter finds none.
    pub(super) async fn set(
        &self,
        target: &Target,
        filter: Document,
        fields: Document,
    ) -> Result<Option<RawDocumentBuf>, StorageError> {
        let collection = self.collection(target);
        let updated =
            collection.find_one_and_update(filter, doc! { "$set": fields }).return_document(ReturnDocument::After);
        self.call(|| format!("cannot write to {target}"), updated).await
    }

    /// The names of a database's collections.
    pub(super) async fn collections(&self, database: &str) -> Result<Vec<String>, StorageError> {
        let database = self.client.database(database);
        self.call(|| format!("cannot list the collections of {}", database.name()), database.list_collection_names())
            .await
    }

    /// Makes sure of an index. Without the right to do it everything works, only slower.
    pub(super) async fn ensure_index(&self, target: &Target, keys: &[Document]) {
        let models = keys.iter().map(|keys| IndexModel::builder().keys(keys.clone()).build());
        let collection = self.collection(target);
        let made = self.call(|| format!("cannot make an index of {target}"), collection.create_indexes(models)).await;
        if let Err(error) = made {
            tracing::debug!(%error, "an index is missing");
        }
    }

    fn fits(&self, target: &Target, document: &RawDocumentBuf) -> Result<(), StorageError> {
        let (found, allowed) = (document.as_bytes().len(), self.largest_document);
        if found <= allowed {
            return Ok(());
        }
        Err(StorageError::too_large(format!("cannot write to {target} as BSON"), found as u64, allowed as u64))
    }
}

/// The `_id` of a document.
pub(super) fn key_of(document: &RawDocumentBuf) -> Option<RawBsonRef<'_>> {
    document.get("_id").ok().flatten()
}
