//! The copy itself.

use std::collections::{HashMap, HashSet};
use std::future::ready;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{StreamExt, stream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::comparison::{Difference, difference, is_same};
use super::inventory::{IN_FLIGHT, Index, Inventory};
use super::plan::{Item, Plan, half_told_ends, held};
use super::refusal::{self, CopyRefusal};
use super::report::{CopyEnd, CopyProblem, CopyProgress, CopyReport, PlaceCounts};
use crate::job::{BackendName, Document, DocumentId, Status};
use crate::spooler::retry::Backoff;
use crate::storage::{Place, Provider, Storage, StorageError, StorageErrorKind};

/// How to copy.
#[derive(Debug, Clone)]
pub struct CopyOptions {
    /// Copy also while spoolers work on jobs of either storage. The jobs that they hold at the source are left out.
    pub force: bool,
    /// How long a storage that does not answer is waited for, at each operation.
    pub patience: Duration,
}

/// Copies all documents of `from` to `to`. The source is only read.
///
/// Once `stop` is cancelled, what is under way is ended and nothing more is begun; the next copy goes on from there.
/// `progress` is told after each document.
///
/// # Errors
///
/// Nothing was copied: the storages are the same, or cannot be used, or spoolers work on their jobs. Whatever happens
/// later stands in the report.
pub async fn copy_storage(
    from: &Provider,
    to: &Provider,
    options: &CopyOptions,
    stop: &CancellationToken,
    progress: &(dyn Fn(CopyProgress) + Sync),
) -> Result<CopyReport, CopyRefusal> {
    refusal::same_place(from, to).await?;
    let leases = refusal::leases(from, options.force).await?;
    let held_at_target = held(&refusal::leases(to, options.force).await?).into_keys().map(String::from).collect();
    let at_source = |error| CopyRefusal::Storage(from.name().clone(), error);
    let at_target = |error| CopyRefusal::Storage(to.name().clone(), error);
    let (source, target) = (from.storage().map_err(at_source)?, to.storage().map_err(at_target)?);
    let backends = source.backends().await.map_err(at_source)?;
    let at_first = Inventory::take(source, &backends).await.map_err(at_source)?;
    let known = Inventory::take(target, &backends).await.map_err(at_target)?;
    let plan = Plan::new(&at_first, &backends, &leases);
    let ends = half_told_ends(&at_first, &leases);
    let transfer = Transfer {
        from,
        to,
        source,
        target,
        index: Index::new(&known, &backends),
        held_at_target,
        ends,
        patience: options.patience,
        stop,
        halt: stop.child_token(),
        tally: Mutex::new(Tally::new(&plan)),
        progress,
    };
    transfer.run(&plan).await;
    let compared = if transfer.is_done() { transfer.compare_counts(&plan, &at_first, &backends).await } else { None };
    Ok(transfer.report(&plan, compared))
}

/// What has become of a document.
enum Outcome {
    Copied,
    Replaced,
    ThereAlready,
    FurtherOn,
    Failed(String),
}

/// Why no further document is begun.
enum Halt<'a> {
    Stopped,
    OutOfReach(&'a Provider, StorageError),
}

type Answer<'a> = Result<Outcome, Halt<'a>>;

/// The counts so far.
struct Tally<'a> {
    counts: HashMap<Place<'a>, PlaceCounts>,
    problems: Vec<CopyProblem>,
    /// The documents that are not at their place at the target, as far as that is known.
    elsewhere: HashSet<&'a DocumentId>,
    progress: CopyProgress,
    out_of_reach: Option<(&'a Provider, StorageError)>,
}

impl<'a> Tally<'a> {
    fn new(plan: &Plan<'a>) -> Self {
        let total = plan.places.iter().map(|(_, count)| count).sum::<usize>() as u64;
        Self {
            counts: HashMap::new(),
            problems: Vec::new(),
            elsewhere: HashSet::new(),
            progress: CopyProgress { done: 0, total },
            out_of_reach: None,
        }
    }

    fn fail(&mut self, item: Item<'a>, what: String) {
        self.counts.entry(item.from).or_default().failed += 1;
        self.problems.push(CopyProblem { place: item.from.to_string(), id: item.id.clone(), what });
    }
}

/// What the second look at both storages has found.
struct Compared {
    at_target: HashMap<String, u64>,
    out_of_order: Vec<BackendName>,
    arrived: u64,
}

struct Transfer<'a> {
    from: &'a Provider,
    to: &'a Provider,
    source: &'a dyn Storage,
    target: &'a dyn Storage,
    /// What the target held before.
    index: Index<'a>,
    held_at_target: HashSet<String>,
    /// The statuses that the source should have.
    ends: HashMap<DocumentId, Status>,
    patience: Duration,
    stop: &'a CancellationToken,
    /// No further document is begun: by order, or since a storage is out of reach.
    halt: CancellationToken,
    tally: Mutex<Tally<'a>>,
    progress: &'a (dyn Fn(CopyProgress) + Sync),
}

impl<'a> Transfer<'a> {
    fn tally(&self) -> MutexGuard<'_, Tally<'a>> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_done(&self) -> bool {
        let progress = self.tally().progress;
        progress.done == progress.total
    }

    async fn run(&self, plan: &Plan<'a>) {
        for (item, what) in &plan.left {
            self.record(*item, Ok(Outcome::Failed(what.clone())));
        }
        for documents in &plan.documents {
            let copies = stream::iter(documents).take_while(|_| ready(!self.halt.is_cancelled()));
            copies.for_each_concurrent(IN_FLIGHT, |item| self.copy(*item)).await;
        }
        let queues = stream::iter(&plan.queues);
        queues.for_each_concurrent(IN_FLIGHT, |queue| self.copy_queue(queue)).await;
    }

    /// One job after the other, so that the target lists them in this order.
    async fn copy_queue(&self, queue: &[Item<'a>]) {
        let resolution = self.target.arrival_resolution();
        let file = |id: &DocumentId| format!("{id}.json");
        let mut last: Option<(&DocumentId, Instant)> = None;
        for item in queue {
            // Of two that arrive at the same time, some media put the lesser id first and others the lesser file.
            let may_overtake = |before: &DocumentId| *before > *item.id || file(before) > file(item.id);
            if let Some((_, arrived)) = last.filter(|(before, _)| may_overtake(before)) {
                tokio::select! {
                    () = tokio::time::sleep_until(arrived + resolution) => {}
                    () = self.halt.cancelled() => {}
                }
            }
            if self.halt.is_cancelled() {
                return;
            }
            self.copy(*item).await;
            last = Some((item.id, Instant::now()));
        }
    }

    async fn copy(&self, item: Item<'a>) {
        let answer = if item.to.holds_jobs() { self.copy_job(item).await } else { self.copy_other(item).await };
        self.record(item, answer);
    }

    fn record(&self, item: Item<'a>, answer: Answer<'a>) {
        let mut tally = self.tally();
        let counts = tally.counts.entry(item.from).or_default();
        match answer {
            Ok(Outcome::Copied) => counts.copied += 1,
            Ok(Outcome::Replaced) => counts.replaced += 1,
            Ok(Outcome::ThereAlready) => counts.there_already += 1,
            Ok(Outcome::FurtherOn) => {
                counts.further_on += 1;
                tally.elsewhere.insert(item.id);
            }
            Ok(Outcome::Failed(what)) => {
                tally.fail(item, what);
                tally.elsewhere.insert(item.id);
            }
            Err(halt) => {
                self.halt.cancel();
                if let Halt::OutOfReach(provider, error) = halt {
                    tally.out_of_reach.get_or_insert((provider, error));
                }
                return;
            }
        }
        tally.progress.done += 1;
        let progress = tally.progress;
        drop(tally);
        (self.progress)(progress);
    }

    async fn copy_other(&self, item: Item<'a>) -> Answer<'a> {
        let mut document = match self.read_source(item).await {
            Ok(document) => document,
            Err(answer) => return answer,
        };
        if matches!(item.from, Place::Status(_))
            && let Some(end) = self.ends.get(item.id)
            && document.read::<Status>("status").is_ok_and(|status| !status.status.is_final())
        {
            document = Document::new(end);
        }
        if self.index.has(item.to, item.id) {
            return self.compare(item, &document, Outcome::ThereAlready).await;
        }
        self.create(item, &document).await
    }

    async fn copy_job(&self, item: Item<'a>) -> Answer<'a> {
        let place = match self.index.job(item.id) {
            None => item.to,
            Some(_) if self.index.has(item.to, item.id) => item.to,
            Some(place) => place,
        };
        if matches!(item.to, Place::Queued(_)) && !matches!(place, Place::Queued(_)) {
            return Ok(Outcome::FurtherOn);
        }
        if place == item.to {
            return self.copy_other(item).await;
        }
        let may_end = matches!(place, Place::Queued(_) | Place::Running) && !matches!(item.to, Place::Queued(_));
        if !may_end || self.held_at_target.contains(item.id.as_str()) {
            return Ok(Outcome::Failed(format!("the target has the job at {place}")));
        }
        self.end_at_target(item, place).await
    }

    /// Moves a job that has ended at the source out of the target's `place`, so that it is not run there.
    async fn end_at_target(&self, item: Item<'a>, place: Place<'a>) -> Answer<'a> {
        let document = match self.read_source(item).await {
            Ok(document) => document,
            Err(answer) => return answer,
        };
        match self.patiently(|| self.target.get(place, item.id)).await {
            Ok(waiting) if is_same(place, &document, &waiting) => {}
            Ok(_) => return Ok(Outcome::Failed(format!("the target has another job of this id at {place}"))),
            // It has gone further by itself, or an earlier attempt was not answered.
            Err(error) if error.kind() == StorageErrorKind::NotFound => {}
            Err(error) => return self.failed(self.to, error, None),
        }
        match self.patiently(|| self.target.move_to(place, item.to, item.id)).await {
            Err(error) if !matches!(error.kind(), StorageErrorKind::NotFound | StorageErrorKind::AlreadyExists) => {
                self.failed(self.to, error, None)
            }
            _ => self.compare(item, &document, Outcome::Copied).await,
        }
    }

    /// Writes a document that the target does not have, and reads it back.
    async fn create(&self, item: Item<'a>, document: &Document) -> Answer<'a> {
        match self.patiently(|| self.target.upload(item.to, item.id, document)).await {
            Ok(()) => self.read_back(item, document, Outcome::Copied).await,
            // An earlier attempt was not answered, or somebody else was quicker.
            Err(error) if error.kind() == StorageErrorKind::AlreadyExists => {
                self.compare(item, document, Outcome::Copied).await
            }
            Err(error) => self.failed(self.to, error, Some(document)),
        }
    }

    /// Compares a document with the one that the target has; `same` is the outcome if they are the same.
    async fn compare(&self, item: Item<'a>, document: &Document, same: Outcome) -> Answer<'a> {
        let found = match self.patiently(|| self.target.get(item.to, item.id)).await {
            Ok(found) => found,
            Err(error) if error.kind() == StorageErrorKind::NotFound && matches!(item.to, Place::Queued(_)) => {
                return Ok(Outcome::FurtherOn);
            }
            Err(error) => return self.failed(self.to, error, None),
        };
        if is_same(item.to, document, &found) {
            return Ok(same);
        }
        match difference(item.to, document, &found) {
            Difference::Keep => Ok(Outcome::FurtherOn),
            Difference::Conflict(what) => Ok(Outcome::Failed(format!("{what}; it was left as it is"))),
            Difference::Replace => match self.patiently(|| self.target.update(item.to, item.id, document)).await {
                Ok(()) => self.read_back(item, document, Outcome::Replaced).await,
                Err(error) => self.failed(self.to, error, Some(document)),
            },
        }
    }

    /// The outcome, if the target has what was written.
    async fn read_back(&self, item: Item<'a>, document: &Document, outcome: Outcome) -> Answer<'a> {
        match self.patiently(|| self.target.get(item.to, item.id)).await {
            Ok(found) if is_same(item.to, document, &found) => Ok(outcome),
            Ok(_) => Ok(Outcome::Failed("it reads back otherwise than it was written".to_owned())),
            // A spooler at the target has taken it.
            Err(error) if error.kind() == StorageErrorKind::NotFound && matches!(item.to, Place::Queued(_)) => {
                Ok(outcome)
            }
            Err(error) => self.failed(self.to, error, Some(document)),
        }
    }

    async fn read_source(&self, item: Item<'a>) -> Result<Document, Answer<'a>> {
        let read = self.patiently(|| self.source.get(item.from, item.id)).await;
        read.map_err(|error| self.failed(self.from, error, None))
    }

    /// What an error means: one document that stays behind, or the end.
    fn failed(&self, provider: &'a Provider, error: StorageError, document: Option<&Document>) -> Answer<'a> {
        match error.kind() {
            StorageErrorKind::Unavailable | StorageErrorKind::Denied | StorageErrorKind::Inactive => {
                Err(if self.stop.is_cancelled() { Halt::Stopped } else { Halt::OutOfReach(provider, error) })
            }
            StorageErrorKind::NotFound => {
                let name = provider.name();
                Ok(Outcome::Failed(format!("it has left its place at the storage {name} since the copy began")))
            }
            StorageErrorKind::TooLarge => {
                let bytes = match document {
                    Some(document) if error.sizes().is_none() => format!("; it has {} bytes", document.text().len()),
                    _ => String::new(),
                };
                Ok(Outcome::Failed(format!("{error}{bytes}")))
            }
            StorageErrorKind::AlreadyExists | StorageErrorKind::Refused => Ok(Outcome::Failed(error.to_string())),
        }
    }

    /// Repeats an operation while the storage does not answer, until patience ends.
    async fn patiently<T, F: Future<Output = Result<T, StorageError>>>(
        &self,
        operation: impl Fn() -> F,
    ) -> Result<T, StorageError> {
        let deadline = Instant::now() + self.patience;
        let mut backoff = Backoff::new();
        loop {
            match operation().await {
                Err(error) if error.kind() == StorageErrorKind::Unavailable && Instant::now() < deadline => {
                    if !backoff.wait_after(&error, &self.halt).await {
                        return Err(error);
                    }
                }
                result => return result,
            }
        }
    }

    /// Looks at both storages once more: whether all that was copied is there, in order, and what has come meanwhile.
    async fn compare_counts(
        &self,
        plan: &Plan<'a>,
        at_first: &Inventory<'_>,
        backends: &[BackendName],
    ) -> Option<Compared> {
        let now = self.patiently(|| Inventory::take(self.target, backends)).await;
        let now = self.or_halt(self.to, now)?;
        let source = self.patiently(|| Inventory::take(self.source, backends)).await;
        let source = self.or_halt(self.from, source)?;
        let index = Index::new(&now, backends);
        for item in plan.items() {
            let is_there = index.has(item.to, item.id) || (item.to.holds_jobs() && index.job(item.id).is_some());
            if !is_there && !self.tally().elsewhere.contains(item.id) {
                self.tally().fail(*item, "it was copied, but the target does not list it".to_owned());
            }
        }
        let out_of_order = plan.queues.iter().filter_map(|queue| {
            let Place::Queued(backend) = queue.first()?.to else { return None };
            let copied: HashSet<_> = queue.iter().map(|item| item.id).collect();
            let found = now.ids(Place::Queued(backend)).iter().filter(|id| copied.contains(id));
            let wanted = queue.iter().map(|item| item.id).filter(|id| index.has(Place::Queued(backend), id));
            (!found.eq(wanted)).then(|| backend.clone())
        });
        Some(Compared {
            at_target: plan.places.iter().map(|(place, _)| (place.to_string(), now.ids(*place).len() as u64)).collect(),
            out_of_order: out_of_order.collect(),
            arrived: source.count_new(at_first) as u64,
        })
    }

    fn or_halt<T>(&self, provider: &'a Provider, result: Result<T, StorageError>) -> Option<T> {
        let error = match result {
            Ok(found) => return Some(found),
            Err(error) => error,
        };
        self.tally().out_of_reach.get_or_insert((provider, error));
        None
    }

    fn report(self, plan: &Plan<'a>, compared: Option<Compared>) -> CopyReport {
        let mut tally = self.tally.into_inner().unwrap_or_else(PoisonError::into_inner);
        let end = match (tally.out_of_reach, &compared) {
            (_, Some(_)) => CopyEnd::Complete,
            (Some((provider, error)), None) => CopyEnd::OutOfReach(provider.name().clone(), error),
            (None, None) => CopyEnd::Interrupted,
        };
        let counts = plan.places.iter().filter(|(_, count)| *count > 0).map(|(place, count)| PlaceCounts {
            place: place.to_string(),
            at_source: *count as u64,
            at_target: compared.as_ref().and_then(|compared| compared.at_target.get(&place.to_string()).copied()),
            ..tally.counts.remove(place).unwrap_or_default()
        });
        let places = counts.collect();
        let (out_of_order, arrived) =
            compared.map_or_else(Default::default, |compared| (compared.out_of_order, compared.arrived));
        let (from, to) = (self.from.name().clone(), self.to.name().clone());
        CopyReport { from, to, end, places, problems: tally.problems, out_of_order, arrived }
    }
}
