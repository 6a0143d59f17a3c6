//! Real daemons on one MongoDB, killed at any moment, and their server with them: every job comes to its one end.
#![cfg(feature = "storage-mongodb")]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use common::daemon::{Daemon, Lab};
use common::mongodb::{PASSWORD, Server, USER, options};
use common::{backend, eventually};
use qspool::job::{Document, JobId, JobState, Status, UserName};
use qspool::storage::{Place, Provider, StorageContext, open};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const JOB: &str = r#"{"experiment_0": {"instructions": [["load", [0], []], ["measure", [0], []]], "num_wires": 8,
    "shots": 3, "wire_order": "interleaved"}}"#;

const JOBS: usize = 60;

/// How long daemons and server are killed.
const STORM: Duration = Duration::from_secs(25);

/// The configuration of daemons on the server, with the password in a file.
fn lab(server: &Server) -> Lab {
    let lab = Lab::new("");
    let password = lab.path().join("password");
    std::fs::write(&password, PASSWORD).expect("written");
    std::fs::set_permissions(&password, PermissionsExt::from_mode(0o600)).expect("set");
    let configuration = format!(
        "[storage.lab]\ntype = \"mongodb\"\nmongodb_database_url = \"{}\"\nmongodb_username = \"{USER}\"\n\
         mongodb_password_file = \"password\"\ntimeout_s = 5\n[backend.fermions]\nworkers = 3\n\
         [spooler]\nlease_s = 2\nmax_attempts = 100\n",
        server.url()
    );
    std::fs::write(lab.path().join("qspool.toml"), configuration).expect("written");
    lab
}

async fn provider(server: &Server) -> Provider {
    let options = options(&server.url(), Some((USER, PASSWORD)));
    let context = StorageContext { lease: Duration::from_secs(2), max_job_bytes: 1 << 20 };
    let storage = open(&"lab".parse().expect("a name"), &options, context).await.expect("the storage opens");
    Provider::new("lab".parse().expect("a name"), true, storage)
}

async fn submitted(provider: &Provider) -> Vec<JobId> {
    let user: UserName = "ada".parse().expect("a name");
    let mut jobs = Vec::new();
    for _ in 0..JOBS {
        let job = provider.create_job_id(&backend(), &user).expect("an id");
        provider.upload_status(&backend(), &job, &Status::accepted(&job)).await.expect("accepted");
        provider.upload_job(&backend(), &job, &Document::from_text(JOB)).await.expect("queued");
        jobs.push(job);
    }
    jobs
}

async fn ended(provider: &Provider, jobs: &[JobId]) -> usize {
    let mut ended = 0;
    for job in jobs {
        let status = provider.get_status(&backend(), job).await;
        ended += usize::from(status.is_ok_and(|status| status.status.is_final()));
    }
    ended
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_survive_any_number_of_kills_of_daemons_and_of_their_server() {
    const SEED: u64 = 20_261_125;
    let mut random = StdRng::seed_from_u64(SEED);
    let mut server = Server::start_with_users().await;
    let lab = lab(&server);
    let mut jobs = submitted(&provider(&server).await).await;
    let (begin, mut kills, mut server_kills) = (Instant::now(), 0, 0);
    let start = || Daemon::start(lab.command(&["run"]));
    let mut daemons = vec![start(), start()];
    while begin.elapsed() < STORM {
        // From before the first claim to after the end of some jobs.
        tokio::time::sleep(Duration::from_millis(random.random_range(20..600))).await;
        let victim = random.random_range(0..daemons.len());
        daemons.swap_remove(victim).kill();
        kills += 1;
        if kills % 8 == 0 {
            server.kill();
            server.run(&["--auth"]);
            server_kills += 1;
            // There is always something to lose.
            jobs.extend(submitted(&provider(&server).await).await);
        }
        daemons.push(start());
    }
    assert!(kills > 15 && server_kills > 1, "{kills} kills, {server_kills} of the server");
    let provider = provider(&server).await;
    eventually("the end of all jobs", async || (ended(&provider, &jobs).await == jobs.len()).then_some(())).await;
    let storage = provider.storage().expect("active");
    eventually("the end of all leases", async || storage.leases().await.ok()?.is_empty().then_some(())).await;
    for daemon in daemons {
        assert!(daemon.stop().success());
    }
    let listed = async |place: Place<'_>| {
        let mut listed = provider.jobs(place).await.expect("listed");
        listed.sort();
        listed
    };
    jobs.sort();
    assert_eq!(listed(Place::Finished(&backend())).await, jobs, "all are finished, each once, after {kills} kills");
    assert_eq!(listed(Place::Results(&backend())).await, jobs, "each has a result");
    for place in [Place::Queued(&backend()), Place::Running, Place::Deleted] {
        assert_eq!(listed(place).await, [], "nothing is left at {place}");
    }
    for job in &jobs {
        let status = provider.get_status(&backend(), job).await.expect("a status");
        assert_eq!(status.status, JobState::Done, "{status:?}");
    }
}
