//! What a board is doing.

/// What a board is doing. The firmwares number these differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// Nothing; also after a run that has ended.
    Stopped,
    /// It has been told to run.
    Starting,
    /// It runs its table, or waits for a trigger.
    Running,
    /// It has been told to abort.
    Aborting,
    /// It was aborted.
    Aborted,
    /// Its run is ending.
    Stopping,
}

impl RunState {
    /// Whether the board takes commands that change something.
    pub fn is_idle(self) -> bool {
        matches!(self, Self::Stopped | Self::Aborted)
    }
}
