//! Notices new jobs by the kernel's own messages.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::watch;

use crate::job::BackendName;
use crate::storage::Changes;

type Counters = Arc<Mutex<HashMap<OsString, watch::Sender<u64>>>>;

/// Watches the folders of queues.
pub(super) struct QueueWatch {
    watcher: Mutex<Option<RecommendedWatcher>>,
    counters: Counters,
}

impl QueueWatch {
    pub(super) fn new() -> Self {
        Self { watcher: Mutex::new(None), counters: Counters::default() }
    }

    /// Watches `folder`, the queue of `backend`, which exists. Watching it again after it was removed and made anew
    /// is how the watch survives that.
    pub(super) fn add(&self, backend: &BackendName, folder: &Path) -> notify::Result<Changes> {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let counter = counters.entry(backend.as_str().into()).or_insert_with(|| watch::Sender::new(0));
        let changes = Changes::new(counter.subscribe());
        drop(counters);
        let mut slot = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        let watcher = match slot.take() {
            Some(watcher) => slot.insert(watcher),
            None => slot.insert(notify::recommended_watcher(teller(Arc::clone(&self.counters)))?),
        };
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
        Ok(changes)
    }
}

/// Moves the counter of each queue in which a job has appeared or was written to its end.
fn teller(counters: Counters) -> impl Fn(notify::Result<Event>) {
    move |event| {
        let counters = counters.lock().unwrap_or_else(PoisonError::into_inner);
        let tell = |counter: &watch::Sender<u64>| counter.send_modify(|count| *count = count.wrapping_add(1));
        match event {
            Ok(event) if event.need_rescan() => counters.values().for_each(tell),
            Ok(event) if is_arrival(event.kind) => {
                event
                    .paths
                    .iter()
                    .filter_map(|path| queue_of(path))
                    .filter_map(|queue| counters.get(&queue))
                    .for_each(tell);
            }
            Ok(_) => {}
            // The slow look at the queue goes on in any case.
            Err(error) => tracing::debug!(%error, "the watch of the queues reports an error"),
        }
    }
}

fn is_arrival(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Create(_)
            | EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Both | RenameMode::Any))
            | EventKind::Access(AccessKind::Close(AccessMode::Write))
    )
}

/// The name of the queue's folder, if the path is that of a job in it.
fn queue_of(path: &Path) -> Option<OsString> {
    let is_job = path.extension().is_some_and(|extension| extension == "json");
    is_job.then(|| path.parent()?.file_name().map(ToOwned::to_owned))?
}
