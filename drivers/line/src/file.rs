//! A file that was checked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use qspool_serial::PortSettings;
use regex::Regex;

use crate::error::FileError;
use crate::expression::Expression;
use crate::param::Param;
use crate::raw::RawFile;
use crate::simulate::{LineSimulation, Rules};
use crate::steps::{Pattern, Progress, Step};
use crate::template::Template;
use crate::toml_file::{read, read_toml};

/// The description of a device, read from a file and checked.
#[derive(Debug, Clone)]
pub struct LineFile {
    pub(crate) path: PathBuf,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) vendor: String,
    pub(crate) model: String,
    pub(crate) num_wires: u32,
    pub(crate) max_shots: u32,
    /// Its path is set by the driver.
    pub(crate) port: PortSettings,
    pub(crate) timeout: Duration,
    pub(crate) alarm: Option<Pattern>,
    pub(crate) identify: Identify,
    pub(crate) init: Vec<Step>,
    pub(crate) safe: Vec<Step>,
    pub(crate) stop: Option<Vec<Step>>,
    pub(crate) health: Option<HealthQuery>,
    pub(crate) errors: Option<ErrorQuery>,
    pub(crate) calibration: Option<String>,
    pub(crate) constants: BTreeMap<String, f64>,
    pub(crate) gates: Vec<Gate>,
    pub(crate) program: ProgramRules,
    pub(crate) shot: Shot,
    pub(crate) result: ResultRules,
    pub(crate) simulate: Option<Rules>,
}

#[derive(Debug, Clone)]
pub(crate) struct Identify {
    pub(crate) send: String,
    pub(crate) expect: Pattern,
    pub(crate) firmware_min: Option<Vec<u64>>,
    pub(crate) firmware_max: Option<Vec<u64>>,
    /// As it was written, for people.
    pub(crate) firmware: String,
}

#[derive(Debug, Clone)]
pub(crate) struct HealthQuery {
    pub(crate) send: String,
    pub(crate) expect: Pattern,
    pub(crate) good: Pattern,
}

#[derive(Debug, Clone)]
pub(crate) struct ErrorQuery {
    pub(crate) query: String,
    pub(crate) none: Pattern,
}

/// An instruction that the device takes.
#[derive(Debug, Clone)]
pub struct Gate {
    /// Its name in a program.
    pub name: String,
    /// What it does, for people; may be empty.
    pub description: String,
    /// On how many wires it acts.
    pub wires: WireCount,
    /// The only lists of wires that it takes; empty where all are allowed.
    pub allowed_wires: Vec<Vec<u32>>,
    /// Its parameters, in their order.
    pub params: Vec<Param>,
    pub(crate) emit: Vec<Step>,
    pub(crate) duration: Expression,
}

/// On how many wires a gate acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireCount {
    /// On so many.
    Exactly(u32),
    /// On any number of them. A line that names the wire `w` is sent for each.
    Any,
}

#[derive(Debug, Clone)]
pub(crate) struct ProgramRules {
    pub(crate) begin: Vec<Step>,
    pub(crate) end: Vec<Step>,
    pub(crate) max_rows: u32,
    pub(crate) duration: Expression,
    pub(crate) max_duration_s: f64,
}

#[derive(Debug, Clone)]
pub(crate) struct Shot {
    pub(crate) start: Vec<Step>,
    pub(crate) end: EndOfShot,
    pub(crate) timeout: Expression,
}

#[derive(Debug, Clone)]
pub(crate) enum EndOfShot {
    /// The device is asked.
    Poll { send: Template, every: Duration, after: Duration, progress: Progress },
    /// The device says so by itself.
    Wait { progress: Progress },
}

#[derive(Debug, Clone)]
pub(crate) struct ResultRules {
    pub(crate) send: Template,
    pub(crate) expect: Option<Pattern>,
    pub(crate) values: Values,
    pub(crate) radix: u32,
    pub(crate) formula: Option<Expression>,
    pub(crate) min: i64,
    pub(crate) max: i64,
}

#[derive(Debug, Clone)]
pub(crate) enum Values {
    /// One question for each measured wire; the group `value` of the reply.
    PerWire,
    /// One question; what these pieces of the reply are, one for each wire of the device.
    OfWires(Regex),
    /// One question; what these pieces of the reply are, one for each measured wire.
    OfMeasures(Regex),
}

impl LineFile {
    /// Reads a file and checks everything that can be checked without the device.
    ///
    /// # Errors
    ///
    /// The first mistake: the key, what was found there, and what is allowed.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, FileError> {
        let path = path.as_ref();
        Self::parse(path, &read(path, path, "")?)
    }

    /// The same with the text of the file at hand; `path` is for messages, and other files are looked for beside it.
    pub fn parse(path: impl AsRef<Path>, text: &str) -> Result<Self, FileError> {
        let path = path.as_ref();
        crate::check::check(path, &read_toml::<RawFile>(path, "", text)?)
    }

    /// The name of the device in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version of the file, as it says itself; may be empty.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The instructions that the device takes, in the order of their names.
    pub fn gates(&self) -> &[Gate] {
        &self.gates
    }

    /// What stands in for the device; none where the file has no `[simulate]`.
    pub fn simulation(&self) -> Option<LineSimulation> {
        self.simulate.clone().map(|rules| LineSimulation::new(rules, self.port.line_end))
    }
}
