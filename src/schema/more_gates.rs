//! Gates that simulators know and the built-in schemas do not have.

use serde_json::{Value, json};

use super::error::SchemaError;
use super::variant::{ListRule, all_wires, each_wire, member, sites};

/// A gate that a simulator knows beside those of its schema.
struct MoreGate {
    simulator: &'static str,
    name: &'static str,
    description: &'static str,
    lists: ListRule,
    wires: &'static str,
    /// The names of the parameters by the number of wires of the device.
    parameters: fn(u32) -> Vec<String>,
    /// The definition that each parameter keeps to.
    limits: &'static str,
}

/// A strength of either sign.
const SIGNED_STRENGTH: &str = "signed_strength";

/// Its range: that of the strengths of the other simulators, both ways.
const LARGEST_STRENGTH: f64 = 5e6 * std::f64::consts::PI;

/// An angle, for both modes of a site.
const OF_SITE: MoreGate = MoreGate {
    simulator: "fermions",
    name: "",
    description: "",
    lists: sites,
    wires: "in_register",
    parameters: |_| vec!["phi".to_owned()],
    limits: "angle",
};

/// The gates of qiskit-cold-atom 0.2, with its names, signs and order of parameters.
const MORE_GATES: [MoreGate; 8] = [
    MoreGate {
        simulator: "singlequdit",
        name: "rly",
        description: "Evolution under Ly",
        lists: each_wire,
        parameters: |_| vec!["omega".to_owned()],
        ..OF_SITE
    },
    MoreGate {
        simulator: "multiqudit",
        name: "rly",
        description: "Evolution under Ly",
        lists: each_wire,
        parameters: |_| vec!["omega".to_owned()],
        ..OF_SITE
    },
    MoreGate {
        simulator: "singlequdit",
        name: "OAT",
        description: "Evolution under chi Lz2 + delta Lz + omega Lx",
        lists: each_wire,
        parameters: |_| ["chi", "delta", "omega"].map(str::to_owned).into(),
        limits: "strength",
        ..OF_SITE
    },
    MoreGate {
        simulator: "rydberg",
        name: "rydberg_blockade",
        description: "Apply the Rydberg blockade over the whole array",
        lists: all_wires,
        wires: "whole_register",
        ..OF_SITE
    },
    MoreGate {
        name: "fhubbard",
        description: "hopping, interaction and local potentials at the same time",
        lists: all_wires,
        wires: "whole_register",
        parameters: hubbard_parameters,
        limits: SIGNED_STRENGTH,
        ..OF_SITE
    },
    MoreGate { name: "frx", description: "X rotation between the two spin states of a tweezer", ..OF_SITE },
    MoreGate { name: "fry", description: "Y rotation between the two spin states of a tweezer", ..OF_SITE },
    MoreGate { name: "frz", description: "Z rotation between the two spin states of a tweezer", ..OF_SITE },
];

/// The hops between neighbouring sites, the interaction, the potentials of the sites.
fn hubbard_parameters(wires: u32) -> Vec<String> {
    let sites = wires / 2;
    let hops = (1..sites).map(|site| format!("j_{}", site - 1));
    let potentials = (0..sites).map(|site| format!("mu_{site}"));
    hops.chain(["u".to_owned()]).chain(potentials).collect()
}

/// Adds one of these gates to the schema of its simulator.
///
/// # Errors
///
/// Which gates there are for this simulator.
pub(super) fn add_gate(document: &mut Value, name: &str) -> Result<(), SchemaError> {
    let simulator = document.pointer("/x-qspool/simulator").and_then(Value::as_str).unwrap_or_default();
    let known: Vec<&MoreGate> = MORE_GATES.iter().filter(|gate| gate.simulator == simulator).collect();
    let Some(gate) = known.iter().find(|gate| gate.name == name) else {
        let names = known.iter().map(|gate| gate.name).collect::<Vec<_>>().join(", ");
        let allowed = if names.is_empty() { "none".to_owned() } else { names };
        return Err(SchemaError::at("/$defs", format!("no gate {name:?} to add; allowed: {allowed}")));
    };
    let wires = member(document, "/$defs/experiment/properties/num_wires/maximum")?.as_u64().unwrap_or_default();
    let wires = u32::try_from(wires).unwrap_or_default();
    let (limit, parameters) = (gate.limits, (gate.parameters)(wires));
    let count = parameters.len();
    let limits = vec![json!({"$ref": format!("#/$defs/{limit}")}); count];
    let definition = json!({
        "description": gate.description,
        "type": "array",
        "minItems": 3,
        "prefixItems": [
            {"const": name},
            {"enum": (gate.lists)(wires)},
            {"type": "array", "minItems": count, "maxItems": count, "prefixItems": limits}
        ],
        "x-qspool": {"wires": gate.wires, "parameters": [parameters.join(", ")], "qasm_def": "{}"}
    });
    if let Some(definitions) = member(document, "/$defs")?.as_object_mut() {
        definitions.insert(name.to_owned(), definition);
        if limit == SIGNED_STRENGTH {
            let range = json!({"type": "number", "minimum": -LARGEST_STRENGTH, "maximum": LARGEST_STRENGTH});
            definitions.insert(SIGNED_STRENGTH.to_owned(), range);
        }
    }
    let supported = member(document, "/x-qspool/supported_instructions")?.as_array_mut();
    if let Some(supported) = supported.filter(|supported| !supported.contains(&json!(name))) {
        supported.push(json!(name));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{BackendSchema, Variant, builtin, variant};
    use super::*;

    fn schema(name: &str) -> &'static str {
        builtin().find(|(known, _)| *known == name).expect("built in").1
    }

    #[test]
    fn gates_of_clients_are_added_where_the_simulator_knows_them() {
        for gate in MORE_GATES {
            let added = Variant { gates: vec![gate.name.to_owned()], ..Variant::default() };
            let text = variant(schema(gate.simulator), &added).unwrap_or_else(|error| panic!("{}: {error}", gate.name));
            let schema = BackendSchema::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", gate.name));
            assert!(schema.supported_instructions().iter().any(|name| name == gate.name));
            let wires = schema.max_num_wires();
            let list = (gate.lists)(wires).pop().expect("a list");
            let job = json!({"experiment_0": {
                "instructions": [[gate.name, list, vec![0.5; (gate.parameters)(wires).len()]], ["measure", [0], []]],
                "num_wires": wires, "shots": 3, "wire_order": "interleaved", "seed": 1
            }});
            let job = schema.validate(job.to_string().as_bytes()).unwrap_or_else(|error| panic!("{error:?}"));
            let simulator = crate::simulator::simulator(gate.simulator).expect("built in");
            let stop = qspool_driver::StopFlag::default();
            simulator.prepare(&job.experiments[0].program, &stop).unwrap_or_else(|error| panic!("{error}"));
        }
        let unknown = Variant { gates: vec!["frx".to_owned()], ..Variant::default() };
        let error = variant(schema("rydberg"), &unknown).expect_err("no fermions").to_string();
        assert!(error.contains("allowed: rydberg_blockade"), "{error}");
    }
}
