//! The real daemon with the drivers of boards, each on its simulated device behind real pseudo-terminals.

mod common;

use common::daemon::Lab;
use common::package_file;
use serde_json::{Value, json};

fn lab(name: &str, settings: &str) -> Lab {
    let schema = package_file(&format!("drivers/{name}/examples"));
    let schema = if name == "sequence" { schema.join("rabi.json") } else { schema.join(format!("{name}.json")) };
    Lab::new(&format!(
        "[backend.apparatus]\nschema = '{}'\ndriver = 'board'\n[driver.board]\ntype = '{name}'\nport = 'sim:'\n{settings}",
        schema.display(),
    ))
}

fn sequence_lab() -> Lab {
    lab("sequence", &format!("file = '{}'\n", package_file("drivers/sequence/examples/rabi.toml").display()))
}

fn job(instructions: &Value, num_wires: u32, shots: u32) -> String {
    json!({ "experiment_0": { "instructions": instructions, "num_wires": num_wires, "shots": shots } }).to_string()
}

fn memory(lab: &Lab, id: &str) -> (Vec<Vec<i64>>, Value) {
    let result: Value = serde_json::from_str(&lab.good(&["result", id, "--json"])).expect("JSON");
    let experiment = &result["results"][0];
    let shots = experiment["data"]["memory"].as_array().expect("shots").iter();
    let shots = shots
        .map(|shot| shot.as_str().expect("text").split(' ').map(|value| value.parse().expect("a number")).collect());
    (shots.collect(), experiment["header"]["device"].clone())
}

#[test]
fn each_board_runs_a_job_and_its_result_names_it() {
    for (name, settings, instructions, wires, values, model) in [
        (
            "prawnblaster",
            "clocks = 2\n",
            json!([["tick", [0], [1e-5, 3]], ["wait", [1], [1e-4]], ["measure", [1], []], ["measure", [0], []]]),
            2,
            vec![10_000, 0],
            "PrawnBlaster",
        ),
        (
            "prawndo",
            "safe_high = [4]\n",
            json!([
                ["set", [3], [1]],
                ["hold", [], [1e-4]],
                ["measure", [3], []],
                ["measure", [4], []],
                ["measure", [5], []]
            ]),
            16,
            vec![1, 1, 0],
            "PrawnDO",
        ),
        (
            "dds-sweeper",
            "",
            json!([["tone", [0], [8e7, 0.5, 0]], ["hold", [], [1e-4]], ["hold", [], [1e-4]], ["measure", [0], []]]),
            1,
            vec![2],
            "DDS sweeper",
        ),
    ] {
        let lab = lab(name, settings);
        let daemon = lab.daemon();
        let id = lab.submit("apparatus", &job(&instructions, wires, 2));
        assert_eq!(lab.wait(&id), ("DONE".to_owned(), "None".to_owned()), "{name}");
        let (shots, device) = memory(&lab, &id);
        assert_eq!(shots, vec![values; 2], "{name}");
        assert_eq!((&device["model"], &device["simulated"]), (&json!(model), &json!(true)));
        assert!(daemon.stop().success());
    }
}

#[test]
fn a_job_of_rabi_pulses_gives_the_curve_and_names_its_calibration() {
    let lab = sequence_lab();
    let daemon = lab.daemon();
    let pulse = |theta: f64| {
        json!({ "instructions": [["load", [], [0.01]], ["rlx", [0], [theta]], ["measure", [0], []], ["measure", [1], []]],
                "num_wires": 2, "shots": 5 })
    };
    let steps: Vec<f64> = (0..5).map(|step| f64::from(step) * std::f64::consts::PI / 4.0).collect();
    let experiments: serde_json::Map<String, Value> =
        steps.iter().enumerate().map(|(index, theta)| (format!("experiment_{index}"), pulse(*theta))).collect();
    let id = lab.submit("apparatus", &Value::Object(experiments).to_string());
    assert_eq!(lab.wait(&id), ("DONE".to_owned(), "None".to_owned()));
    let result: Value = serde_json::from_str(&lab.good(&["result", &id, "--json"])).expect("JSON");
    for (index, theta) in steps.iter().enumerate() {
        let shots = result["results"][index]["data"]["memory"].as_array().expect("shots");
        let counts = shots.iter().flat_map(|shot| shot.as_str().expect("text").split(' ')).map(str::parse::<f64>);
        let counts: Vec<f64> = counts.collect::<Result<_, _>>().expect("numbers");
        let (up, all): (f64, f64) = (counts.iter().step_by(2).sum(), counts.iter().sum());
        assert!((up / all - (theta / 2.0).sin().powi(2)).abs() < 0.05, "at {theta}: {up} of {all}");
    }
    let device = &result["results"][0]["header"]["device"];
    assert_eq!((&device["model"], &device["calibration"]), (&json!("rabi"), &json!("microwave 2026-11")));
    assert!(daemon.stop().success());
}

#[test]
fn a_sequence_is_tried_by_hand_with_the_dialogue_of_each_part() {
    let lab = sequence_lab();
    std::fs::write(lab.path().join("job.json"), job(&json!([["load", [], [0.001]], ["measure", [0], []]]), 2, 1))
        .expect("written");
    let tried = lab.run(&["driver", "try", "board", "job.json"]);
    let said = String::from_utf8_lossy(&tried.stderr);
    assert!(tried.status.success(), "{said}");
    for line in [
        "clock > start",
        "outputs > adm 0 8",
        "sweeper < ready for 16 bytes",
        "readout > ARM",
        "safe: outputs: outputs: 0000",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
}

#[test]
fn the_worked_example_runs_as_its_page_says() {
    let lab = sequence_lab();
    let page = std::fs::read_to_string(package_file("docs/driver-sequence.md")).expect("readable");
    let job = page.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a job");
    std::fs::write(lab.path().join("job.json"), job).expect("written");
    let example = package_file("drivers/sequence/examples/qspool.toml").display().to_string();
    let tried = lab.run(&["driver", "try", "--config", &example, "apparatus", "job.json", "--quiet"]);
    let (out, said) = (String::from_utf8_lossy(&tried.stdout), String::from_utf8_lossy(&tried.stderr));
    assert!(tried.status.success(), "{out}{said}");
    // A quarter turn: half of the 865 atoms, give or take 15.
    let rows = out.lines().filter_map(|line| line.split_once('┤'));
    let shots: Vec<Vec<f64>> = rows
        .map(|(values, _)| values.split_whitespace().map(|count| count.parse().expect("a number")).collect())
        .collect();
    assert!(out.contains("5 shots") && !shots.is_empty() && shots.iter().all(|counts| counts.len() == 2), "{out}");
    assert!(shots.iter().flatten().all(|count| (count - 432.0).abs() < 90.0), "{out}");
}

#[test]
fn a_job_that_the_board_cannot_run_is_refused_with_its_instruction() {
    let lab = lab("prawndo", "");
    std::fs::write(
        lab.path().join("job.json"),
        job(&json!([["hold", [], [1.0]], ["wait", [], []], ["wait", [], []], ["hold", [], [1.0]]]), 1, 1),
    )
    .expect("written");
    let refused = lab.run(&["submit", "apparatus", "job.json"]);
    let said = String::from_utf8(refused.stderr).expect("text");
    assert!(refused.status.code() == Some(2) && said.contains("instruction 2 (wait)"), "{said}");
}

#[test]
fn mistakes_in_the_settings_of_a_board_are_named() {
    for (name, settings, said) in [
        ("prawnblaster", "clocks = 2\noutput_pins = [9]\n", "1 output pins for 2 clocks"),
        ("prawnblaster", "reference_pin = 21\n", "reference_pin 21"),
        ("prawndo", "safe_high = [16]\n", "output 16"),
        ("dds-sweeper", "reference_hz = 100000000\nmultiplier = 6\n", "500 MHz"),
        ("sequence", "file = '/nowhere/rabi.toml'\n", "/nowhere/rabi.toml"),
    ] {
        let lab = lab(name, settings);
        let checked = lab.run(&["check"]);
        let text = String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
        assert!(!checked.status.success() && text.contains(said), "{name}: {text}");
    }
}
