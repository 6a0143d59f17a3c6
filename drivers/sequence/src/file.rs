//! The file that describes the apparatus.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use qspool_line::expression::{Expression, Scope};
use qspool_line::{Calibration, CalibrationTable, FileError, Param, load_toml};
use serde::Deserialize;

/// A sequence of an hour is a mistake.
const LONGEST_S: f64 = 3600.0;

/// An apparatus: its calibration, what is connected to which output, and how gates become stages.
#[derive(Debug, Clone)]
pub struct SequenceFile {
    pub(crate) device: DeviceTable,
    pub(crate) calibration: Calibration,
    pub(crate) outputs: Outputs,
    /// The levels of the outputs in the safe state.
    pub(crate) safe: u16,
    pub(crate) gates: BTreeMap<String, Gate>,
    pub(crate) readout: Readout,
    pub(crate) simulate: Option<Simulate>,
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tables {
    device: DeviceTable,
    calibration: CalibrationTable,
    outputs: Outputs,
    /// The outputs that are high in the safe state.
    #[serde(default)]
    safe_high: Vec<String>,
    gates: BTreeMap<String, Gate>,
    readout: Readout,
    simulate: Option<Simulate>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeviceTable {
    pub(crate) name: String,
    pub(crate) num_wires: u32,
    pub(crate) max_shots: u32,
    /// How long a sequence may be, in s.
    #[serde(default = "a_minute")]
    pub(crate) max_duration_s: f64,
}

fn a_minute() -> f64 {
    60.0
}

/// The number of each output of the `PrawnDO`, by its name.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub(crate) struct Outputs(BTreeMap<String, u8>);

impl Outputs {
    /// The bits of these outputs.
    pub(crate) fn levels<'a>(&self, names: impl IntoIterator<Item = &'a String>) -> Result<u16, String> {
        names.into_iter().try_fold(0, |levels, name| match self.0.get(name) {
            Some(output @ 0..=15) => Ok(levels | 1 << output),
            Some(output) => Err(format!("output {name} is {output}; allowed are 0 to 15")),
            None => {
                let known = self.0.keys().cloned().collect::<Vec<_>>().join(", ");
                Err(format!("unknown output {name:?}; allowed are {known}"))
            }
        })
    }
}

/// How a gate becomes a stage.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gate {
    /// On how many wires it acts.
    #[serde(default)]
    pub(crate) wires: usize,
    #[serde(default)]
    pub(crate) params: Vec<Param>,
    /// The outputs that are switched for the duration.
    #[serde(default)]
    pub(crate) on: Vec<String>,
    pub(crate) duration_s: Expression,
    pub(crate) tone: Option<Tone>,
}

/// The tone of a stage; what is not said is the full amplitude, and no phase.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tone {
    pub(crate) hz: Expression,
    pub(crate) amplitude: Option<Expression>,
    pub(crate) phase_deg: Option<Expression>,
}

/// What is done for the measurement.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Readout {
    /// The file of the device that speaks lines; its `program` arms it, and its `shot` waits for its values.
    pub(crate) file: PathBuf,
    pub(crate) on: Vec<String>,
    pub(crate) duration_s: f64,
}

/// The atoms of the simulation.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Simulate {
    /// How many are loaded at most, and with which time constant in s.
    pub(crate) atoms: f64,
    pub(crate) loading_s: f64,
    /// The Rabi frequency at the full amplitude, and the frequency of the transition, in Hz.
    pub(crate) rabi_hz: f64,
    pub(crate) resonance_hz: f64,
    /// The outputs that load, drive and image them.
    pub(crate) load: String,
    pub(crate) drive: String,
    pub(crate) image: String,
}

impl SequenceFile {
    /// Reads and checks a file. The files of the read-out and of the calibration are named from its folder.
    ///
    /// # Errors
    ///
    /// What is wrong with it, with the key.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        let Tables { device, calibration, outputs, safe_high, gates, mut readout, simulate } = load_toml(path)?;
        readout.file = path.parent().unwrap_or(Path::new("")).join(&readout.file);
        let levels =
            |key: &str, names: &[String]| outputs.levels(names).map_err(|what| FileError::new(path, key, what));
        levels("outputs", &outputs.0.keys().cloned().collect::<Vec<_>>())?;
        let safe = levels("safe_high", &safe_high)?;
        levels("readout.on", &readout.on)?;
        if let Some(Simulate { load, drive, image, .. }) = &simulate {
            levels("simulate", &[load, drive, image].map(Clone::clone))?;
        }
        let file = Self { calibration: calibration.load(path)?, device, outputs, safe, gates, readout, simulate };
        file.check().map_err(|(key, what)| FileError::new(path, key, what))?;
        Ok(file)
    }

    /// What is wrong with it, with the key.
    fn check(&self) -> Result<(), (String, String)> {
        let DeviceTable { num_wires, max_shots, max_duration_s, .. } = self.device;
        let fail = |key: &str, what: String| Err((key.to_owned(), what));
        if !(1..=64).contains(&num_wires) {
            return fail("device.num_wires", format!("{num_wires}; allowed are 1 to 64"));
        }
        if !(1..=1_000_000).contains(&max_shots) {
            return fail("device.max_shots", format!("{max_shots}; allowed are 1 to 1000000"));
        }
        if !(1e-3..=LONGEST_S).contains(&max_duration_s) {
            return fail("device.max_duration_s", format!("{max_duration_s}; allowed are 0.001 to {LONGEST_S}"));
        }
        if !(1e-6..=10.0).contains(&self.readout.duration_s) {
            return fail("readout.duration_s", format!("{}; allowed are 1e-6 to 10", self.readout.duration_s));
        }
        for (name, gate) in &self.gates {
            if ["measure", "barrier"].contains(&name.as_str()) {
                return fail(&format!("gates.{name}"), "it is there already".to_owned());
            }
            self.check_gate(gate).map_err(|(key, what)| (format!("gates.{name}.{key}"), what))?;
        }
        Ok(())
    }

    fn check_gate(&self, gate: &Gate) -> Result<(), (String, String)> {
        let at = |key: &str| {
            let key = key.to_owned();
            |what: String| (key, what)
        };
        self.outputs.levels(&gate.on).map_err(at("on"))?;
        Param::check_definitions(&gate.params).map_err(|(index, what)| (format!("params[{index}]"), what))?;
        // Names that have no value show here, whatever the parameters are.
        for corner in [|param: &Param| param.min, |param: &Param| param.max] {
            let scope = self.scope(gate, &gate.params.iter().map(corner).collect::<Vec<_>>());
            let seconds = gate.duration_s.value(&scope).map_err(at("duration_s"))?;
            let most = self.device.max_duration_s;
            if !(0.0..=most).contains(&seconds) {
                return Err(at("duration_s")(format!("can become {seconds}; allowed are 0 to {most}")));
            }
            for (key, formula) in gate.tone.iter().flat_map(Tone::formulas) {
                formula.value(&scope).map_err(at(key))?;
            }
        }
        Ok(())
    }

    /// The names of a gate's parameters, and the constants, with their values.
    pub(crate) fn scope<'a>(&'a self, gate: &'a Gate, params: &[f64]) -> Scope<'a> {
        Param::name_all(&gate.params, params, Scope::new(&self.calibration.constants))
    }
}

impl Tone {
    fn formulas(&self) -> Vec<(&'static str, &Expression)> {
        let rest = [("tone.amplitude", &self.amplitude), ("tone.phase_deg", &self.phase_deg)];
        let rest = rest.into_iter().filter_map(|(key, formula)| Some((key, formula.as_ref()?)));
        [("tone.hz", &self.hz)].into_iter().chain(rest).collect()
    }
}
