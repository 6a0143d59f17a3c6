//! Reads a schema file: checks everything that can be checked without a job, and compiles it.

use std::collections::HashMap;

use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value, json};

use super::annotation::{self, BackendAnnotation, InstructionAnnotation, WireRule};
use super::backend::BackendSchema;
use super::check::wire_order;
use super::error::{SchemaError, member};
use super::instruction::{InstructionSchema, PARAMS, WIRES, integer};
use super::keywords;
use super::reader;
use super::words;
use crate::job::GateConfig;

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";
const EXPERIMENT: &str = "/$defs/experiment";
const PROPERTIES: &str = "/$defs/experiment/properties";

/// Parts of the file that are the same for every backend, since the check of a job rests on them.
fn fixed_parts() -> [(&'static str, Value); 8] {
    [
        ("/$schema", json!(DRAFT)),
        ("/type", json!("object")),
        ("/minProperties", json!(1)),
        ("/propertyNames", json!({"$ref": "#/$defs/experiment_name"})),
        ("/additionalProperties", json!({"$ref": "#/$defs/experiment"})),
        ("/$defs/experiment/type", json!("object")),
        ("/$defs/experiment/properties/instructions/type", json!("array")),
        ("/$defs/experiment/properties/instructions/items", json!({"$ref": "#/$defs/instruction"})),
    ]
}

/// Keywords beside the fixed ones which would not be looked at there.
const TOP_KEYWORDS: &[&str] = &[
    "$schema",
    "$comment",
    "title",
    "description",
    annotation::KEY,
    "type",
    "minProperties",
    "propertyNames",
    "additionalProperties",
    "$defs",
];
const INSTRUCTIONS_KEYWORDS: &[&str] = &["$comment", "title", "description", "type", "minItems", "maxItems", "items"];
const EXPERIMENT_PROPERTIES: &[&str] = &["instructions", "num_wires", "shots", "wire_order", "seed"];

/// Reads, checks and compiles the text of a schema file.
pub(super) fn parse(text: &str) -> Result<BackendSchema, SchemaError> {
    let document = reader::read_value(text).map_err(|error| SchemaError::Syntax {
        line: error.line(),
        column: error.column(),
        message: words::shortened(&reader::bare_message(&error), 200),
    })?;
    let top = object(&document, "")?;
    keywords::check(&document)?;
    jsonschema::draft202012::meta::validate(&document).map_err(|error| found_in_file(&error))?;
    check_fixed_parts(&document, top)?;

    let annotation = BackendAnnotation::read(top)?;
    let description = required_text(&document, "", "description")?;
    let limits = ExperimentLimits::read(&document)?;
    let instructions = read_instructions(&document, &annotation, limits.num_wires)?;
    let gates = published_gates(&document, &annotation, &instructions)?;
    check_hilbert_space(&document, &annotation)?;
    check_unused(&document, &annotation)?;
    Ok(BackendSchema {
        experiment_name: compile(&document, "experiment_name")?,
        experiment: compile(&without_items(&document), "experiment")?,
        any_instruction: compile(&document, "instruction")?,
        instructions: instructions.into_iter().map(|(name, schema, _)| (name, schema)).collect::<HashMap<_, _>>(),
        description,
        annotation,
        gates,
        max_num_wires: limits.num_wires,
        max_shots: limits.shots,
        default_wire_order: limits.default_wire_order,
        most_counted_instructions: limits.most_counted_instructions,
        document,
    })
}

/// Compiles the definition `name`. Patterns run in linear time, and nothing outside the file is ever asked for.
fn compile(document: &Value, name: &str) -> Result<Validator, SchemaError> {
    let schema = json!({
        "$schema": DRAFT,
        "$ref": format!("#{}", member("/$defs", name)),
        "$defs": document.get("$defs"),
    });
    let options = jsonschema::draft202012::options().offline().with_pattern_options(PatternOptions::regex());
    options.build(&schema).map_err(|error| found_in_file(&error))
}

/// The document with an experiment whose instructions may be anything.
fn without_items(document: &Value) -> Value {
    let mut document = document.clone();
    if let Some(Value::Object(instructions)) = document.pointer_mut(&member(PROPERTIES, "instructions")) {
        instructions.shift_remove("items");
    }
    document
}

fn found_in_file(error: &ValidationError) -> SchemaError {
    SchemaError::at(error.instance_path().as_str(), words::found(error))
}

fn object<'a>(value: &'a Value, pointer: &str) -> Result<&'a Map<String, Value>, SchemaError> {
    value.as_object().ok_or_else(|| SchemaError::at(pointer, "not an object"))
}

fn required<'a>(document: &'a Value, pointer: &str) -> Result<&'a Value, SchemaError> {
    document.pointer(pointer).ok_or_else(|| {
        let (parent, key) = pointer.rsplit_once('/').unwrap_or_default();
        SchemaError::at(parent, format!("key {key:?} missing"))
    })
}

fn required_text(document: &Value, pointer: &str, key: &str) -> Result<String, SchemaError> {
    let pointer = member(pointer, key);
    let text = required(document, &pointer)?.as_str();
    text.map(str::to_owned).ok_or_else(|| SchemaError::at(pointer, "not a text"))
}

fn check_fixed_parts(document: &Value, top: &Map<String, Value>) -> Result<(), SchemaError> {
    let refuse_others = |object: &Map<String, Value>, pointer: &str, known: &[&str]| {
        let other = object.keys().find(|key| !known.contains(&key.as_str()));
        other.map_or(Ok(()), |key| Err(annotation::unknown_key(pointer, key, known)))
    };
    refuse_others(top, "", TOP_KEYWORDS)?;
    for name in ["experiment_name", "experiment", "instruction"] {
        required(document, &member("/$defs", name))?;
    }
    let properties = object(required(document, PROPERTIES)?, PROPERTIES)?;
    refuse_others(properties, PROPERTIES, EXPERIMENT_PROPERTIES)?;
    for (pointer, expected) in fixed_parts() {
        let given = required(document, pointer)?;
        if *given != expected {
            let message = format!("{} not allowed; allowed: {}", words::shown(given), words::shown(&expected));
            return Err(SchemaError::at(pointer, message));
        }
    }
    let pointer = member(PROPERTIES, "instructions");
    refuse_others(object(required(document, &pointer)?, &pointer)?, &pointer, INSTRUCTIONS_KEYWORDS)
}

/// What the schema of an experiment says about numbers.
struct ExperimentLimits {
    num_wires: u32,
    shots: u32,
    default_wire_order: Option<qspool_driver::WireOrder>,
    most_counted_instructions: usize,
}

impl ExperimentLimits {
    fn read(document: &Value) -> Result<Self, SchemaError> {
        let pointer = format!("{EXPERIMENT}/required");
        let always = required(document, &pointer)?.as_array();
        let is_required = |key: &str| always.is_some_and(|keys| keys.iter().any(|given| given == key));
        for key in ["instructions", "num_wires", "shots"] {
            if !is_required(key) {
                return Err(SchemaError::at(pointer, format!("{key:?} missing")));
            }
        }
        integer_between(document, "seed", 0)?;
        Ok(Self {
            num_wires: integer_between(document, "num_wires", 1)?,
            shots: integer_between(document, "shots", 1)?,
            default_wire_order: Self::default_wire_order(document, is_required("wire_order"))?,
            most_counted_instructions: Self::most_counted_instructions(document),
        })
    }

    fn default_wire_order(
        document: &Value,
        is_required: bool,
    ) -> Result<Option<qspool_driver::WireOrder>, SchemaError> {
        let pointer = member(PROPERTIES, "wire_order");
        let schema = required(document, &pointer)?;
        let orders = schema.get("enum").and_then(Value::as_array);
        let is_order = |word: &Value| word.as_str().and_then(wire_order).is_some();
        let Some(orders) = orders.filter(|orders| orders.iter().all(is_order)) else {
            return Err(SchemaError::at(pointer, r#"needed: "enum" of "sequential", "interleaved" or both"#));
        };
        match schema.get("default") {
            Some(default) if orders.contains(default) => Ok(default.as_str().and_then(wire_order)),
            Some(_) => Err(SchemaError::at(member(&pointer, "default"), "not among the values of \"enum\"")),
            None if is_required => Ok(None),
            None => Err(SchemaError::at(pointer, "needed: a \"default\", or \"wire_order\" among the required keys")),
        }
    }

    /// The first number of instructions beyond both limits; what lies above it changes no verdict.
    fn most_counted_instructions(document: &Value) -> usize {
        let limit = |keyword: &str| {
            let limit = document.pointer(&format!("{PROPERTIES}/instructions/{keyword}")).and_then(Value::as_u64);
            limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(0)
        };
        limit("minItems").max(limit("maxItems").saturating_add(1))
    }
}

/// The maximum of an integer of an experiment, whose minimum must be at least `lowest`.
fn integer_between(document: &Value, key: &str, lowest: u32) -> Result<u32, SchemaError> {
    let pointer = member(PROPERTIES, key);
    let schema = required(document, &pointer)?;
    let bound = |keyword: &str| schema.get(keyword).and_then(integer);
    let is_integer = match schema.get("type") {
        Some(Value::String(name)) => name == "integer",
        Some(Value::Array(names)) => names.iter().all(|name| name == "integer" || name == "null"),
        _ => false,
    };
    match (bound("minimum"), bound("maximum")) {
        (Some(minimum), Some(maximum)) if is_integer && lowest <= minimum && minimum <= maximum => Ok(maximum),
        _ => {
            let needed =
                format!(r#"needed: "type" "integer", "minimum" of at least {lowest}, "maximum" up to {}"#, u32::MAX);
            Err(SchemaError::at(pointer, needed))
        }
    }
}

type ReadInstruction = (String, InstructionSchema, InstructionAnnotation);

fn read_instructions(
    document: &Value,
    annotation: &BackendAnnotation,
    device_wires: u32,
) -> Result<Vec<ReadInstruction>, SchemaError> {
    let pointer = format!("/{}/supported_instructions", annotation::KEY);
    let names = &annotation.supported_instructions;
    if names.is_empty() {
        return Err(SchemaError::at(pointer, "no instructions"));
    }
    let mut instructions = Vec::new();
    for (index, name) in names.iter().enumerate() {
        if names[..index].contains(name) {
            return Err(SchemaError::at(pointer, format!("{} appears twice", words::shown_text(name))));
        }
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !is_name {
            let message = format!("{} not allowed; allowed: letters, digits and _", words::shown_text(name));
            return Err(SchemaError::at(format!("{pointer}/{index}"), message));
        }
        instructions.push(read_instruction(document, name, device_wires)?);
    }
    Ok(instructions)
}

fn read_instruction(document: &Value, name: &str, device_wires: u32) -> Result<ReadInstruction, SchemaError> {
    let pointer = member("/$defs", name);
    let schema = object(required(document, &pointer)?, &pointer)?;
    let items = schema.get("prefixItems").and_then(Value::as_array).map(Vec::as_slice);
    let (Some([head, wires, params]), Some("array"), Some(3)) =
        (items, schema.get("type").and_then(Value::as_str), schema.get("minItems").and_then(Value::as_u64))
    else {
        let needed = r#"needed: "type" "array", "minItems" 3, "prefixItems" for name, wires and params"#;
        return Err(SchemaError::at(pointer, needed));
    };
    if *head != json!({"const": name}) {
        let message = format!("{} not allowed; allowed: {}", words::shown(head), json!({"const": name}));
        return Err(SchemaError::at(format!("{pointer}/prefixItems/0"), message));
    }
    let annotation = InstructionAnnotation::read(schema, &pointer)?;
    let instruction = InstructionSchema {
        validator: compile(document, name)?,
        listed_wires: listed_wires(document, wires, &format!("{pointer}/prefixItems/{WIRES}"), device_wires)?,
        rule: annotation.wires,
        parameter_names: annotation.parameter_names(),
        wires: wires.clone(),
        params: params.clone(),
        device_wires,
    };
    check_params(document, &instruction, &format!("{pointer}/prefixItems/{PARAMS}"))?;
    let acts_on_all = matches!(instruction.rule, WireRule::WholeRegister | WireRule::PartOrWhole);
    let is_whole = |wires: &Vec<u32>| wires.iter().copied().eq(0..device_wires);
    if acts_on_all && !instruction.listed_wires.iter().any(is_whole) {
        let needed = format!("an \"enum\" with the list of all wires, 0 to {}, is needed", device_wires - 1);
        return Err(SchemaError::at(format!("{pointer}/prefixItems/{WIRES}"), needed));
    }
    Ok((name.to_owned(), instruction, annotation))
}

/// The lists of wires in the `enum` at `pointer`; empty if there is none.
fn listed_wires(
    document: &Value,
    schema: &Value,
    pointer: &str,
    device_wires: u32,
) -> Result<Vec<Vec<u32>>, SchemaError> {
    let schema = words::resolved(document, schema);
    let Some(lists) = schema.get("enum") else {
        let is_list = schema.get("type").and_then(Value::as_str) == Some("array");
        return if is_list {
            Ok(Vec::new())
        } else {
            Err(SchemaError::at(pointer, r#"needed: an "enum" of lists of wires, or "type" "array""#))
        };
    };
    let lists = lists.as_array().map(Vec::as_slice).unwrap_or_default();
    lists
        .iter()
        .map(|list| {
            let wire = |wire: &Value| integer(wire).filter(|&wire| wire < device_wires);
            let wires = list.as_array().and_then(|wires| wires.iter().map(wire).collect::<Option<Vec<u32>>>());
            wires.ok_or_else(|| {
                let allowed = format!("allowed: lists of wires 0 to {}", device_wires - 1);
                SchemaError::at(member(pointer, "enum"), format!("{} not allowed; {allowed}", words::shown(list)))
            })
        })
        .collect()
}

/// Parameters are a list, and have as many names as there are of them.
fn check_params(document: &Value, instruction: &InstructionSchema, pointer: &str) -> Result<(), SchemaError> {
    let schema = words::resolved(document, &instruction.params);
    if schema.get("type").and_then(Value::as_str) != Some("array") {
        return Err(SchemaError::at(pointer, r#"needed: "type" "array""#));
    }
    let named = instruction.parameter_names.len();
    let described = schema.get("prefixItems").and_then(Value::as_array).map_or(0, Vec::len);
    let most = schema.get("maxItems").and_then(Value::as_u64);
    let has_one_name_each =
        if described == 0 { named == 0 || most == u64::try_from(named).ok() } else { named == described };
    if !has_one_name_each {
        let message =
            format!("{described} parameters, but {named} names in {:?} of {:?}", "parameters", annotation::KEY);
        return Err(SchemaError::at(pointer, message));
    }
    if described > 0 && most.is_none() {
        return Err(SchemaError::at(pointer, r#"needed: "maxItems", since further parameters have no limits"#));
    }
    Ok(())
}

/// The gates in the order of the instructions; each lists its wires, shorter lists before longer ones.
fn published_gates(
    document: &Value,
    annotation: &BackendAnnotation,
    instructions: &[ReadInstruction],
) -> Result<Vec<GateConfig>, SchemaError> {
    debug_assert_eq!(annotation.supported_instructions.len(), instructions.len());
    let mut gates = Vec::new();
    for (name, instruction, annotation) in instructions {
        let pointer = member("/$defs", name);
        let Some(qasm_def) = &annotation.qasm_def else {
            if annotation.also_published.is_empty() {
                continue;
            }
            return Err(SchemaError::at(pointer, "\"also_published\" without \"qasm_def\": not a published gate"));
        };
        if instruction.listed_wires.is_empty() {
            let place = format!("{pointer}/prefixItems/{WIRES}");
            return Err(SchemaError::at(place, "the wires of a gate are published: an \"enum\" of lists is needed"));
        }
        let mut coupling_map = instruction.listed_wires.clone();
        for further in &annotation.also_published {
            let place = coupling_map.iter().position(|listed| listed.len() > further.len());
            coupling_map.insert(place.unwrap_or(coupling_map.len()), further.clone());
        }
        gates.push(GateConfig {
            coupling_map,
            description: required_text(document, &pointer, "description")?,
            name: name.clone(),
            parameters: annotation.parameters.clone(),
            qasm_def: qasm_def.clone(),
        });
    }
    Ok(gates)
}

fn check_hilbert_space(document: &Value, annotation: &BackendAnnotation) -> Result<(), SchemaError> {
    let Some(space) = &annotation.hilbert_space else { return Ok(()) };
    let pointer = format!("/{}/hilbert_space/atoms_from", annotation::KEY);
    let load = space.atoms_from.as_str();
    if !annotation.supported_instructions.iter().any(|name| name == load) {
        return Err(SchemaError::at(pointer, format!("{} is no supported instruction", words::shown_text(load))));
    }
    let params = document.pointer(&format!("{}/prefixItems/{PARAMS}", member("/$defs", load)));
    let params = params.map(|params| words::resolved(document, params));
    let atoms = params.and_then(|params| params.get("prefixItems")).and_then(|items| items.get(0));
    let is_integer = atoms.is_some_and(|atoms| words::resolved(document, atoms).get("type") == Some(&json!("integer")));
    if is_integer {
        Ok(())
    } else {
        Err(SchemaError::at(pointer, format!("the first parameter of {load:?} is no integer")))
    }
}

/// An instruction that is described but not offered is a slip.
fn check_unused(document: &Value, annotation: &BackendAnnotation) -> Result<(), SchemaError> {
    let definitions = object(required(document, "/$defs")?, "/$defs")?;
    let is_instruction = |schema: &Value| schema.get(annotation::KEY).is_some();
    let is_offered = |name: &String| annotation.supported_instructions.contains(name);
    let unused = definitions.iter().find(|(name, schema)| is_instruction(schema) && !is_offered(name));
    unused.map_or(Ok(()), |(name, _)| {
        Err(SchemaError::at(member("/$defs", name), "not among \"supported_instructions\", so no job could use it"))
    })
}
