//! `qspool dropbox`: what a storage on Dropbox needs before its first use.

use std::io::{BufRead, Read};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::args::ConfigArguments;
use super::failure::{Exit, Failure};
use super::output::{self, CAUTION, GOOD, styled};
use crate::config::Config;
use crate::job::StorageName;
use crate::secret::{Secret, SecretFile};
use crate::storage::dropbox::{Authorization, SCOPES};
use crate::storage::{DropboxOptions, MediumOptions, StorageErrorKind};

#[derive(Debug, Subcommand)]
pub(super) enum DropboxCommand {
    /// Get access to an account: open the page that is printed, agree, and type in the code that it shows.
    ///
    /// The code becomes a refresh token, which is tried out and then stored where the configuration says. It is never
    /// printed.
    Authorize(AuthorizeArguments),
}

#[derive(Debug, Args)]
pub(super) struct AuthorizeArguments {
    /// The key of the app [default: that of the storage].
    #[arg(long, value_name = "KEY")]
    app_key: Option<String>,
    #[command(flatten)]
    config: ConfigArguments,
    /// The storage [default: the only one of type dropbox].
    #[arg(long, value_name = "NAME")]
    storage: Option<StorageName>,
    /// Use the secret of the app: that of the storage, else one that is asked for. The refresh token then works with
    /// the secret only, as programs of sqooler use it.
    #[arg(long)]
    with_secret: bool,
    /// Where to store the refresh token [default: the storage's `refresh_token_file`].
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// One base URL in place of the hosts of Dropbox [default: that of the storage].
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
}

/// The page on which an app is given scopes.
const CONSOLE: &str = "https://www.dropbox.com/developers/apps";

/// The longest line that is read: codes and secrets are far shorter.
const LONGEST_LINE: u64 = 4096;

pub(super) async fn run(command: DropboxCommand) -> Result<(), Failure> {
    match command {
        DropboxCommand::Authorize(arguments) => authorize(arguments).await,
    }
}

async fn authorize(arguments: AuthorizeArguments) -> Result<(), Failure> {
    let AuthorizeArguments { app_key, config, storage, with_secret, token_file, endpoint } = arguments;
    let config = Config::read(config.config.as_deref())?;
    let (name, mut options) = choose(&config, storage, app_key)?;
    options.endpoint = endpoint.or(options.endpoint);
    let file = target(&name, &options, token_file)?;
    if with_secret && options.app_secret.is_none() && options.app_secret_file.is_none() {
        output::note("The secret of the app, in one line:");
        options.app_secret = Some(read_line("secret")?);
    }
    let notes = notes(&name, &options, &file, with_secret, &config);

    let authorization = Authorization::begin(name, options, with_secret)?;
    output::note("Open this page, log in, and agree:");
    output::print(authorization.url())?;
    output::note("The code that the page shows, in one line:");
    let code = read_line("code")?;
    let grant = authorization.exchange(&code).await.map_err(|error| match error.kind() {
        StorageErrorKind::Refused => Failure::new(Exit::Usage, error.to_string()),
        _ => error.into(),
    })?;
    let missing = grant.missing_scopes();
    if !missing.is_empty() {
        let what = format!("the app is not allowed {}; nothing was stored", missing.join(", "));
        return Err(Failure::new(Exit::Configuration, what).hint(scope_hint()));
    }
    let email = grant.check().await.map_err(|error| {
        let is_denied = error.kind() == StorageErrorKind::Denied;
        let failure = Failure::from(error).because("nothing was stored");
        if is_denied { failure.hint(scope_hint()) } else { failure }
    })?;
    file.store(grant.refresh_token()).map_err(|error| {
        let what = format!("the refresh token cannot be stored in {}", file.path().display());
        Failure::new(Exit::Failed, what).because(error)
    })?;
    let good = styled(GOOD, "good:");
    output::print(format!("{good} {}", SCOPES.join(", ")))?;
    output::print(format!("{good} the account of {email}"))?;
    output::print(format!("{good} the refresh token is in {}", file.path().display()))?;
    notes.iter().for_each(|text| output::note(format!("{} {text}", styled(CAUTION, "note:"))));
    Ok(())
}

fn scope_hint() -> String {
    format!(
        "allow it on the page Permissions of the app at {CONSOLE}, submit, and authorize anew: old codes do not count"
    )
}

/// The storage that is meant, and how to reach it.
fn choose(
    config: &Config,
    name: Option<StorageName>,
    app_key: Option<String>,
) -> Result<(StorageName, DropboxOptions), Failure> {
    let mut of_dropbox = config.storages.iter().filter_map(|(name, storage)| match &storage.medium {
        MediumOptions::Dropbox(options) => Some((name, options)),
        _ => None,
    });
    let found = match name {
        Some(name) => Some(
            of_dropbox
                .find(|(found, _)| **found == name)
                .ok_or_else(|| Failure::new(Exit::Usage, format!("there is no storage {name} of type dropbox")))?,
        ),
        None => {
            let first = of_dropbox.next();
            if of_dropbox.next().is_some() {
                let what = "there are several storages of type dropbox";
                return Err(Failure::new(Exit::Usage, what).hint("--storage chooses one of them"));
            }
            first
        }
    };
    match (found, app_key) {
        (Some((name, options)), app_key) => {
            let mut options = options.clone();
            options.app_key = app_key.unwrap_or(options.app_key);
            Ok((name.clone(), options))
        }
        (None, Some(app_key)) => {
            let options = serde_json::from_value(json!({ "app_key": app_key }));
            let name = "dropbox".parse().expect("seven letters are a name");
            Ok((name, options.expect("the key of the app is all that has no default")))
        }
        (None, None) => Err(Failure::new(Exit::Usage, "there is no storage of type dropbox, and no key of an app")
            .hint("configure the storage first, or give --app-key and --token-file")),
    }
}

/// Where the refresh token is to be stored; looked at before anybody has any trouble.
fn target(name: &StorageName, options: &DropboxOptions, flag: Option<PathBuf>) -> Result<SecretFile, Failure> {
    let exit = if flag.is_some() { Exit::Usage } else { Exit::Configuration };
    let Some(path) = flag.or_else(|| options.refresh_token_file.clone()) else {
        let what = "there is no file to store the refresh token in";
        return Err(Failure::new(Exit::Usage, what)
            .hint(format!("set storage.{name}.refresh_token_file, or give --token-file FILE")));
    };
    let file = std::path::absolute(&path).and_then(|path| SecretFile::at(&path));
    file.map_err(|error| {
        Failure::new(exit, format!("the refresh token cannot be stored in {}", path.display())).because(error)
    })
}

/// What has to be changed in the configuration, so that the new token works there.
fn notes(
    name: &StorageName,
    options: &DropboxOptions,
    file: &SecretFile,
    with_secret: bool,
    config: &Config,
) -> Vec<String> {
    let mut notes = Vec::new();
    let key = format!("storage.{name}");
    let configured = config.storages.get(name).and_then(|storage| match &storage.medium {
        MediumOptions::Dropbox(options) => Some(options),
        _ => None,
    });
    if configured.is_none_or(|options| options.refresh_token_file.as_deref() != Some(file.path())) {
        notes.push(format!("set {key}.refresh_token_file to this file"));
    }
    if configured.is_some_and(|options| options.refresh_token.is_some()) {
        notes.push(format!("remove {key}.refresh_token, which is an older one"));
    }
    if configured.is_none_or(|configured| configured.app_key != options.app_key) {
        notes.push(format!("set {key}.app_key to {:?}", options.app_key));
    }
    let has_secret =
        configured.is_some_and(|options| options.app_secret.is_some() || options.app_secret_file.is_some());
    match (with_secret, has_secret) {
        (true, false) => notes.push(format!("set {key}.app_secret_file: this token works with the secret only")),
        (false, true) => notes.push(format!("remove {key}.app_secret: this token works without the secret")),
        _ => {}
    }
    notes
}

/// Reads one line of the standard input.
fn read_line(what: &str) -> Result<Secret, Failure> {
    let mut line = String::new();
    let read = std::io::stdin().lock().take(LONGEST_LINE).read_line(&mut line);
    // Where a person is not sure what was copied, blanks are around it.
    match (read, line.trim()) {
        (Err(error), _) => Err(Failure::new(Exit::Usage, format!("the {what} cannot be read")).because(error)),
        (Ok(_), "") => Err(Failure::new(Exit::Usage, format!("no {what} came on the standard input"))),
        (Ok(_), line) => Ok(line.to_owned().into()),
    }
}
