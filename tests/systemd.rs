//! The files for systemd: accepted without a word, and in step with the defaults of the configuration.

#![expect(clippy::unwrap_used, reason = "tests may")]

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use qspool::spooler::SpoolerOptions;

const UNIT: &str = include_str!("../systemd/qspool.service");
const LABSCRIPT: &str = include_str!("../systemd/qspool-labscript.service");

/// The output of a tool of systemd; nothing, and a notice, on a machine without it.
#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
fn run(command: &mut Command) -> Option<Output> {
    match command.output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let tool = command.get_program().display();
            eprintln!("skipped: there is no {tool} on this machine");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// What `systemd-analyze verify` says of a unit, with the built program in the place of the installed one.
fn verdict(unit: &str) -> Option<String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("qspool.service");
    fs::write(&path, unit.replace("/usr/bin/qspool", env!("CARGO_BIN_EXE_qspool"))).unwrap();
    let output = run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path))?;
    let said = [output.stdout, output.stderr].concat();
    Some(format!("{}{}", String::from_utf8_lossy(&said), if output.status.success() { "" } else { "failed" }))
}

fn setting(key: &str) -> &str {
    setting_of(UNIT, key)
}

fn setting_of<'a>(unit: &'a str, key: &str) -> &'a str {
    let mut values = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    values.next().unwrap_or_else(|| panic!("the unit sets no {key}"))
}

#[test]
fn the_unit_is_verified_in_silence() {
    let Some(said) = verdict(UNIT) else { return };
    assert_eq!(said, "");
    let wrong = UNIT.replace("KillMode=mixed", "KillMode=mixt");
    assert_ne!(verdict(&wrong).unwrap(), "", "the tool finds mistakes");
}

#[test]
fn the_unit_for_labscript_is_verified_in_silence_and_stops_like_the_other_one() {
    for key in ["Type", "NotifyAccess", "KillMode", "TimeoutStopSec", "Restart", "RestartPreventExitStatus"] {
        assert_eq!(setting_of(LABSCRIPT, key), setting(key), "{key}");
    }
    let Some(said) = verdict(LABSCRIPT) else { return };
    assert_eq!(said, "");
}

#[test]
fn the_unit_gives_the_daemon_time_to_drain() {
    let limit = Duration::from_secs(setting("TimeoutStopSec").parse().unwrap());
    assert!(limit > SpoolerOptions::default().grace_period() * 2);
}

#[test]
fn the_unit_does_not_restart_a_wrong_configuration() {
    assert_eq!(setting("RestartPreventExitStatus"), "78");
}

#[test]
fn the_user_of_the_unit_is_the_one_that_is_made() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("etc")).unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/qspool.sysusers");
    let root_option = format!("--root={}", root.path().display());
    let Some(output) = run(Command::new("systemd-sysusers").arg("--dry-run").arg(root_option).arg(file)) else {
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains(&format!("Creating user '{}'", setting("User"))), "{said}");
}
