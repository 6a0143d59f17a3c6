//! Any bytes as the text of a job, for each built-in backend.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use qspool::schema::{BackendSchema, builtin};

mod promises;

static SCHEMAS: LazyLock<Vec<BackendSchema>> =
    LazyLock::new(|| builtin().map(|(_, text)| BackendSchema::parse(text).expect("a built-in schema")).collect());

fuzz_target!(|text: &[u8]| {
    for schema in SCHEMAS.iter() {
        promises::check(&schema.validate(text), text.len());
    }
});
