//! Places and ids as paths of the account. Everything in a path is a name that was checked.

use crate::job::{BackendName, DocumentId, InstanceName, JobId, UserName};
use crate::storage::Place;

/// Below it lies all that the storage holds.
const ROOT: &str = "/Backend_files";

/// The user of documents that name none. Statuses lie there whoever the user is, since the reference (sqooler 0.9.0)
/// writes and reads them there.
const NO_USER: &str = "None";

/// The folder with the queues of all backends.
pub(super) fn queues() -> String {
    format!("{ROOT}/Queued_Jobs")
}

/// The folders that have a folder per backend.
pub(super) fn folders_by_backend() -> [String; 5] {
    ["Queued_Jobs", "Finished_Jobs", "Status", "Result", "Config"].map(|folder| format!("{ROOT}/{folder}"))
}

/// The folder below which all documents of a place lie.
pub(super) fn folder(place: Place<'_>) -> String {
    match place {
        Place::Configs => format!("{ROOT}/Config"),
        Place::PublicKeys => format!("{ROOT}/public_keys"),
        Place::Queued(backend) => format!("{ROOT}/Queued_Jobs/{backend}"),
        Place::Running => format!("{ROOT}/Running_Jobs"),
        Place::Finished(backend) => format!("{ROOT}/Finished_Jobs/{backend}"),
        Place::Deleted => format!("{ROOT}/Deleted_Jobs"),
        Place::Status(backend) => format!("{ROOT}/Status/{backend}"),
        Place::Results(backend) => format!("{ROOT}/Result/{backend}"),
    }
}

/// Whether the documents of a place lie in folders below its own.
pub(super) fn has_subfolders(place: Place<'_>) -> bool {
    matches!(place, Place::Configs | Place::Finished(_) | Place::Status(_) | Place::Results(_))
}

/// What the name of a file begins with, before the id.
fn prefix(place: Place<'_>) -> &'static str {
    match place {
        Place::Configs | Place::PublicKeys => "",
        Place::Queued(_) | Place::Running | Place::Finished(_) | Place::Deleted => "job-",
        Place::Status(_) => "status-",
        Place::Results(_) => "result-",
    }
}

/// Where a document lies.
pub(super) fn document(place: Place<'_>, id: &DocumentId) -> String {
    let (folder, prefix) = (folder(place), prefix(place));
    match place {
        Place::Configs => format!("{folder}/{id}/config.json"),
        Place::Status(_) => format!("{folder}/{NO_USER}/{prefix}{id}.json"),
        Place::Finished(_) | Place::Results(_) => match user(id) {
            Some(user) => format!("{folder}/{user}/{prefix}{id}.json"),
            None => format!("{folder}/{NO_USER}/{prefix}{id}.json"),
        },
        _ => format!("{folder}/{prefix}{id}.json"),
    }
}

/// Where a document may lie as well, if it is not at its own path: a status below its user, where it was meant to be.
pub(super) fn second_document(place: Place<'_>, id: &DocumentId) -> Option<String> {
    let Place::Status(_) = place else { return None };
    Some(format!("{}/{}/{}{id}.json", folder(place), user(id)?, prefix(place)))
}

fn user(id: &DocumentId) -> Option<UserName> {
    id.as_str().parse::<JobId>().ok()?.user()
}

/// The id of the document at `path`, as the service spells it, if a document of the place lies there.
pub(super) fn id_at(place: Place<'_>, path: &str) -> Option<DocumentId> {
    let (parent, name) = path.rsplit_once('/')?;
    if place == Place::Configs {
        let backend = parent.rsplit('/').next()?;
        return name.eq_ignore_ascii_case("config.json").then(|| backend.to_ascii_lowercase().parse().ok())?;
    }
    name.strip_prefix(prefix(place))?.strip_suffix(".json")?.parse().ok()
}

/// The backend whose queue holds the file at `path`, and the id of the job.
pub(super) fn queued_at(path: &str) -> Option<(BackendName, JobId)> {
    let mut parts = path.rsplit('/');
    let (name, backend) = (parts.next()?, parts.next()?);
    Some((backend.to_ascii_lowercase().parse().ok()?, job_in(name)?))
}

/// The job that a file's name tells of.
fn job_in(name: &str) -> Option<JobId> {
    name.strip_prefix("job-")?.strip_suffix(".json")?.parse().ok()
}

/// The folder of all leases.
pub(super) fn leases() -> String {
    format!("{ROOT}/Leases")
}

/// The file that holds the leases of an instance.
pub(super) fn instance_file(instance: &InstanceName) -> String {
    format!("{ROOT}/Leases/{instance}.json")
}

/// The folder of the jobs that an instance has on their way.
pub(super) fn instance_folder(instance: &InstanceName) -> String {
    format!("{ROOT}/Leases/{instance}")
}

/// Where an instance has a job on its way from the queue to running, or back. The backend is part of it, since not
/// every id names one.
pub(super) fn transit(instance: &InstanceName, backend: &BackendName, job: &JobId) -> String {
    format!("{ROOT}/Leases/{instance}/{backend}/job-{job}.json")
}

/// Where the record of a job lies that was put back to its queue.
pub(super) fn record(job: &JobId) -> String {
    format!("{ROOT}/Leases/record-{job}.json")
}

/// The file that tells since when jobs are seen in running.
pub(super) fn seen_running() -> String {
    format!("{ROOT}/Leases/seen-running.json")
}

/// The instance whose folder is at `path`, as the service spells it.
pub(super) fn instance_of_folder(path: &str) -> Option<InstanceName> {
    match path.split('/').collect::<Vec<_>>()[..] {
        ["", _, _, instance] => instance.parse().ok(),
        _ => None,
    }
}

/// What a file below the folder of leases is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LeaseEntry {
    /// The leases of an instance.
    Instance(InstanceName),
    /// A job on its way.
    Transit(InstanceName, BackendName, JobId),
    /// The record of a job in its queue.
    Record(JobId),
}

/// Says what the file at `path`, as the service spells it, is.
pub(super) fn lease_entry_at(path: &str) -> Option<LeaseEntry> {
    let parts: Vec<&str> = path.split('/').collect();
    match parts[..] {
        ["", _, _, name] => match name.strip_prefix("record-") {
            Some(job) => Some(LeaseEntry::Record(job.strip_suffix(".json")?.parse().ok()?)),
            None => Some(LeaseEntry::Instance(name.strip_suffix(".json")?.parse().ok()?)),
        },
        ["", _, _, instance, backend, name] => {
            Some(LeaseEntry::Transit(instance.parse().ok()?, backend.parse().ok()?, job_in(name)?))
        }
        _ => None,
    }
}

/// The name of a folder directly below another.
pub(super) fn last_part(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_lie_where_the_reference_looks_for_them() {
        let backend = "fermions".parse().expect("a name");
        let check = |place: Place<'_>, id: &str, expected: &str| {
            let id: DocumentId = id.parse().expect("an id");
            let path = document(place, &id);
            assert_eq!(path, format!("/Backend_files/{expected}"));
            assert_eq!(id_at(place, &path), Some(id), "{path}");
            assert!(path.starts_with(&folder(place)), "{path}");
        };
        let id = "20240101_120000-fermions-ada.l-0a1b2";
        check(Place::Configs, "fermions", "Config/fermions/config.json");
        check(Place::PublicKeys, "lab.key-1", "public_keys/lab.key-1.json");
        check(Place::Queued(&backend), id, &format!("Queued_Jobs/fermions/job-{id}.json"));
        check(Place::Running, id, &format!("Running_Jobs/job-{id}.json"));
        check(Place::Finished(&backend), id, &format!("Finished_Jobs/fermions/ada.l/job-{id}.json"));
        check(Place::Deleted, id, &format!("Deleted_Jobs/job-{id}.json"));
        check(Place::Status(&backend), id, &format!("Status/fermions/None/status-{id}.json"));
        check(Place::Results(&backend), id, &format!("Result/fermions/ada.l/result-{id}.json"));
        let second = second_document(Place::Status(&backend), &id.parse().expect("an id"));
        assert_eq!(second, Some(format!("/Backend_files/Status/fermions/ada.l/status-{id}.json")));
        let hex = "0123456789abcdef01234567";
        check(Place::Finished(&backend), hex, &format!("Finished_Jobs/fermions/None/job-{hex}.json"));
        check(Place::Results(&backend), hex, &format!("Result/fermions/None/result-{hex}.json"));
        assert_eq!(second_document(Place::Status(&backend), &hex.parse().expect("an id")), None);
    }

    #[test]
    fn what_is_no_document_is_passed_over() {
        let backend = "fermions".parse().expect("a name");
        for name in ["notes.txt", "job-.json", "job-a b.json", "job-a", "a.json", "status-a.json", "job-../x.json"] {
            let found = id_at(Place::Queued(&backend), &format!("/Backend_files/Queued_Jobs/fermions/{name}"));
            assert!(found.is_none() || name.contains('/'), "{name}: {found:?}");
        }
        assert_eq!(id_at(Place::Configs, "/Backend_files/Config/fermions/notes.json"), None);
        assert_eq!(queued_at("/backend_files/queued_jobs/job-a.json"), None, "queued_jobs is no name of a backend");
    }

    #[test]
    fn the_files_of_leases_are_told_apart() {
        let instance = InstanceName::new(1, 2, 3);
        let (backend, job): (BackendName, JobId) =
            ("fermions".parse().expect("a name"), "a.b-c".parse().expect("an id"));
        assert_eq!(lease_entry_at(&instance_file(&instance)), Some(LeaseEntry::Instance(instance.clone())));
        assert_eq!(lease_entry_at(&record(&job)), Some(LeaseEntry::Record(job.clone())));
        let path = transit(&instance, &backend, &job);
        assert!(path.starts_with(&instance_folder(&instance)));
        assert_eq!(lease_entry_at(&path), Some(LeaseEntry::Transit(instance, backend, job)));
        assert_eq!(lease_entry_at("/Backend_files/Leases/notes.json"), None);
        assert_eq!(lease_entry_at("/Backend_files/Leases/x/y.json"), None);
    }
}
