//! How a run is told to give up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A flag that its owner raises once and a run looks at often: at least every 100 ms.
///
/// Clones share the flag. Who raised it knows why; the run only ends.
#[derive(Debug, Clone, Default)]
pub struct StopFlag(Arc<AtomicBool>);

/// The run ended early because its [`StopFlag`] was raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped;

impl StopFlag {
    /// Asks the run to end.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the run has been asked to end.
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Ends the run by `?` when it has been asked to end.
    pub fn check(&self) -> Result<(), Stopped> {
        if self.is_raised() { Err(Stopped) } else { Ok(()) }
    }
}
