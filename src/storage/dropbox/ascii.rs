//! JSON for HTTP headers, which carry ASCII only.

use std::fmt::Write;

use serde_json::Value;

/// The value as JSON in which every character beyond ASCII is written as `\uXXXX`, and those above U+FFFF as the two
/// halves of a surrogate pair.
pub(super) fn to_ascii_json(value: &Value) -> String {
    let mut ascii = String::new();
    for character in value.to_string().chars() {
        // Control characters below 0x20 are escaped already.
        if character < '\u{7f}' {
            ascii.push(character);
            continue;
        }
        for half in character.encode_utf16(&mut [0; 2]) {
            let written = write!(ascii, "\\u{half:04x}");
            debug_assert!(written.is_ok(), "a String takes everything");
        }
    }
    ascii
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn characters_beyond_ascii_are_escaped_in_halves_of_sixteen_bits() {
        let check = |text: &str, expected: &str| {
            let ascii = to_ascii_json(&json!({ "path": text }));
            assert_eq!(ascii, format!("{{\"path\":\"{expected}\"}}"));
            assert_eq!(serde_json::from_str::<Value>(&ascii).expect("JSON"), json!({ "path": text }));
        };
        check("/plain", "/plain");
        check("/ä\u{7f}é", "/\\u00e4\\u007f\\u00e9");
        check("/\u{ffff}", "/\\uffff");
        check("/😀", "/\\ud83d\\ude00");
        check("/a\nb\"c\\", "/a\\nb\\\"c\\\\");
    }
}
