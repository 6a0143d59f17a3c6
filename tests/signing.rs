//! Signatures, against the recorded ones of the reference and against Python itself.

mod common;

use std::io::Write;
use std::process::{Command, Stdio};

use common::package_file;
use qspool::job::Document;
use qspool::signing::{PrivateKey, PublicKey, is_signed_by, python_json, sign};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use serde_json::Value;

/// `tests/golden/signing.json`.
fn golden() -> Value {
    let text = std::fs::read_to_string(package_file("tests/golden/signing.json")).expect("it is in the repository");
    serde_json::from_str(&text).expect("JSON")
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().expect("a list")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn private(key: &Value) -> PrivateKey {
    PrivateKey::parse(text(&key["private_config_str"])).unwrap_or_else(|error| panic!("{key}: {error}"))
}

/// The key that a case names.
fn key_of(golden: &Value, index: &Value) -> PrivateKey {
    private(&golden["keys"][usize::try_from(index.as_u64().expect("an index")).expect("small")])
}

fn verifies(document: &Document, key: &PublicKey) -> bool {
    document.signed().is_some_and(|signed| is_signed_by(&signed, key))
}

#[test]
fn the_keys_of_the_reference_are_read_and_written_as_it_does() {
    let golden = golden();
    assert_eq!(list(&golden["keys"]).len(), 4);
    for key in list(&golden["keys"]) {
        let read = private(key);
        assert_eq!(read.kid(), text(&key["kid"]));
        assert_eq!(read.to_text().expose(), text(&key["private_config_str"]));
        let public = read.public();
        assert_eq!(String::from_utf8_lossy(public.to_document().text()), text(&key["public_jwk_json"]));
        for form in ["public_jwk_json", "public_config_str"] {
            assert_eq!(PublicKey::parse(text(&key[form])).as_ref(), Ok(&public), "{form}");
        }
        let from_json = PrivateKey::parse(text(&key["private_jwk_json"])).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(from_json.to_text().expose(), text(&key["private_config_str"]));
    }
}

#[test]
fn what_we_sign_is_byte_for_byte_what_the_reference_signs() {
    let golden = golden();
    let cases = list(&golden["cases"]);
    assert!(cases.len() > 20, "{}", cases.len());
    for case in cases {
        let name = text(&case["name"]);
        let key = key_of(&golden, &case["key"]);
        let payload = text(&case["payload_text"]);
        assert_eq!(python_json(payload).expect("JSON"), payload, "{name}");
        let signed = sign(&Document::from_text(payload), &key).expect("JSON");
        assert_eq!(String::from_utf8_lossy(signed.text()), text(&case["stored_text"]), "{name}");
        assert!(verifies(&signed, &key.public()), "{name}");
        if case["with_other_key"].is_object() {
            let other = key_of(&golden, &case["with_other_key"]["key"]);
            assert!(!verifies(&signed, &other.public()), "{name} with another key");
        }
    }
}

#[test]
fn no_document_that_was_tampered_with_verifies() {
    let golden = golden();
    let (mut tampered, mut tolerated) = (0, Vec::new());
    for case in list(&golden["cases"]) {
        let key = key_of(&golden, &case["key"]).public();
        for changed in case["tampered"].as_array().into_iter().flatten() {
            tampered += 1;
            let document = Document::new(&changed["stored"]);
            assert!(!verifies(&document, &key), "{}: {}", case["name"], changed["what"]);
        }
        for changed in case["tolerated"].as_array().into_iter().flatten() {
            if verifies(&Document::new(&changed["stored"]), &key) {
                tolerated.push(text(&changed["what"]).to_owned());
            }
        }
    }
    assert!(tampered > 100, "{tampered}");
    tolerated.sort();
    tolerated.dedup();
    // Of what the reference lets pass although it differs, only what changes nothing that anybody reads.
    assert_eq!(tolerated, ["header keys in reverse order", "top-level keys in reverse order"]);
}

/// What Python's `json.dumps` makes of each of these lines.
fn python_dumps(lines: &[String]) -> Vec<String> {
    let mut python = Command::new("python3")
        .arg(package_file("tests/signing/dumps.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python 3.10 or newer is installed");
    let mut input = python.stdin.take().expect("it is piped");
    let asked = lines.join("\n") + "\n";
    let writer = std::thread::spawn(move || input.write_all(asked.as_bytes()));
    let output = python.wait_with_output().expect("it ends");
    writer.join().expect("no panic").expect("it reads everything");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("text").lines().map(ToOwned::to_owned).collect()
}

fn check_against_python(lines: &[String]) {
    let expected = python_dumps(lines);
    assert_eq!(expected.len(), lines.len());
    for (line, expected) in lines.iter().zip(&expected) {
        assert_eq!(&python_json(line).expect("JSON"), expected, "{line}");
    }
}

#[test]
fn floats_have_the_digits_that_python_gives_them() {
    let mut random = StdRng::seed_from_u64(4);
    let mut lines = Vec::new();
    let mut ask = |number: f64| {
        if number.is_finite() {
            // Several texts of one number, and one that is no shortest one.
            lines.push(format!("[{number:e}, {number:?}, {number:.25e}, {}]", number * 1.1));
        }
    };
    for exponent in 0..2046 {
        // Where the shortest digits are hardest to find: beside the powers of two.
        let power = f64::from_bits(exponent << 52);
        [power, power.next_up(), power.next_down(), -power].into_iter().for_each(&mut ask);
    }
    for exponent in -330..310 {
        let power: f64 = format!("1e{exponent}").parse().expect("a number");
        [power, power.next_up(), power.next_down(), 3.0 * power].into_iter().for_each(&mut ask);
    }
    for _ in 0..60_000 {
        ask(f64::from_bits(random.next_u64()));
        ask(random.random_range(-10.0..10.0));
        ask(f64::from(random.random_range(0..1_000_000)) / 1000.0);
        ask(random.random_range(0.0..1e18_f64).round());
    }
    assert!(lines.len() > 200_000);
    // Rust writes an infinite number as no JSON has it.
    lines.retain(|line| !line.contains("inf"));
    check_against_python(&lines);
}

#[test]
fn texts_and_integers_have_the_form_that_python_gives_them() {
    let mut random = StdRng::seed_from_u64(5);
    let mut lines = Vec::new();
    // Every character that there is.
    let characters: Vec<char> = ('\0'..=char::MAX).collect();
    for chunk in characters.chunks(500) {
        let text: String = chunk.iter().collect();
        lines.push(serde_json::to_string(&text).expect("serialises"));
    }
    // Every unit of UTF-16 as an escape, halves of pairs alone among them.
    for unit in 0..=u16::MAX {
        lines.push(format!(r#"{{"\u{unit:04x}": "x\u{unit:04X}y"}}"#));
    }
    for _ in 0..2000 {
        let digits: String =
            (0..random.random_range(1..80)).map(|_| char::from(random.random_range(b'0'..=b'9'))).collect();
        let digits = digits.trim_start_matches('0');
        if !digits.is_empty() {
            lines.push(format!("[-{digits}, {digits}, -0, {digits}.0, 0.{digits}, {digits}e-40]"));
        }
    }
    check_against_python(&lines);
}
