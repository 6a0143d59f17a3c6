//! The command line as a person meets it: what is printed where, and with which code a command exits.

#![expect(clippy::unwrap_used, reason = "tests may")]

#[path = "cli/transcript.rs"]
mod transcript;

use std::path::Path;

use transcript::{Streams, check};

#[track_caller]
fn check_cli(name: &str) {
    check(&Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/cli/{name}.md")), Streams::Marked);
}

#[test]
fn every_command_has_its_help() {
    check_cli("help");
}

#[test]
fn a_wrong_command_line_is_refused_with_what_is_allowed() {
    check_cli("usage");
}

#[test]
fn a_wrong_configuration_is_told_with_its_place_and_what_to_do() {
    check_cli("configuration");
}

#[test]
fn storages_and_backends_are_checked() {
    check_cli("check");
}

#[test]
fn storages_are_listed_and_checked() {
    check_cli("storage");
}

#[test]
fn schemas_are_listed_shown_and_checked() {
    check_cli("schema");
}

#[test]
fn a_bad_job_is_refused_with_all_its_problems() {
    check_cli("submit");
}

#[test]
fn a_job_that_nobody_runs_can_be_looked_at_and_cancelled() {
    check_cli("waiting");
}

#[test]
fn an_empty_storage_has_nothing_to_show() {
    check_cli("empty");
}

#[test]
fn a_storage_is_copied_and_what_stands_in_the_way_is_told() {
    check_cli("copy");
}

#[test]
fn all_storages_are_looked_at_and_one_that_is_away_hinders_none() {
    check_cli("storages");
}

#[test]
fn the_examples_of_the_readme_hold() {
    check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"), Streams::Merged);
}

#[test]
fn the_doctor_tells_what_it_finds_and_mends() {
    check_cli("doctor");
}

#[test]
fn the_examples_of_the_guide_to_local_storages_hold() {
    check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/storage-local.md"), Streams::Merged);
}

#[test]
fn keys_are_made_shown_and_refused_in_words() {
    check_cli("signing");
}

#[test]
fn the_examples_of_the_guide_to_signatures_hold() {
    check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/signing.md"), Streams::Merged);
}

#[test]
fn the_examples_of_the_operating_guide_hold() {
    check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operating.md"), Streams::Merged);
}
