//! What a run is given, and what it gives back.

use std::thread;
use std::time::Duration;

use crate::{Deadline, Outcome, StopFlag};

/// How long a run sleeps at most before it looks whether it is to stop.
const GLANCE: Duration = Duration::from_millis(20);

/// What a prepared run will take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunPlan {
    /// How long one shot takes on the device.
    pub per_shot: Duration,
    /// How long all of them take together, with what lies between them.
    pub total: Duration,
}

/// How a run is told to stop.
#[derive(Debug, Clone)]
pub struct RunControl {
    /// Stop at once, wherever the device is.
    pub now: StopFlag,
    /// Stop when the shot that runs is over.
    pub after_shot: StopFlag,
    /// When all shots have to be there.
    pub deadline: Deadline,
}

impl RunControl {
    /// A run that nobody has told to stop.
    pub fn until(deadline: Deadline) -> Self {
        Self { now: StopFlag::default(), after_shot: StopFlag::default(), deadline }
    }

    /// Whether the next shot should not begin.
    pub fn is_stopped(&self) -> bool {
        self.now.is_raised() || self.after_shot.is_raised()
    }

    /// Sleeps until then, unless the run is to stop at once or its deadline is over; `false` when it is to stop.
    pub fn sleep_until(&self, then: Deadline) -> bool {
        while !self.now.is_raised() && !then.is_over() && !self.deadline.is_over() {
            thread::sleep(then.remaining().min(self.deadline.remaining()).min(GLANCE));
        }
        !self.now.is_raised()
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEnd {
    /// All shots were handed over.
    Complete,
    /// It was told to stop; what was handed over before is whole.
    Stopped,
}

/// Takes the shots of a run, one after the other, as soon as they are there.
pub trait ShotSink {
    /// Takes the next shot: one integer per measured wire, in the order of the `measure` instructions.
    fn shot(&mut self, values: &[i64]);
}

/// Takes whatever it is given.
impl ShotSink for Outcome {
    fn shot(&mut self, values: &[i64]) {
        self.push(values);
    }
}
