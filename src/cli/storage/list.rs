//! `qspool storage list`: which storages there are.

use clap::Args;
use serde::Serialize;

use crate::cli::args::ConfigArguments;
use crate::cli::failure::Failure;
use crate::cli::output::{self, print_table};
use crate::config::Config;
use crate::job::StorageName;

#[derive(Debug, Args)]
pub(in crate::cli) struct ListArguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Print JSON, for programs.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct ListedStorage<'a> {
    name: &'a StorageName,
    r#type: &'static str,
    place: String,
    active: bool,
    owner: &'a str,
    description: &'a str,
}

pub(in crate::cli) fn run(arguments: &ListArguments) -> Result<(), Failure> {
    let config = Config::read(arguments.config.config.as_deref())?;
    let listed = config.storages.iter().map(|(name, options)| ListedStorage {
        name,
        r#type: options.medium.type_name(),
        place: options.medium.to_string(),
        active: options.active,
        owner: &options.owner,
        description: &options.description,
    });
    let storages: Vec<ListedStorage<'_>> = listed.collect();
    if arguments.json {
        return output::print_json(&storages);
    }
    let mut rows = vec![["STORAGE", "TYPE", "ACTIVE", "OWNER", "DESCRIPTION", "PLACE"].map(String::from).to_vec()];
    rows.extend(storages.iter().map(|storage| {
        let active = if storage.active { "yes" } else { "no" };
        let [owner, description] =
            [storage.owner, storage.description].map(|text| if text.is_empty() { "-" } else { text });
        [storage.name.as_str(), storage.r#type, active, owner, description, &storage.place].map(String::from).to_vec()
    }));
    print_table(&rows)
}
