//! `qspool verify`: did the backend's key sign the result, and is it as it was signed?

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::args::AllStoragesArguments;
use super::client::Client;
use super::failure::{Exit, Failure};
use super::output::{self, GOOD, styled};
use super::result::require_done;
use crate::job::JobId;
use crate::signing::{PublicKey, Verdict};

#[derive(Debug, Args)]
pub(super) struct VerifyArguments {
    /// The id of the job.
    id: JobId,
    /// A file with the public key to trust, as `qspool key public` prints it [default: the key that the backend
    /// publishes, which is as safe as the storage].
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    #[command(flatten)]
    storage: AllStoragesArguments,
}

pub(super) async fn run(arguments: VerifyArguments) -> Result<(), Failure> {
    let VerifyArguments { id, public_key, storage } = arguments;
    let trusted = public_key.as_deref().map(read).transpose()?;
    let (client, backend, status) = Client::of_job(&storage, &id).await?;
    require_done(&status, &id)?;
    let verdict = client.provider.verify_result(&backend, &id, trusted.as_ref()).await?;
    if storage.json {
        let (verdict, kid) = (verdict.to_string(), verdict.kid());
        output::print_json(&json!({ "job_id": id, "backend": backend, "verdict": verdict, "kid": kid }))?;
    }
    let why = match verdict {
        Verdict::Valid { kid } => {
            if !storage.json {
                output::print(format!("{} the result of {id} is as the key {kid} signed it", styled(GOOD, "valid:")))?;
            }
            return Ok(());
        }
        Verdict::NotSigned => "it is not signed".to_owned(),
        Verdict::UnknownKey { kid } => format!("it names the key {kid:?}, which is not in the storage"),
        Verdict::OtherKey { kid } => format!("it was signed by the key {kid:?}, which is not the one that counts here"),
        Verdict::Altered { kid } => {
            format!("it was altered: the signature is not that of the key {kid:?} over what lies there")
        }
    };
    Err(Failure::new(Exit::Failed, format!("the result of {id} is not verified")).because(why))
}

fn read(path: &Path) -> Result<PublicKey, Failure> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::new(Exit::Usage, format!("cannot read {shown}")).because(error))?;
    PublicKey::parse(&text).map_err(|error| Failure::new(Exit::Usage, format!("{shown} {error}")))
}
