//! MongoDB: a document per id in collections that the Python peers share, and leases beside them.

mod bson;
mod clock;
mod documents;
mod error;
mod leases;
mod login;
mod medium;
mod orphans;
mod places;
mod record;
mod seen;
mod server;
mod watch;

pub use medium::Mongodb;
