//! JSON text to BSON and back, with the types that the peers' driver writes.
//!
//! A whole number becomes an int32 if it fits, else an int64; any other number a double; the order of keys is kept.
//! The `_id` comes first in the document and is no part of the text.

use jiff::Timestamp;
use mongodb::bson::raw::RawBsonRef;
use mongodb::bson::{Bson, RawDocument, RawDocumentBuf};
use serde_json::{Map, Number, Value};

/// The deepest nesting that the server takes, in levels.
const DEEPEST: usize = 100;

/// Beyond this a whole number has more than the 64 bits that BSON has for one.
const SURELY_TOO_LARGE: f64 = 1.8e19;

/// A text or a document that has no counterpart on the other side.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct BsonError(String);

impl BsonError {
    fn too_deep() -> Self {
        Self(format!("it is nested deeper than {DEEPEST} levels, which is all that MongoDB takes"))
    }

    fn broken(error: &mongodb::bson::error::Error) -> Self {
        Self(format!("it is not sound BSON: {error}"))
    }
}

/// The document of a JSON text, with this `_id`. With `with_dates` the time of the last look at a queue becomes a date.
pub(super) fn to_bson(id: &Bson, text: &[u8], with_dates: bool) -> Result<RawDocumentBuf, BsonError> {
    let value: Value = serde_json::from_slice(text).map_err(|error| BsonError(format!("it is not JSON: {error}")))?;
    let Value::Object(mut object) = value else {
        return Err(BsonError("it is not a JSON object, and MongoDB keeps nothing else".into()));
    };
    // As in the reference, the id of the place wins.
    object.shift_remove("_id");
    let mut writer = Writer { out: Vec::with_capacity(text.len() * 2), text, with_dates };
    writer.document(Some(id), &object, 1)?;
    RawDocumentBuf::from_bytes(writer.out).map_err(|error| BsonError::broken(&error))
}

struct Writer<'a> {
    out: Vec<u8>,
    text: &'a [u8],
    with_dates: bool,
}

/// The signs that stand before the values of BSON.
mod element {
    pub(super) const DOUBLE: u8 = 0x01;
    pub(super) const STRING: u8 = 0x02;
    pub(super) const DOCUMENT: u8 = 0x03;
    pub(super) const ARRAY: u8 = 0x04;
    pub(super) const OBJECT_ID: u8 = 0x07;
    pub(super) const BOOLEAN: u8 = 0x08;
    pub(super) const DATE: u8 = 0x09;
    pub(super) const NULL: u8 = 0x0a;
    pub(super) const INT32: u8 = 0x10;
    pub(super) const INT64: u8 = 0x12;
}

/// The key whose value is a date in configurations.
const LAST_QUEUE_CHECK: &str = "last_queue_check";

impl Writer<'_> {
    fn document(&mut self, id: Option<&Bson>, object: &Map<String, Value>, depth: usize) -> Result<(), BsonError> {
        let begin = self.begin(depth)?;
        match id {
            Some(Bson::ObjectId(id)) => {
                self.key(element::OBJECT_ID, "_id")?;
                self.out.extend(id.bytes());
            }
            Some(Bson::String(id)) => {
                self.key(element::STRING, "_id")?;
                self.string(id)?;
            }
            _ => {}
        }
        for (key, value) in object {
            // Of a signed configuration the time lies in the payload.
            match (self.with_dates && depth <= 2 && key == LAST_QUEUE_CHECK, value) {
                (true, Value::String(time)) => match time.parse::<Timestamp>() {
                    Ok(time) => {
                        self.key(element::DATE, key)?;
                        self.out.extend(time.as_millisecond().to_le_bytes());
                    }
                    Err(_) => self.value(key, value, depth)?,
                },
                _ => self.value(key, value, depth)?,
            }
        }
        self.end(begin)
    }

    fn begin(&mut self, depth: usize) -> Result<usize, BsonError> {
        if depth > DEEPEST {
            return Err(BsonError::too_deep());
        }
        let begin = self.out.len();
        self.out.extend([0; 4]);
        Ok(begin)
    }

    fn end(&mut self, begin: usize) -> Result<(), BsonError> {
        self.out.push(0);
        let length = length(self.out.len() - begin)?;
        self.out[begin..begin + 4].copy_from_slice(&length);
        Ok(())
    }

    fn key(&mut self, element: u8, key: &str) -> Result<(), BsonError> {
        if key.contains('\0') {
            return Err(BsonError(format!("its key {key:?} holds a NUL, which no key of MongoDB may")));
        }
        self.out.push(element);
        self.out.extend(key.as_bytes());
        self.out.push(0);
        Ok(())
    }

    fn string(&mut self, text: &str) -> Result<(), BsonError> {
        self.out.extend(length(text.len() + 1)?);
        self.out.extend(text.as_bytes());
        self.out.push(0);
        Ok(())
    }

    fn value(&mut self, key: &str, value: &Value, depth: usize) -> Result<(), BsonError> {
        match value {
            Value::Null => self.key(element::NULL, key),
            Value::Bool(value) => {
                self.key(element::BOOLEAN, key)?;
                self.out.push(u8::from(*value));
                Ok(())
            }
            Value::Number(number) => self.number(key, number),
            Value::String(text) => {
                self.key(element::STRING, key)?;
                self.string(text)
            }
            Value::Array(values) => {
                self.key(element::ARRAY, key)?;
                let begin = self.begin(depth + 1)?;
                for (index, value) in values.iter().enumerate() {
                    self.value(&index.to_string(), value, depth + 1)?;
                }
                self.end(begin)
            }
            Value::Object(object) => {
                self.key(element::DOCUMENT, key)?;
                self.document(None, object, depth + 1)
            }
        }
    }

    fn number(&mut self, key: &str, number: &Number) -> Result<(), BsonError> {
        if let Some(whole) = number.as_i64() {
            match i32::try_from(whole) {
                Ok(small) => {
                    self.key(element::INT32, key)?;
                    self.out.extend(small.to_le_bytes());
                }
                Err(_) => {
                    self.key(element::INT64, key)?;
                    self.out.extend(whole.to_le_bytes());
                }
            }
            return Ok(());
        }
        // A whole number of more than 64 bits reads as a double, as one with a point or an exponent does.
        let double = number.as_f64().filter(|_| number.is_f64());
        match double {
            Some(double) if double.abs() < SURELY_TOO_LARGE || !holds_long_integer(self.text) => {
                self.key(element::DOUBLE, key)?;
                self.out.extend(double.to_le_bytes());
                Ok(())
            }
            _ => Err(BsonError(format!(
                "its key {key:?} holds a whole number of more than 64 bits, about {number}; MongoDB keeps {} to {}",
                i64::MIN,
                i64::MAX
            ))),
        }
    }
}

fn length(bytes: usize) -> Result<[u8; 4], BsonError> {
    let bytes = i32::try_from(bytes).map_err(|_| BsonError("it has more than 2 GiB".into()))?;
    Ok(bytes.to_le_bytes())
}

/// Whether a JSON text has a number of more than 19 digits, without point and exponent.
fn holds_long_integer(text: &[u8]) -> bool {
    let mut rest = text.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        match byte {
            b'"' => loop {
                match rest.next() {
                    Some(b'\\') => drop(rest.next()),
                    Some(b'"') | None => break,
                    Some(_) => {}
                }
            },
            b'0'..=b'9' => {
                let (mut digits, mut is_whole) = (1, true);
                while let Some(next) =
                    rest.next_if(|next| matches!(next, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'))
                {
                    digits += usize::from(next.is_ascii_digit());
                    is_whole &= next.is_ascii_digit();
                }
                if is_whole && digits > 19 {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

/// The JSON text of a document, without its `_id`.
pub(super) fn to_json(document: &RawDocument) -> Result<Vec<u8>, BsonError> {
    let mut out = Vec::with_capacity(document.as_bytes().len());
    write_document(&mut out, document, 1)?;
    Ok(out)
}

fn write_document(out: &mut Vec<u8>, document: &RawDocument, depth: usize) -> Result<(), BsonError> {
    if depth > DEEPEST {
        return Err(BsonError::too_deep());
    }
    out.push(b'{');
    let mut is_first = true;
    for element in document.iter_elements() {
        let element = element.map_err(|error| BsonError::broken(&error))?;
        let key = element.key().as_str();
        if depth == 1 && key == "_id" {
            continue;
        }
        if !is_first {
            out.extend(b", ");
        }
        is_first = false;
        write_text(out, key)?;
        out.extend(b": ");
        write_value(out, element.value().map_err(|error| BsonError::broken(&error))?, depth)?;
    }
    out.push(b'}');
    Ok(())
}

fn write_value(out: &mut Vec<u8>, value: RawBsonRef<'_>, depth: usize) -> Result<(), BsonError> {
    match value {
        RawBsonRef::Null | RawBsonRef::Undefined => out.extend(b"null"),
        RawBsonRef::Boolean(value) => out.extend(value.to_string().bytes()),
        RawBsonRef::Int32(whole) => out.extend(whole.to_string().bytes()),
        RawBsonRef::Int64(whole) => out.extend(whole.to_string().bytes()),
        RawBsonRef::Double(double) => match Number::from_f64(double) {
            Some(number) => out.extend(number.to_string().bytes()),
            // As Python writes them, so that the reader of the document refuses them in its own words.
            None if double.is_nan() => out.extend(b"NaN"),
            None if double > 0.0 => out.extend(b"Infinity"),
            None => out.extend(b"-Infinity"),
        },
        RawBsonRef::String(text) | RawBsonRef::Symbol(text) | RawBsonRef::JavaScriptCode(text) => {
            write_text(out, text)?;
        }
        // Peers keep the number of a public key so.
        RawBsonRef::Binary(binary) if str::from_utf8(binary.bytes).is_ok() => {
            write_text(out, str::from_utf8(binary.bytes).unwrap_or_default())?;
        }
        RawBsonRef::Document(document) => write_document(out, document, depth + 1)?,
        RawBsonRef::Array(values) => {
            if depth >= DEEPEST {
                return Err(BsonError::too_deep());
            }
            out.push(b'[');
            for (index, value) in values.into_iter().enumerate() {
                if index > 0 {
                    out.extend(b", ");
                }
                write_value(out, value.map_err(|error| BsonError::broken(&error))?, depth + 1)?;
            }
            out.push(b']');
        }
        RawBsonRef::ObjectId(id) => write_text(out, &id.to_hex())?,
        RawBsonRef::DateTime(date) => write_text(out, &date_text(date.timestamp_millis()))?,
        RawBsonRef::Decimal128(decimal) => write_text(out, &decimal.to_string())?,
        // No peer writes any of the rest.
        other => {
            let shown = Bson::try_from(other).map(|value| value.to_string()).map_err(|error| BsonError::broken(&error));
            write_text(out, &shown?)?;
        }
    }
    Ok(())
}

fn write_text(out: &mut Vec<u8>, text: &str) -> Result<(), BsonError> {
    serde_json::to_writer(out, text).map_err(|error| BsonError(error.to_string()))
}

/// A date in the form of Python's `isoformat`.
fn date_text(milliseconds: i64) -> String {
    match Timestamp::from_millisecond(milliseconds) {
        Ok(time) if milliseconds % 1000 == 0 => time.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string(),
        Ok(time) => time.strftime("%Y-%m-%dT%H:%M:%S.%6f+00:00").to_string(),
        Err(_) => format!("{milliseconds} ms since 1970"),
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::oid::ObjectId;
    use mongodb::bson::{DateTime, doc};
    use proptest::prelude::*;

    use super::*;

    fn id() -> Bson {
        Bson::String("a".into())
    }

    /// What comes back of a text.
    fn round(text: &str) -> Result<String, BsonError> {
        let json = to_json(&to_bson(&id(), text.as_bytes(), false)?)?;
        Ok(String::from_utf8(json).expect("JSON is UTF-8"))
    }

    #[test]
    fn numbers_have_the_types_of_the_peers() {
        let text = r#"{"a": 1, "b": 2147483648, "c": 1.0, "d": -9223372036854775808, "e": 1e20, "f": true, "g": null,
            "h": [1, {"i": "\u0000é"}]}"#;
        let found = to_bson(&id(), text.as_bytes(), false).expect("it can be stored");
        let expected = doc! {"_id": "a", "a": 1_i32, "b": 2_147_483_648_i64, "c": 1.0, "d": i64::MIN, "e": 1e20,
        "f": true, "g": null, "h": [1_i32, {"i": "\0é"}]};
        assert_eq!(mongodb::bson::Document::try_from(&*found).expect("sound BSON"), expected);
    }

    #[test]
    fn a_date_is_a_date_in_configurations_only() {
        let text = br#"{"payload": {"last_queue_check": "2026-11-22T04:15:19+00:00"}, "last_queue_check": "soon"}"#;
        let found = to_bson(&id(), text, true).expect("it can be stored");
        let payload = found.get_document("payload").expect("it is there");
        let date = payload.get_datetime("last_queue_check").expect("a date").timestamp_millis();
        assert_eq!(date_text(date), "2026-11-22T04:15:19+00:00");
        assert_eq!(found.get_str("last_queue_check").expect("no time"), "soon");
        let plain = to_bson(&id(), text, false).expect("it can be stored");
        assert!(plain.get_document("payload").expect("it is there").get_str("last_queue_check").is_ok());
        assert_eq!(date_text(1_500), "1970-01-01T00:00:01.500000+00:00");
        assert!(date_text(i64::MAX).contains("since 1970"));
    }

    #[test]
    fn what_bson_has_and_json_has_not_is_readable_text() {
        let hex = "0123456789abcdef01234567";
        let document = doc! {"_id": 1, "id": ObjectId::parse_str(hex).expect("an id"), "nan": f64::NAN, "inf": f64::INFINITY,
        "minus": f64::NEG_INFINITY, "three": 3.0, "date": DateTime::from_millis(0), "min": Bson::MinKey,
        "regex": Bson::RegularExpression(mongodb::bson::Regex { pattern: "a".try_into().expect("no NUL"), options: "".try_into().expect("no NUL") })};
        let raw = RawDocumentBuf::try_from(&document).expect("sound BSON");
        let text = String::from_utf8(to_json(&raw).expect("readable")).expect("UTF-8");
        assert!(text.starts_with(&format!(
            r#"{{"id": "{hex}", "nan": NaN, "inf": Infinity, "minus": -Infinity, "three": 3.0, "date": "1970-01-01T00:00:00+00:00""#
        )), "{text}");
    }

    #[test]
    fn what_cannot_be_stored_is_refused_in_words() {
        let deep = |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
        let cases = [
            ("[1]", "not a JSON object"),
            ("{", "not JSON"),
            (r#"{"a\u0000": 1}"#, "NUL"),
            (r#"{"a": 9223372036854775808}"#, "more than 64 bits"),
            (r#"{"x": "1e5", "a": [-123456789012345678901234567890]}"#, "more than 64 bits"),
            (&deep(101), "100 levels"),
            (&"[".repeat(50_000), "not JSON"),
        ];
        for (text, expected) in cases {
            let error = round(text).expect_err("it cannot be stored").to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(round(&deep(100)).is_ok());
        assert!(round(r#"{"a": 1e300, "b": "12345678901234567890123"}"#).is_ok());
    }

    #[test]
    fn bson_that_is_nested_too_deep_or_broken_is_refused() {
        let mut document = RawDocumentBuf::new();
        for _ in 0..10_000 {
            let mut outer = RawDocumentBuf::new();
            outer.append(mongodb::bson::raw::cstr!("a"), document);
            document = outer;
        }
        assert!(to_json(&document).expect_err("too deep").to_string().contains("100 levels"));
        let broken = RawDocumentBuf::from_bytes(vec![9, 0, 0, 0, 2, b'a', 0, 77, 0]);
        assert!(broken.is_err() || to_json(&broken.expect("checked")).is_err());
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            any::<f64>().prop_filter("JSON has no others", |x| x.is_finite()).prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::vec(("[^\\x00]{0,6}", inner), 0..8)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn values_order_and_types_survive(value in json()) {
            let text = serde_json::to_string(&serde_json::json!({ "it": value })).expect("JSON");
            let back: Value = serde_json::from_str(&round(&text).expect("it can be stored")).expect("JSON");
            prop_assert_eq!(serde_json::to_string(&back).expect("JSON"), text);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _text = to_bson(&id(), &bytes, true);
            let mut framed = u32::try_from(bytes.len() + 5).expect("short").to_le_bytes().to_vec();
            framed.extend(&bytes);
            framed.push(0);
            if let Ok(document) = RawDocumentBuf::from_bytes(framed) {
                let _json = to_json(&document);
            }
        }
    }
}
