//! Counts the experiments of a run that are done, while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::job::Progress;

/// How far a run has come. Who runs counts, and whoever has a clone may look meanwhile, from any thread.
#[derive(Debug, Clone, Default)]
pub struct ProgressCounter(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    done: AtomicU32,
    /// 0 until the run begins.
    total: AtomicU32,
}

impl ProgressCounter {
    /// The figure of this moment; none before the run has begun.
    pub fn progress(&self) -> Option<Progress> {
        let Counts { done, total } = &*self.0;
        let total = total.load(Ordering::Acquire);
        (total > 0).then(|| Progress { done: done.load(Ordering::Relaxed), total })
    }

    /// Begins to count the experiments of a run.
    pub(super) fn begin(&self, experiments: usize) {
        self.0.done.store(0, Ordering::Relaxed);
        self.0.total.store(u32::try_from(experiments).unwrap_or(u32::MAX), Ordering::Release);
    }

    /// Counts one that is done.
    pub(super) fn count_one(&self) {
        self.0.done.fetch_add(1, Ordering::Relaxed);
    }
}
