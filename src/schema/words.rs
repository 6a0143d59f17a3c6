//! Values and schemas in words. Whatever a user wrote comes out as a short piece of one line.

use std::io;

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use serde_json::Value;

/// Most bytes of a user's value or name that a message repeats.
const SHOWN_BYTES: usize = 60;
/// Most bytes of the list of what is allowed.
const ALLOWED_BYTES: usize = 160;
/// How deep the words for a schema go.
const DEPTH: usize = 4;

/// A value as compact JSON, cut to a sane length.
pub(super) fn shown(value: &Value) -> String {
    let mut start = Start::default();
    // The writer refuses what is too long, which ends the rendering early; what it has is what is wanted.
    let is_cut = serde_json::to_writer(&mut start, value).is_err();
    // A write may end inside a character.
    let text = String::from_utf8_lossy(&start.0);
    let text = if is_cut { text.trim_end_matches(char::REPLACEMENT_CHARACTER) } else { &text };
    let mut one_line = escaped(text);
    if is_cut {
        one_line.push('…');
    }
    one_line
}

/// A user's text between quotes.
pub(super) fn shown_text(text: &str) -> String {
    shown(&Value::String(cut(text, SHOWN_BYTES + 1).to_owned()))
}

/// A user's text without quotes, for names.
pub(super) fn shown_name(name: &str) -> String {
    shortened(name, SHOWN_BYTES)
}

/// `text` on one line, of at most about `bytes`.
pub(super) fn shortened(text: &str, bytes: usize) -> String {
    let kept = cut(text, bytes);
    let mut short = escaped(kept);
    if kept.len() < text.len() {
        short.push('…');
    }
    short
}

/// The longest start of `text` with at most `bytes`.
fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}

/// `text` with everything that could break the line, or turn its direction unseen, written as an escape.
fn escaped(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        let is_unseen = matches!(
            character,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        );
        if character.is_control() || is_unseen {
            line.extend(character.escape_unicode());
        } else {
            line.push(character);
        }
    }
    line
}

/// Keeps the first bytes that are written to it, then refuses.
#[derive(Default)]
struct Start(Vec<u8>);

impl io::Write for Start {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = SHOWN_BYTES - self.0.len();
        let taken = bytes.len().min(room);
        self.0.extend_from_slice(&bytes[..taken]);
        if taken < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(taken) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The one of `known` that `given` most likely means.
pub(super) fn nearest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const ALIKE: f64 = 0.7;
    let given = cut(given, SHOWN_BYTES);
    let rated = known.map(|name| (strsim::damerau_levenshtein(given, name), name));
    let (_, best) = rated.min_by_key(|(distance, _)| *distance)?;
    (strsim::normalized_damerau_levenshtein(given, best) >= ALIKE).then_some(best)
}

/// The schema that `schema` stands for: the end of its chain of `$ref`, if it has one.
pub(super) fn resolved<'a>(document: &'a Value, mut schema: &'a Value) -> &'a Value {
    const LONGEST_CHAIN: usize = 32;
    for _ in 0..LONGEST_CHAIN {
        let target = schema.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix('#'));
        match target.and_then(|pointer| document.pointer(pointer)) {
            Some(next) => schema = next,
            None => break,
        }
    }
    schema
}

/// What `schema` allows, for example `0 to 5`; empty where it has no words. `with_type` names the type before bounds.
pub(super) fn allowed(document: &Value, schema: &Value, with_type: bool) -> String {
    shortened(&allowed_within(document, schema, with_type, DEPTH), ALLOWED_BYTES)
}

fn allowed_within(document: &Value, schema: &Value, with_type: bool, depth: usize) -> String {
    if depth == 0 {
        return String::new();
    }
    let schema = resolved(document, schema);
    if let Some(options) = schema.get("enum").and_then(Value::as_array) {
        return listed(options);
    }
    if let Some(value) = schema.get("const") {
        return shown(value);
    }
    for keyword in ["anyOf", "oneOf"] {
        if let Some(branches) = schema.get(keyword).and_then(Value::as_array) {
            let words = branches.iter().map(|branch| allowed_within(document, branch, true, depth - 1));
            return words.filter(|words| !words.is_empty()).collect::<Vec<_>>().join(" or ");
        }
    }
    let types: Vec<&str> = match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if types.contains(&"array") {
        return list_words(document, schema, depth);
    }
    if types.contains(&"string") {
        return text_words(schema);
    }
    let bounds = bounds(schema, "minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum");
    if bounds.is_empty() {
        return types.into_iter().map(type_words).collect::<Vec<_>>().join(" or ");
    }
    let (others, numeric): (Vec<&str>, Vec<&str>) = types.into_iter().partition(|name| !is_numeric(name));
    let mut words = match numeric.first() {
        Some(name) if with_type => format!("{}, {bounds}", type_words(name)),
        _ => bounds,
    };
    for other in others {
        words.push_str(" or ");
        words.push_str(type_words(other));
    }
    words
}

/// Lists values until the room is used up, then says how many there are.
fn listed(options: &[Value]) -> String {
    let mut words = String::new();
    for option in options {
        let next = shown(option);
        if words.len() + next.len() > ALLOWED_BYTES - 20 {
            return words + &format!(", … ({} in all)", options.len());
        }
        if !words.is_empty() {
            words.push_str(", ");
        }
        words.push_str(&next);
    }
    words
}

fn list_words(document: &Value, schema: &Value, depth: usize) -> String {
    if schema.get("maxItems").and_then(Value::as_u64) == Some(0) {
        return "an empty list".into();
    }
    let mut words = String::from("a list");
    let count = count(schema);
    if !count.is_empty() {
        words.push_str(" of ");
        words.push_str(&count);
    }
    if let Some(items) = schema.get("items") {
        let each = allowed_within(document, items, true, depth - 1);
        if !each.is_empty() {
            words.push_str(", each ");
            words.push_str(&each);
        }
    }
    words
}

/// How many elements a list may have, for example `1 to 3`; empty where anything goes.
pub(super) fn count(schema: &Value) -> String {
    bounds(schema, "minItems", "", "maxItems", "")
}

fn text_words(schema: &Value) -> String {
    let length = bounds(schema, "minLength", "", "maxLength", "");
    let mut words = String::from("a text");
    if !length.is_empty() {
        words = words + " of " + &length + " characters";
    }
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str) {
        words.push_str(" matching ");
        words.push_str(pattern);
    }
    words
}

/// The range between two keywords of `schema`.
fn bounds(schema: &Value, minimum: &str, above: &str, maximum: &str, below: &str) -> String {
    let number = |keyword| schema.get(keyword).map(shown);
    match [minimum, above, maximum, below].map(number) {
        [Some(low), _, Some(high), _] if low == high => low,
        [Some(low), _, Some(high), _] => format!("{low} to {high}"),
        limits => {
            let words = ["at least", "above", "at most", "below"];
            let parts = words.iter().zip(limits).filter_map(|(word, limit)| Some(format!("{word} {}", limit?)));
            parts.collect::<Vec<_>>().join(" and ")
        }
    }
}

fn is_numeric(name: &str) -> bool {
    matches!(name, "number" | "integer")
}

fn type_words(name: &str) -> &str {
    match name {
        "number" => "a number",
        "integer" => "an integer",
        "string" => "a text",
        "array" => "a list",
        "object" => "an object",
        "boolean" => "true or false",
        other => other,
    }
}

/// What the validator found, for places where the schema itself has no words for what it allows.
pub(super) fn found(error: &ValidationError) -> String {
    let value = shown(error.instance());
    let allowed = match error.kind() {
        ValidationErrorKind::Enum { options } => options.as_array().map(|options| listed(options)).unwrap_or_default(),
        ValidationErrorKind::Constant { expected_value } => shown(expected_value),
        ValidationErrorKind::Type { kind } => expected_types(kind),
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            return context.iter().flatten().next().map_or_else(|| format!("{value} not allowed"), found);
        }
        ValidationErrorKind::Required { property } => return format!("key {} missing", shown(property)),
        _ => return shortened(&error.masked_with(&value).to_string(), ALLOWED_BYTES),
    };
    format!("{value} not allowed; allowed: {allowed}")
}

fn expected_types(kind: &TypeKind) -> String {
    let names: Vec<String> = match kind {
        TypeKind::Single(single) => vec![single.to_string()],
        TypeKind::Multiple(several) => several.iter().map(|one| one.to_string()).collect(),
    };
    names.iter().map(|name| type_words(name)).collect::<Vec<_>>().join(" or ")
}
