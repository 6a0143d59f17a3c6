//! The access token: got with the refresh token, kept in memory only, renewed before it ends.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::clock::ServerClock;
use super::error::Cause;
use super::exchange::{Patience, retry_after, send, shown};
use crate::job::StorageName;
use crate::secret::Secret;
use crate::storage::options::DropboxOptions;
use crate::storage::secret_key::SecretKey;

/// How long before its end a token is renewed, or a quarter of its life where that is shorter.
const MARGIN: Duration = Duration::from_secs(300);

/// How soon to try again when a token that still holds could not be renewed.
const RENEWAL_PAUSE: Duration = Duration::from_secs(20);

/// A token for requests.
#[derive(Clone)]
pub(super) struct AccessToken {
    text: Arc<Secret>,
    number: u64,
}

impl AccessToken {
    pub(super) fn text(&self) -> &str {
        self.text.expose()
    }
}

struct Current {
    token: AccessToken,
    renew_at: Instant,
    ends_at: Instant,
}

/// Where access tokens come from. Of all that need a new one at a time, one asks and the others wait for it.
pub(super) struct Tokens {
    storage: StorageName,
    options: DropboxOptions,
    url: String,
    current: Mutex<Option<Current>>,
}

impl Tokens {
    pub(super) fn new(storage: StorageName, options: DropboxOptions, api: &str) -> Self {
        Self { storage, options, url: format!("{api}/oauth2/token"), current: Mutex::new(None) }
    }

    /// A token that holds for the next minutes.
    pub(super) async fn current(
        &self,
        http: &Client,
        clock: &ServerClock,
        patience: &mut Patience,
    ) -> Result<AccessToken, Cause> {
        let mut current = self.current.lock().await;
        if let Some(known) = current.as_ref().filter(|known| Instant::now() < known.renew_at) {
            return Ok(known.token.clone());
        }
        match self.refresh(http, clock, patience, current.as_ref().map_or(0, |known| known.token.number)).await {
            Ok(new) => Ok(current.insert(new).token.clone()),
            Err(cause) => match current.as_mut().filter(|known| Instant::now() < known.ends_at) {
                Some(known) => {
                    tracing::warn!(storage = %self.storage, ?cause, "the access token of Dropbox could not be renewed yet");
                    known.renew_at = Instant::now() + RENEWAL_PAUSE;
                    Ok(known.token.clone())
                }
                None => Err(cause),
            },
        }
    }

    /// Notes that a token was refused, unless there is a newer one already.
    pub(super) async fn forget(&self, refused: &AccessToken) {
        let mut current = self.current.lock().await;
        if let Some(known) = current.as_mut().filter(|known| known.token.number == refused.number) {
            known.renew_at = Instant::now();
            known.ends_at = Instant::now();
        }
    }

    fn denied(&self, key: &str, why: &str) -> Cause {
        Cause::Denied(format!("storage.{}.{key} {why}", self.storage))
    }

    /// The fields of the request. The secrets are read each time, so that a file may be mended while the daemon runs.
    fn form(&self) -> Result<Vec<(&'static str, Secret)>, Cause> {
        let options = &self.options;
        let key = |key, value, file| SecretKey { storage: &self.storage, key, value, file };
        let denied = |error: crate::storage::StorageError| Cause::Denied(error.to_string());
        let refresh_token = key("refresh_token", options.refresh_token.as_ref(), options.refresh_token_file.as_ref());
        let app_secret = key("app_secret", options.app_secret.as_ref(), options.app_secret_file.as_ref());
        let mut form = vec![
            ("grant_type", Secret::from("refresh_token".to_owned())),
            ("refresh_token", refresh_token.require().map_err(denied)?),
            ("client_id", Secret::from(options.app_key.clone())),
        ];
        form.extend(app_secret.read().map_err(denied)?.map(|secret| ("client_secret", secret)));
        Ok(form)
    }

    async fn refresh(
        &self,
        http: &Client,
        clock: &ServerClock,
        patience: &mut Patience,
        last: u64,
    ) -> Result<Current, Cause> {
        let form = self.form()?;
        let form: Vec<(&str, &str)> = form.iter().map(|(key, value)| (*key, value.expose())).collect();
        loop {
            let request = http.post(&self.url).form(&form).build().map_err(|error| Cause::Bad(error.to_string()))?;
            let asked = Instant::now();
            let failed = match send(http, request, patience.attempt_limit(), clock).await {
                Ok(response) => {
                    let (status, headers) = (response.status(), response.headers().clone());
                    let body = response.bytes().await.unwrap_or_default();
                    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
                    match status {
                        StatusCode::OK => match read_token(&answer, asked, last + 1) {
                            Some(token) => return Ok(token),
                            None => "Dropbox answers with no access token".to_owned(),
                        },
                        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED => {
                            return Err(self.refused(status, &answer, &body));
                        }
                        StatusCode::TOO_MANY_REQUESTS => {
                            let wait = retry_after(&headers, &answer).unwrap_or_default();
                            if !patience.allows(wait) {
                                return Err(Cause::Unavailable(shown(status, b"")));
                            }
                            tokio::time::sleep(wait).await;
                            shown(status, b"")
                        }
                        _ if status.is_server_error() => shown(status, b""),
                        _ => return Err(Cause::Bad(shown(status, &body))),
                    }
                }
                Err(lost) => match lost.denial(&self.storage) {
                    Some(why) => return Err(Cause::Denied(why)),
                    None => lost.why,
                },
            };
            tracing::debug!(storage = %self.storage, failed, "no access token yet");
            if !patience.wait().await {
                return Err(Cause::Unavailable(format!("cannot get an access token: {failed}")));
            }
        }
    }

    fn refused(&self, status: StatusCode, answer: &Value, body: &[u8]) -> Cause {
        match answer["error"].as_str() {
            Some("invalid_grant") => self.denied(
                "refresh_token",
                "is refused by Dropbox: it was revoked, or belongs to another app; get a new one by \
                 qspool dropbox authorize",
            ),
            Some("invalid_client" | "unauthorized_client") => {
                self.denied("app_key", "or app_secret is refused by Dropbox; compare both with the app's own page")
            }
            _ => Cause::Bad(shown(status, body)),
        }
    }
}

fn read_token(answer: &Value, asked: Instant, number: u64) -> Option<Current> {
    let text = answer["access_token"].as_str()?.to_owned();
    let life = Duration::from_secs(answer["expires_in"].as_u64()?);
    let token = AccessToken { text: Arc::new(Secret::from(text)), number };
    Some(Current { token, renew_at: asked + life.saturating_sub(MARGIN.min(life / 4)), ends_at: asked + life })
}
