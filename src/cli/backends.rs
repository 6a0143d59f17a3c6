//! `qspool backends`: who serves what.

use clap::Args;
use serde::Serialize;

use super::args::StorageArguments;
use super::client::Client;
use super::failure::Failure;
use super::output::{self, print_table};
use crate::job::{BackendName, BackendStatus};

#[derive(Debug, Args)]
pub(super) struct BackendsArguments {
    #[command(flatten)]
    storage: StorageArguments,
}

#[derive(Serialize)]
struct ListedBackend {
    display_name: BackendName,
    description: String,
    #[serde(flatten)]
    status: BackendStatus,
}

pub(super) async fn run(arguments: BackendsArguments) -> Result<(), Failure> {
    let client = Client::open(&arguments.storage).await?;
    let mut backends = Vec::new();
    for name in client.provider.get_backends().await? {
        let description = client.provider.get_config(&name).await?.description;
        let status = client.provider.get_backend_status(&name).await?;
        backends.push(ListedBackend { display_name: name, description, status });
    }
    if arguments.storage.json {
        return output::print_json(&backends);
    }
    let mut rows = vec![["BACKEND", "VERSION", "STATE", "WAITING", "DESCRIPTION"].map(String::from).to_vec()];
    rows.extend(backends.iter().map(|backend| {
        let state = if backend.status.operational { "operational" } else { "away" };
        vec![
            backend.display_name.to_string(),
            backend.status.backend_version.clone(),
            state.to_owned(),
            backend.status.pending_jobs.to_string(),
            backend.description.clone(),
        ]
    }));
    if backends.is_empty() {
        output::note(format!("no backend has been served at the storage {} yet", client.provider.name()));
    } else {
        print_table(&rows)?;
    }
    Ok(())
}
