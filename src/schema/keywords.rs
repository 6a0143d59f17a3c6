//! The words of JSON Schema 2020-12 that a backend's file may use, and where schemas lie inside schemas.

use serde_json::{Map, Value};

use super::annotation::{self, unknown_key};
use super::error::{SchemaError, member};
use super::words;

/// What the value of a keyword holds.
#[derive(Clone, Copy)]
enum Holds {
    /// No schema.
    Data,
    Schema,
    ListOfSchemas,
    SchemasByName,
    /// The pointer of another schema of the file.
    Reference,
}

/// Keywords that say nothing about a value, or that no message has words for, are not among them: a misspelt or
/// ineffective limit would go unnoticed.
const KEYWORDS: &[(&str, Holds)] = &[
    ("$schema", Holds::Data),
    ("$ref", Holds::Reference),
    ("$defs", Holds::SchemasByName),
    ("$comment", Holds::Data),
    ("title", Holds::Data),
    ("description", Holds::Data),
    ("default", Holds::Data),
    ("examples", Holds::Data),
    ("type", Holds::Data),
    ("enum", Holds::Data),
    ("const", Holds::Data),
    ("multipleOf", Holds::Data),
    ("minimum", Holds::Data),
    ("exclusiveMinimum", Holds::Data),
    ("maximum", Holds::Data),
    ("exclusiveMaximum", Holds::Data),
    ("minLength", Holds::Data),
    ("maxLength", Holds::Data),
    ("pattern", Holds::Data),
    ("items", Holds::Schema),
    ("prefixItems", Holds::ListOfSchemas),
    ("minItems", Holds::Data),
    ("maxItems", Holds::Data),
    ("uniqueItems", Holds::Data),
    ("properties", Holds::SchemasByName),
    ("additionalProperties", Holds::Schema),
    ("propertyNames", Holds::Schema),
    ("required", Holds::Data),
    ("minProperties", Holds::Data),
    ("maxProperties", Holds::Data),
    ("allOf", Holds::ListOfSchemas),
    ("anyOf", Holds::ListOfSchemas),
    ("oneOf", Holds::ListOfSchemas),
    ("not", Holds::Schema),
    ("if", Holds::Schema),
    ("then", Holds::Schema),
    ("else", Holds::Schema),
    (annotation::KEY, Holds::Data),
];

/// Checks that `document` uses known keywords only and that each `$ref` names a schema of the file.
pub(super) fn check(document: &Value) -> Result<(), SchemaError> {
    check_schema(document, document, "")
}

fn check_schema(document: &Value, schema: &Value, pointer: &str) -> Result<(), SchemaError> {
    let Value::Object(schema) = schema else { return Ok(()) };
    for (key, value) in schema {
        let Some((_, holds)) = KEYWORDS.iter().find(|(keyword, _)| keyword == key) else {
            let known: Vec<&str> = KEYWORDS.iter().map(|(keyword, _)| *keyword).collect();
            return Err(unknown_key(pointer, key, &known));
        };
        let is_annotated = pointer.is_empty() || (pointer.starts_with("/$defs/") && pointer.matches('/').count() == 2);
        if key == annotation::KEY && !is_annotated {
            return Err(SchemaError::at(
                pointer,
                format!("{key:?} not allowed here; allowed: at the top and in an instruction"),
            ));
        }
        let pointer = member(pointer, key);
        match (holds, value) {
            (Holds::Schema, value) => check_schema(document, value, &pointer)?,
            (Holds::ListOfSchemas, Value::Array(schemas)) => {
                for (index, schema) in schemas.iter().enumerate() {
                    check_schema(document, schema, &format!("{pointer}/{index}"))?;
                }
            }
            (Holds::SchemasByName, Value::Object(schemas)) => check_each(document, schemas, &pointer)?,
            (Holds::Reference, reference) => check_reference(document, reference, &pointer)?,
            // What has the wrong type is for the meta-schema to say.
            (Holds::Data | Holds::ListOfSchemas | Holds::SchemasByName, _) => {}
        }
    }
    Ok(())
}

fn check_each(document: &Value, schemas: &Map<String, Value>, pointer: &str) -> Result<(), SchemaError> {
    schemas.iter().try_for_each(|(name, schema)| check_schema(document, schema, &member(pointer, name)))
}

fn check_reference(document: &Value, reference: &Value, pointer: &str) -> Result<(), SchemaError> {
    let refused = |why: &str| SchemaError::at(pointer, format!("{} {why}", words::shown(reference)));
    let target = reference.as_str().and_then(|text| text.strip_prefix('#'));
    let Some(target) = target.filter(|target| target.starts_with("/$defs/")) else {
        return Err(refused(r##"not allowed; allowed: "#/$defs/…" of the same file"##));
    };
    let Some(schema) = document.pointer(target) else { return Err(refused("names nothing in this file")) };
    // A chain that has an end ends at a schema without a reference.
    if words::resolved(document, schema).get("$ref").is_some() {
        return Err(refused("leads back to itself"));
    }
    Ok(())
}
