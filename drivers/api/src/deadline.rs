//! How long one request may take.

use std::time::{Duration, Instant};

/// The moment at which one request has to be over, counted from its start over all its reads and writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    begin: Instant,
    end: Instant,
}

/// A time that no clock can count is as good as this one.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

impl Deadline {
    /// So long from now.
    pub fn after(time: Duration) -> Self {
        let begin = Instant::now();
        Self { begin, end: begin + time.min(CENTURY) }
    }

    /// What is left of it; zero when it is over.
    pub fn remaining(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        self.remaining().is_zero()
    }

    /// How long the request was given.
    pub fn given(&self) -> Duration {
        self.end - self.begin
    }

    /// The earlier one of this and so long from now.
    #[must_use]
    pub fn at_most(self, time: Duration) -> Self {
        let other = Self::after(time);
        if other.end < self.end { other } else { self }
    }
}
