//! The server of `tests/common/dropbox`, against the specification: the tests of the medium lean on it.

#![cfg(feature = "storage-dropbox")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use common::dropbox::{DropboxServer, Fault, LimitForm, SCOPES, When, content_hash};

/// A server, and a client that sends what it is told to.
struct Stage {
    server: DropboxServer,
    client: Client,
    token: String,
}

impl Stage {
    fn new() -> Self {
        // Another test may have been first.
        let _installed_before = rustls::crypto::ring::default_provider().install_default();
        let server = DropboxServer::start();
        let token = server.access_token(&SCOPES);
        Self { server, client: Client::new(), token }
    }

    fn post(&self, route: &str) -> RequestBuilder {
        self.client.post(format!("{}/2/{route}", self.server.url()))
    }

    fn rpc(&self, route: &str, argument: &Value) -> RequestBuilder {
        let request = self.post(route).header("content-type", "application/json").body(argument.to_string());
        if route.ends_with("longpoll") { request } else { request.bearer_auth(&self.token) }
    }

    fn with_argument(&self, route: &str, argument: &Value) -> RequestBuilder {
        self.post(route).bearer_auth(&self.token).header("dropbox-api-arg", argument.to_string())
    }

    fn upload(&self, argument: &Value, content: &'static [u8]) -> RequestBuilder {
        let request = self.with_argument("files/upload", argument);
        request.header("content-type", "application/octet-stream").body(content)
    }

    /// Lists a folder to the end of the cursor.
    async fn follow(&self, mut answer: Value, mut between: impl FnMut(usize)) -> (Vec<Value>, String) {
        let (mut entries, mut page) = (Vec::new(), 0);
        loop {
            entries.extend(answer["entries"].as_array().expect("entries").iter().cloned());
            let cursor = answer["cursor"].as_str().expect("a cursor").to_owned();
            if answer["has_more"] == false {
                return (entries, cursor);
            }
            between(page);
            page += 1;
            answer = good(self.rpc("files/list_folder/continue", &json!({ "cursor": cursor }))).await;
        }
    }
}

async fn sent(request: RequestBuilder) -> (StatusCode, String) {
    let response = request.send().await.expect("an answer");
    assert!(response.headers().contains_key("x-dropbox-request-id"));
    assert!(response.headers().contains_key("date"));
    (response.status(), response.text().await.expect("text"))
}

async fn good(request: RequestBuilder) -> Value {
    let (status, text) = sent(request).await;
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).expect("JSON")
}

/// The status and the beginning of what the answer says: the summary without its dots, or the text.
async fn outcome(request: RequestBuilder) -> String {
    let (status, text) = sent(request).await;
    let Ok(value) = serde_json::from_str::<Value>(&text) else { return format!("{} text", status.as_u16()) };
    let said = value["error_summary"].as_str().or(value["error"].as_str()).unwrap_or("good");
    if status == 409 || status == 401 {
        check_tags(&value);
    }
    format!("{} {}", status.as_u16(), said.trim_end_matches('.').trim_end_matches('/'))
}

/// The tags of the error, from the outermost on, are those of the summary.
fn check_tags(answer: &Value) {
    let (mut tags, mut union) = (Vec::new(), &answer["error"]);
    while let Some(tag) = union[".tag"].as_str() {
        tags.push(tag);
        union = if union["reason"].is_object() { &union["reason"] } else { &union[tag] };
    }
    let summary = answer["error_summary"].as_str().expect("a summary");
    assert!(summary.starts_with(&format!("{}/", tags.join("/"))), "{answer}");
}

#[tokio::test]
async fn an_upload_treats_what_is_there_by_its_mode_and_its_strictness() {
    let stage = Stage::new();
    let file = good(stage.upload(&json!({ "path": "/a/file" }), b"one")).await;
    let rev = good(stage.upload(&json!({ "path": "/a/file", "mode": "overwrite" }), b"two")).await["rev"].clone();
    assert_ne!(file["rev"], rev);
    let (update, stale) =
        (json!({ ".tag": "update", "update": rev }), json!({ ".tag": "update", "update": file["rev"] }));
    let folder = "409 path/conflict/folder";
    let conflict = "409 path/conflict/file";
    // What is not written changes nothing, so that the rows stand for themselves; the others come last.
    for (path, mode, strict, content, expected) in [
        ("/a/file", json!("add"), false, b"two", "200 good"),
        ("/A/FILE", json!("add"), false, b"two", "200 good"),
        ("/a/file", json!("add"), true, b"two", conflict),
        ("/A/FILE", json!("add"), true, b"two", conflict),
        ("/a/file", json!({ ".tag": "add" }), false, b"six", conflict),
        ("/a/file", stale.clone(), false, b"two", "200 good"),
        ("/a/file", stale.clone(), true, b"two", conflict),
        ("/a/file", stale.clone(), false, b"six", conflict),
        ("/a/file", update.clone(), false, b"two", "200 good"),
        ("/a/gone", update.clone(), true, b"two", conflict),
        ("/a", json!("overwrite"), false, b"two", folder),
        ("/a", json!("add"), false, b"two", folder),
        ("/a/file/b", json!("add"), false, b"two", "409 path/conflict/file_ancestor"),
        ("/a/gone", update.clone(), false, b"two", "200 good"),
        ("/a/file", update.clone(), true, b"six", "200 good"),
        ("/a/file", update, true, b"ten", conflict),
    ] {
        let argument = json!({ "path": path, "mode": mode, "strict_conflict": strict });
        assert_eq!(outcome(stage.upload(&argument, content)).await, expected, "{argument}");
    }
    assert_eq!(stage.server.content("/a/file").expect("a file"), b"six");
    let renamed = good(stage.upload(&json!({ "path": "/a/file", "autorename": true }), b"ten")).await;
    assert_eq!(renamed["path_display"], "/a/file (1)");
    assert_eq!(renamed[".tag"], Value::Null);
}

#[tokio::test]
async fn of_sixteen_movers_one_wins() {
    let stage = Stage::new();
    for late in [false, true] {
        stage.server.put("/queue/job", b"{}");
        let one_target = late;
        stage.server.tell_late_moves_of_the_target(late);
        let movers = (0..16).map(|mover| {
            let to = if one_target { "/won/job".to_owned() } else { format!("/won/{mover}/job") };
            outcome(stage.rpc("files/move_v2", &json!({ "from_path": "/queue/job", "to_path": to })))
        });
        let outcomes = futures::future::join_all(movers).await;
        let count = |text: &str| outcomes.iter().filter(|outcome| *outcome == text).count();
        let loser = if late { "409 to/conflict/file" } else { "409 from_lookup/not_found" };
        assert_eq!((count("200 good"), count(loser)), (1, 15), "{outcomes:?}");
    }
}

#[tokio::test]
async fn a_move_keeps_what_identifies_a_file_and_is_refused_where_something_is() {
    let stage = Stage::new();
    stage.server.put("/Old/Sub/file", b"{}");
    stage.server.put("/other", b"{}");
    let before = good(stage.rpc("files/get_metadata", &json!({ "path": "/old/sub/FILE" }))).await;
    let moved = good(stage.rpc("files/move_v2", &json!({ "from_path": "/old", "to_path": "/New" }))).await;
    assert_eq!(moved["metadata"][".tag"], "folder");
    assert_eq!(stage.server.paths(), ["/New/", "/New/Sub/", "/New/Sub/file", "/other"]);
    let after = good(stage.rpc("files/get_metadata", &json!({ "path": before["id"] }))).await;
    assert_eq!(after["path_display"], "/New/Sub/file");
    assert_eq!(after["content_hash"], content_hash(b"{}"));
    assert_ne!(after["rev"], before["rev"]);
    for (from, to, expected) in [
        ("/other", "/new", "409 to/conflict/folder"),
        ("/new/sub/file", "/other", "409 to/conflict/file"),
        ("/other", "/OTHER", "409 to/conflict/file"),
        ("/new/sub", "/other/sub", "409 to/conflict/file_ancestor"),
        ("/new", "/new/sub/new", "409 cant_move_folder_into_itself"),
        ("/other", "/new/ ", "409 to/malformed_path"),
        ("/other", "/new/desktop.ini", "409 to/disallowed_name"),
        ("/nothing", "/new/x", "409 from_lookup/not_found"),
        ("other", "/new/x", "400 text"),
    ] {
        let argument = json!({ "from_path": from, "to_path": to });
        assert_eq!(outcome(stage.rpc("files/move_v2", &argument)).await, expected, "{argument}");
    }
    let delete = |rev: &Value| stage.rpc("files/delete_v2", &json!({ "path": "/new/sub/file", "parent_rev": rev }));
    assert_eq!(outcome(delete(&before["rev"])).await, "409 path_write/conflict/file");
    assert_eq!(outcome(delete(&after["rev"])).await, "200 good");
    assert_eq!(outcome(delete(&after["rev"])).await, "409 path_lookup/not_found");
}

/// What somebody knows of a folder who applies entries in their order.
fn apply(known: &mut BTreeMap<String, String>, entries: &[Value]) {
    for entry in entries {
        let path = entry["path_lower"].as_str().expect("a path").to_owned();
        if entry[".tag"] == "deleted" {
            let below = format!("{path}/");
            known.retain(|known, _| *known != path && !known.starts_with(&below));
        } else {
            known.insert(path, entry["rev"].as_str().unwrap_or("folder").to_owned());
        }
    }
}

#[tokio::test]
async fn what_changes_while_pages_are_read_arrives_later_in_order() {
    let stage = Stage::new();
    let server = &stage.server;
    for number in 0..40 {
        server.put(&format!("/jobs/{number:02}"), b"{}");
    }
    server.set_page_size(3);
    server.give_empty_pages(true);
    let first = good(stage.rpc("files/list_folder", &json!({ "path": "/Jobs/", "recursive": true }))).await;
    let change = |page: usize| {
        if page < 20 {
            server.remove(&format!("/jobs/{page:02}"));
            server.put(&format!("/jobs/{:02}", 39 - page), format!("{page}").as_bytes());
            server.put(&format!("/jobs/new-{page}"), b"{}");
            server.put(&format!("/elsewhere/{page}"), b"{}");
        }
    };
    let (entries, cursor) = stage.follow(first, change).await;
    let mut known = BTreeMap::new();
    apply(&mut known, &entries);
    let fresh = good(stage.rpc("files/list_folder", &json!({ "path": "/jobs", "recursive": true }))).await;
    let (entries, _) = stage.follow(fresh, |_| {}).await;
    let mut expected = BTreeMap::new();
    apply(&mut expected, &entries);
    assert_eq!(known, expected);
    assert_eq!(known.len(), 41, "20 old ones, 20 new ones, and the folder");

    server.remove("/jobs/new-0");
    server.put("/jobs/new-1", b"other");
    let next = good(stage.rpc("files/list_folder/continue", &json!({ "cursor": cursor }))).await;
    let (entries, cursor) = stage.follow(next, |_| {}).await;
    let told: Vec<_> = entries.iter().map(|entry| (entry[".tag"].as_str(), entry["name"].as_str())).collect();
    assert_eq!(told, [(Some("deleted"), Some("new-0")), (Some("file"), Some("new-1"))]);

    server.reset_cursors();
    let reset = stage.rpc("files/list_folder/continue", &json!({ "cursor": cursor }));
    assert_eq!(outcome(reset).await, "409 reset");
}

#[tokio::test]
async fn a_folder_is_listed_with_what_lies_directly_in_it() {
    let stage = Stage::new();
    for path in ["/a/b/c", "/a/d", "/e"] {
        stage.server.put(path, b"{}");
    }
    for (argument, expected) in [
        (json!({ "path": "" }), "a e"),
        (json!({ "path": "/a" }), "b d"),
        (json!({ "path": "/a/b/" }), "c"),
        (json!({ "path": "/a", "recursive": true }), "a b c d"),
    ] {
        let (entries, _) = stage.follow(good(stage.rpc("files/list_folder", &argument)).await, |_| {}).await;
        let names: BTreeSet<_> = entries.iter().map(|entry| entry["name"].as_str().expect("a name")).collect();
        assert_eq!(names.into_iter().collect::<Vec<_>>().join(" "), expected, "{argument}");
    }
    for (path, expected) in [
        ("/", "400 text"),
        ("a", "400 text"),
        ("/nothing", "409 path/not_found"),
        ("/a/d", "409 path/not_folder"),
        ("/a//b", "409 path/malformed_path"),
    ] {
        assert_eq!(outcome(stage.rpc("files/list_folder", &json!({ "path": path }))).await, expected, "{path}");
    }
}

#[tokio::test]
async fn a_long_poll_ends_with_the_first_change_or_with_its_time() {
    let stage = Stage::new();
    stage.server.put("/jobs/a", b"{}");
    let latest = good(stage.rpc("files/list_folder/get_latest_cursor", &json!({ "path": "/jobs" }))).await;
    let poll = || stage.rpc("files/list_folder/longpoll", &json!({ "cursor": latest["cursor"], "timeout": 30 }));
    let (answer, ()) = tokio::join!(good(poll()), async {
        stage.server.put("/elsewhere/b", b"{}");
        stage.server.put("/jobs/b", b"{}");
    });
    assert_eq!(answer["changes"], true);
    let short = stage.rpc("files/list_folder/longpoll", &json!({ "cursor": latest["cursor"], "timeout": 29 }));
    assert_eq!(outcome(short).await, "400 text");
    assert_eq!(outcome(poll().bearer_auth(&stage.token)).await, "400 text");

    let latest = good(stage.rpc("files/list_folder/get_latest_cursor", &json!({ "path": "/jobs" }))).await;
    let poll = || stage.rpc("files/list_folder/longpoll", &json!({ "cursor": latest["cursor"] }));
    stage.server.set_longpoll_time(Duration::from_millis(20));
    stage.server.set_backoff(Some(7));
    let answer = good(poll()).await;
    assert_eq!((&answer["changes"], &answer["backoff"]), (&json!(false), &json!(7)));
    stage.server.reset_cursors();
    assert_eq!(outcome(poll()).await, "409 reset");
    stage.server.block_longpolls(true);
    assert!(poll().send().await.is_err());
}

#[tokio::test]
async fn what_a_client_gets_wrong_is_refused_as_the_service_does() {
    let stage = Stage::new();
    let move_v2 = || stage.post("files/move_v2").body(r#"{"from_path":"/a","to_path":"/b"}"#);
    let json_type = |request: RequestBuilder| request.header("content-type", "application/json");
    let argument = json!({ "path": "/a" }).to_string();
    let upload = || stage.post("files/upload").bearer_auth(&stage.token).body("{}");
    let octets = |request: RequestBuilder| request.header("content-type", "application/octet-stream");
    let download = || stage.post("files/download").bearer_auth(&stage.token);
    let account = || stage.post("users/get_current_account").bearer_auth(&stage.token);
    let metadata = |path: &str| stage.rpc("files/get_metadata", &json!({ "path": path }));
    for (what, request, expected) in [
        ("no login", json_type(move_v2()), "400 text"),
        ("no content type", move_v2().bearer_auth(&stage.token), "400 text"),
        ("another content type", move_v2().bearer_auth(&stage.token).header("content-type", "text/plain"), "400 text"),
        ("a wrong token", json_type(move_v2()).bearer_auth("sl.wrong"), "401 invalid_access_token"),
        ("an unknown field", stage.rpc("files/get_metadata", &json!({ "path": "/a", "deep": true })), "400 text"),
        ("no argument", octets(upload()), "400 text"),
        ("an upload as JSON", json_type(upload()).header("dropbox-api-arg", &argument), "400 text"),
        ("a raw letter", octets(upload()).header("dropbox-api-arg", "{\"path\":\"/ä\"}"), "400 text"),
        (
            "an escaped letter",
            octets(upload()).header("dropbox-api-arg", r#"{"path":"/\u00e4\ud83d\ude00"}"#),
            "200 good",
        ),
        ("a download with a body", download().header("dropbox-api-arg", &argument).body("{}"), "400 text"),
        (
            "a hash that is not",
            stage.upload(&json!({ "path": "/a", "content_hash": content_hash(b"x") }), b"y"),
            "409 content_hash_mismatch",
        ),
        ("a rev that is none", stage.rpc("files/delete_v2", &json!({ "path": "/a", "parent_rev": "xyz" })), "400 text"),
        ("the root", metadata(""), "400 text"),
        ("a trailing slash", metadata("/a/"), "409 path/malformed_path"),
        ("a trailing blank", metadata("/a "), "409 path/malformed_path"),
        ("no slash", metadata("a"), "400 text"),
        ("an account of null", account().header("content-type", "application/json").body("null"), "200 good"),
        ("an account of nothing", account(), "200 good"),
        ("an account of something", account().header("content-type", "application/json").body("{}"), "400 text"),
        ("a route of its host", account().header("host", "api.example.org"), "200 good"),
        ("a route of another host", account().header("host", "content.example.org"), "404 text"),
    ] {
        assert_eq!(outcome(request).await, expected, "{what}");
    }
    assert_eq!(stage.server.paths(), ["/ä😀"]);
    let found =
        download().header("dropbox-api-arg", r#"{"path":"/\u00e4\ud83d\ude00"}"#).send().await.expect("an answer");
    let result = found.headers()["dropbox-api-result"].to_str().expect("ASCII").to_owned();
    assert!(result.contains(r#""name":"\u00e4\ud83d\ude00""#), "{result}");
    assert_eq!(found.bytes().await.expect("content"), "{}");
}

fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))
}

#[tokio::test]
async fn a_code_is_exchanged_once_by_whoever_made_the_challenge() {
    let stage = Stage::new();
    let (server, verifier) = (&stage.server, "v".repeat(43));
    let (key, secret) = (server.app_key(), server.app_secret());
    let page = |more: &str| {
        format!("{}/oauth2/authorize?client_id={key}&response_type=code&token_access_type=offline{more}", server.url())
    };
    let token = |fields: &[(&str, &str)]| stage.client.post(format!("{}/oauth2/token", server.url())).form(fields);
    let pkce = page(&format!("&code_challenge={}&code_challenge_method=S256", challenge(&verifier)));
    let code = server.approve(&pkce).expect("a code");
    let exchange = |code: &str, more: (&str, &str)| {
        token(&[("grant_type", "authorization_code"), ("code", code), ("client_id", key), more])
    };
    assert_eq!(outcome(exchange(&code, ("code_verifier", &"w".repeat(43)))).await, "400 invalid_grant");
    assert_eq!(outcome(exchange(&code, ("client_secret", secret))).await, "400 invalid_grant");
    let tokens = good(exchange(&code, ("code_verifier", &verifier))).await;
    assert_eq!(tokens["scope"], SCOPES.join(" "));
    assert_eq!(outcome(exchange(&code, ("code_verifier", &verifier))).await, "400 invalid_grant");

    let refresh = |token_of: &Value, more: (&str, &str)| {
        let refresh_token = token_of["refresh_token"].as_str().expect("a token").to_owned();
        token(&[("grant_type", "refresh_token"), ("refresh_token", &refresh_token), ("client_id", key), more])
    };
    let access = good(refresh(&tokens, ("", ""))).await["access_token"].as_str().expect("a token").to_owned();
    assert_eq!(outcome(stage.post("users/get_current_account").bearer_auth(&access)).await, "200 good");
    assert_eq!(outcome(refresh(&tokens, ("client_secret", secret))).await, "400 invalid_request");

    let code = server.approve(&page("&scope=files.metadata.read")).expect("a code");
    assert_eq!(outcome(exchange(&code, ("client_secret", "wrong"))).await, "400 invalid_client");
    let with_secret = good(exchange(&code, ("client_secret", secret))).await;
    assert_eq!(outcome(refresh(&with_secret, ("", ""))).await, "400 invalid_client");
    let narrow = good(refresh(&with_secret, ("client_secret", secret))).await;
    let narrow = narrow["access_token"].as_str().expect("a token");
    let account = || stage.post("users/get_current_account");
    assert_eq!(outcome(account().bearer_auth(narrow)).await, "401 missing_scope");

    let code = server.approve(&pkce).expect("a code");
    server.set_code_life(Duration::ZERO);
    assert_eq!(outcome(exchange(&code, ("code_verifier", &verifier))).await, "400 invalid_grant");
    server.expire_access_tokens();
    assert_eq!(outcome(account().bearer_auth(&access)).await, "401 expired_access_token");
    server.revoke(tokens["refresh_token"].as_str().expect("a token"));
    assert_eq!(outcome(refresh(&tokens, ("", ""))).await, "400 invalid_grant");
}

#[tokio::test]
async fn calls_fail_on_demand_before_or_after_the_deed() {
    let stage = Stage::new();
    let server = &stage.server;
    let put = |path: &str| stage.upload(&json!({ "path": path, "strict_conflict": true }), b"{}");
    server.fail("files/upload", 1, When::Before, Fault::Reset);
    assert!(put("/a").send().await.is_err());
    server.fail("*", 1, When::After, Fault::Reset);
    assert!(put("/b").send().await.is_err());
    server.fail_later("files/upload", 1, 1, When::After, Fault::Status(503));
    assert_eq!(outcome(put("/c")).await, "200 good");
    assert_eq!(outcome(put("/d")).await, "503 text");
    server.fail("files/upload", 1, When::After, Fault::Hang);
    assert!(put("/e").timeout(Duration::from_millis(200)).send().await.is_err_and(|error| error.is_timeout()));
    server.fail("files/upload", 1, When::Before, Fault::TooManyRequestsInText(3));
    let refused = put("/f").send().await.expect("an answer");
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (429, &"3".parse().expect("a value")));
    assert_eq!(server.paths(), ["/b", "/c", "/d", "/e"]);
    let statuses: Vec<_> = server.calls().iter().map(|call| call.status).collect();
    assert_eq!(statuses, [None, None, Some(200), Some(503), None, Some(429)]);

    server.set_full(true);
    assert_eq!(outcome(put("/g")).await, "409 path/insufficient_space");
    server.set_full(false);
    server.limit_calls(Duration::from_secs(60), LimitForm::Json);
    let (status, text) = sent(put("/g")).await;
    assert_eq!(
        (status.as_u16(), &serde_json::from_str::<Value>(&text).expect("JSON")["error"]["retry_after"]),
        (429, &json!(60))
    );
    server.limit_calls(Duration::ZERO, LimitForm::Json);

    server.contend(Duration::from_millis(400), 2);
    let paths: Vec<_> = (0..4).map(|number| format!("/together-{number}")).collect();
    let mut outcomes = futures::future::join_all(paths.iter().map(|path| outcome(put(path)))).await;
    outcomes.sort();
    assert_eq!(outcomes, ["200 good", "200 good", "429 too_many_write_operations", "429 too_many_write_operations"]);
    server.set_down(true);
    assert!(put("/h").send().await.is_err());
    server.set_down(false);
    assert_eq!(outcome(put("/h")).await, "200 good");
}
