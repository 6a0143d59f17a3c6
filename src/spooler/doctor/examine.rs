//! The whole examination: one look at everything, then two at what is suspicious, then the repairs.

use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use serde::Serialize;

use super::catalog::{Catalog, Leases, Marks, Whereabouts};
use super::diagnosis::{Case, Diagnosis, Spot};
use super::finding::{Finding, FindingKind, Outcome};
use super::reading::{Read, Reader};
use super::repair::Mender;
use crate::job::{Document, DocumentId, JobId};
use crate::spooler::SpoolerOptions;
use crate::storage::{Leftover, Place, Provider, StorageError, StorageErrorKind};

/// After which time a suspicion is looked at again. No step of a healthy spooler, nor of a peer, takes that long.
const MOMENT: Duration = Duration::from_secs(2);

/// How many documents are asked for at the same time, which helps where each takes its way over a network.
const AT_A_TIME: usize = 8;

/// What an examination has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Examination {
    /// How many jobs there are, or documents about one.
    pub jobs: usize,
    /// How many findings there were.
    pub found: usize,
    /// How many of them are not mended.
    pub left: usize,
}

/// A document about a backend or a key.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Suspect {
    place: Place<'static>,
    id: DocumentId,
}

/// Examines one storage and tells each finding. With `repair`, what can be mended safely is mended.
///
/// # Errors
///
/// That of a storage that does not answer; what was mended until then stays so.
pub async fn examine(
    provider: &Provider,
    options: &SpoolerOptions,
    repair: bool,
    tell: impl FnMut(Finding) + Send,
) -> Result<Examination, StorageError> {
    let reader = Reader::new(provider.storage()?);
    let catalog = Catalog::list(reader.storage).await?;
    let count = Examination { jobs: catalog.jobs.len(), ..Examination::default() };
    let mut examiner = Examiner { provider, options, reader, catalog, repair, tell, count };
    examiner.tell_unlisted();
    let documents = examiner.suspect_documents().await?;
    let jobs = examiner.suspect_jobs().await?;
    if !documents.is_empty() || !jobs.is_empty() {
        tokio::time::sleep(MOMENT).await;
    }
    examiner.tell_documents(documents).await?;
    examiner.tell_jobs(jobs).await?;
    examiner.tell_leftovers().await?;
    Ok(examiner.count)
}

struct Examiner<'a, T> {
    provider: &'a Provider,
    options: &'a SpoolerOptions,
    reader: Reader<'a>,
    catalog: Catalog,
    repair: bool,
    tell: T,
    count: Examination,
}

impl<T: FnMut(Finding) + Send> Examiner<'_, T> {
    fn tell(&mut self, finding: Finding) {
        self.count.found += 1;
        self.count.left += usize::from(finding.outcome != Outcome::Repaired);
        (self.tell)(finding);
    }

    fn tell_unlisted(&mut self) {
        for (place, index, error) in std::mem::take(&mut self.catalog.unlisted) {
            let backend = self.catalog.backend(index).clone();
            self.catalog.unjudged.push(index);
            self.tell(Finding {
                kind: FindingKind::UnreadablePlace,
                place,
                job_id: None,
                problem: error.to_string(),
                advice: format!("mend that; the jobs of {backend} were not examined"),
                backend: Some(backend),
                outcome: Outcome::ForPeople,
            });
        }
    }

    /// The configurations and public keys that cannot be read.
    async fn suspect_documents(&self) -> Result<Vec<(Suspect, String)>, StorageError> {
        let mut suspects = Vec::new();
        for place in [Place::Configs, Place::PublicKeys] {
            for id in self.reader.storage.list(place).await? {
                let suspect = Suspect { place, id };
                suspects.extend(self.problem_of(&suspect).await?.map(|problem| (suspect, problem)));
            }
        }
        Ok(suspects)
    }

    async fn problem_of(&self, suspect: &Suspect) -> Result<Option<String>, StorageError> {
        let read = match suspect.place {
            Place::PublicKeys => self.reader.key(&suspect.id).await?,
            _ => self.reader.configuration(&suspect.id).await?,
        };
        Ok(read.problem().map(ToOwned::to_owned))
    }

    /// The jobs with which something seems to be wrong, and what.
    async fn suspect_jobs(&self) -> Result<Vec<(JobId, Vec<FindingKind>)>, StorageError> {
        let cases = self.catalog.jobs.iter().map(|(job_id, whereabouts)| async move {
            let case = self.case(job_id, whereabouts, &self.catalog.leases).await?;
            let kinds: Vec<FindingKind> =
                case.iter().flat_map(Case::diagnose).map(|diagnosis| diagnosis.kind).collect();
            Ok::<_, StorageError>((job_id.clone(), kinds))
        });
        let mut cases = stream::iter(cases).buffer_unordered(AT_A_TIME);
        let mut suspects: Vec<(JobId, Vec<FindingKind>)> = Vec::new();
        while let Some(case) = cases.next().await {
            suspects.extend(Some(case?).filter(|(_, kinds)| !kinds.is_empty()));
        }
        suspects.sort();
        Ok(suspects)
    }

    /// What is known of a job that was found at those places. `None` where not all is known.
    async fn case(
        &self,
        job_id: &JobId,
        whereabouts: &Whereabouts,
        leases: &Leases,
    ) -> Result<Option<Case>, StorageError> {
        let unjudged = &self.catalog.unjudged;
        let is_judged = match whereabouts.of[..] {
            [] => unjudged.is_empty(),
            ref of => !of.iter().any(|(index, _)| unjudged.contains(index)),
        };
        if !is_judged {
            return Ok(None);
        }
        let id = DocumentId::from(job_id);
        let lease = leases.of(job_id);
        let mut of = whereabouts.of.iter().filter(|(_, marks)| !marks.is_empty());
        let (first, second) = (of.next().copied(), of.next().copied());
        let marks = first.map_or_else(Marks::default, |(_, marks)| marks);
        let backend = match (first, lease) {
            (Some((index, _)), _) => Some(self.catalog.backend(index).clone()),
            (None, Some((lease, _))) => Some(lease.backend.clone()),
            (None, None) => self.catalog.backend_in(job_id),
        };
        let spots = [
            (Spot::Queued, marks.has(Marks::QUEUED)),
            (Spot::Running, whereabouts.is_running),
            (Spot::Finished, marks.has(Marks::FINISHED)),
            (Spot::Deleted, whereabouts.is_deleted),
        ];
        let mut case = Case {
            job_id: job_id.clone(),
            other_backend: second.map(|(index, _)| self.catalog.backend(index).clone()),
            spots: spots.into_iter().filter_map(|(spot, is_there)| is_there.then_some(spot)).collect(),
            status: Read::Absent,
            result: Read::Absent,
            job: Read::Absent,
            holder: lease.map(|(_, holder)| holder.clone()),
            is_copy: false,
            backend,
        };
        let Some(backend) = &case.backend else { return Ok(Some(case)) };
        if marks.has(Marks::STATUS) {
            case.status = self.reader.status(backend, &id).await?;
        }
        if marks.has(Marks::RESULT) {
            case.result = self.reader.result(backend, &id).await?;
        }
        if marks.has(Marks::FINISHED) {
            case.job = self.reader.job(Place::Finished(backend), &id).await?;
            let other = match case.spots[..] {
                [Spot::Queued, Spot::Finished] => Some(Place::Queued(backend)),
                [Spot::Running, Spot::Finished] => Some(Place::Running),
                _ => None,
            };
            if let Some(other) = other {
                case.is_copy = self.is_same(other, Place::Finished(backend), &id).await?;
            }
        }
        Ok(Some(case))
    }

    /// Whether a job lies at both places with the same text.
    async fn is_same(&self, one: Place<'_>, other: Place<'_>, id: &DocumentId) -> Result<bool, StorageError> {
        let storage = self.reader.storage;
        match (storage.get(one, id).await, storage.get(other, id).await) {
            (Ok(one), Ok(other)) => Ok(says_the_same(&one, &other)),
            (Err(error), _) | (_, Err(error)) if error.kind() == StorageErrorKind::Denied => Err(error),
            // What cannot be read is not known to be the same.
            _ => Ok(false),
        }
    }

    /// Looks where documents of one job are now.
    async fn look_for(&self, job_id: &JobId) -> Result<Whereabouts, StorageError> {
        let (storage, id) = (self.reader.storage, DocumentId::from(job_id));
        let mut found = Whereabouts::default();
        for (index, backend) in self.catalog.backends.iter().enumerate() {
            if self.catalog.unjudged.contains(&index) {
                continue;
            }
            let mut marks = Marks::default();
            for (mark, place) in Marks::places(backend) {
                if storage.exists(place, &id).await? {
                    marks = marks.with(mark);
                }
            }
            if !marks.is_empty() {
                found.of.push((index, marks));
            }
        }
        found.is_running = storage.exists(Place::Running, &id).await?;
        found.is_deleted = storage.exists(Place::Deleted, &id).await?;
        Ok(found)
    }

    async fn look_again(&self, job_id: &JobId, leases: &Leases) -> Result<Option<Case>, StorageError> {
        let whereabouts = self.look_for(job_id).await?;
        self.case(job_id, &whereabouts, leases).await
    }

    async fn tell_documents(&mut self, suspects: Vec<(Suspect, String)>) -> Result<(), StorageError> {
        for (suspect, before) in suspects {
            let Some(problem) = self.problem_of(&suspect).await?.filter(|problem| *problem == before) else { continue };
            let is_key = suspect.place == Place::PublicKeys;
            let (kind, advice) = if is_key {
                (FindingKind::UnreadableKey, "replace it by the right one, or remove it")
            } else {
                (FindingKind::UnreadableConfiguration, "remove it: a spooler that serves the backend publishes it anew")
            };
            self.tell(Finding {
                kind,
                place: format!("{}/{}", suspect.place, suspect.id),
                backend: if is_key { None } else { suspect.id.as_str().parse().ok() },
                job_id: None,
                problem: format!("it cannot be read: {problem}"),
                advice: advice.to_owned(),
                outcome: Outcome::ForPeople,
            });
        }
        Ok(())
    }

    /// Looks twice more at each suspect, and tells and mends what has stayed as it was.
    async fn tell_jobs(&mut self, suspects: Vec<(JobId, Vec<FindingKind>)>) -> Result<(), StorageError> {
        if suspects.is_empty() {
            return Ok(());
        }
        let mut seen = Vec::with_capacity(suspects.len());
        let leases = Leases::list(self.reader.storage).await?;
        for (job_id, before) in suspects {
            let case = self.look_again(&job_id, &leases).await?;
            let stays = |diagnosis: &Diagnosis| before.contains(&diagnosis.kind);
            if let Some(case) = case.filter(|case| case.diagnose().iter().any(stays)) {
                seen.push((case, before));
            }
        }
        let leases = Leases::list(self.reader.storage).await?;
        let mut mender = Mender::new(self.provider, self.options);
        for (case, before) in seen {
            // A job that has moved between two looks is on its way, and not stuck.
            if self.look_again(&case.job_id, &leases).await?.as_ref() != Some(&case) {
                continue;
            }
            for diagnosis in case.diagnose().iter().filter(|diagnosis| before.contains(&diagnosis.kind)) {
                let finding = self.mended(&mut mender, &case, diagnosis).await;
                self.tell(finding);
            }
        }
        for lease in mender.rest() {
            let settled = mender.settle(lease.clone()).await;
            let problem = "its spooler died while the storage was examined".to_owned();
            self.tell(outcome_of(
                settled.map(ToOwned::to_owned),
                Finding {
                    kind: FindingKind::HolderDied,
                    place: Place::Running.to_string(),
                    backend: Some(lease.backend),
                    job_id: Some(lease.job_id),
                    problem,
                    advice: String::new(),
                    outcome: Outcome::Repairable,
                },
            ));
        }
        Ok(())
    }

    async fn mended(&self, mender: &mut Mender<'_>, case: &Case, diagnosis: &Diagnosis) -> Finding {
        let finding = case.finding(diagnosis);
        match &diagnosis.repair {
            Some(repair) if self.repair => outcome_of(mender.mend(case, repair).await, finding),
            _ => finding,
        }
    }

    async fn tell_leftovers(&mut self) -> Result<(), StorageError> {
        for Leftover { path, what, removable } in self.reader.storage.leftovers(self.repair).await? {
            let (advice, outcome) = match (removable, self.repair) {
                (true, true) => ("it is removed", Outcome::Repaired),
                (true, false) => ("it is of no use to anybody, and can be removed", Outcome::Repairable),
                (false, _) => {
                    ("nothing of ours looks at it: remove it, unless you know what it is for", Outcome::ForPeople)
                }
            };
            self.tell(Finding {
                kind: FindingKind::Leftover,
                place: path,
                backend: None,
                job_id: None,
                problem: what.to_owned(),
                advice: advice.to_owned(),
                outcome,
            });
        }
        Ok(())
    }
}

/// The finding with what has become of it.
fn outcome_of(mended: Result<String, StorageError>, finding: Finding) -> Finding {
    match mended {
        Ok(done) => Finding { advice: done, outcome: Outcome::Repaired, ..finding },
        Err(error) => {
            Finding { advice: format!("it could not be mended: {error}"), outcome: Outcome::RepairFailed, ..finding }
        }
    }
}

fn says_the_same(one: &Document, other: &Document) -> bool {
    let value = |document: &Document| serde_json::from_slice::<serde_json::Value>(document.text()).ok();
    one == other || value(one).is_some_and(|one| Some(one) == value(other))
}
