//! `qspool driver`: the drivers of the configuration, and one experiment by hand.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand};
use qspool_driver::{Deadline, Driver, DriverError, ErrorClass, Identity, RunControl, RunEnd, SafeState};
use qspool_driver::{Instruction, Outcome, Program, WireOrder};
use serde::Deserialize;
use serde_json::{Value, json};

use super::args::ConfigArguments;
use super::failure::{Exit, Failure};
use super::outcome::{self, ShownResult};
use super::output::{self, GOOD, styled};
use super::plan;
use crate::backend::DriverOptions;
use crate::backend::device::{LineOptions, Listener};
use crate::config::Config;
use crate::job::{DriverName, NameError};

#[derive(Debug, Subcommand)]
pub(super) enum DriverCommand {
    /// List the drivers of the configuration.
    List(ListArguments),
    /// Say what a device can do by its settings; the device is not touched.
    Check(NamedArguments),
    /// Ask a device who it is. No output changes.
    Identify(NamedArguments),
    /// Run one experiment by hand, show what is said to the device and what it answers, and leave it safe.
    Try(TryArguments),
}

#[derive(Debug, Args)]
pub(super) struct ListArguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Print JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// A driver of the configuration, or the file of a device that speaks lines.
#[derive(Debug, Clone)]
enum Chosen {
    Name(DriverName),
    File(PathBuf),
}

impl FromStr for Chosen {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.contains(['/', '.']) { Ok(Self::File(text.into())) } else { text.parse().map(Self::Name) }
    }
}

/// Which driver is meant.
#[derive(Debug, Args)]
pub(super) struct DriverArguments {
    /// The driver: its name in the configuration, or the TOML file of a device that speaks lines.
    #[arg(value_name = "NAME|FILE.toml")]
    driver: Chosen,
    /// Where the device of a file is; `sim:` is the one that the file simulates.
    #[arg(long, value_name = "PORT", default_value = "sim:")]
    port: String,
    #[command(flatten)]
    config: ConfigArguments,
}

#[derive(Debug, Args)]
pub(super) struct NamedArguments {
    #[command(flatten)]
    which: DriverArguments,
    /// Print JSON, for programs.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct TryArguments {
    #[command(flatten)]
    which: DriverArguments,
    /// The file with a job; its first experiment is run, whatever a backend would say to it.
    #[arg(value_name = "JOB.json")]
    job: PathBuf,
    /// Leave out what is said to the device and what it answers.
    #[arg(long)]
    quiet: bool,
}

/// How long a request may take. Whoever tries something by hand waits a little longer than the daemon.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn run(command: DriverCommand) -> Result<(), Failure> {
    match command {
        DriverCommand::List(arguments) => list(&arguments),
        DriverCommand::Check(arguments) => check(&arguments),
        DriverCommand::Identify(arguments) => identify(&arguments),
        DriverCommand::Try(arguments) => try_out(&arguments),
    }
}

fn list(arguments: &ListArguments) -> Result<(), Failure> {
    let config = Config::read(arguments.config.config.as_deref())?;
    let backends = plan::backends(&config, &plan::schemas(&config)?);
    let backends_of = |driver: &DriverName| -> Vec<String> {
        let of_driver = backends.iter().filter(|(_, options)| options.driver.as_ref() == Some(driver));
        of_driver.map(|(name, _)| name.to_string()).collect()
    };
    if arguments.json {
        let rows = config
            .drivers
            .iter()
            .map(|(name, options)| json!({ "name": name, "type": options.type_name(), "backends": backends_of(name) }));
        return output::print_json(&rows.collect::<Vec<_>>());
    }
    if config.drivers.is_empty() {
        output::note("no driver is configured; docs/drivers.md tells how to add one");
        return Ok(());
    }
    let head = ["DRIVER", "TYPE", "BACKENDS"].map(ToOwned::to_owned).to_vec();
    let rows = config
        .drivers
        .iter()
        .map(|(name, options)| vec![name.to_string(), options.type_name().to_owned(), backends_of(name).join(", ")]);
    output::print_table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}

impl DriverArguments {
    /// The driver, whose device was not touched yet.
    fn make(&self, listener: Option<Listener>) -> Result<Box<dyn Driver>, Failure> {
        let made = match &self.driver {
            Chosen::File(file) => {
                let options = DriverOptions::Line(LineOptions { file: file.clone(), port: self.port.clone() });
                options.make(&file.display().to_string(), listener)
            }
            Chosen::Name(name) => {
                let config = Config::read(self.config.config.as_deref())?;
                let options = config.drivers.get(name).ok_or_else(|| {
                    let known: Vec<String> = config.drivers.keys().map(ToString::to_string).collect();
                    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                    Failure::new(Exit::Usage, format!("there is no driver {name}; there are: {known}"))
                })?;
                options.make(name.as_str(), listener)
            }
        };
        made.map_err(|error| failed("the driver cannot be used", &error))
    }
}

fn failed(what: &str, error: &DriverError) -> Failure {
    let exit = match error.class() {
        ErrorClass::Job => Exit::Failed,
        ErrorClass::Retry => Exit::TryAgain,
        ErrorClass::Device => Exit::Unavailable,
        ErrorClass::Configuration => Exit::Configuration,
    };
    Failure::new(exit, what).because(error)
}

fn check(arguments: &NamedArguments) -> Result<(), Failure> {
    let can = arguments.which.make(None)?.capabilities();
    let stop = format!("{:?}", can.stop);
    if arguments.json {
        return output::print_json(&json!({
            "instructions": can.instructions, "num_wires": can.num_wires,
            "max_shots": can.max_shots, "largest_value": can.largest_value, "stop": stop,
            "calibration": can.calibration,
        }));
    }
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    output::print(output::table(&[
        row("instructions", can.instructions.join(", ")),
        row("wires", can.num_wires.to_string()),
        row("shots", format!("1 to {}", can.max_shots)),
        row("values", format!("0 to {}", can.largest_value)),
        row("stops", stop),
        row("calibration", can.calibration.unwrap_or_else(|| "-".to_owned())),
    ]))
}

fn identify(arguments: &NamedArguments) -> Result<(), Failure> {
    let mut driver = arguments.which.make(None)?;
    let identity = driver.identify(Deadline::after(PATIENCE)).map_err(|error| failed("no device", &error));
    driver.close();
    let Identity { vendor, model, serial, firmware, is_simulated } = identity?;
    if arguments.json {
        return output::print_json(&json!({
            "vendor": vendor, "model": model, "serial": serial, "firmware": firmware, "simulated": is_simulated,
        }));
    }
    let or_none = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    let row = |name: &str, value: String| vec![name.to_owned(), or_none(value)];
    output::print(output::table(&[
        row("vendor", vendor),
        row("model", model),
        row("serial", serial),
        row("firmware", firmware),
        row("simulated", if is_simulated { "yes" } else { "no" }.to_owned()),
    ]))
}

fn try_out(arguments: &TryArguments) -> Result<(), Failure> {
    let (name, program) = read_experiment(&arguments.job)?;
    let listener: Option<Listener> = if arguments.quiet { None } else { Some(Box::new(|said| output::note(said))) };
    let mut driver = arguments.which.make(listener)?;
    driver.validate(&program).map_err(|problem| {
        Failure::new(Exit::Usage, format!("{} is not for this device", arguments.job.display()))
            .because(format!("{name}: {problem}"))
    })?;
    let ran = run_experiment(&mut *driver, &program);
    let safe = driver.safe_state(Deadline::after(PATIENCE));
    driver.close();
    match safe {
        Ok(SafeState { read_back }) => output::note(format!("{} {}", styled(GOOD, "safe:"), read_back.join("; "))),
        Err(error) => {
            output::note(failed("the device could not be made safe; its outputs may be on", &error).one_line());
        }
    }
    let outcome = ran.map_err(|error| failed("the experiment failed", &error))?;
    output::print(outcome::show(&ShownResult::of_outcome(&name, &outcome)))
}

fn run_experiment(driver: &mut dyn Driver, program: &Program) -> Result<Outcome, DriverError> {
    let identity = driver.identify(Deadline::after(PATIENCE))?;
    output::note(format!("{} {} {}", identity.model, identity.serial, identity.firmware).trim_end());
    driver.configure(Deadline::after(PATIENCE))?;
    let plan = driver.prepare(program, Deadline::after(PATIENCE))?;
    let mut shots = Outcome::default();
    let control = RunControl::until(Deadline::after(plan.total.saturating_mul(2).saturating_add(PATIENCE)));
    let end = driver.run(&control, &mut shots)?;
    match end {
        RunEnd::Complete => Ok(shots),
        RunEnd::Stopped => {
            Err(DriverError::new(ErrorClass::Device, "the driver stopped its run, though nobody told it to"))
        }
    }
}

/// An experiment of a job as far as a driver needs it.
#[derive(Deserialize)]
struct Experiment {
    instructions: Vec<(String, Vec<u32>, Vec<f64>)>,
    num_wires: u32,
    shots: u32,
    #[serde(default)]
    wire_order: Option<String>,
}

/// The name and program of the first experiment of a job.
fn read_experiment(path: &Path) -> Result<(String, Program), Failure> {
    let shown = path.display();
    let bad = |why: String| Failure::new(Exit::Usage, format!("{shown} is not a job")).because(why);
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::new(Exit::Usage, format!("cannot read {shown}")).because(error))?;
    let job: serde_json::Map<String, Value> = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
    let (name, experiment) = job.into_iter().next().ok_or_else(|| bad("it holds no experiment".into()))?;
    let experiment: Experiment = serde_json::from_value(experiment).map_err(|error| bad(format!("{name}: {error}")))?;
    let instruction = |(name, wires, params)| Instruction { name, wires, params };
    let program = Program {
        instructions: experiment.instructions.into_iter().map(instruction).collect(),
        num_wires: experiment.num_wires,
        shots: experiment.shots,
        wire_order: match experiment.wire_order.as_deref() {
            Some("interleaved") => WireOrder::Interleaved,
            _ => WireOrder::Sequential,
        },
        seed: None,
    };
    Ok((name, program))
}
