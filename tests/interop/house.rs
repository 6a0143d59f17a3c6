//! One storage that both sides use, and the two sides.

use std::path::Path;
use std::time::{Duration, Instant};

use qspool::job::{BackendName, Document, JobId, Status};
use qspool::signing::{PrivateKey, sign};
use qspool::storage::{MediumOptions, Place, Provider};
use serde_json::{Value, json};

use crate::common::daemon::{Daemon, Lab};
use crate::common::{TempStorage, eventually, package_file};
use crate::python::Script;

/// A job whose every shot is `0 1`, here and by the simulator of `peers/spooler.py`.
pub(crate) const JOB: &str = r#"{"experiment_0": {"instructions": [["load", [1], []], ["measure", [0], []],
    ["measure", [1], []]], "num_wires": 8, "shots": 3, "wire_order": "interleaved"}}"#;

/// The private number of the key that has signed the recorded storage.
pub(crate) const SEED: [u8; 32] = {
    let mut seed = [0; 32];
    let mut index = 0;
    while index < 32 {
        #[expect(clippy::cast_possible_truncation, reason = "below 32")]
        {
            seed[index] = index as u8;
        }
        index += 1;
    }
    seed
};

/// A storage named `shared`, and a folder with the configuration of our side.
pub(crate) struct House {
    storage: TempStorage,
    lab: Lab,
}

impl House {
    pub(crate) async fn local() -> Self {
        Self::with(TempStorage::local().await)
    }

    pub(crate) async fn mongodb() -> Self {
        Self::with(TempStorage::mongodb().await)
    }

    pub(crate) async fn dropbox() -> Self {
        Self::with(TempStorage::dropbox_of_peers().await)
    }

    fn with(storage: TempStorage) -> Self {
        let house = Self { storage, lab: Lab::new("") };
        house.use_key("lab-1", &[1; 32]);
        house.configure("");
        house
    }

    /// Replaces the configuration; `backends` are its tables of backends, all of them at the shared storage.
    pub(crate) fn configure(&self, backends: &str) {
        let backends: String = backends
            .split_inclusive('\n')
            .flat_map(|line| [line, if line.starts_with("[backend.") { "storage = ['shared']\n" } else { "" }])
            .collect();
        let storage = self.storage_table();
        self.lab.configure(&format!(
            "[storage.shared]\n{storage}\n[signing]\nkey_file = 'key'\n[spooler]\nlease_s = 5\nscan_interval_s = 1\n{backends}"
        ));
    }

    /// Gives our side this key.
    pub(crate) fn use_key(&self, kid: &str, seed: &[u8; 32]) {
        let path = self.lab.path().join("key");
        std::fs::write(&path, key_text(kid, seed)).expect("written");
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("set");
    }

    /// The storage as our configuration has it.
    fn storage_table(&self) -> String {
        match self.storage.options() {
            MediumOptions::Local(options) => format!("type = 'local'\nbase_path = '{}'", options.base_path.display()),
            MediumOptions::Mongodb(options) => {
                let secret =
                    |secret: &Option<qspool::secret::Secret>| secret.as_ref().expect("given").expose().to_owned();
                format!(
                    "type = 'mongodb'\nmongodb_username = '{}'\nmongodb_password = '{}'\nmongodb_database_url = '{}'",
                    options.mongodb_username.as_ref().expect("given"),
                    secret(&options.mongodb_password),
                    secret(&options.mongodb_database_url),
                )
            }
            MediumOptions::Dropbox(options) => format!(
                "type = 'dropbox'\napp_key = '{}'\napp_secret = '{}'\nrefresh_token = '{}'\nendpoint = '{}'\nca_file = '{}'",
                options.app_key,
                options.app_secret.as_ref().expect("given").expose(),
                options.refresh_token.as_ref().expect("given").expose(),
                options.endpoint.as_ref().expect("given"),
                options.ca_file.as_ref().expect("given").display(),
            ),
        }
    }

    /// The storage as the scripts take it, and the variables that lead the SDK of Dropbox to the server of the tests.
    fn login(&self) -> (Value, Vec<(&'static str, String)>) {
        match self.storage.options() {
            MediumOptions::Local(options) => (json!({ "type": "local", "base_path": options.base_path }), Vec::new()),
            MediumOptions::Mongodb(options) => {
                let login = json!({
                    "type": "mongodb",
                    "url": options.mongodb_database_url.as_ref().expect("given").expose(),
                    "username": options.mongodb_username,
                    "password": options.mongodb_password.as_ref().expect("given").expose(),
                });
                (login, Vec::new())
            }
            MediumOptions::Dropbox(options) => {
                let login = json!({
                    "type": "dropbox",
                    "app_key": options.app_key,
                    "app_secret": options.app_secret.as_ref().expect("given").expose(),
                    "refresh_token": options.refresh_token.as_ref().expect("given").expose(),
                });
                let host = options.endpoint.as_ref().and_then(|url| url.strip_prefix("https://")).expect("encrypted");
                let hosts = ["DROPBOX_API_HOST", "DROPBOX_API_CONTENT_HOST", "DROPBOX_API_NOTIFY_HOST"];
                let mut variables: Vec<_> = hosts.iter().map(|name| (*name, host.to_owned())).collect();
                let ca_file = options.ca_file.as_ref().expect("given").display().to_string();
                variables.push(("REQUESTS_CA_BUNDLE", ca_file));
                (login, variables)
            }
        }
    }

    /// Starts a script on the storage; it has our key.
    pub(crate) fn python(&self, script: &str, arguments: Value) -> Script {
        let key = std::fs::read_to_string(self.lab.path().join("key")).expect("written before");
        self.script(script, arguments, &key)
    }

    /// The same with another key.
    pub(crate) fn python_with_key(&self, script: &str, arguments: Value, kid: &str, seed: &[u8; 32]) -> Script {
        self.script(script, arguments, &key_text(kid, seed))
    }

    fn script(&self, script: &str, mut arguments: Value, key: &str) -> Script {
        let (login, variables) = self.login();
        arguments["storage"] = login;
        let mut variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        variables.extend([("PRIVATE_JWK_STR", key.trim()), ("T_WAIT_MAIN", "0.001")]);
        Script::start(script, &arguments, &variables)
    }

    /// Starts the daemon and waits until it serves.
    pub(crate) fn daemon(&self) -> Daemon {
        self.lab.daemon()
    }

    /// Runs a command that has to be good, and gives what it prints.
    pub(crate) fn good(&self, arguments: &[&str]) -> String {
        self.lab.good(arguments)
    }

    /// Runs a command that may find something, and gives what it prints.
    pub(crate) fn examine(&self, arguments: &[&str]) -> String {
        let output = self.lab.run(arguments);
        String::from_utf8(output.stdout).expect("text") + &String::from_utf8_lossy(&output.stderr)
    }

    /// Submits our own way and returns the id.
    pub(crate) fn submit(&self, backend: &str) -> String {
        std::fs::write(self.lab.path().join("job.json"), JOB).expect("written");
        self.good(&["submit", backend, "job.json", "--no-check", "--storage", "shared", "--user", "ada"])
    }

    /// The state of a job, as our command tells it.
    pub(crate) fn state(&self, job_id: &str) -> String {
        let status: Value =
            serde_json::from_str(&self.good(&["status", job_id, "--json", "--storage", "shared"])).expect("JSON");
        status["status"].as_str().expect("a text").to_owned()
    }

    /// Waits for the end of a job and gives its state.
    pub(crate) fn wait(&self, job_id: &str) -> String {
        let begin = Instant::now();
        loop {
            let state = self.state(job_id);
            if matches!(state.as_str(), "DONE" | "ERROR") {
                return state;
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "job {job_id} does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What our command says of the signature of a result, which its exit code has to fit.
    pub(crate) fn verdict(&self, job_id: &str) -> String {
        let output = self.lab.run(&["verify", job_id, "--json", "--storage", "shared"]);
        let said: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        let verdict = said["verdict"].as_str().expect("a text").to_owned();
        assert_eq!(output.status.code(), Some(i32::from(verdict != "valid")), "{said}");
        verdict
    }

    /// The storage by our own provider.
    pub(crate) async fn provider(&self) -> Provider {
        self.storage.provider().await
    }

    /// Puts jobs into a queue, with their statuses, and gives their ids.
    pub(crate) async fn fill(&self, backend: &str, jobs: usize) -> Vec<String> {
        let (provider, backend) = (self.provider().await, backend.parse::<BackendName>().expect("a name"));
        let user = "ada".parse().expect("a name");
        let mut ids = Vec::new();
        for _ in 0..jobs {
            let id = provider.create_job_id(&backend, &user).expect("an id");
            provider.upload_status(&backend, &id, &Status::accepted(&id)).await.expect("accepted");
            provider.upload_job(&backend, &id, &Document::from_text(JOB)).await.expect("queued");
            ids.push(id.to_string());
        }
        ids
    }

    /// Waits until all jobs of the backend `fermions` are done.
    pub(crate) async fn wait_for_all(&self, ids: &[String]) {
        let (provider, backend) = (self.provider().await, "fermions".parse::<BackendName>().expect("a name"));
        for id in ids {
            let id: JobId = id.parse().expect("an id");
            eventually(&format!("the end of {id}"), async || {
                let status = provider.get_status(&backend, &id).await.expect("it is there");
                status.status.is_final().then_some(())
            })
            .await;
        }
    }

    /// Brings in the storage that the Python stack has left behind, each document at its place.
    pub(crate) async fn take_golden_tree(&self) {
        let golden = package_file("tests/golden/local-tree");
        if let MediumOptions::Local(options) = self.storage.options() {
            return copy_tree(&golden, &options.base_path);
        }
        let storage = self.storage.open().await;
        let backends = ["plainqc", "signedqc"].map(|name| name.parse::<BackendName>().expect("a name"));
        let of_backends = backends.iter().flat_map(|backend| {
            [Place::Queued(backend), Place::Finished(backend), Place::Status(backend), Place::Results(backend)]
        });
        for place in of_backends.chain([Place::Configs, Place::PublicKeys, Place::Running, Place::Deleted]) {
            for entry in std::fs::read_dir(golden.join(place.to_string())).expect("the tree has all places") {
                let path = entry.expect("an entry").path();
                let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name");
                let is_of_job = !matches!(place, Place::Configs | Place::PublicKeys);
                let id = if is_of_job { self.golden_id(name) } else { name.to_owned() };
                let text = std::fs::read_to_string(&path).expect("read");
                let document = renamed(&text, name, &id);
                let id = id.parse().expect("an id");
                storage.upload(place, &id, &document).await.expect("stored");
            }
        }
    }
}

impl House {
    /// The id that a job of that storage has here: on Dropbox one that names its user, as the reference needs it there.
    pub(crate) fn golden_id(&self, id: &str) -> String {
        match self.storage.options() {
            MediumOptions::Dropbox(_) => format!("20261122_041519-golden-ada-{}", &id[..5]),
            _ => id.to_owned(),
        }
    }
}

/// The document as it would be if the job had had another id from the beginning.
fn renamed(text: &str, from: &str, to: &str) -> Document {
    let document = Document::from_text(text);
    match document.signed() {
        _ if from == to => document,
        None => Document::from_text(text.replace(from, to)),
        Some(signed) => {
            let key = PrivateKey::new(&"golden-kid".parse().expect("a kid"), &SEED);
            sign(&Document::from_text(signed.payload.replace(from, to)), &key).expect("JSON")
        }
    }
}

fn key_text(kid: &str, seed: &[u8; 32]) -> String {
    PrivateKey::new(&kid.parse().expect("a kid"), seed).to_text().expose().to_owned()
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("listed") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy_tree(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("copied");
        }
    }
}
