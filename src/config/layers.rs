//! What the file and the environment say, laid over each other; every value keeps its place.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fmt, iter};

use serde_json::{Map, Number, Value};
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Place, Problem, did_you_mean, nearest};
use super::schema::{self, Shape};

/// The first letters of every environment variable that is ours.
pub(super) const PREFIX: &str = "QSPOOL_";

/// What a message says in the place of a secret.
pub(super) const SECRET: &str = "a secret (not shown)";

/// The path of a key in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Key(pub(super) Vec<Step>);

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// Into the table's key of this name.
    Name(String),
    /// Into the list's element of this index, from 0.
    Index(usize),
}

impl Key {
    /// The path of the key `name` below this one.
    pub(super) fn join(&self, name: &str) -> Self {
        self.with(Step::Name(name.to_owned()))
    }

    /// The path of the element `index` of this list.
    pub(super) fn element(&self, index: usize) -> Self {
        self.with(Step::Index(index))
    }

    fn with(&self, step: Step) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }
}

impl<S: AsRef<str>> FromIterator<S> for Key {
    fn from_iter<I: IntoIterator<Item = S>>(names: I) -> Self {
        Self(names.into_iter().map(|name| Step::Name(name.as_ref().to_owned())).collect())
    }
}

impl fmt::Display for Key {
    /// Writes the path as TOML does, odd names in quotes, so that it is always one line.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_bare =
            |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(formatter, "[{index}]")?,
                Step::Name(name) => {
                    let dot = if position == 0 { "" } else { "." };
                    if is_bare(name) { write!(formatter, "{dot}{name}")? } else { write!(formatter, "{dot}{name:?}")? }
                }
            }
        }
        Ok(())
    }
}

/// Values, and where each was said.
#[derive(Debug, Default)]
pub(super) struct Layers {
    /// The values, as one table.
    pub(super) value: Value,
    /// The place of each key and list element.
    places: BTreeMap<Key, Place>,
    /// What could not be taken over.
    pub(super) problems: Vec<Problem>,
}

impl Layers {
    /// Reads a configuration file.
    pub(super) fn from_file(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let place = |offset| Place::in_text(path, text.as_bytes(), offset);
        let table = DeTable::parse(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            Problem::new(place(start), error.message().replace('\n', ", "))
        })?;
        let mut layers = Self { value: Value::Null, places: BTreeMap::new(), problems: Vec::new() };
        layers.value = layers.table(table.get_ref(), &Key::default(), &place);
        Ok(layers)
    }

    fn table(&mut self, table: &DeTable<'_>, at: &Key, place: &dyn Fn(usize) -> Place) -> Value {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        let read = entries.into_iter().map(|(name, value)| {
            let key = at.join(name.get_ref());
            self.places.insert(key.clone(), place(name.span().start));
            (name.get_ref().to_string(), self.single(value.get_ref(), &key, place))
        });
        Value::Object(read.collect())
    }

    fn single(&mut self, value: &DeValue<'_>, at: &Key, place: &dyn Fn(usize) -> Place) -> Value {
        match value {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Boolean(truth) => Value::Bool(*truth),
            DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
                Ok(number) => number.into(),
                Err(_) => self.refuse(at, integer),
            },
            DeValue::Float(float) => match float.as_str().parse().ok().and_then(Number::from_f64) {
                Some(number) => number.into(),
                None => self.refuse(at, float),
            },
            DeValue::Datetime(time) => self.refuse(at, time),
            DeValue::Table(table) => self.table(table, at, place),
            DeValue::Array(array) => {
                let read = array.iter().enumerate().map(|(index, element)| {
                    let key = at.element(index);
                    self.places.insert(key.clone(), place(element.span().start));
                    self.single(element.get_ref(), &key, place)
                });
                Value::Array(read.collect())
            }
        }
    }

    /// Notes a value that no key could take.
    fn refuse(&mut self, at: &Key, value: &dyn fmt::Display) -> Value {
        let is_secret = matches!(at.0.last(), Some(Step::Name(name)) if schema::is_secret(name));
        let value = if is_secret { SECRET.to_owned() } else { value.to_string() };
        self.problems.push(Problem::new(self.place(at), format!("{at} is {value}; no key takes that")));
        Value::Null
    }

    /// Where the key was said, or else the nearest table around it.
    pub(super) fn place(&self, key: &Key) -> Place {
        let mut around = (0..=key.0.len()).rev().map(|length| Key(key.0[..length].to_vec()));
        around.find_map(|key| self.places.get(&key)).cloned().unwrap_or(Place::Default)
    }

    /// Puts `value` at `key`, unless something stands there already.
    pub(super) fn set_default(&mut self, key: &Key, value: Value) {
        if let Some(slot) = slot(&mut self.value, &key.0).filter(|slot| slot.is_null()) {
            *slot = value;
            self.places.insert(key.clone(), Place::Default);
        }
    }

    /// Lays an environment variable over what is there; `schema` is the one of the whole configuration.
    pub(super) fn set_variable(&mut self, schema: &Value, name: &str, text: &str) {
        let place = Place::Variable(name.to_owned());
        let rest = name.strip_prefix(PREFIX).filter(|rest| !rest.contains(|c: char| c.is_lowercase()));
        let found = rest.and_then(|rest| find(schema, Some(&rest.to_lowercase())));
        let Some((key, leaf)) = found.map(|(steps, leaf)| (Key(steps), leaf)) else {
            self.problems.push(unknown_variable(schema, name));
            return;
        };
        self.places.insert(key.clone(), place.clone());
        let is_text = schema::choices(leaf).next().is_some() || takes(leaf, "string");
        let value = match DeValue::parse(text) {
            Ok(value) if !is_text => self.single(value.get_ref(), &key, &|_| place.clone()),
            _ => Value::String(text.to_owned()),
        };
        if let Some(slot) = slot(&mut self.value, &key.0) {
            *slot = value;
        }
    }
}

/// Where the value of `key` stands, or would stand; nothing if there is no table around it.
fn slot<'a>(value: &'a mut Value, key: &[Step]) -> Option<&'a mut Value> {
    let [Step::Name(name), rest @ ..] = key else { return Some(value) };
    if value.is_null() {
        *value = Value::Object(Map::new());
    }
    slot(value.as_object_mut()?.entry(name.clone()).or_insert(Value::Null), rest)
}

/// Whether a leaf takes values of a JSON type.
fn takes(leaf: &Value, json_type: &str) -> bool {
    match &leaf["type"] {
        Value::Array(types) => types.iter().any(|one| one == json_type),
        one => one == json_type,
    }
}

/// The key that a variable names by `rest`, in lower case, and its schema.
///
/// Names that the operator chooses have no `_`, so there is only one way to read it.
fn find<'a>(schema: &'a Value, rest: Option<&str>) -> Option<(Vec<Step>, &'a Value)> {
    let below = |name: &str, schema: &'a Value, rest: Option<&str>| {
        let (steps, leaf) = find(schema, rest)?;
        Some((iter::once(Step::Name(name.to_owned())).chain(steps).collect(), leaf))
    };
    match schema::shape(schema) {
        Shape::Leaf => rest.is_none().then(|| (Vec::new(), schema)),
        Shape::Named(schema) => {
            let (name, rest) = rest?.split_once('_')?;
            below(name, schema, Some(rest))
        }
        Shape::Table(table) => table.properties().find_map(|(name, schema)| {
            let rest = rest?.strip_prefix(name)?;
            if rest.is_empty() { below(name, schema, None) } else { below(name, schema, Some(rest.strip_prefix('_')?)) }
        }),
    }
}

fn unknown_variable(schema: &Value, name: &str) -> Problem {
    let known = variables(schema, name);
    let form = || "the form is QSPOOL_<SECTION>_<KEY>, as in QSPOOL_SPOOLER_LEASE_S".to_owned();
    let hint = nearest(name, known.iter().map(String::as_str)).map_or_else(form, did_you_mean);
    Problem { hint: Some(hint), ..Problem::new(Place::Variable(name.to_owned()), "no such setting") }
}

/// All variables that there could be; where the operator chooses a name, the one that `like` has there.
fn variables(schema: &Value, like: &str) -> Vec<String> {
    fn collect(schema: &Value, prefix: &str, like: &str, found: &mut Vec<String>) {
        match schema::shape(schema) {
            Shape::Leaf => found.push(prefix.to_owned()),
            Shape::Named(schema) => {
                let chosen = like.split('_').nth(prefix.split('_').count()).unwrap_or("NAME");
                collect(schema, &format!("{prefix}_{chosen}"), like, found);
            }
            Shape::Table(table) => {
                for (name, schema) in table.properties() {
                    collect(schema, &format!("{prefix}_{}", name.to_uppercase()), like, found);
                }
            }
        }
    }
    let mut found = Vec::new();
    collect(schema, PREFIX.trim_end_matches('_'), like, &mut found);
    found
}
