//! The spooler as a whole: start, reload, drain.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::SpoolerOptions;
use super::keeper::Keeper;
use crate::backend::Backend;
use crate::backend::device::Device;
use crate::job::{BackendName, StorageName};
use crate::storage::{Provider, StorageOptions};

/// How long a task that was told to end may take for its last writes.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// What to serve.
#[derive(Clone)]
pub struct Plan {
    /// The storages to look at.
    pub storages: Vec<(StorageName, Source)>,
    /// The backends whose jobs to run.
    pub backends: Vec<ServedBackend>,
    /// How to go about it.
    pub options: SpoolerOptions,
}

/// Where a storage comes from.
#[derive(Clone)]
pub enum Source {
    /// It is opened by these options, again and again until that works.
    Options(StorageOptions),
    /// It is open.
    Open(Provider),
}

/// A backend and where its jobs come from.
#[derive(Clone)]
pub struct ServedBackend {
    /// What runs the jobs.
    pub backend: Arc<Backend>,
    /// How many of them at the same time.
    pub workers: usize,
    /// The storages whose queues are looked at.
    pub storages: Vec<StorageName>,
}

/// What every task of one spooler shares.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) options: Arc<SpoolerOptions>,
    /// The memory that running jobs may take, in MiB.
    pub(super) memory: Arc<Semaphore>,
    /// The jobs on their way to their end.
    pub(super) jobs: TaskTracker,
    /// No further job is taken.
    pub(super) stop_taking: CancellationToken,
    /// Whatever still runs is put back.
    pub(super) give_back: CancellationToken,
}

/// A spooler at work.
pub struct Spooler {
    shared: Shared,
    keepers: TaskTracker,
    workers: HashMap<BackendName, (usize, Arc<Semaphore>)>,
    backends: Vec<Arc<Backend>>,
}

impl Spooler {
    /// Begins to work. It returns at once: storages are opened, and jobs run, by tasks of the current runtime.
    pub fn start(plan: Plan) -> Self {
        let shared = Shared {
            memory: memory_of(&plan.options),
            options: Arc::new(plan.options.clone()),
            jobs: TaskTracker::new(),
            stop_taking: CancellationToken::new(),
            give_back: CancellationToken::new(),
        };
        let mut spooler = Self { shared, keepers: TaskTracker::new(), workers: HashMap::new(), backends: Vec::new() };
        spooler.serve(plan);
        spooler
    }

    /// Goes on by another plan. Jobs that run already end as they began.
    pub async fn reload(&mut self, plan: Plan) {
        self.shared.stop_taking.cancel();
        self.keepers.close();
        self.keepers.wait().await;
        self.keepers.reopen();
        // So that the next plan finds the ports free. A device that still runs a job is let go when that has ended.
        let idle = |backend: &Arc<Backend>| Arc::strong_count(backend) == 1;
        let_devices_go(std::mem::take(&mut self.backends).into_iter().filter(idle)).await;
        self.shared.stop_taking = CancellationToken::new();
        if plan.options.memory_limit_mib != self.shared.options.memory_limit_mib {
            self.shared.memory = memory_of(&plan.options);
        }
        self.shared.options = Arc::new(plan.options.clone());
        self.serve(plan);
    }

    /// Takes no further job, lets the running ones end within the grace period, and puts the rest back.
    pub async fn drain(self) {
        self.shared.stop_taking.cancel();
        self.keepers.close();
        self.shared.jobs.close();
        let waiting = self.shared.jobs.len();
        if waiting > 0 {
            tracing::info!(jobs = waiting, "waiting for running jobs to end");
        }
        let all_ended = async || {
            self.keepers.wait().await;
            self.shared.jobs.wait().await;
        };
        if tokio::time::timeout(self.shared.options.grace_period(), all_ended()).await.is_err() {
            let jobs = self.shared.jobs.len();
            tracing::info!(jobs, "the grace period is over; running jobs go back to their queues");
            self.shared.give_back.cancel();
            if tokio::time::timeout(LAST_WRITES, all_ended()).await.is_err() {
                tracing::warn!(
                    jobs = self.shared.jobs.len(),
                    "jobs are left in running; the next start puts them back"
                );
            }
        }
        let_devices_go(self.backends).await;
    }

    fn serve(&mut self, plan: Plan) {
        let Plan { storages, backends, options: _ } = plan;
        // A backend keeps its slots over a reload, so that jobs of before and after do not run side by side.
        let before = std::mem::take(&mut self.workers);
        for ServedBackend { backend, workers, .. } in &backends {
            let slots = match before.get(backend.name()) {
                Some((count, slots)) if count == workers => Arc::clone(slots),
                _ => Arc::new(Semaphore::new(*workers)),
            };
            self.workers.insert(backend.name().clone(), (*workers, slots));
        }
        self.backends = backends.iter().map(|served| Arc::clone(&served.backend)).collect();
        for (name, source) in storages {
            let mut fed = Vec::new();
            for served in backends.iter().filter(|served| served.storages.contains(&name)) {
                let (_, slots) = &self.workers[served.backend.name()];
                fed.push((Arc::clone(&served.backend), Arc::clone(slots)));
            }
            let keeper = Keeper::new(name, source, fed, self.shared.clone());
            self.keepers.spawn(keeper.keep());
        }
    }
}

/// Makes devices safe, side by side, and lets them go.
async fn let_devices_go(backends: impl IntoIterator<Item = Arc<Backend>>) {
    let mut closing = JoinSet::new();
    for backend in backends.into_iter().filter(|backend| backend.device().is_some()) {
        closing.spawn_blocking(move || backend.device().map(Device::close));
    }
    closing.join_all().await;
}

fn memory_of(options: &SpoolerOptions) -> Arc<Semaphore> {
    // Less than Semaphore::MAX_PERMITS on every machine, since it is a u32.
    Arc::new(Semaphore::new(usize::try_from(options.memory_limit_mib).unwrap_or(usize::MAX >> 4)))
}
