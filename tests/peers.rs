//! The Python stack, sqooler 0.9.0, on the same local storage: as user, as second spooler, and as the one before us.

#[path = "common/python.rs"]
mod environment;
#[path = "peers/python.rs"]
mod python;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use python::Script;
use qspool::job::{BackendName, JobId};
use qspool::storage::{Place, Provider, StorageContext, StorageErrorKind, StorageOptions};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Longer than anything takes on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long an unreadable job is left alone before it is taken for a bad one.
const SETTLING: Duration = Duration::from_secs(2);

/// A job whose every shot is `0 1`, here and by the simulator of `peers/spooler.py`.
const JOB: &str = r#"{"experiment_0": {"instructions": [["load", [1], []], ["measure", [0], []], ["measure", [1], []]],
    "num_wires": 8, "shots": 3, "wire_order": "interleaved"}}"#;

/// A fresh storage, the configuration beside it, and the daemon if it was started.
struct House {
    directory: TempDir,
    daemon: Option<Child>,
}

impl House {
    /// A storage with the tables of `backends`, in the form of the configuration file.
    fn new(backends: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let house = Self { directory, daemon: None };
        fs::create_dir(house.base()).expect("created");
        let base = house.base().display().to_string();
        let tables = format!(
            "{backends}\n[storage.default]\ntype = 'local'\nbase_path = '{base}'\n[log]\nformat = 'json'\n\
             [spooler]\nmemory_limit_mib = 64\n"
        );
        fs::write(house.config(), tables).expect("written");
        house
    }

    fn base(&self) -> PathBuf {
        self.directory.path().join("storage")
    }

    fn path(&self, below: &str) -> PathBuf {
        self.base().join(below)
    }

    fn config(&self) -> PathBuf {
        self.directory.path().join("qspool.toml")
    }

    /// Starts the daemon and waits until it has published the configuration of `backend`.
    fn start_daemon(&mut self, backend: &str) {
        self.daemon = Some(self.spawn_daemon());
        wait_for("the configuration", || self.path(&format!("backends/configs/{backend}.json")).exists());
    }

    fn spawn_daemon(&self) -> Child {
        let log = fs::File::create(self.directory.path().join("log")).expect("created");
        let mut command = Command::new(env!("CARGO_BIN_EXE_qspool"));
        command.arg("run").arg("--config").arg(self.config());
        command.stdin(Stdio::null()).stderr(log).spawn().expect("the daemon starts")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).expect("the daemon was started")
    }

    /// Runs a command on the storage and returns what it prints.
    fn run(&self, command: &str, arguments: &[&str]) -> String {
        let mut qspool = Command::new(env!("CARGO_BIN_EXE_qspool"));
        let output = qspool.arg(command).args(arguments).arg("--config").arg(self.config()).output();
        let output = output.expect("the program starts");
        assert!(output.status.success(), "qspool {command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// Submits our own way and returns the id.
    fn submit(&self, backend: &str) -> String {
        let job = self.directory.path().join("job.json");
        fs::write(&job, JOB).expect("written");
        let id = self.run("submit", &["--no-check", backend, job.to_str().expect("text")]);
        id.trim().to_owned()
    }

    /// The arguments of a script that works on the storage.
    fn script(&self, backend: &str, mut further: Value) -> Value {
        further["storage"] = json!({ "type": "local", "base_path": self.base() });
        further["backend"] = backend.into();
        further
    }

    /// Lets a Python user submit `jobs`, wait for their ends, and read everything.
    fn python_user(&self, backend: &str, jobs: &[Value]) -> Value {
        Script::start("client.py", &self.script(backend, json!({ "jobs": jobs })), &[]).finish()
    }

    /// Waits until the daemon has looked for jobs of dead spoolers once more: until it has cleared one away.
    fn wait_for_rescue(&self) {
        let dead = self.path("jobs/leases/0123456789abcdef01234567");
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("Linux has one");
        fs::create_dir_all(&dead).expect("created");
        let mark = json!({ "boot": boot.trim(), "host": "", "pid": 1, "lease_s": 60 });
        fs::write(dead.join("alive"), mark.to_string()).expect("written");
        wait_for("the look after dead spoolers", || !dead.exists());
    }

    /// Lets `look` use the storage through our provider.
    fn with_provider<T>(&self, look: impl AsyncFnOnce(Provider) -> T) -> T {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let name = "default".parse().expect("a name");
            let context = StorageContext { lease: Duration::from_secs(60), max_job_bytes: 1 << 20 };
            let options = StorageOptions::local(self.base());
            look(Provider::open(name, &options, context).await.expect("the storage opens")).await
        })
    }
}

impl Drop for House {
    #[expect(clippy::print_stdout, reason = "the log of a test that failed")]
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            // It may have ended already.
            let _ended = daemon.kill();
            let _waited = daemon.wait();
            if std::thread::panicking() {
                println!("{}", self.log());
            }
        }
    }
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn job() -> Value {
    serde_json::from_str(JOB).expect("JSON")
}

fn read(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().expect("a list")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn done(job_id: &str) -> Value {
    let detail = "Got your json.; Passed json sanity check; Compilation done. Shots sent to solver.";
    json!({ "job_id": job_id, "status": "DONE", "detail": detail, "error_message": "None" })
}

/// The ids of the documents below `directory`.
fn ids(directory: &Path) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(directory) else { return BTreeSet::new() };
    let id = |entry: std::io::Result<fs::DirEntry>| {
        let name = entry.expect("an entry").file_name().into_string().expect("text");
        name.strip_suffix(".json").map(ToOwned::to_owned)
    };
    entries.filter_map(id).collect()
}

/// Every file below `base` except our own bookkeeping, with its content and the time of its last change.
fn files(base: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let mut found = BTreeMap::new();
    let mut directories = vec![base.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("listed") {
            let path = entry.expect("an entry").path();
            if path.is_file() {
                let modified = fs::metadata(&path).and_then(|metadata| metadata.modified()).expect("it is there");
                found.insert(path.clone(), (fs::read(path).expect("read"), modified));
            } else if !path.ends_with("jobs/leases") {
                directories.push(path);
            }
        }
    }
    found
}

/// Copies the storage that the Python stack has left behind.
fn golden_tree(house: &House) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/local-tree");
    for (from, (content, _)) in files(&golden) {
        let to = house.base().join(from.strip_prefix(&golden).expect("it lies below"));
        fs::create_dir_all(to.parent().expect("below the base")).expect("created");
        fs::write(to, content).expect("written");
    }
}

#[test]
fn every_job_of_a_python_user_is_done_and_stays_so() {
    let mut house = House::new("[backend.fermions]");
    house.start_daemon("fermions");
    let seen = house.python_user("fermions", &vec![job(); 200]);
    let (job_ids, statuses, results) = (list(&seen["job_ids"]), list(&seen["statuses"]), list(&seen["results"]));
    assert_eq!((job_ids.len(), statuses.len(), results.len()), (200, 200, 200));
    for ((job_id, status), result) in job_ids.iter().zip(statuses).zip(results) {
        assert_eq!(status, &done(text(job_id)));
        assert_eq!(result["job_id"], *job_id);
        assert_eq!(result["status"], "DONE");
        assert_eq!(result["backend_name"], "default_fermions_simulator");
        assert_eq!(result["results"][0]["data"]["memory"], json!(["0 1", "0 1", "0 1"]));
    }
    assert!(ids(&house.path("jobs/queued/fermions")).is_empty());
    assert!(ids(&house.path("jobs/running")).is_empty());
}

#[test]
fn a_python_user_sees_the_backend_as_the_reference_describes_it() {
    let mut house = House::new("[backend.fermions]");
    house.start_daemon("fermions");
    let mut seen = house.python_user("fermions", &[]);
    assert_eq!(seen["backends"], json!(["fermions"]));
    assert_eq!(seen["backend_status"]["operational"], true);
    let ours = house.with_provider(async |provider| {
        let backend = "fermions".parse().expect("a name");
        let dict = provider.get_backend_dict(&backend).await.expect("it is there");
        (json!(dict), json!(provider.get_backend_status(&backend).await.expect("it is there")))
    });
    assert_eq!(seen["backend_status"], ours.1);
    assert_eq!(seen["backend_dict"], ours.0);
    // These two belong to the moment.
    seen["config"]["last_queue_check"] = Value::Null;
    seen["config"]["pending_jobs"] = Value::Null;
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/configs/fermions.json");
    assert_eq!(seen["config"], read(&golden));
}

#[test]
fn a_job_that_is_written_slowly_starts_when_it_is_whole() {
    let mut house = House::new("[backend.fermions]");
    house.start_daemon("fermions");
    let ends = Script::start("slow_writer.py", &house.script("fermions", json!({ "job": job() })), &[]).finish();
    assert_eq!(list(&ends).len(), 4);
    for end in list(&ends) {
        assert_eq!(end["status"]["status"], "DONE", "{end}");
        assert!(end["seconds"].as_f64().expect("a number") < SETTLING.as_secs_f64(), "{end}");
    }
}

/// Lets a Python user submit `job` to multiqudit and compares how it is told that it failed.
fn check_failure(house: &House, job: &Value, detail: &str, error_message: &str) {
    let seen = house.python_user("multiqudit", std::slice::from_ref(job));
    let (job_id, status, result) = (text(&seen["job_ids"][0]), &seen["statuses"][0], &seen["results"][0]);
    let why = text(&status["error_message"]).strip_prefix(error_message);
    let why = why.unwrap_or_else(|| panic!("expected {error_message:?}, found {status}"));
    assert!(!why.is_empty() && !why.contains('\n'), "{status}");
    assert_eq!(status["status"], "ERROR");
    assert_eq!(status["job_id"], job_id);
    assert_eq!(text(&status["detail"]), format!("{detail}{error_message}{why}"));
    assert_eq!((&result["status"], &result["success"]), (&json!("ERROR"), &json!(false)));
    assert!(!house.path(&format!("results/multiqudit/{job_id}.json")).exists());
    assert_eq!(&read(&house.path(&format!("jobs/deleted/{job_id}.json"))), job);
}

fn experiment(instructions: &Value, shots: u32) -> Value {
    json!({ "instructions": instructions, "num_wires": 2, "shots": shots, "wire_order": "sequential" })
}

#[test]
fn a_failed_job_says_so_in_the_words_of_the_contract() {
    let mut house = House::new("[backend.multiqudit]");
    house.start_daemon("multiqudit");
    let check = |job: &Value, detail: &str, error_message: &str| check_failure(&house, job, detail, error_message);

    let bad = "Failed json sanity check. File will be deleted. Error message : ";
    let unknown = json!({ "experiment_0": experiment(&json!([["jump", [0], []]]), 1) });
    check(&unknown, "Got your json.; ", &format!("{bad}experiment_0, instruction 0"));
    check(&json!([1]), "Got your json.; ", bad);

    let large = json!({ "experiment_0": experiment(&json!([["load", [0], [500]], ["load", [1], [500]]]), 1) });
    let too_large = "Failed dimensionality test. Too many atoms. File will be deleted. Error message : ";
    check(&large, "Got your json.; ", too_large);

    let names = (0..15).map(|number| format!("experiment_{number}"));
    let measured = experiment(&json!([["measure", [0], []], ["measure", [1], []]]), 1_000_000);
    let long = Value::Object(names.map(|name| (name, measured.clone())).collect());
    check(&long, "Got your json.; Passed json sanity check; ", "the job needs ");
}

#[test]
fn a_cancelled_job_of_a_python_user_says_so() {
    let house = House::new("[backend.fermions]");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/configs/fermions.json");
    fs::create_dir_all(house.path("backends/configs")).expect("created");
    fs::copy(golden, house.path("backends/configs/fermions.json")).expect("copied");
    let user = Script::start("client.py", &house.script("fermions", json!({ "jobs": [job()] })), &[]);
    // The status is the last thing that the user writes, in place; it is whole when it can be read.
    wait_for("the submission", || {
        let job_ids = ids(&house.path("status/fermions"));
        let whole = |id: &String| {
            fs::read(house.path(&format!("status/fermions/{id}.json")))
                .is_ok_and(|text| serde_json::from_slice::<Value>(&text).is_ok())
        };
        job_ids.first().is_some_and(whole)
    });
    let job_id = ids(&house.path("status/fermions")).pop_first().expect("it was found");
    house.run("cancel", &[&job_id]);
    let seen = user.finish();
    let detail = "Got your json.; Cancelled.";
    let cancelled = json!({ "job_id": job_id, "status": "ERROR", "detail": detail, "error_message": "Cancelled." });
    assert_eq!(seen["statuses"], json!([cancelled]));
}

#[test]
fn a_job_that_we_submit_is_run_by_the_python_loop() {
    let house = House::new("");
    let given = json!({ "publish": true, "jobs": 1, "until_empty": false });
    let mut loop_ = Script::start("spooler.py", &house.script("traps", given), &[]);
    assert_eq!(loop_.report(), "ready");
    let job_id = house.submit("traps");
    loop_.go_on();
    assert_eq!(loop_.finish()["taken"], json!([job_id]));
    assert!(house.run("status", &[&job_id]).contains("DONE"));
    let result: Value = serde_json::from_str(&house.run("result", &["--json", &job_id])).expect("JSON");
    assert_eq!(result["backend_name"], "default_traps_simulator");
    assert_eq!(result["results"][0]["data"]["memory"], json!(["0 1", "0 1", "0 1"]));
    assert!(house.run("backends", &[]).contains("traps"));
}

#[test]
fn a_job_that_python_holds_is_left_to_python() {
    let mut house = House::new("[backend.fermions]");
    house.start_daemon("fermions");
    // Stopped, so that Python gets the job.
    drop(house.daemon.take().map(|mut daemon| daemon.kill().and_then(|()| daemon.wait())));
    let mut holder = Script::start("holder.py", &house.script("fermions", json!({ "job": job() })), &[]);
    let held = text(&holder.report()["job_id"]).to_owned();
    let own = |file: &Path| file.to_string_lossy().contains(&held);
    let before: Vec<_> = files(&house.base()).into_iter().filter(|(file, _)| own(file)).collect();
    assert_eq!(before.len(), 2, "the job in running, and its status");

    house.start_daemon("fermions");
    house.wait_for_rescue();
    let other = house.submit("fermions");
    let status = house.path(&format!("status/fermions/{other}.json"));
    wait_for("the end of another job", || read(&status) == done(&other));
    house.wait_for_rescue();
    let after: Vec<_> = files(&house.base()).into_iter().filter(|(file, _)| own(file)).collect();
    assert_eq!(before, after);

    holder.go_on();
    assert_eq!(holder.finish()["status"], "DONE");
    assert!(house.path(&format!("jobs/finished/fermions/{held}.json")).exists());
}

#[test]
fn a_storage_that_python_filled_is_read_wholly() {
    let house = House::new("");
    golden_tree(&house);
    house.with_provider(async |provider| {
        let names = |backends: &[&str]| -> Vec<BackendName> {
            backends.iter().map(|name| name.parse().expect("a name")).collect()
        };
        assert_eq!(provider.get_backends().await.expect("listed"), names(&["plainqc", "signedqc"]));
        for backend in names(&["plainqc", "signedqc"]) {
            let config = provider.get_config(&backend).await.expect("plain or signed");
            assert_eq!(config.kid.as_deref(), (backend.as_str() == "signedqc").then_some("golden-kid"));
            assert_eq!(config.description, "Golden set-up \u{2013} two traps");
            let mut told = Vec::new();
            for (place, state) in [
                (Place::Queued(&backend), "INITIALIZING"),
                (Place::Finished(&backend), "DONE"),
                (Place::Running, "INITIALIZING"),
                (Place::Deleted, "ERROR"),
            ] {
                for job_id in provider.jobs(place).await.expect("listed") {
                    match provider.get_status(&backend, &job_id).await {
                        Ok(status) => {
                            assert_eq!(json!(status.status), state, "{place}");
                            told.push(job_id);
                        }
                        // Running and deleted jobs of all backends lie together.
                        Err(error) => assert_eq!(error.kind(), StorageErrorKind::NotFound, "{error}"),
                    }
                }
            }
            assert_eq!(told.len(), 4, "one job of {backend} in each place");
            let finished: &JobId = &told[1];
            let result: Value =
                provider.get_result(&backend, finished).await.expect("it is there").read("result").expect("readable");
            assert_eq!(result["results"][0]["data"]["memory"], json!(["0 1", "0 1", "0 1"]));
        }
    });
}

#[test]
fn what_python_left_is_untouched_when_other_backends_are_served() {
    let mut house = House::new("[backend.fermions]");
    golden_tree(&house);
    let before = files(&house.base());
    assert_eq!(before.len(), 22);
    house.start_daemon("fermions");
    house.wait_for_rescue();
    let job_id = house.submit("fermions");
    let status = house.path(&format!("status/fermions/{job_id}.json"));
    wait_for("the end of a job", || read(&status) == done(&job_id));
    house.wait_for_rescue();
    let mut after = files(&house.base());
    after.retain(|file, _| before.contains_key(file));
    assert_eq!(before, after);
}

#[test]
fn a_backend_whose_configuration_is_signed_is_refused_by_name() {
    let mut house = House::new("[backend.signedqc]\nschema = 'fermions'\n[backend.fermions]");
    golden_tree(&house);
    let before = files(&house.base());
    house.start_daemon("fermions");
    wait_for("the refusal", || house.log().contains("the backend is not served"));
    let job_id = house.submit("fermions");
    let status = house.path(&format!("status/fermions/{job_id}.json"));
    wait_for("the end of a job of the other backend", || read(&status) == done(&job_id));
    let log = house.log();
    let refusals: Vec<_> = log.lines().filter(|line| line.contains("the backend is not served")).collect();
    let [refusal] = refusals[..] else { panic!("one refusal, not {refusals:?}") };
    for word in ["signedqc", "golden-kid", "ERROR"] {
        assert!(refusal.contains(word), "{refusal}");
    }
    let mut after = files(&house.base());
    after.retain(|file, _| before.contains_key(file));
    assert_eq!(before, after, "its queue is left alone too");
}

#[test]
fn two_spoolers_share_a_queue_and_no_job_is_run_twice() {
    const JOBS: usize = 150;
    const OF_PYTHON: usize = 60;
    let mut house = House::new("[backend.fermions]");
    house.start_daemon("fermions");
    drop(house.daemon.take().map(|mut daemon| daemon.kill().and_then(|()| daemon.wait())));
    let submitted: BTreeSet<String> = (0..JOBS).map(|number| format!("{number:024x}")).collect();
    fs::create_dir_all(house.path("status/fermions")).expect("created");
    for job_id in &submitted {
        let status = json!(qspool::job::Status::accepted(&job_id.parse().expect("an id")));
        fs::write(house.path(&format!("status/fermions/{job_id}.json")), status.to_string()).expect("written");
        fs::write(house.path(&format!("jobs/queued/fermions/{job_id}.json")), JOB).expect("written");
    }
    let given = json!({ "publish": false, "jobs": OF_PYTHON, "until_empty": true });
    let variables = [("T_WAIT_MAIN", "0.001")];
    let mut python = Script::start("spooler.py", &house.script("fermions", given), &variables);
    assert_eq!(python.report(), "ready");
    python.go_on();
    house.start_daemon("fermions");
    let report = python.finish();
    let of_python: BTreeSet<String> = list(&report["taken"]).iter().map(|id| text(id).to_owned()).collect();
    let status = |id: &String| read(&house.path(&format!("status/fermions/{id}.json")))["status"].clone();
    wait_for("the end of every job", || submitted.iter().all(|id| status(id) == "DONE"));

    assert_eq!(ids(&house.path("jobs/finished/fermions")), submitted);
    assert_eq!(ids(&house.path("results/fermions")), submitted);
    for left in ["jobs/queued/fermions", "jobs/running", "jobs/deleted"] {
        assert!(ids(&house.path(left)).is_empty(), "{left}");
    }
    assert!(!of_python.is_empty() && of_python.len() <= OF_PYTHON, "{report}");
    for id in &submitted {
        // The reference never says DONE in a result.
        let result = read(&house.path(&format!("results/fermions/{id}.json")));
        let teller = if of_python.contains(id) { "INITIALIZING" } else { "DONE" };
        assert_eq!(result["status"], teller, "{id}");
    }
    let log = house.log();
    let ends = log.lines().filter(|line| line.contains("the job has ended"));
    let ours: Vec<&String> = ends.flat_map(|line| submitted.iter().filter(|id| line.contains(*id))).collect();
    assert_eq!(ours.len(), JOBS - of_python.len(), "each of ours once");
    assert!(ours.iter().all(|id| !of_python.contains(*id)));
}
