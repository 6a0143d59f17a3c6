//! One request and what came back, and how long to wait before the next.

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, Request, Response, StatusCode};
use serde_json::Value;
use tokio::time::Instant;

use super::clock::{Moment, ServerClock};
use crate::job::StorageName;

/// How long one attempt may take, however long the whole call may.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(30);

/// The slowest connection that large documents are carried over.
const BYTES_PER_SECOND: u64 = 128 * 1024;

/// The longest text of an error that is repeated to people.
const SHOWN_CHARACTERS: usize = 300;

/// An attempt without an answer.
pub(super) struct NoAnswer {
    pub(super) why: String,
    /// Whether the request may have been carried out.
    pub(super) doubtful: bool,
}

impl NoAnswer {
    /// What to mend, where trying again cannot help: the certificate that came is of an authority that nobody trusts.
    pub(super) fn denial(&self, storage: &StorageName) -> Option<String> {
        // The words of rustls; its error type is hidden by those around it.
        self.why.contains("invalid peer certificate").then(|| {
            let why = &self.why;
            format!(
                "Dropbox shows a certificate that is not trusted ({why}); name the authority that signed it with \
                 storage.{storage}.ca_file"
            )
        })
    }
}

/// Sends a request, and gives the head of the answer once it is there.
pub(super) async fn send(
    http: &Client,
    request: Request,
    limit: Duration,
    clock: &ServerClock,
) -> Result<Response, NoAnswer> {
    let sent = Moment::now();
    match tokio::time::timeout(limit, http.execute(request)).await {
        Ok(Ok(response)) => {
            if let Some(date) = header(response.headers(), "date") {
                clock.observe(date, sent);
            }
            Ok(response)
        }
        Ok(Err(error)) => Err(NoAnswer { doubtful: !error.is_connect(), why: chain(&error) }),
        Err(_elapsed) => Err(NoAnswer { doubtful: true, why: format!("no answer within {} s", seconds(limit)) }),
    }
}

/// The errors below one another, without the URL.
pub(super) fn chain(error: &reqwest::Error) -> String {
    let mut text = if error.is_connect() { "no connection" } else { "the connection broke" }.to_owned();
    let mut below = std::error::Error::source(error);
    while let Some(error) = below {
        text = format!("{text}: {error}");
        below = error.source();
    }
    text
}

pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// What the service asks to wait, by its header or its text.
pub(super) fn retry_after(headers: &HeaderMap, body: &Value) -> Option<Duration> {
    let seconds = header(headers, "retry-after").and_then(|text| text.trim().parse().ok());
    seconds.or_else(|| body["error"]["retry_after"].as_u64()).map(Duration::from_secs)
}

/// The text of an answer that is no JSON, in one short line.
pub(super) fn shown(status: StatusCode, body: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(body).chars().take(SHOWN_CHARACTERS).collect();
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("Dropbox answers {status} {line}")
}

/// A duration in seconds, for people.
pub(super) fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10.0).round() / 10.0
}

/// The time that a call with all its attempts has, and the growing, jittered waits between them.
pub(super) struct Patience {
    end: Instant,
    whole: Duration,
    next_wait: Duration,
    bytes: u64,
}

impl Patience {
    const FIRST_WAIT: Duration = Duration::from_millis(100);
    const LONGEST_WAIT: Duration = Duration::from_secs(8);

    /// For a call that carries `bytes`.
    pub(super) fn new(whole: Duration, bytes: u64) -> Self {
        Self { end: Instant::now() + whole, whole, next_wait: Self::FIRST_WAIT, bytes }
    }

    /// How long the next attempt may take: part of the whole, so that there can be another.
    pub(super) fn attempt_limit(&self) -> Duration {
        let share = (self.whole / 4).min(LONGEST_ATTEMPT) + Duration::from_secs(self.bytes / BYTES_PER_SECOND);
        share.min(self.end.saturating_duration_since(Instant::now()))
    }

    /// How long the whole call may take.
    pub(super) fn whole(&self) -> Duration {
        self.whole
    }

    /// Whether there is time for a wait of `duration` and an attempt after it.
    pub(super) fn allows(&self, duration: Duration) -> bool {
        Instant::now() + duration < self.end
    }

    /// Waits before the next attempt; false if there is no time left for one. The waits are jittered, else those who
    /// were refused together stay in step.
    pub(super) async fn wait(&mut self) -> bool {
        let pause = self.next_wait.mul_f64(rand::random_range(0.5..=1.0));
        self.next_wait = (self.next_wait * 2).min(Self::LONGEST_WAIT);
        if !self.allows(pause) {
            return false;
        }
        tokio::time::sleep(pause).await;
        true
    }
}
