//! The real daemon and a board that outlives it: killed, stopped, twice at once, and with the cable pulled.

mod common;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::daemon::Lab;
use common::package_file;
use qspool_driver::testing::TestDevice as _;
use qspool_pico::SimulatedPico;
use qspool_prawndo::SimulatedPrawnDo;
use qspool_serial::Plug;
use serde_json::{Value, json};

/// Output 3 is on for the longest part of it.
fn job(seconds: f64, shots: u32) -> String {
    let instructions = json!([["set", [3], [1]], ["hold", [], [seconds]], ["measure", [3], []]]);
    json!({ "experiment_0": { "instructions": instructions, "num_wires": 4, "shots": shots } }).to_string()
}

/// The board that is plugged in now.
type Plugged = Arc<Mutex<Arc<Mutex<SimulatedPrawnDo>>>>;

struct Bed {
    plug: Plug,
    board: Plugged,
}

fn lock<T>(shared: &Arc<Mutex<T>>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bed {
    fn new() -> Self {
        let board = Plugged::default();
        let plugged = Arc::clone(&board);
        let plug = Plug::new(move || {
            let fresh = Arc::<Mutex<SimulatedPrawnDo>>::default();
            *lock(&plugged) = Arc::clone(&fresh);
            Box::new(SimulatedPico::new(fresh))
        });
        Self { plug: plug.expect("a pseudo-terminal"), board }
    }

    fn lab(&self) -> Lab {
        Lab::new(&format!(
            "[backend.outputs]\nschema = '{}'\ndriver = 'board'\n[driver.board]\ntype = 'prawndo'\nport = '{}'\n",
            package_file("drivers/prawndo/examples/prawndo.json").display(),
            self.plug.link().display(),
        ))
    }

    fn outputs(&self) -> u16 {
        let board = Arc::clone(&lock(&self.board));
        lock(&board).outputs()
    }

    fn wait_for_outputs(&self, levels: u16) {
        let begin = Instant::now();
        while self.outputs() != levels {
            assert!(begin.elapsed() < Duration::from_secs(60), "outputs {:04x}, not {levels:04x}", self.outputs());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn a_daemon_that_was_killed_in_a_shot_finds_the_board_running_and_makes_it_safe() {
    let bed = Bed::new();
    let lab = bed.lab();
    let daemon = lab.daemon();
    let id = lab.submit("outputs", &job(30.0, 1));
    bed.wait_for_outputs(0b1000);
    daemon.kill();
    // Nobody is there to make it safe.
    assert_eq!(bed.outputs(), 0b1000);
    let mut heir = lab.daemon();
    heir.wait_for("the device is ready");
    // The job runs again; before it does, the outputs were safe.
    let seen = bed.plug.sent();
    let abort = seen.rfind("abt\n").expect("aborted");
    assert!(seen[abort..].contains("man 0\n") && seen[abort..].contains("gto\n"), "{seen}");
    bed.wait_for_outputs(0b1000);
    lab.good(&["cancel", &id]);
    bed.wait_for_outputs(0);
    let (status, why) = lab.wait(&id);
    assert!(status == "ERROR" && why == "Cancelled.", "{status}: {why}");
    assert!(heir.stop().success());
}

#[test]
fn a_daemon_that_is_stopped_in_a_shot_leaves_the_board_safe_and_the_job_in_its_queue() {
    let bed = Bed::new();
    let lab = bed.lab();
    let configuration = std::fs::read_to_string(lab.path().join("qspool.toml")).expect("readable");
    std::fs::write(lab.path().join("qspool.toml"), format!("{configuration}[spooler]\ngrace_period_s = 1\n"))
        .expect("written");
    let daemon = lab.daemon();
    let id = lab.submit("outputs", &job(30.0, 1));
    bed.wait_for_outputs(0b1000);
    assert!(daemon.stop().success());
    assert_eq!(bed.outputs(), 0);
    assert_eq!(lab.files("jobs/queued/outputs"), [format!("{id}.json")]);
}

#[test]
fn a_cable_that_is_pulled_in_a_shot_costs_no_job_and_the_board_comes_back_by_itself() {
    let mut bed = Bed::new();
    let lab = bed.lab();
    let mut daemon = lab.daemon();
    let id = lab.submit("outputs", &job(0.5, 4));
    bed.wait_for_outputs(0b1000);
    bed.plug.unplug();
    daemon.wait_for("the device is away");
    let backend = || -> Value {
        let rows: Value = serde_json::from_str(&lab.good(&["backends", "--json"])).expect("JSON");
        rows[0].clone()
    };
    let begin = Instant::now();
    while backend()["operational"] != false {
        assert!(begin.elapsed() < Duration::from_secs(60), "{}", backend());
        std::thread::sleep(Duration::from_millis(20));
    }
    // Under another name of the kernel: the link is what the configuration names.
    bed.plug.replug();
    assert_eq!(lab.wait(&id), ("DONE".to_owned(), "None".to_owned()));
    let result: Value = serde_json::from_str(&lab.good(&["result", &id, "--json"])).expect("JSON");
    assert_eq!(result["results"][0]["data"]["memory"], json!(["1", "1", "1", "1"]));
    assert!(daemon.stop().success());
    assert_eq!(bed.outputs(), 0);
}

#[test]
fn of_two_daemons_at_one_port_the_second_waits_for_the_first() {
    let bed = Bed::new();
    let (first_lab, second_lab) = (bed.lab(), bed.lab());
    let mut first = first_lab.daemon();
    first.wait_for("the device is ready");
    let mut second = second_lab.daemon();
    let said = second.wait_for("the device is away");
    assert!(said.contains("another program has it open"), "{said}");
    let waiting = second_lab.submit("outputs", &job(0.01, 2));
    let done = first_lab.submit("outputs", &job(0.01, 2));
    assert_eq!(first_lab.wait(&done).0, "DONE");
    assert_eq!(second_lab.status(&waiting)["status"], "INITIALIZING");
    assert!(first.stop().success());
    assert_eq!(second_lab.wait(&waiting).0, "DONE");
    assert!(second.stop().success());
}
