//! Eigenvectors that are found once for all jobs.

use std::hash::Hash;
use std::sync::{Arc, LazyLock};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::error::SimulationError;

/// Bytes of each kind that are kept at most.
const KEPT: u64 = 32 << 20;

/// How many are expected: so few that they are kept in one part, which a large one may fill.
const EXPECTED: usize = 32;

/// A number of bytes.
pub(crate) trait Bytes {
    fn bytes(&self) -> u64;
}

/// Values of a kind by what they are made of: those that were used last, up to 32 MiB. Larger ones are not kept.
///
/// They depend on their keys alone, so it is no matter who has made them.
pub(crate) struct EigenCache<K, V>(LazyLock<Cache<K, Arc<V>, ByBytes>>);

#[derive(Clone)]
struct ByBytes;

impl<K, V: Bytes> Weighter<K, Arc<V>> for ByBytes {
    fn weight(&self, _: &K, value: &Arc<V>) -> u64 {
        value.bytes()
    }
}

impl<K: Hash + Eq + Clone, V: Bytes> EigenCache<K, V> {
    /// None so far.
    pub(crate) const fn new() -> Self {
        Self(LazyLock::new(|| Cache::with_weighter(EXPECTED, KEPT, ByBytes)))
    }

    /// The value of `key`, made if there is none.
    ///
    /// Whoever wants it meanwhile makes it, too. If one waited for another, a core that shares in the work of the one who
    /// makes it could begin with a job that waits for the same: for itself.
    pub(crate) fn get(
        &self,
        key: &K,
        make: impl FnOnce() -> Result<V, SimulationError>,
    ) -> Result<Arc<V>, SimulationError> {
        if let Some(value) = self.0.get(key) {
            return Ok(value);
        }
        let value = Arc::new(make()?);
        self.0.insert(key.clone(), Arc::clone(&value));
        Ok(value)
    }
}
