//! What goes wrong on demand, and the log of the calls.

use std::time::{Duration, Instant};

use super::answers::Answer;

/// What happens to a call in place of its good answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// This status with a page of HTML, as a proxy gives it.
    Status(u16),
    /// The connection is reset without an answer.
    Reset,
    /// No answer comes, and the connection stays.
    Hang,
    /// 429 with so many seconds to wait, in the header and in the body.
    TooManyRequests(u64),
    /// 429 with so many seconds to wait in the header, and plain text.
    TooManyRequestsInText(u64),
    /// 429 for contention, which names no time.
    Contention,
    /// 409 with this tag alone: `too_many_write_operations`, `internal_error`, or one that nobody knows.
    Tag(&'static str),
    /// 401: the access token has expired, whatever its age.
    ExpiredToken,
}

/// Whether a call that goes wrong has done what it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// Nothing has happened.
    Before,
    /// It has happened, and only the answer is lost.
    After,
}

/// How a rate limit is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LimitForm {
    /// By the header `Retry-After` and by JSON.
    Json,
    /// By the header `Retry-After`, with plain text.
    Text,
    /// As contention, without a time.
    Contention,
}

/// One call, as tests count it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    /// As in `files/move_v2` or `oauth2/token`.
    pub(crate) route: String,
    /// Whether it brought an access token that was good.
    pub(crate) authorized: bool,
    /// None where there was no answer.
    pub(crate) status: Option<u16>,
}

#[derive(Debug)]
struct Rule {
    route: String,
    skip: usize,
    count: usize,
    when: When,
    fault: Fault,
}

/// The faults to come.
#[derive(Debug, Default)]
pub(super) struct Faults {
    rules: Vec<Rule>,
    limit: Option<(Instant, LimitForm)>,
    pub(super) down: bool,
    pub(super) longpoll_blocked: bool,
    pub(super) delay: Duration,
}

impl Faults {
    pub(super) fn add(&mut self, route: &str, skip: usize, count: usize, when: When, fault: Fault) {
        self.rules.push(Rule { route: route.to_owned(), skip, count, when, fault });
    }

    pub(super) fn forget(&mut self) {
        self.rules.clear();
    }

    pub(super) fn limit_until(&mut self, end: Instant, form: LimitForm) {
        self.limit = Some((end, form));
    }

    /// The fault of a call of `route`: that of the oldest rule which is not used up.
    pub(super) fn take(&mut self, route: &str) -> Option<(When, Fault)> {
        if self.down || (self.longpoll_blocked && route.ends_with("/longpoll")) {
            return Some((When::Before, Fault::Reset));
        }
        for rule in self.rules.iter_mut().filter(|rule| rule.route == "*" || rule.route == route) {
            if rule.skip > 0 {
                rule.skip -= 1;
            } else if rule.count > 0 {
                rule.count -= 1;
                return Some((rule.when, rule.fault));
            }
        }
        None
    }

    /// The refusal of a call while too many were made.
    pub(super) fn refusal(&self, now: Instant) -> Option<Answer> {
        let (end, form) = self.limit.filter(|(end, _)| *end > now)?;
        let seconds = (end - now).as_secs() + 1;
        Some(match form {
            LimitForm::Json => Answer::too_many("too_many_requests", Some(seconds), false),
            LimitForm::Text => Answer::too_many("too_many_requests", Some(seconds), true),
            LimitForm::Contention => Answer::too_many("too_many_write_operations", None, false),
        })
    }
}

impl Fault {
    /// The answer, if there is one.
    pub(super) fn answer(self) -> Option<Answer> {
        match self {
            Self::Reset | Self::Hang => None,
            Self::Status(status) => {
                let mut answer = Answer::text(status, "<html><body><h1>Something went wrong</h1></body></html>");
                answer.headers = vec![("content-type", "text/html".to_owned())];
                Some(answer)
            }
            Self::TooManyRequests(seconds) => Some(Answer::too_many("too_many_requests", Some(seconds), false)),
            Self::TooManyRequestsInText(seconds) => Some(Answer::too_many("too_many_requests", Some(seconds), true)),
            Self::Contention => Some(Answer::too_many("too_many_write_operations", None, false)),
            Self::Tag(tag) => Some(Answer::endpoint_error(&[tag])),
            Self::ExpiredToken => Some(Answer::auth_error("expired_access_token", serde_json::json!({}))),
        }
    }
}
