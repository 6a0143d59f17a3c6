//! What the daemon holds of a device: the way to its thread.

use std::sync::mpsc::{self, RecvTimeoutError, Sender, SyncSender};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use qspool_driver::{Capabilities, Driver, DriverError, Identity, Outcome, Problem, Program, StopFlag};
use tokio::sync::watch;

use super::availability::Availability;
use super::host::Host;

/// Makes the driver of a device, without touching the device.
pub type MakeDriver = Arc<dyn Fn() -> Result<Box<dyn Driver>, DriverError> + Send + Sync>;

/// A program did not come to an outcome on a device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// It was told to stop.
    #[error("the run was stopped")]
    Stopped,
    /// The program cannot be run, whatever the device does. One line for the user.
    #[error("{0}")]
    Program(String),
    /// The device is away, or does not work. One line for the operator.
    #[error("{0}")]
    Away(String),
}

/// What came of a program, and which device ran it.
#[derive(Debug)]
pub struct Ran {
    /// The shots.
    pub outcome: Outcome,
    /// The device.
    pub identity: Identity,
}

/// How a run on a device is told to stop.
#[derive(Debug, Clone, Default)]
pub struct StopRun {
    /// At once.
    pub now: StopFlag,
    /// When the shot that runs is over.
    pub after_shot: StopFlag,
}

/// What the thread of a device is asked for.
pub(super) enum Request {
    /// Run a program, and tell what came of it.
    Run { program: Box<Program>, stop: StopRun, reply: SyncSender<Result<Ran, DeviceError>> },
    /// Make the device safe, let it go, and end.
    Close,
}

/// A device, which runs one program at a time.
///
/// Its thread begins with [`start`](Self::start): whoever only validates programs never touches the device. When this
/// value goes away the device is made safe and let go, by its thread, which nobody waits for.
pub struct Device {
    name: String,
    make: MakeDriver,
    /// A driver that is never connected: it checks programs.
    checker: Mutex<Box<dyn Driver>>,
    shared: Shared,
    availability: watch::Receiver<Availability>,
    host: OnceLock<Running>,
}

/// What the device shares with its thread.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) availability: Arc<watch::Sender<Availability>>,
    /// When the request in flight must have come back, and what it is.
    pub(super) overdue: Arc<Mutex<Option<(Instant, &'static str)>>>,
}

struct Running {
    requests: Sender<Request>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// How long the closing of a device is waited for.
const CLOSING: Duration = Duration::from_secs(8);

/// How often a run looks whether its driver has gone astray.
const LOOK: Duration = Duration::from_millis(100);

impl Device {
    /// The device `name` whose drivers `make` makes.
    pub fn new(name: impl Into<String>, make: MakeDriver) -> Result<Self, DriverError> {
        let checker = Mutex::new(make()?);
        let (sender, availability) = watch::channel(Availability::Starting);
        let shared = Shared { availability: Arc::new(sender), overdue: Arc::default() };
        Ok(Self { name: name.into(), make, checker, shared, availability, host: OnceLock::new() })
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it can do.
    pub fn capabilities(&self) -> Capabilities {
        self.checker.lock().unwrap_or_else(PoisonError::into_inner).capabilities()
    }

    /// Checks a program against its limits; the device is not touched.
    pub fn validate(&self, program: &Program) -> Result<(), Problem> {
        self.checker.lock().unwrap_or_else(PoisonError::into_inner).validate(program)
    }

    /// Whether it can take a program, now and later.
    pub fn availability(&self) -> watch::Receiver<Availability> {
        self.availability.clone()
    }

    /// Begins to look for the device.
    pub fn start(&self) {
        self.running();
    }

    fn running(&self) -> &Running {
        self.host.get_or_init(|| {
            let (requests, receiver) = mpsc::channel();
            let host = Host::new(self.name.clone(), Arc::clone(&self.make), self.shared.clone(), receiver);
            let thread = std::thread::Builder::new().name(format!("device {}", self.name)).spawn(|| host.serve());
            if let Err(error) = &thread {
                let why = format!("no thread for the device {}: {error}", self.name);
                self.shared.availability.send_replace(Availability::Away { why });
            }
            Running { requests, thread: Mutex::new(thread.ok()) }
        })
    }

    /// Runs a program to its end. Blocks; to be called where that may take its time.
    pub fn run(&self, program: &Program, stop: &StopRun) -> Result<Ran, DeviceError> {
        let (reply, answer) = mpsc::sync_channel(1);
        let request = Request::Run { program: Box::new(program.clone()), stop: stop.clone(), reply };
        let gone = || DeviceError::Away(format!("the thread of the device {} has ended", self.name));
        self.running().requests.send(request).map_err(|_| gone())?;
        loop {
            match answer.recv_timeout(LOOK) {
                Ok(outcome) => return outcome,
                Err(RecvTimeoutError::Disconnected) => return Err(gone()),
                Err(RecvTimeoutError::Timeout) => {
                    let overdue = *self.shared.overdue.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some((end, what)) = overdue.filter(|(end, _)| Instant::now() > *end) {
                        let late = end.elapsed().as_secs();
                        let why = format!(
                            "the driver of {} does not come back from {what}, {late} s over its time",
                            self.name
                        );
                        self.shared.availability.send_replace(Availability::Away { why: why.clone() });
                        return Err(DeviceError::Away(why));
                    }
                }
            }
        }
    }

    /// Makes the device safe and lets it go. Blocks, but not for longer than a driver may take.
    pub fn close(&self) {
        let Some(running) = self.host.get() else { return };
        // A thread that has ended has closed the device.
        let _ended = running.requests.send(Request::Close);
        let Some(thread) = running.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let begin = Instant::now();
        while !thread.is_finished() {
            if begin.elapsed() > CLOSING {
                tracing::error!(device = self.name, "the device is not let go in time; its outputs may be on");
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Some(running) = self.host.get() {
            let _ended = running.requests.send(Request::Close);
        }
    }
}
