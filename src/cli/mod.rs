//! The command line: one file per subcommand. It composes the other rooms, and only it prints.

mod args;
mod backends;
mod cancel;
mod chart;
mod check;
mod client;
mod demo;
mod driver;
#[cfg(feature = "storage-dropbox")]
mod dropbox;
mod failure;
mod jobs;
mod key;
mod outcome;
mod output;
mod plan;
mod ports;
mod result;
mod run;
mod schema;
mod signing;
mod status;
mod storage;
mod submit;
mod verify;
mod wait;

pub use args::{command, main};
