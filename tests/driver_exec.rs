//! The real daemon with a driver that is a program: the coin that is shipped as an example.

mod common;

use std::time::{Duration, Instant};

use common::daemon::Lab;
use common::package_file;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;

const JOB: &str = r#"{"experiment_0": {"instructions": [["turn", [0], [3.141592653589793]], ["measure", [0], []]],
    "num_wires": 1, "shots": 20, "wire_order": "sequential"}}"#;

/// A lab with a coin, each shot of which takes so long.
fn lab(shot_s: f64) -> Lab {
    Lab::new(&configuration(shot_s, ""))
}

fn configuration(shot_s: f64, more: &str) -> String {
    let python = package_file("drivers/exec/python");
    format!(
        "[backend.coin]\nschema = '{schema}'\ndriver = 'mint'\n{more}\n[driver.mint]\ntype = 'exec'\n\
         command = ['python3', '-B', '{driver}']\nsettings = {{ shot_s = {shot_s} }}\n",
        schema = python.join("example_coin.json").display(),
        driver = python.join("example_coin.py").display(),
    )
}

/// What the backend tells of itself.
fn backend(lab: &Lab) -> Value {
    let rows: Value = serde_json::from_str(&lab.good(&["backends", "--json"])).expect("JSON");
    rows[0].clone()
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(60), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The processes of the driver below the daemon: one that only checks jobs, and one that has the device.
fn drivers_of(daemon: u32) -> Vec<Pid> {
    let children = std::fs::read_dir(format!("/proc/{daemon}/task")).expect("it runs").flat_map(|task| {
        let children = task.expect("a task").path().join("children");
        let text = std::fs::read_to_string(children).unwrap_or_default();
        text.split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>()
    });
    children.filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}

#[test]
fn a_job_is_run_by_a_program_and_marked_as_simulated() {
    let lab = lab(0.0);
    let daemon = lab.daemon();
    let id = lab.submit("coin", JOB);
    assert_eq!(lab.wait(&id), ("DONE".to_owned(), "None".to_owned()));
    let result: Value = serde_json::from_str(&lab.good(&["result", &id, "--json"])).expect("JSON");
    assert_eq!(result["backend_name"], "local_coin_hardware");
    let experiment = &result["results"][0];
    assert_eq!(experiment["data"]["memory"], serde_json::json!(vec!["1"; 20]), "half a turn shows the other side");
    let device = &experiment["header"]["device"];
    assert_eq!((&device["driver"], &device["model"]), (&"mint".into(), &"coin".into()));
    assert_eq!(device["simulated"], true);
    assert_eq!(backend(&lab)["operational"], true);
    assert!(daemon.stop().success());
}

#[test]
fn the_status_of_a_running_job_tells_how_many_experiments_are_done() {
    const EXPERIMENTS: u32 = 5;
    let lab = Lab::new(&configuration(0.05, "[spooler]\nlease_s = 1\n"));
    let daemon = lab.daemon();
    let one: Value = serde_json::from_str(JOB).expect("JSON");
    let experiments = (0..EXPERIMENTS).map(|index| (format!("experiment_{index}"), one["experiment_0"].clone()));
    let id = lab.submit("coin", &Value::Object(experiments.collect()).to_string());
    let (mut told, begin) = (Vec::<u32>::new(), Instant::now());
    loop {
        let status = lab.good(&["status", &id]);
        if status.contains("DONE") {
            break;
        }
        let figure = status.split_once("INITIALIZING  running, ").map(|(_, figure)| figure);
        if let Some(done) =
            figure.and_then(|figure| figure.strip_suffix(&format!(" of {EXPERIMENTS} experiments done")))
        {
            told.push(done.parse().expect("a number"));
            // The document of the status is the one that peers know.
            assert_eq!(lab.status(&id).as_object().expect("a document").len(), 4);
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "the job does not end: {status}");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(told.is_sorted(), "{told:?}");
    told.dedup();
    assert!(told.len() > 2 && told.iter().all(|done| *done <= EXPERIMENTS), "{told:?}");
    assert!(daemon.stop().success());
    assert_eq!(lab.files("jobs/leases"), [""; 0], "nothing is left behind");
}

#[test]
fn what_the_program_refuses_is_told_to_the_user_and_to_whoever_submits() {
    let lab = lab(0.0);
    let _daemon = lab.daemon();
    let job = JOB.replace("3.141592653589793", "7");
    std::fs::write(lab.path().join("job.json"), &job).expect("written");
    let refused = lab.run(&["submit", "coin", "job.json"]);
    let said = String::from_utf8(refused.stderr).expect("text");
    let why = "experiment_0, instruction 0 (turn): the angle 7.0 is not allowed; allowed: 0 to 2 pi";
    assert!(refused.status.code() == Some(2) && said.contains(why), "{said}");
    let (state, message) = lab.wait(&lab.submit("coin", &job));
    assert!(state == "ERROR" && message.contains(why), "{message}");
}

#[test]
fn a_program_that_is_killed_in_a_run_costs_no_job() {
    let lab = lab(0.1);
    let mut daemon = lab.daemon();
    daemon.wait_for("the device is ready");
    let id = lab.submit("coin", JOB);
    wait_for("the run", || !lab.files("jobs/running").is_empty());
    std::thread::sleep(Duration::from_millis(300));
    for driver in drivers_of(daemon.pid()) {
        kill_process(driver, Signal::KILL).expect("it runs");
    }
    daemon.wait_for("the device went away");
    assert_eq!(lab.wait(&id).0, "DONE");
    assert!(daemon.stop().success());
}

#[test]
fn no_driver_outlives_its_daemon() {
    for signal in [Signal::KILL, Signal::TERM] {
        let lab = Lab::new(&configuration(0.5, "[spooler]\ngrace_period_s = 0\n"));
        let mut daemon = lab.daemon();
        daemon.wait_for("the device is ready");
        let id = lab.submit("coin", JOB);
        wait_for("the run", || !lab.files("jobs/running").is_empty());
        let drivers = drivers_of(daemon.pid());
        assert!(!drivers.is_empty());
        daemon.signal(signal);
        daemon.wait();
        wait_for("the end of the drivers", || drivers.iter().all(|driver| test_kill_process(*driver).is_err()));
        // The job is run by the next one.
        lab.configure(&configuration(0.0, ""));
        let next = lab.daemon();
        assert_eq!(lab.wait(&id).0, "DONE");
        assert!(next.stop().success());
    }
}

#[test]
fn a_driver_that_cannot_be_started_is_a_bad_configuration() {
    let lab = Lab::new(&configuration(0.0, "").replace("'python3'", "'/none/python3'"));
    for command in ["run", "check"] {
        let refused = lab.run(&[command]);
        assert_eq!(refused.status.code(), Some(78));
        let said = String::from_utf8([refused.stdout, refused.stderr].concat()).expect("text");
        assert!(said.contains("driver mint: cannot start /none/python3"), "{said}");
    }
    let lab = Lab::new(&configuration(0.0, "workers = 2\n"));
    let said = String::from_utf8(lab.run(&["run"]).stderr).expect("text");
    assert!(said.contains("2 workers") && said.contains("allowed: 1"), "{said}");
    let lab = Lab::new(&configuration(0.0, "").replace("driver = 'mint'", "driver = 'mink'"));
    let said = String::from_utf8(lab.run(&["check"]).stderr).expect("text");
    assert!(said.contains("there is no driver of this name") && said.contains("mint"), "{said}");
}

#[test]
fn a_driver_is_listed_checked_identified_and_tried_by_hand() {
    let lab = lab(0.0);
    std::fs::write(lab.path().join("job.json"), JOB).expect("written");
    assert_eq!(lab.good(&["driver", "list"]), "DRIVER  TYPE  BACKENDS\nmint    exec  coin");
    let can: Value = serde_json::from_str(&lab.good(&["driver", "check", "mint", "--json"])).expect("JSON");
    assert_eq!((&can["max_shots"], &can["stop"]), (&100_000.into(), &"Now".into()));
    let who: Value = serde_json::from_str(&lab.good(&["driver", "identify", "mint", "--json"])).expect("JSON");
    assert_eq!((&who["model"], &who["simulated"]), (&"coin".into(), &true.into()));
    let tried = lab.run(&["driver", "try", "mint", "job.json"]);
    let (out, said) = (String::from_utf8_lossy(&tried.stdout), String::from_utf8_lossy(&tried.stderr));
    assert!(tried.status.success() && out.contains("20 (100.0 %)"), "{out}{said}");
    assert!(said.contains("safe: the coin lies"), "{said}");
    let unknown = lab.run(&["driver", "identify", "mink"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("there are: mint"));
    std::fs::write(lab.path().join("job.json"), JOB.replace("3.141592653589793", "7")).expect("written");
    let refused = lab.run(&["driver", "try", "mint", "job.json"]);
    assert_eq!(refused.status.code(), Some(2), "{}", String::from_utf8_lossy(&refused.stderr));
}
