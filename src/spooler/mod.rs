//! The loop: takes jobs out of queues, has them run, publishes their outcomes, and loses none.
//!
//! Only this room moves a job. Every claimed job is a task of its own that brings the job to its end, whatever happens:
//!
//! ```text
//! queued → claim → read → validate → run → store result → move → write status → release
//! ```

mod cancel;
mod copy;
mod doctor;
mod feeder;
mod keeper;
mod options;
mod publish;
mod rescue;
mod retention;
mod retry;
mod run;
mod settle;
#[expect(clippy::module_inception, reason = "the type that gives the room its name")]
mod spooler;
mod unleased;
mod work;

pub use cancel::{Cancellation, cancel};
pub use copy::{CopyEnd, CopyOptions, CopyProblem, CopyProgress, CopyRefusal, CopyReport, PlaceCounts, copy_storage};
pub use doctor::{Examination, Finding, FindingKind, Outcome, examine};
pub use options::SpoolerOptions;
pub use retention::{Swept, sweep};
pub use spooler::{Plan, ServedBackend, Source, Spooler};
