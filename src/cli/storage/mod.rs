//! `qspool storage`: what concerns whole storages, and not single jobs.

mod check;
mod command;
mod copy;
mod doctor;
mod list;

pub(super) use check::Look;
pub(super) use command::{StorageCommand, run};
