//! Checks of single values of a file.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use qspool_serial::PortSettings;

use crate::error::{FileError, unknown};
use crate::expression::{Expression, Scope};
use crate::raw::RawStep;
use crate::steps::{Pattern, Step};
use crate::template::Template;

/// A name that a formula may use, with its smallest and largest value.
pub(crate) type Named<'a> = (&'a str, f64, f64);

/// With more names than this, a formula is tried with all of them small and all of them large only.
const MOST_CORNERS: usize = 10;

/// What every check of a value has to know.
pub(crate) struct Checker<'a> {
    pub(crate) file: &'a Path,
    pub(crate) port: &'a PortSettings,
    pub(crate) timeout: Duration,
    pub(crate) acknowledge: Option<Pattern>,
    pub(crate) constants: &'a BTreeMap<String, f64>,
}

impl Checker<'_> {
    pub(crate) fn fail<T>(&self, key: &str, what: impl Into<String>) -> Result<T, FileError> {
        Err(FileError::new(self.file, key, what))
    }

    pub(crate) fn at<T>(&self, key: &str, result: Result<T, String>) -> Result<T, FileError> {
        result.or_else(|what| self.fail(key, what))
    }

    pub(crate) fn pattern(&self, key: &str, text: &str) -> Result<Pattern, FileError> {
        self.at(key, Pattern::parse(text))
    }

    pub(crate) fn duration(&self, key: &str, seconds: f64) -> Result<Duration, FileError> {
        if !(0.0..=1e6).contains(&seconds) {
            return self.fail(key, format!("{seconds} s; allowed are 0 to 1000000"));
        }
        Ok(Duration::from_secs_f64(seconds))
    }

    /// A line that is sent as it stands.
    pub(crate) fn plain(&self, key: &str, text: &str) -> Result<String, FileError> {
        self.sendable(key, text)?;
        Ok(text.to_owned())
    }

    /// A line with formulas, tried with the smallest and largest values of all names in it.
    pub(crate) fn template(&self, key: &str, text: &str, names: &[Named<'_>]) -> Result<Template, FileError> {
        let template = self.at(key, Template::parse(text))?;
        self.known(key, &template.names(), names)?;
        for scope in self.corners(&template.names(), names) {
            let line = self.at(key, template.line(&scope))?;
            self.sendable(key, &line)?;
        }
        Ok(template)
    }

    /// A formula, tried in the same way, with what its value has to be.
    pub(crate) fn formula(
        &self,
        key: &str,
        formula: &Expression,
        names: &[Named<'_>],
        allowed: std::ops::RangeInclusive<f64>,
    ) -> Result<Expression, FileError> {
        self.known(key, &formula.names(), names)?;
        for scope in self.corners(&formula.names(), names) {
            let value = self.at(key, formula.value(&scope))?;
            if !allowed.contains(&value) {
                let (min, max) = (allowed.start(), allowed.end());
                return self.fail(
                    key,
                    format!(
                        "{formula:?} can become {value}; allowed are {min} to {max}",
                        formula = formula.to_string()
                    ),
                );
            }
        }
        Ok(formula.clone())
    }

    /// Steps below `key`; where there are several, each has its number.
    pub(crate) fn steps(&self, key: &str, raw: &[RawStep], names: &[Named<'_>]) -> Result<Vec<Step>, FileError> {
        raw.iter().enumerate().map(|(index, step)| self.step(&format!("{key}[{index}]"), step, names)).collect()
    }

    fn step(&self, key: &str, raw: &RawStep, names: &[Named<'_>]) -> Result<Step, FileError> {
        let expect = match &raw.expect {
            Some(_) if raw.silent => return self.fail(key, "a step is either `silent` or has `expect`"),
            Some(text) => Some(self.pattern(&format!("{key}.expect"), text)?),
            None if raw.silent => None,
            None => self.acknowledge.clone(),
        };
        if raw.read_back.is_some() && expect.is_none() {
            return self.fail(key, "`read_back` needs `expect`: there is no reply to report");
        }
        let seconds = |name: &str, value: Option<f64>| {
            value.map(|seconds| self.duration(&format!("{key}.{name}"), seconds)).transpose()
        };
        Ok(Step {
            key: key.to_owned(),
            send: self.template(key, &raw.send, names)?,
            expect,
            timeout: seconds("timeout_s", raw.timeout_s)?.unwrap_or(self.timeout),
            wait: seconds("wait_s", raw.wait_s)?.unwrap_or_default(),
            read_back: raw.read_back.clone(),
        })
    }

    fn known(&self, key: &str, used: &[&str], names: &[Named<'_>]) -> Result<(), FileError> {
        let constants = self.constants.keys().map(String::as_str);
        let allowed: Vec<&str> = names.iter().map(|(name, ..)| *name).chain(constants).collect();
        match used.iter().find(|name| !allowed.contains(name) && **name != "pi") {
            Some(name) => self.fail(key, format!("name {}", unknown(name, &allowed))),
            None => Ok(()),
        }
    }

    fn corners<'b>(&'b self, used: &[&str], names: &[Named<'b>]) -> Vec<Scope<'b>> {
        let used: Vec<&Named<'_>> = names.iter().filter(|(name, ..)| used.contains(name)).collect();
        let all = (1_usize << used.len().min(MOST_CORNERS)) - 1;
        let corners: Vec<usize> = if used.len() > MOST_CORNERS { vec![0, all] } else { (0..=all).collect() };
        let scope = |corner: &usize| {
            used.iter().enumerate().fold(Scope::new(self.constants), |scope, (index, &&(name, low, high))| {
                scope.with(name, if corner >> index.min(MOST_CORNERS - 1) & 1 == 0 { low } else { high })
            })
        };
        corners.iter().map(scope).collect()
    }

    /// Whether a line may be sent.
    fn sendable(&self, key: &str, line: &str) -> Result<(), FileError> {
        let length = line.len() + self.port.line_end.as_str().len();
        let longest = self.port.longest_sent;
        if length > longest {
            return self.fail(
                key,
                format!("the line {line:?} has {length} bytes with its end; allowed are {longest} (port.longest_line)"),
            );
        }
        if line.trim().is_empty() {
            return self.fail(key, "the line is empty");
        }
        if line.chars().any(char::is_control) {
            return self.fail(key, format!("the line {line:?} has a control character; its end is set by port.eol"));
        }
        match self.port.forbidden_beginning(line) {
            Some(begin) => {
                let what = format!(
                    "the line {line:?} begins with {begin:?}, which port.forbid forbids (set it to [] for a device that does not restart at it)"
                );
                self.fail(key, what)
            }
            None => Ok(()),
        }
    }
}
