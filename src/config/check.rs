//! Values against the schema of the configuration: every problem, in words.

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind as Kind;
use serde_json::{Map, Value, json};

use super::error::Problem;
use super::layers::{Key, Layers, SECRET};
use super::schema::{self, Shape};

/// Compares the values with their `fitted` schema and lists what is wrong.
pub(super) fn check(fitted: &Value, layers: &Layers) -> Vec<Problem> {
    match jsonschema::draft4::new(fitted) {
        Ok(validator) => {
            validator.iter_errors(&layers.value).flat_map(|error| problems(fitted, layers, &error)).collect()
        }
        Err(error) => vec![Problem::new(layers.place(&Key::default()), error.to_string())],
    }
}

/// The schema of just these values: chosen names are spelt out and variants are resolved, so that whatever does not
/// fit shows at the key itself, and the keys that are known stand at the same path as the values.
///
/// The result is of draft 4, in which 60.0 is no integer: serde reads it so too.
pub(super) fn fit(schema: &Value, value: &Value) -> Value {
    match schema::shape(schema) {
        Shape::Leaf => leaf(schema),
        Shape::Named(schema) => {
            let names = value.as_object().into_iter().flatten();
            closed(names.map(|(name, value)| (name.clone(), fit(schema, value))).collect(), Vec::new())
        }
        Shape::Table(table) => {
            let mut required: Vec<_> = schema::required(schema).cloned().collect();
            let mut keys = Map::new();
            if let Some(variant) = table.variants.iter().find(|one| value.get(one.key) == Some(one.name)) {
                required.extend(schema::required(variant.schema).cloned());
                keys.extend(fit_all(schema::properties(variant.schema), value));
            } else {
                // While no variant is chosen, the keys of none are wrong.
                keys.extend(table.properties().map(|(key, _)| (key.to_owned(), json!({}))));
                let names: Vec<_> = table.variants.iter().map(|variant| variant.name).collect();
                if let Some(first) = table.variants.first() {
                    required.push(first.key.into());
                    keys.insert(first.key.to_owned(), json!({ "enum": names }));
                }
            }
            keys.extend(fit_all(schema::properties(table.common), value));
            closed(keys, required)
        }
    }
}

fn fit_all<'a>(
    properties: impl Iterator<Item = (&'a str, &'a Value)>,
    value: &Value,
) -> impl Iterator<Item = (String, Value)> {
    properties.map(|(key, schema)| (key.to_owned(), fit(schema, value.get(key).unwrap_or(&Value::Null))))
}

fn closed(keys: Map<String, Value>, required: Vec<Value>) -> Value {
    let keys = Value::Object(keys);
    let mut schema = json!({ "type": "object", "properties": keys, "additionalProperties": false });
    // Draft 4 has no empty list here.
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    schema
}

/// A single value: TOML has no null, and a choice is an `enum`.
fn leaf(schema: &Value) -> Value {
    let mut schema = schema.clone();
    let choices: Vec<_> = schema::choices(&schema).map(|(value, _)| value.clone()).collect();
    let constant = schema.get("const").cloned();
    if let Some(keywords) = schema.as_object_mut() {
        keywords.retain(|keyword, _| !["const", "default", "examples", "oneOf"].contains(&keyword.as_str()));
        if let Some(Value::Array(types)) = keywords.get_mut("type") {
            types.retain(|one| one != "null");
        }
        let choices = choices.into_iter().chain(constant).collect::<Vec<_>>();
        if !choices.is_empty() {
            keywords.insert("enum".to_owned(), choices.into());
        }
    }
    schema
}

fn problems(fitted: &Value, layers: &Layers, error: &ValidationError<'_>) -> Vec<Problem> {
    let key = key_at(&layers.value, error.instance_path().as_str());
    let schema_path = error.schema_path().as_str();
    let schema = schema_path.rsplit_once('/').and_then(|(parent, _)| fitted.pointer(parent)).unwrap_or(&Value::Null);
    let found = shown(error.instance(), schema);
    let wrong =
        |allowed: String| vec![Problem::new(layers.place(&key), format!("{key} is {found}; allowed: {allowed}"))];
    match error.kind() {
        // A null stands for a value that was refused while it was read.
        _ if error.instance().is_null() => Vec::new(),
        Kind::AdditionalProperties { unexpected } => {
            let known: Vec<_> = schema::properties(schema).map(|(name, _)| name).collect();
            let unknown = |name: &String| {
                let key = key.join(name);
                let what = format!("unknown key {:?}", key.to_string());
                Problem::new(layers.place(&key), what).with_nearest(name, &known)
            };
            unexpected.iter().map(unknown).collect()
        }
        Kind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            let allowed = match &schema["properties"][name]["enum"] {
                Value::Array(choices) => format!("; allowed: {}", list(choices)),
                _ => String::new(),
            };
            vec![Problem::new(layers.place(&key), format!("{key} has no key {name:?}{allowed}"))]
        }
        Kind::Minimum { .. } | Kind::Maximum { .. } => wrong(range(schema)),
        Kind::Type { .. } | Kind::Enum { .. } => wrong(allowed(schema)),
        Kind::UniqueItems => wrong("each name once".to_owned()),
        Kind::MinItems { limit } => wrong(format!("a list of at least {limit}")),
        _ => vec![Problem::new(layers.place(&key), format!("{key}: {}", error.masked()))],
    }
}

/// The key that a JSON pointer into `value` means. Only the value tells the index of a list from a table's key `0`.
fn key_at(mut value: &Value, pointer: &str) -> Key {
    let mut key = Key::default();
    for token in pointer.split('/').skip(1) {
        let name = token.replace("~1", "/").replace("~0", "~");
        let element = value.as_array().and_then(|list| Some((name.parse().ok()?, list)));
        (key, value) = match element {
            Some((index, list)) => (key.element(index), list.get(index).unwrap_or(&Value::Null)),
            None => (key.join(&name), &value[name.as_str()]),
        };
    }
    key
}

/// Longest piece of a value that is repeated in a message.
const SHOWN_CHARACTERS: usize = 60;

/// A value in a message: never a secret, never more than a piece of a line.
fn shown(value: &Value, schema: &Value) -> String {
    if schema["writeOnly"] == true {
        return SECRET.to_owned();
    }
    let text = match value {
        Value::Object(_) => return "a table".to_owned(),
        other => other.to_string(),
    };
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// What a leaf takes, in words.
fn allowed(schema: &Value) -> String {
    let one = match &schema["type"] {
        Value::Array(types) => types.first().unwrap_or(&Value::Null),
        one => one,
    };
    match (one.as_str(), &schema["enum"]) {
        (_, Value::Array(choices)) => list(choices),
        (Some("boolean"), _) => "true or false".to_owned(),
        (Some("integer"), _) => format!("a whole number, {}", range(schema)),
        (Some("string"), _) => "a text in quotes".to_owned(),
        (Some("array"), _) => "a list, such as [\"a\", \"b\"]".to_owned(),
        (Some("object"), _) => "a table".to_owned(),
        (other, _) => other.unwrap_or("nothing").to_owned(),
    }
}

/// The range of a number, in words.
pub(super) fn range(schema: &Value) -> String {
    match (&schema["minimum"], &schema["maximum"]) {
        (Value::Null, Value::Null) => "any".to_owned(),
        (least, Value::Null) => format!("at least {least}"),
        (Value::Null, most) => format!("at most {most}"),
        (least, most) => format!("{least} to {most}"),
    }
}

fn list(choices: &[Value]) -> String {
    choices.iter().map(Value::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Stands for the login of a storage that is reached over the network.
    fn check_secret(file: &str, expected: &str) {
        let secret = json!({ "type": "string", "writeOnly": true });
        let schema = json!({ "type": "object", "properties": { "key": secret }, "additionalProperties": false });
        let layers = Layers::from_file(Path::new("qspool.toml"), file).expect("is TOML");
        let found: Vec<_> = check(&fit(&schema, &layers.value), &layers).iter().map(Problem::to_string).collect();
        assert_eq!(found, [expected]);
    }

    #[test]
    fn a_secret_is_never_repeated() {
        let not_shown = "a secret (not shown)";
        check_secret("key = 1234", &format!("qspool.toml:1: key is {not_shown}; allowed: a text in quotes"));
        check_secret("kee = 'hunter2'", "qspool.toml:1: unknown key \"kee\"");
    }
}
