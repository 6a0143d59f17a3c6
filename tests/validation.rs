//! Verdicts on jobs: the golden ones, hostile ones, and the exact words of messages.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use qspool::job::{BackendConfig, BackendName, Job};
use qspool::schema::{BackendSchema, Rejection, RejectionKind, Valid, builtin};
use serde_json::{Value, json};

#[path = "../fuzz/fuzz_targets/promises.rs"]
mod promises;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn lines(path: &str) -> Vec<Value> {
    read(path).lines().map(|line| serde_json::from_str(line).expect("golden files are JSON")).collect()
}

fn schema(name: &str) -> BackendSchema {
    let (_, text) = builtin().find(|(known, _)| *known == name).expect("a built-in schema");
    BackendSchema::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn names() -> impl Iterator<Item = &'static str> {
    builtin().map(|(name, _)| name)
}

fn validate(backend: &str, job: &str) -> Result<Valid<Job>, Rejection> {
    let verdict = schema(backend).validate(job.as_bytes());
    promises::check(&verdict, job.len());
    verdict
}

// ---- Golden ----------------------------------------------------------------------------------------------------

/// What this daemon must decide on a golden case; where that is not what its maker did, a rule says why.
fn expected(case: &Value) -> bool {
    let has = |key: &str, text: &str| case[key].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == text));
    let experiments: Vec<&Value> = case["job"].as_object().into_iter().flat_map(|job| job.values()).collect();
    let is_fermions = case["backend"] == "fermions";
    // Strings and booleans are no numbers. Floats without a fraction are integers, as they were for the maker.
    let is_lax = has("lax_kinds", "string as number") || has("lax_kinds", "bool as number");
    // Digits of other scripts are refused.
    let is_foreign = has("lenient", "non-ASCII digits in the experiment name");
    if is_lax || is_foreign || (!is_fermions && experiments.iter().any(|experiment| leaves_its_register(experiment))) {
        return false;
    }
    // What the maker let pass and then could not run for a defect of its own: a missing order of wires, a missing
    // measurement. A fermionic state of norm zero is for the simulator to find.
    let has_no_order = |experiment: &&Value| experiment.is_object() && experiment.get("wire_order").is_none();
    let lacks_order = !is_fermions && experiments.iter().any(has_no_order);
    let lacks_measure = case["backend"] == "singlequdit" && case["case"] == "no measure";
    let has_no_norm = case["error_message"].as_str().is_some_and(|text| text.contains("probabilities do not sum to 1"));
    case["accepted"] == true || lacks_order || lacks_measure || has_no_norm
}

/// Whether an instruction that acts on single wires names one that the register does not have.
fn leaves_its_register(experiment: &Value) -> bool {
    let Some(num_wires) = experiment["num_wires"].as_u64() else { return false };
    let is_local = |name: &Value| ["rlx", "rlz", "rlz2", "load", "measure"].iter().any(|local| name == local);
    let is_beyond = |wire: &Value| wire.as_u64().is_some_and(|wire| wire >= num_wires);
    let instructions = experiment["instructions"].as_array();
    instructions.into_iter().flatten().any(|instruction| {
        is_local(&instruction[0]) && instruction[1].as_array().is_some_and(|wires| wires.iter().any(is_beyond))
    })
}

#[test]
fn the_id_that_a_database_adds_is_no_experiment() {
    let schema =
        BackendSchema::parse(builtin().find(|(name, _)| *name == "rydberg").expect("built in").1).expect("good");
    let with_id = r#"{"_id": "656565656565656565656565", "experiment_0":
        {"instructions": [["measure", [0], []]], "num_wires": 1, "shots": 1}}"#;
    assert_eq!(schema.validate(with_id.as_bytes()).expect("a job").experiments.len(), 1);
    let rejection = schema.validate(br#"{"_id": {"a": [1]}}"#).expect_err("no experiment is left");
    assert!(rejection.to_string().starts_with("No instructions received."), "{rejection}");
}

#[test]
fn golden_verdicts_hold() {
    let cases = lines("tests/golden/validation.jsonl");
    assert_eq!(cases.len(), 150);
    let mut wrong = String::new();
    for case in &cases {
        let verdict = validate(case["backend"].as_str().expect("a name"), &case["job"].to_string());
        if verdict.is_ok() != expected(case) {
            writeln!(wrong, "{}, {}: {verdict:?}", case["backend"], case["case"]).expect("a String takes all");
        }
        if let Err(rejection) = verdict {
            let is_large = rejection.kind() == RejectionKind::TooLarge;
            assert_eq!(is_large, case["stage"] == "dimension", "{}: {rejection}", case["case"]);
        }
    }
    assert_eq!(wrong, "");
}

#[test]
fn golden_jobs_are_accepted_and_keep_their_content() {
    let mut count = 0;
    for name in names() {
        let schema = schema(name);
        for line in lines(&format!("tests/golden/{name}.jsonl")) {
            let verdict = schema.validate(line["job"].to_string().as_bytes());
            let job = verdict.unwrap_or_else(|rejection| panic!("{name}, {}: {rejection}", line["job_id"]));
            let given = line["job"].as_object().expect("a job");
            assert_eq!(job.experiments.len(), given.len());
            for (experiment, (key, given)) in job.experiments.iter().zip(given) {
                let program = &experiment.program;
                assert_eq!(&experiment.name, key);
                assert_eq!(Some(u64::from(program.shots)), given["shots"].as_u64());
                assert_eq!(Some(u64::from(program.num_wires)), given["num_wires"].as_u64());
                assert_eq!(program.seed.map(u64::from), given["seed"].as_u64());
                let order = format!("{:?}", program.wire_order).to_lowercase();
                assert_eq!(order, given["wire_order"].as_str().expect("an order"));
                let instructions = given["instructions"].as_array().expect("a list");
                assert_eq!(program.instructions.len(), instructions.len());
                for (instruction, given) in program.instructions.iter().zip(instructions) {
                    let floats: Vec<f64> = given[2]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .map(|param| param.as_f64().expect("a number"))
                        .collect();
                    assert_eq!(json!([instruction.name, instruction.wires]), json!([given[0], given[1]]));
                    assert_eq!(instruction.params, floats);
                }
            }
            count += 1;
        }
    }
    assert_eq!(count, 240);
}

#[test]
fn published_configurations_equal_the_golden_ones() {
    for name in names() {
        let display_name: BackendName = name.parse().expect("a name");
        let published: BackendConfig = schema(name).configuration(&display_name);
        let text = serde_json::to_string(&published).expect("serialises");
        // Read back as a value, the golden text keeps the order of its fields.
        let golden: Value = serde_json::from_str(&read(format!("tests/golden/configs/{name}.json"))).expect("JSON");
        assert_eq!(text, golden.to_string(), "{name}");
    }
}

// ---- Messages --------------------------------------------------------------------------------------------------

/// A job of one experiment with these instructions.
fn job(num_wires: u32, instructions: &str) -> String {
    let rest = format!(r#""num_wires": {num_wires}, "shots": 5, "wire_order": "interleaved""#);
    format!(r#"{{"experiment_0": {{"instructions": [{instructions}], {rest}}}}}"#)
}

fn check_message(backend: &str, job: &str, expected: &str) {
    match validate(backend, job) {
        Ok(_) => assert_eq!("accepted", expected, "{backend}: {}", job.chars().take(300).collect::<String>()),
        Err(rejection) => assert_eq!(rejection.to_string(), expected, "{backend}"),
    }
}

#[test]
fn a_bad_instruction_is_named_with_its_value_and_what_is_allowed() {
    let check = |backend: &str, num_wires, instructions: &str, expected: &str| {
        check_message(backend, &job(num_wires, instructions), expected);
    };
    let loads = r#"["load", [0], []], ["load", [1], []], ["load", [2], []]"#;
    check(
        "fermions",
        8,
        &format!(r#"{loads}, ["fhop", [0, 2], [0.5]]"#),
        "experiment_0, instruction 3 (fhop): wires [0,2] not allowed; allowed: [0,1,2,3], [2,3,4,5], [4,5,6,7]",
    );
    check(
        "rydberg",
        2,
        r#"["measure", [0], []], ["rlx", [0], [7.5]]"#,
        "experiment_0, instruction 1 (rlx): parameter 1 (omega) is 7.5; allowed: 0 to 6.283185307179586",
    );
    check(
        "rydberg",
        5,
        r#"["rydberg_full", [0, 1, 2, 3, 4], [1, 2, -0.5]]"#,
        "experiment_0, instruction 0 (rydberg_full): parameter 3 (phi) is -0.5; allowed: 0 to 15707963.267948966",
    );
    check(
        "rydberg",
        1,
        r#"["rlx", [0], ["1"]]"#,
        "experiment_0, instruction 0 (rlx): parameter 1 (omega) is \"1\"; allowed: a number, 0 to 6.283185307179586",
    );
    check(
        "singlequdit",
        1,
        r#"["load", [0], [2.5]]"#,
        "experiment_0, instruction 0 (load): parameter 1 (atoms) is 2.5; allowed: an integer, 1 to 500",
    );
    check(
        "fermions",
        8,
        r#"["fint", [0, 1, 2, 3, 4, 5, 6, 7], []]"#,
        "experiment_0, instruction 0 (fint): 0 parameters given; allowed: 1 (u)",
    );
    check(
        "singlequdit",
        1,
        r#"["sq_full", [0], 0.5]"#,
        "experiment_0, instruction 0 (sq_full): params 0.5 not allowed; allowed: a list of 3 (omega, delta, chi)",
    );
    check(
        "fermions",
        8,
        r#"["load", [0], [1]]"#,
        "experiment_0, instruction 0 (load): 1 parameter given; allowed: none",
    );
    check(
        "fermions",
        8,
        r#"["barrier", [8], []]"#,
        "experiment_0, instruction 0 (barrier): wires [8] not allowed; \
         allowed: a list of at most 8, each an integer, 0 to 7",
    );
    check(
        "rydberg",
        1,
        r#"["barrier", [0], []], ["jump", [0], []]"#,
        "experiment_0, instruction 1: unknown instruction \"jump\"; \
         allowed: rlx, rlz, rydberg_block, rydberg_full, barrier, measure",
    );
    check(
        "rydberg",
        1,
        r#"["mesure", [0], []]"#,
        "experiment_0, instruction 0: unknown instruction \"mesure\"; \
         allowed: rlx, rlz, rydberg_block, rydberg_full, barrier, measure; did you mean \"measure\"?",
    );
    check(
        "rydberg",
        1,
        r#"["rlx", [0]]"#,
        "experiment_0, instruction 0 (rlx): [\"rlx\",[0]] not allowed; allowed: [name, wires, params]",
    );
    check("rydberg", 1, "3", "experiment_0, instruction 0: 3 not allowed; allowed: [name, wires, params]");
    check("rydberg", 1, "[[]]", "experiment_0, instruction 0: [[]] not allowed; allowed: [name, wires, params]");
    check(
        "rydberg",
        1,
        r#"["rlx", [7], [9]], ["rlx", null, [9]]"#,
        "experiment_0, instruction 0 (rlx): wires [7] not allowed; allowed: [0], [1], [2], [3], [4] (and 3 more)",
    );
}

#[test]
fn wires_must_lie_in_the_register() {
    let check = |backend: &str, num_wires, instructions: &str, expected: &str| {
        check_message(backend, &job(num_wires, instructions), expected);
    };
    check(
        "rydberg",
        2,
        r#"["measure", [1], []], ["measure", [4], []]"#,
        "experiment_0, instruction 1 (measure): wires [4] not allowed; allowed with num_wires 2: wires 0 to 1",
    );
    check(
        "multiqudit",
        1,
        r#"["load", [2], [3]], ["rlx", [1], [0]]"#,
        "experiment_0, instruction 0 (load): wires [2] not allowed; allowed with num_wires 1: wire 0 (and 1 more)",
    );
    check(
        "multiqudit",
        3,
        r#"["rlxly", [2, 3], [1]]"#,
        "experiment_0, instruction 0 (rlxly): wires [2,3] not allowed; allowed with num_wires 3: wires 0 to 2",
    );
    check(
        "rydberg",
        2,
        r#"["measure", [4], []], ["jump", [0], []], ["rlx", [3], [1]]"#,
        "experiment_0, instruction 0 (measure): wires [4] not allowed; \
         allowed with num_wires 2: wires 0 to 1 (and 2 more)",
    );
    check("fermions", 2, r#"["load", [7], []], ["fhop", [4, 5, 6, 7], [1]], ["measure", [7], []]"#, "accepted");
    check("rydberg", 1, r#"["barrier", [0, 1, 2, 3, 4], []]"#, "accepted");
}

/// The wires of the device that serves multiqudit and rydberg.
const DEVICE: &str = "0, 1, 2, 3, 4";

#[test]
fn gates_on_the_whole_register_take_its_wires_or_those_of_the_device() {
    let check = |backend: &str, num_wires: u32, name: &str, wires: &str, is_allowed: bool| {
        let params = match name {
            "multiqudit_full" => "1, 1, 1, 1, 1",
            "rydberg_full" => "1, 1, 1",
            _ => "1",
        };
        let verdict = validate(backend, &job(num_wires, &format!(r#"["{name}", [{wires}], [{params}]]"#)));
        assert_eq!(verdict.is_ok(), is_allowed, "{name} on [{wires}] of {num_wires}: {verdict:?}");
    };
    for num_wires in 1..=5 {
        let register = (0..num_wires).map(|wire| wire.to_string()).collect::<Vec<_>>().join(", ");
        let smaller = (0..num_wires - 1).map(|wire| wire.to_string()).collect::<Vec<_>>().join(", ");
        for name in ["rydberg_block", "rydberg_full"] {
            check("rydberg", num_wires, name, DEVICE, true);
            check("rydberg", num_wires, name, &register, true);
            check("rydberg", num_wires, name, &smaller, false);
            check("rydberg", num_wires, name, "0, 1, 2, 3, 4, 5", false);
        }
        for name in ["rlxly", "rlzlz"] {
            check("multiqudit", num_wires, name, DEVICE, true);
            check("multiqudit", num_wires, name, &register, true);
            check("multiqudit", num_wires, name, "0, 1", num_wires >= 2);
            check("multiqudit", num_wires, name, "1, 0", false);
            check("multiqudit", num_wires, name, "0, 1, 2", num_wires == 3);
            check("multiqudit", num_wires, name, "3, 4", num_wires == 5);
        }
        for wires in ["0, 1", "0, 1, 2", "0, 1, 2, 3", DEVICE, &register] {
            check("multiqudit", num_wires, "multiqudit_full", wires, true);
        }
        check("multiqudit", num_wires, "multiqudit_full", "0", num_wires == 1);
        check("multiqudit", num_wires, "multiqudit_full", "1, 2", false);
    }
    check_message(
        "rydberg",
        &job(5, r#"["rydberg_block", [0, 1, 2], [1]]"#),
        "experiment_0, instruction 0 (rydberg_block): wires [0,1,2] not allowed; \
         allowed: [0,1,2,3,4], or all wires of the register",
    );
}

/// `experiment_0` with the given keys beside its instructions.
fn keys(keys: &str) -> String {
    format!(r#"{{"experiment_0": {{"instructions": [["measure", [0], []]]{keys}}}}}"#)
}

#[test]
fn a_bad_key_of_an_experiment_is_named_with_its_value_and_what_is_allowed() {
    let check = |given: &str, expected: &str| check_message("multiqudit", &keys(given), expected);
    check(r#", "num_wires": 1, "shots": 1"#, "accepted");
    check(r#", "num_wires": 1.0, "shots": 1e3, "seed": 4294967295.0, "colour": {}"#, "accepted");
    check(r#", "num_wires": 1, "shots": 1000001"#, "experiment_0: shots 1000001 not allowed; allowed: 1 to 1000000");
    check(
        r#", "num_wires": 1, "shots": "4""#,
        "experiment_0: shots \"4\" not allowed; allowed: an integer, 1 to 1000000",
    );
    check(r#", "num_wires": 1"#, "experiment_0: shots missing; needed: an integer, 1 to 1000000");
    check(r#", "num_wires": 6, "shots": 1"#, "experiment_0: num_wires 6 not allowed; allowed: 1 to 5");
    check(
        r#", "num_wires": 1, "shots": 1, "seed": 4294967296"#,
        "experiment_0: seed 4294967296 not allowed; allowed: 0 to 4294967295 or null",
    );
    check(
        r#", "num_wires": 1, "shots": 1, "seed": -1"#,
        "experiment_0: seed -1 not allowed; allowed: 0 to 4294967295 or null",
    );
    check(
        r#", "num_wires": 1, "shots": 1, "wire_order": "random""#,
        r#"experiment_0: wire_order "random" not allowed; allowed: "sequential", "interleaved""#,
    );
    check(r#", "num_wires": 1, "shots": 1, "shots": 1"#, "experiment_0: key \"shots\" appears twice");
    check(r#", "num_wires": 0, "shots": 0"#, "experiment_0: num_wires 0 not allowed; allowed: 1 to 5 (and 1 more)");
    check_message(
        "fermions",
        &keys(r#", "num_wires": 8, "shots": 1"#),
        r#"experiment_0: wire_order missing; needed: "interleaved""#,
    );
    check_message(
        "singlequdit",
        &keys(r#", "num_wires": 2, "shots": 1"#),
        "experiment_0: num_wires 2 not allowed; allowed: 1",
    );
    check_message("rydberg", &job(1, ""), "experiment_0: 0 instructions given; allowed: at least 1");
    check_message(
        "rydberg",
        r#"{"experiment_0": {"instructions": "abc", "num_wires": 1, "shots": 1}}"#,
        "experiment_0: instructions \"abc\" not allowed; allowed: a list of [name, wires, params]",
    );
    check_message("rydberg", r#"{"experiment_0": true}"#, "experiment_0: true not allowed; allowed: an object");
    check_message("rydberg", r#"{"experiment_0": [1]}"#, "experiment_0: [1] not allowed; allowed: an object");
}

#[test]
fn a_bad_name_of_an_experiment_is_shown() {
    let check = |name: &str, expected: &str| {
        check_message("rydberg", &job(1, r#"["measure", [0], []]"#).replace("experiment_0", name), expected);
    };
    let pattern = "a text matching ^experiment_[0-9]+$";
    let huge = format!("experiment_{}", "9".repeat(1_000_000));
    let zeros = format!("experiment_{}7", "0".repeat(100_000));
    check("experiment_1000", "accepted");
    check("experiment_007", "accepted");
    check("experiment_000", "accepted");
    check(&zeros, "accepted");
    check("experiment_1001", "experiment \"experiment_1001\" not allowed; allowed numbers: 0 to 1000");
    check(&huge, &format!("experiment \"experiment_{}… not allowed; allowed numbers: 0 to 1000", "9".repeat(48)));
    for bad in
        ["comment", "experiment_", " experiment_0", "experiment_0 ", "experiment_-1", "experiment_1e2", "Experiment_1"]
    {
        check(bad, &format!("experiment \"{bad}\" not allowed; allowed: {pattern}"));
    }
    check("experiment_\u{ff11}", &format!("experiment \"experiment_\u{ff11}\" not allowed; allowed: {pattern}"));
    check("experiment_0\\n", &format!(r#"experiment "experiment_0\n" not allowed; allowed: {pattern}"#));
    check("experiment_\u{202e}0", &format!(r#"experiment "experiment_\u{{202e}}0" not allowed; allowed: {pattern}"#));
}

#[test]
fn a_register_that_is_too_large_is_refused_last() {
    let large = r#"["load", [0], [241]], ["load", [1], [17]]"#;
    check_message(
        "multiqudit",
        &job(2, large),
        "experiment_0: the loaded register has 4097 states; allowed: at most 4096",
    );
    check_message("multiqudit", &job(2, r#"["load", [0], [64.0]], ["load", [1], [64]]"#), "accepted");
    let five = [0, 1, 2, 3, 4].map(|wire| format!(r#"["load", [{wire}], [500]]"#)).join(",");
    check_message(
        "multiqudit",
        &job(5, &five),
        "experiment_0: the loaded register has 31250000000000 states; allowed: at most 4096",
    );
    let many = vec![r#"["load", [0], [500]]"#; 10_000].join(",");
    let verdict = validate("multiqudit", &job(5, &many)).expect_err("too large");
    assert_eq!(verdict.kind(), RejectionKind::TooLarge);
    let bad_and_large = job(2, large).replace('}', "") + r#"}, "experiment_1": 1}"#;
    let verdict = validate("multiqudit", &bad_and_large).expect_err("a bad experiment");
    assert_eq!((verdict.kind(), verdict.problems().len()), (RejectionKind::Invalid, 1));
}

// ---- Hostile texts ---------------------------------------------------------------------------------------------

#[test]
fn a_text_that_is_no_job_is_refused_in_words() {
    let check = |text: &[u8], expected: &str| {
        let verdict = schema("multiqudit").validate(text);
        promises::check(&verdict, text.len());
        assert_eq!(verdict.expect_err("no job").to_string(), expected);
    };
    let needed = "No instructions received. Needed: at least one experiment, \
                  its name a text matching ^experiment_[0-9]+$";
    check(b"{}", needed);
    check(b"", "The job is not JSON: line 1, column 0: EOF while parsing a value.");
    check(b"[1]", "The job is a list; allowed: an object of experiments.");
    check(b"\"abc\"", "The job is \"abc\"; allowed: an object of experiments.");
    check(b"null", "The job is null; allowed: an object of experiments.");
    check(br#"{"experiment_0": 1, "#, "The job is not JSON: line 1, column 20: EOF while parsing a value.");
    check(b"{} {}", "The job is not JSON: line 1, column 4: trailing characters.");
    check(b"{\n  \"experiment_0\": NaN}", "The job is not JSON: line 2, column 19: expected value.");
    check(b"{\"experiment_0\": 1e400}", "The job is not JSON: line 1, column 22: number out of range.");
    check(b"\xff\xfe{\0", "The job is not UTF-8: byte 1 is not allowed.");
    check(b"\xef\xbb\xbf{}", "The job begins with a byte order mark, which JSON does not allow.");
    check("[".repeat(50_000).as_bytes(), "The job is not JSON: line 1, column 50000: EOF while parsing a list.");
    let deep = r#"{"experiment_0": {"instructions": "#.to_owned() + &"[".repeat(50_000);
    check(deep.as_bytes(), "The job is not JSON: line 1, column 160: nested deeper than 127 levels.");
    check(
        br#"{"experiment_0": {"instructions": [["rlx", {"a": 1, "a": 1}, []]]}}"#,
        "The job is not JSON: line 1, column 55: key \"a\" appears twice.",
    );
    let twice = job(1, r#"["measure", [0], []]"#).replace("}}", r#"}, "experiment_0": 1}"#);
    check(twice.as_bytes(), "experiment_0: appears twice in the job");
}

#[test]
fn hostile_sizes_neither_hang_nor_flood() {
    const MILLION: usize = 1_000_000;
    let allowed = "allowed: rlx, rlz, rydberg_block, rydberg_full, barrier, measure";
    let pattern = "a text matching ^experiment_[0-9]+$";
    let check = |job: &str, expected: &str| check_message("rydberg", job, expected);
    check(
        &job(1, &format!(r#"["rlx", [{}0], [1]]"#, "0, ".repeat(MILLION))),
        "experiment_0, instruction 0: more than 100000 values",
    );
    check(&job(1, &format!(r#"["measure", [0], [], {}0]"#, "[], ".repeat(MILLION))), "accepted");
    check(
        &job(1, &format!(r#"["{}", [0], [1]]"#, "x".repeat(MILLION))),
        &format!(r#"experiment_0, instruction 0: unknown instruction "{}…; {allowed}"#, "x".repeat(59)),
    );
    check(
        &job(1, &format!(r#"["{}", [0], [1]]"#, "\\u0007\\u202e\\n".repeat(MILLION))),
        &format!(
            r#"experiment_0, instruction 0: unknown instruction "{}…; {allowed}"#,
            r"\u0007\u{202e}\n".repeat(5) + r"\u00"
        ),
    );
    check(
        &job(1, &vec![r#"["jump", [0], []]"#; MILLION].join(", ")),
        &format!(r#"experiment_0, instruction 0: unknown instruction "jump"; {allowed} (and at least 19 more)"#),
    );
    let experiments = (0..100_000).map(|number| format!(r#""{number}": 0"#)).collect::<Vec<_>>().join(", ");
    check(
        &format!("{{{experiments}}}"),
        &format!(r#"experiment "0" not allowed; allowed: {pattern} (and at least 19 more)"#),
    );
    let unknown = (0..100_000).map(|number| format!(r#""{number}": 0"#)).collect::<Vec<_>>().join(", ");
    check(&format!(r#"{{"experiment_0": {{{unknown}}}}}"#), "experiment_0: more than 100 keys (and 3 more)");
    check(
        &keys(&format!(r#", "num_wires": {}, "shots": 1"#, "9".repeat(300))),
        "experiment_0: num_wires 1e+300 not allowed; allowed: 1 to 5",
    );
    check(
        &keys(&format!(r#", "num_wires": {}1, "shots": 1"#, "1".repeat(400))),
        "The job is not JSON: line 1, column 472: number out of range.",
    );
}

// ---- Properties ------------------------------------------------------------------------------------------------

/// What the limits of a backend allow for one instruction, read from its schema file without the daemon's own code.
#[derive(Debug, Clone)]
struct Limits {
    name: String,
    wires: Vec<Vec<u64>>,
    /// Least, most, and whether only integers are allowed.
    params: Vec<(f64, f64, bool)>,
}

fn limits(backend: &str) -> Vec<Limits> {
    let (_, text) = builtin().find(|(known, _)| *known == backend).expect("a built-in schema");
    let file: Value = serde_json::from_str(text).expect("JSON");
    let resolved = |schema: &Value| match schema["$ref"].as_str() {
        Some(reference) => file.pointer(&reference[1..]).expect("a definition").clone(),
        None => schema.clone(),
    };
    let instruction = |name: &Value| {
        let schema = &file["$defs"][name.as_str().expect("a name")]["prefixItems"];
        let lists = schema[1]["enum"].as_array();
        let wires = lists.map_or_else(
            || vec![vec![0]],
            |lists| lists.iter().map(|list| serde_json::from_value(list.clone()).expect("wires")).collect(),
        );
        let param = |schema: &Value| {
            let schema = resolved(schema);
            let bound = |key: &str| schema[key].as_f64().expect("a bound");
            (bound("minimum"), bound("maximum"), schema["type"] == "integer")
        };
        let params = schema[2]["prefixItems"].as_array().into_iter().flatten().map(param).collect();
        Limits { name: name.as_str().expect("a name").to_owned(), wires, params }
    };
    file["x-qspool"]["supported_instructions"].as_array().expect("names").iter().map(instruction).collect()
}

/// An instruction within the limits, on a register of the full size.
fn instruction(limits: Limits) -> impl Strategy<Value = Value> {
    // Small numbers of atoms keep every register below the limit of its size.
    let param = |(least, most, is_integer): (f64, f64, bool)| {
        let float = (0.0..=1.0).prop_map(move |part: f64| json!((least + part * (most - least)).clamp(least, most)));
        let integer = (1_u64..=2).prop_map(|atoms| json!(atoms));
        if is_integer { integer.boxed() } else { float.boxed() }
    };
    let params: Vec<_> = limits.params.iter().copied().map(param).collect();
    (proptest::sample::select(limits.wires), params)
        .prop_map(move |(wires, params)| json!([limits.name, wires, params]))
}

fn experiment(backend: &'static str) -> impl Strategy<Value = Value> {
    let num_wires = compiled(backend).max_num_wires();
    let one = proptest::sample::select(limits(backend)).prop_flat_map(instruction);
    let seed = prop_oneof![Just(Value::Null), any::<u32>().prop_map(|seed| json!(seed))];
    (prop::collection::vec(one, 1..8), 1_u32..=1_000_000, seed).prop_map(move |(instructions, shots, seed)| {
        json!({
            "instructions": instructions,
            "num_wires": num_wires,
            "shots": shots,
            "wire_order": "interleaved",
            "seed": seed,
        })
    })
}

fn backend_and_job() -> impl Strategy<Value = (&'static str, Value)> {
    proptest::sample::select(names().collect::<Vec<_>>()).prop_flat_map(|backend| {
        let experiments = prop::collection::btree_map(0_u32..=1000, experiment(backend), 1..4);
        let job = experiments.prop_map(|experiments| {
            let named = experiments.into_iter().map(|(number, given)| (format!("experiment_{number}"), given));
            Value::Object(named.collect())
        });
        (Just(backend), job)
    })
}

/// One change that takes a valid job out of the limits.
fn spoiled(mut job: Value, kind: usize, pick: usize) -> Value {
    let experiments = job.as_object_mut().expect("a job");
    let index = pick % experiments.len();
    let (name, experiment) = experiments.iter_mut().nth(index).expect("an index in range");
    let name = name.clone();
    let list = experiment["instructions"].as_array_mut().expect("a list");
    let count = list.len();
    let instruction = &mut list[pick % count];
    match kind {
        0 => experiment["shots"] = json!(1_000_001),
        1 => experiment["shots"] = json!(0),
        2 => experiment["num_wires"] = json!(9),
        3 => experiment["seed"] = json!(-1),
        4 => experiment["wire_order"] = json!("Interleaved"),
        5 => experiment["instructions"] = json!([]),
        6 => instruction[0] = json!("nothing"),
        7 => instruction[1] = json!([0, 1, 2, 3, 4, 5, 6, 7, 0]),
        8 => instruction[1] = json!(["0"]),
        9 => instruction[2].as_array_mut().expect("a list").push(json!(1)),
        10 => instruction[2] = json!([-1]),
        11 => *instruction = json!([instruction[0], instruction[1]]),
        12 => instruction[2] = json!([true]),
        13 => {
            let taken = experiments.remove(&name).expect("it was there");
            experiments.insert(name.replace("experiment_", "experiment_9999"), taken);
        }
        _ => {
            experiments.insert("comment".into(), json!("hello"));
        }
    }
    job
}

/// The built-in schemas, compiled once: a property is tried hundreds of times.
fn compiled(backend: &str) -> &'static BackendSchema {
    static COMPILED: std::sync::LazyLock<Vec<(&str, BackendSchema)>> =
        std::sync::LazyLock::new(|| names().map(|name| (name, schema(name))).collect());
    let found = COMPILED.iter().find(|(name, _)| *name == backend);
    found.map(|(_, schema)| schema).expect("a built-in schema")
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(20),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_job_within_the_limits_is_accepted((backend, job) in backend_and_job()) {
        let text = job.to_string();
        let verdict = compiled(backend).validate(text.as_bytes());
        promises::check(&verdict, text.len());
        prop_assert!(verdict.is_ok(), "{}: {verdict:?}", text);
    }

    #[test]
    fn a_job_outside_the_limits_is_refused((backend, job) in backend_and_job(), kind in 0..15_usize, pick: usize) {
        let text = spoiled(job, kind, pick).to_string();
        let verdict = compiled(backend).validate(text.as_bytes());
        promises::check(&verdict, text.len());
        prop_assert!(verdict.is_err(), "{backend}, {kind}: {text}");
    }

    #[test]
    fn no_text_breaks_a_promise(text: Vec<u8>) {
        for backend in names() {
            promises::check(&compiled(backend).validate(&text), text.len());
        }
    }

    #[test]
    fn no_change_of_a_few_bytes_breaks_a_promise(
        (backend, job) in backend_and_job(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut text = job.to_string().into_bytes();
        for (place, byte) in changes {
            let place = place.index(text.len());
            text[place] = byte;
        }
        promises::check(&compiled(backend).validate(&text), text.len());
    }

    #[test]
    fn no_json_in_place_of_an_instruction_breaks_a_promise(
        (backend, mut job) in backend_and_job(),
        strange in any_json(),
    ) {
        for experiment in job.as_object_mut().expect("a job").values_mut() {
            experiment["instructions"][0] = strange.clone();
        }
        let text = job.to_string();
        promises::check(&compiled(backend).validate(text.as_bytes()), text.len());
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let name = proptest::sample::select(vec!["rlx", "load", "measure", "fhop", "rydberg_full", "x"]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
        name.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(".*", inner, 0..3).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

#[test]
fn seeds_of_the_fuzz_target_keep_the_promises() {
    let folder = root().join("fuzz/seeds/job_text");
    let mut count = 0;
    for entry in fs::read_dir(&folder).expect("the folder of seeds") {
        let text = fs::read(entry.expect("an entry").path()).expect("a file");
        for backend in names() {
            promises::check(&compiled(backend).validate(&text), text.len());
        }
        count += 1;
    }
    assert!(count >= 20, "{count} seeds");
}

// ---- The page for engineers ------------------------------------------------------------------------------------

#[test]
fn the_examples_of_the_page_are_right() {
    let page = read("docs/schemas.md");
    let mut blocks = page.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    let (file, job) = (blocks.next().expect("the schema"), blocks.next().expect("the job"));
    let schema = BackendSchema::parse(file).unwrap_or_else(|error| panic!("{error}"));
    let valid = schema.validate(job.as_bytes()).unwrap_or_else(|rejection| panic!("{rejection}"));
    assert_eq!(valid.experiments[0].program.instructions.len(), 3);
    let too_many = job.replace(r#""shots": 100"#, r#""shots": 5001"#);
    let rejection = schema.validate(too_many.as_bytes()).expect_err("too many shots");
    assert_eq!(rejection.to_string(), "experiment_0: shots 5001 not allowed; allowed: 1 to 5000");

    let config = schema.configuration(&"tweezers".parse().expect("a name"));
    assert_eq!((config.num_wires, config.max_shots), (2, 5000));
    assert_eq!(config.gates.iter().map(|gate| gate.name.as_str()).collect::<Vec<_>>(), ["rlx", "rydberg_full"]);
    assert_eq!(config.gates[0].coupling_map, [[0], [1]]);
}

#[test]
fn the_page_names_every_key_of_the_built_in_files() {
    let page = read("docs/schemas.md");
    for (name, text) in builtin() {
        let file: Value = serde_json::from_str(text).expect("JSON");
        let definitions = file["$defs"].as_object().expect("definitions").values();
        let annotations = definitions.chain([&file]).filter_map(|schema| schema["x-qspool"].as_object());
        for key in annotations.flat_map(|annotation| annotation.keys()) {
            assert!(page.contains(&format!("`{key}`")), "{name}: {key}");
        }
    }
}
