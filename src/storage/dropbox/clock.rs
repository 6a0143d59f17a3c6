//! What time it is at the service: leases end by its clock, so that no computer's own clock matters.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// A moment by both clocks of this machine. One of them stands still while the machine sleeps, the other may be set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    steady: Instant,
    wall: Timestamp,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self { steady: Instant::now(), wall: Timestamp::now() }
    }

    /// The least and the most time that may have passed since.
    fn elapsed(&self, now: &Self) -> (Duration, Duration) {
        let steady = now.steady.duration_since(self.steady);
        let wall = Duration::try_from(now.wall.duration_since(self.wall)).unwrap_or_default();
        (steady.min(wall), steady.max(wall))
    }

    /// The most time that may have passed since.
    pub(super) fn longest_elapsed(&self) -> Duration {
        self.elapsed(&Self::now()).1
    }
}

/// Follows the clock of the service by the dates of its answers.
#[derive(Default)]
pub(super) struct ServerClock(Mutex<Option<Bounds>>);

/// Between which times the service's clock stood at a moment.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    earliest: Timestamp,
    latest: Timestamp,
    at: Moment,
}

impl Bounds {
    fn advanced_to(&self, now: Moment) -> Self {
        let (least, most) = self.at.elapsed(&now);
        Self { earliest: later(self.earliest, least), latest: later(self.latest, most), at: now }
    }
}

/// The time after `duration`; the end of all times where that is too far.
pub(super) fn later(time: Timestamp, duration: Duration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}

impl ServerClock {
    /// Takes the `Date` of an answer, in whole seconds, to a request that was sent at `sent`.
    pub(super) fn observe(&self, date: &str, sent: Moment) {
        let Ok(date) = jiff::fmt::rfc2822::parse(date) else { return };
        let date = date.timestamp();
        let now = Moment::now();
        // The date was cut to the second, somewhere between the request and now.
        let latest = later(date, sent.elapsed(&now).1 + Duration::from_secs(1));
        let new = Bounds { earliest: date, latest, at: now };
        let mut bounds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let both = bounds.map(|known| known.advanced_to(now)).map(|known| Bounds {
            earliest: known.earliest.max(new.earliest),
            latest: known.latest.min(new.latest),
            at: now,
        });
        // Where the two exclude each other a clock was set, and the answer is right.
        *bounds = Some(both.filter(|both| both.earliest <= both.latest).unwrap_or(new));
    }

    fn bounds(&self) -> Bounds {
        let now = Moment::now();
        let bounds = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bounds.map_or(Bounds { earliest: now.wall, latest: now.wall, at: now }, |known| known.advanced_to(now))
    }

    /// The service's clock does not stand before this.
    pub(super) fn earliest_now(&self) -> Timestamp {
        self.bounds().earliest
    }

    /// The service's clock does not stand after this.
    pub(super) fn latest_now(&self) -> Timestamp {
        self.bounds().latest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_follows_the_answers_and_not_this_machine() {
        let clock = ServerClock::default();
        clock.observe("Sun, 06 Nov 1994 08:49:37 GMT", Moment::now());
        let second = |text: &str| text.parse::<Timestamp>().expect("a time");
        assert!(clock.earliest_now() >= second("1994-11-06T08:49:37Z"));
        assert!(clock.latest_now() >= second("1994-11-06T08:49:38Z"));
        assert!(clock.latest_now() < second("1994-11-06T08:49:40Z"));
        // A second answer narrows it: the clock cannot have stood at 37.9 when it now stands at 38 and no time passed.
        clock.observe("Sun, 06 Nov 1994 08:49:38 GMT", Moment::now());
        assert!(clock.earliest_now() >= second("1994-11-06T08:49:38Z"));
        assert!(clock.latest_now() < second("1994-11-06T08:49:39Z"));
        clock.observe("Sun, 06 Nov 1994 09:00:00 GMT", Moment::now());
        assert!(clock.earliest_now() >= second("1994-11-06T09:00:00Z"), "the answer is right");
        clock.observe("some time ago", Moment::now());
        assert!(clock.latest_now() < second("1994-11-06T09:00:03Z"));
    }
}
