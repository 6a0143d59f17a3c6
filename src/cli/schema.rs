//! `qspool schema`: the schemas of backends.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::args::ConfigArguments;
use super::failure::{Exit, Failure};
use super::output::{self, GOOD, styled, table};
use super::plan;
use crate::backend::{SchemaOrigin, SchemaSet};
use crate::config::Config;
use crate::job::BackendName;
use crate::schema::{BackendSchema, Variant, builtin, variant};
use crate::simulator::{SIMULATORS, simulator};

#[derive(Debug, Subcommand)]
pub(super) enum SchemaCommand {
    /// List the schemas at hand: those that the program brings, and those of the configured directory.
    List(ListArguments),
    /// Print a schema.
    Show(ShowArguments),
    /// Check the file of a schema, and say what a backend with it would publish.
    Check(CheckArguments),
    /// Write the schema of a simulator for a device of another size, or with more gates.
    New(NewArguments),
}

#[derive(Debug, Args)]
pub(super) struct ListArguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Print JSON, for programs.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ShowArguments {
    /// The name of the schema.
    name: BackendName,
    #[command(flatten)]
    config: ConfigArguments,
}

#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    /// The file.
    file: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct NewArguments {
    /// The simulator: its own schema with the sizes below, as far as they are given.
    #[arg(value_parser = SIMULATORS.map(|(name, _)| name))]
    simulator: String,
    /// The wires of the device; those of `fermions` are modes, two per site.
    #[arg(long, value_parser = clap::value_parser!(u32).range(2..=48))]
    wires: Option<u32>,
    /// The most shots of an experiment.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    max_shots: Option<u32>,
    /// The most experiments of a job.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    max_experiments: Option<u64>,
    /// The most atoms on a wire.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_atoms: Option<u32>,
    /// The most states of a register, counted as clients do: the product of the atoms loaded, times 2 for each other wire.
    #[arg(long, value_parser = clap::value_parser!(u32).range(2..))]
    max_states: Option<u32>,
    /// Gates to add, separated by commas, with the names and signs of qiskit-cold-atom: `rly` of
    /// `singlequdit` and `multiqudit`, `OAT` of `singlequdit`, `rydberg_blockade` of `rydberg`, `fhubbard`, `frx`, `fry`, `frz` of `fermions`.
    #[arg(long, value_delimiter = ',', value_name = "GATE")]
    gates: Vec<String>,
    /// The file to write, which must not be there yet; its name is that of the schema. Without it the schema is printed.
    #[arg(long)]
    output: Option<PathBuf>,
}

pub(super) fn run(command: SchemaCommand) -> Result<(), Failure> {
    match command {
        SchemaCommand::List(arguments) => list(&arguments),
        SchemaCommand::Show(arguments) => show(&arguments),
        SchemaCommand::Check(arguments) => check(&arguments.file),
        SchemaCommand::New(arguments) => new(&arguments),
    }
}

fn at_hand(config: &ConfigArguments) -> Result<SchemaSet, Failure> {
    plan::schemas(&Config::read(config.config.as_deref())?)
}

fn list(arguments: &ListArguments) -> Result<(), Failure> {
    let schemas = at_hand(&arguments.config)?;
    let rows: Vec<Vec<String>> = schemas
        .names()
        .filter_map(|name| {
            let (origin, _) = schemas.get(name)?;
            Some(vec![name.to_string(), origin_text(origin)])
        })
        .collect();
    if arguments.json {
        let listed: Vec<_> = rows.iter().map(|row| json!({ "name": row[0], "origin": row[1] })).collect();
        return output::print_json(&listed);
    }
    output::print(table(&rows))?;
    Ok(())
}

fn origin_text(origin: &SchemaOrigin) -> String {
    match origin {
        SchemaOrigin::BuiltIn => "built in".to_owned(),
        SchemaOrigin::File(path) => path.display().to_string(),
    }
}

fn show(arguments: &ShowArguments) -> Result<(), Failure> {
    let schemas = at_hand(&arguments.config)?;
    let Some((_, text)) = schemas.get(&arguments.name) else {
        let known: Vec<String> = schemas.names().map(ToString::to_string).collect();
        let name = &arguments.name;
        return Err(Failure::new(Exit::Usage, format!("there is no schema {name}; there are: {}", known.join(", "))));
    };
    output::print(text.trim_end())?;
    Ok(())
}

fn check(file: &Path) -> Result<(), Failure> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::new(Exit::Usage, format!("cannot read {shown}")).because(error))?;
    let bad =
        |error: String| Failure::new(Exit::Configuration, format!("{shown} is not a backend's schema")).because(error);
    let schema = BackendSchema::parse(&text).map_err(|error| bad(error.to_string()))?;
    if let Some(named) = schema.simulator().filter(|named| simulator(named).is_none()) {
        let known: Vec<&str> = SIMULATORS.iter().map(|(name, _)| *name).collect();
        return Err(bad(format!("there is no simulator {named:?}; there are: {}", known.join(", "))));
    }
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let name: BackendName = stem.parse().map_err(|error| {
        Failure::new(Exit::Configuration, format!("{shown} is not named for a backend")).because(error)
    })?;
    let runs_on = schema.simulator().map_or_else(|| "on a device".to_owned(), |named| format!("simulator {named}"));
    output::note(format!("{} backend {name}, {runs_on}", styled(GOOD, "good:")));
    output::print_json(&schema.configuration(&name))
}

fn new(arguments: &NewArguments) -> Result<(), Failure> {
    let NewArguments { simulator, wires, max_shots, max_experiments, max_atoms, max_states, gates, output } = arguments;
    let changes = Variant {
        wires: *wires,
        max_shots: *max_shots,
        max_experiments: *max_experiments,
        max_atoms: *max_atoms,
        max_states: *max_states,
        gates: gates.clone(),
    };
    let bad =
        |error: String| Failure::new(Exit::Usage, format!("no schema of {simulator} is like this")).because(error);
    // The names that are taken are those of simulators, each of which has a schema.
    let (_, text) = builtin().find(|(name, _)| name == simulator).ok_or_else(|| bad("it has no schema".to_owned()))?;
    let text = variant(text, &changes).map_err(|error| bad(error.to_string()))?;
    BackendSchema::parse(&text).map_err(|error| bad(error.to_string()))?;
    let Some(path) = output else { return output::print(text) };
    write_new(path, &text)
        .map_err(|error| Failure::new(Exit::Usage, format!("cannot write {}", path.display())).because(error))?;
    output::note(format!("{} {}", styled(GOOD, "written:"), path.display()));
    Ok(())
}

/// Writes a file that is not there yet, whole or not at all.
fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // As any file that a person makes: it holds no secret.
    let mut file = tempfile::Builder::new().permissions(Permissions::from_mode(0o644)).tempfile_in(folder)?;
    writeln!(file, "{text}")?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map(drop).map_err(|error| error.error)
}
