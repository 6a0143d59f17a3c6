//! What several tests need.
#![allow(dead_code, reason = "each test takes its part, and an expectation would fail where one takes all")]

#[cfg(any(feature = "storage-dropbox", feature = "storage-mongodb"))]
pub(crate) mod certificates;
pub(crate) mod daemon;
#[cfg(feature = "storage-dropbox")]
pub(crate) mod dropbox;
pub(crate) mod fated;
#[cfg(feature = "storage-mongodb")]
pub(crate) mod mongodb;
pub(crate) mod python;

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use qspool::backend::{Backend, BackendOptions, SchemaSet};
use qspool::job::{BackendName, Document, JobId};
use qspool::spooler::{Plan, ServedBackend, Source, SpoolerOptions};
use qspool::storage::{MediumOptions, Provider, Storage, StorageContext, StorageOptions, open};

/// A backend that exists everywhere.
pub(crate) fn backend() -> BackendName {
    "fermions".parse().expect("a name")
}

/// The id of the job `number`.
pub(crate) fn job_id(number: u32) -> JobId {
    JobId::time_ordered(number, 0, 0)
}

/// A storage in a fresh place that goes away with this value.
pub(crate) struct TempStorage {
    /// What the storage lies in: a directory, or a server.
    _place: Box<dyn Any + Send + Sync>,
    options: MediumOptions,
    lease: Duration,
    /// How long it takes until the jobs of a dead spooler can be taken over.
    expiry: Duration,
    keeps_bytes: bool,
}

impl TempStorage {
    /// A directory of local files.
    #[expect(clippy::unused_async, reason = "other media have a server to start")]
    pub(crate) async fn local() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let StorageOptions { medium, .. } = StorageOptions::local(directory.path().to_owned());
        // The kernel tells at once when a spooler has died.
        let (lease, expiry) = (Duration::from_secs(60), Duration::ZERO);
        Self { _place: Box::new(directory), options: medium, lease, expiry, keeps_bytes: true }
    }

    /// An account of Dropbox.
    #[cfg(feature = "storage-dropbox")]
    #[expect(clippy::unused_async, reason = "other media have a server to start")]
    pub(crate) async fn dropbox() -> Self {
        let server = dropbox::DropboxServer::start();
        let options = MediumOptions::Dropbox(dropbox_options(&server));
        let lease = Duration::from_secs(2);
        // The clock of the service is known to a second, and it tells whole ones.
        let expiry = lease + Duration::from_secs(3);
        Self { _place: Box::new(server), options, lease, expiry, keeps_bytes: true }
    }

    /// The same, encrypted and with the secret of the app, as the SDK that peers use wants it.
    #[cfg(feature = "storage-dropbox")]
    #[expect(clippy::unused_async, reason = "other media have a server to start")]
    pub(crate) async fn dropbox_of_peers() -> Self {
        let server = dropbox::DropboxServer::start_encrypted();
        let mut options = dropbox_options(&server);
        options.app_secret = Some(server.app_secret().to_owned().into());
        options.refresh_token = Some(server.refresh_token_with_secret().into());
        let lease = Duration::from_secs(2);
        let expiry = lease + Duration::from_secs(3);
        let options = MediumOptions::Dropbox(options);
        Self { _place: Box::new(server), options, lease, expiry, keeps_bytes: true }
    }

    /// The databases of a server, which this value has for itself.
    #[cfg(feature = "storage-mongodb")]
    pub(crate) async fn mongodb() -> Self {
        let lent = mongodb::lend().await;
        let options = lent.options();
        let (lease, expiry) = (Duration::from_secs(2), Duration::from_millis(2500));
        Self { _place: Box::new(lent), options, lease, expiry, keeps_bytes: false }
    }

    /// How to reach it.
    pub(crate) fn options(&self) -> &MediumOptions {
        &self.options
    }

    /// How long it takes until the jobs of a dead spooler can be taken over.
    pub(crate) fn expiry(&self) -> Duration {
        self.expiry
    }

    /// Whether `found` is what was stored as `text`: byte for byte, or by its values on a medium that keeps those.
    pub(crate) fn is_same(&self, found: &Document, text: &str) -> bool {
        let value = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).expect("JSON");
        found.text() == text.as_bytes() || (!self.keeps_bytes && value(found.text()) == value(text.as_bytes()))
    }

    /// Opens it once more, as another spooler would.
    pub(crate) async fn open(&self) -> Arc<dyn Storage> {
        let context = StorageContext { lease: self.lease, max_job_bytes: 1 << 20 };
        open(&"test".parse().expect("a name"), &self.options, context).await.expect("the storage opens")
    }

    /// The same as a provider.
    pub(crate) async fn provider(&self) -> Provider {
        Provider::new("test".parse().expect("a name"), true, self.open().await)
    }

    /// The directory of local files in which it lies.
    pub(crate) fn path(&self) -> &Path {
        let MediumOptions::Local(options) = &self.options else { panic!("it does not lie in files") };
        &options.base_path
    }

    /// Ends a spooler's hold on the storage without letting it say goodbye.
    pub(crate) fn kill(storage: Arc<dyn Storage>) {
        assert_eq!(Arc::strong_count(&storage), 1, "somebody else still uses it");
        drop(storage);
    }
}

/// How to reach the account of a server.
#[cfg(feature = "storage-dropbox")]
pub(crate) fn dropbox_options(server: &dropbox::DropboxServer) -> qspool::storage::DropboxOptions {
    qspool::storage::DropboxOptions {
        app_key: server.app_key().to_owned(),
        app_secret: None,
        app_secret_file: None,
        refresh_token: Some(server.refresh_token().to_owned().into()),
        refresh_token_file: None,
        endpoint: Some(server.url().to_owned()),
        ca_file: server.ca_file().map(Path::to_owned),
        timeout_s: 20,
    }
}

/// The path of a file below the package.
pub(crate) fn package_file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A fresh spooler plan: the backend of [`backend`] on one storage that is open already.
pub(crate) fn plan(provider: Provider, workers: usize, options: SpoolerOptions) -> Plan {
    let schemas = SchemaSet::load(None).expect("the built-in schemas");
    let backend = Backend::open(&backend(), &BackendOptions::default(), &schemas).expect("a built-in backend");
    let storages = vec![provider.name().clone()];
    Plan {
        storages: vec![(provider.name().clone(), Source::Open(provider))],
        backends: vec![ServedBackend { backend: Arc::new(backend), workers, storages }],
        options,
    }
}

/// Waits until `condition` gives a value; panics with `what` after a time that no machine needs.
pub(crate) async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let begin = std::time::Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
