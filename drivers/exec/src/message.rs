//! The messages of the protocol.

use std::collections::HashMap;

use qspool_driver::{
    Capabilities, DriverError, ErrorClass, Health, Identity, Instruction, Problem, Program, RunPlan, StopSupport,
    WireOrder,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::time::Duration;

/// The version of the protocol.
pub(crate) const PROTOCOL: u32 = 1;

/// A request of ours, or a notification if it has no id.
#[derive(Serialize)]
pub(crate) struct Request<'a> {
    pub(crate) jsonrpc: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<u64>,
    pub(crate) method: &'a str,
    pub(crate) params: Value,
}

/// Whatever the program says.
#[derive(Debug, Deserialize)]
pub(crate) struct Message {
    pub(crate) id: Option<u64>,
    pub(crate) method: Option<String>,
    #[serde(default)]
    pub(crate) params: Value,
    pub(crate) result: Option<Value>,
    pub(crate) error: Option<RpcError>,
}

/// The error of an answer.
#[derive(Debug, Deserialize)]
pub(crate) struct RpcError {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: String,
    #[serde(default)]
    data: Option<ErrorData>,
}

#[derive(Debug, Deserialize)]
struct ErrorData {
    class: Option<String>,
}

impl RpcError {
    /// The error as the contract has it. One that names no class means that the device does not work.
    pub(crate) fn into_driver_error(self, name: &str, method: &str) -> DriverError {
        let class = match self.data.and_then(|data| data.class).as_deref() {
            Some("job") => ErrorClass::Job,
            Some("retry") => ErrorClass::Retry,
            Some("configuration") => ErrorClass::Configuration,
            _ => ErrorClass::Device,
        };
        let text = if self.message.is_empty() { format!("error {}", self.code) } else { one_line(&self.message) };
        DriverError::new(class, format!("{name}, {method}: {text}"))
    }
}

/// The first line of a text, of bounded length: a traceback is for the log.
pub(crate) fn one_line(text: &str) -> String {
    const LONGEST: usize = 500;
    text.lines().next().unwrap_or_default().chars().take(LONGEST).collect()
}

#[derive(Deserialize)]
pub(crate) struct WireIdentity {
    #[serde(default)]
    vendor: String,
    model: String,
    #[serde(default)]
    serial: String,
    #[serde(default)]
    firmware: String,
    #[serde(default)]
    simulated: bool,
}

impl From<WireIdentity> for Identity {
    fn from(identity: WireIdentity) -> Self {
        let WireIdentity { vendor, model, serial, firmware, simulated } = identity;
        Self { vendor, model, serial, firmware, is_simulated: simulated }
    }
}

#[derive(Deserialize)]
pub(crate) struct WireCapabilities {
    instructions: Vec<String>,
    num_wires: u32,
    max_shots: u32,
    largest_value: i64,
    stop: WireStop,
    #[serde(default)]
    calibration: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WireStop {
    AtEnd,
    AfterShot,
    Now,
}

impl From<WireCapabilities> for Capabilities {
    fn from(wire: WireCapabilities) -> Self {
        Self {
            instructions: wire.instructions,
            num_wires: wire.num_wires,
            max_shots: wire.max_shots,
            largest_value: wire.largest_value,
            stop: match wire.stop {
                WireStop::AtEnd => StopSupport::AtEnd,
                WireStop::AfterShot => StopSupport::AfterShot,
                WireStop::Now => StopSupport::Now,
            },
            calibration: wire.calibration,
        }
    }
}

/// The answer to `driver/validate`: null, or the first problem.
#[derive(Deserialize)]
pub(crate) struct WireProblem {
    #[serde(default)]
    instruction: Option<usize>,
    what: String,
}

impl WireProblem {
    pub(crate) fn of(self, program: &Program) -> Problem {
        let what = one_line(&self.what);
        match self.instruction.and_then(|index| Some((index, program.instructions.get(index)?))) {
            Some((index, instruction)) => Problem::of_instruction(index, instruction.name.as_str(), what),
            None => Problem::of_program(what),
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct WirePlan {
    per_shot_s: f64,
    total_s: f64,
}

impl WirePlan {
    /// The plan, if its times are times.
    pub(crate) fn read(&self) -> Option<RunPlan> {
        let time = |seconds: f64| Duration::try_from_secs_f64(seconds).ok();
        Some(RunPlan { per_shot: time(self.per_shot_s)?, total: time(self.total_s)? })
    }
}

#[derive(Deserialize)]
pub(crate) struct WireHealth {
    #[serde(default)]
    degraded: Option<String>,
}

impl From<WireHealth> for Health {
    fn from(health: WireHealth) -> Self {
        health.degraded.map_or(Self::Good, |why| Self::Degraded(one_line(&why)))
    }
}

#[derive(Deserialize)]
pub(crate) struct WireSafeState {
    #[serde(default)]
    pub(crate) read_back: Vec<String>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WireEnd {
    Complete,
    Stopped,
}

#[derive(Deserialize)]
pub(crate) struct WireRan {
    pub(crate) end: WireEnd,
    pub(crate) shots: u32,
}

/// The notification `shots`: some shots of a run, in order.
#[derive(Deserialize)]
pub(crate) struct WireShots {
    pub(crate) run: u64,
    pub(crate) first: u32,
    pub(crate) values: Vec<Vec<i64>>,
}

/// A program as the messages have it.
pub(crate) fn wire_program(program: &Program) -> Value {
    let instruction = |instruction: &Instruction| {
        Value::Array(vec![
            instruction.name.as_str().into(),
            instruction.wires.clone().into(),
            instruction.params.clone().into(),
        ])
    };
    let order = match program.wire_order {
        WireOrder::Sequential => "sequential",
        WireOrder::Interleaved => "interleaved",
    };
    serde_json::json!({
        "instructions": program.instructions.iter().map(instruction).collect::<Vec<_>>(),
        "num_wires": program.num_wires,
        "shots": program.shots,
        "wire_order": order,
    })
}

/// The environment that the program gets.
pub(crate) fn environment(names: &[String]) -> HashMap<String, std::ffi::OsString> {
    let always = ["PATH", "HOME"].map(ToOwned::to_owned);
    let given = |name: &String| Some((name.clone(), std::env::var_os(name)?));
    always.iter().chain(names).filter_map(given).collect()
}

/// What the program is told at its start.
pub(crate) fn initialize(name: &str, settings: &Map<String, Value>) -> Value {
    serde_json::json!({ "protocol": PROTOCOL, "name": name, "parent": std::process::id(), "settings": settings })
}
