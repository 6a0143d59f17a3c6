//! Takes the shots of a device, and trusts none of them.

use qspool_driver::{DriverError, ErrorClass, Outcome, Program, ShotSink};

/// Collects the shots of one program.
pub(super) struct Shots {
    outcome: Outcome,
    count: u32,
    asked: u32,
    values: usize,
    largest: i64,
    defect: Option<String>,
}

impl Shots {
    /// For a program of which no value may be above `largest`.
    pub(super) fn of(program: &Program, largest: i64) -> Self {
        Self {
            outcome: Outcome::default(),
            count: 0,
            asked: program.shots,
            values: program.measured_values(),
            largest,
            defect: None,
        }
    }

    /// The outcome, if it is what was asked for.
    ///
    /// # Errors
    ///
    /// A driver that gave other shots than it was asked for: its device is not to be trusted any more.
    pub(super) fn finish(self) -> Result<Outcome, DriverError> {
        let defect = self.defect.or_else(|| {
            let is_short = self.count != self.asked;
            is_short.then(|| format!("gave {} shots where {} were asked for", self.count, self.asked))
        });
        match defect {
            None => Ok(self.outcome),
            Some(what) => Err(DriverError::new(ErrorClass::Device, format!("the driver {what}"))),
        }
    }
}

impl ShotSink for Shots {
    fn shot(&mut self, values: &[i64]) {
        if self.defect.is_some() {
            return;
        }
        self.count += 1;
        if self.count > self.asked {
            self.defect = Some(format!("gave more than the {} shots that were asked for", self.asked));
        } else if values.len() != self.values {
            self.defect = Some(format!("gave {} values in a shot of {}", values.len(), self.values));
        } else if let Some(value) = values.iter().find(|value| !(0..=self.largest).contains(*value)) {
            self.defect = Some(format!("gave the value {value}; allowed: 0 to {}", self.largest));
        } else {
            self.outcome.push(values);
        }
    }
}
