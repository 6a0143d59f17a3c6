//! Dropbox: the documents as files of one account, in the folders where the reference (sqooler 0.9.0) has them.

mod authorize;
mod client;
mod clock;
mod documents;
mod error;
mod exchange;
mod hosts;
mod lease_file;
mod leases;
mod medium;
mod orphans;
mod paths;
mod queues;
mod routes;
mod seen;
mod token;
mod watch;

pub use authorize::{Authorization, Grant, SCOPES};
pub use medium::Dropbox;
