//! Notices new jobs by the kernel's own messages.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use crate::job::BackendName;
use crate::storage::Changes;
use crate::storage::changes::FollowedQueues;

/// Watches the folders of queues.
pub(super) struct QueueWatch {
    watcher: Mutex<Option<RecommendedWatcher>>,
    queues: Arc<FollowedQueues>,
}

impl QueueWatch {
    pub(super) fn new() -> Self {
        Self { watcher: Mutex::new(None), queues: Arc::default() }
    }

    /// Watches `folder`, the queue of `backend`, which exists. Watching it again after it was removed and made anew
    /// is how the watch survives that.
    pub(super) fn add(&self, backend: &BackendName, folder: &Path) -> notify::Result<Changes> {
        let changes = self.queues.follow(backend);
        let mut slot = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        let watcher = match slot.take() {
            Some(watcher) => slot.insert(watcher),
            None => slot.insert(notify::recommended_watcher(teller(Arc::clone(&self.queues)))?),
        };
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
        Ok(changes)
    }
}

/// Tells of each queue in which a job has appeared or was written to its end.
fn teller(queues: Arc<FollowedQueues>) -> impl Fn(notify::Result<Event>) {
    move |event| match event {
        Ok(event) if event.need_rescan() => queues.tell_all(),
        Ok(event) if is_arrival(event.kind) => {
            event.paths.iter().filter_map(|path| queue_of(path)).for_each(|queue| queues.tell(queue));
        }
        Ok(_) => {}
        // The slow look at the queue goes on in any case.
        Err(error) => tracing::debug!(%error, "the watch of the queues reports an error"),
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
fn queue_of(path: &Path) -> Option<&str> {
    let is_job = path.extension().is_some_and(|extension| extension == "json");
    if is_job { path.parent()?.file_name()?.to_str() } else { None }
}
