//! The real binary: start, jobs, signals, kill -9, restart, and everything that must not stop it.

mod common;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::time::{Duration, Instant};

use common::daemon::{Daemon, Lab};
use rustix::process::Signal;
use serde_json::{Value, json};

/// A job that takes no time.
fn quick() -> String {
    json!({"experiment_0": {"instructions": [["load", [0], []], ["fhop", [0, 1, 2, 3], [1.0]], ["measure", [0], []]],
        "num_wires": 8, "shots": 5, "wire_order": "interleaved", "seed": 1}})
    .to_string()
}

/// A job that would take hours: a large register and enormous parameters.
fn endless() -> String {
    let loads = (0..4).map(|wire| json!(["load", [wire], [7]]));
    let gates = (0..50).map(|_| json!(["multiqudit_full", [0, 1, 2, 3], [5e6, 5e6, 5e6, 5e6, 5e6]]));
    let instructions: Vec<Value> = loads.chain(gates).chain([json!(["measure", [0], []])]).collect();
    json!({"experiment_0": {"instructions": instructions, "num_wires": 4, "shots": 1}}).to_string()
}

const DONE: &str = "DONE";
const ERROR: &str = "ERROR";

#[test]
fn a_job_goes_from_the_queue_to_its_result() {
    let lab = Lab::new("");
    let mut daemon = lab.daemon();
    let job = lab.submit("fermions", &quick());
    assert_eq!(lab.wait(&job), (DONE.into(), "None".into()));
    let line = daemon.wait_for("the job has ended");
    assert!(line.contains(&job) && line.contains("backend=fermions"), "{line}");
    let result: Value = serde_json::from_str(&lab.good(&["result", &job, "--json"])).expect("JSON");
    assert_eq!(result["status"], DONE);
    assert_eq!(result["backend_name"], "local_fermions_simulator");
    assert_eq!(result["results"][0]["data"]["memory"].as_array().expect("a list").len(), 5);
    assert_eq!(lab.files("jobs/finished/fermions"), [format!("{job}.json")]);
    assert_eq!(lab.files("jobs/running"), [""; 0]);
    assert!(daemon.stop().success());
    assert_eq!(lab.files("jobs/leases"), [""; 0], "nothing is left behind");
}

#[test]
fn every_backend_is_published_as_operational() {
    let lab = Lab::new("");
    let mut daemon = lab.daemon();
    for _ in 0..4 {
        daemon.wait_for("published the configuration");
    }
    let backends: Vec<Value> = serde_json::from_str(&lab.good(&["backends", "--json"])).expect("JSON");
    let operational: BTreeMap<&str, bool> = backends
        .iter()
        .map(|backend| (backend["display_name"].as_str().expect("text"), backend["operational"] == true))
        .collect();
    let names = ["fermions", "multiqudit", "rydberg", "singlequdit"];
    assert_eq!(operational, names.into_iter().map(|name| (name, true)).collect());
}

#[test]
fn bad_jobs_end_with_an_error_and_the_loop_goes_on() {
    let lab = Lab::new("[spooler]\nmax_job_mib = 1");
    let _daemon = lab.daemon();
    let with = |key: &str, value: Value| {
        let mut job: Value = serde_json::from_str(&quick()).expect("JSON");
        job["experiment_0"][key] = value;
        job.to_string()
    };
    let cases = [
        ("{}".to_owned(), "No instructions received"),
        ("[1]".to_owned(), "sanity check"),
        ("{\"experiment_0\": {".to_owned(), "sanity check"),
        ("\u{feff}{}".to_owned(), "sanity check"),
        ("[".repeat(50_000), "sanity check"),
        (with("shots", json!(0)), "shots"),
        (with("instructions", json!([["fint", [0], [1.0]]])), "instruction 0 (fint)"),
        (
            with("instructions", json!([["load", [0], []], ["load", [0], []], ["measure", [0], []]])),
            "instruction 1 (load)",
        ),
    ];
    for (text, why) in cases {
        let job = lab.submit("fermions", &text);
        let (state, message) = lab.wait(&job);
        assert_eq!(state, ERROR, "{why}");
        assert!(message.contains(why), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        assert!(message.len() < 600 && !message.contains(lab.path().to_str().expect("text")), "{message}");
        assert!(lab.files("jobs/deleted").contains(&format!("{job}.json")));
    }
    // `submit` would refuse it.
    fs::write(lab.storage().join("jobs/queued/fermions/large.json"), format!("{{\"{}\": 1}}", "x".repeat(2 << 20)))
        .expect("written");
    let (state, message) = lab.wait_for_first_status("fermions", "large");
    assert_eq!((state.as_str(), message.contains("larger than the 1 MiB")), (ERROR, true), "{message}");
    let too_large = json!({"experiment_0": {"instructions": [["load", [0], [500]], ["load", [1], [500]], ["measure", [0], []]],
        "num_wires": 2, "shots": 1}});
    let job = lab.submit("multiqudit", &too_large.to_string());
    let (_, message) = lab.wait(&job);
    assert!(message.starts_with("Failed dimensionality test. Too many atoms."), "{message}");
    let good = lab.submit("fermions", &quick());
    assert_eq!(lab.wait(&good).0, DONE);
}

#[test]
fn a_job_that_needs_too_much_memory_ends_with_the_figure() {
    let lab = Lab::new("[spooler]\nmemory_limit_mib = 64");
    let _daemon = lab.daemon();
    let experiment = json!({"instructions": [["measure", [0], []]], "num_wires": 1, "shots": 1_000_000});
    let job: serde_json::Map<String, Value> =
        (0..1000).map(|number| (format!("experiment_{number}"), experiment.clone())).collect();
    let job = lab.submit("rydberg", &Value::Object(job).to_string());
    let (state, message) = lab.wait(&job);
    assert_eq!(state, ERROR);
    assert!(message.contains("MiB of memory") && message.contains("allowed: 64 MiB"), "{message}");
}

#[test]
fn an_endless_job_is_ended_and_delays_no_other_backend() {
    let lab = Lab::new("[spooler]\njob_time_limit_s = 2");
    let _daemon = lab.daemon();
    let long = lab.submit("multiqudit", &endless());
    let begin = Instant::now();
    let quick_one = lab.submit("fermions", &quick());
    assert_eq!(lab.wait(&quick_one).0, DONE);
    assert!(begin.elapsed() < Duration::from_secs(2), "it waited for the other backend");
    assert_eq!(lab.status(&long)["status"], "INITIALIZING");
    let (state, message) = lab.wait(&long);
    assert_eq!((state.as_str(), message.as_str()), (ERROR, "the job ran longer than the allowed 2 s"));
}

#[test]
fn jobs_wait_or_run_until_they_are_cancelled() {
    let lab = Lab::new("[spooler]\nlease_s = 1");
    let mut daemon = lab.daemon();
    let running = lab.submit("multiqudit", &endless());
    let waiting = lab.submit("multiqudit", &endless());
    wait_until_running(&lab, &running);
    lab.good(&["cancel", &waiting]);
    assert_eq!(lab.wait(&waiting), (ERROR.into(), "Cancelled.".into()));
    lab.good(&["cancel", &running]);
    assert_eq!(lab.wait(&running), (ERROR.into(), "Cancelled.".into()));
    daemon.wait_for(&running);
    assert_eq!(lab.run(&["cancel", &running]).status.code(), Some(2), "it has ended");
}

/// Waits until a job lies in running.
fn wait_until_running(lab: &Lab, job: &str) {
    let begin = Instant::now();
    while lab.files("jobs/running") != [format!("{job}.json")] {
        assert!(begin.elapsed() < Duration::from_secs(30), "{job} does not start");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_stop_lets_running_jobs_end_and_puts_the_rest_back() {
    let lab = Lab::new("[spooler]\ngrace_period_s = 1");
    let daemon = lab.daemon();
    let long = lab.submit("multiqudit", &endless());
    wait_until_running(&lab, &long);
    assert!(daemon.stop().success());
    assert_eq!(lab.files("jobs/queued/multiqudit"), [format!("{long}.json")]);
    assert_eq!(lab.files("jobs/running"), [""; 0]);
    assert_eq!(lab.status(&long)["status"], "INITIALIZING");
    let record = fs::read_to_string(lab.storage().join(format!("jobs/leases/{long}.record"))).expect("kept");
    assert!(record.contains(r#""attempts":0"#), "draining is no attempt: {record}");
}

#[test]
fn a_second_signal_ends_at_once_and_the_next_start_goes_on() {
    let lab = Lab::new("[spooler]\ngrace_period_s = 3600");
    let mut daemon = lab.daemon();
    let long = lab.submit("multiqudit", &endless());
    wait_until_running(&lab, &long);
    daemon.signal(Signal::INT);
    daemon.wait_for("stopping");
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success());
    assert_eq!(lab.files("jobs/running"), [format!("{long}.json")]);
    let mut next = lab.daemon();
    next.wait_for("it is back in its queue");
    wait_until_running(&lab, &long);
}

#[test]
fn a_job_whose_daemon_is_killed_runs_again_and_ends_after_three_attempts() {
    let lab = Lab::new("[log]\nlevel = \"debug\"");
    let long = lab.submit("multiqudit", &endless());
    for attempt in 0..3 {
        let mut daemon = lab.daemon();
        if attempt > 0 {
            daemon.wait_for("it is back in its queue");
        }
        daemon.wait_for("the job is ours");
        daemon.kill();
    }
    let _daemon = lab.daemon();
    let (state, message) = lab.wait(&long);
    assert_eq!(state, ERROR);
    assert!(message.contains("started 3 times"), "{message}");
}

#[test]
fn jobs_survive_any_number_of_kills_at_any_moment() {
    const JOBS: usize = 60;
    let lab = Lab::new("[backend.fermions]\nworkers = 3\n[spooler]\nmax_attempts = 100");
    let jobs: Vec<String> = (0..JOBS).map(|_| lab.submit("fermions", &quick())).collect();
    let mut kills = 0_u64;
    while !lab.files("jobs/queued/fermions").is_empty() || !lab.files("jobs/running").is_empty() {
        let daemon = lab.daemon();
        // Between some instants after the start and the end of a few jobs.
        std::thread::sleep(Duration::from_millis(5 + kills * 17 % 151));
        daemon.kill();
        kills += 1;
        assert!(kills < 500, "no job gets through");
    }
    let daemon = lab.daemon();
    for job in &jobs {
        assert_eq!(lab.wait(job).0, DONE, "{job} after {kills} kills");
    }
    assert!(daemon.stop().success());
    assert!(kills > 2, "the daemon was killed while it worked: {kills}");
    assert_eq!(lab.files("jobs/finished/fermions").len(), JOBS);
    assert_eq!(lab.files("results/fermions").iter().filter(|name| !name.starts_with('.')).count(), JOBS);
    assert_eq!(lab.files("jobs/deleted"), [""; 0]);
}

#[test]
fn two_daemons_on_one_storage_run_each_job_once() {
    const JOBS: usize = 100;
    let lab = Lab::new("");
    let jobs: Vec<String> = (0..JOBS).map(|_| lab.submit("fermions", &quick())).collect();
    let mut daemons = [lab.daemon(), lab.daemon()];
    for job in &jobs {
        assert_eq!(lab.wait(job).0, DONE);
    }
    let mut ended = BTreeMap::<String, usize>::new();
    for daemon in &mut daemons {
        daemon.signal(Signal::TERM);
        daemon.wait();
        for line in daemon.log().iter().filter(|line| line.contains("the job has ended")) {
            let job = jobs.iter().find(|job| line.contains(*job)).expect("a job of ours");
            *ended.entry(job.clone()).or_default() += 1;
        }
    }
    assert_eq!(ended.len(), JOBS);
    assert!(ended.values().all(|count| *count == 1), "{ended:?}");
}

#[test]
fn a_living_daemon_takes_over_from_one_that_was_killed() {
    let lab = Lab::new("[spooler]\nmax_attempts = 1");
    let first = lab.daemon();
    let long = lab.submit("multiqudit", &endless());
    wait_until_running(&lab, &long);
    let mut second = lab.daemon();
    first.kill();
    second.wait_for("the job's spooler had died");
    assert_eq!(lab.wait(&long).0, ERROR);
}

#[test]
fn a_job_that_cannot_be_settled_hinders_neither_the_others_nor_a_stop() {
    let lab = Lab::new("[spooler]\ngrace_period_s = 1");
    let daemon = lab.daemon();
    let long = lab.submit("multiqudit", &endless());
    wait_until_running(&lab, &long);
    daemon.kill();
    // Its result is there, and its status can never be written.
    fs::create_dir_all(lab.storage().join("results/multiqudit")).expect("created");
    fs::write(lab.storage().join(format!("results/multiqudit/{long}.json")), "{}").expect("written");
    fs::remove_dir_all(lab.storage().join("status/multiqudit")).expect("removed");
    fs::write(lab.storage().join("status/multiqudit"), "").expect("written");
    let mut daemon = lab.daemon();
    daemon.wait_for("the storage does not take part");
    let job = lab.submit("fermions", &quick());
    assert_eq!(lab.wait(&job).0, DONE);
    daemon.signal(Signal::HUP);
    daemon.wait_for("serving");
    assert!(daemon.stop().success());
}

#[test]
fn a_reload_changes_what_is_served_and_drops_no_job() {
    let lab = Lab::new("[backend.multiqudit]");
    let mut daemon = lab.daemon();
    let long = lab.submit("multiqudit", &endless());
    wait_until_running(&lab, &long);
    lab.configure("[backend.multiqudit]\n[backend.fermions]\n[spooler]\nlease_s = 1");
    daemon.signal(Signal::HUP);
    daemon.wait_for("serving");
    let job = lab.submit("fermions", &quick());
    assert_eq!(lab.wait(&job).0, DONE);
    assert_eq!(lab.files("jobs/running"), [format!("{long}.json")], "it goes on");
    lab.configure("[backend.fermions]\nshema = \"fermions\"");
    daemon.signal(Signal::HUP);
    let line = daemon.wait_for("not reloaded");
    assert!(line.contains("did you mean"), "{line}");
    lab.configure("");
    let job = lab.submit("fermions", &quick());
    assert_eq!(lab.wait(&job).0, DONE, "the old configuration holds");
}

#[test]
fn files_that_appear_by_hand_are_run_or_refused() {
    let lab = Lab::new("");
    let mut daemon = lab.daemon();
    daemon.wait_for("published");
    let queue = lab.storage().join("jobs/queued/fermions");
    fs::create_dir_all(&queue).expect("created");
    fs::write(queue.join("byhand.json"), quick()).expect("written");
    fs::write(queue.join("halfway.json"), &quick()[..40]).expect("written");
    fs::write(queue.join("not a job id.json"), quick()).expect("written");
    // No status was written for them, so there is none to ask for before they have ended.
    for (id, state) in [("byhand", DONE), ("halfway", ERROR)] {
        assert_eq!(lab.wait_for_first_status("fermions", id).0, state);
    }
    assert_eq!(lab.files("jobs/queued/fermions"), ["not a job id.json"]);
}

#[test]
fn a_job_that_vanishes_does_not_stop_the_daemon() {
    let lab = Lab::new("[spooler]\njob_time_limit_s = 1");
    let mut daemon = lab.daemon();
    let long = lab.submit("multiqudit", &endless());
    wait_until_running(&lab, &long);
    fs::remove_file(lab.storage().join(format!("jobs/running/{long}.json"))).expect("removed");
    assert_eq!(lab.wait(&long).0, ERROR);
    daemon.wait_for("the job has ended");
    let job = lab.submit("fermions", &quick());
    assert_eq!(lab.wait(&job).0, DONE);
}

#[test]
fn a_storage_that_cannot_be_written_is_waited_for() {
    let lab = Lab::new("");
    let mut command = lab.command(&["run"]);
    if rustix::process::getuid().is_root() {
        // Permissions do not bind root, so the daemon runs as somebody else, who may not reach the build folder.
        let binary = lab.path().join("qspool");
        fs::copy(env!("CARGO_BIN_EXE_qspool"), &binary).expect("copied");
        fs::create_dir_all(lab.storage()).expect("created");
        for path in [lab.path().to_owned(), lab.storage()] {
            chown(path, Some(NOBODY), Some(NOBODY)).expect("given away");
        }
        command = std::process::Command::new(binary);
        command.arg("run").current_dir(lab.path()).uid(NOBODY).gid(NOBODY);
    }
    let mut daemon = Daemon::start(command);
    for _ in 0..4 {
        daemon.wait_for("published");
    }
    let results = lab.storage().join("results/fermions");
    fs::set_permissions(&results, Permissions::from_mode(0o555)).expect("set");
    let job = lab.submit("fermions", &quick());
    open_to_all(&lab.storage());
    daemon.wait_for("the storage does not take part");
    assert_eq!(lab.status(&job)["status"], "INITIALIZING");
    fs::set_permissions(&results, Permissions::from_mode(0o777)).expect("set");
    assert_eq!(lab.wait(&job).0, DONE);
}

/// The first user id after those of the system; it has no rights anywhere.
const NOBODY: u32 = 65534;

/// Lets everybody write in the folders that hold jobs and statuses, whoever made them.
fn open_to_all(storage: &Path) {
    for folder in ["status/fermions", "jobs/queued/fermions", "jobs/queued", "jobs", "status"] {
        // The daemon's own folders are its own.
        let _not_ours = fs::set_permissions(storage.join(folder), Permissions::from_mode(0o777));
    }
}

#[test]
fn a_full_disk_is_waited_for() {
    let lab = Lab::new("");
    fs::create_dir_all(lab.storage()).expect("created");
    let script = format!(
        "mount -t tmpfs -o size=1m none '{}' && exec '{}' run",
        lab.storage().display(),
        env!("CARGO_BIN_EXE_qspool")
    );
    // A file system of its own, seen only by the daemon and, through /proc, by this test.
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "--map-root-user", "sh", "-c", &script]).current_dir(lab.path());
    let can_mount = std::process::Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", "mount -t tmpfs none /mnt"])
        .status()
        .is_ok_and(|status| status.success());
    if !can_mount {
        // Not by a macro, whose output is hidden when a test is good.
        writeln!(std::io::stderr(), "NOTICE: nobody may mount a file system here; a full disk is not tried")
            .expect("told");
        return;
    }
    let mut daemon = Daemon::start(command);
    for _ in 0..4 {
        daemon.wait_for("published");
    }
    let disk = format!("/proc/{}/root{}", daemon.pid(), lab.storage().display());
    let path = |file: &str| format!("{disk}/{file}");
    fs::create_dir_all(path("jobs/queued/fermions")).expect("created");
    fs::create_dir_all(path("status/fermions")).expect("created");
    let accepted =
        r#"{"job_id": "one", "status": "INITIALIZING", "detail": "Got your json.", "error_message": "None"}"#;
    fs::write(path("status/fermions/one.json"), accepted).expect("written");
    fs::write(path("one.tmp"), quick()).expect("written");
    // Everything that is left.
    let mut filler = fs::File::create(path("filler")).expect("created");
    let zeros = vec![0; 4096];
    while filler.write_all(&zeros).is_ok() {}
    fs::rename(path("one.tmp"), path("jobs/queued/fermions/one.json")).expect("renamed");
    daemon.wait_for("No space left");
    assert!(fs::read_to_string(path("status/fermions/one.json")).expect("read").contains("INITIALIZING"));
    drop(filler);
    fs::remove_file(path("filler")).expect("removed");
    daemon.wait_for("the job has ended");
    assert!(fs::read_to_string(path("status/fermions/one.json")).expect("read").contains("DONE"));
}

#[test]
fn systemd_is_told_when_the_daemon_is_ready_and_when_it_stops() {
    let lab = Lab::new("");
    let socket_path = lab.path().join("notify");
    let socket = UnixDatagram::bind(&socket_path).expect("bound");
    socket.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
    let mut command = lab.command(&["run"]);
    command.env("NOTIFY_SOCKET", &socket_path);
    let daemon = Daemon::start(command);
    let told = || {
        let mut buffer = [0; 1024];
        let length = socket.recv(&mut buffer).expect("told");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    assert!(told().contains("READY=1"));
    assert!(daemon.stop().success());
    assert!(told().contains("STOPPING=1"));
}
