//! Follows the queues of all backends by one open request.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;

use super::client::Client;
use super::error::CallError;
use super::queues::Queues;

/// How long one request waits for a change. After that the queues are looked at in any case.
const POLL: Duration = Duration::from_secs(240);

/// How often to look where the service cannot tell: a firewall may stand between.
const LOOK: Duration = Duration::from_secs(5);

/// How long to wait after a failure at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The task that follows; it ends with this value.
#[derive(Default)]
pub(super) struct Watch(Mutex<Option<AbortHandle>>);

impl Watch {
    /// Makes sure that the queues are followed.
    pub(super) fn begin(&self, client: &Arc<Client>, queues: &Arc<Queues>) {
        let mut task = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if task.as_ref().is_none_or(AbortHandle::is_finished) {
            let follower = Follower { client: Arc::clone(client), queues: Arc::clone(queues) };
            *task = Some(TaskTracker::new().spawn(follower.follow()).abort_handle());
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(task) = self.0.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

struct Follower {
    client: Arc<Client>,
    queues: Arc<Queues>,
}

impl Follower {
    async fn follow(self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let failed = match self.queues.begin().await {
                Ok(cursor) => {
                    pause = FIRST_PAUSE;
                    self.keep_up(cursor).await
                }
                Err(error) => error,
            };
            self.queues.lose_sight();
            if failed.is("reset") {
                tracing::debug!(storage = %self.client.storage(), "the queues are listed anew");
                continue;
            }
            let error = failed.of("cannot follow the queues");
            tracing::debug!(storage = %self.client.storage(), %error, "trying again");
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..=1.0))).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Follows until that is not possible any more.
    async fn keep_up(&self, mut cursor: String) -> CallError {
        let mut failures = 0u32;
        loop {
            let mut rest = Duration::ZERO;
            match self.client.wait_for_change(&cursor, POLL).await {
                Ok(backoff) => {
                    failures = 0;
                    rest = backoff;
                }
                Err(error) if error.is("reset") => return error,
                Err(error) => {
                    failures += 1;
                    // One may be a connection that was closed for age.
                    if failures > 1 {
                        let error = error.of("cannot wait for changes");
                        if failures == 2 {
                            let every_s = LOOK.as_secs();
                            tracing::warn!(storage = %self.client.storage(), %error, every_s, "looking at the queues instead");
                        }
                        rest = LOOK;
                    }
                }
            }
            cursor = match self.queues.catch_up(cursor).await {
                Ok(cursor) => cursor,
                Err(error) => return error,
            };
            tokio::time::sleep(rest).await;
        }
    }
}
