//! Waiting between attempts.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::storage::{StorageError, StorageErrorKind};

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(5);

/// The longest wait after a login was refused: that takes a person to mend, and some media lock out who asks too often.
const LONGEST_AFTER_DENIAL: Duration = Duration::from_secs(60);

/// How long nothing is said of a failure that goes on.
const SILENCE: Duration = Duration::from_secs(60);

/// Growing, jittered waits: 50 ms at first, doubled each time up to 5 s, or 60 s where a login was refused, each between
/// half and the whole of that.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { next: FIRST }
    }

    /// Waits after a failure, and says whether to go on: false when `stop` came first.
    pub(super) async fn wait_after(&mut self, error: &StorageError, stop: &CancellationToken) -> bool {
        let is_denial = error.kind() == StorageErrorKind::Denied;
        let longest = if is_denial { LONGEST_AFTER_DENIAL } else { LONGEST };
        let pause = self.next.min(longest).mul_f64(rand::random_range(0.5..=1.0));
        self.next = (self.next * 2).min(longest);
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
                if !backoff.wait_after(&error, stop).await {
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
