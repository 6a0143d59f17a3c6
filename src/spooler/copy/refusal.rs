//! Why a copy is not begun.

use crate::job::{Document, DocumentId, JobId, StorageName};
use crate::storage::{HeldLease, Holder, Place, Provider, StorageError};

/// Why nothing was copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyRefusal {
    /// Source and target are one storage.
    #[error("the storages {0} and {1} lie at the same place")]
    SamePlace(StorageName, StorageName),
    /// Living spoolers work on jobs of the storage.
    #[error("spoolers work on jobs of the storage {storage}: {}", list(.held))]
    Held {
        /// The storage.
        storage: StorageName,
        /// The jobs and who holds them.
        held: Vec<(JobId, String)>,
    },
    /// The storage does not take part.
    #[error("the storage {0} cannot be used: {1}")]
    Storage(StorageName, StorageError),
}

/// More holders than this are not named.
const NAMED: usize = 5;

fn list(held: &[(JobId, String)]) -> String {
    let named = held.iter().take(NAMED).map(|(job_id, holder)| format!("{job_id} is held by {holder}"));
    let named = named.collect::<Vec<_>>().join(", ");
    match held.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named}, and {more} more"),
    }
}

/// Refuses if living spoolers hold jobs; gives the leases.
pub(super) async fn leases(provider: &Provider, force: bool) -> Result<Vec<HeldLease>, CopyRefusal> {
    let failed = |error| CopyRefusal::Storage(provider.name().clone(), error);
    let leases = provider.storage().map_err(failed)?.leases().await.map_err(failed)?;
    let mut held = Vec::new();
    for HeldLease { lease, holder } in &leases {
        if let Holder::Living(holder) = holder {
            held.push((lease.job_id.clone(), holder.clone()));
        }
    }
    if held.is_empty() || force {
        Ok(leases)
    } else {
        held.sort();
        Err(CopyRefusal::Held { storage: provider.name().clone(), held })
    }
}

/// Refuses if what is written at the target is seen at the source. Beside that it shows that the target takes documents.
pub(super) async fn same_place(from: &Provider, to: &Provider) -> Result<(), CopyRefusal> {
    let (at_source, at_target) = (
        |error| CopyRefusal::Storage(from.name().clone(), error),
        |error| CopyRefusal::Storage(to.name().clone(), error),
    );
    let backend = "copy".parse().expect("four letters are a name");
    let user = "qspool".parse().expect("six letters are a name");
    let id: DocumentId = (&to.create_job_id(&backend, &user).map_err(at_target)?).into();
    let (source, target) = (from.storage().map_err(at_source)?, to.storage().map_err(at_target)?);
    target.upload(Place::Deleted, &id, &Document::from_text("{}")).await.map_err(at_target)?;
    let seen = source.exists(Place::Deleted, &id).await;
    target.delete(Place::Deleted, &id).await.map_err(at_target)?;
    if seen.map_err(at_source)? {
        return Err(CopyRefusal::SamePlace(from.name().clone(), to.name().clone()));
    }
    Ok(())
}
