//! A job's text, read in one pass: each instruction is handed on as soon as it is read, in the order of the text.
//!
//! Nothing is kept of what a job may hold and nobody asked for, and a single instruction cannot take much memory.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::check::{ExperimentCheck, JobCheck};
use super::words;

/// Most values (numbers, texts, lists, …) that one instruction may be made of.
const MAX_VALUES: usize = 100_000;
/// Most values that are kept of another part of an experiment. All such parts are single values in a valid job.
const MAX_FIELD_VALUES: usize = 100;
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
    let (mut value, mut room) = (Value::Null, usize::MAX);
    let mut json = serde_json::Deserializer::from_str(text);
    Read(Slot { value: &mut value, room: &mut room }).deserialize(&mut json)?;
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

    /// The value is neither text, list nor object.
    fn scalar(self, value: Value) -> Self::Out;

    fn text(self, text: &str) -> Self::Out {
        self.scalar(text.into())
    }

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
        Ok(self.0.text(value))
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
        let (mut value, mut room) = (Value::Null, MAX_FIELD_VALUES);
        Slot { value: &mut value, room: &mut room }.list(list)?;
        self.0.not_an_object(value);
        Ok(())
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let mut seen: Vec<Cow<str>> = Vec::new();
        while let Some(Key(key)) = object.next_key()? {
            if seen.contains(&key) {
                self.0.problem(&format!("key {} appears twice", words::shown_text(&key)));
                object.next_value::<IgnoredAny>()?;
                continue;
            }
            if seen.len() == MAX_KEYS {
                self.0.problem(&format!("more than {MAX_KEYS} keys"));
                object.next_value::<IgnoredAny>()?;
                return skip_object(object);
            }
            if key == "instructions" {
                object.next_value_seed(Read(InstructionsShape(self.0)))?;
            } else if self.0.is_known(&key) {
                let (mut value, mut room) = (Value::Null, MAX_FIELD_VALUES);
                object.next_value_seed(Read(Slot { value: &mut value, room: &mut room }))?;
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
        let mut instruction = Value::Null;
        while !self.0.is_given_up() {
            let mut room = MAX_VALUES;
            let slot = Slot { value: &mut instruction, room: &mut room };
            if list.next_element_seed(Read(InstructionShape(slot)))?.is_none() {
                return Ok(());
            }
            if room == 0 {
                self.0.too_many_values(MAX_VALUES);
            } else {
                self.0.instruction(&mut instruction);
            }
        }
        skip_list(list)
    }

    fn object<A: MapAccess<'de>>(self, object: A) -> Result<(), A::Error> {
        let (mut value, mut room) = (Value::Null, MAX_FIELD_VALUES);
        Slot { value: &mut value, room: &mut room }.object(object)?;
        self.0.field("instructions", value);
        Ok(())
    }
}

/// One instruction: its first three elements; what follows them is not looked at.
struct InstructionShape<'a>(Slot<'a>);

impl<'de> Shape<'de> for InstructionShape<'_> {
    type Out = ();

    fn scalar(self, value: Value) {
        self.0.scalar(value);
    }

    fn list<A: SeqAccess<'de>>(self, list: A) -> Result<(), A::Error> {
        const ELEMENTS: usize = 3;
        self.0.fill(list, ELEMENTS)
    }

    fn object<A: MapAccess<'de>>(self, object: A) -> Result<(), A::Error> {
        self.0.object(object)
    }
}

/// Where any value is put, as long as there is room for its parts; what exceeds the room is left out, and no room
/// remains. The memory of the value that was there before is used again: a job has many small lists.
struct Slot<'a> {
    value: &'a mut Value,
    room: &'a mut usize,
}

impl Slot<'_> {
    /// Puts the first elements of `list` here, at most `most` of them.
    fn fill<'de, A: SeqAccess<'de>>(self, mut list: A, most: usize) -> Result<(), A::Error> {
        *self.room = self.room.saturating_sub(1);
        if !self.value.is_array() {
            *self.value = Value::Array(Vec::new());
        }
        let Value::Array(elements) = self.value else { return skip_list(list) };
        let mut count = 0;
        while count < most && *self.room > 0 {
            if count == elements.len() {
                elements.push(Value::Null);
            }
            let slot = Slot { value: &mut elements[count], room: self.room };
            if list.next_element_seed(Read(slot))?.is_none() {
                elements.truncate(count);
                return Ok(());
            }
            count += 1;
        }
        elements.truncate(count);
        skip_list(list)
    }
}

impl<'de> Shape<'de> for Slot<'_> {
    type Out = ();

    fn scalar(self, value: Value) {
        *self.room = self.room.saturating_sub(1);
        *self.value = value;
    }

    fn text(self, text: &str) {
        *self.room = self.room.saturating_sub(1);
        match self.value {
            Value::String(earlier) => text.clone_into(earlier),
            other => *other = text.into(),
        }
    }

    fn list<A: SeqAccess<'de>>(self, list: A) -> Result<(), A::Error> {
        self.fill(list, usize::MAX)
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        *self.room = self.room.saturating_sub(1);
        let mut members = Map::new();
        while *self.room > 0 {
            let Some(Key(key)) = object.next_key()? else {
                *self.value = Value::Object(members);
                return Ok(());
            };
            if members.contains_key(key.as_ref()) {
                return Err(A::Error::custom(format!("key {} appears twice", words::shown_text(&key))));
            }
            let mut value = Value::Null;
            object.next_value_seed(Read(Slot { value: &mut value, room: self.room }))?;
            members.insert(key.into_owned(), value);
        }
        *self.value = Value::Object(members);
        skip_object(object)
    }
}
