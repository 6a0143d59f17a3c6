//! What a signature costs: `cargo bench --bench signing`.

use divan::Bencher;
use divan::counter::BytesCount;
use qspool::job::Document;
use qspool::signing::{PrivateKey, is_signed_by, python_json, sign};

fn main() {
    divan::main();
}

/// A result with so many shots of five wires.
fn result(shots: usize) -> Document {
    let memory = vec![r#""0 1 0 1 1""#; shots].join(",");
    Document::from_text(format!(r#"{{"results":[{{"shots":{shots},"data":{{"memory":[{memory}]}}}}]}}"#))
}

fn key() -> PrivateKey {
    PrivateKey::new(&"lab".parse().expect("a kid"), &[1; 32])
}

#[divan::bench(args = [10, 1000, 1_000_000])]
fn sign_a_result(bencher: Bencher, shots: usize) {
    let (result, key) = (result(shots), key());
    bencher.counter(BytesCount::new(result.text().len())).bench(|| sign(&result, &key));
}

#[divan::bench(args = [10, 1000, 1_000_000])]
fn verify_a_result(bencher: Bencher, shots: usize) {
    let (result, key) = (result(shots), key());
    let (signed, public) = (sign(&result, &key).expect("JSON"), key.public());
    bencher
        .counter(BytesCount::new(signed.text().len()))
        .bench(|| is_signed_by(&signed.signed().expect("it is signed"), &public));
}

#[divan::bench]
fn a_thousand_floats_as_python_writes_them(bencher: Bencher) {
    let floats: Vec<String> = (1..=1000).map(|number| (1.0 / f64::from(number)).to_string()).collect();
    let text = format!("[{}]", floats.join(","));
    bencher.bench(|| python_json(&text));
}
