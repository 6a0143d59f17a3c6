//! The forms in which the service answers.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

/// What a call is answered with, before it becomes HTTP.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    fn with(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: vec![("content-type", content_type.to_owned())], body: body.into() }
    }

    pub(super) fn json(status: u16, value: &Value) -> Self {
        Self::with(status, "application/json", value.to_string())
    }

    pub(super) fn good(value: &Value) -> Self {
        Self::json(200, value)
    }

    pub(super) fn text(status: u16, text: &str) -> Self {
        Self::with(status, "text/plain; charset=utf-8", text)
    }

    /// A defect of the caller, in plain text.
    pub(super) fn bad_call(route: &str, what: &str) -> Self {
        Self::text(400, &format!("Error in call to API function \"{route}\": {what}"))
    }

    /// An outcome that the route's specification names, by its tags from the outermost on.
    pub(super) fn endpoint_error(tags: &[&str]) -> Self {
        Self::summed_up(409, tags, &nested(tags))
    }

    /// The same for an upload, whose first member is a struct.
    pub(super) fn upload_error(tags: &[&str]) -> Self {
        let error = match tags {
            ["path", reason @ ..] => {
                json!({ ".tag": "path", "reason": nested(reason), "upload_session_id": "AAAAAAAAAAAAAAAAAAAAAA", "x_since_next_year": [] })
            }
            _ => nested(tags),
        };
        Self::summed_up(409, tags, &error)
    }

    /// The token is not good for this call.
    pub(super) fn auth_error(tag: &str, more: Value) -> Self {
        let mut error = nested(&[tag]);
        if let (Value::Object(error), Value::Object(more)) = (&mut error, more) {
            error.extend(more);
        }
        Self::summed_up(401, &[tag], &error)
    }

    fn summed_up(status: u16, tags: &[&str], error: &Value) -> Self {
        let dots = ".".repeat(rand::random_range(0..=3));
        let summary = format!("{}/{dots}", tags.join("/"));
        Self::json(status, &json!({ "error_summary": summary, "error": error, "x_since_next_year": { ".tag": "new" } }))
    }

    /// Too many calls. `seconds` to wait, if the service says so.
    pub(super) fn too_many(reason: &str, seconds: Option<u64>, plain: bool) -> Self {
        let mut answer = if plain {
            Self::text(429, reason)
        } else {
            let mut error = json!({ "reason": { ".tag": reason } });
            if let Some(seconds) = seconds {
                error["retry_after"] = seconds.into();
            }
            Self::summed_up(429, &[reason], &error)
        };
        answer.headers.extend(seconds.map(|seconds| ("retry-after", seconds.to_string())));
        answer
    }

    /// An error of the login routes.
    pub(super) fn oauth_error(error: &str, description: &str) -> Self {
        Self::json(400, &json!({ "error": error, "error_description": description }))
    }

    pub(super) fn into_response(self, now: i64) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = StatusCode::from_u16(self.status).expect("a status");
        let date = jiff::Timestamp::from_second(now).expect("a time").strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let request_id = format!("{:032x}", rand::random::<u128>());
        for (name, value) in self.headers.into_iter().chain([("date", date), ("x-dropbox-request-id", request_id)]) {
            let value = HeaderValue::from_str(&value).expect("a header's value");
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
        response
    }
}

/// Unions in each other: the member that a tag names holds the next one. Unlike structs they have no other fields.
fn nested(tags: &[&str]) -> Value {
    match tags {
        [] => json!({}),
        [last] => json!({ ".tag": last }),
        [first, rest @ ..] => json!({ ".tag": first, *first: nested(rest) }),
    }
}

/// JSON in ASCII only, as headers carry it: characters above U+FFFF as two escapes.
pub(super) fn ascii(value: &Value) -> String {
    let mut text = String::new();
    for character in value.to_string().chars() {
        if (' '..='~').contains(&character) {
            text.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                text.extend(["\\u".to_owned(), format!("{unit:04x}")]);
            }
        }
    }
    text
}
