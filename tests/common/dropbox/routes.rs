//! The routes: what each takes, what it needs, and what it does.

use serde_json::{Map, Value, json};

use super::answers::{Answer, ascii};
use super::files::{Mode, Node, Tags, Upload, content_hash, deleted_metadata, untagged};
use super::listing::{Cursor, ListArguments};
use super::server::State;

pub(super) const ACCOUNT_ID: &str = "dbid:AAH4f99T0taONIb-OurWxbNQ6ywGRopQngc";

/// How a route takes its argument and gives its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Rpc,
    Upload,
    Download,
    Longpoll,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Route {
    pub(super) name: &'static str,
    pub(super) style: Style,
    pub(super) scope: Option<&'static str>,
    /// Whether it takes a turn in the account's lock.
    pub(super) writes: bool,
}

const fn route(name: &'static str, style: Style, scope: &'static str, writes: bool) -> Route {
    Route { name, style, scope: Some(scope), writes }
}

const LIST: &str = "files/list_folder";
const CONTINUE: &str = "files/list_folder/continue";
const LATEST: &str = "files/list_folder/get_latest_cursor";
const LONGPOLL: &str = "files/list_folder/longpoll";

const ROUTES: [Route; 12] = [
    Route { name: "auth/token/revoke", style: Style::Rpc, scope: None, writes: false },
    route("users/get_current_account", Style::Rpc, "account_info.read", false),
    route("files/upload", Style::Upload, "files.content.write", true),
    route("files/download", Style::Download, "files.content.read", false),
    route("files/get_metadata", Style::Rpc, "files.metadata.read", false),
    route("files/move_v2", Style::Rpc, "files.content.write", true),
    route("files/delete_v2", Style::Rpc, "files.content.write", true),
    route("files/create_folder_v2", Style::Rpc, "files.content.write", true),
    route(LIST, Style::Rpc, "files.metadata.read", false),
    route(CONTINUE, Style::Rpc, "files.metadata.read", false),
    route(LATEST, Style::Rpc, "files.metadata.read", false),
    Route { name: LONGPOLL, style: Style::Longpoll, scope: None, writes: false },
];

impl Route {
    pub(super) fn named(name: &str) -> Option<Self> {
        ROUTES.into_iter().find(|route| route.name == name)
    }

    /// Whether a host such as `content.example.org` serves the route.
    pub(super) fn is_served_by(&self, host: &str) -> bool {
        let expected = match self.style {
            Style::Rpc => "api.",
            Style::Upload | Style::Download => "content.",
            Style::Longpoll => "notify.",
        };
        let is_special = ["api.", "content.", "notify."].iter().any(|prefix| host.starts_with(prefix));
        !is_special || host.starts_with(expected)
    }
}

/// The argument of a call. A reader takes out the fields, and what is left nobody knows.
pub(super) struct Arguments(Map<String, Value>);

type Read<T> = Result<T, String>;

impl Arguments {
    pub(super) fn read(text: &str) -> Read<Self> {
        match serde_json::from_str(text) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(other) => Err(format!("expected object, got {other}")),
            Err(_) => Err("could not decode input as JSON".to_owned()),
        }
    }

    fn optional(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    fn text(&mut self, name: &str) -> Read<String> {
        match self.optional(name) {
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(format!("{name}: expected string, got {other}")),
            None => Err(format!("missing required field '{name}'")),
        }
    }

    fn text_if_any(&mut self, name: &str) -> Read<Option<String>> {
        if self.0.get(name).is_some_and(|value| !value.is_null()) { self.text(name).map(Some) } else { Ok(None) }
    }

    fn flag(&mut self, name: &str, default: bool) -> Read<bool> {
        match self.optional(name) {
            Some(Value::Bool(flag)) => Ok(flag),
            Some(other) => Err(format!("{name}: expected boolean, got {other}")),
            None => Ok(default),
        }
    }

    fn number(&mut self, name: &str, default: u64, range: std::ops::RangeInclusive<u64>) -> Read<u64> {
        match self.optional(name).map(|value| value.as_u64().filter(|number| range.contains(number)).ok_or(value)) {
            Some(Ok(number)) => Ok(number),
            Some(Err(value)) => Err(format!("{name}: {value} is not a number within {range:?}")),
            None => Ok(default),
        }
    }

    /// A path that is at least shaped like one: wrong names are told apart later, and otherwise.
    fn path(&mut self, name: &str, others: &[&str]) -> Read<String> {
        let path = self.text(name)?;
        if path.starts_with('/') || others.iter().any(|prefix| path.starts_with(prefix)) {
            return Ok(path);
        }
        Err(format!("{name}: '{path}' did not match pattern '(/(.|[\\r\\n])*)|(ns:[0-9]+(/.*)?)|(id:.*)'"))
    }

    fn rev(&mut self, name: &str) -> Read<Option<String>> {
        self.text_if_any(name)?.map(|rev| checked_rev(name, rev)).transpose()
    }

    fn mode(&mut self) -> Read<Mode> {
        let value = self.optional("mode").unwrap_or_else(|| "add".into());
        let tag = value.as_str().or_else(|| value[".tag"].as_str());
        match (tag, value["update"].as_str()) {
            (Some("add"), None) => Ok(Mode::Add),
            (Some("overwrite"), None) => Ok(Mode::Overwrite),
            (Some("update"), Some(rev)) => checked_rev("mode", rev.to_owned()).map(Mode::Update),
            _ => Err(format!("mode: {value} is no write mode")),
        }
    }

    pub(super) fn end(self) -> Read<()> {
        self.0.keys().next().map_or(Ok(()), |name| Err(format!("unknown field '{name}'")))
    }
}

fn checked_rev(name: &str, rev: String) -> Read<String> {
    if rev.len() >= 9 && rev.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)) {
        Ok(rev)
    } else {
        Err(format!("{name}: '{rev}' did not match pattern '[0-9a-f]+' of at least 9 characters"))
    }
}

fn told(outcome: Result<Value, Tags>) -> Answer {
    match outcome {
        Ok(value) => Answer::good(&value),
        Err(tags) => Answer::endpoint_error(&tags),
    }
}

fn told_of_path(outcome: Result<Value, Tags>) -> Answer {
    told(outcome.map_err(|tags| super::files::below("path", tags)))
}

impl State {
    /// Answers a call of a route, except a long poll. The argument has been decoded, and the token is good.
    pub(super) fn call(
        &mut self,
        route: &Route,
        arguments: Arguments,
        body: &[u8],
        headers: &Conditions,
    ) -> Read<Answer> {
        match route.name {
            "files/upload" => self.upload(arguments, body),
            "files/download" => self.download(arguments, headers),
            "files/get_metadata" => self.get_metadata(arguments),
            "files/move_v2" => self.move_v2(arguments),
            "files/delete_v2" => self.delete_v2(arguments),
            "files/create_folder_v2" => self.create_folder_v2(arguments),
            LIST | LATEST => self.list_folder(arguments, route.name == LATEST),
            CONTINUE => self.list_folder_continue(arguments),
            _ => Err("Unknown API function".to_owned()),
        }
    }

    /// The answer of a route that takes nothing.
    pub(super) fn call_without_argument(&mut self, route: &Route, token: &str) -> Option<Answer> {
        match route.name {
            "users/get_current_account" => Some(Answer::good(&account())),
            "auth/token/revoke" => {
                self.logins.revoke(token);
                Some(Answer::good(&Value::Null))
            }
            _ => None,
        }
    }

    fn upload(&mut self, mut arguments: Arguments, body: &[u8]) -> Read<Answer> {
        const LARGEST: usize = 150 << 20;
        let path = arguments.path("path", &["id:", "ns:"])?;
        let mode = arguments.mode()?;
        let autorename = arguments.flag("autorename", false)?;
        let strict_conflict = arguments.flag("strict_conflict", false)?;
        arguments.flag("mute", false)?;
        arguments.optional("property_groups");
        let client_modified = arguments.text_if_any("client_modified")?;
        if let Some(text) =
            client_modified.as_deref().filter(|text| text.len() != 20 || text.parse::<jiff::Timestamp>().is_err())
        {
            return Err(format!("client_modified: time data '{text}' does not match format '%Y-%m-%dT%H:%M:%SZ'"));
        }
        let hash = arguments.text_if_any("content_hash")?;
        arguments.end()?;
        if body.len() > LARGEST {
            return Ok(Answer::upload_error(&["payload_too_large"]));
        }
        if hash.is_some_and(|hash| hash != content_hash(body)) {
            return Ok(Answer::upload_error(&["content_hash_mismatch"]));
        }
        let upload = Upload { path: &path, mode, autorename, strict_conflict, client_modified };
        let now = self.now();
        Ok(match self.files.upload(&upload, body, now) {
            Ok(metadata) => Answer::good(&untagged(metadata)),
            Err(tags) => Answer::upload_error(&super::files::below("path", tags)),
        })
    }

    fn download(&mut self, mut arguments: Arguments, conditions: &Conditions) -> Read<Answer> {
        let path = arguments.path("path", &["id:", "rev:", "ns:"])?;
        arguments.rev("rev")?;
        arguments.end()?;
        let entry = match self.files.find(&path) {
            Ok(entry) => entry,
            Err(tags) => return Ok(told_of_path(Err(tags))),
        };
        let Node::File(file) = &entry.node else { return Ok(told_of_path(Err(vec!["not_file"]))) };
        let etag = format!("\"{}\"", file.rev);
        let mut answer = Answer::good(&Value::Null);
        answer.headers = vec![
            ("content-type", "application/octet-stream".to_owned()),
            ("dropbox-api-result", ascii(&untagged(entry.metadata()))),
            ("etag", etag.clone()),
        ];
        let is_known = conditions.if_none_match.as_ref() == Some(&etag);
        let size = file.content.len();
        match conditions.range {
            _ if is_known => (answer.status, answer.body) = (304, Vec::new()),
            Some((first, last)) if first < size => {
                let last = last.min(size - 1);
                answer.status = 206;
                answer.body = file.content[first..=last].to_vec();
                answer.headers.push(("content-range", format!("bytes {first}-{last}/{size}")));
            }
            Some(_) => return Ok(Answer::text(416, "the range is not within the file")),
            None => answer.body = file.content.to_vec(),
        }
        Ok(answer)
    }

    fn get_metadata(&mut self, mut arguments: Arguments) -> Read<Answer> {
        if arguments.0.get("path").and_then(Value::as_str) == Some("") {
            return Err("The root folder is unsupported.".to_owned());
        }
        let path = arguments.path("path", &["id:", "rev:", "ns:"])?;
        let include_deleted = arguments.flag("include_deleted", false)?;
        for name in ["include_media_info", "include_has_explicit_shared_members"] {
            arguments.flag(name, false)?;
        }
        arguments.optional("include_property_groups");
        arguments.end()?;
        let deleted = || include_deleted.then(|| self.files.deleted.get(&path.to_lowercase())).flatten();
        Ok(told_of_path(match self.files.find(&path) {
            Err(tags) => deleted().map(|display| deleted_metadata(display)).ok_or(tags),
            Ok(entry) => Ok(entry.metadata()),
        }))
    }

    fn move_v2(&mut self, mut arguments: Arguments) -> Read<Answer> {
        let from = arguments.path("from_path", &["id:", "ns:"])?;
        let to = arguments.path("to_path", &["id:", "ns:"])?;
        let autorename = arguments.flag("autorename", false)?;
        for name in ["allow_ownership_transfer", "allow_shared_folder"] {
            arguments.flag(name, false)?;
        }
        arguments.end()?;
        let now = self.now();
        Ok(told(self.files.move_to(&from, &to, autorename, now).map(|metadata| json!({ "metadata": metadata }))))
    }

    fn delete_v2(&mut self, mut arguments: Arguments) -> Read<Answer> {
        let path = arguments.path("path", &["id:", "ns:"])?;
        let parent_rev = arguments.rev("parent_rev")?;
        arguments.end()?;
        let deleted = self.files.delete(&path, parent_rev.as_deref());
        Ok(told(deleted.map(|metadata| json!({ "metadata": metadata }))))
    }

    fn create_folder_v2(&mut self, mut arguments: Arguments) -> Read<Answer> {
        let path = arguments.path("path", &["ns:"])?;
        let autorename = arguments.flag("autorename", false)?;
        arguments.end()?;
        let created = self.files.create_folder(&path, autorename);
        Ok(told_of_path(created.map(|metadata| json!({ "metadata": untagged(metadata) }))))
    }

    fn list_folder(&mut self, mut arguments: Arguments, at_end: bool) -> Read<Answer> {
        match arguments.0.get("path").and_then(Value::as_str) {
            Some("/") => return Err("Specify the root folder as an empty string rather than as \"/\".".to_owned()),
            Some("") => {}
            _ => arguments.path("path", &["id:", "ns:"]).map(|path| {
                arguments.0.insert("path".to_owned(), path.into());
            })?,
        }
        let path = arguments.text("path")?;
        let recursive = arguments.flag("recursive", false)?;
        let include_deleted = arguments.flag("include_deleted", false)?;
        let limit = arguments.number("limit", 2000, 1..=2000)?;
        for name in ["include_media_info", "include_has_explicit_shared_members"] {
            arguments.flag(name, false)?;
        }
        for name in ["include_mounted_folders", "include_non_downloadable_files"] {
            arguments.flag(name, true)?;
        }
        for name in ["shared_link", "include_property_groups"] {
            arguments.optional(name);
        }
        arguments.end()?;
        let limit = usize::try_from(limit).expect("at most 2000");
        let arguments = ListArguments { path, recursive, include_deleted, limit };
        Ok(told_of_path(
            self.files
                .cursor(&arguments, at_end, self.cursor_age)
                .and_then(|cursor| if at_end { Ok(json!({ "cursor": cursor.to_text() })) } else { self.page(&cursor) }),
        ))
    }

    fn list_folder_continue(&mut self, mut arguments: Arguments) -> Read<Answer> {
        let cursor = read_cursor(&mut arguments)?;
        arguments.end()?;
        if cursor.age != self.cursor_age {
            return Ok(Answer::endpoint_error(&["reset"]));
        }
        Ok(told_of_path(self.page(&cursor)))
    }

    fn page(&self, cursor: &Cursor) -> Result<Value, Tags> {
        let (entries, cursor, has_more) = self.files.page(cursor, self.paging)?;
        Ok(json!({ "entries": entries, "cursor": cursor.to_text(), "has_more": has_more, "x_since_next_year": {} }))
    }
}

/// What a long poll asks: its cursor, and the time to wait in seconds.
pub(super) fn read_longpoll(mut arguments: Arguments) -> Read<(Cursor, u64)> {
    let cursor = read_cursor(&mut arguments)?;
    let timeout = arguments.number("timeout", 30, 30..=480)?;
    arguments.end()?;
    Ok((cursor, timeout))
}

fn read_cursor(arguments: &mut Arguments) -> Read<Cursor> {
    Cursor::from_text(&arguments.text("cursor")?).ok_or_else(|| "Invalid \"cursor\" parameter".to_owned())
}

/// What a download is asked for by headers.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    pub(super) if_none_match: Option<String>,
    /// The first and the last byte.
    pub(super) range: Option<(usize, usize)>,
}

/// Reads `bytes=4-9` or `bytes=4-`.
pub(super) fn read_range(text: &str) -> Option<(usize, usize)> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let last = if last.is_empty() { usize::MAX } else { last.parse().ok()? };
    Some((first.parse().ok()?, last)).filter(|(first, last)| first <= last)
}

fn account() -> Value {
    json!({
        "account_id": ACCOUNT_ID,
        "name": {
            "given_name": "Ada", "surname": "Lovelace", "familiar_name": "Ada", "display_name": "Ada Lovelace",
            "abbreviated_name": "AL",
        },
        "email": "ada@example.org",
        "email_verified": true,
        "disabled": false,
        "locale": "en",
        "referral_link": "https://example.org/referral",
        "is_paired": false,
        "account_type": { ".tag": "basic" },
        "root_info": { ".tag": "user", "root_namespace_id": "3235641", "home_namespace_id": "3235641" },
        "x_since_next_year": [],
    })
}
