//! A file as it is written, before anything is checked but the names and types of its keys.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use crate::calibration::CalibrationTable;
use crate::expression::Expression;
use crate::param::Param;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawFile {
    pub(crate) device: RawDevice,
    #[serde(default)]
    pub(crate) port: RawPort,
    pub(crate) identify: RawIdentify,
    #[serde(default)]
    pub(crate) init: RawSteps,
    pub(crate) safe: RawSteps,
    pub(crate) stop: Option<RawSteps>,
    pub(crate) health: Option<RawHealth>,
    pub(crate) errors: Option<RawErrors>,
    pub(crate) calibration: Option<CalibrationTable>,
    pub(crate) gates: BTreeMap<String, RawGate>,
    #[serde(default)]
    pub(crate) program: RawProgram,
    pub(crate) shot: RawShot,
    pub(crate) result: RawResult,
    pub(crate) simulate: Option<RawSimulate>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawDevice {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) version: String,
    #[serde(default)]
    pub(crate) vendor: String,
    pub(crate) model: Option<String>,
    pub(crate) num_wires: u32,
    pub(crate) max_shots: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawPort {
    pub(crate) baud: u32,
    pub(crate) data_bits: u8,
    pub(crate) parity: RawParity,
    pub(crate) stop_bits: u8,
    pub(crate) flow_control: RawFlowControl,
    pub(crate) eol: String,
    pub(crate) acknowledge: Option<String>,
    pub(crate) alarm: Option<String>,
    pub(crate) timeout_s: f64,
    pub(crate) settle_s: f64,
    pub(crate) quiet_s: f64,
    pub(crate) late_s: f64,
    pub(crate) pause_s: f64,
    pub(crate) echo: bool,
    pub(crate) longest_line: usize,
    pub(crate) forbid: Vec<String>,
}

impl Default for RawPort {
    fn default() -> Self {
        Self {
            baud: 115_200,
            data_bits: 8,
            parity: RawParity::None,
            stop_bits: 1,
            flow_control: RawFlowControl::None,
            eol: "\n".to_owned(),
            acknowledge: None,
            alarm: None,
            timeout_s: 2.0,
            settle_s: 0.0,
            quiet_s: 0.05,
            late_s: 1.0,
            pause_s: 0.0,
            echo: false,
            longest_line: 255,
            // Boards that read three letters only would leave their firmware.
            forbid: ["pro", "prg"].map(ToOwned::to_owned).to_vec(),
        }
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RawParity {
    None,
    Even,
    Odd,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RawFlowControl {
    None,
    Software,
    Hardware,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawIdentify {
    pub(crate) send: String,
    pub(crate) expect: String,
    pub(crate) firmware_min: Option<String>,
    pub(crate) firmware_max: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawSteps {
    pub(crate) steps: Vec<RawStep>,
}

/// A line, or a table of a line and what belongs to it.
#[derive(Debug, Clone, Default)]
pub(crate) struct RawStep {
    pub(crate) send: String,
    pub(crate) expect: Option<String>,
    pub(crate) silent: bool,
    pub(crate) timeout_s: Option<f64>,
    pub(crate) wait_s: Option<f64>,
    pub(crate) read_back: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStepTable {
    send: String,
    expect: Option<String>,
    #[serde(default)]
    silent: bool,
    timeout_s: Option<f64>,
    wait_s: Option<f64>,
    read_back: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawHealth {
    pub(crate) send: String,
    pub(crate) expect: String,
    pub(crate) good: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawErrors {
    pub(crate) query: String,
    pub(crate) none: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawGate {
    #[serde(default)]
    pub(crate) description: String,
    pub(crate) wires: Option<RawWires>,
    #[serde(default)]
    pub(crate) allowed_wires: Vec<Vec<u32>>,
    #[serde(default)]
    pub(crate) params: Vec<Param>,
    #[serde(default)]
    pub(crate) emit: OneOrMany<RawStep>,
    pub(crate) duration_s: Option<Expression>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawProgram {
    #[serde(default)]
    pub(crate) begin: OneOrMany<RawStep>,
    #[serde(default)]
    pub(crate) end: OneOrMany<RawStep>,
    pub(crate) max_rows: Option<u32>,
    pub(crate) duration_s: Option<Expression>,
    pub(crate) max_duration_s: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawShot {
    pub(crate) start: OneOrMany<RawStep>,
    pub(crate) poll: Option<RawPoll>,
    pub(crate) wait: Option<RawWait>,
    pub(crate) timeout_s: Option<Expression>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPoll {
    pub(crate) send: String,
    #[serde(default = "default_every")]
    pub(crate) every_s: f64,
    #[serde(default)]
    pub(crate) after_s: f64,
    pub(crate) done: String,
    pub(crate) running: Option<String>,
    pub(crate) failed: Option<String>,
}

fn default_every() -> f64 {
    0.05
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawWait {
    pub(crate) done: String,
    pub(crate) running: Option<String>,
    pub(crate) failed: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawResult {
    pub(crate) send: String,
    pub(crate) expect: Option<String>,
    pub(crate) each: Option<String>,
    pub(crate) by: Option<RawBy>,
    #[serde(default = "default_radix")]
    pub(crate) radix: u32,
    pub(crate) formula: Option<Expression>,
    #[serde(default)]
    pub(crate) min: i64,
    pub(crate) max: i64,
}

fn default_radix() -> u32 {
    10
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RawBy {
    Wire,
    Measure,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawSimulate {
    #[serde(default)]
    pub(crate) state: BTreeMap<String, String>,
    pub(crate) replies: Vec<RawReply>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawReply {
    pub(crate) on: String,
    pub(crate) busy: Option<bool>,
    #[serde(default)]
    pub(crate) say: OneOrMany<String>,
    #[serde(default)]
    pub(crate) set: BTreeMap<String, String>,
    pub(crate) busy_s: Option<Expression>,
    pub(crate) then: Option<String>,
}

/// One value, or a list of them.
#[derive(Debug, Clone)]
pub(crate) struct OneOrMany<T>(pub(crate) Vec<T>);

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// A number of wires, or `any`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RawWires {
    Exactly(u32),
    Any,
}

// By hand: an untagged enum would say only that nothing matched.
impl<'de> Deserialize<'de> for RawStep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Steps;
        impl<'de> Visitor<'de> for Steps {
            type Value = RawStep;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a line, or a table with `send`")
            }

            fn visit_str<E: Error>(self, send: &str) -> Result<RawStep, E> {
                Ok(RawStep { send: send.to_owned(), ..RawStep::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawStep, A::Error> {
                let RawStepTable { send, expect, silent, timeout_s, wait_s, read_back } =
                    RawStepTable::deserialize(MapAccessDeserializer::new(map))?;
                Ok(RawStep { send, expect, silent, timeout_s, wait_s, read_back })
            }
        }
        deserializer.deserialize_any(Steps)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Several<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Several<T> {
            type Value = OneOrMany<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("one, or a list")
            }

            fn visit_str<E: Error>(self, one: &str) -> Result<Self::Value, E> {
                Ok(OneOrMany(vec![T::deserialize(one.into_deserializer())?]))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                Ok(OneOrMany(vec![T::deserialize(MapAccessDeserializer::new(map))?]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(OneOrMany)
            }
        }
        deserializer.deserialize_any(Several(PhantomData))
    }
}

impl<'de> Deserialize<'de> for RawWires {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Wires;
        impl Visitor<'_> for Wires {
            type Value = RawWires;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a number of wires, or \"any\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<RawWires, E> {
                if text == "any" {
                    Ok(RawWires::Any)
                } else {
                    Err(E::invalid_value(serde::de::Unexpected::Str(text), &self))
                }
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<RawWires, E> {
                let count = u32::try_from(number);
                count.map(RawWires::Exactly).map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(number), &self))
            }
        }
        deserializer.deserialize_any(Wires)
    }
}
