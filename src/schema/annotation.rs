//! The annotation `x-qspool` of a schema file: what JSON Schema cannot say.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::error::{SchemaError, member};
use super::words;

/// The key of the annotation.
pub(super) const KEY: &str = "x-qspool";

/// The annotation at the top of the file: facts of the whole backend.
#[derive(Debug)]
pub(super) struct BackendAnnotation {
    /// None where only a device runs the jobs.
    pub(super) simulator: Option<String>,
    pub(super) version: String,
    pub(super) cold_atom_type: AtomType,
    pub(super) num_species: u64,
    /// The published order of wires; what a job may ask for is in the schema of an experiment.
    pub(super) wire_order: PublishedOrder,
    pub(super) max_experiments: u64,
    /// In the order in which they are published.
    pub(super) supported_instructions: Vec<String>,
    pub(super) report_instructions: bool,
    pub(super) hilbert_space: Option<HilbertSpace>,
}

/// The kind of particles, in the words that clients know.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum AtomType {
    Fermion,
    Boson,
    Spin,
    Mixed,
}

impl AtomType {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Fermion => "fermion",
            Self::Boson => "boson",
            Self::Spin => "spin",
            Self::Mixed => "mixed",
        }
    }
}

/// The numbering of wires that is published.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum PublishedOrder {
    Sequential,
    Interleaved,
}

impl PublishedOrder {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Sequential => "sequential",
            Self::Interleaved => "interleaved",
        }
    }
}

/// The largest register, counted in states.
#[derive(Debug)]
pub(super) struct HilbertSpace {
    pub(super) max_states: u32,
    /// The instruction whose first parameter is the number of atoms on a wire.
    pub(super) atoms_from: String,
}

/// The annotation of one instruction.
#[derive(Debug)]
pub(super) struct InstructionAnnotation {
    pub(super) wires: WireRule,
    /// The names of the parameters as they are published: one or several names, separated by commas, in each text.
    pub(super) parameters: Vec<String>,
    /// Makes the instruction a published gate.
    pub(super) qasm_def: Option<String>,
    /// Lists of wires that are published although jobs may not use them.
    pub(super) also_published: Vec<Vec<u32>>,
}

/// How the wires of an instruction relate to the size of the register that a job asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum WireRule {
    /// Each wire lies in the register: below `num_wires`.
    #[default]
    InRegister,
    /// The wires are those of the device; `num_wires` does not matter.
    OnDevice,
    /// Acts on the whole register, whichever of its lists is given; the list of all the register's wires is one.
    WholeRegister,
    /// The list of all the device's wires, or of all the register's, means the whole register; others lie within it.
    PartOrWhole,
}

impl BackendAnnotation {
    pub(super) fn read(document: &Map<String, Value>) -> Result<Self, SchemaError> {
        let mut fields = Fields::of(document, "")?;
        let annotation = Self {
            simulator: fields.optional("simulator", "the name of a simulator")?,
            version: fields.required("version", "a text")?,
            cold_atom_type: fields.required("cold_atom_type", r#""fermion", "boson", "spin", "mixed""#)?,
            num_species: fields.required("num_species", "an integer, at least 0")?,
            wire_order: fields.required("wire_order", r#""sequential", "interleaved""#)?,
            max_experiments: fields.required("max_experiments", "an integer, at least 0")?,
            supported_instructions: fields.required("supported_instructions", "a list of names")?,
            report_instructions: fields.optional("report_instructions", "true or false")?.unwrap_or(true),
            hilbert_space: HilbertSpace::read(&mut fields)?,
        };
        fields.end()?;
        Ok(annotation)
    }
}

impl HilbertSpace {
    fn read(parent: &mut Fields) -> Result<Option<Self>, SchemaError> {
        const NAME: &str = "hilbert_space";
        let Some(space) = parent.optional::<Map<String, Value>>(NAME, "an object")? else { return Ok(None) };
        let mut fields = Fields { object: &space, pointer: member(&parent.pointer, NAME), asked: Vec::new() };
        let limit = Self {
            max_states: fields.required("max_states", "an integer, 0 to 4294967295")?,
            atoms_from: fields.required("atoms_from", "the name of an instruction")?,
        };
        fields.end()?;
        Ok(Some(limit))
    }
}

impl InstructionAnnotation {
    pub(super) fn read(schema: &Map<String, Value>, pointer: &str) -> Result<Self, SchemaError> {
        let mut fields = Fields::of(schema, pointer)?;
        let rules = r#""in_register", "on_device", "whole_register", "part_or_whole""#;
        let annotation = Self {
            wires: fields.optional("wires", rules)?.unwrap_or_default(),
            parameters: fields.optional("parameters", "a list of names")?.unwrap_or_default(),
            qasm_def: fields.optional("qasm_def", "a text")?,
            also_published: fields.optional("also_published", "a list of lists of wires")?.unwrap_or_default(),
        };
        fields.end()?;
        Ok(annotation)
    }

    /// One name per parameter.
    pub(super) fn parameter_names(&self) -> Vec<String> {
        let names = self.parameters.iter().flat_map(|text| text.split(','));
        names.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
    }
}

/// An object whose keys are read one after the other; what was never asked for is an unknown key.
struct Fields<'a> {
    object: &'a Map<String, Value>,
    pointer: String,
    asked: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The annotation of the schema at `pointer`.
    fn of(schema: &'a Map<String, Value>, pointer: &str) -> Result<Self, SchemaError> {
        let pointer_of_annotation = member(pointer, KEY);
        match schema.get(KEY) {
            Some(Value::Object(object)) => Ok(Self { object, pointer: pointer_of_annotation, asked: Vec::new() }),
            Some(_) => Err(SchemaError::at(pointer_of_annotation, "not an object")),
            None => Err(SchemaError::at(pointer, format!("key {KEY:?} missing"))),
        }
    }

    fn optional<T: DeserializeOwned>(&mut self, key: &'static str, allowed: &str) -> Result<Option<T>, SchemaError> {
        self.asked.push(key);
        let Some(value) = self.object.get(key) else { return Ok(None) };
        let refused = |_| {
            let message = format!("{} not allowed; allowed: {allowed}", words::shown(value));
            SchemaError::at(member(&self.pointer, key), message)
        };
        T::deserialize(value).map(Some).map_err(refused)
    }

    fn required<T: DeserializeOwned>(&mut self, key: &'static str, allowed: &str) -> Result<T, SchemaError> {
        let value = self.optional(key, allowed)?;
        value.ok_or_else(|| SchemaError::at(&*self.pointer, format!("key {key:?} missing; needed: {allowed}")))
    }

    fn end(self) -> Result<(), SchemaError> {
        let unknown = self.object.keys().find(|key| !self.asked.contains(&key.as_str()));
        unknown.map_or(Ok(()), |key| Err(unknown_key(&self.pointer, key, &self.asked)))
    }
}

/// The error for a key that means nothing, with the nearest of the `known` ones.
pub(super) fn unknown_key(pointer: &str, key: &str, known: &[&str]) -> SchemaError {
    let hint = words::nearest(key, known.iter().copied());
    let hint = hint
        .map_or_else(|| format!("; allowed: {}", known.join(", ")), |nearest| format!("; did you mean {nearest:?}?"));
    SchemaError::at(pointer, format!("unknown key {}{hint}", words::shown_text(key)))
}
