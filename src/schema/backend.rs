//! The compiled schema of a backend: what it publishes, and the door through which every job has to pass.

use std::collections::HashMap;

use jsonschema::Validator;
use qspool_driver::WireOrder;
use serde_json::Value;

use super::annotation::BackendAnnotation;
use super::check::JobCheck;
use super::error::SchemaError;
use super::file;
use super::instruction::InstructionSchema;
use super::reader;
use super::rejection::{Rejection, RejectionKind};
use super::valid::Valid;
use super::words;
use crate::job::{BackendConfig, BackendName, GateConfig, Job};

/// One backend as its schema file describes it: which jobs it takes and what it publishes of itself.
///
/// Everything is compiled when the file is read; checking a job compiles nothing.
#[derive(Debug)]
pub struct BackendSchema {
    /// The file as JSON, from which messages take their words.
    pub(super) document: Value,
    pub(super) description: String,
    pub(super) annotation: BackendAnnotation,
    pub(super) gates: Vec<GateConfig>,
    pub(super) max_num_wires: u32,
    pub(super) max_shots: u32,
    pub(super) default_wire_order: Option<WireOrder>,
    /// How many instructions matter to the limits of their number.
    pub(super) most_counted_instructions: usize,
    pub(super) experiment_name: Validator,
    /// An experiment without a look at its instructions.
    pub(super) experiment: Validator,
    /// The form that all instructions share.
    pub(super) any_instruction: Validator,
    pub(super) instructions: HashMap<String, InstructionSchema>,
}

impl BackendSchema {
    /// Reads, checks and compiles the text of a schema file.
    pub fn parse(text: &str) -> Result<Self, SchemaError> {
        file::parse(text)
    }

    /// Checks the text of a job, as it lies in a queue. Time and memory grow with the length of the text and with
    /// nothing else; no text makes this panic.
    ///
    /// The experiments keep the order of their keys. A number without a fraction counts as an integer however it is
    /// written; strings and booleans are no numbers. Unknown keys of an experiment and what follows the params of an
    /// instruction are not looked at.
    pub fn validate(&self, text: &[u8]) -> Result<Valid<Job>, Rejection> {
        let mut check = JobCheck::new(self);
        match reader::read(text, &mut check) {
            Ok(()) => check.end().map(Valid::new),
            Err(why) => Err(Rejection::new(RejectionKind::Invalid, vec![why], false)),
        }
    }

    /// What the backend publishes under `name`; unsigned, and nobody has looked at its queue.
    pub fn configuration(&self, name: &BackendName) -> BackendConfig {
        BackendConfig {
            description: self.description.clone(),
            version: self.annotation.version.clone(),
            display_name: name.to_string(),
            cold_atom_type: self.annotation.cold_atom_type.as_str().into(),
            gates: self.gates.clone(),
            max_experiments: self.annotation.max_experiments,
            max_shots: self.max_shots.into(),
            simulator: true,
            supported_instructions: self.annotation.supported_instructions.clone(),
            num_wires: self.max_num_wires.into(),
            wire_order: self.annotation.wire_order.as_str().into(),
            num_species: self.annotation.num_species,
            pending_jobs: None,
            status_msg: None,
            last_queue_check: None,
            sign: false,
            kid: None,
        }
    }

    /// The name of the simulator that runs the jobs where no driver is given; none where there is no simulator for them.
    pub fn simulator(&self) -> Option<&str> {
        self.annotation.simulator.as_deref()
    }

    /// The version of the backend, which results repeat.
    pub fn version(&self) -> &str {
        &self.annotation.version
    }

    /// Whether results list the instructions that were run.
    pub fn reports_instructions(&self) -> bool {
        self.annotation.report_instructions
    }

    /// The largest register that a job may ask for, in wires.
    pub fn max_num_wires(&self) -> u32 {
        self.max_num_wires
    }

    /// The most shots that an experiment may ask for.
    pub fn max_shots(&self) -> u32 {
        self.max_shots
    }

    /// The largest number that an experiment's name may carry.
    pub fn max_experiments(&self) -> u64 {
        self.annotation.max_experiments
    }

    /// The names of all instructions, in the order in which they are published.
    pub fn supported_instructions(&self) -> &[String] {
        &self.annotation.supported_instructions
    }

    pub(super) fn document(&self) -> &Value {
        &self.document
    }

    /// The instruction `name`, with its name as the schema has it.
    pub(super) fn instruction(&self, name: &str) -> Option<(&str, &InstructionSchema)> {
        self.instructions.get_key_value(name).map(|(name, schema)| (name.as_str(), schema))
    }

    /// The limit of the number of states, and the instruction that says how many atoms a wire has.
    pub(super) fn max_states(&self) -> Option<(u32, &str)> {
        self.annotation.hilbert_space.as_ref().map(|space| (space.max_states, space.atoms_from.as_str()))
    }

    pub(super) fn default_wire_order(&self) -> Option<WireOrder> {
        self.default_wire_order
    }

    pub(super) fn most_counted_instructions(&self) -> usize {
        self.most_counted_instructions
    }

    /// The schema of the key `key` of an experiment.
    pub(super) fn experiment_property(&self, key: &str) -> Option<&Value> {
        self.document.pointer("/$defs/experiment/properties")?.get(key)
    }

    /// What the key `key` of an experiment allows, in words.
    pub(super) fn allowed_property(&self, key: &str, with_type: bool) -> String {
        let schema = self.experiment_property(key).unwrap_or(&Value::Null);
        if key == "instructions" {
            return if with_type { "a list of [name, wires, params]".into() } else { words::count(schema) };
        }
        words::allowed(&self.document, schema, with_type)
    }

    /// What the definition `name` allows, in words.
    pub(super) fn allowed_in(&self, name: &str) -> String {
        let schema = self.document.get("$defs").and_then(|defs| defs.get(name)).unwrap_or(&Value::Null);
        words::allowed(&self.document, schema, false)
    }
}
