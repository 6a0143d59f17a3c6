//! The file that describes the apparatus.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use qspool_driver::{DriverError, ErrorClass};
use qspool_line::expression::{Expression, Scope};
use serde::Deserialize;

/// An apparatus: its calibration, what is connected to which output, and how gates become stages.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SequenceFile {
    pub(crate) device: DeviceTable,
    #[serde(rename = "calibration")]
    calibration_table: CalibrationTable,
    #[serde(skip)]
    pub(crate) calibration: Calibration,
    /// The number of each output of the `PrawnDO`, by its name.
    pub(crate) outputs: BTreeMap<String, u8>,
    /// The outputs that are high in the safe state.
    #[serde(default)]
    pub(crate) safe_high: Vec<String>,
    pub(crate) gates: BTreeMap<String, Gate>,
    pub(crate) readout: Readout,
    pub(crate) simulate: Option<Simulate>,
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

/// What was measured of the apparatus, or the file that holds it.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "either `file`, or `name`, `version` and `constants`")]
enum CalibrationTable {
    File(CalibrationFile),
    Here(Calibration),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct CalibrationFile {
    file: PathBuf,
}

/// What was measured of the apparatus, under a name and version that results tell.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Calibration {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) constants: BTreeMap<String, f64>,
}

/// How a gate becomes a stage.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gate {
    #[serde(default)]
    #[expect(dead_code, reason = "for whoever reads the file")]
    description: String,
    /// On how many wires it acts.
    #[serde(default)]
    pub(crate) wires: usize,
    #[serde(default)]
    pub(crate) params: Vec<Param>,
    /// The outputs that are switched for the duration.
    #[serde(default)]
    pub(crate) on: Vec<String>,
    pub(crate) duration_s: Formula,
    pub(crate) tone: Option<Tone>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Param {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) unit: String,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

/// The tone of a stage; what is not said is 0 Hz, the full amplitude, and no phase.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tone {
    pub(crate) hz: Formula,
    pub(crate) amplitude: Option<Formula>,
    pub(crate) phase_deg: Option<Formula>,
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

/// A number, or a formula of parameters and constants.
#[derive(Debug, Clone)]
pub(crate) struct Formula(Expression);

impl<'de> Deserialize<'de> for Formula {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a number or a formula")]
        enum Raw {
            Number(f64),
            Text(String),
        }
        match Raw::deserialize(deserializer)? {
            Raw::Number(number) => Ok(Self(Expression::number(number))),
            Raw::Text(text) => Expression::parse(&text).map(Self).map_err(serde::de::Error::custom),
        }
    }
}

impl Formula {
    pub(crate) fn value(&self, scope: &Scope<'_>) -> Result<f64, String> {
        self.0.value(scope)
    }
}

impl SequenceFile {
    /// Reads and checks a file. The files of the read-out and of the calibration are named from its folder.
    ///
    /// # Errors
    ///
    /// What is wrong with it, with the key.
    pub fn load(path: &Path) -> Result<Self, DriverError> {
        let mut file: Self = read(path)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        file.calibration = match &file.calibration_table {
            CalibrationTable::Here(calibration) => calibration.clone(),
            CalibrationTable::File(CalibrationFile { file }) => read(&folder.join(file))?,
        };
        file.readout.file = folder.join(&file.readout.file);
        file.check().map_err(|what| wrong(path, &what))?;
        Ok(file)
    }

    fn check(&self) -> Result<(), String> {
        if !(1..=64).contains(&self.device.num_wires) || !(1..=1_000_000).contains(&self.device.max_shots) {
            return Err("device: allowed: num_wires from 1 to 64, max_shots from 1 to 1000000".to_owned());
        }
        if let Some((name, output)) = self.outputs.iter().find(|(_, output)| **output > 15) {
            return Err(format!("outputs.{name}: {output} not allowed; allowed: 0 to 15"));
        }
        self.levels(&self.safe_high).map_err(|what| format!("safe_high: {what}"))?;
        self.levels(&self.readout.on).map_err(|what| format!("readout.on: {what}"))?;
        if !(1e-6..=10.0).contains(&self.readout.duration_s) {
            return Err("readout.duration_s: allowed: 1e-6 to 10".to_owned());
        }
        for (name, gate) in &self.gates {
            let at = |key: &str, what: String| format!("gates.{name}.{key}: {what}");
            if ["measure", "barrier"].contains(&name.as_str()) {
                return Err(format!("gates.{name}: not allowed; it is there already"));
            }
            self.levels(&gate.on).map_err(|what| at("on", what))?;
            if let Some(param) = gate.params.iter().find(|param| param.min > param.max) {
                return Err(at("params", format!("{} has min {} above max {}", param.name, param.min, param.max)));
            }
            // Names that have no value show here, whatever the parameters are.
            for corner in [|param: &Param| param.min, |param: &Param| param.max] {
                let scope = self.scope(gate, &gate.params.iter().map(corner).collect::<Vec<_>>());
                let seconds = gate.duration_s.value(&scope).map_err(|what| at("duration_s", what))?;
                if !(0.0..=self.device.max_duration_s).contains(&seconds) {
                    let most = self.device.max_duration_s;
                    return Err(at("duration_s", format!("can become {seconds}; allowed: 0 to {most}")));
                }
                for (key, formula) in gate.tone.iter().flat_map(Tone::formulas) {
                    formula.value(&scope).map_err(|what| at(key, what))?;
                }
            }
        }
        if let Some(Simulate { load, drive, image, .. }) = &self.simulate {
            self.levels([load, drive, image]).map_err(|what| format!("simulate: {what}"))?;
        }
        Ok(())
    }

    /// The names of a gate's parameters, and the constants, with their values.
    pub(crate) fn scope<'a>(&'a self, gate: &'a Gate, params: &[f64]) -> Scope<'a> {
        let named = gate.params.iter().zip(params);
        named.fold(Scope::new(&self.calibration.constants), |scope, (param, value)| scope.with(&param.name, *value))
    }

    /// The bits of these outputs.
    pub(crate) fn levels<'a>(&self, names: impl IntoIterator<Item = &'a String>) -> Result<u16, String> {
        let mut levels = 0;
        for name in names {
            let Some(output) = self.outputs.get(name) else {
                let allowed = self.outputs.keys().cloned().collect::<Vec<_>>().join(", ");
                return Err(format!("unknown output {name:?}; allowed: {allowed}"));
            };
            levels |= 1 << output;
        }
        Ok(levels)
    }

    /// The levels of the outputs in the safe state.
    pub(crate) fn safe(&self) -> u16 {
        // The names were checked.
        self.levels(&self.safe_high).unwrap_or_default()
    }
}

fn wrong(path: &Path, what: &str) -> DriverError {
    DriverError::new(ErrorClass::Configuration, format!("{}: {what}", path.display()))
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, DriverError> {
    let text = fs::read_to_string(path).map_err(|error| wrong(path, &error.to_string()))?;
    toml::from_str(&text).map_err(|error| wrong(path, &error.to_string().replace('\n', " ")))
}

impl Tone {
    fn formulas(&self) -> Vec<(&'static str, &Formula)> {
        let rest = [("tone.amplitude", &self.amplitude), ("tone.phase_deg", &self.phase_deg)];
        let rest = rest.into_iter().filter_map(|(key, formula)| Some((key, formula.as_ref()?)));
        [("tone.hz", &self.hz)].into_iter().chain(rest).collect()
    }
}
