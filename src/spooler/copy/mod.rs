//! Copies a whole storage into another one, of the same medium or not: verified, and resumable at any point.
//!
//! The order is such that a copy that ends half-way misleads nobody. Public keys come first, since signed documents
//! refer to them; then configurations, results and statuses; then the jobs that have ended; and last, one after the
//! other, those that wait. So whoever reads DONE at the target finds the result there, and no daemon of the target runs
//! a job whose status is not there yet.
//!
//! What lies at the target already is compared by its values, since some media keep these and not the bytes:
//!
//! | at both, and different | what happens |
//! |---|---|
//! | configuration | the one with the later look at the queue stays; one signed by another key is left as it is, and told |
//! | status | a final one replaces one that is not; one that is final stays, and two different ends are told |
//! | public key, result, job | the target's is left as it is, and told |
//!
//! A job that has got further at the target than at the source is passed over, and one that has ended at the source
//! since an earlier copy leaves the target's queue. A job in running whose spooler does not live goes into the queue,
//! before those that wait; how often it was started is not copied. Where a spooler died between the last move of a job and
//! its last status, that status is written at the target.

mod comparison;
mod inventory;
mod plan;
mod refusal;
mod report;
mod transfer;

pub use refusal::CopyRefusal;
pub use report::{CopyEnd, CopyProblem, CopyProgress, CopyReport, PlaceCounts};
pub use transfer::{CopyOptions, copy_storage};
