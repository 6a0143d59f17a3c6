//! `qspool submit`: puts a job into a queue.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::args::StorageArguments;
use super::client::Client;
use super::failure::{Exit, Failure};
use super::output::{self, CAUTION, styled};
use super::plan;
use super::result::print_result;
use super::signing::signing_key;
use super::wait::{WaitArguments, watch_to_end};
use crate::backend::BackendOptions;
use crate::job::{BackendName, Document, JobId, JobState, Status, UserName};
use crate::signing::PrivateKey;
use crate::storage::{Provider, StorageErrorKind};

#[derive(Debug, Args)]
pub(super) struct SubmitArguments {
    /// The backend that is to run the job.
    backend: BackendName,
    /// The file with the job, or - for standard input.
    #[arg(value_name = "JOB.json")]
    job: PathBuf,
    #[command(flatten)]
    waiting: WaitArguments,
    /// Who submits the job [default: `USER` of the environment]. On Dropbox it becomes part of the id.
    #[arg(long, value_name = "NAME")]
    user: Option<UserName>,
    /// Submit the job as it is, without checking it first.
    #[arg(long)]
    no_check: bool,
    #[command(flatten)]
    storage: StorageArguments,
}

pub(super) async fn run(arguments: SubmitArguments) -> Result<(), Failure> {
    let SubmitArguments { backend, job, waiting, user, no_check, storage } = arguments;
    let client = Client::open(&storage).await?;
    let text = read_job(&job, client.config.spooler.max_job_bytes())?;
    if no_check {
        check_name(&client, &backend).await?;
    } else {
        check(&client, &backend, &text, &job)?;
    }
    let user = user.unwrap_or_else(user_of_this_process);
    let key = key_of(&client, &backend)?;
    let job_id = submit(&client.provider, &backend, &user, &Document::from_text(text), key.as_deref()).await?;
    warn_if_away(&client.provider, &backend).await?;
    if !waiting.wait {
        if storage.json {
            return output::print_json(&json!({ "job_id": job_id }));
        }
        output::print(job_id.as_str())?;
        return Ok(());
    }
    let status = watch_to_end(&client.provider, &backend, &job_id, &waiting).await?;
    if status.status == JobState::Error {
        if storage.json {
            output::print_json(&status)?;
        }
        return Err(Failure::new(Exit::Failed, format!("the job {job_id} failed")).because(status.error_message));
    }
    if !storage.json {
        output::note(format!("job {job_id}"));
    }
    print_result(&client.provider, &backend, &job_id, storage.json).await
}

/// Puts a job and its first status into the storage. The status comes first, so that a reader who knows the id always
/// finds one. With the backend's key it is signed.
pub(super) async fn submit(
    provider: &Provider,
    backend: &BackendName,
    user: &UserName,
    job: &Document,
    key: Option<&PrivateKey>,
) -> Result<JobId, Failure> {
    let job_id = provider.create_job_id(backend, user)?;
    let status = Status::accepted(&job_id);
    match key {
        Some(key) => provider.upload_signed_status(backend, &job_id, &status, key).await?,
        None => provider.upload_status(backend, &job_id, &status).await?,
    }
    provider.upload_job(backend, &job_id, job).await?;
    Ok(job_id)
}

/// The key of a backend that signs, where whoever submits can read it: the first status is then signed, as in the
/// reference.
fn key_of(client: &Client, backend: &BackendName) -> Result<Option<Arc<PrivateKey>>, Failure> {
    let served = plan::backends(&client.config, &plan::schemas(&client.config)?);
    let signs = served.iter().any(|(name, options)| name == backend && options.sign);
    // Users need not be able to sign; what the daemon writes is signed all the same.
    Ok(if signs { signing_key(&client.config).ok().flatten().map(|signing| signing.key) } else { None })
}

/// The name that the environment gives, without what no user name may have in it.
pub(super) fn user_of_this_process() -> UserName {
    let mut name = std::env::var("USER").unwrap_or_default();
    name.retain(|character| character.is_ascii_alphanumeric() || character == '_');
    name.parse().unwrap_or_else(|_empty| "qspool".parse().expect("six letters are a user name"))
}

/// Says so where nobody serves the backend: the job is safe, but it waits.
async fn warn_if_away(provider: &Provider, backend: &BackendName) -> Result<(), Failure> {
    let is_served = match provider.get_backend_status(backend).await {
        Ok(status) => status.operational,
        Err(error) if error.kind() == StorageErrorKind::NotFound => false,
        Err(error) => return Err(error.into()),
    };
    if !is_served {
        let storage = provider.name();
        let text =
            format!("nobody serves {backend} at the storage {storage} now; the job waits until `qspool run` does");
        output::note(format!("{} {text}", styled(CAUTION, "note:")));
    }
    Ok(())
}

/// Reads no more than the daemon would: what has no end is too large, too.
fn read_job(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(limit + 1).read_to_end(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut text))
    };
    match read {
        Ok(size) if size as u64 > limit => {
            Err(Failure::new(Exit::Usage, format!("{} has more than the allowed {limit} bytes", shown(path))))
        }
        Ok(_) => Ok(text),
        Err(error) => Err(Failure::new(Exit::Usage, format!("cannot read {}", shown(path))).because(error)),
    }
}

fn shown(path: &Path) -> String {
    if path == Path::new("-") { "the job on standard input".to_owned() } else { path.display().to_string() }
}

/// Refuses a backend that is neither configured here nor was ever served at the storage: nobody would find the job.
async fn check_name(client: &Client, backend: &BackendName) -> Result<(), Failure> {
    let known = client.backends().await?;
    if known.contains(backend) {
        return Ok(());
    }
    let known: Vec<String> = known.iter().map(ToString::to_string).collect();
    Err(Failure::new(Exit::Usage, format!("there is no backend {backend}; there are: {}", known.join(", "))))
}

/// Refuses here what the daemon would refuse, as far as the backend's schema is known here.
fn check(client: &Client, backend: &BackendName, text: &[u8], path: &Path) -> Result<(), Failure> {
    let schemas = plan::schemas(&client.config)?;
    let served = plan::backends(&client.config, &schemas);
    let Some((_, options)) = served.iter().find(|(name, _)| name == backend) else {
        let known: Vec<String> = served.iter().map(|(name, _)| name.to_string()).collect();
        return Err(Failure::new(
            Exit::Usage,
            format!("there is no backend {backend}; there are: {}", known.join(", ")),
        )
        .hint("--no-check submits to a backend that another daemon serves"));
    };
    let options: &BackendOptions = options;
    match plan::open_backend(&client.config.drivers, backend, options, &schemas)?.prepare(text) {
        Ok(_) => Ok(()),
        Err(rejection) => {
            let failure = Failure::new(Exit::Usage, format!("{} is not a job for {backend}", shown(path)));
            Err(rejection.problems().iter().fold(failure, Failure::because))
        }
    }
}
