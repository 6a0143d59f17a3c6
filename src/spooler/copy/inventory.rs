//! What lies in a storage.

use std::collections::{HashMap, HashSet};

use futures::{StreamExt, TryStreamExt, stream};

use crate::job::{BackendName, DocumentId};
use crate::storage::{Place, Storage, StorageError};

/// How many listings, or documents, are under way at the same time.
pub(super) const IN_FLIGHT: usize = 8;

/// The places of a storage, in the order in which they are copied; running and the queues come last.
pub(super) fn places(backends: &[BackendName]) -> Vec<Place<'_>> {
    let of_each = |place: fn(&BackendName) -> Place<'_>| backends.iter().map(place);
    let mut places = vec![Place::PublicKeys, Place::Configs];
    places.extend(of_each(|backend| Place::Results(backend)));
    places.extend(of_each(|backend| Place::Status(backend)));
    places.push(Place::Deleted);
    places.extend(of_each(|backend| Place::Finished(backend)));
    places.push(Place::Running);
    places.extend(of_each(|backend| Place::Queued(backend)));
    places
}

async fn list<'a>(storage: &dyn Storage, place: Place<'a>) -> Result<(Place<'a>, Vec<DocumentId>), StorageError> {
    Ok((place, storage.list(place).await?))
}

/// The ids at every place, first come first.
pub(super) struct Inventory<'a>(HashMap<Place<'a>, Vec<DocumentId>>);

impl<'a> Inventory<'a> {
    pub(super) async fn take(storage: &dyn Storage, backends: &'a [BackendName]) -> Result<Self, StorageError> {
        let lists: Vec<_> = places(backends).into_iter().map(|place| list(storage, place)).collect();
        let lists = stream::iter(lists).buffer_unordered(IN_FLIGHT);
        Ok(Self(lists.try_collect().await?))
    }

    /// The ids at a place.
    pub(super) fn ids<'b>(&'b self, place: Place<'b>) -> &'b [DocumentId] {
        self.0.get(&place).map_or(&[], Vec::as_slice)
    }

    /// How many documents lie here that `earlier` has not at the same place.
    pub(super) fn count_new(&self, earlier: &Self) -> usize {
        let new = |(place, ids): (&Place<'a>, &Vec<DocumentId>)| {
            let known: HashSet<_> = earlier.ids(*place).iter().collect();
            ids.iter().filter(|id| !known.contains(id)).count()
        };
        self.0.iter().map(new).sum()
    }
}

/// The same for looking up.
pub(super) struct Index<'a> {
    at: HashMap<Place<'a>, HashSet<DocumentId>>,
    /// Where each job lies; if it lies at several places, the one that is furthest on.
    jobs: HashMap<DocumentId, Place<'a>>,
}

impl<'a> Index<'a> {
    pub(super) fn new(inventory: &Inventory<'a>, backends: &'a [BackendName]) -> Self {
        let mut jobs = HashMap::new();
        let ways = backends.iter().map(Place::Queued).chain([Place::Running]);
        let ends = [Place::Deleted].into_iter().chain(backends.iter().map(Place::Finished));
        for place in ways.chain(ends) {
            jobs.extend(inventory.ids(place).iter().map(|id| (id.clone(), place)));
        }
        let at = inventory.0.iter().map(|(place, ids)| (*place, ids.iter().cloned().collect())).collect();
        Self { at, jobs }
    }

    pub(super) fn has(&self, place: Place<'_>, id: &DocumentId) -> bool {
        self.at.get(&place).is_some_and(|ids| ids.contains(id))
    }

    pub(super) fn job(&self, id: &DocumentId) -> Option<Place<'a>> {
        self.jobs.get(id).copied()
    }
}
