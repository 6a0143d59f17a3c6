//! The driver of the labscript suite: by itself, and in the real daemon with the real suite, whose devices are dummies.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use common::daemon::Lab;
use common::{package_file, python as environment};
use serde_json::{Value, json};

/// The running suite. It ends with this value and takes with it what it has made.
struct Suite {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Suite {
    /// Starts the suite; none, and a notice, where it cannot be had.
    #[expect(clippy::print_stderr, reason = "a test that is left out says so")]
    fn start(python: &Path, folder: &Path) -> Option<Self> {
        let window = "from PyQt5.QtWidgets import QApplication; QApplication([])";
        let tried = Command::new(python).args(["-c", window]).env("QT_QPA_PLATFORM", "offscreen").output();
        let tried = tried.expect("the interpreter was made above");
        if !tried.status.success() {
            eprintln!("skipped: Qt misses libraries of the system: {}", String::from_utf8_lossy(&tried.stderr));
            return None;
        }
        let mut child = Command::new(python)
            .args([Path::new("-B"), &package_file("tests/labscript/suite.py"), folder])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the interpreter was made above");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut suite = Self { input: child.stdin.take(), child, output };
        let said = suite.line();
        if said.starts_with("refused") {
            eprintln!("skipped: {said}");
            return None;
        }
        let log = || std::fs::read_to_string(folder.join("suite.log")).unwrap_or_default();
        assert_eq!(said, "ready", "{}", log());
        Some(suite)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it writes text");
        line.trim().to_owned()
    }

    fn tell(&mut self, what: &str) {
        writeln!(self.input.as_mut().expect("it is piped"), "{what}").expect("it listens");
        assert_eq!(self.line(), "done");
    }
}

impl Drop for Suite {
    fn drop(&mut self) {
        drop(self.input.take());
        // Whatever it says, it was only needed up to here.
        let _ended = self.child.wait();
    }
}

/// A lab whose backend is the suite, with a header of more gates than the one that is shipped.
fn lab(python: &Path) -> Lab {
    let lab = Lab::new("");
    let shipped = package_file("drivers/exec/python");
    let read = |path: PathBuf| std::fs::read_to_string(path).expect("it is there");
    let header = read(shipped.join("labscript_header.py"));
    let path = |name: &str| lab.path().join(name);
    std::fs::write(path("header.py"), header.clone() + &read(package_file("tests/labscript/header.py")))
        .expect("written");
    std::fs::write(path("safe.py"), header + "\nstop(0.1)\n").expect("written");
    std::fs::write(path("mot.json"), schema(&read(shipped.join("labscript.json"))).to_string()).expect("written");
    std::fs::create_dir(path("shots")).expect("created");
    lab.configure(&format!(
        "[backend.mot]\nschema = 'mot.json'\ndriver = 'suite'\n[driver.suite]\ntype = 'exec'\n\
         command = ['{python}', '-B', '{driver}']\n[driver.suite.settings]\nheader = '{folder}/header.py'\n\
         output_folder = '{folder}/shots'\nsafe_script = '{folder}/safe.py'\nlargest_value = 500\nshot_timeout_s = 6\n\
         gates.load = {{ wires = 1, params = [[1, 400]] }}\ngates.slow = {{ wires = 1, params = [[0, 60]] }}\n\
         gates.measure = {{ wires = 1 }}\ngates.number = {{}}\ngates.fail = {{}}\ngates.forget = {{}}\n",
        python = python.display(),
        driver = shipped.join("labscript_driver.py").display(),
        folder = lab.path().display(),
    ));
    lab
}

/// The schema that is shipped, with the gates of the tests.
fn schema(text: &str) -> Value {
    let mut schema: Value = serde_json::from_str(text).expect("JSON");
    for name in ["slow", "number", "fail", "forget"] {
        let mut gate = schema["$defs"]["measure"].clone();
        gate["prefixItems"][0] = json!({ "const": name });
        gate["x-qspool"] = json!({ "parameters": [], "qasm_def": format!("gate {name}() {{}}") });
        if name == "slow" {
            gate["prefixItems"][2] = schema["$defs"]["load"]["prefixItems"][2].clone();
            gate["x-qspool"] = json!({ "parameters": ["t"], "qasm_def": "gate slow(t) {}" });
        }
        schema["$defs"][name] = gate;
        schema["x-qspool"]["supported_instructions"].as_array_mut().expect("a list").push(name.into());
    }
    schema
}

/// A job of one experiment, which ends with a measurement.
fn job(instructions: &Value, shots: u32) -> String {
    let mut instructions = instructions.as_array().expect("a list").clone();
    instructions.push(json!(["measure", [0], []]));
    let experiment =
        json!({ "instructions": instructions, "num_wires": 1, "shots": shots, "wire_order": "sequential" });
    json!({ "experiment_0": experiment }).to_string()
}

fn memory(lab: &Lab, id: &str) -> Value {
    let result: Value = serde_json::from_str(&lab.good(&["result", id, "--json"])).expect("JSON");
    result["results"][0]["data"]["memory"].clone()
}

fn note(lab: &Lab) -> String {
    lab.good(&["backends", "--json"])
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(60), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The folders of the runs, in their order.
fn runs(lab: &Lab) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(lab.path().join("shots")).expect("it is there");
    let mut runs: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    runs.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("run-")));
    runs.sort();
    runs
}

#[test]
fn the_driver_holds_its_rules_without_the_suite() {
    let output = Command::new("python3").arg("-B").arg(package_file("tests/labscript/units.py")).output();
    let output = output.expect("Python 3.8 or newer");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn jobs_are_checked_where_there_is_no_suite() {
    let lab = lab(Path::new("python3"));
    let can: Value = serde_json::from_str(&lab.good(&["driver", "check", "suite", "--json"])).expect("JSON");
    assert_eq!((&can["max_shots"], &can["stop"]), (&100.into(), &"AfterShot".into()));
    std::fs::write(lab.path().join("job.json"), job(&json!([["load", [0], [450]]]), 1)).expect("written");
    let refused = lab.run(&["submit", "mot", "job.json"]);
    let said = String::from_utf8(refused.stderr).expect("text");
    assert!(said.contains("the parameter 450.0 of load is not allowed; allowed: 1 to 400"), "{said}");
    let unknown = lab.run(&["driver", "identify", "suite"]);
    let said = String::from_utf8(unknown.stderr).expect("text");
    assert!(!unknown.status.success() && said.contains("this is not the Python of the labscript suite"), "{said}");
}

#[test]
fn the_real_suite_runs_jobs_and_loses_none() {
    let python = environment::interpreter("labscript", &package_file("tests/labscript/requirements.txt"));
    let lab = lab(&python);
    let Some(mut suite) = Suite::start(&python, lab.path()) else { return };
    let mut daemon = lab.daemon();
    daemon.wait_for("the device is ready");

    // Every shot, in its order, with what it has measured.
    let id = lab.submit("mot", &job(&json!([["number", [0], []]]), 12));
    assert_eq!(lab.wait(&id), ("DONE".to_owned(), "None".to_owned()));
    let numbers: Vec<String> = (0..12).map(|number| number.to_string()).collect();
    assert_eq!(memory(&lab, &id), json!(numbers));
    let id = lab.submit("mot", &job(&json!([["load", [0], [20]]]), 1));
    assert_eq!(lab.wait(&id).0, "DONE");
    assert_eq!(memory(&lab, &id), json!(["20"]));

    // What cannot be compiled ends with the reason, and the next one is run.
    let (state, message) = lab.wait(&lab.submit("mot", &job(&json!([["fail", [0], []]]), 2)));
    assert!(state == "ERROR" && message.contains("ValueError: the laser is off"), "{message}");

    // A cancelled job: no shot is handed over any more, and the next job waits for those that were.
    let before = runs(&lab).len();
    let cancelled = lab.submit("mot", &job(&json!([["slow", [0], [1]]]), 50));
    wait_for("the run", || runs(&lab).len() > before);
    std::thread::sleep(Duration::from_millis(500));
    lab.good(&["cancel", &cancelled]);
    assert_eq!(lab.wait(&cancelled).0, "ERROR");
    daemon.wait_for("the safe script has run");
    let stopped = runs(&lab).pop().expect("it was begun");
    assert!(!stopped.join("qspool.py").exists(), "it is not compiled any more");
    assert_eq!(lab.wait(&lab.submit("mot", &job(&json!([["load", [0], [3]]]), 2))).0, "DONE");

    // BLACS dies in a run: the job waits for the next one.
    let before = runs(&lab).len();
    let id = lab.submit("mot", &job(&json!([["slow", [0], [1]], ["load", [0], [7]]]), 4));
    wait_for("the run", || runs(&lab).len() > before);
    std::thread::sleep(Duration::from_millis(1500));
    suite.tell("kill");
    daemon.wait_for("the device is away");
    wait_for("the note", || note(&lab).contains("BLACS at localhost:42517 cannot be reached"));
    suite.tell("start");
    assert_eq!(lab.wait(&id).0, "DONE");
    assert_eq!(memory(&lab, &id), json!(["7", "7", "7", "7"]));

    // A shot that has run and has measured nothing is no shorter result.
    let id = lab.submit("mot", &job(&json!([["forget", [0], []]]), 1));
    daemon.wait_for("has run, and has no attribute nat in /measure");
    assert_ne!(lab.status(&id)["status"], "DONE");
    // On a slow machine it has ended by now, after its last attempt.
    drop(lab.run(&["cancel", &id]));
    assert!(daemon.stop().success());
}
