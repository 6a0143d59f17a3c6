//! A Python spooler and ours on one queue: what is guaranteed there, step by step, and what is not.
//!
//! `docs/compatibility.md` says the same for people who run both.

use qspool::job::{BackendName, JobId};
use qspool::signing::Verdict;
use qspool::storage::{Claim, Place, Provider, Renewal};
use serde_json::{Value, json};

use super::house::House;
use super::python::Script;
use super::{ids, job, text};

macro_rules! shared_queue_suite {
    ($medium:ident $(, $of_it_alone:ident)*) => {
        check_on!($medium:
            two_spoolers_share_a_queue_and_no_job_is_lost,
            a_job_that_python_finds_too_late_is_ours_alone,
            a_job_that_python_runs_is_left_to_python,
            jobs_over_which_python_dies_are_brought_to_their_end_by_us,
            jobs_that_are_adopted_while_python_runs_them_have_one_end,
            $($of_it_alone),*
        );
    };
}

// There documents are written in place.
shared_queue_suite!(local, a_result_that_python_was_writing_when_it_died_is_written_anew);
shared_queue_suite!(dropbox);
// There a move has three steps.
shared_queue_suite!(
    mongodb,
    a_job_that_we_hold_is_not_taken_by_python,
    a_job_that_python_takes_after_it_has_ended_keeps_its_one_result,
    a_job_that_python_takes_after_it_has_ended_and_fails_with_is_told_by_the_doctor,
    a_job_that_python_dies_over_in_the_middle_of_a_move_is_told_by_the_doctor
);

fn fermions() -> BackendName {
    "fermions".parse().expect("a name")
}

fn id(job_id: &str) -> JobId {
    job_id.parse().expect("an id")
}

/// The jobs at a place, sorted.
async fn at(provider: &Provider, place: Place<'_>) -> Vec<String> {
    let mut ids: Vec<String> = provider.jobs(place).await.expect("listed").iter().map(ToString::to_string).collect();
    ids.sort();
    ids
}

/// Which side has written the result of a job: the reference never says DONE there.
async fn teller(provider: &Provider, job_id: &str) -> &'static str {
    let document = provider.get_result(&fermions(), &id(job_id)).await.expect("it is there");
    let result: Value = document.read("result").expect("readable");
    match text(&result["status"]) {
        "DONE" => "ours",
        "INITIALIZING" => "Python's",
        other => panic!("{other}: {result}"),
    }
}

/// Checks that these jobs have ended well and that there are no others, and says who has written their results.
async fn done_once<const N: usize>(house: &House, job_ids: [&str; N]) -> Vec<&'static str> {
    let (provider, backend) = (house.provider().await, fermions());
    let mut sorted = job_ids;
    sorted.sort_unstable();
    assert_eq!(at(&provider, Place::Finished(&backend)).await, sorted);
    assert_eq!(at(&provider, Place::Results(&backend)).await, sorted);
    for left in [Place::Queued(&backend), Place::Running, Place::Deleted] {
        assert!(at(&provider, left).await.is_empty(), "{left}");
    }
    let mut tellers = Vec::new();
    for job_id in job_ids {
        assert_eq!(house.state(job_id), "DONE");
        tellers.push(teller(&provider, job_id).await);
    }
    tellers
}

async fn two_spoolers_share_a_queue_and_no_job_is_lost(house: House) {
    let (jobs, of_python) = if house.is_local() { (150, 60) } else { (40, 15) };
    house.configure("[backend.fermions]\nsign = true\n");
    house.publish_configuration();
    let mut submitted = house.fill("fermions", jobs).await;
    let given = json!({ "backends": { "fermions": true }, "publish": false, "jobs": of_python, "until_empty": true });
    let mut python = house.python("spooler.py", given);
    assert_eq!(python.report(), "ready");
    python.go_on();
    let mut daemon = house.daemon();
    let report = python.finish();
    let of_python = ids(&report["taken"]);
    assert!(!of_python.is_empty(), "{report}");
    house.wait_for_all(&submitted).await;
    daemon.signal(rustix::process::Signal::TERM);
    daemon.wait_for("stopped");
    if ids(&report["run_twice"]) != [""; 0] {
        // A copy is left in running; see the test of a job that Python takes after it has ended.
        house.good(&["storage", "doctor", "--storage", "shared", "--repair"]);
    }

    let (provider, backend) = (house.provider().await, fermions());
    submitted.sort();
    assert_eq!(at(&provider, Place::Finished(&backend)).await, submitted);
    assert_eq!(at(&provider, Place::Results(&backend)).await, submitted);
    for left in [Place::Queued(&backend), Place::Running, Place::Deleted] {
        assert!(at(&provider, left).await.is_empty(), "{left}: {report}");
    }
    let ends: Vec<&String> = daemon.log().iter().filter(|line| line.contains("the job has ended")).collect();
    for job_id in &submitted {
        let is_pythons = of_python.contains(job_id);
        assert_eq!(teller(&provider, job_id).await, if is_pythons { "Python's" } else { "ours" }, "{job_id}: {report}");
        let times = ends.iter().filter(|line| line.contains(job_id.as_str())).count();
        assert_eq!(times, usize::from(!is_pythons), "{job_id} was ended by us as often: {report}");
        let verdict = provider.verify_result(&backend, &id(job_id), None).await.expect("it is there");
        assert_eq!(verdict, Verdict::Valid { kid: "lab-1".to_owned() }, "{job_id}");
    }
}

/// Lets a Python spooler take the one job that waits and hold still before the step `before`.
async fn held_job(house: &House, before: &str, more: Value) -> (String, Script) {
    house.configure("[backend.fermions]\n");
    house.publish_configuration();
    hold_job(house, before, more).await
}

/// The same where the backend is known already.
async fn hold_job(house: &House, before: &str, more: Value) -> (String, Script) {
    let mut given = json!({ "backend": "fermions", "before": before });
    given.as_object_mut().expect("it is one").extend(more.as_object().expect("it is one").clone());
    let job_id = house.fill("fermions", 1).await.remove(0);
    let mut python = house.python("racer.py", given);
    python.report();
    (job_id, python)
}

/// Lets our daemon bring a job to its good end.
fn end_by_us(house: &House, job_id: &str) {
    let daemon = house.daemon();
    assert_eq!(house.wait(job_id), "DONE");
    assert!(daemon.stop().success());
}

/// What the doctor prints.
fn doctor(house: &House, more: &[&str]) -> String {
    house.examine(&[&["storage", "doctor", "--storage", "shared"], more].concat())
}

async fn a_job_that_python_finds_too_late_is_ours_alone(house: House) {
    // Python has listed the queue; before it moves the job we take it, and bring it to its end.
    let (job_id, mut python) = held_job(&house, "move", json!({})).await;
    end_by_us(&house, &job_id);
    python.go_on();
    let report = python.finish();
    assert_eq!(report["outcome"], "lost", "{report}");
    let expected = ["FileNotFoundError", "ApiError", "TypeError"];
    assert!(expected.contains(&text(&report["error"])), "{report}");
    let found = doctor(&house, &[]);
    assert!(found.contains("all is well"), "{found}");
    assert_eq!(done_once(&house, [&job_id]).await, ["ours"]);
}

async fn a_job_that_python_runs_is_left_to_python(house: House) {
    let (job_id, mut python) = held_job(&house, "store", json!({})).await;
    let mut daemon = house.daemon();
    let other = house.submit("fermions");
    assert_eq!(house.wait(&other), "DONE");
    daemon.signal(rustix::process::Signal::TERM);
    daemon.wait_for("stopped");
    assert!(!daemon.log().iter().any(|line| line.contains(&job_id)), "{:?}", daemon.log());
    let told = house.examine(&["cancel", &job_id, "--storage", "shared"]);
    assert!(told.contains("knows no cancellation"), "{told}");
    assert_eq!(house.state(&job_id), "INITIALIZING");
    python.go_on();
    assert_eq!(python.finish(), json!({ "outcome": "ended", "job_id": job_id, "status": "DONE" }));
    assert_eq!(house.state(&job_id), "DONE");
    let provider = house.provider().await;
    assert_eq!([teller(&provider, &job_id).await, teller(&provider, &other).await], ["Python's", "ours"]);
    let found = doctor(&house, &[]);
    assert!(found.contains("all is well"), "{found}");
}

async fn jobs_over_which_python_dies_are_brought_to_their_end_by_us(house: House) {
    // Of the first the result is lost with the process, of the second it is stored, and the third is only not told.
    let (lost, mut first) = held_job(&house, "store", json!({ "dies": true })).await;
    let (stored, mut second) = hold_job(&house, "finish", json!({ "dies": true })).await;
    let (untold, mut third) = hold_job(&house, "tell", json!({ "dies": true })).await;
    for python in [&mut first, &mut second, &mut third] {
        python.go_on();
        python.wait_for_death();
    }
    let all = [&lost, &stored, &untold];
    assert_eq!(all.map(|id| house.state(id)), ["INITIALIZING"; 3]);
    let found = doctor(&house, &["--repair"]);
    assert!(all.iter().all(|id| found.contains(id.as_str())), "{found}");
    assert_eq!(all.map(|id| house.state(id)), ["INITIALIZING", "DONE", "DONE"]);
    end_by_us(&house, &lost);
    assert_eq!(done_once(&house, all.map(String::as_str)).await, ["ours", "Python's", "Python's"]);
}

async fn a_result_that_python_was_writing_when_it_died_is_written_anew(house: House) {
    let (job_id, mut python) = held_job(&house, "tear", json!({})).await;
    python.go_on();
    python.wait_for_death();
    let provider = house.provider().await;
    let half = provider.get_result(&fermions(), &id(&job_id)).await.expect("it is there");
    assert!(!half.is_json());
    let found = doctor(&house, &["--repair"]);
    assert!(found.contains(&job_id), "{found}");
    assert_eq!(house.state(&job_id), "INITIALIZING", "half a result is none");
    end_by_us(&house, &job_id);
    assert_eq!(done_once(&house, [&job_id]).await, ["ours"]);
    let found = doctor(&house, &[]);
    assert!(found.contains("all is well"), "{found}");
}

async fn jobs_that_are_adopted_while_python_runs_them_have_one_end(house: House) {
    // Python has not looked yet whether there is a result, or it has, and writes whatever has come since.
    let (looks_later, mut first) = held_job(&house, "store", json!({})).await;
    let (has_looked, mut second) = hold_job(&house, "write", json!({})).await;
    // Somebody takes Python for dead: its jobs are run a second time, which no spooler can know.
    doctor(&house, &["--repair"]);
    let daemon = house.daemon();
    assert_eq!([&looks_later, &has_looked].map(|id| house.wait(id)), ["DONE", "DONE"]);
    assert!(daemon.stop().success());
    first.go_on();
    assert_eq!(first.finish(), json!({ "outcome": "failed", "job_id": looks_later, "error": "FileExistsError" }));
    second.go_on();
    // Not guaranteed where a medium has no way to create a document only if there is none, or sqooler does not use it:
    // that the first result stays.
    let (error, winner) = match house.medium() {
        "local" => ("Error", "Python's"),
        "dropbox" => ("ApiError", "Python's"),
        _ => ("FileExistsError", "ours"),
    };
    assert_eq!(second.finish(), json!({ "outcome": "failed", "job_id": has_looked, "error": error }));
    assert_eq!(done_once(&house, [&looks_later, &has_looked]).await, ["ours", winner]);
}

async fn a_job_that_we_hold_is_not_taken_by_python(house: House) {
    let (job_id, mut python) = held_job(&house, "delete_one", json!({})).await;
    let (provider, backend) = (house.provider().await, fermions());
    let storage = provider.storage().expect("it is active");
    let claim = storage.claim(&backend, &id(&job_id)).await.expect("an answer");
    let Claim::Won(lease) = claim else { panic!("{claim:?}") };
    python.go_on();
    assert_eq!(python.finish(), json!({ "outcome": "lost", "error": "DuplicateKeyError" }));
    assert_eq!(storage.renew(&lease).await.expect("an answer"), Renewal::Held { cancel: false });
    let running = provider.get_job(Place::Running, &lease.job_id).await.expect("it is there");
    assert_eq!(running.read::<Value>("job").expect("JSON"), job());
}

async fn a_job_that_python_takes_after_it_has_ended_keeps_its_one_result(house: House) {
    // Python has read the job from the queue and not removed it yet: we take it, and bring it to its end.
    let (job_id, mut python) = held_job(&house, "delete_one", json!({})).await;
    end_by_us(&house, &job_id);
    python.go_on();
    assert_eq!(python.finish(), json!({ "outcome": "failed", "job_id": job_id, "error": "FileExistsError" }));
    // What is left of it in running is one more copy of a job that has ended, which the doctor removes.
    let found = doctor(&house, &["--repair"]);
    assert!(found.contains(&job_id), "{found}");
    assert_eq!(done_once(&house, [&job_id]).await, ["ours"]);
}

/// Not guaranteed: two ends.
async fn a_job_that_python_takes_after_it_has_ended_and_fails_with_is_told_by_the_doctor(house: House) {
    let (job_id, mut python) = held_job(&house, "delete_one", json!({ "status": "ERROR" })).await;
    end_by_us(&house, &job_id);
    python.go_on();
    assert_eq!(python.finish(), json!({ "outcome": "ended", "job_id": job_id, "status": "ERROR" }));
    let (provider, backend) = (house.provider().await, fermions());
    for end in [Place::Finished(&backend), Place::Results(&backend), Place::Deleted] {
        assert_eq!(at(&provider, end).await, [job_id.as_str()], "{end}");
    }
    // Which end is right only a person can say: nothing is mended.
    for more in [&[][..], &["--repair"]] {
        let found = doctor(&house, more);
        assert!(found.contains(&job_id), "{found}");
    }
    assert_eq!(house.state(&job_id), "ERROR");
    assert_eq!(teller(&provider, &job_id).await, "ours");
}

/// Not guaranteed: a job that nobody has any more.
async fn a_job_that_python_dies_over_in_the_middle_of_a_move_is_told_by_the_doctor(house: House) {
    // Python has removed the job from the queue, and dies before it comes to running.
    let (lost, mut first) = held_job(&house, "insert_one", json!({ "dies": true })).await;
    // The same between running and the finished jobs, with the result stored.
    let (untold, mut second) = hold_job(&house, "leave", json!({ "dies": true })).await;
    for python in [&mut first, &mut second] {
        python.go_on();
        python.wait_for_death();
    }
    let all = [&lost, &untold];
    assert_eq!(all.map(|id| house.state(id)), ["INITIALIZING", "INITIALIZING"]);
    let found = doctor(&house, &["--repair"]);
    assert!(all.iter().all(|id| found.contains(id.as_str())), "{found}");
    assert_eq!(all.map(|id| house.state(id)), ["INITIALIZING", "DONE"], "its user gets the result");
    assert_eq!(teller(&house.provider().await, &untold).await, "Python's");
}
