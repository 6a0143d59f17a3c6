//! A job's text, read in one pass: each instruction is handed on as soon as it is read, in the order of the text.
//!
//! Nothing is kept of what a job may hold and nobody asked for, and a single instruction cannot take much memory.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::check::{ExperimentCheck, JobCheck};
use super::words;

/// Most values (numbers, texts, lists, …) that one instruction, or one key of an experiment, may be made of.
const MAX_VALUES: usize = 100_000;
/// Most keys of one experiment.
const MAX_KEYS: usize = 100;

/// Reads `text` into `job`. An error says in one line why the text is no job at all.
pub(super) fn read(text: &[u8], job: &mut JobCheck) -> Result<(), String> {
    let text = std::str::from_utf8(text)
        .map_err(|error| format!("The job is not UTF-8: byte {} is not allowed.", error.valid_up_to() + 1))?;
    if text.starts_with('\u{feff}') {
        return Err("The job begins with a byte order mark, which JSON does not allow.".into());
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let read = Read(JobShape(job)).deserialize(&mut json).and_then(|()| json.end());
    read.map_err(|error| not_json(&error))
}

/// Reads any JSON text, refusing a key that appears twice in one object.
pub(super) fn read_value(text: &str) -> Result<Value, serde_json::Error> {
    let mut room = usize::MAX;
    let mut json = serde_json::Deserializer::from_str(text);
    let value = Read(Bounded(&mut room)).deserialize(&mut json)?;
    json.end()?;
    Ok(value)
}

/// The parser's message without the place that it appends.
pub(super) fn bare_message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
}

fn not_json(error: &serde_json::Error) -> String {
    let message = match bare_message(error) {
        deep if deep == "recursion limit exceeded" => "nested deeper than 127 levels".to_owned(),
        other => words::shortened(&other, 200),
    };
    format!("The job is not JSON: line {}, column {}: {message}.", error.line(), error.column())
}

/// What becomes of a value whose type is only known when it is read.
trait Shape<'de>: Sized {
    type Out;

    /// The value is neither list nor object.
    fn scalar(self, value: Value) -> Self::Out;

    fn list<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Out, A::Error>;

    fn object<A: MapAccess<'de>>(self, object: A) -> Result<Self::Out, A::Error>;
}

/// Reads a value by its shape.
struct Read<S>(S);

impl<'de, S: Shape<'de>> DeserializeSeed<'de> for Read<S> {
    type Value = S::Out;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Out, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, S: Shape<'de>> Visitor<'de> for Read<S> {
    type Value = S::Out;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<S::Out, E> {
        Ok(self.0.scalar(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<S::Out, E> {
        Ok(self.0.scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<S::Out, E> {
        Ok(self.0.scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<S::Out, E> {
        Ok(self.0.scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<S::Out, E> {
        Ok(self.0.scalar(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<S::Out, E> {
        Ok(self.0.scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<S::Out, A::Error> {
        self.0.list(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<S::Out, A::Error> {
        self.0.object(object)
    }
}

fn skip_list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<(), A::Error> {
    while list.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

fn skip_object<'de, A: MapAccess<'de>>(mut object: A) -> Result<(), A::Error> {
    while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

/// A key, borrowed from the text where it has no escapes.
struct Key<'de>(Cow<'de, str>);

impl<'de> serde::Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;

        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(key)))
            }

            fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }

        deserializer.deserialize_str(KeyVisitor)
    }
}

/// The whole job.
struct JobShape<'a, 's>(&'a mut JobCheck<'s>);

impl<'de> Shape<'de> for JobShape<'_, '_> {
    type Out = ();

    fn scalar(self, value: Value) {
        self.0.not_an_object(&words::shown(&value));
    }

    fn list<A: SeqAccess<'de>>(self, list: A) -> Result<(), A::Error> {
        self.0.not_an_object("a list");
        skip_list(list)
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        while !self.0.is_given_up() {
            let Some(Key(name)) = object.next_key()? else { return Ok(()) };
            match self.0.begin_experiment(&name) {
                Some(mut experiment) => {
                    object.next_value_seed(Read(ExperimentShape(&mut experiment)))?;
                    let end = experiment.end();
                    self.0.end_experiment(end);
                }
                None => {
                    object.next_value::<IgnoredAny>()?;
                }
            }
        }
        skip_object(object)
    }
}

/// One experiment.
struct ExperimentShape<'a, 's>(&'a mut ExperimentCheck<'s>);

impl<'de> Shape<'de> for ExperimentShape<'_, '_> {
    type Out = ();

    fn scalar(self, value: Value) {
        self.0.not_an_object(value);
    }

    fn list<A: SeqAccess<'de>>(self, list: A) -> Result<(), A::Error> {
        self.0.not_an_object(Value::Array(Vec::new()));
        skip_list(list)
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let mut seen: Vec<Cow<str>> = Vec::new();
        while let Some(Key(key)) = object.next_key()? {
            if seen.contains(&key) {
                self.0.problem(format!("key {} appears twice", words::shown_text(&key)));
                object.next_value::<IgnoredAny>()?;
                continue;
            }
            if seen.len() == MAX_KEYS {
                self.0.problem(format!("more than {MAX_KEYS} keys"));
                object.next_value::<IgnoredAny>()?;
                return skip_object(object);
            }
            if key == "instructions" {
                object.next_value_seed(Read(InstructionsShape(self.0)))?;
            } else if self.0.is_known(&key) {
                let mut room = MAX_VALUES;
                let value = object.next_value_seed(Read(Bounded(&mut room)))?;
                self.0.field(&key, value);
            } else {
                object.next_value::<IgnoredAny>()?;
            }
            seen.push(key);
        }
        Ok(())
    }
}

/// The list of instructions of one experiment.
struct InstructionsShape<'a, 's>(&'a mut ExperimentCheck<'s>);

impl<'de> Shape<'de> for InstructionsShape<'_, '_> {
    type Out = ();

    fn scalar(self, value: Value) {
        self.0.field("instructions", value);
    }

    fn list<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.0.begin_instructions();
        while !self.0.is_given_up() {
            let mut room = MAX_VALUES;
            let Some(instruction) = list.next_element_seed(Read(InstructionShape(&mut room)))? else { return Ok(()) };
            if room == 0 {
                self.0.too_many_values(MAX_VALUES);
            } else {
                self.0.instruction(instruction);
            }
        }
        skip_list(list)
    }

    fn object<A: MapAccess<'de>>(self, object: A) -> Result<(), A::Error> {
        self.0.field("instructions", Value::Object(Map::new()));
        skip_object(object)
    }
}

/// One instruction: its first three elements; what follows them is not looked at.
struct InstructionShape<'a>(&'a mut usize);

impl<'de> Shape<'de> for InstructionShape<'_> {
    type Out = Value;

    fn scalar(self, value: Value) -> Value {
        value
    }

    fn list<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        const ELEMENTS: usize = 3;
        let mut elements = Vec::with_capacity(ELEMENTS);
        while elements.len() < ELEMENTS {
            match list.next_element_seed(Read(Bounded(self.0)))? {
                Some(element) => elements.push(element),
                None => return Ok(Value::Array(elements)),
            }
        }
        skip_list(list)?;
        Ok(Value::Array(elements))
    }

    fn object<A: MapAccess<'de>>(self, object: A) -> Result<Value, A::Error> {
        Bounded(self.0).object(object)
    }
}

/// Any value, as long as there is room for its parts; what exceeds the room is left out, and no room remains.
struct Bounded<'a>(&'a mut usize);

impl<'de> Shape<'de> for Bounded<'_> {
    type Out = Value;

    fn scalar(self, value: Value) -> Value {
        *self.0 = self.0.saturating_sub(1);
        value
    }

    fn list<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        *self.0 = self.0.saturating_sub(1);
        let mut elements = Vec::new();
        while *self.0 > 0 {
            let Some(element) = list.next_element_seed(Read(Bounded(self.0)))? else {
                return Ok(Value::Array(elements));
            };
            elements.push(element);
        }
        skip_list(list)?;
        Ok(Value::Array(elements))
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        *self.0 = self.0.saturating_sub(1);
        let mut members = Map::new();
        while *self.0 > 0 {
            let Some(Key(key)) = object.next_key()? else { return Ok(Value::Object(members)) };
            let value = object.next_value_seed(Read(Bounded(self.0)))?;
            if members.contains_key(key.as_ref()) {
                return Err(A::Error::custom(format!("key {} appears twice", words::shown_text(&key))));
            }
            members.insert(key.into_owned(), value);
        }
        skip_object(object)?;
        Ok(Value::Object(members))
    }
}
