//! The Python stack, sqooler 0.9.0, on one storage with us: on local files, MongoDB and Dropbox, signed and not.
#![cfg(all(feature = "storage-dropbox", feature = "storage-mongodb"))]

mod common;
#[path = "interop/house.rs"]
mod house;
#[path = "peers/python.rs"]
mod python;

use common::python as environment;
use house::{House, JOB, SEED};
use qspool::job::{BackendName, Document, JobId};
use qspool::storage::{Claim, Place, Renewal};
use serde_json::{Value, json};

/// Calls every check with a fresh storage of the medium.
macro_rules! interop_suite {
    ($medium:ident) => {
        interop_suite!($medium:
            a_python_user_is_served_and_verifies_our_signatures,
            our_user_is_served_by_the_python_loop_and_verifies_its_signatures,
            two_spoolers_share_a_queue_and_no_job_is_lost,
            a_job_that_python_finds_too_late_is_ours_alone,
            what_python_left_is_taken_over_as_it_is,
            what_we_left_is_taken_over_by_python,
        );
    };
    ($medium:ident: $($check:ident),+ $(,)?) => {
        mod $medium {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                super::$check(crate::house::House::$medium().await).await;
            })+
        }
    };
}

interop_suite!(local);
interop_suite!(mongodb);
interop_suite!(dropbox);

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn ids(value: &Value) -> Vec<String> {
    list(value).iter().map(|id| text(id).to_owned()).collect()
}

fn job() -> Value {
    serde_json::from_str(JOB).expect("JSON")
}

/// Changes one value of a stored result.
async fn alter(house: &House, backend: &str, job_id: &str) {
    let (backend, job_id): (BackendName, JobId) = (backend.parse().expect("a name"), job_id.parse().expect("an id"));
    let provider = house.provider().await;
    let result = provider.get_result(&backend, &job_id).await.expect("it is there");
    let result = String::from_utf8(result.text().to_vec()).expect("text");
    let altered = result.replacen("\"shots\": 3", "\"shots\": 4", 1);
    assert_ne!(altered, result);
    let storage = provider.storage().expect("it is active");
    let id = (&job_id).into();
    storage.update(Place::Results(&backend), &id, &Document::from_text(altered)).await.expect("altered");
}

async fn a_python_user_is_served_and_verifies_our_signatures(house: House) {
    house.configure("[backend.fermions]\nsign = true\n[backend.rydberg]\n");
    let mut daemon = house.daemon();
    daemon.wait_for("published the configuration");
    daemon.wait_for("published the configuration");
    let bad = json!({ "experiment_0": { "instructions": [["jump", [0], []]], "num_wires": 8, "shots": 1,
        "wire_order": "interleaved" } });
    let spins = json!({ "experiment_0": { "instructions": [["rlx", [0], [3]], ["measure", [0], []]], "num_wires": 1,
        "shots": 3, "wire_order": "sequential", "seed": 1 } });
    let given = |backend: &str, jobs: &[&Value]| json!({ "backend": backend, "jobs": jobs });
    let signed = house.python("client.py", given("fermions", &[&job(), &bad, &job()])).finish();
    let plain = house.python("client.py", given("rydberg", &[&spins])).finish();
    let (signed_ids, plain_ids) = (ids(&signed["job_ids"]), ids(&plain["job_ids"]));

    let reader = json!({ "jobs": { "fermions": signed_ids, "rydberg": plain_ids }, "times": 2 });
    let mut reader = house.python("reader.py", reader);
    let seen = reader.report();
    assert_eq!(seen["backends"], json!(["fermions", "rydberg"]));
    let (fermions, rydberg) = (&seen["read"]["fermions"], &seen["read"]["rydberg"]);
    let states = |read: &Value| {
        list(&read["statuses"]).iter().map(|status| text(&status["status"]).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        (states(fermions), states(rydberg)),
        (vec!["DONE".into(), "ERROR".into(), "DONE".into()], vec!["DONE".to_owned()])
    );
    // The configuration, then each result.
    assert_eq!((&fermions["signed"], &fermions["kid"]), (&json!([true, true, true]), &json!("lab-1")));
    assert_eq!((&rydberg["signed"], &rydberg["kid"]), (&json!([false, false]), &Value::Null));
    assert_eq!(fermions["verdicts"], json!([true, "FileNotFoundError", true]));
    // The reference means to say False here, but stumbles over the key that there is none of.
    assert!(["ValueError", "FileNotFoundError"].contains(&text(&rydberg["verdicts"][0])), "{rydberg}");
    for read in [fermions, rydberg] {
        assert_eq!(read["status"]["operational"], true, "{read}");
        assert_eq!(read["results"][0]["backend_name"], read["dict"]["backend_name"]);
        assert_eq!(read["results"][0]["status"], "DONE");
    }
    assert_eq!(fermions["results"][0]["results"][0]["data"]["memory"], json!(["0 1", "0 1", "0 1"]));

    alter(&house, "fermions", &signed_ids[0]).await;
    reader.go_on();
    assert_eq!(reader.finish()["read"]["fermions"]["verdicts"], json!([false, "FileNotFoundError", true]));
    assert_eq!(house.verdict(&signed_ids[0]), "altered");
    assert_eq!(house.verdict(&signed_ids[2]), "valid");
    assert_eq!(house.verdict(&plain_ids[0]), "not signed");
}

async fn our_user_is_served_by_the_python_loop_and_verifies_its_signatures(house: House) {
    for sign in [true, false] {
        let backend = if sign { "traps" } else { "pits" };
        let given = json!({ "backend": backend, "publish": true, "sign": sign, "jobs": 2, "until_empty": false });
        let mut loop_ = house.python("spooler.py", given);
        assert_eq!(loop_.report(), "ready");
        let mut submitted = [house.submit(backend), house.submit(backend)];
        submitted.sort();
        loop_.go_on();
        let mut taken = ids(&loop_.finish()["taken"]);
        taken.sort();
        assert_eq!(taken, submitted);
        let id = &submitted[0];
        assert_eq!(house.state(id), "DONE");
        let result: Value = serde_json::from_str(&house.good(&["result", "--json", id])).expect("JSON");
        assert_eq!(result["backend_name"], format!("shared_{backend}_simulator"));
        assert_eq!(result["results"][0]["data"]["memory"], json!(["0 1", "0 1", "0 1"]));
        assert_eq!(house.verdict(id), if sign { "valid" } else { "not signed" });
        if sign {
            alter(&house, backend, id).await;
            assert_eq!(house.verdict(id), "altered");
        }
        assert!(house.good(&["backends", "--storage", "shared"]).contains(backend));
    }
}

async fn two_spoolers_share_a_queue_and_no_job_is_lost(house: House) {
    const JOBS: usize = 40;
    const OF_PYTHON: usize = 15;
    house.configure("[backend.fermions]\n");
    let mut daemon = house.daemon();
    daemon.wait_for("published the configuration");
    drop(daemon);
    let mut submitted = house.fill("fermions", JOBS).await;
    let given = json!({ "backend": "fermions", "publish": false, "jobs": OF_PYTHON, "until_empty": true });
    let mut python = house.python("spooler.py", given);
    assert_eq!(python.report(), "ready");
    python.go_on();
    let daemon = house.daemon();
    let report = python.finish();
    let of_python = ids(&report["taken"]);
    assert!(!of_python.is_empty(), "{report}");
    house.wait_for_all(&submitted).await;
    drop(daemon);

    let provider = house.provider().await;
    let backend: BackendName = "fermions".parse().expect("a name");
    let at = async |place: Place<'_>| {
        let mut ids: Vec<String> =
            provider.jobs(place).await.expect("listed").iter().map(ToString::to_string).collect();
        ids.sort();
        ids
    };
    submitted.sort();
    assert_eq!(at(Place::Finished(&backend)).await, submitted);
    assert_eq!(at(Place::Results(&backend)).await, submitted);
    for left in [Place::Queued(&backend), Place::Running, Place::Deleted] {
        assert!(at(left).await.is_empty(), "{left}");
    }
    for id in &submitted {
        // The reference never says DONE in a result.
        let document = provider.get_result(&backend, &id.parse().expect("an id")).await.expect("it is there");
        let result: Value = document.read("result").expect("readable");
        let teller = if of_python.contains(id) { "INITIALIZING" } else { "DONE" };
        assert_eq!(result["status"], teller, "{id}: {report}");
    }
}

async fn what_python_left_is_taken_over_as_it_is(house: House) {
    house.take_golden_tree().await;
    let schema = common::package_file("schemas/backends/fermions.json");
    let schema = schema.display();
    house.configure(&format!(
        "[backend.signedqc]\nschema = '{schema}'\nsign = true\n[backend.plainqc]\nschema = '{schema}'\n"
    ));
    // With another key the backend that has one already is left alone, by name, and the other one is served.
    let mut daemon = house.daemon();
    let refusal = daemon.wait_for("not served");
    for word in ["signedqc", "golden-kid", "lab-1", "ERROR"] {
        assert!(refusal.contains(word), "{refusal}");
    }
    assert_eq!(house.wait(&house.submit("plainqc")), "DONE");
    drop(daemon);

    house.use_key("golden-kid", &SEED);
    // Of each pair the first one is of signedqc.
    let of_both = |ids: [&str; 2]| ids.map(|id| house.golden_id(id));
    let queued = of_both(["29b1d40d467f46ea953da223", "f881197b33bf4c3398fa2a1f"]);
    let running = of_both(["4c7338a1931740fcb692c3e3", "2996f8a326f840a5a080c74e"]);
    let done = of_both(["0f087b92026b418fa39df359", "875d4f9227a04815aca13196"]);
    let failed = of_both(["40b314e6017743e1acdc14d9", "7839a70d6505454ebf530cdd"]);
    let daemon = house.daemon();
    // The gate of these jobs is one that no simulator of ours has: they end, and say so.
    for id in &queued {
        assert_eq!(house.wait(id), "ERROR");
        assert!(house.good(&["status", id]).contains("turn"), "{id}");
    }
    let new = ["signedqc", "plainqc"].map(|backend| house.submit(backend));
    for id in &new {
        assert_eq!(house.wait(id), "DONE");
    }
    for id in &running {
        assert_eq!(house.state(id), "INITIALIZING", "a living peer may still work on it");
    }
    drop(daemon);
    house.good(&["storage", "doctor", "--storage", "shared", "--repair"]);
    let daemon = house.daemon();
    for id in &running {
        assert_eq!(house.wait(id), "ERROR");
    }
    drop(daemon);
    assert_eq!([&done[0], &new[0]].map(|id| house.verdict(id)), ["valid", "valid"]);
    assert_eq!([&done[1], &new[1]].map(|id| house.verdict(id)), ["not signed", "not signed"]);

    let of = |backend: usize| [&queued, &running, &done, &failed, &new].map(|ids| &ids[backend]);
    let reader = json!({ "jobs": { "signedqc": of(0), "plainqc": of(1) }, "times": 1 });
    let seen = house.python("reader.py", reader).finish();
    assert_eq!(seen["backends"], json!(["plainqc", "signedqc"]));
    let missing = "FileNotFoundError";
    assert_eq!(seen["read"]["signedqc"]["verdicts"], json!([missing, missing, true, missing, true]));
    assert_eq!(seen["read"]["signedqc"]["kid"], "golden-kid");
    assert_eq!(seen["read"]["plainqc"]["status"]["operational"], true);
}

async fn what_we_left_is_taken_over_by_python(house: House) {
    house.configure("[backend.fermions]\nsign = true\n");
    let mut daemon = house.daemon();
    daemon.wait_for("published the configuration");
    let done = house.submit("fermions");
    assert_eq!(house.wait(&done), "DONE");
    assert!(daemon.stop().success());
    let mut queued = [house.submit("fermions"), house.submit("fermions")];
    queued.sort();

    let given = json!({ "backend": "fermions", "publish": true, "sign": true, "jobs": 2, "until_empty": false });
    let mut foreign = given.clone();
    foreign["expect_refusal"] = true.into();
    let refusal = house.python_with_key("spooler.py", foreign, "lab-1", &[9; 32]).finish();
    assert!(text(&refusal).contains("does not create the same signature"), "{refusal}");
    let mut loop_ = house.python("spooler.py", given);
    assert_eq!(loop_.report(), "ready");
    loop_.go_on();
    let mut taken = ids(&loop_.finish()["taken"]);
    taken.sort();
    assert_eq!(taken, queued);

    let jobs = [&done, &queued[0], &queued[1]];
    let seen = house.python("reader.py", json!({ "jobs": { "fermions": jobs }, "times": 1 })).finish();
    assert_eq!(seen["read"]["fermions"]["verdicts"], json!([true, true, true]));
    assert_eq!(jobs.map(|id| house.verdict(id)), ["valid", "valid", "valid"]);
    // And back again: the configuration that Python has signed since is under the same key.
    let mut daemon = house.daemon();
    let again = house.submit("fermions");
    assert_eq!(house.wait(&again), "DONE");
    assert!(!daemon.log().iter().any(|line| line.contains("not served")));
}

/// Lets Python take a job, up to the step before which it holds still.
async fn held_job(house: &House, before: &str, dies: bool) -> (String, python::Script) {
    house.configure("[backend.fermions]\n");
    let mut daemon = house.daemon();
    daemon.wait_for("published the configuration");
    drop(daemon);
    let id = house.fill("fermions", 1).await.remove(0);
    let mut python = house.python("racer.py", json!({ "backend": "fermions", "before": before, "dies": dies }));
    python.report();
    (id, python)
}

async fn a_job_that_python_finds_too_late_is_ours_alone(house: House) {
    let (id, mut python) = held_job(&house, "move", false).await;
    // Python has listed the queue; before it moves the job we take it, and bring it to its end.
    let daemon = house.daemon();
    assert_eq!(house.wait(&id), "DONE");
    drop(daemon);
    python.go_on();
    let report = python.finish();
    assert_eq!(report["outcome"], "lost", "{report}");
    let expected = ["FileNotFoundError", "ApiError", "TypeError"];
    assert!(expected.contains(&text(&report["error"])), "{report}");
    let found = doctor(&house, &[]);
    assert!(found.contains("all is well"), "{found}");
    assert_eq!(house.state(&id), "DONE");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_we_hold_is_not_taken_by_python_on_mongodb() {
    let house = House::mongodb().await;
    let (id, mut python) = held_job(&house, "delete_one", false).await;
    let (provider, backend) = (house.provider().await, "fermions".parse::<BackendName>().expect("a name"));
    let storage = provider.storage().expect("it is active");
    let claim = storage.claim(&backend, &id.parse().expect("an id")).await.expect("an answer");
    let Claim::Won(lease) = claim else { panic!("{claim:?}") };
    python.go_on();
    assert_eq!(python.finish(), json!({ "outcome": "lost", "error": "DuplicateKeyError" }));
    assert_eq!(storage.renew(&lease).await.expect("an answer"), Renewal::Held { cancel: false });
    let running = provider.get_job(Place::Running, &lease.job_id).await.expect("it is there");
    assert_eq!(running.read::<Value>("job").expect("JSON"), job());
}

/// What the doctor prints, with what it would repair or has repaired.
fn doctor(house: &House, more: &[&str]) -> String {
    house.examine(&[&["storage", "doctor", "--storage", "shared"], more].concat())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_python_on_mongodb_takes_after_it_has_ended_keeps_its_one_result() {
    let house = House::mongodb().await;
    let (id, mut python) = held_job(&house, "delete_one", false).await;
    // Python has read the job from the queue and not removed it yet: we take it, and bring it to its end.
    let daemon = house.daemon();
    assert_eq!(house.wait(&id), "DONE");
    drop(daemon);
    python.go_on();
    let report = python.finish();
    assert_eq!((&report["job_id"], &report["outcome"]), (&json!(id), &json!("refused")), "{report}");
    // What is left of it in running is one more copy of a job that has ended, which the doctor removes.
    let found = doctor(&house, &["--repair"]);
    assert!(found.contains(&id), "{found}");
    let (provider, backend) = (house.provider().await, "fermions".parse::<BackendName>().expect("a name"));
    let at = async |place: Place<'_>| provider.jobs(place).await.expect("listed").len();
    assert_eq!((at(Place::Running).await, at(Place::Queued(&backend)).await), (0, 0));
    assert_eq!((at(Place::Finished(&backend)).await, at(Place::Results(&backend)).await), (1, 1));
    let result: Value = provider
        .get_result(&backend, &id.parse().expect("an id"))
        .await
        .expect("it is there")
        .read("result")
        .expect("readable");
    assert_eq!(result["status"], "DONE", "it is ours");
    assert_eq!(house.state(&id), "DONE");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_python_on_mongodb_dies_over_is_told_by_the_doctor() {
    let house = House::mongodb().await;
    let (id, mut python) = held_job(&house, "insert_one", true).await;
    // Python has removed the job from the queue, and dies before it comes to running: nobody has it any more.
    python.go_on();
    python.wait_for_death();
    let found = doctor(&house, &[]);
    assert!(found.contains(&id), "{found}");
    assert_eq!(house.state(&id), "INITIALIZING");
}
