//! What is to be copied, and in which order.

use std::collections::{HashMap, HashSet};

use super::inventory::{Inventory, places};
use crate::job::{BackendName, DocumentId, Status};
use crate::storage::{HeldLease, Holder, Place};

/// The ids of the jobs that living spoolers hold, with the holders.
pub(super) fn held(leases: &[HeldLease]) -> HashMap<&str, &str> {
    let mut held = HashMap::new();
    for HeldLease { lease, holder } in leases {
        if let Holder::Living(holder) = holder {
            held.insert(lease.job_id.as_str(), holder.as_str());
        }
    }
    held
}

/// The statuses of jobs that have ended, but whose spooler died before it wrote that. Their leases, which would tell
/// the next spooler, are not copied.
pub(super) fn half_told_ends(inventory: &Inventory<'_>, leases: &[HeldLease]) -> HashMap<DocumentId, Status> {
    let deleted: HashSet<_> = inventory.ids(Place::Deleted).iter().collect();
    let mut ends = HashMap::new();
    for HeldLease { lease, holder } in leases {
        let id = DocumentId::from(&lease.job_id);
        let has_result = || inventory.ids(Place::Results(&lease.backend)).contains(&id);
        let end = match &lease.record.verdict {
            _ if matches!(holder, Holder::Living(_)) => None,
            Some(verdict) => deleted.contains(&id).then(|| verdict.clone()),
            None if inventory.ids(Place::Finished(&lease.backend)).contains(&id) && has_result() => {
                Some(Status::done(&lease.job_id))
            }
            None => None,
        };
        ends.extend(end.map(|status| (id, status)));
    }
    ends
}

/// One document and its way.
#[derive(Clone, Copy)]
pub(super) struct Item<'a> {
    pub(super) id: &'a DocumentId,
    pub(super) from: Place<'a>,
    pub(super) to: Place<'a>,
}

/// What is to be copied, in order.
pub(super) struct Plan<'a> {
    pub(super) places: Vec<(Place<'a>, usize)>,
    /// Place after place; the documents of each in any order.
    pub(super) documents: Vec<Vec<Item<'a>>>,
    /// The queues of the backends, each in its order.
    pub(super) queues: Vec<Vec<Item<'a>>>,
    /// Jobs in running that go nowhere, and why.
    pub(super) left: Vec<(Item<'a>, String)>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(inventory: &'a Inventory<'a>, backends: &'a [BackendName], leases: &[HeldLease]) -> Self {
        let places = places(backends);
        let items = |from: Place<'a>, to: Place<'a>| inventory.ids(from).iter().map(move |id| Item { id, from, to });
        let is_queue = |place: &Place<'_>| matches!(place, Place::Running | Place::Queued(_));
        let documents =
            places.iter().filter(|place| !is_queue(place)).map(|place| items(*place, *place).collect()).collect();
        let mut queues: HashMap<&BackendName, Vec<Item<'a>>> = HashMap::new();
        let mut left = Vec::new();
        let held = held(leases);
        for item in items(Place::Running, Place::Running) {
            let leased = leases.iter().find(|held| held.lease.job_id.as_str() == item.id.as_str());
            let of_lease = leased.and_then(|held| backends.iter().find(|name| **name == held.lease.backend));
            let has_status = |name: &&BackendName| inventory.ids(Place::Status(name)).contains(item.id);
            match (held.get(item.id.as_str()), of_lease.or_else(|| backends.iter().find(has_status))) {
                (Some(holder), _) => left.push((item, format!("{holder} works on it"))),
                (None, Some(backend)) => {
                    queues.entry(backend).or_default().push(Item { to: Place::Queued(backend), ..item });
                }
                (None, None) => left.push((item, "it runs, and no status tells for which backend".to_owned())),
            }
        }
        for backend in backends {
            queues.entry(backend).or_default().extend(items(Place::Queued(backend), Place::Queued(backend)));
        }
        let queues = backends.iter().filter_map(|backend| queues.remove(backend)).collect();
        let places = places.into_iter().map(|place| (place, inventory.ids(place).len())).collect();
        Self { places, documents, queues, left }
    }

    pub(super) fn items(&self) -> impl Iterator<Item = &Item<'a>> {
        self.documents.iter().chain(&self.queues).flatten()
    }
}
