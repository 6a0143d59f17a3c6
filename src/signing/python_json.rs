//! JSON in the very form of Python's `json.dumps` with its default settings: what the reference signs.
//!
//! The text is rewritten token by token, without a tree in between: the order of keys, integers of any size and halves
//! of surrogate pairs stay as they are, and a large result costs no more memory than its text.

use std::fmt::Write;

use serde::de::IgnoredAny;

/// A text that is no JSON.
#[derive(Debug, thiserror::Error)]
#[error("it is no JSON: {0}")]
pub struct NotJson(#[from] serde_json::Error);

/// Writes the JSON `text` as `json.dumps(json.loads(text))` does: `", "` and `": "` between the parts, everything that is
/// not printable ASCII as `\uxxxx`, floats by their shortest digits.
///
/// Where an object has one key twice Python drops the first of them; here both stay.
pub fn python_json(text: &str) -> Result<String, NotJson> {
    let mut out = String::with_capacity(text.len() + text.len() / 4);
    push_python_json(&mut out, text)?;
    Ok(out)
}

/// Appends the same to `out`; nothing where the text is no JSON.
pub(super) fn push_python_json(out: &mut String, text: &str) -> Result<(), NotJson> {
    // From here on every token is known to be whole and at its place.
    serde_json::from_str::<IgnoredAny>(text)?;
    let mut rest = text;
    while let Some(first) = rest.bytes().next() {
        let end = match first {
            b' ' | b'\t' | b'\n' | b'\r' => 1,
            b',' | b':' => {
                out.push(char::from(first));
                out.push(' ');
                1
            }
            b'"' => {
                let end = string_end(rest);
                push_string(out, &rest[1..end - 1]);
                end
            }
            b'-' | b'0'..=b'9' => {
                let end = rest.find([',', ']', '}', ' ', '\t', '\n', '\r']).unwrap_or(rest.len());
                push_number(out, &rest[..end]);
                end
            }
            // Brackets, and the letters of true, false and null.
            _ => {
                out.push(char::from(first));
                1
            }
        };
        rest = &rest[end..];
    }
    Ok(())
}

/// Where the string ends that begins the text, its quotes included.
fn string_end(text: &str) -> usize {
    let (mut at, bytes) = (1, text.as_bytes());
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

/// Writes a string, given as the JSON text between its quotes.
fn push_string(out: &mut String, mut rest: &str) {
    out.push('"');
    while !rest.is_empty() {
        let plain = rest.bytes().position(|byte| byte == b'\\' || !is_plain(byte)).unwrap_or(rest.len());
        out.push_str(&rest[..plain]);
        rest = &rest[plain..];
        let mut characters = rest.chars();
        match characters.next() {
            None => {}
            Some('\\') => {
                let mut length = 2;
                match characters.next() {
                    Some('b') => push_unit(out, 0x08),
                    Some('f') => push_unit(out, 0x0c),
                    Some('n') => push_unit(out, 0x0a),
                    Some('r') => push_unit(out, 0x0d),
                    Some('t') => push_unit(out, 0x09),
                    Some('u') => {
                        length = 6;
                        let unit = rest.get(2..6).and_then(|digits| u16::from_str_radix(digits, 16).ok());
                        push_unit(out, unit.unwrap_or_default());
                    }
                    // The quote, the backslash and the slash stand for themselves.
                    Some(other) => {
                        let mut units = [0; 2];
                        other.encode_utf16(&mut units).iter().for_each(|unit| push_unit(out, *unit));
                    }
                    None => length = 1,
                }
                rest = &rest[length..];
            }
            Some(other) => {
                let mut units = [0; 2];
                other.encode_utf16(&mut units).iter().for_each(|unit| push_unit(out, *unit));
                rest = characters.as_str();
            }
        }
    }
    out.push('"');
}

/// Whether Python leaves the character as it is. The backslash and the quote are not among them.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

/// Writes one unit of UTF-16, which may be half of a pair.
fn push_unit(out: &mut String, unit: u16) {
    match unit {
        0x08 => out.push_str("\\b"),
        0x09 => out.push_str("\\t"),
        0x0a => out.push_str("\\n"),
        0x0c => out.push_str("\\f"),
        0x0d => out.push_str("\\r"),
        0x22 => out.push_str("\\\""),
        0x5c => out.push_str("\\\\"),
        _ => match u8::try_from(unit) {
            Ok(byte) if is_plain(byte) => out.push(char::from(byte)),
            _ => {
                // Writing to a string cannot fail.
                let _written = write!(out, "\\u{unit:04x}");
            }
        },
    }
}

fn push_number(out: &mut String, number: &str) {
    if !number.contains(['.', 'e', 'E']) {
        // Python's integers know no negative zero.
        out.push_str(if number == "-0" { "0" } else { number });
        return;
    }
    // JSON's form of a number is one that Rust reads, too.
    let value: f64 = number.parse().unwrap_or(f64::NAN);
    out.push_str(&python_float(value));
}

/// A float as Python's `repr` writes it: the shortest digits that read back, of two that are as near the even one; with
/// an exponent below `1e-4` and from `1e16` on.
fn python_float(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "Infinity".into() } else { "-Infinity".into() };
    }
    // Rust's own formatting rounds up where two are as near; that of serde_json takes the even one, as Python does.
    let Ok(shortest) = serde_json::to_string(&value) else { return "NaN".into() };
    let (sign, shortest) = shortest.strip_prefix('-').map_or(("", shortest.as_str()), |rest| ("-", rest));
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((shortest, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let digits = all.trim_start_matches('0');
    // The exponent that belongs to the first digit which is not zero, in scientific notation.
    let leading_zeros = all.len() - digits.len();
    let exponent = exponent.parse().unwrap_or(0) + signed(whole.len()) - 1 - signed(leading_zeros);
    let digits = digits.trim_end_matches('0');
    let count = signed(digits.len());
    match digits.split_at_checked(1) {
        None => format!("{sign}0.0"),
        Some((first, rest)) if !(-4..16).contains(&exponent) => {
            let point = if rest.is_empty() { "" } else { "." };
            let sign_of_exponent = if exponent < 0 { '-' } else { '+' };
            format!("{sign}{first}{point}{rest}e{sign_of_exponent}{:02}", exponent.abs())
        }
        Some(_) if exponent < 0 => format!("{sign}0.{}{digits}", zeros(-1 - exponent)),
        Some(_) if exponent + 1 >= count => format!("{sign}{digits}{}.0", zeros(exponent + 1 - count)),
        Some(_) => {
            let (whole, fraction) = digits.split_at(usize::try_from(exponent + 1).unwrap_or_default());
            format!("{sign}{whole}.{fraction}")
        }
    }
}

/// The length of a few digits.
fn signed(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

fn zeros(count: i32) -> String {
    "0".repeat(usize::try_from(count).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(python_json(text).expect("JSON"), expected, "{text}");
    }

    #[test]
    fn floats_have_the_form_of_python() {
        for (text, expected) in [
            ("1.0", "1.0"),
            ("-0.0", "-0.0"),
            ("1e0", "1.0"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("0.00000015", "1.5e-07"),
            ("1e15", "1000000000000000.0"),
            ("9999999999999998.0", "9999999999999998.0"),
            ("1E+16", "1e+16"),
            ("123456789012345678.0", "1.2345678901234568e+17"),
            ("1e308", "1e+308"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("5e-324", "5e-324"),
            ("0.1", "0.1"),
            ("2.5e-5", "2.5e-05"),
            ("100.0", "100.0"),
            ("-120.5", "-120.5"),
            ("0.00012", "0.00012"),
            // As near to ...313e-08, which is odd.
            ("2.98023223876953125e-8", "2.9802322387695312e-08"),
            ("1e999", "Infinity"),
            ("-1e999", "-Infinity"),
        ] {
            check(text, expected);
        }
    }

    #[test]
    fn integers_stay_as_they_are() {
        check("[1,-2,0,-0]", "[1, -2, 0, 0]");
        check("123456789012345678901234567890", "123456789012345678901234567890");
    }

    #[test]
    fn strings_have_the_escapes_of_python() {
        check(r#""a/b \/ \" \\ \b\f\n\r\t""#, r#""a/b / \" \\ \b\f\n\r\t""#);
        check("\"\u{7f}\u{e9}\u{1f511}\"", r#""\u007f\u00e9\ud83d\udd11""#);
        check(r#""\u0041\u00E9\uD83D\uDD11\u0000\u001F""#, r#""A\u00e9\ud83d\udd11\u0000\u001f""#);
        // Half of a pair, which no Rust string could hold.
        check(r#""\ud800x""#, r#""\ud800x""#);
        check(r#""a, b: [1.50]""#, r#""a, b: [1.50]""#);
    }

    #[test]
    fn parts_are_separated_as_python_does_it() {
        check(" { \"a\" :\n[1 ,2.0,true,null,{}] ,\"\":[ ] } ", r#"{"a": [1, 2.0, true, null, {}], "": []}"#);
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in ["", "{", "[1,]", "NaN", "{\"a\" 1}", "01", "1.", "\"\\x\"", "\"\\u12\"", "[1] 2", "\"\n\""] {
            assert!(python_json(text).is_err(), "{text}");
        }
    }

    /// Any JSON value.
    fn value() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<u64>().prop_map(Into::into),
            any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(6, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Into::into),
                prop::collection::vec((any::<String>(), inner), 0..8)
                    .prop_map(|pairs| serde_json::Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_value_stays_the_same_and_the_text_is_a_fixed_point(value in value()) {
            for text in [value.to_string(), serde_json::to_string_pretty(&value).expect("serialises")] {
                let written = python_json(&text).expect("JSON");
                prop_assert!(written.is_ascii());
                prop_assert_eq!(&serde_json::from_str::<serde_json::Value>(&written).expect("JSON"), &value);
                prop_assert_eq!(&python_json(&written).expect("JSON"), &written);
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _written = python_json(&text);
            let _quoted = python_json(&format!("[\"{text}\"]"));
        }
    }
}
