//! One daemon on storages of all three kinds, of which one goes away and comes back.
#![cfg(all(feature = "storage-dropbox", feature = "storage-mongodb"))]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use common::daemon::{Daemon, Lab};
use common::dropbox::DropboxServer;
use common::mongodb::{PASSWORD, Server, USER};
use serde_json::Value;

const JOB: &str = r#"{"experiment_0": {"instructions": [["load", [0], []], ["measure", [0], []]], "num_wires": 8,
    "shots": 3, "wire_order": "interleaved"}}"#;

fn secret(lab: &Lab, name: &str, text: &str) {
    let path = lab.path().join(name);
    std::fs::write(&path, text).expect("written");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("set");
}

/// Submits a job and says whether it is done in time.
fn is_served(lab: &Lab, storage: &str) -> bool {
    let waited = lab.run(&["submit", "fermions", "job.json", "--storage", storage, "--wait", "--timeout", "20"]);
    waited.status.success()
}

/// The state of the backend at a storage, as `qspool backends` tells it; nothing before it was served there.
fn state(lab: &Lab, storage: &str) -> String {
    let rows: Value = serde_json::from_slice(&lab.run(&["backends", "--json"]).stdout).expect("JSON");
    let row = rows.as_array().expect("rows").iter().find(|row| row["storage"] == storage);
    match row.map(|row| (row["error"].as_str(), &row["operational"])) {
        Some((Some(error), _)) => error.to_owned(),
        Some((None, operational)) => operational.to_string(),
        None => String::new(),
    }
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(60), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_daemon_serves_all_kinds_of_storages_and_misses_one_that_is_away() {
    let mut server = Server::start_with_users().await;
    let dropbox = DropboxServer::start();
    let lab = Lab::new("");
    secret(&lab, "password", PASSWORD);
    secret(&lab, "token", dropbox.refresh_token());
    std::fs::write(lab.path().join("job.json"), JOB).expect("written");
    let configuration = format!(
        "[storage.box]\ntype = 'dropbox'\napp_key = '{}'\nrefresh_token_file = 'token'\nendpoint = '{}'\n\
         [storage.disk]\ntype = 'local'\nbase_path = 'storage'\n\
         [storage.mongo]\ntype = 'mongodb'\nmongodb_database_url = '{}'\nmongodb_username = '{USER}'\n\
         mongodb_password_file = 'password'\ntimeout_s = 2\n\
         [backend.fermions]\n",
        dropbox.app_key(),
        dropbox.url(),
        server.url()
    );
    std::fs::write(lab.path().join("qspool.toml"), configuration).expect("written");
    let daemon = Daemon::start(lab.command(&["run"]));
    for storage in ["box", "disk", "mongo"] {
        wait_for("the backend is operational", || state(&lab, storage) == "true");
        assert!(is_served(&lab, storage), "{storage}");
    }
    server.kill();
    for storage in ["box", "disk"] {
        assert!(is_served(&lab, storage), "{storage}, while the server is away");
    }
    let away = state(&lab, "mongo");
    assert!(away.contains("MongoDB at 127.0.0.1") && !away.contains(PASSWORD), "{away}");
    let check = lab.run(&["storage", "check", "mongo"]);
    assert_eq!(check.status.code(), Some(69), "{}", String::from_utf8_lossy(&check.stderr));
    server.run(&["--auth"]);
    wait_for("the storage is served again", || is_served(&lab, "mongo"));
    assert!(daemon.stop().success());
}
