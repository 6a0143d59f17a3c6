//! The places where documents lie.

use std::fmt;

use crate::job::BackendName;

/// A place of the wire contract. Each medium maps it to paths, collections or folders of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place<'a> {
    /// Configurations; the id is the backend's name.
    Configs,
    /// Public keys; the id is the `kid`.
    PublicKeys,
    /// Jobs that wait for a backend.
    Queued(&'a BackendName),
    /// Jobs that a spooler works on, of all backends.
    Running,
    /// Jobs of a backend that ended well.
    Finished(&'a BackendName),
    /// Jobs of all backends that ended with an error.
    Deleted,
    /// Statuses of a backend's jobs.
    Status(&'a BackendName),
    /// Results of a backend's jobs.
    Results(&'a BackendName),
}

impl Place<'_> {
    /// Whether a job lies there, and not a document about one.
    pub fn holds_jobs(&self) -> bool {
        matches!(self, Self::Queued(_) | Self::Running | Self::Finished(_) | Self::Deleted)
    }
}

/// The path of the contract for media with folders: `jobs/queued/fermions`.
impl fmt::Display for Place<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configs => formatter.write_str("backends/configs"),
            Self::PublicKeys => formatter.write_str("backends/public_keys"),
            Self::Queued(backend) => write!(formatter, "jobs/queued/{backend}"),
            Self::Running => formatter.write_str("jobs/running"),
            Self::Finished(backend) => write!(formatter, "jobs/finished/{backend}"),
            Self::Deleted => formatter.write_str("jobs/deleted"),
            Self::Status(backend) => write!(formatter, "status/{backend}"),
            Self::Results(backend) => write!(formatter, "results/{backend}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_the_paths_of_the_contract() {
        let backend = "fermions".parse().expect("a name");
        let paths = [
            (Place::Configs, "backends/configs"),
            (Place::PublicKeys, "backends/public_keys"),
            (Place::Queued(&backend), "jobs/queued/fermions"),
            (Place::Running, "jobs/running"),
            (Place::Finished(&backend), "jobs/finished/fermions"),
            (Place::Deleted, "jobs/deleted"),
            (Place::Status(&backend), "status/fermions"),
            (Place::Results(&backend), "results/fermions"),
        ];
        for (place, path) in paths {
            assert_eq!(place.to_string(), path);
        }
    }
}
