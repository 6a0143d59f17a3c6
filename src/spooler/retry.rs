//! Waiting between attempts.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::storage::StorageError;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(5);

/// How long nothing is said of a failure that goes on.
const SILENCE: Duration = Duration::from_secs(60);

/// Growing, jittered waits: 50 ms at first, doubled each time up to 5 s, each between half and the whole of that.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { next: FIRST }
    }

    /// Waits, and says whether to go on: false when `stop` came first.
    pub(super) async fn wait(&mut self, stop: &CancellationToken) -> bool {
        let pause = self.next.mul_f64(rand::random_range(0.5..=1.0));
        self.next = (self.next * 2).min(LONGEST);
        tokio::select! {
            () = tokio::time::sleep(pause) => true,
            () = stop.cancelled() => false,
        }
    }

    /// Whether the last wait was the first one of a row of failures.
    pub(super) fn is_fresh(&self) -> bool {
        self.next == FIRST
    }

    /// Begins with short waits again.
    pub(super) fn reset(&mut self) {
        self.next = FIRST;
    }
}

/// Repeats `operation` while trying again may help. Gives up with the last error when `stop` comes.
pub(super) async fn retry<T, F: Future<Output = Result<T, StorageError>>>(
    stop: &CancellationToken,
    operation: impl Fn() -> F,
) -> Result<T, StorageError> {
    let mut backoff = Backoff::new();
    let mut next_word = Instant::now();
    loop {
        match operation().await {
            Err(error) if error.is_temporary() => {
                if Instant::now() >= next_word {
                    tracing::warn!(%error, "the storage does not take part; trying again until it does");
                    next_word = Instant::now() + SILENCE;
                }
                if !backoff.wait(stop).await {
                    return Err(error);
                }
            }
            result => {
                if !backoff.is_fresh() {
                    tracing::info!("the storage takes part again");
                }
                return result;
            }
        }
    }
}
