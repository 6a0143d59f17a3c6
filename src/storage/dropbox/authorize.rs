//! How this program is given access to an account: a person agrees on a page, and the code from there becomes a refresh
//! token.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRng;
use rand::rngs::SysRng;
use reqwest::{StatusCode, Url};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::client::{Client, Style};
use super::clock::ServerClock;
use super::error::CallError;
use super::exchange::{Patience, send};
use super::hosts::{Hosts, http_client};
use super::paths;
use super::routes::Mode;
use crate::job::StorageName;
use crate::secret::Secret;
use crate::storage::secret_key::SecretKey;
use crate::storage::{DropboxOptions, StorageError, StorageErrorKind};

/// What the app has to be allowed, as the service calls it.
pub const SCOPES: [&str; 4] = ["account_info.read", "files.metadata.read", "files.content.read", "files.content.write"];

/// Random bytes of the verifier: 43 characters.
const VERIFIER_BYTES: usize = 32;

/// How the service learns that the code comes back from where its page was asked for.
enum Proof {
    /// By the text whose hash was part of the page's URL (RFC 7636).
    Verifier(Secret),
    /// By the secret of the app.
    AppSecret(Secret),
}

/// An authorization on its way: a page to open, and then the code that it shows.
pub struct Authorization {
    storage: StorageName,
    options: DropboxOptions,
    hosts: Hosts,
    /// Where a person agrees, without what is asked there.
    page: Url,
    proof: Proof,
}

/// What an authorization has given. It is worth nothing before it was checked.
#[derive(Debug)]
pub struct Grant {
    storage: StorageName,
    options: DropboxOptions,
    refresh_token: Secret,
    scopes: BTreeSet<String>,
}

impl Authorization {
    /// Begins to authorize the app that the options of a storage name.
    ///
    /// `with_secret`: prove the origin of the code by the secret of the app; the refresh token is then used with that
    /// secret only. Otherwise no secret is needed, now or later.
    ///
    /// # Errors
    ///
    /// `Denied` where the secret is needed and missing, or the endpoint is not allowed; the message names the key.
    pub fn begin(storage: StorageName, options: DropboxOptions, with_secret: bool) -> Result<Self, StorageError> {
        let hosts = Hosts::of(&storage, &options)?;
        let base = if options.endpoint.is_some() { &hosts.api } else { "https://www.dropbox.com" };
        let page = Url::parse(&format!("{base}/oauth2/authorize")).map_err(|error| {
            let what = format!("storage.{storage}.endpoint is no URL");
            StorageError::new(StorageErrorKind::Denied, what).caused_by(error)
        })?;
        let (value, file) = (options.app_secret.as_ref(), options.app_secret_file.as_ref());
        let proof = if with_secret {
            Proof::AppSecret(SecretKey { storage: &storage, key: "app_secret", value, file }.require()?)
        } else {
            let mut bytes = [0; VERIFIER_BYTES];
            SysRng.try_fill_bytes(&mut bytes).map_err(|error| {
                let what = "cannot make a verifier: this machine gives no random numbers";
                StorageError::new(StorageErrorKind::Unavailable, what).caused_by(error)
            })?;
            Proof::Verifier(URL_SAFE_NO_PAD.encode(bytes).into())
        };
        Ok(Self { storage, options, hosts, page, proof })
    }

    /// The page to open. It shows a code to whoever agrees there.
    pub fn url(&self) -> String {
        let scopes = SCOPES.join(" ");
        let mut fields = vec![
            ("client_id", self.options.app_key.as_str()),
            ("response_type", "code"),
            ("token_access_type", "offline"),
            ("scope", &scopes),
        ];
        let challenge = match &self.proof {
            Proof::Verifier(verifier) => URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.expose())),
            Proof::AppSecret(_) => String::new(),
        };
        if !challenge.is_empty() {
            fields.extend([("code_challenge", challenge.as_str()), ("code_challenge_method", "S256")]);
        }
        let mut url = self.page.clone();
        url.query_pairs_mut().extend_pairs(fields);
        // A plus is a blank in forms alone; one of the texts themselves has been escaped.
        url.as_str().replace('+', "%20")
    }

    /// Gives the code for a refresh token.
    ///
    /// # Errors
    ///
    /// `Refused` where the code is not good or gives no refresh token, `Denied` where the app is not known by this key
    /// or secret, `Unavailable` where the service does not answer.
    pub async fn exchange(self, code: &Secret) -> Result<Grant, StorageError> {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code.expose()),
            ("client_id", self.options.app_key.as_str()),
        ];
        form.push(match &self.proof {
            Proof::Verifier(verifier) => ("code_verifier", verifier.expose()),
            Proof::AppSecret(secret) => ("client_secret", secret.expose()),
        });
        let answer = self.post_form(&form).await?;
        let Some(refresh_token) = answer["refresh_token"].as_str().filter(|token| !token.is_empty()) else {
            let what = "Dropbox gave no refresh token: the code is not from the page of this very URL";
            return Err(StorageError::new(StorageErrorKind::Refused, what));
        };
        let refresh_token = Secret::from(refresh_token.to_owned());
        let scopes = answer["scope"].as_str().unwrap_or_default().split_whitespace().map(ToOwned::to_owned).collect();
        let mut options = self.options;
        // The check has to go the way that the daemon will go, with what it will have.
        options.refresh_token = Some(refresh_token.clone());
        options.refresh_token_file = None;
        options.app_secret_file = None;
        options.app_secret = match self.proof {
            Proof::Verifier(_) => None,
            Proof::AppSecret(secret) => Some(secret),
        };
        Ok(Grant { storage: self.storage, options, refresh_token, scopes })
    }

    /// Sends the form until there is an answer that means something. No answer is repeated to people word by word: it
    /// may hold what it was given.
    async fn post_form(&self, form: &[(&str, &str)]) -> Result<Value, StorageError> {
        let failed = |kind, why: &str| StorageError::new(kind, format!("the code cannot be exchanged: {why}"));
        let http = http_client(&self.storage, &self.options)?;
        let url = format!("{}/oauth2/token", self.hosts.api);
        let mut patience = Patience::new(Duration::from_secs(self.options.timeout_s.into()), 0);
        let mut was_doubtful = false;
        loop {
            let request = http.post(&url).form(form).build();
            let request = request.map_err(|_why| failed(StorageErrorKind::Refused, "the form cannot be sent"))?;
            let why = match send(&http, request, patience.attempt_limit(), &ServerClock::default()).await {
                Ok(response) => {
                    let status = response.status();
                    let body = tokio::time::timeout(patience.attempt_limit(), response.bytes()).await;
                    let body = body.ok().and_then(Result::ok);
                    let answer: Option<Value> = body.and_then(|body| serde_json::from_slice(&body).ok());
                    match (status, answer) {
                        (StatusCode::OK, Some(answer)) => return Ok(answer),
                        (StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED, Some(answer)) => {
                            return Err(self.refused(&answer, was_doubtful));
                        }
                        _ => {
                            was_doubtful = true;
                            format!("Dropbox answers {status}")
                        }
                    }
                }
                Err(lost) => {
                    if let Some(why) = lost.denial(&self.storage) {
                        return Err(failed(StorageErrorKind::Denied, &why));
                    }
                    was_doubtful |= lost.doubtful;
                    lost.why
                }
            };
            if !patience.wait().await {
                return Err(failed(StorageErrorKind::Unavailable, &why));
            }
        }
    }

    fn refused(&self, answer: &Value, was_doubtful: bool) -> StorageError {
        let error = answer["error"].as_str().unwrap_or_default();
        let is_word = error.len() < 64 && error.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase());
        let error = if is_word { error } else { "unknown" };
        let key = format!("storage.{}", self.storage);
        let (kind, what) = match error {
            "invalid_grant" if was_doubtful => (
                StorageErrorKind::Refused,
                "the answer to the code was lost, and it works only once; begin anew with a new code".to_owned(),
            ),
            "invalid_grant" => (
                StorageErrorKind::Refused,
                "Dropbox does not take the code: it is wrong, or was used before, or is older than some minutes; \
                 begin anew with a new code"
                    .to_owned(),
            ),
            "invalid_client" | "invalid_client_id" | "unauthorized_client" => (
                StorageErrorKind::Denied,
                format!("{key}.app_key or app_secret is refused by Dropbox; compare both with the app's own page"),
            ),
            other => (StorageErrorKind::Denied, format!("Dropbox does not authorize this app: {other}")),
        };
        StorageError::new(kind, what)
    }
}

impl Grant {
    /// The refresh token.
    pub fn refresh_token(&self) -> &Secret {
        &self.refresh_token
    }

    /// The scopes that were not granted.
    pub fn missing_scopes(&self) -> Vec<&'static str> {
        SCOPES.into_iter().filter(|scope| !self.scopes.contains(*scope)).collect()
    }

    /// Uses each scope once, with the refresh token alone: asks for the account, and writes, looks at, reads and
    /// deletes a small file where no peer looks. Gives the e-mail address of the account.
    ///
    /// # Errors
    ///
    /// The first use that failed; of a scope that is missing after all the message names it.
    pub async fn check(&self) -> Result<String, StorageError> {
        let client = Client::new(&self.storage, &self.options)?;
        let account = client.call(Style::Read, "users/get_current_account", &Value::Null, Vec::new()).await;
        let account = account.map_err(|error| failed(error, "ask for the account", "account_info.read"))?;
        let path = format!("{}/authorize-{:016x}.txt", paths::leases(), rand::random::<u64>());
        let content = b"qspool dropbox authorize\n";
        // A name of its own, so that it may be written twice where an answer is lost.
        let written = client.upload(&path, content, Mode::Overwrite).await;
        written.map_err(|error| failed(error, "write a file", "files.content.write"))?;
        let used = use_file(&client, &path, content).await;
        let deleted = client.call(Style::Write, "files/delete_v2", &json!({ "path": path }), Vec::new()).await;
        used?;
        match deleted {
            Err(error) if !error.is_not_found() => {
                return Err(failed(error, &format!("delete {path} again"), "files.content.write"));
            }
            _ => {}
        }
        let email = account.result["email"].as_str().unwrap_or("without an address");
        Ok(email.chars().filter(|character| !character.is_control()).collect())
    }
}

async fn use_file(client: &Client, path: &str, content: &[u8]) -> Result<(), StorageError> {
    let unlike = || {
        let what = format!("the account does not hold what was just written to {path}");
        StorageError::new(StorageErrorKind::Unavailable, what)
    };
    let metadata = client.get_metadata(path).await;
    let metadata = metadata.map_err(|error| failed(error, "look at a file", "files.metadata.read"))?;
    let read = client.download(path, content.len() as u64).await;
    let (file, found) = read.map_err(|error| failed(error, "read a file", "files.content.read"))?;
    if found == content && metadata.is_some_and(|metadata| metadata.rev == file.rev) { Ok(()) } else { Err(unlike()) }
}

fn failed(error: CallError, doing: &str, scope: &str) -> StorageError {
    error.of(format!("cannot {doing}, for which the app needs {scope}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authorization(options: &str, with_secret: bool) -> Authorization {
        let options: DropboxOptions = toml::from_str(options).expect("options");
        Authorization::begin("lab".parse().expect("a name"), options, with_secret).expect("it begins")
    }

    #[test]
    fn the_page_asks_for_offline_access_and_four_scopes_by_a_challenge() {
        let first = authorization("app_key = 'a+b&c'", false);
        let Proof::Verifier(verifier) = &first.proof else { panic!("a verifier") };
        assert_eq!(verifier.expose().len(), 43);
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.expose()));
        let scopes = "account_info.read%20files.metadata.read%20files.content.read%20files.content.write";
        let expected = format!(
            "https://www.dropbox.com/oauth2/authorize?client_id=a%2Bb%26c&response_type=code&token_access_type=offline\
             &scope={scopes}&code_challenge={challenge}&code_challenge_method=S256"
        );
        assert_eq!(first.url(), expected);
        assert_ne!(authorization("app_key = 'a+b&c'", false).url(), expected, "a verifier is used once");
    }

    #[test]
    fn with_a_secret_there_is_no_challenge_and_the_secret_is_not_in_the_page() {
        let text = "app_key = 'k'\napp_secret = 'hunter2'\nendpoint = 'http://127.0.0.1:8080/'";
        let url = authorization(text, true).url();
        assert!(url.starts_with("http://127.0.0.1:8080/oauth2/authorize?client_id=k&"), "{url}");
        assert!(!url.contains("challenge") && !url.contains("hunter2"), "{url}");
    }
}
