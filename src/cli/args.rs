//! The arguments, and the way from them to the exit code.

use std::ffi::OsString;
use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

#[cfg(feature = "storage-dropbox")]
use super::dropbox;
use super::failure::{Exit, Failure};
use super::output::print_failure;
use super::{
    backends, cancel, check, demo, driver, jobs, key, ports, result, run, schema, status, storage, submit, verify,
};
use crate::job::StorageName;

/// The spooler daemon that puts quantum hardware and simulators on the network.
#[derive(Debug, Parser)]
#[command(name = "qspool", version, arg_required_else_help = true, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 good, 1 unexpected or a job that failed, 2 usage, 69 storage or device out of \
                          reach, 75 try again, 78 configuration.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Work through the queues until told to stop.
    Run(run::RunArguments),
    /// Show the daemon at work: a job for each backend, on a storage of its own, with the results as charts.
    Demo(demo::DemoArguments),
    /// Check configuration, schemas and storages, and say what would run.
    Check(check::CheckArguments),
    /// List, show and check the schemas of backends.
    #[command(subcommand)]
    Schema(schema::SchemaCommand),
    /// List, check and mend storages.
    #[command(subcommand)]
    Storage(storage::StorageCommand),
    /// List the backends of the storages and whether they are operational.
    Backends(backends::BackendsArguments),
    /// Put a job into the queue of a backend.
    Submit(submit::SubmitArguments),
    /// Say what has become of a job.
    Status(status::StatusArguments),
    /// Show the result of a job.
    Result(result::ResultArguments),
    /// Check that a result was signed by the backend's key, and not altered since.
    Verify(verify::VerifyArguments),
    /// List jobs.
    Jobs(jobs::JobsArguments),
    /// Cancel a job that waits or runs.
    Cancel(cancel::CancelArguments),
    /// Make and show the key that signs configurations and results.
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Show the drivers of devices, and try them by hand.
    #[command(subcommand)]
    Driver(driver::DriverCommand),
    /// List the serial ports of this machine and what is plugged in.
    Ports(ports::PortsArguments),
    /// Prepare a storage on Dropbox.
    #[cfg(feature = "storage-dropbox")]
    #[command(subcommand)]
    Dropbox(dropbox::DropboxCommand),
}

/// What every command that reads the configuration takes.
#[derive(Debug, Clone, Args)]
pub(super) struct ConfigArguments {
    /// The configuration file [default: `QSPOOL_CONFIG`, ./qspool.toml, /etc/qspool/qspool.toml].
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

/// What every command that uses a storage takes.
#[derive(Debug, Clone, Args)]
pub(super) struct StorageArguments {
    #[command(flatten)]
    pub(super) config: ConfigArguments,
    /// The storage [default: `local`, else the first active one].
    #[arg(long, value_name = "NAME")]
    pub(super) storage: Option<StorageName>,
    /// Print JSON, for programs.
    #[arg(long)]
    pub(super) json: bool,
}

/// What every command takes that looks at all storages.
#[derive(Debug, Clone, Args)]
pub(super) struct AllStoragesArguments {
    #[command(flatten)]
    pub(super) config: ConfigArguments,
    /// Look only at this storage [default: all active ones].
    #[arg(long, value_name = "NAME")]
    pub(super) storage: Option<StorageName>,
    /// Print JSON, for programs.
    #[arg(long)]
    pub(super) json: bool,
}

/// The command line as `clap` knows it.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Runs the command that `arguments` give, and says with which code to exit.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments.command,
        Err(error) => {
            // Help and version go to stdout and are good; a closed pipe is nobody's fault.
            let _printed = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Usage as u8));
        }
    };
    let done = match command {
        Command::Run(arguments) => in_runtime(run::run(arguments)),
        Command::Demo(arguments) => in_runtime(demo::run(arguments)),
        Command::Check(arguments) => in_runtime(check::run(arguments)),
        Command::Schema(command) => schema::run(command),
        Command::Storage(command) => storage::run(command),
        Command::Backends(arguments) => in_runtime(backends::run(arguments)),
        Command::Submit(arguments) => in_runtime(submit::run(arguments)),
        Command::Status(arguments) => in_runtime(status::run(arguments)),
        Command::Result(arguments) => in_runtime(result::run(arguments)),
        Command::Verify(arguments) => in_runtime(verify::run(arguments)),
        Command::Key(command) => key::run(command),
        Command::Driver(command) => driver::run(command),
        Command::Ports(arguments) => ports::run(&arguments),
        Command::Jobs(arguments) => in_runtime(jobs::run(arguments)),
        Command::Cancel(arguments) => in_runtime(cancel::run(arguments)),
        #[cfg(feature = "storage-dropbox")]
        Command::Dropbox(command) => in_runtime(dropbox::run(command)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            print_failure(&failure);
            failure.code()
        }
    }
}

/// Runs a command to its end. What it left behind on other threads is not waited for.
pub(super) fn in_runtime(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, "cannot start").because(error))?;
    let done = runtime.block_on(command);
    runtime.shutdown_background();
    done
}
