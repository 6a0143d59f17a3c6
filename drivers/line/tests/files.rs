//! Mistakes in a file are found when it is loaded, and the message says where and what is allowed.

use std::path::PathBuf;

use proptest::prelude::*;
use qspool_line::{LineFile, WireCount};

fn example(name: &str) -> (PathBuf, String) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    let text = std::fs::read_to_string(&path).expect("an example");
    (path, text)
}

/// Loads the example with `from` replaced by `to`, and looks for what the message has to say.
#[track_caller]
fn check(name: &str, cases: &[(&str, &str, &str)]) {
    let (_, text) = example(name);
    let wrong = cases.iter().filter_map(|(from, to, expected)| {
        assert!(text.contains(from), "{name} has no {from:?}");
        let message = match LineFile::parse("lab.toml", &text.replacen(from, to, 1)) {
            Ok(_) => "nothing".to_owned(),
            Err(error) => error.to_string(),
        };
        let is_right = message.contains(expected) && message.starts_with("lab.toml: ") && !message.contains('\n');
        (!is_right).then(|| format!("{from:?} -> {to:?} says\n  {message}\nin place of\n  {expected}"))
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_examples_are_good() {
    for name in ["photon-counter.toml", "pulse-box.toml"] {
        let (path, _) = example(name);
        let file = LineFile::load(&path).expect("good");
        assert_eq!(format!("{}.toml", file.name()), name);
        assert_eq!(file.version(), "1.0");
    }
}

#[test]
fn gates_are_there_for_whoever_writes_a_schema() {
    let (path, _) = example("pulse-box.toml");
    let file = LineFile::load(path).expect("good");
    let names: Vec<&str> = file.gates().iter().map(|gate| gate.name.as_str()).collect();
    assert_eq!(names, ["barrier", "measure", "pulse", "repeat"]);
    let repeat = &file.gates()[3];
    assert_eq!(repeat.wires, WireCount::Exactly(2));
    assert_eq!(repeat.allowed_wires, [[0, 1], [2, 3]]);
    assert!(repeat.params[0].is_integer && repeat.params[1].unit == "s");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = LineFile::load("/none/lab.toml").expect_err("missing").to_string();
    assert!(error.starts_with("/none/lab.toml: /none/lab.toml cannot be read: "), "{error}");
}

#[test]
fn keys_and_types_are_checked() {
    check(
        "photon-counter.toml",
        &[
            (
                "max_rows = 100",
                "max_row = 100",
                "lab.toml: program.max_row: key unknown \"max_row\"; allowed are begin, end, max_rows, duration_s, max_duration_s; did you mean \"max_rows\"? (line 73)",
            ),
            ("[health]", "[helth]", "did you mean \"health\"?"),
            (
                "send = \"TEMP?\"",
                "sned = \"TEMP?\"",
                "lab.toml: health.sned: key unknown \"sned\"; allowed are send, expect, good; did you mean \"send\"?",
            ),
            (
                "{ send = \"*OPC?\", expect = \"1\", timeout_s = 5.0 }",
                "{ send = \"*OPC?\", expct = \"1\" }",
                "lab.toml: init.steps[2]",
            ),
            (
                "num_wires = 4",
                "num_wires = \"4\"",
                "lab.toml: device.num_wires: invalid type: string \"4\", expected u32 (line 8)",
            ),
            ("num_wires = 4", "num_wires = -4", "device.num_wires"),
            ("num_wires = 4", "num_wires = 0", "lab.toml: device.num_wires: 0; allowed are 1 to 1024"),
            ("[safe]\nsteps = [", "[unsafe]\nsteps = [", "unknown \"unsafe\""),
            ("every_s = 0.02", "every_s = -1", "lab.toml: shot.poll.every_s: -1 s; allowed are 0 to 1000000"),
            (
                "eol = \"\\n\"",
                "eol = \"\\n\\r\"",
                "lab.toml: port.eol: \"\\n\\r\"; allowed are \"\\n\", \"\\r\\n\" and \"\\r\"",
            ),
            ("baud = 115200", "parity = \"mark\"", "expected one of `none`, `even`, `odd`"),
            ("wires = 0", "wires = \"all\"", "expected a number of wires, or \"any\""),
            ("wires = 0", "wires = 5", "lab.toml: gates.expose.wires: 5; device.num_wires is 4"),
            ("duration_s = \"t\"", "duration_s = true", "expected a number, or a formula as text"),
            (
                "start = \"INIT\"",
                "start = { send = \"INIT\", wait_s = 1 }",
                "lab.toml: shot.start[0]: wait_s = 1; allowed are 0 to 0.1",
            ),
            ("start = \"INIT\"", "start = 1", "expected one, or a list"),
            ("[gates.measure]", "[gates.measured]", "lab.toml: gates.measure: it is missing"),
            ("timeout_s = 1.0\n", "timeout_s = 1.0 s\n", "(line 14)"),
        ],
    );
}

#[test]
fn lines_and_formulas_are_checked() {
    check(
        "photon-counter.toml",
        &[
            (
                "{n},{fixed(t",
                "{n},{fixed(tt",
                "lab.toml: gates.expose.emit[0]: name unknown \"tt\"; allowed are t, n, amps_per_volt, dark, per_atom; did you mean \"t\"?",
            ),
            ("SOUR{w + 1}", "SOUR{w0 + w1}", "lab.toml: gates.attenuate.emit[0]: name unknown \"w1\""),
            ("/ amps_per_volt, 3", "/ (current - 0.05), 3", "a division by zero"),
            ("LIST:EXP {n}", "LIST:EXP {hex(n - 1)}", "hex takes whole numbers from 0, this one is -1"),
            ("LIST:EXP {n}", "LIST:EXP {n", "'{' is not expected here"),
            (
                "duration_s = \"t\"",
                "duration_s = \"t - 1\"",
                "lab.toml: gates.expose.duration_s: \"t - 1\" can become -0.999; allowed are 0 to 86400",
            ),
            (
                "\"SHUT 0\"",
                "\"SHUT 0\\nOUTP 1\"",
                "lab.toml: safe.steps[0]: the line \"SHUT 0\\nOUTP 1\" has a control character",
            ),
            (
                "\"SHUT 0\"",
                "\"program\"",
                "lab.toml: safe.steps[0]: the line \"program\" begins with \"pro\", which port.forbid forbids",
            ),
            ("\"SHUT 0\"", "\"\"", "the line is empty"),
            (
                "\"TRIG:SOUR IMM\"",
                "\"TRIG:SOUR {fixed(1e300, 0)}\"",
                "bytes with its end; allowed are 255 (port.longest_line)",
            ),
            (
                "2 * expected_s + 2",
                "2 * expected + 2",
                "lab.toml: shot.timeout_s: name unknown \"expected\"; allowed are expected_s, rows, amps_per_volt",
            ),
            ("(value - dark) / per_atom", "(vaue - dark) / per_atom", "did you mean \"value\"?"),
            (
                "name = \"t\", unit",
                "name = \"n\", unit",
                "lab.toml: gates.expose.params[0]: \"n\" is no name for a parameter",
            ),
            ("min = 0.001, max = 10.0", "min = 10.0, max = 0.001", "no value lies between min = 10 and max = 0.001"),
            ("busy_ms / 1000", "busy / 1000", "lab.toml: simulate.replies[12].busy_s: name unknown \"busy\""),
        ],
    );
}

#[test]
fn patterns_are_checked() {
    check(
        "photon-counter.toml",
        &[
            (
                "(?<serial>",
                "(?<seriall>",
                "lab.toml: identify.expect: group unknown \"seriall\"; allowed are vendor, model, serial, firmware; did you mean \"serial\"?",
            ),
            ("(?<firmware>", "(", "lab.toml: identify.expect: it has no group (?<firmware>…)"),
            (
                "firmware_min = \"2.1\"",
                "firmware_min = \"two\"",
                "lab.toml: identify.firmware_min: \"two\" is no version",
            ),
            (
                r"none = '\+?0,.*'",
                r"none = '+?0,.*'",
                "lab.toml: errors.none: it is no regular expression: repetition operator missing expression",
            ),
            (r"expect = '(?<value>\d+)'", r"expect = '(\d+)'", "lab.toml: result.expect: it needs a group (?<value>…)"),
            ("FETC? (@{w + 1})", "FETC?", "lab.toml: result.send: it has to name the wire"),
            ("max = 1000000\n", "max = -1\n", "lab.toml: result: min = 0 and max = -1 leave no value"),
            (
                "poll = { send",
                "wait = { done = \"x\" }\npoll = { send",
                "lab.toml: shot: the end of a shot is known from the device",
            ),
            (
                "expect = '[+-]?0', read_back",
                "silent = true, read_back",
                "lab.toml: safe.steps[1]: `read_back` needs `expect`",
            ),
        ],
    );
}

#[test]
fn a_calibration_may_lie_in_a_file_of_its_own() {
    let folder = tempfile::tempdir().expect("folder");
    let (_, text) = example("photon-counter.toml");
    let begin = text.find("[calibration]").expect("table");
    let end = text.find("# Opens the shutter").expect("what follows it");
    let text = format!("{}[calibration]\nfile = \"detector.toml\"\n\n{}", &text[..begin], &text[end..]);
    let path = folder.path().join("counter.toml");
    std::fs::write(&path, text).expect("file");

    let error = LineFile::load(&path).expect_err("missing").to_string();
    assert!(error.contains("calibration.file: ") && error.contains("detector.toml cannot be read"), "{error}");
    let constants = "[constants]\ndark = 1\nper_atom = 3.5\namps_per_volt = 1.0\n";
    let detector = folder.path().join("detector.toml");
    std::fs::write(&detector, constants).expect("file");
    let error = LineFile::load(&path).expect_err("incomplete").to_string();
    assert!(error.contains("detector.toml: a calibration needs `name`, `version` and `constants`"), "{error}");
    std::fs::write(&detector, format!("name = \"detector\"\nversion = \"7\"\n{constants}")).expect("file");
    LineFile::load(&path).expect("complete");
}

#[test]
fn the_guide_describes_every_key() {
    let guide = include_str!("../../../docs/driver-line.md");
    let described: Vec<&str> = guide
        .split('`')
        .skip(1)
        .step_by(2)
        .flat_map(|code| code.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_')))
        .collect();
    let keys = include_str!("../src/raw.rs").lines().filter_map(|line| {
        let (name, _) = line.strip_prefix("    pub(crate) ")?.split_once(':')?;
        Some(name)
    });
    let missing: Vec<&str> = keys.filter(|key| !described.contains(key)).collect();
    assert!(missing.is_empty(), "docs/driver-line.md has no {missing:?}");
}

#[test]
fn patterns_may_ignore_case() {
    let (path, text) = example("pulse-box.toml");
    LineFile::parse(path, &text.replace("acknowledge = \"ok\"", "acknowledge = '(?i)ok'")).expect("good");
}

proptest! {
    #[test]
    fn no_file_makes_the_check_panic(
        is_box in any::<bool>(),
        at in any::<prop::sample::Index>(),
        length in 0..12_usize,
        text in "[-+*/(){}\\[\\]\"'=.,#a-z0-9\\\\\n ]{0,12}|\\PC{0,6}",
    ) {
        let (path, good) = example(if is_box { "pulse-box.toml" } else { "photon-counter.toml" });
        let mut letters: Vec<char> = good.chars().collect();
        let begin = at.index(letters.len());
        let end = (begin + length).min(letters.len());
        letters.splice(begin..end, text.chars());
        let changed: String = letters.into_iter().collect();
        if let Err(error) = LineFile::parse(path, &changed) {
            let message = error.to_string();
            prop_assert!(!message.chars().any(|letter| letter == '\n'), "{message:?}");
        }
    }
}
