//! `qspool schema`: the schemas of backends.

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
use crate::schema::BackendSchema;
use crate::simulator::{SIMULATORS, simulator};

#[derive(Debug, Subcommand)]
pub(super) enum SchemaCommand {
    /// List the schemas at hand: those that the program brings, and those of the configured directory.
    List(ListArguments),
    /// Print a schema.
    Show(ShowArguments),
    /// Check the file of a schema, and say what a backend with it would publish.
    Check(CheckArguments),
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

pub(super) fn run(command: SchemaCommand) -> Result<(), Failure> {
    match command {
        SchemaCommand::List(arguments) => list(&arguments),
        SchemaCommand::Show(arguments) => show(&arguments),
        SchemaCommand::Check(arguments) => check(&arguments.file),
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
