//! The storage operations on MongoDB.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use mongodb::bson::doc;

use super::leases::Leases;
use super::places::{Target, naming_fields};
use super::record::indexes;
use super::server::Server;
use super::watch::QueueWatch;
use crate::job::{BackendName, Document, DocumentId, JobId, Progress, StorageName};
use crate::storage::options::MongodbOptions;
use crate::storage::tls::use_ring;
use crate::storage::{
    Changes, Claim, HeldLease, Lease, Leftover, Place, Renewal, Storage, StorageContext, StorageError,
};

/// A storage on a MongoDB server, replica set or cluster.
pub struct Mongodb {
    server: Arc<Server>,
    leases: Leases,
    queues: QueueWatch,
    max_job_bytes: u64,
}

impl Mongodb {
    /// Connects, logs in, and makes sure of the indexes.
    pub async fn open(
        name: &StorageName,
        options: &MongodbOptions,
        context: StorageContext,
    ) -> Result<Self, StorageError> {
        use_ring();
        let server = Arc::new(Server::open(name, options).await?);
        let index = |place, fields: &[&str]| {
            (Target::of(place), fields.iter().map(|field| doc! { *field: 1 }).collect::<Vec<_>>())
        };
        let configs = index(Place::Configs, naming_fields(Place::Configs));
        let keys = index(Place::PublicKeys, naming_fields(Place::PublicKeys));
        let leases = indexes();
        tokio::join!(
            server.ensure_index(&leases.0, &leases.1),
            server.ensure_index(&configs.0, &configs.1),
            server.ensure_index(&keys.0, &keys.1),
        );
        let leases = Leases::new(Arc::clone(&server), context.lease);
        Ok(Self { server, leases, queues: QueueWatch::new(), max_job_bytes: context.max_job_bytes })
    }
}

#[async_trait]
impl Storage for Mongodb {
    async fn upload(&self, place: Place<'_>, id: &DocumentId, document: &Document) -> Result<(), StorageError> {
        self.server.upload(place, id, document).await
    }

    async fn get(&self, place: Place<'_>, id: &DocumentId) -> Result<Document, StorageError> {
        let limit = if place.holds_jobs() { self.max_job_bytes } else { u64::MAX };
        self.server.get(place, id, limit).await
    }

    async fn exists(&self, place: Place<'_>, id: &DocumentId) -> Result<bool, StorageError> {
        self.server.has(place, id).await
    }

    async fn update(&self, place: Place<'_>, id: &DocumentId, document: &Document) -> Result<(), StorageError> {
        self.server.update(place, id, document).await
    }

    async fn move_to(&self, from: Place<'_>, to: Place<'_>, id: &DocumentId) -> Result<(), StorageError> {
        self.server.move_to(from, to, id).await
    }

    async fn delete(&self, place: Place<'_>, id: &DocumentId) -> Result<(), StorageError> {
        self.server.remove(place, id).await
    }

    async fn list(&self, place: Place<'_>) -> Result<Vec<DocumentId>, StorageError> {
        let ids = self.server.list(place).await?;
        let Place::Queued(backend) = place else { return Ok(ids) };
        if ids.is_empty() {
            return Ok(ids);
        }
        let mut rest: BTreeSet<&DocumentId> = ids.iter().collect();
        let put_back = self.leases.put_back_of(backend).await?;
        let mut sorted: Vec<DocumentId> = put_back.iter().map(DocumentId::from).filter(|id| rest.remove(id)).collect();
        sorted.extend(ids.iter().filter(|id| rest.contains(id)).cloned());
        Ok(sorted)
    }

    async fn claim(&self, backend: &BackendName, job_id: &JobId) -> Result<Claim, StorageError> {
        self.leases.claim(backend, job_id).await
    }

    async fn renew(&self, lease: &Lease) -> Result<Renewal, StorageError> {
        self.leases.renew(lease).await
    }

    async fn put_back(&self, lease: &Lease) -> Result<(), StorageError> {
        self.leases.put_back(lease).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StorageError> {
        self.leases.release(lease).await
    }

    async fn adopt_orphans(&self) -> Result<Vec<Lease>, StorageError> {
        let adopted = self.leases.adopt_orphans().await?;
        for backend in &adopted.returned {
            self.queues.tell(backend);
        }
        Ok(adopted.leases)
    }

    fn arrival_resolution(&self) -> Duration {
        // A collection gives its documents in the order in which they were inserted.
        Duration::ZERO
    }

    fn orphan_interval(&self) -> Duration {
        self.leases.orphan_interval()
    }

    async fn request_cancel(&self, backend: &BackendName, job_id: &JobId) -> Result<bool, StorageError> {
        self.leases.request_cancel(backend, job_id).await
    }

    async fn watch(&self, backend: &BackendName) -> Result<Changes, StorageError> {
        self.queues.add(&self.server, backend).await
    }

    async fn backends(&self) -> Result<Vec<BackendName>, StorageError> {
        let mut names = BTreeSet::new();
        for database in ["jobs", "status", "results"] {
            for collection in self.server.collections(database).await? {
                let name = match database {
                    "jobs" => collection.strip_prefix("queued.").or_else(|| collection.strip_prefix("finished.")),
                    _ => Some(collection.as_str()),
                };
                names.extend(name.and_then(|name| name.parse::<BackendName>().ok()));
            }
        }
        let configured = self.server.list(Place::Configs).await?;
        names.extend(configured.iter().filter_map(|id| id.as_str().parse::<BackendName>().ok()));
        Ok(names.into_iter().collect())
    }

    async fn unchanged_since(&self, place: Place<'_>, time: Timestamp) -> Result<Vec<DocumentId>, StorageError> {
        self.server.unchanged_since(place, time).await
    }

    async fn leases(&self) -> Result<Vec<HeldLease>, StorageError> {
        self.leases.all().await
    }

    async fn progress(&self, backend: &BackendName, job_id: &JobId) -> Result<Option<Progress>, StorageError> {
        self.leases.progress(backend, job_id).await
    }

    async fn adopt_unleased(&self, backend: &BackendName, job_id: &JobId) -> Result<Option<Lease>, StorageError> {
        self.leases.adopt_unleased(backend, job_id).await
    }

    async fn leftovers(&self, remove: bool) -> Result<Vec<Leftover>, StorageError> {
        self.leases.leftovers(remove).await
    }
}
