//! Feeds one backend from its queue at one storage, and keeps its configuration there fresh.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tracing::Instrument;

use super::retry::Backoff;
use super::spooler::Shared;
use super::work::Work;
use crate::backend::Backend;
use crate::backend::device::Availability;
use crate::storage::{Changes, Lease, NextJob, Provider, QueueView, StorageError, StorageErrorKind};

/// How often the time of the last look at the queue is published. Peers take a backend for dead after 300 s.
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(120);

/// How soon to look again at a job that is still being written.
const UNSETTLED_INTERVAL: Duration = Duration::from_millis(250);

/// How soon to look again at a queue that cannot be watched, when it has just had a job: doubled at each look in vain.
const SHORTEST_POLL: Duration = Duration::from_millis(25);

/// How often to look at it in the long run: as often as the reference does.
const LONGEST_POLL: Duration = Duration::from_millis(200);

/// How a queue is noticed to have changed.
enum Notice {
    /// The medium tells. There is a slow look beside it.
    Told(Changes),
    /// It is looked at, the next time after this pause. The medium may be able to tell later, or never.
    Polled { pause: Duration, watch_again: Option<Instant> },
}

pub(super) struct Feeder {
    provider: Provider,
    backend: Arc<Backend>,
    /// A slot for each job that may run at the same time. Those who wait get one in turn, so storages alternate.
    slots: Arc<Semaphore>,
    shared: Shared,
    view: QueueView,
    next_announcement: Instant,
    has_published_key: bool,
    /// Tells whether the device can take a program, where the backend runs on one.
    device: Option<watch::Receiver<Availability>>,
}

impl Feeder {
    pub(super) fn new(provider: Provider, backend: Arc<Backend>, slots: Arc<Semaphore>, shared: Shared) -> Self {
        let next_announcement = Instant::now();
        let device = backend.device().map(|device| {
            device.start();
            device.availability()
        });
        Self {
            provider,
            backend,
            slots,
            shared,
            view: QueueView::default(),
            next_announcement,
            has_published_key: false,
            device,
        }
    }

    /// Works until no further job is to be taken. What a storage refuses for good ends it earlier.
    pub(super) async fn feed(mut self) {
        let mut backoff = Backoff::new();
        let stop = self.shared.stop_taking.clone();
        while !stop.is_cancelled() {
            match self.rounds(&mut backoff).await {
                Ok(()) => return,
                Err(error) if error.kind() == StorageErrorKind::Refused => {
                    tracing::error!(%error, "the backend is not served at this storage");
                    return;
                }
                Err(error) => {
                    if backoff.is_fresh() {
                        tracing::error!(%error, "the queue cannot be served; trying again until it can");
                    }
                    self.view.retry_all();
                    backoff.wait_after(&error, &stop).await;
                }
            }
        }
    }

    /// Looks and claims until told to stop, or until the storage fails.
    async fn rounds(&mut self, backoff: &mut Backoff) -> Result<(), StorageError> {
        let stop = self.shared.stop_taking.clone();
        let mut notice = self.watch().await;
        loop {
            self.announce_if_due().await?;
            if self.device.as_ref().is_some_and(|device| !device.borrow().is_ready()) {
                // The jobs wait where they are.
                recovered(backoff);
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    () = tokio::time::sleep_until(self.next_announcement) => {}
                    () = changed(&mut self.device) => self.next_announcement = Instant::now(),
                }
                continue;
            }
            let has_job = self.provider.look(self.backend.name(), &mut self.view).await?;
            if has_job {
                let Some(slot) = self.wait_for_slot().await? else { return Ok(()) };
                match self.provider.get_next_job_in_queue(self.backend.name(), &mut self.view).await? {
                    NextJob::Claimed(lease) => {
                        recovered(backoff);
                        self.begin(lease, slot);
                        notice.expect_more();
                        continue;
                    }
                    NextJob::Empty | NextJob::Unsettled => {}
                }
            }
            recovered(backoff);
            let scan_interval = self.shared.options.scan_interval();
            let pause = match &mut notice {
                _ if self.view.has_unsettled() => UNSETTLED_INTERVAL,
                Notice::Told(_) => scan_interval,
                Notice::Polled { pause, .. } => {
                    let now = *pause;
                    *pause = (now * 2).min(LONGEST_POLL);
                    now
                }
            };
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = notice.next_change() => {}
                () = tokio::time::sleep_until(self.next_announcement) => {}
                () = changed(&mut self.device) => self.next_announcement = Instant::now(),
                () = tokio::time::sleep(pause) => {
                    // What is watched may have been replaced; watching it again costs little.
                    if pause == scan_interval || notice.is_to_be_watched_again() {
                        notice = self.watch().await;
                    }
                }
            }
            self.view.retry_all();
        }
    }

    async fn watch(&self) -> Notice {
        let watched = match self.provider.storage() {
            Ok(storage) => storage.watch(self.backend.name()).await,
            Err(error) => Err(error),
        };
        match watched {
            Ok(changes) => Notice::Told(changes),
            Err(error) => {
                tracing::debug!(%error, "the queue cannot be watched; it is polled");
                let again = Instant::now() + self.shared.options.scan_interval();
                Notice::Polled { pause: SHORTEST_POLL, watch_again: error.is_temporary().then_some(again) }
            }
        }
    }

    /// A slot to run a job in; none when told to stop. Meanwhile the configuration is kept fresh.
    async fn wait_for_slot(&mut self) -> Result<Option<OwnedSemaphorePermit>, StorageError> {
        let stop = self.shared.stop_taking.clone();
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(None),
                slot = Arc::clone(&self.slots).acquire_owned() => {
                    // Nobody closes the semaphore; if somebody did, there would be nothing left to run in.
                    return Ok(slot.ok());
                }
                () = tokio::time::sleep_until(self.next_announcement) => self.announce_if_due().await?,
            }
        }
    }

    fn begin(&self, lease: Lease, slot: OwnedSemaphorePermit) {
        let (storage, backend) = (self.provider.name(), self.backend.name());
        let span = tracing::info_span!(parent: None, "job", job_id = %lease.job_id, %backend, %storage);
        let work = Work {
            provider: self.provider.clone(),
            backend: Arc::clone(&self.backend),
            shared: self.shared.clone(),
            lease,
            slots: Arc::clone(&self.slots),
        };
        self.shared.jobs.spawn(work.bring_to_end(slot).instrument(span));
    }

    /// Publishes the configuration with the time of this look, when the last one gets old; at first the key as well.
    async fn announce_if_due(&mut self) -> Result<(), StorageError> {
        if Instant::now() < self.next_announcement {
            return Ok(());
        }
        let name = self.backend.name();
        let mut config = self.backend.configuration();
        config.pending_jobs = u64::try_from(self.provider.queue(name).await?.len()).ok();
        // Readers take a backend for operational when somebody has looked at its queue lately.
        config.last_queue_check = Some(Timestamp::now());
        if let Some(device) = &mut self.device {
            let availability = device.borrow_and_update();
            config.last_queue_check = config.last_queue_check.filter(|_| availability.is_ready());
            config.status_msg = availability.note();
        }
        let key = self.backend.key();
        match self.provider.update_config(name, &config, key).await {
            Err(error) if error.kind() == StorageErrorKind::NotFound => {
                match self.provider.upload_config(name, &config, key).await {
                    // Another spooler was quicker; it says the same.
                    Err(error) if error.kind() == StorageErrorKind::AlreadyExists => {}
                    result => result?,
                }
                tracing::info!("published the configuration");
            }
            result => result?,
        }
        if let Some(key) = key.filter(|_| !self.has_published_key) {
            self.provider.upload_public_key(&key.public()).await?;
            self.has_published_key = true;
        }
        self.next_announcement = Instant::now() + ANNOUNCE_INTERVAL;
        Ok(())
    }
}

/// Waits until the device has something new to tell; for ever where there is none.
async fn changed(device: &mut Option<watch::Receiver<Availability>>) {
    if let Some(device) = device
        && device.changed().await.is_ok()
    {
        return;
    }
    // There is none, or it is gone, which it cannot be while its backend is held here.
    std::future::pending::<()>().await;
}

/// Called when the storage has done all that was asked of it.
fn recovered(backoff: &mut Backoff) {
    if !backoff.is_fresh() {
        tracing::info!("the queue is served again");
        backoff.reset();
    }
}

impl Notice {
    /// Where one job was there may be another soon.
    fn expect_more(&mut self) {
        if let Self::Polled { pause, .. } = self {
            *pause = SHORTEST_POLL;
        }
    }

    async fn next_change(&mut self) {
        match self {
            Self::Told(changes) => changes.next().await,
            Self::Polled { .. } => std::future::pending().await,
        }
    }

    fn is_to_be_watched_again(&self) -> bool {
        matches!(self, Self::Polled { watch_again: Some(again), .. } if Instant::now() >= *again)
    }
}
