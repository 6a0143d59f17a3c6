//! The words that are exchanged with the device, one step after the other.

use std::thread;

use qspool_driver::{Deadline, DriverError, ErrorClass};
use qspool_serial::LinePort;

use crate::expression::Scope;
use crate::file::{LineFile, Values};
use crate::steps::{Pattern, Step};

/// More errors than this are not read out of a device at a time.
const MOST_ERRORS: usize = 32;

/// A port, with the file that says what is spoken on it.
pub(crate) struct Speaker<'a> {
    pub(crate) file: &'a LineFile,
    pub(crate) port: &'a mut LinePort,
}

impl Speaker<'_> {
    /// An error about this device.
    pub(crate) fn fail(&self, class: ErrorClass, what: &str) -> DriverError {
        DriverError::new(class, format!("{} at {}: {what}", self.file.name, self.port.settings().path.display()))
    }

    /// Takes steps whose lines are the same each time.
    pub(crate) fn steps(&mut self, steps: &[Step], deadline: Deadline) -> Result<Vec<String>, DriverError> {
        let file = self.file;
        self.steps_with(steps, || Scope::new(&file.constants), deadline)
    }

    /// Takes steps, and returns what is to be reported.
    pub(crate) fn steps_with<'b>(
        &mut self,
        steps: &[Step],
        scope: impl Fn() -> Scope<'b>,
        deadline: Deadline,
    ) -> Result<Vec<String>, DriverError> {
        let mut reported = Vec::new();
        for step in steps {
            let line = step.send.line(&scope());
            let line = line.map_err(|what| self.fail(ErrorClass::Configuration, &format!("{}: {what}", step.key)))?;
            if let Some(report) = self.step(step, &line, deadline)? {
                reported.push(report);
            }
        }
        Ok(reported)
    }

    /// Sends the line of a step and checks the reply.
    pub(crate) fn step(&mut self, step: &Step, line: &str, deadline: Deadline) -> Result<Option<String>, DriverError> {
        let Some(expect) = &step.expect else {
            self.port.tell(line, deadline)?;
            thread::sleep(step.wait.min(deadline.remaining()));
            return Ok(None);
        };
        let reply = self.ask(&step.key, line, expect, deadline.at_most(step.timeout))?;
        thread::sleep(step.wait.min(deadline.remaining()));
        Ok(step.read_back.as_ref().map(|name| {
            let groups = expect.groups(&reply);
            let value =
                groups.as_ref().and_then(|groups| groups.name("value")).map_or(reply.as_str(), |value| value.as_str());
            format!("{name}: {value}")
        }))
    }

    /// Sends a line whose reply has to look so.
    pub(crate) fn ask(
        &mut self,
        key: &str,
        line: &str,
        expect: &Pattern,
        deadline: Deadline,
    ) -> Result<String, DriverError> {
        let reply = self.port.ask(line, deadline)?;
        if expect.matches(&reply) {
            return Ok(reply);
        }
        self.port.lose_place();
        let what = format!("unexpected answer to {key}; expected {:?}", expect.text());
        Err(self.fail(ErrorClass::Retry, &what).sent(line).answered(reply))
    }

    /// Reads the errors that the device has kept, until there are none.
    pub(crate) fn read_errors(&mut self, deadline: Deadline) -> Result<Vec<String>, DriverError> {
        let mut found = Vec::new();
        let Some(errors) = &self.file.errors else { return Ok(found) };
        while found.len() < MOST_ERRORS {
            let reply = self.port.ask(&errors.query, deadline.at_most(self.file.timeout))?;
            if errors.none.matches(&reply) {
                return Ok(found);
            }
            found.push(reply);
        }
        self.port.lose_place();
        let what = format!("reports more than {MOST_ERRORS} errors; check `errors.none` in the file");
        Err(self.fail(ErrorClass::Device, &what).sent(&errors.query).answered(found.join("; ")))
    }

    /// An error when the device has kept any; `after` is what it was asked to do.
    pub(crate) fn check_errors(&mut self, after: &str, deadline: Deadline) -> Result<(), DriverError> {
        let found = self.read_errors(deadline)?;
        if found.is_empty() {
            return Ok(());
        }
        Err(self.fail(ErrorClass::Retry, &format!("it reports errors after {after}")).answered(found.join("; ")))
    }

    /// Reads the values of one shot.
    pub(crate) fn values(
        &mut self,
        measured: &[u32],
        (shot, shots): (u32, u32),
        deadline: Deadline,
    ) -> Result<Vec<i64>, DriverError> {
        let file = self.file;
        let rules = &file.result;
        let scope = || Scope::new(&file.constants).with("shot", f64::from(shot)).with("shots", f64::from(shots));
        let question = |speaker: &mut Self, scope: Scope<'_>| {
            let line = rules.send.line(&scope);
            let line = line.map_err(|what| speaker.fail(ErrorClass::Configuration, &format!("result.send: {what}")))?;
            let deadline = deadline.at_most(file.timeout);
            let reply = match &rules.expect {
                Some(expect) => speaker.ask("result.send", &line, expect, deadline)?,
                None => speaker.port.ask(&line, deadline)?,
            };
            Ok::<_, DriverError>((line, reply))
        };
        if measured.is_empty() {
            return Ok(Vec::new());
        }
        let each = match &rules.values {
            Values::PerWire => {
                let mut values = Vec::with_capacity(measured.len());
                for &wire in measured {
                    let (line, reply) = question(self, scope().with("w", f64::from(wire)))?;
                    let groups = rules.expect.as_ref().and_then(|expect| expect.groups(&reply));
                    let text = groups.as_ref().and_then(|groups| groups.name("value")).map(|value| value.as_str());
                    values.push(self.value(text, wire, &line, &reply)?);
                }
                return Ok(values);
            }
            Values::OfWires(each) | Values::OfMeasures(each) => each,
        };
        let is_by_wire = matches!(rules.values, Values::OfWires(_));
        let (line, reply) = question(self, scope())?;
        let texts: Vec<&str> = each.find_iter(&reply).map(|found| found.as_str()).collect();
        let needed = if is_by_wire { file.num_wires as usize } else { measured.len() };
        if texts.len() != needed {
            self.port.lose_place();
            let what = format!("{} values, {needed} are expected", texts.len());
            return Err(self.fail(ErrorClass::Retry, &what).sent(line).answered(reply));
        }
        let of = |(index, &wire): (usize, &u32)| {
            let text = texts.get(if is_by_wire { wire as usize } else { index }).copied();
            self.value(text, wire, &line, &reply)
        };
        measured.iter().enumerate().map(of).collect()
    }

    /// One value as an integer within its limits.
    fn value(&self, text: Option<&str>, wire: u32, line: &str, reply: &str) -> Result<i64, DriverError> {
        let rules = &self.file.result;
        let fail = |what: String| Err(self.fail(ErrorClass::Retry, &what).sent(line).answered(reply));
        let text = text.unwrap_or_default().trim();
        #[expect(clippy::cast_precision_loss, reason = "no device counts that far")]
        let raw = if rules.radix == 10 {
            text.parse().ok().filter(|value: &f64| value.is_finite())
        } else {
            i64::from_str_radix(text, rules.radix).ok().map(|value| value as f64)
        };
        let Some(raw) = raw else { return fail(format!("the value of wire {wire} is no number: {text:?}")) };
        let value = match &rules.formula {
            None if (raw - raw.round()).abs() > f64::EPSILON => {
                return fail(format!("the value of wire {wire} is not whole: {raw}; a `result.formula` may round it"));
            }
            None => raw,
            Some(formula) => {
                let scope = Scope::new(&self.file.constants).with("value", raw).with("w", f64::from(wire));
                match formula.value(&scope) {
                    Ok(value) => value.round(),
                    Err(what) => return fail(format!("result.formula: {what}")),
                }
            }
        };
        #[expect(clippy::cast_possible_truncation, reason = "beyond the limits it is refused just below")]
        let value = value as i64;
        if !(rules.min..=rules.max).contains(&value) {
            return fail(format!("the value of wire {wire} is {value}; allowed are {} to {}", rules.min, rules.max));
        }
        Ok(value)
    }
}
