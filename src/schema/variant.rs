//! The built-in schemas for devices of another size, and with gates that they do not have by themselves.

use serde_json::{Value, json};

use super::error::SchemaError;

/// What changes in a schema; what is not given stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variant {
    /// The wires of the device.
    pub wires: Option<u32>,
    /// The most shots of an experiment.
    pub max_shots: Option<u32>,
    /// The most experiments of a job.
    pub max_experiments: Option<u64>,
    /// The most atoms on a wire, where atoms are counted.
    pub max_atoms: Option<u32>,
    /// The most states of a register as clients count them, where they are limited.
    pub max_states: Option<u32>,
    /// Gates that are added, of those that the simulator knows beside the ones of its schema.
    pub gates: Vec<String>,
}

/// A gate that a simulator knows and its schema does not have.
struct MoreGate {
    simulator: &'static str,
    name: &'static str,
    description: &'static str,
    lists: ListRule,
    wires: &'static str,
    parameters: &'static str,
    /// The definition that each parameter keeps to, and how many there are.
    limits: (&'static str, usize),
}

/// The gates of qiskit-cold-atom 0.2, with its names, signs and order of parameters.
const MORE_GATES: [MoreGate; 6] = [
    MoreGate {
        simulator: "singlequdit",
        name: "rly",
        description: "Evolution under Ly",
        lists: each_wire,
        wires: "in_register",
        parameters: "omega",
        limits: ("angle", 1),
    },
    MoreGate {
        simulator: "singlequdit",
        name: "OAT",
        description: "Evolution under chi Lz2 + delta Lz + omega Lx",
        lists: each_wire,
        wires: "in_register",
        parameters: "chi, delta, omega",
        limits: ("strength", 3),
    },
    MoreGate {
        simulator: "rydberg",
        name: "rydberg_blockade",
        description: "Apply the Rydberg blockade over the whole array",
        lists: all_wires,
        wires: "whole_register",
        parameters: "phi",
        limits: ("angle", 1),
    },
    MoreGate {
        simulator: "fermions",
        name: "frx",
        description: "X rotation between the two spin states of a tweezer",
        lists: sites,
        wires: "in_register",
        parameters: "phi",
        limits: ("angle", 1),
    },
    MoreGate {
        simulator: "fermions",
        name: "fry",
        description: "Y rotation between the two spin states of a tweezer",
        lists: sites,
        wires: "in_register",
        parameters: "phi",
        limits: ("angle", 1),
    },
    MoreGate {
        simulator: "fermions",
        name: "frz",
        description: "Z rotation between the two spin states of a tweezer",
        lists: sites,
        wires: "in_register",
        parameters: "phi",
        limits: ("angle", 1),
    },
];

/// Lists of wires by the number of wires of the device.
type ListRule = fn(u32) -> Vec<Vec<u32>>;

/// The ways in which the built-in schemas list wires.
const LISTS: [ListRule; 6] = [
    each_wire,
    all_wires,
    // Neighbours, and all of them.
    |wires| (1..wires).map(|wire| vec![wire - 1, wire]).chain((wires > 2).then(|| (0..wires).collect())).collect(),
    // All up to some wire.
    |wires| (2..=wires).map(|end| (0..end).collect()).collect(),
    sites,
    // Two neighbouring sites.
    |wires| (1..wires / 2).map(|site| (2 * site - 2..2 * site + 2).collect()).collect(),
];

fn each_wire(wires: u32) -> Vec<Vec<u32>> {
    (0..wires).map(|wire| vec![wire]).collect()
}

fn all_wires(wires: u32) -> Vec<Vec<u32>> {
    vec![(0..wires).collect()]
}

fn sites(wires: u32) -> Vec<Vec<u32>> {
    (0..wires / 2).map(|site| vec![2 * site, 2 * site + 1]).collect()
}

/// The text of a schema, one of the built-in ones, with these changes.
///
/// # Errors
///
/// What cannot be changed in this schema.
pub fn variant(text: &str, changes: &Variant) -> Result<String, SchemaError> {
    let mut document: Value =
        serde_json::from_str(text).map_err(|error| SchemaError::at("", format!("no JSON: {error}")))?;
    if let Some(wires) = changes.wires {
        resize_wires(&mut document, wires)?;
    }
    let limits = [
        ("/$defs/experiment/properties/shots/maximum", changes.max_shots.map(u64::from)),
        ("/x-qspool/max_experiments", changes.max_experiments),
        ("/$defs/load/prefixItems/2/prefixItems/0/maximum", changes.max_atoms.map(u64::from)),
        ("/x-qspool/hilbert_space/max_states", changes.max_states.map(u64::from)),
    ];
    for (pointer, value) in limits {
        if let Some(value) = value {
            *member(&mut document, pointer)? = value.into();
        }
    }
    for gate in &changes.gates {
        add_gate(&mut document, gate)?;
    }
    serde_json::to_string_pretty(&document).map_err(|error| SchemaError::at("", error.to_string()))
}

fn add_gate(document: &mut Value, name: &str) -> Result<(), SchemaError> {
    let simulator = document.pointer("/x-qspool/simulator").and_then(Value::as_str).unwrap_or_default();
    let known: Vec<&MoreGate> = MORE_GATES.iter().filter(|gate| gate.simulator == simulator).collect();
    let Some(gate) = known.iter().find(|gate| gate.name == name) else {
        let names = known.iter().map(|gate| gate.name).collect::<Vec<_>>().join(", ");
        let allowed = if names.is_empty() { "none".to_owned() } else { names };
        return Err(SchemaError::at("/$defs", format!("no gate {name:?} to add; allowed: {allowed}")));
    };
    let wires = member(document, "/$defs/experiment/properties/num_wires/maximum")?.as_u64().unwrap_or_default();
    let (limit, count) = gate.limits;
    let limits = vec![json!({"$ref": format!("#/$defs/{limit}")}); count];
    let definition = json!({
        "description": gate.description,
        "type": "array",
        "minItems": 3,
        "prefixItems": [
            {"const": name},
            {"enum": (gate.lists)(u32::try_from(wires).unwrap_or_default())},
            {"type": "array", "minItems": count, "maxItems": count, "prefixItems": limits}
        ],
        "x-qspool": {"wires": gate.wires, "parameters": [gate.parameters], "qasm_def": "{}"}
    });
    if let Some(definitions) = member(document, "/$defs")?.as_object_mut() {
        definitions.insert(name.to_owned(), definition);
    }
    let supported = member(document, "/x-qspool/supported_instructions")?.as_array_mut();
    if let Some(supported) = supported.filter(|supported| !supported.contains(&json!(name))) {
        supported.push(json!(name));
    }
    Ok(())
}

fn member<'a>(document: &'a mut Value, pointer: &str) -> Result<&'a mut Value, SchemaError> {
    let missing = || SchemaError::at(pointer, "this schema has no such limit".to_owned());
    document.pointer_mut(pointer).ok_or_else(missing)
}

fn resize_wires(document: &mut Value, wires: u32) -> Result<(), SchemaError> {
    let maximum = member(document, "/$defs/experiment/properties/num_wires/maximum")?;
    let before = maximum.as_u64().and_then(|before| u32::try_from(before).ok()).unwrap_or_default();
    if before == 1 {
        return Err(SchemaError::at("/$defs/experiment/properties/num_wires", "this device has one wire".to_owned()));
    }
    *maximum = wires.into();
    let Some(definitions) = document.get_mut("$defs").and_then(Value::as_object_mut) else { return Ok(()) };
    for (name, definition) in definitions {
        let at = |what: String| SchemaError::at(format!("/$defs/{name}"), what);
        let Some(listed) = definition.pointer_mut("/prefixItems/1") else { continue };
        if let Some(lists) = listed.get_mut("enum") {
            *lists = resized(lists, [before, wires]).ok_or_else(|| at("its wires follow no known rule".to_owned()))?;
            if lists.as_array().is_none_or(Vec::is_empty) {
                return Err(at(format!("acts on no wires of {wires}; use more wires")));
            }
        } else if let Some(last) = listed.pointer_mut("/items/maximum") {
            *last = wires.saturating_sub(1).into();
            listed["maxItems"] = wires.into();
        }
        let Some(rules) = definition.get_mut("x-qspool").and_then(Value::as_object_mut) else { continue };
        // A device of this size is simulated as far as a job asks for it.
        if wires > before && rules.get("wires") == Some(&json!("on_device")) && name != "barrier" {
            let covers_all =
                definition.pointer("/prefixItems/1/enum").and_then(Value::as_array).map(Vec::len) == Some(1);
            let Some(rules) = definition.get_mut("x-qspool").and_then(Value::as_object_mut) else { continue };
            if covers_all {
                rules.insert("wires".to_owned(), json!("whole_register"));
            } else {
                rules.remove("wires");
            }
        }
        if let Some(published) = definition.pointer_mut("/x-qspool/also_published")
            && let Some(lists) = resized(published, [before, wires])
        {
            *published = lists;
        }
    }
    Ok(())
}

/// The same lists for another number of wires; none if they follow no known rule. Lists without wires stay.
fn resized(lists: &Value, [before, after]: [u32; 2]) -> Option<Value> {
    let known: Vec<Vec<u32>> = serde_json::from_value(lists.clone()).ok()?;
    let (empty, known): (Vec<_>, Vec<_>) = known.into_iter().partition(Vec::is_empty);
    let rule = LISTS.iter().find(|rule| rule(before) == known)?;
    Some(json!(empty.into_iter().chain(rule(after)).collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::super::{BackendSchema, builtin};
    use super::*;

    fn text(name: &str) -> &'static str {
        builtin().find(|(known, _)| *known == name).expect("built in").1
    }

    fn resized(name: &str, wires: u32) -> BackendSchema {
        let size = Variant { wires: Some(wires), max_shots: Some(77), ..Variant::default() };
        let text = variant(text(name), &size).unwrap_or_else(|error| panic!("{name} {wires}: {error}"));
        BackendSchema::parse(&text).unwrap_or_else(|error| panic!("{name} {wires}: {error}"))
    }

    #[test]
    fn the_size_of_a_built_in_schema_gives_the_same_schema() {
        for (name, wires) in [("multiqudit", 5), ("fermions", 8), ("rydberg", 5)] {
            let size = Variant { wires: Some(wires), max_shots: Some(1_000_000), ..Variant::default() };
            let same: Value = serde_json::from_str(&variant(text(name), &size).expect("the same")).expect("JSON");
            assert_eq!(same, serde_json::from_str::<Value>(text(name)).expect("JSON"), "{name}");
        }
    }

    #[test]
    fn schemas_of_many_sizes_are_good_and_take_jobs_of_their_size() {
        for (name, wires) in [("multiqudit", 2), ("multiqudit", 12), ("fermions", 24), ("rydberg", 2), ("rydberg", 20)]
        {
            let schema = resized(name, wires);
            assert_eq!((schema.max_num_wires(), schema.max_shots()), (wires, 77), "{name}");
            let job = |wire: u32, shots: u32| {
                let order = if name == "fermions" { "interleaved" } else { "sequential" };
                format!(
                    r#"{{"experiment_0": {{"instructions": [["measure", [{wire}], []]], "num_wires": {wires},
                    "shots": {shots}, "wire_order": "{order}"}}}}"#
                )
            };
            schema.validate(job(wires - 1, 77).as_bytes()).unwrap_or_else(|error| panic!("{name} {wires}: {error:?}"));
            schema.validate(job(wires, 77).as_bytes()).expect_err("no such wire");
            schema.validate(job(0, 78).as_bytes()).expect_err("too many shots");
        }
    }

    #[test]
    fn a_larger_lattice_of_fermions_hops_and_interacts_everywhere() {
        let schema = resized("fermions", 12);
        let job = |num_wires: u32, gate: &str| {
            format!(
                r#"{{"experiment_0": {{"instructions": [{gate}, ["measure", [0], []]], "num_wires": {num_wires},
                "shots": 1, "wire_order": "interleaved"}}}}"#
            )
        };
        for gate in [
            r#"["fhop", [8, 9, 10, 11], [1]]"#,
            r#"["fint", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], [1]]"#,
            r#"["fphase", [10, 11], [1]]"#,
            r#"["load", [11], []]"#,
        ] {
            schema.validate(job(12, gate).as_bytes()).unwrap_or_else(|error| panic!("{gate}: {error:?}"));
        }
        schema.validate(job(10, r#"["fhop", [8, 9, 10, 11], [1]]"#).as_bytes()).expect_err("beyond the register");
    }

    #[test]
    fn gates_of_clients_are_added_where_the_simulator_knows_them() {
        for gate in MORE_GATES {
            let added = Variant { gates: vec![gate.name.to_owned()], ..Variant::default() };
            let text = variant(text(gate.simulator), &added).unwrap_or_else(|error| panic!("{}: {error}", gate.name));
            let schema = BackendSchema::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", gate.name));
            assert!(schema.supported_instructions().iter().any(|name| name == gate.name));
            let wires = schema.max_num_wires();
            let list = (gate.lists)(wires).pop().expect("a list");
            let job = json!({"experiment_0": {
                "instructions": [[gate.name, list, vec![0.5; gate.limits.1]], ["measure", [0], []]],
                "num_wires": wires, "shots": 3, "wire_order": "interleaved", "seed": 1
            }});
            let job = schema.validate(job.to_string().as_bytes()).unwrap_or_else(|error| panic!("{error:?}"));
            let simulator = crate::simulator::simulator(gate.simulator).expect("built in");
            let stop = qspool_driver::StopFlag::default();
            simulator.prepare(&job.experiments[0].program, &stop).unwrap_or_else(|error| panic!("{error}"));
        }
        let unknown = Variant { gates: vec!["frx".to_owned()], ..Variant::default() };
        let error = variant(text("rydberg"), &unknown).expect_err("no fermions").to_string();
        assert!(error.contains("allowed: rydberg_blockade"), "{error}");
    }

    #[test]
    fn what_a_schema_does_not_limit_cannot_be_changed() {
        let change = |name, size| variant(text(name), &size).expect_err("no such limit").to_string();
        assert!(change("singlequdit", Variant { wires: Some(2), ..Variant::default() }).contains("one wire"));
        assert!(change("rydberg", Variant { max_atoms: Some(2), ..Variant::default() }).contains("no such limit"));
        assert!(change("fermions", Variant { wires: Some(2), ..Variant::default() }).contains("use more wires"));
    }
}
