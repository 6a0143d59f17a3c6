//! The server's time, so that the clocks of the machines that share leases do not matter.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mongodb::bson::DateTime;

/// How many of the last measurements count.
const KEPT: usize = 5;

/// Tells the server's time from measurements of it and a clock that nobody sets.
pub(super) struct Clock {
    begin: Instant,
    /// The server's time at `begin`, in milliseconds since 1970, as each measurement says.
    measured: Mutex<VecDeque<i64>>,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { begin: Instant::now(), measured: Mutex::default() }
    }

    /// Takes in that the server said `time` to a question asked `before` and answered `after`.
    pub(super) fn learn(&self, before: Instant, after: Instant, time: DateTime) {
        let middle = before.duration_since(self.begin) + after.duration_since(before) / 2;
        let mut measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        measured.push_back(time.timestamp_millis().saturating_sub(milliseconds(middle)));
        while measured.len() > KEPT {
            measured.pop_front();
        }
    }

    /// The time at the server. Before any measurement it is taken to be that of this machine.
    pub(super) fn now(&self) -> DateTime {
        let measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sorted: Vec<i64> = measured.iter().copied().collect();
        drop(measured);
        sorted.sort_unstable();
        match sorted.get(sorted.len() / 2) {
            Some(begin) => DateTime::from_millis(begin.saturating_add(milliseconds(self.begin.elapsed()))),
            None => DateTime::from_millis(Timestamp::now().as_millisecond()),
        }
    }

    /// The time at the server at a time of this machine.
    pub(super) fn at(&self, time: Timestamp) -> DateTime {
        let ago = Timestamp::now().as_millisecond().saturating_sub(time.as_millisecond());
        self.now().saturating_add_millis(ago.saturating_neg())
    }
}

/// A date some time later.
pub(super) fn later(date: DateTime, by: Duration) -> DateTime {
    date.saturating_add_millis(milliseconds(by))
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bad_measurement_does_not_move_the_clock() {
        let clock = Clock::new();
        let server = 1_000_000_000;
        for time in [server, server + 3, server + 3_600_000, server - 2, server] {
            let now = Instant::now();
            clock.learn(now, now, DateTime::from_millis(time));
        }
        assert!((clock.now().timestamp_millis() - server).abs() < 1000, "{}", clock.now());
        let ago = clock.at(Timestamp::now() - Duration::from_secs(60)).timestamp_millis();
        assert!((ago - (server - 60_000)).abs() < 1000, "{ago}");
    }
}
