//! The built-in schemas for devices of another size.

use serde_json::{Value, json};

use super::error::SchemaError;
use super::more_gates::add_gate;

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

/// Lists of wires by the number of wires of the device.
pub(super) type ListRule = fn(u32) -> Vec<Vec<u32>>;

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

pub(super) fn each_wire(wires: u32) -> Vec<Vec<u32>> {
    (0..wires).map(|wire| vec![wire]).collect()
}

pub(super) fn all_wires(wires: u32) -> Vec<Vec<u32>> {
    vec![(0..wires).collect()]
}

pub(super) fn sites(wires: u32) -> Vec<Vec<u32>> {
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

/// What a pointer leads to, where the schema has it.
pub(super) fn member<'a>(document: &'a mut Value, pointer: &str) -> Result<&'a mut Value, SchemaError> {
    let missing = || SchemaError::at(pointer, "this schema has no such limit".to_owned());
    document.pointer_mut(pointer).ok_or_else(missing)
}

fn resize_wires(document: &mut Value, wires: u32) -> Result<(), SchemaError> {
    const NUM_WIRES: &str = "/$defs/experiment/properties/num_wires";
    let maximum = member(document, &format!("{NUM_WIRES}/maximum"))?;
    let before = maximum.as_u64().and_then(|before| u32::try_from(before).ok()).unwrap_or_default();
    if before == 1 {
        return Err(SchemaError::at(NUM_WIRES, "this device has one wire"));
    }
    *maximum = wires.into();
    let Some(definitions) = document.get_mut("$defs").and_then(Value::as_object_mut) else { return Ok(()) };
    for (name, definition) in definitions {
        resize_instruction(definition, [before, wires])
            .map_err(|what| SchemaError::at(format!("/$defs/{name}"), what))?;
    }
    Ok(())
}

/// The same for one instruction; other definitions stay.
fn resize_instruction(definition: &mut Value, [before, wires]: [u32; 2]) -> Result<(), String> {
    let Some(listed) = definition.pointer_mut("/prefixItems/1") else { return Ok(()) };
    let Some(lists) = listed.get_mut("enum") else {
        if let Some(last) = listed.pointer_mut("/items/maximum") {
            *last = wires.saturating_sub(1).into();
            listed["maxItems"] = wires.into();
        }
        return Ok(());
    };
    *lists = resized(lists, [before, wires]).ok_or("its wires follow no known rule")?;
    let count = lists.as_array().map_or(0, Vec::len);
    if count == 0 {
        return Err(format!("acts on no wires of {wires}; use more wires"));
    }
    let Some(notes) = definition.get_mut("x-qspool").and_then(Value::as_object_mut) else { return Ok(()) };
    // A device of this size is simulated as far as a job asks for it.
    if wires > before && notes.get("wires") == Some(&json!("on_device")) {
        let rule = if count == 1 { "whole_register" } else { "in_register" };
        notes.insert("wires".to_owned(), json!(rule));
    }
    if let Some(published) = notes.get_mut("also_published")
        && let Some(lists) = resized(published, [before, wires])
    {
        *published = lists;
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
    fn what_a_schema_does_not_limit_cannot_be_changed() {
        let change = |name, size| variant(text(name), &size).expect_err("no such limit").to_string();
        assert!(change("singlequdit", Variant { wires: Some(2), ..Variant::default() }).contains("one wire"));
        assert!(change("rydberg", Variant { max_atoms: Some(2), ..Variant::default() }).contains("no such limit"));
        assert!(change("fermions", Variant { wires: Some(2), ..Variant::default() }).contains("use more wires"));
    }
}
