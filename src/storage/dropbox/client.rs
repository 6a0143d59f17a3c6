//! The one call through which everything goes: hosts, tokens, time-outs, repetitions and waits.

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client as Http, Request, Response, StatusCode};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::clock::ServerClock;
use super::error::{CallError, Cause, Tags};
use super::exchange::{NoAnswer, Patience, chain, header, retry_after, seconds, send, shown};
use super::hosts::{Hosts, http_client};
use super::token::{AccessToken, Tokens};
use crate::job::StorageName;
use crate::signing::python_json;
use crate::storage::StorageError;
use crate::storage::options::DropboxOptions;

/// How many requests that change something may be on their way at a time: more of them would only refuse each other,
/// since the writes of one account take turns.
const WRITERS: usize = 4;

/// How much longer than it was asked to the service may hold a longpoll.
const LONGPOLL_GRACE: Duration = Duration::from_secs(100);

/// How a route takes its argument and gives its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// JSON in the body, both ways; it only reads.
    Read,
    /// The same for a route that changes something.
    Write,
    /// The argument in a header, a document in the body.
    Upload,
    /// The argument and the result in headers, and a document of at most so many bytes in the body of the answer.
    Download { limit: u64 },
}

/// What a route answers.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) result: Value,
    /// The document that was downloaded.
    pub(super) content: Vec<u8>,
}

/// The way to one account.
pub(super) struct Client {
    storage: StorageName,
    http: Http,
    hosts: Hosts,
    tokens: Tokens,
    limit: Duration,
    clock: ServerClock,
    writers: Semaphore,
    /// Until then the service wants to hear nothing of this account.
    quiet_until: Mutex<Instant>,
}

/// What came of one attempt.
enum Attempt {
    Done(Answer),
    Failed(Cause),
    /// The token is not accepted any more.
    Expired(String),
    /// The service is too busy; it was not done.
    Busy {
        why: String,
        wait: Option<Duration>,
    },
    /// No answer, or one that tells nothing.
    Lost(NoAnswer),
}

impl Client {
    pub(super) fn new(storage: &StorageName, options: &DropboxOptions) -> Result<Self, StorageError> {
        let hosts = Hosts::of(storage, options)?;
        Ok(Self {
            http: http_client(storage, options)?,
            tokens: Tokens::new(storage.clone(), options.clone(), &hosts.api),
            hosts,
            storage: storage.clone(),
            limit: Duration::from_secs(options.timeout_s.into()),
            clock: ServerClock::default(),
            writers: Semaphore::new(WRITERS),
            quiet_until: Mutex::new(Instant::now()),
        })
    }

    /// What time it is at the service.
    pub(super) fn clock(&self) -> &ServerClock {
        &self.clock
    }

    /// The storage that the client belongs to.
    pub(super) fn storage(&self) -> &StorageName {
        &self.storage
    }

    /// Calls a route, and repeats it within the time-out of an operation while that may help.
    ///
    /// An error says whether an attempt before it may have been carried out: then a refusal may be the echo of our own
    /// success, and the caller has to look.
    pub(super) async fn call(
        &self,
        style: Style,
        route: &'static str,
        argument: &Value,
        body: Vec<u8>,
    ) -> Result<Answer, CallError> {
        let mut patience = Patience::new(self.limit, body.len() as u64);
        let request = self.request(style, route, argument, body).map_err(Cause::certain)?;
        let (mut doubtful, mut renewed) = (false, false);
        let failed = |cause, doubtful| Err(CallError { cause, doubtful });
        loop {
            if let Err(cause) = self.wait_for_quiet(&patience).await {
                return failed(cause, doubtful);
            }
            let token = match self.tokens.current(&self.http, &self.clock, &mut patience).await {
                Ok(token) => token,
                Err(cause) => return failed(cause, doubtful),
            };
            let why = match self.attempt(style, route, &request, &token, patience.attempt_limit()).await {
                Attempt::Done(answer) => return Ok(answer),
                Attempt::Failed(cause) => return failed(cause, doubtful),
                Attempt::Expired(why) if renewed => return failed(Cause::Denied(why), doubtful),
                Attempt::Expired(_) => {
                    renewed = true;
                    self.tokens.forget(&token).await;
                    continue;
                }
                Attempt::Busy { wait: Some(wait), .. } if !wait.is_zero() => {
                    self.be_quiet_for(wait);
                    continue;
                }
                Attempt::Busy { why, .. } => why,
                Attempt::Lost(lost) => {
                    doubtful |= lost.doubtful;
                    if let Some(why) = lost.denial(&self.storage) {
                        return failed(Cause::Denied(why), doubtful);
                    }
                    lost.why
                }
            };
            if !patience.wait().await {
                let why = format!("{why}; gave up after {} s", seconds(patience.whole()));
                return failed(Cause::Unavailable(why), doubtful);
            }
        }
    }

    /// Waits until something below the cursor changes, or about `timeout`. It is not repeated.
    pub(super) async fn longpoll(&self, cursor: &str, timeout: Duration) -> Result<Answer, CallError> {
        let url = format!("{}/2/files/list_folder/longpoll", self.hosts.notify);
        let argument = serde_json::json!({ "cursor": cursor, "timeout": timeout.as_secs() });
        // A token would be refused here: the cursor is enough.
        let request = self.http.post(url).header(CONTENT_TYPE, "application/json").body(argument.to_string());
        let request = request.build().map_err(|error| Cause::Bad(error.to_string()).certain())?;
        match self.exchange(Style::Read, request, timeout + LONGPOLL_GRACE).await {
            Attempt::Done(answer) => Ok(answer),
            Attempt::Failed(cause) => Err(cause.certain()),
            Attempt::Busy { why, wait } => {
                self.be_quiet_for(wait.unwrap_or_default());
                Err(Cause::Unavailable(why).certain())
            }
            Attempt::Expired(why) | Attempt::Lost(NoAnswer { why, .. }) => Err(Cause::Unavailable(why).certain()),
        }
    }

    fn request(&self, style: Style, route: &str, argument: &Value, body: Vec<u8>) -> Result<Request, Cause> {
        let host = match style {
            Style::Read | Style::Write => &self.hosts.api,
            Style::Upload | Style::Download { .. } => &self.hosts.content,
        };
        let request = self.http.post(format!("{host}/2/{route}"));
        let unasked = |error: &dyn Display| Cause::Bad(format!("{route} cannot be asked: {error}"));
        // A header carries ASCII only, and Python's form of JSON has nothing else.
        let in_header = || python_json(&argument.to_string()).map_err(|error| unasked(&error));
        let request = match style {
            Style::Read | Style::Write => request.header(CONTENT_TYPE, "application/json").body(argument.to_string()),
            Style::Upload => request
                .header(CONTENT_TYPE, "application/octet-stream")
                .header("Dropbox-API-Arg", in_header()?)
                .body(body),
            Style::Download { .. } => request.header("Dropbox-API-Arg", in_header()?),
        };
        request.build().map_err(|error| unasked(&error))
    }

    async fn attempt(
        &self,
        style: Style,
        route: &'static str,
        request: &Request,
        token: &AccessToken,
        limit: Duration,
    ) -> Attempt {
        let bearer = HeaderValue::try_from(format!("Bearer {}", token.text()));
        let (Some(mut request), Ok(mut bearer)) = (request.try_clone(), bearer) else {
            return Attempt::Failed(Cause::Bad(format!("{route} cannot be asked with this token")));
        };
        bearer.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, bearer);
        let is_write = matches!(style, Style::Write | Style::Upload);
        let _turn = if is_write { self.writers.acquire().await.ok() } else { None };
        self.exchange(style, request, limit).await
    }

    async fn exchange(&self, style: Style, request: Request, limit: Duration) -> Attempt {
        let route = request.url().path().to_owned();
        let begin = Instant::now();
        let response = match send(&self.http, request, limit, &self.clock).await {
            Ok(response) => response,
            Err(lost) => {
                tracing::debug!(storage = %self.storage, route, why = lost.why, "no answer from Dropbox");
                return Attempt::Lost(lost);
            }
        };
        let status = response.status();
        if !status.is_success() {
            let request_id = header(response.headers(), "x-dropbox-request-id").unwrap_or_default();
            tracing::debug!(storage = %self.storage, route, %status, request_id, "Dropbox refuses");
        }
        let rest = limit.saturating_sub(begin.elapsed());
        match tokio::time::timeout(rest, self.read(style, response)).await {
            Ok(attempt) => attempt,
            Err(_elapsed) => {
                Attempt::Lost(NoAnswer { why: format!("no whole answer within {} s", seconds(limit)), doubtful: true })
            }
        }
    }

    async fn read(&self, style: Style, response: Response) -> Attempt {
        let (status, headers) = (response.status(), response.headers().clone());
        let lost = |why| Attempt::Lost(NoAnswer { why, doubtful: true });
        let is_download = matches!(style, Style::Download { .. }) && status.is_success();
        let mut result = Value::Null;
        if let (Style::Download { limit }, true) = (style, is_download) {
            let text = header(&headers, "dropbox-api-result").unwrap_or_default();
            let Ok(metadata) = serde_json::from_str::<Value>(text) else {
                return lost("Dropbox answers with a document that it does not describe".to_owned());
            };
            let size = metadata["size"].as_u64().or(response.content_length()).unwrap_or_default();
            if size > limit {
                return Attempt::Failed(Cause::TooLarge { bytes: size, allowed: limit });
            }
            result = metadata;
        }
        let body = match response.bytes().await {
            Ok(body) => body,
            Err(error) => return lost(chain(&error)),
        };
        if status.is_success() {
            if is_download {
                if result["size"].as_u64().is_some_and(|size| size != body.len() as u64) {
                    return lost("the answer is not whole".to_owned());
                }
                return Attempt::Done(Answer { result, content: body.into() });
            }
            return match serde_json::from_slice(&body) {
                Ok(result) => Attempt::Done(Answer { result, content: Vec::new() }),
                Err(_unreadable) => lost(format!("{} in a form that nobody can read", shown(status, b""))),
            };
        }
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        let tags = Tags::of(&answer["error"]);
        match status {
            StatusCode::CONFLICT if tags.have("too_many_write_operations") => {
                Attempt::Busy { why: shown(status, b""), wait: retry_after(&headers, &answer) }
            }
            StatusCode::CONFLICT if tags.have("internal_error") => lost(format!("Dropbox answers {tags}")),
            StatusCode::CONFLICT => Attempt::Failed(Cause::Route(tags)),
            StatusCode::UNAUTHORIZED if tags.have("expired_access_token") || tags.have("invalid_access_token") => {
                Attempt::Expired(self.denied("refresh_token", &format!("gives tokens that Dropbox refuses ({tags})")))
            }
            StatusCode::UNAUTHORIZED if tags.have("missing_scope") => {
                let scope = answer["error"]["required_scope"].as_str().unwrap_or("a permission");
                let why = format!(
                    "does not allow {scope}; give the app that permission on its own page, then authorize it anew by \
                     qspool dropbox authorize"
                );
                Attempt::Failed(Cause::Denied(self.denied("refresh_token", &why)))
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let why = format!("is not accepted: {}", shown(status, tags.to_string().as_bytes()));
                Attempt::Failed(Cause::Denied(self.denied("refresh_token", &why)))
            }
            StatusCode::TOO_MANY_REQUESTS => {
                // Without a time it is only contention, and for this call alone.
                Attempt::Busy { why: shown(status, b""), wait: retry_after(&headers, &answer) }
            }
            _ if status.is_server_error() => lost(shown(status, b"")),
            _ => Attempt::Failed(Cause::Bad(shown(status, &body))),
        }
    }

    fn denied(&self, key: &str, why: &str) -> String {
        format!("storage.{}.{key} {why}", self.storage)
    }

    /// Lets all calls of the account wait.
    fn be_quiet_for(&self, wait: Duration) {
        let mut quiet_until = self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
        *quiet_until = (*quiet_until).max(Instant::now() + wait);
    }

    async fn wait_for_quiet(&self, patience: &Patience) -> Result<(), Cause> {
        loop {
            let until = *self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
            let wait = until.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                return Ok(());
            }
            if !patience.allows(wait) {
                let why = format!("Dropbox wants no further calls for {} s", seconds(wait));
                return Err(Cause::Unavailable(why));
            }
            // Not all at the same moment.
            tokio::time::sleep(wait + Duration::from_millis(rand::random_range(0..50))).await;
        }
    }
}
