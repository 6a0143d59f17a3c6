//! The JSON schema of the configuration, and how the rest of this room reads it.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::options::Tables;

/// The JSON schema (draft 2020-12) of the configuration file, made from the options structs and their docs.
///
/// Beside the keywords of JSON Schema the format `path` marks paths, `name-or-path` the reference to a backend's
/// schema, and `writeOnly` a secret, whose value no message repeats.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<Tables>().to_value();
    // Each key has its own default; the same again at its table would only have to be kept in mind.
    for table in tables_mut(&mut schema) {
        table.remove("default");
    }
    schema
}

fn tables_mut(schema: &mut Value) -> impl Iterator<Item = &mut Map<String, Value>> {
    let tables = schema["properties"].as_object_mut();
    tables.into_iter().flat_map(Map::values_mut).filter_map(Value::as_object_mut)
}

/// Whether any key of this name is a secret.
pub(super) fn is_secret(name: &str) -> bool {
    fn is_below(schema: &Value, name: &str) -> bool {
        match schema {
            Value::Object(keywords) => {
                keywords.get("properties").is_some_and(|properties| properties[name]["writeOnly"] == true)
                    || keywords.values().any(|below| is_below(below, name))
            }
            Value::Array(list) => list.iter().any(|below| is_below(below, name)),
            _ => false,
        }
    }
    is_below(&schema(), name)
}

/// How a schema describes its value.
pub(super) enum Shape<'a> {
    /// A table of known keys; some may depend on the key that chooses a variant.
    Table(Table<'a>),
    /// A table of names that the operator chooses, all described by one schema.
    Named(&'a Value),
    /// A single value.
    Leaf,
}

/// A table of known keys.
pub(super) struct Table<'a> {
    /// The keys of every variant.
    pub(super) common: &'a Value,
    /// The variants, if there are any: each names itself in the constant of its key.
    pub(super) variants: Vec<Variant<'a>>,
}

/// One variant of a table.
pub(super) struct Variant<'a> {
    /// The key that chooses the variant.
    pub(super) key: &'a str,
    /// The value of that key.
    pub(super) name: &'a Value,
    /// The keys of the variant.
    pub(super) schema: &'a Value,
}

/// How `schema` describes its value.
pub(super) fn shape(schema: &Value) -> Shape<'_> {
    let variants: Vec<_> = alternatives(schema).filter_map(variant).collect();
    if schema["additionalProperties"].is_object() {
        Shape::Named(&schema["additionalProperties"])
    } else if schema["properties"].is_object() || !variants.is_empty() {
        Shape::Table(Table { common: schema, variants })
    } else {
        Shape::Leaf
    }
}

fn variant(schema: &Value) -> Option<Variant<'_>> {
    properties(schema).find_map(|(key, property)| Some(Variant { key, name: property.get("const")?, schema }))
}

fn alternatives(schema: &Value) -> impl Iterator<Item = &Value> {
    schema["oneOf"].as_array().into_iter().flatten()
}

/// The keys of a table and their schemas.
pub(super) fn properties(schema: &Value) -> impl Iterator<Item = (&str, &Value)> {
    schema["properties"].as_object().into_iter().flatten().map(|(key, property)| (key.as_str(), property))
}

/// The keys that a table must have.
pub(super) fn required(schema: &Value) -> impl Iterator<Item = &Value> {
    schema["required"].as_array().into_iter().flatten()
}

/// The values that a leaf allows, where it lists them, each with its own schema.
pub(super) fn choices(schema: &Value) -> impl Iterator<Item = (&Value, &Value)> {
    alternatives(schema).filter_map(|choice| Some((choice.get("const")?, choice)))
}

impl<'a> Table<'a> {
    /// The keys of all variants.
    pub(super) fn properties(&self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let of_variants = self.variants.iter().flat_map(|variant| properties(variant.schema));
        of_variants.chain(properties(self.common))
    }
}
