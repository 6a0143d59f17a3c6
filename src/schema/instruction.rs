//! One instruction of a backend: its schema, and the check of what a job says.

use std::ops::RangeInclusive;

use jsonschema::Validator;
use qspool_driver::Instruction;
use serde_json::Value;

use super::annotation::WireRule;
use super::words;

/// The place of the wires, and of the parameters, in `[name, wires, params]`.
pub(super) const WIRES: usize = 1;
pub(super) const PARAMS: usize = 2;

/// Most findings of the validator that are looked at for one instruction.
const MOST_ERRORS: usize = 100;

/// An instruction as its schema describes it, compiled.
#[derive(Debug)]
pub(super) struct InstructionSchema {
    pub(super) validator: Validator,
    /// The lists of wires, if the schema enumerates them.
    pub(super) listed_wires: Vec<Vec<u32>>,
    pub(super) rule: WireRule,
    pub(super) parameter_names: Vec<String>,
    /// The schema of the wires and of the parameters, for messages.
    pub(super) wires: Value,
    pub(super) params: Value,
    /// The number of wires of the device.
    pub(super) device_wires: u32,
}

impl InstructionSchema {
    /// Checks `[name, wires, params, …]`; `document` is the schema's file. On failure: all problems, without place.
    ///
    /// Whether the wires suit the size of the register is another question: see [`registers`](Self::registers).
    ///
    /// `given` is changed for a moment and comes back as it was.
    pub(super) fn check(&self, document: &Value, given: &mut Value) -> Result<Instruction, Vec<String>> {
        if self.validator.is_valid(given) || self.is_valid_on_whole_register(given) {
            self.converted(given)
        } else {
            Err(self.problems(document, given))
        }
    }

    /// Whether `given` lists the wires of a register in order and would be valid with those of the device instead.
    fn is_valid_on_whole_register(&self, given: &mut Value) -> bool {
        let acts_on_all = matches!(self.rule, WireRule::WholeRegister | WireRule::PartOrWhole);
        if !acts_on_all || !is_start_of_device(given.get(WIRES), self.device_wires) {
            return false;
        }
        let Some(wires) = given.get_mut(WIRES) else { return false };
        let register = std::mem::replace(wires, (0..self.device_wires).collect());
        let is_valid = self.validator.is_valid(given);
        if let Some(wires) = given.get_mut(WIRES) {
            *wires = register;
        }
        is_valid
    }

    /// The sizes of register on which the checked `wires` may be used.
    pub(super) fn registers(&self, wires: &[u32]) -> RangeInclusive<u32> {
        let holding = wires.iter().max().map_or(0, |&wire| wire.saturating_add(1));
        let is_listed = || self.listed_wires.iter().any(|listed| listed == wires);
        let is_device = || wires.iter().copied().eq(0..self.device_wires);
        match self.rule {
            WireRule::InRegister => holding..=u32::MAX,
            WireRule::OnDevice => 0..=u32::MAX,
            WireRule::WholeRegister if is_listed() => 0..=u32::MAX,
            WireRule::PartOrWhole if is_device() => 0..=u32::MAX,
            WireRule::PartOrWhole if is_listed() => holding..=u32::MAX,
            // Only the wires of a register in order come here without being listed.
            WireRule::WholeRegister | WireRule::PartOrWhole => holding..=holding,
        }
    }

    /// The problem of wires that do not suit the size of the register.
    pub(super) fn unsuitable(&self, document: &Value, wires: &[u32], num_wires: u32) -> String {
        let shown = words::shown(&wires.into());
        if self.registers(wires).start() == self.registers(wires).end() {
            return format!("wires {shown} not allowed; allowed: {}", self.allowed_wires(document));
        }
        let last = num_wires.saturating_sub(1);
        let allowed = if last == 0 { "wire 0".into() } else { format!("wires 0 to {last}") };
        format!("wires {shown} not allowed; allowed with num_wires {num_wires}: {allowed}")
    }

    fn allowed_wires(&self, document: &Value) -> String {
        let listed = words::allowed(document, &self.wires, true);
        match self.rule {
            WireRule::InRegister | WireRule::OnDevice => listed,
            WireRule::WholeRegister | WireRule::PartOrWhole => format!("{listed}, or all wires of the register"),
        }
    }

    fn converted(&self, given: &Value) -> Result<Instruction, Vec<String>> {
        let Some([Value::String(name), Value::Array(wires), Value::Array(params), ..]) =
            given.as_array().map(Vec::as_slice)
        else {
            return Err(vec![not_an_instruction(given)]);
        };
        let mut instruction = Instruction {
            name: name.clone(),
            wires: Vec::with_capacity(wires.len()),
            params: Vec::with_capacity(params.len()),
        };
        for wire in wires {
            let refused = || vec![format!("wire {} not allowed; allowed: an integer", words::shown(wire))];
            instruction.wires.push(integer(wire).ok_or_else(refused)?);
        }
        for (index, param) in params.iter().enumerate() {
            let shown = || format!("{} is {}; allowed: a number", self.parameter(index), words::shown(param));
            instruction.params.push(param.as_f64().ok_or_else(|| vec![shown()])?);
        }
        Ok(instruction)
    }

    /// What is wrong with `given`, one problem per place at most.
    fn problems(&self, document: &Value, given: &Value) -> Vec<String> {
        let mut places: Vec<[Option<usize>; 2]> = Vec::new();
        let mut problems = Vec::new();
        for error in self.validator.iter_errors(given).take(MOST_ERRORS) {
            let mut steps = error.instance_path().iter().map(|step| match step {
                jsonschema::paths::LocationSegment::Index(index) => Some(index),
                jsonschema::paths::LocationSegment::Property(_) => None,
            });
            let mut place = [steps.next().flatten(), steps.next().flatten()];
            if place[0] == Some(WIRES) {
                place[1] = None;
            }
            if places.contains(&place) {
                continue;
            }
            places.push(place);
            let with_type = matches!(error.kind(), jsonschema::error::ValidationErrorKind::Type { .. });
            problems.push(match place {
                [Some(WIRES), _] => {
                    let wires = given.get(WIRES).map(words::shown).unwrap_or_default();
                    format!("wires {wires} not allowed; allowed: {}", self.allowed_wires(document))
                }
                [Some(PARAMS), None] => self.wrong_params(document, given.get(PARAMS)),
                [Some(PARAMS), Some(index)] => {
                    let allowed = words::allowed(document, self.param_schema(document, index), with_type);
                    let value = given.get(PARAMS).and_then(|params| params.get(index)).map(words::shown);
                    match value {
                        Some(value) if !allowed.is_empty() => {
                            format!("{} is {value}; allowed: {allowed}", self.parameter(index))
                        }
                        _ => format!("{}: {}", self.parameter(index), words::found(&error)),
                    }
                }
                [None, _] if given.as_array().is_none_or(|elements| elements.len() < 3) => not_an_instruction(given),
                _ => words::found(&error),
            });
        }
        problems
    }

    fn wrong_params(&self, document: &Value, given: Option<&Value>) -> String {
        let schema = words::resolved(document, &self.params);
        let names = self.parameter_names.join(", ");
        let count = words::count(schema);
        let allowed = match schema.get("maxItems").and_then(Value::as_u64) {
            Some(0) => "none".into(),
            _ if names.is_empty() => count,
            _ => format!("{count} ({names})"),
        };
        match given {
            Some(Value::Array(params)) => {
                let plural = if params.len() == 1 { "" } else { "s" };
                format!("{} parameter{plural} given; allowed: {allowed}", params.len())
            }
            other => {
                let shown = other.map(words::shown).unwrap_or_default();
                format!("params {shown} not allowed; allowed: a list of {allowed}")
            }
        }
    }

    fn param_schema<'a>(&'a self, document: &'a Value, index: usize) -> &'a Value {
        let schema = words::resolved(document, &self.params);
        let own = schema.get("prefixItems").and_then(|items| items.get(index));
        own.or_else(|| schema.get("items")).unwrap_or(&Value::Null)
    }

    /// `parameter 1 (omega)`.
    fn parameter(&self, index: usize) -> String {
        let name = self.parameter_names.get(index).map(|name| format!(" ({name})")).unwrap_or_default();
        format!("parameter {}{name}", index + 1)
    }
}

/// The problem of something that is no instruction at all.
pub(super) fn not_an_instruction(given: &Value) -> String {
    format!("{} not allowed; allowed: [name, wires, params]", words::shown(given))
}

/// Whether `wires` are 0, 1, 2, … of a device with `device_wires`.
fn is_start_of_device(wires: Option<&Value>, device_wires: u32) -> bool {
    let Some(wires) = wires.and_then(Value::as_array) else { return false };
    let in_order = (0..device_wires).zip(wires).all(|(expected, wire)| integer(wire) == Some(expected));
    in_order && (1..=device_wires as usize).contains(&wires.len())
}

/// The integer that `value` means; a float without a fraction is one.
pub(super) fn integer(value: &Value) -> Option<u32> {
    if let Some(integer) = value.as_u64() {
        return u32::try_from(integer).ok();
    }
    let float = value.as_f64().filter(|float| float.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(float))?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an integer in the range of u32")]
    Some(float as u32)
}
