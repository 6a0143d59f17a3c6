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
const EXPERIMENT_KEYWORDS: &[&str] = &["$comment", "title", "description", "type", "required", "properties"];
const INSTRUCTION_KEYWORDS: &[&str] =
    &["$comment", "title", "description", annotation::KEY, "type", "minItems", "prefixItems"];
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
    let gates = published_gates(&document, &instructions)?;
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
    refuse_others(top, "", TOP_KEYWORDS)?;
    required(document, "/$defs/experiment_name")?;
    let keywords_of = [
        (EXPERIMENT, EXPERIMENT_KEYWORDS),
        (PROPERTIES, EXPERIMENT_PROPERTIES),
        ("/$defs/experiment/properties/instructions", INSTRUCTIONS_KEYWORDS),
        ("/$defs/instruction", INSTRUCTION_KEYWORDS),
    ];
    for (pointer, known) in keywords_of {
        refuse_others(object(required(document, pointer)?, pointer)?, pointer, known)?;
    }
    for (pointer, expected) in fixed_parts() {
        let given = required(document, pointer)?;
        if *given != expected {
            let message = format!("{} not allowed; allowed: {}", words::shown(given), words::shown(&expected));
            return Err(SchemaError::at(pointer, message));
        }
    }
    Ok(())
}

fn refuse_others(object: &Map<String, Value>, pointer: &str, known: &[&str]) -> Result<(), SchemaError> {
    let other = object.keys().find(|key| !known.contains(&key.as_str()));
    other.map_or(Ok(()), |key| Err(annotation::unknown_key(pointer, key, known)))
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
        let others = always.into_iter().flatten().filter_map(Value::as_str);
        if let Some(other) = others.into_iter().find(|key| !EXPERIMENT_PROPERTIES.contains(key)) {
            let message =
                format!("{} not allowed; allowed: {}", words::shown_text(other), EXPERIMENT_PROPERTIES.join(", "));
            return Err(SchemaError::at(pointer, message));
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
    refuse_others(schema, &pointer, INSTRUCTION_KEYWORDS)?;
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
fn published_gates(document: &Value, instructions: &[ReadInstruction]) -> Result<Vec<GateConfig>, SchemaError> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::builtin;

    fn text(name: &str) -> &'static str {
        builtin().find(|(known, _)| *known == name).map(|(_, text)| text).expect("a built-in schema")
    }

    /// The message about the schema of `name` once the value at `pointer` is `value`; null removes it.
    fn check(name: &str, pointer: &str, value: Value, expected: &str) {
        let mut document: Value = serde_json::from_str(text(name)).expect("JSON");
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer into the document");
        let parent = document.pointer_mut(parent).expect("a place in the document");
        match (parent, value) {
            (Value::Object(parent), Value::Null) => assert!(parent.shift_remove(key).is_some(), "{pointer}"),
            (Value::Object(parent), value) => drop(parent.insert(key.into(), value)),
            (parent, value) => parent[key.parse::<usize>().expect("an index")] = value,
        }
        let error = parse(&document.to_string()).map(|_| ()).expect_err(expected);
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn built_in_schemas_are_right() {
        for (name, text) in builtin() {
            assert!(parse(text).is_ok(), "{name}: {:?}", parse(text).err());
        }
    }

    #[test]
    fn a_text_that_is_not_json_is_refused_with_its_place() {
        let message = |text: &str| parse(text).expect_err("not JSON").to_string();
        assert_eq!(message("{\n  \"a\": 1,\n  }"), "line 3, column 3: trailing comma");
        assert_eq!(message("{\"a\": 1, \"a\": 2}"), "line 1, column 12: key \"a\" appears twice");
        assert_eq!(message("[]"), "top level: not an object");
        assert_eq!(message(""), "line 1, column 0: EOF while parsing a value");
    }

    #[test]
    fn a_misspelt_key_is_refused_with_the_nearest_one() {
        let rlx = "/$defs/rlx/x-qspool";
        check(
            "rydberg",
            &format!("{rlx}/qasm"),
            json!("{}"),
            "/$defs/rlx/x-qspool: unknown key \"qasm\"; allowed: wires, parameters, qasm_def, also_published",
        );
        check(
            "rydberg",
            &format!("{rlx}/qasm_deff"),
            json!("{}"),
            "/$defs/rlx/x-qspool: unknown key \"qasm_deff\"; did you mean \"qasm_def\"?",
        );
        check(
            "rydberg",
            "/x-qspool/simulater",
            json!("x"),
            "/x-qspool: unknown key \"simulater\"; did you mean \"simulator\"?",
        );
        check(
            "multiqudit",
            "/x-qspool/hilbert_space/maxstates",
            json!(1),
            "/x-qspool/hilbert_space: unknown key \"maxstates\"; did you mean \"max_states\"?",
        );
        check(
            "rydberg",
            "/$defs/angle/maximun",
            json!(1),
            "/$defs/angle: unknown key \"maximun\"; did you mean \"maximum\"?",
        );
        check(
            "rydberg",
            "/$defs/experiment/properties/shot",
            json!({}),
            "/$defs/experiment/properties: unknown key \"shot\"; did you mean \"shots\"?",
        );
        check(
            "rydberg",
            "/oneOf",
            json!([{}]),
            "top level: unknown key \"oneOf\"; \
             allowed: $schema, $comment, title, description, x-qspool, type, minProperties, propertyNames, additionalProperties, $defs",
        );
        check(
            "rydberg",
            "/$defs/rlx/maxItems",
            json!(3),
            "/$defs/rlx: unknown key \"maxItems\"; did you mean \"minItems\"?",
        );
        check(
            "rydberg",
            "/$defs/rlx/prefixItems/1/x-qspool",
            json!({}),
            "/$defs/rlx/prefixItems/1: \"x-qspool\" not allowed here; allowed: at the top and in an instruction",
        );
    }

    #[test]
    fn a_bad_annotation_is_refused() {
        check("rydberg", "/x-qspool", Value::Null, "top level: key \"x-qspool\" missing");
        check("rydberg", "/x-qspool/version", Value::Null, "/x-qspool: key \"version\" missing; needed: a text");
        check("rydberg", "/x-qspool/version", json!(2), "/x-qspool/version: 2 not allowed; allowed: a text");
        check(
            "rydberg",
            "/x-qspool/cold_atom_type",
            json!("spun"),
            "/x-qspool/cold_atom_type: \"spun\" not allowed; allowed: \"fermion\", \"boson\", \"spin\", \"mixed\"",
        );
        check(
            "rydberg",
            "/x-qspool/supported_instructions",
            json!([]),
            "/x-qspool/supported_instructions: no instructions",
        );
        check(
            "rydberg",
            "/x-qspool/supported_instructions",
            json!(["rlx", "rlx"]),
            "/x-qspool/supported_instructions: \"rlx\" appears twice",
        );
        check(
            "rydberg",
            "/x-qspool/supported_instructions",
            json!(["a/b"]),
            "/x-qspool/supported_instructions/0: \"a/b\" not allowed; allowed: letters, digits and _",
        );
        check("rydberg", "/x-qspool/supported_instructions", json!(["jump"]), "/$defs: key \"jump\" missing");
        check(
            "rydberg",
            "/x-qspool/supported_instructions",
            json!(["rlx"]),
            "/$defs/rlz: not among \"supported_instructions\", so no job could use it",
        );
        check("rydberg", "/$defs/rlx/x-qspool", Value::Null, "/$defs/rlx: key \"x-qspool\" missing");
        check(
            "rydberg",
            "/$defs/rlx/x-qspool/wires",
            json!("all"),
            "/$defs/rlx/x-qspool/wires: \"all\" not allowed; \
             allowed: \"in_register\", \"on_device\", \"whole_register\", \"part_or_whole\"",
        );
        check(
            "rydberg",
            "/$defs/rlx/x-qspool/wires",
            json!("whole_register"),
            "/$defs/rlx/prefixItems/1: an \"enum\" with the list of all wires, 0 to 4, is needed",
        );
        check(
            "rydberg",
            "/$defs/rlx/x-qspool/parameters",
            json!(["a, b"]),
            "/$defs/rlx/prefixItems/2: 1 parameters, but 2 names in \"parameters\" of \"x-qspool\"",
        );
        check(
            "rydberg",
            "/$defs/measure/x-qspool/also_published",
            json!([[0]]),
            "/$defs/measure: \"also_published\" without \"qasm_def\": not a published gate",
        );
        check(
            "multiqudit",
            "/x-qspool/hilbert_space/atoms_from",
            json!("jump"),
            "/x-qspool/hilbert_space/atoms_from: \"jump\" is no supported instruction",
        );
        check(
            "multiqudit",
            "/x-qspool/hilbert_space/atoms_from",
            json!("rlx"),
            "/x-qspool/hilbert_space/atoms_from: the first parameter of \"rlx\" is no integer",
        );
    }

    #[test]
    fn a_bad_schema_is_refused() {
        check("rydberg", "/$schema", Value::Null, "top level: key \"$schema\" missing");
        check(
            "rydberg",
            "/$schema",
            json!("http://json-schema.org/draft-07/schema#"),
            "/$schema: \"http://json-schema.org/draft-07/schema#\" not allowed; \
             allowed: \"https://json-schema.org/draft/2020-12/schema\"",
        );
        check("rydberg", "/description", Value::Null, "top level: key \"description\" missing");
        check(
            "rydberg",
            "/$defs/angle/type",
            json!("strng"),
            "/$defs/angle/type: \"strng\" not allowed; \
             allowed: \"array\", \"boolean\", \"integer\", \"null\", \"number\", \"object\", \"string\"",
        );
        check(
            "rydberg",
            "/$defs/angle/maximum",
            json!("6"),
            "/$defs/angle/maximum: \"6\" not allowed; allowed: a number",
        );
        check(
            "rydberg",
            "/$defs/experiment_name/pattern",
            json!("("),
            "/$defs/experiment_name/pattern: \"(\" is not a \"regex\"",
        );
        check("rydberg", "/minProperties", json!(0), "/minProperties: 0 not allowed; allowed: 1");
        check(
            "rydberg",
            "/$defs/instruction",
            Value::Null,
            "/$defs/experiment/properties/instructions/items/$ref: \"#/$defs/instruction\" names nothing in this file",
        );
        for reference in ["https://example.org/a.json", "other.json", "#angle", "#/$defs"] {
            let expected = format!(
                "/$defs/rlx/prefixItems/2/prefixItems/0/$ref: \"{reference}\" not allowed; \
                 allowed: \"#/$defs/…\" of the same file"
            );
            check("rydberg", "/$defs/rlx/prefixItems/2/prefixItems/0", json!({"$ref": reference}), &expected);
        }
        check(
            "rydberg",
            "/$defs/rlx/prefixItems/2/prefixItems/0/$ref",
            json!("#/$defs/angel"),
            "/$defs/rlx/prefixItems/2/prefixItems/0/$ref: \"#/$defs/angel\" names nothing in this file",
        );
        check(
            "rydberg",
            "/$defs/angle",
            json!({"$ref": "#/$defs/angle"}),
            "/$defs/angle/$ref: \"#/$defs/angle\" leads back to itself",
        );
    }

    #[test]
    fn bad_limits_of_an_experiment_are_refused() {
        let at = |key: &str| format!("/$defs/experiment/properties/{key}");
        let needed = |key: &str, least: u32| {
            format!(
                "{}: needed: \"type\" \"integer\", \"minimum\" of at least {least}, \"maximum\" up to 4294967295",
                at(key)
            )
        };
        check("rydberg", &(at("num_wires") + "/maximum"), Value::Null, &needed("num_wires", 1));
        check("rydberg", &(at("num_wires") + "/maximum"), json!(2.5), &needed("num_wires", 1));
        check("rydberg", &(at("num_wires") + "/minimum"), json!(0), &needed("num_wires", 1));
        check("rydberg", &(at("shots") + "/maximum"), json!(4_294_967_296_u64), &needed("shots", 1));
        check("rydberg", &(at("shots") + "/maximum"), json!(0), &needed("shots", 1));
        check("rydberg", &(at("seed") + "/type"), json!("number"), &needed("seed", 0));
        check(
            "rydberg",
            &(at("wire_order") + "/default"),
            Value::Null,
            "/$defs/experiment/properties/wire_order: needed: a \"default\", or \"wire_order\" among the required keys",
        );
        check(
            "rydberg",
            &(at("wire_order") + "/default"),
            json!("x"),
            "/$defs/experiment/properties/wire_order/default: not among the values of \"enum\"",
        );
        check(
            "rydberg",
            &(at("wire_order") + "/enum"),
            json!(["x"]),
            "/$defs/experiment/properties/wire_order: needed: \"enum\" of \"sequential\", \"interleaved\" or both",
        );
        check(
            "rydberg",
            "/$defs/experiment/required",
            json!(["shots"]),
            "/$defs/experiment/required: \"instructions\" missing",
        );
        let required = ["instructions", "num_wires", "shots", "comment"];
        let expected = "/$defs/experiment/required: \"comment\" not allowed; \
            allowed: instructions, num_wires, shots, wire_order, seed";
        check("rydberg", "/$defs/experiment/required", json!(required), expected);
    }

    #[test]
    fn bad_instructions_are_refused() {
        check(
            "rydberg",
            "/$defs/rlx/minItems",
            json!(2),
            "/$defs/rlx: needed: \"type\" \"array\", \"minItems\" 3, \"prefixItems\" for name, wires and params",
        );
        check(
            "rydberg",
            "/$defs/rlx/prefixItems/0",
            json!({"const": "rly"}),
            "/$defs/rlx/prefixItems/0: {\"const\":\"rly\"} not allowed; allowed: {\"const\":\"rlx\"}",
        );
        check(
            "rydberg",
            "/$defs/rlx/prefixItems/1",
            json!({"type": "array"}),
            "/$defs/rlx/prefixItems/1: the wires of a gate are published: an \"enum\" of lists is needed",
        );
        check(
            "rydberg",
            "/$defs/rlx/prefixItems/1",
            json!({}),
            "/$defs/rlx/prefixItems/1: needed: an \"enum\" of lists of wires, or \"type\" \"array\"",
        );
        check(
            "rydberg",
            "/$defs/rlx/prefixItems/1/enum",
            json!([[0], [5]]),
            "/$defs/rlx/prefixItems/1/enum: [5] not allowed; allowed: lists of wires 0 to 4",
        );
        check("rydberg", "/$defs/rlx/prefixItems/2", json!({}), "/$defs/rlx/prefixItems/2: needed: \"type\" \"array\"");
        check(
            "rydberg",
            "/$defs/rlx/prefixItems/2/maxItems",
            Value::Null,
            "/$defs/rlx/prefixItems/2: needed: \"maxItems\", since further parameters have no limits",
        );
        check("rydberg", "/$defs/rlx/description", Value::Null, "/$defs/rlx: key \"description\" missing");
    }

    #[test]
    fn a_schema_that_contains_itself_neither_hangs_nor_overflows() {
        let mut document: Value = serde_json::from_str(text("rydberg")).expect("JSON");
        document["$defs"]["angle"] = json!({"allOf": [{"$ref": "#/$defs/angle"}], "items": {"$ref": "#/$defs/angle"}});
        if let Ok(schema) = parse(&document.to_string()) {
            let job = r#"{"experiment_0": {"instructions": [["rlx", [0], [[[1]]]]], "num_wires": 1, "shots": 1}}"#;
            assert!(schema.validate(job.as_bytes()).is_err());
        }
    }
}
