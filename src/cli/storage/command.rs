//! The subcommands of `qspool storage`.

use clap::Subcommand;

use super::{check, copy, doctor, list};
use crate::cli::args::in_runtime;
use crate::cli::failure::Failure;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum StorageCommand {
    /// List the storages of the configuration.
    List(list::ListArguments),
    /// Say whether a storage can be reached, and written to.
    Check(check::CheckArguments),
    /// Copy a whole storage into another one. A copy that was interrupted is taken up by the same command.
    Copy(copy::CopyArguments),
    /// Find what does not fit together in a storage, and mend what can be mended safely.
    Doctor(doctor::DoctorArguments),
}

pub(in crate::cli) fn run(command: StorageCommand) -> Result<(), Failure> {
    match command {
        StorageCommand::List(arguments) => list::run(&arguments),
        StorageCommand::Check(arguments) => in_runtime(check::run(arguments)),
        StorageCommand::Copy(arguments) => in_runtime(copy::run(arguments)),
        StorageCommand::Doctor(arguments) => in_runtime(doctor::run(arguments)),
    }
}
