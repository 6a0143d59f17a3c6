//! MongoDB servers for tests: SecantusDB, which speaks the protocol over a store of its own, from PyPI.
//!
//! `QSPOOL_TEST_MONGODB_DAEMON` names another daemon that takes the same flags. `QSPOOL_TEST_MONGODB_URI` is the address
//! of a server that runs already, whose databases `jobs`, `status`, `results` and `backends` are dropped again and again;
//! tests that stop their server start one of their own all the same.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mongodb::Client;
use mongodb::bson::doc;
use qspool::storage::MediumOptions;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::python;

const DAEMON: &str = "QSPOOL_TEST_MONGODB_DAEMON";
const URI: &str = "QSPOOL_TEST_MONGODB_URI";

/// The user that qspool logs in as; the password has everything that means something in a URL.
pub(crate) const USER: &str = "qspool";
pub(crate) const PASSWORD: &str = "p@ss/w:rd?#%41";
const PASSWORD_IN_URL: &str = "p%40ss%2Fw%3Ard%3F%23%2541";

/// A user that may write nothing, with the same password.
pub(crate) const READER: &str = "reader";

/// The user that makes others, drops databases and sets fail points, with the same password.
const ROOT: &str = "root";

/// How many servers a process has at most.
const MOST_SERVERS: usize = 2;

/// The databases of the contract.
pub(crate) const DATABASES: [&str; 4] = ["backends", "jobs", "results", "status"];

/// A running server. It is killed with this value, or with this process, and its files go with it.
pub(crate) struct Server {
    supervisor: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    pid: Option<Pid>,
    port: u16,
    /// Removed by the supervisor, which also outlives a process that is killed.
    folder: PathBuf,
}

fn scripts() -> PathBuf {
    super::package_file("tests/common/mongodb")
}

fn interpreter() -> PathBuf {
    python::interpreter("secantusdb-0.7.0b3", &scripts().join("requirements.txt"))
}

/// Runs a script of `tests/common/mongodb` with the reference's driver, and gives what it prints.
pub(crate) fn run_script(name: &str, arguments: &Value) -> Value {
    let output = Command::new(interpreter())
        .arg(scripts().join(name))
        .arg(arguments.to_string())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .expect("the interpreter was made above");
    assert!(output.status.success(), "{name} ends well");
    serde_json::from_slice(&output.stdout).expect("it prints JSON")
}

impl Server {
    /// Starts a server with an empty store, open to everybody on this machine.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let folder =
            tempfile::Builder::new().prefix("mongodb-").tempdir_in(parent).expect("the build folder takes files");
        let folder = folder.keep();
        let port = free_port();
        let mut supervisor = Command::new(interpreter())
            .arg(scripts().join("supervise.py"))
            .arg(&folder)
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the interpreter was made above");
        let input = supervisor.stdin.take();
        let output = BufReader::new(supervisor.stdout.take().expect("it is piped"));
        let mut server = Self { supervisor, input, output, pid: None, port, folder };
        server.run(flags);
        server
    }

    /// Starts a server that asks for a log-in.
    pub(crate) async fn start_with_users() -> Self {
        // The first user can only be made while the server is open to everybody.
        let mut server = blocking(|| Self::start(&[])).await;
        let admin = Client::with_uri_str(server.url()).await.expect("a client").database("admin");
        let users = [(ROOT, "root"), (USER, "readWriteAnyDatabase"), (READER, "readAnyDatabase")];
        for (user, role) in users {
            let roles = vec![doc! { "role": role, "db": "admin" }];
            let made = admin.run_command(doc! { "createUser": user, "pwd": PASSWORD, "roles": roles }).await;
            made.expect("a user is made");
        }
        drop(admin);
        blocking(move || {
            server.signal(Signal::TERM);
            server.run(&["--auth"]);
            server
        })
        .await
    }

    /// Starts the server on its store once the one before has ended, and waits until it listens.
    pub(crate) fn run(&mut self, flags: &[&str]) {
        let daemon =
            std::env::var_os(DAEMON).map_or_else(|| interpreter().with_file_name("secantusd-py"), PathBuf::from);
        let mut command =
            vec![daemon.to_str().expect("a path in UTF-8"), "--host", "127.0.0.1", "--log-level", "ERROR"];
        let port = self.port.to_string();
        command.extend(["--port", &port, "--sync-on-commit", "--enable-test-commands", "--storage-path"]);
        command.push(self.folder.to_str().expect("a path in UTF-8"));
        command.extend(flags);
        writeln!(self.input.as_mut().expect("it is piped"), "{}", json!(command)).expect("the supervisor listens");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the supervisor writes text");
        let pid = line.trim().parse().ok().and_then(Pid::from_raw);
        let pid = pid.unwrap_or_else(|| panic!("the server {} does not start", daemon.display()));
        self.pid = Some(pid);
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let is_late = begin.elapsed() > Duration::from_secs(60);
            assert!(!is_late && test_kill_process(pid).is_ok(), "the server {} does not listen", daemon.display());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid.expect("it was started"), signal).expect("the server runs");
    }

    /// Kills the server as a power failure would; [`run`](Self::run) starts it again.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Stops the server's time.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// The address, without a user.
    pub(crate) fn url(&self) -> String {
        format!("mongodb://127.0.0.1:{}/?heartbeatFrequencyMS=500", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ended = self.supervisor.wait();
    }
}

/// A free port below those that the kernel gives to clients: while a server is away, one that tries to reach it from
/// the very port would reach itself, and the server could not come back.
fn free_port() -> u16 {
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(|| rand::random_range(20_000..32_000)).find(is_free).expect("it goes on until there is one")
}

/// What a storage needs to be told about a server.
pub(crate) fn options(url: &str, login: Option<(&str, &str)>) -> MediumOptions {
    let mut options = json!({ "type": "mongodb", "mongodb_database_url": url, "timeout_s": 10 });
    if let Some((user, password)) = login {
        options["mongodb_username"] = json!(user);
        options["mongodb_password"] = json!(password);
    }
    serde_json::from_value(options).expect("the keys of the medium")
}

/// A server with empty databases that one test has for itself. It goes back to the others with this value.
pub(crate) struct Lent {
    server: Option<Server>,
    _permit: OwnedSemaphorePermit,
}

impl Lent {
    /// How to log in as qspool does.
    pub(crate) fn options(&self) -> MediumOptions {
        match &self.server {
            Some(server) => options(&server.url(), Some((USER, PASSWORD))),
            None => options(&std::env::var(URI).expect("it was there"), None),
        }
    }

    /// The address with a user that may do everything.
    pub(crate) fn root_url(&self) -> String {
        match &self.server {
            Some(server) => root_url(server),
            None => std::env::var(URI).expect("it was there"),
        }
    }
}

/// The address of a server that asks for a log-in, with the user that may do everything.
pub(crate) fn root_url(server: &Server) -> String {
    server.url().replace("mongodb://", &format!("mongodb://{ROOT}:{PASSWORD_IN_URL}@"))
}

impl Drop for Lent {
    fn drop(&mut self) {
        FREE.lock().unwrap_or_else(PoisonError::into_inner).extend(self.server.take());
    }
}

/// Servers that no test has at the moment. They end with the process.
static FREE: Mutex<Vec<Server>> = Mutex::new(Vec::new());

static PERMITS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let servers = if std::env::var_os(URI).is_some() { 1 } else { MOST_SERVERS };
    Arc::new(Semaphore::new(servers))
});

/// Lends a server with empty databases, and starts it if need be.
pub(crate) async fn lend() -> Lent {
    let permit = Arc::clone(&PERMITS).acquire_owned().await.expect("nobody closes it");
    let free = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let server = match free {
        _ if std::env::var_os(URI).is_some() => None,
        Some(server) => Some(server),
        None => Some(Server::start_with_users().await),
    };
    let lent = Lent { server, _permit: permit };
    let client = Client::with_uri_str(lent.root_url()).await.expect("a client");
    for database in DATABASES {
        client.database(database).drop().await.expect("the databases of the test before can be dropped");
    }
    lent
}

async fn blocking<T: Send + 'static>(action: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(action).await.expect("it does not panic")
}
