//! qspool puts quantum hardware and simulators on the network: it works through queues of jobs that lie in a storage.
//!
//! `ARCHITECTURE.md` has the map of the rooms below, what each may use, and the way of a job through them.

pub mod backend;
pub mod cli;
pub mod config;
pub mod job;
pub mod schema;
pub mod secret;
pub mod service;
pub mod signing;
pub mod simulator;
pub mod spooler;
pub mod storage;
