//! The Python stack, sqooler 0.9.0, on one storage with us: on local files, MongoDB and Dropbox, signed and not.
#![cfg(all(feature = "storage-dropbox", feature = "storage-mongodb"))]

/// Calls each check of the module with a fresh storage of the medium.
macro_rules! check_on {
    ($medium:ident: $($check:ident),+ $(,)?) => {
        mod $medium {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                super::$check(crate::house::House::$medium().await).await;
            })+
        }
    };
}

mod common;
#[path = "interop/house.rs"]
mod house;
#[path = "peers/python.rs"]
mod python;
#[path = "interop/shared.rs"]
mod shared;

use common::python as environment;
use house::{House, JOB, SEED};
use qspool::job::{BackendName, Document, JobId};
use qspool::storage::Place;
use serde_json::{Value, json};

macro_rules! interop_suite {
    ($medium:ident) => {
        check_on!($medium:
            a_python_user_is_served_and_verifies_our_signatures,
            our_user_is_served_by_the_python_loop_and_verifies_its_signatures,
            what_python_left_is_taken_over_as_it_is,
            what_we_left_is_taken_over_by_python,
        );
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
    let of_fermions = house.python("client.py", given("fermions", &[&job(), &bad, &job()])).finish();
    let of_rydberg = house.python("client.py", given("rydberg", &[&spins])).finish();
    let (signed_ids, plain_ids) = (ids(&of_fermions["job_ids"]), ids(&of_rydberg["job_ids"]));

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
    let signed = json!({ "config": true, "statuses": [false, false, false], "results": [true, true] });
    assert_eq!((&fermions["signed"], &fermions["kid"]), (&signed, &json!("lab-1")));
    let plain = json!({ "config": false, "statuses": [false], "results": [false] });
    assert_eq!((&rydberg["signed"], &rydberg["kid"]), (&plain, &Value::Null));
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
    let backends = [("traps", true), ("pits", false)];
    let given =
        json!({ "backends": { "traps": true, "pits": false }, "publish": true, "jobs": 4, "until_empty": false });
    let mut loop_ = house.python("spooler.py", given);
    assert_eq!(loop_.report(), "ready");
    let submitted = backends.map(|(backend, _)| [house.submit(backend), house.submit(backend)]);
    loop_.go_on();
    let mut taken = ids(&loop_.finish()["taken"]);
    taken.sort();
    let mut all = submitted.concat();
    all.sort();
    assert_eq!(taken, all);
    for ((backend, sign), of_backend) in backends.into_iter().zip(&submitted) {
        for id in of_backend {
            assert_eq!(house.state(id), "DONE");
            assert_eq!(house.verdict(id), if sign { "valid" } else { "not signed" });
        }
        let id = &of_backend[0];
        let result: Value = serde_json::from_str(&house.good(&["result", "--json", id])).expect("JSON");
        assert_eq!(result["backend_name"], format!("shared_{backend}_simulator"));
        assert_eq!(result["results"][0]["data"]["memory"], json!(["0 1", "0 1", "0 1"]));
        if sign {
            alter(&house, backend, id).await;
            assert_eq!(of_backend.each_ref().map(|id| house.verdict(id)), ["altered", "valid"]);
        }
        assert!(house.good(&["backends", "--storage", "shared"]).contains(backend));
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
    assert!(daemon.stop().success());
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
    house.configure("[backend.fermions]\nsign = true\n[backend.rydberg]\n");
    let mut daemon = house.daemon();
    daemon.wait_for("published the configuration");
    daemon.wait_for("published the configuration");
    let done = house.submit("fermions");
    let failed = house.submit_job("fermions", r#"{"experiment_0": {}}"#);
    // The simulator of this backend knows no `load`.
    let failed_plain = house.submit("rydberg");
    assert_eq!([&done, &failed, &failed_plain].map(|id| house.wait(id)), ["DONE", "ERROR", "ERROR"]);
    assert!(daemon.stop().success());
    let cancelled = house.submit("fermions");
    house.good(&["cancel", &cancelled, "--storage", "shared"]);
    let mut queued = [house.submit("fermions"), house.submit("fermions"), house.submit("rydberg")];

    let jobs = json!({
        "fermions": [&done, &failed, &cancelled, &queued[0], &queued[1]], "rydberg": [&failed_plain, &queued[2]]
    });
    let mut reader = house.python("reader.py", json!({ "jobs": jobs, "times": 2 }));
    let seen = reader.report();
    let of_fermions = &seen["read"]["fermions"];
    let states = ["DONE", "ERROR", "ERROR", "INITIALIZING", "INITIALIZING"];
    assert_eq!(list(&of_fermions["statuses"]).iter().map(|status| text(&status["status"])).collect::<Vec<_>>(), states);
    // The first status of a job is signed, the one that ends it is not.
    let signed = json!({ "config": true, "statuses": [false, false, false, true, true], "results": [true] });
    assert_eq!(of_fermions["signed"], signed);
    let plain = json!({ "config": false, "statuses": [false, false], "results": [] });
    assert_eq!(seen["read"]["rydberg"]["signed"], plain);

    let backends = json!({ "fermions": true, "rydberg": false });
    let given = json!({ "backends": backends, "publish": true, "jobs": 3, "until_empty": false });
    let mut foreign = given.clone();
    foreign["expect_refusal"] = true.into();
    let refusal = house.python_with_key("spooler.py", foreign, "lab-1", &[9; 32]).finish();
    assert!(text(&refusal).contains("does not create the same signature"), "{refusal}");
    let mut loop_ = house.python("spooler.py", given);
    assert_eq!(loop_.report(), "ready");
    loop_.go_on();
    let mut taken = ids(&loop_.finish()["taken"]);
    taken.sort();
    queued.sort();
    assert_eq!(taken, queued);

    reader.go_on();
    let seen = reader.finish();
    let missing = "FileNotFoundError";
    let of_fermions = &seen["read"]["fermions"];
    assert_eq!(of_fermions["verdicts"], json!([true, missing, missing, true, true]));
    assert_eq!(seen["read"]["rydberg"]["statuses"][1]["status"], "DONE");
    // And back again: the configuration that Python has signed since is under the same key.
    let mut daemon = house.daemon();
    let again = house.submit("fermions");
    assert_eq!(house.wait(&again), "DONE");
    assert!(!daemon.log().iter().any(|line| line.contains("not served")));
    assert_eq!([&done, &again].map(|id| house.verdict(id)), ["valid", "valid"]);
    for id in &queued {
        assert_eq!(house.state(id), "DONE");
    }
}
