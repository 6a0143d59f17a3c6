//! Word of changes in queues, from whatever notices them to whoever waits.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::job::BackendName;

/// Tells that a queue may have changed. Changes between two waits are not missed.
#[derive(Debug, Clone)]
pub struct Changes(watch::Receiver<u64>);

impl Changes {
    /// Waits for a change since the last call. If the medium has stopped watching it never returns: whoever waits has
    /// a slow look of its own beside it.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The queues that somebody follows, each with a counter that moves at each change.
#[derive(Debug, Default)]
pub(super) struct FollowedQueues(Mutex<HashMap<String, watch::Sender<u64>>>);

impl FollowedQueues {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows the queue of a backend from now on.
    pub(super) fn follow(&self, backend: &BackendName) -> Changes {
        let mut queues = self.lock();
        Changes(queues.entry(backend.to_string()).or_insert_with(|| watch::Sender::new(0)).subscribe())
    }

    /// Tells of a change in the queue of the backend of this name, if anybody follows it.
    pub(super) fn tell(&self, backend: &str) {
        self.lock().get(backend).into_iter().for_each(count);
    }

    /// Tells of a change that may be in any queue.
    pub(super) fn tell_all(&self) {
        self.lock().values().for_each(count);
    }
}

fn count(counter: &watch::Sender<u64>) {
    counter.send_modify(|count| *count = count.wrapping_add(1));
}
