//! The real daemon with a device that speaks lines: the photon counter of the examples, behind a real pseudo-terminal.

mod common;

use common::daemon::Lab;
use common::package_file;
use serde_json::{Value, json};

const JOB: &str = r#"{"experiment_0": {"instructions": [["attenuate", [0], [0.01]], ["expose", [], [0.01]],
    ["measure", [0], []], ["measure", [3], []]], "num_wires": 4, "shots": 3}}"#;

fn example(name: &str) -> String {
    package_file(&format!("drivers/line/examples/{name}")).display().to_string()
}

fn lab(port: &str) -> Lab {
    Lab::new(&format!(
        "[backend.counter]\nschema = '{}'\ndriver = 'counter'\n[driver.counter]\ntype = 'line'\nfile = '{}'\n\
         port = '{port}'\n",
        example("counter.json"),
        example("photon-counter.toml"),
    ))
}

#[test]
fn a_job_is_run_by_a_device_that_a_file_describes() {
    let lab = lab("sim:");
    let daemon = lab.daemon();
    let id = lab.submit("counter", JOB);
    assert_eq!(lab.wait(&id), ("DONE".to_owned(), "None".to_owned()));
    let result: Value = serde_json::from_str(&lab.good(&["result", &id, "--json"])).expect("JSON");
    let experiment = &result["results"][0];
    // The counts that the file simulates, by the calibration of the file.
    assert_eq!(experiment["data"]["memory"], json!(["100 99", "104 0", "100 99"]));
    assert_eq!(experiment["data"]["instructions"][0], json!({ "name": "attenuate", "wires": [0], "params": [0.01] }));
    let device = &experiment["header"]["device"];
    assert_eq!(
        (&device["model"], &device["calibration"], &device["simulated"]),
        (&json!("PC-400"), &json!("detector 2026-01"), &json!(true))
    );
    assert!(daemon.stop().success());
}

#[test]
fn a_job_beyond_the_limits_of_the_device_is_refused_before_a_line_is_sent() {
    let lab = lab("/nowhere/ttyACM0");
    // Each exposure is within the schema; together they are longer than the device can do.
    let long = JOB.replace(r#"["expose", [], [0.01]]"#, &[r#"["expose", [], [10]]"#; 7].join(", "));
    std::fs::write(lab.path().join("job.json"), long).expect("written");
    let refused = lab.run(&["submit", "counter", "job.json"]);
    let said = String::from_utf8(refused.stderr).expect("text");
    assert!(refused.status.code() == Some(2) && said.contains("experiment_0") && said.contains("60"), "{said}");
}

#[test]
fn a_backend_whose_device_is_not_plugged_in_says_so_and_keeps_its_jobs() {
    let lab = lab("/nowhere/ttyACM0");
    let mut daemon = lab.daemon();
    let id = lab.submit("counter", JOB);
    let line = daemon.wait_for("the device is away");
    assert!(line.contains("/nowhere/ttyACM0"), "{line}");
    let row = || -> Value {
        let rows: Value = serde_json::from_str(&lab.good(&["backends", "--json"])).expect("JSON");
        rows[0].clone()
    };
    let begin = std::time::Instant::now();
    while row()["status_msg"].as_str().is_none_or(|note| !note.contains("/nowhere/ttyACM0")) {
        assert!(begin.elapsed().as_secs() < 60, "{}", row());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(row()["operational"], false);
    assert_eq!(lab.status(&id)["status"], "INITIALIZING");
    assert!(daemon.stop().success());
    assert_eq!(lab.files("jobs/queued/counter"), [format!("{id}.json")]);
}

#[test]
fn a_file_of_a_device_is_tried_by_hand_with_its_dialogue() {
    let lab = Lab::new("");
    std::fs::write(lab.path().join("job.json"), JOB).expect("written");
    let tried = lab.run(&["driver", "try", &example("photon-counter.toml"), "job.json"]);
    let (out, said) = (String::from_utf8_lossy(&tried.stdout), String::from_utf8_lossy(&tried.stderr));
    assert!(tried.status.success() && out.contains("100 99"), "{out}{said}");
    for line in ["> *IDN?", "> SOUR1:VOLT 4.000", "> INIT", "< 402", "safe: shutter: 0"] {
        assert!(said.contains(line), "{said}");
    }
    let quiet = lab.run(&["driver", "try", &example("photon-counter.toml"), "job.json", "--quiet"]);
    assert!(!String::from_utf8_lossy(&quiet.stderr).contains("*IDN?"));
    let who: Value =
        serde_json::from_str(&lab.good(&["driver", "identify", &example("pulse-box.toml"), "--json"])).expect("JSON");
    assert_eq!(who["model"], "pulse-box");
    let missing = lab.run(&["driver", "check", "none.toml"]);
    assert_eq!(missing.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("none.toml"));
}
