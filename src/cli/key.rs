//! `qspool key`: the key that signs configurations and results.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use rand::TryRng;
use rand::rngs::SysRng;
use zeroize::Zeroizing;

use super::args::ConfigArguments;
use super::failure::{Exit, Failure};
use super::output;
use super::signing::{SigningKey, read_key, require_signing_key};
use crate::config::Config;
use crate::job::KeyId;
use crate::secret::SecretFile;
use crate::signing::PrivateKey;

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make a new key, and store it in a file that only its owner can read.
    New(NewArguments),
    /// Print the public key as a JWK, for those who want to verify what this one signs.
    Public(WhichArguments),
    /// Say which key signs here.
    Show(ShowArguments),
}

#[derive(Debug, Args)]
pub(super) struct NewArguments {
    /// The id of the key. It becomes part of every signed document, and the name of the public key in storages.
    #[arg(long, value_name = "NAME")]
    kid: KeyId,
    /// Where to store the key; a file that is there is never replaced [default: `signing.key_file`].
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print the key instead, in the form of `PRIVATE_JWK_STR`: whoever sees it can sign.
    #[arg(long, conflicts_with = "file")]
    print: bool,
    #[command(flatten)]
    config: ConfigArguments,
}

#[derive(Debug, Args)]
pub(super) struct WhichArguments {
    /// The file with the private key [default: the key of the configuration].
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArguments,
}

#[derive(Debug, Args)]
pub(super) struct ShowArguments {
    #[command(flatten)]
    which: WhichArguments,
    /// Print the private key and nothing else, in the form of `PRIVATE_JWK_STR`: whoever sees it can sign.
    #[arg(long)]
    private: bool,
}

pub(super) fn run(command: KeyCommand) -> Result<(), Failure> {
    match command {
        KeyCommand::New(arguments) => new(arguments),
        KeyCommand::Public(arguments) => public(&arguments),
        KeyCommand::Show(arguments) => show(&arguments),
    }
}

fn new(arguments: NewArguments) -> Result<(), Failure> {
    let NewArguments { kid, file, print, config } = arguments;
    if print {
        output::print(generate(&kid)?.to_text().expose())?;
        return Ok(());
    }
    let path = match file {
        Some(path) => path,
        None => Config::read(config.config.as_deref())?.signing.key_file.ok_or_else(|| {
            Failure::new(Exit::Usage, "no file for the key")
                .hint("--file FILE names one, signing.key_file of the configuration another; --print prints the key")
        })?,
    };
    store(&path, &generate(&kid)?).map_err(|error| {
        let failure = Failure::new(Exit::Failed, format!("the key cannot be stored in {}", path.display()));
        match error.kind() {
            ErrorKind::AlreadyExists => failure.because("there is a file already, and a key may be in it").hint(
                "give another file, or move this one away; what a key has signed can only be replaced with that key",
            ),
            _ => failure.because(error),
        }
    })?;
    output::print(format!("the key {kid} is in {}", path.display()))?;
    output::note("keep a copy of it at a safe place: without it the configurations that it signs cannot be replaced");
    Ok(())
}

fn generate(kid: &KeyId) -> Result<PrivateKey, Failure> {
    let mut seed = Zeroizing::new([0; 32]);
    SysRng
        .try_fill_bytes(seed.as_mut_slice())
        .map_err(|error| Failure::new(Exit::TryAgain, "the operating system gives no randomness").because(error))?;
    Ok(PrivateKey::new(kid, &seed))
}

fn store(path: &Path, key: &PrivateKey) -> std::io::Result<()> {
    let path = std::path::absolute(path)?;
    SecretFile::at(&path)?.create(&key.to_text())
}

impl WhichArguments {
    fn key(&self) -> Result<SigningKey, Failure> {
        match &self.file {
            Some(path) => read_key(path, "--file"),
            None => require_signing_key(&Config::read(self.config.config.as_deref())?, None),
        }
    }
}

fn public(arguments: &WhichArguments) -> Result<(), Failure> {
    let document = arguments.key()?.key.public().to_document();
    output::print(String::from_utf8_lossy(document.text()))?;
    Ok(())
}

fn show(arguments: &ShowArguments) -> Result<(), Failure> {
    let SigningKey { key, origin } = arguments.which.key()?;
    if arguments.private {
        output::print(key.to_text().expose())?;
        return Ok(());
    }
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let rows = [
        row("kid", key.kid().to_owned()),
        row("kind", "Ed25519".to_owned()),
        row("public key", key.public().x()),
        row("from", origin),
    ];
    output::print(output::table(&rows))?;
    Ok(())
}
