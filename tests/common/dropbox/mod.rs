//! A server of the Dropbox HTTP API for tests, from the public specification: one account with its files, apps with
//! their tokens, and everything that can go wrong, on demand.
//!
//! All routes lie under one base URL: `/2/files/…`, `/2/users/…`, `/2/auth/…`, `/oauth2/token`. Where a call comes by a
//! host such as `content.…`, the server insists on the one that the service has for the route.
//!
//! What the specification leaves open has a switch, and the stricter reading is the default.

mod answers;
mod faults;
mod files;
mod listing;
mod oauth;
mod routes;
mod server;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;
use tokio::sync::oneshot;

pub(crate) use faults::{Call, Fault, LimitForm, When};
#[allow(unused_imports, reason = "each test takes its part")]
pub(crate) use files::content_hash;
#[allow(unused_imports, reason = "each test takes its part")]
pub(crate) use oauth::SCOPES;

use super::certificates::Authority;
use files::{Mode, Upload};
use oauth::Logins;
use server::{Shared, acceptor, serve};

/// A running server. It ends with this value; calls that still hang are reset.
///
/// It has a thread and a runtime of its own, so that it serves tests with whatever runtime, and other processes.
#[derive(Debug)]
pub(crate) struct DropboxServer {
    shared: Arc<Shared>,
    url: String,
    app_key: String,
    app_secret: String,
    refresh_token: String,
    /// The authority to trust, where the server is encrypted.
    ca_file: Option<NamedTempFile>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl DropboxServer {
    /// Starts a server with an empty account and one app, which has all scopes and a refresh token.
    pub(crate) fn start() -> Self {
        Self::with_encryption(None)
    }

    /// The same, encrypted: the certificate is for `localhost`, by the authority of [`ca_file`](Self::ca_file).
    pub(crate) fn start_encrypted() -> Self {
        Self::with_encryption(Some(&Authority::new("Dropbox of the tests")))
    }

    fn with_encryption(authority: Option<&Authority>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("set");
        let address = listener.local_addr().expect("bound");
        let url = match authority {
            Some(_) => format!("https://localhost:{}", address.port()),
            None => format!("http://{address}"),
        };
        let tls = authority.map(|authority| acceptor(&authority.sign_server()));
        let ca_file = authority.map(|authority| {
            let file = NamedTempFile::new().expect("a file");
            std::fs::write(file.path(), authority.pem()).expect("written");
            file
        });
        let mut logins = Logins::new();
        let (app_key, app_secret) = logins.new_app();
        let refresh_token = logins.new_refresh(&app_key, true);
        let shared = Arc::new(Shared::new(logins));
        let (stop, stopped) = oneshot::channel();
        let served = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                tokio::select! {
                    ended = serve(listener, tls, served) => ended.expect("it serves"),
                    _ = stopped => {}
                }
            });
        });
        Self { shared, url, app_key, app_secret, refresh_token, ca_file, stop: Some(stop), thread: Some(thread) }
    }

    /// The base URL, without a slash at its end.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The authority to trust, where the server is encrypted.
    pub(crate) fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_ref().map(NamedTempFile::path)
    }

    pub(crate) fn app_key(&self) -> &str {
        &self.app_key
    }

    pub(crate) fn app_secret(&self) -> &str {
        &self.app_secret
    }

    /// A refresh token that came by PKCE: it is used without the secret, and refused with it.
    pub(crate) fn refresh_token(&self) -> &str {
        &self.refresh_token
    }

    /// A new refresh token that came with the secret of the app: it is used with it only.
    pub(crate) fn refresh_token_with_secret(&self) -> String {
        self.shared.state().logins.new_refresh(&self.app_key, false)
    }

    /// A new access token with these scopes.
    pub(crate) fn access_token(&self, scopes: &[&str]) -> String {
        self.shared.state().logins.new_access(None, scopes.iter().map(ToString::to_string).collect())
    }

    /// What a person does who opens the URL of the authorize page and agrees. Gives the code that the page shows, or
    /// what it says instead.
    pub(crate) fn approve(&self, url: &str) -> Result<String, String> {
        if !url.starts_with(&self.url) {
            return Err(format!("{url} is not of this server"));
        }
        self.shared.state().logins.approve(url)
    }

    /// Lets all access tokens expire now.
    pub(crate) fn expire_access_tokens(&self) {
        self.shared.state().logins.expire_all();
    }

    /// How long new access tokens live. `expires_in` tells it in whole seconds. At the beginning: 4 hours.
    pub(crate) fn set_token_life(&self, life: Duration) {
        self.shared.state().logins.token_life = life;
    }

    /// How long codes live. At the beginning: 10 minutes.
    pub(crate) fn set_code_life(&self, life: Duration) {
        self.shared.state().logins.code_life = life;
    }

    /// Makes a refresh token worthless, with the access tokens that came of it.
    pub(crate) fn revoke(&self, token: &str) {
        self.shared.state().logins.revoke(token);
    }

    /// What the app's console allows. It counts for what is approved from now on.
    pub(crate) fn set_scopes(&self, scopes: &[&str]) {
        let scopes = scopes.iter().map(ToString::to_string).collect();
        self.shared.state().logins.apps.get_mut(&self.app_key).expect("the app").scopes = scopes;
    }

    /// Refuses every call that needs this scope, although its token was granted it.
    pub(crate) fn withhold_scope(&self, scope: &str) {
        self.shared.state().logins.withheld.insert(scope.to_owned());
    }

    /// Whether a secret may come along with a refresh token of PKCE. At the beginning it may not.
    pub(crate) fn take_secret_with_pkce(&self, takes: bool) {
        self.shared.state().logins.takes_secret_with_pkce = takes;
    }

    /// Never gives a refresh token for a code, as if the page had been asked for online access.
    pub(crate) fn never_give_refresh_tokens(&self) {
        self.shared.state().logins.never_offline = true;
    }

    /// The most entries of a page; 0 counts as 1.
    pub(crate) fn set_page_size(&self, size: usize) {
        self.shared.state().paging.size = size;
    }

    /// Puts an empty page with `has_more` before each page.
    pub(crate) fn give_empty_pages(&self, empty: bool) {
        self.shared.state().paging.empty = empty;
    }

    /// Refuses all calls but those for tokens with 429 for this long. Seconds to wait are rounded up.
    pub(crate) fn limit_calls(&self, duration: Duration, form: LimitForm) {
        self.shared.state().faults.limit_until(Instant::now() + duration, form);
    }

    /// Lets writes hold the lock of the account for `time`, and refuses those that come while `most` writes wait or
    /// write already, with 429 for contention.
    pub(crate) fn contend(&self, time: Duration, most: usize) {
        let mut state = self.shared.state();
        (state.write_time, state.most_writers) = (time, most);
    }

    /// Lets the next `count` calls of a route fail. A route is named as in `files/move_v2` or `oauth2/token`; `*` is any.
    pub(crate) fn fail(&self, route: &str, count: usize, when: When, fault: Fault) {
        self.fail_later(route, 0, count, when, fault);
    }

    /// The same after `skip` further calls that do not fail by this.
    pub(crate) fn fail_later(&self, route: &str, skip: usize, count: usize, when: When, fault: Fault) {
        self.shared.state().faults.add(route, skip, count, when, fault);
    }

    /// Forgets the failures that were ordered and have not come yet.
    pub(crate) fn fail_no_more(&self) {
        self.shared.state().faults.forget();
    }

    /// Resets every connection that brings a call, until it is up again.
    pub(crate) fn set_down(&self, down: bool) {
        self.shared.state().faults.down = down;
        self.wake_longpolls();
    }

    /// Waits this long before each answer.
    pub(crate) fn delay_answers(&self, delay: Duration) {
        self.shared.state().faults.delay = delay;
    }

    /// Makes all cursors of before worthless: `reset`.
    pub(crate) fn reset_cursors(&self) {
        self.shared.state().cursor_age += 1;
        self.shared.announce_change();
    }

    /// Resets the connection of each new long poll, as a firewall does.
    pub(crate) fn block_longpolls(&self, blocked: bool) {
        self.shared.state().faults.longpoll_blocked = blocked;
    }

    /// How long a long poll waits, in place of what it asks and up to 90 s of jitter.
    pub(crate) fn set_longpoll_time(&self, time: Duration) {
        self.shared.state().longpoll_time = Some(time);
    }

    /// Answers the long polls that wait now with `changes`, although nothing is new.
    pub(crate) fn wake_longpolls(&self) {
        self.shared.state().pokes += 1;
        self.shared.announce_change();
    }

    /// The seconds that long polls are told to wait before the next one.
    pub(crate) fn set_backoff(&self, seconds: Option<u64>) {
        self.shared.state().backoff = seconds;
    }

    /// Whether uploads find the account full.
    pub(crate) fn set_full(&self, full: bool) {
        self.shared.state().files.full = full;
    }

    /// Whether a move sets `server_modified`. At the beginning it does not; it always changes the rev.
    pub(crate) fn change_times_at_moves(&self, change: bool) {
        self.shared.state().files.moves_change_times = change;
    }

    /// Whether a move whose source is gone, and whose target exists, is told of the target (`to/conflict`) in place of
    /// the source (`from_lookup/not_found`), as at the beginning.
    pub(crate) fn tell_late_moves_of_the_target(&self, tell: bool) {
        self.shared.state().files.late_moves_conflict = tell;
    }

    /// How far the clock of the service is ahead, in seconds: in `server_modified` and in the header `Date`.
    pub(crate) fn set_clock_offset(&self, seconds: i64) {
        self.shared.state().clock_offset = seconds;
    }

    /// The calls that were answered or broken off, oldest first.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.shared.state().calls.clone()
    }

    /// How many calls of a route there were.
    pub(crate) fn count(&self, route: &str) -> usize {
        self.shared.state().calls.iter().filter(|call| call.route == route).count()
    }

    /// Begins to count anew.
    pub(crate) fn forget_calls(&self) {
        self.shared.state().calls.clear();
    }

    /// The paths of all files and folders, as they are spelt, sorted; folders end in a slash.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.shared.state().files.paths()
    }

    /// The content of a file.
    pub(crate) fn content(&self, path: &str) -> Option<Vec<u8>> {
        self.shared.state().files.content(path)
    }

    /// Puts a file, in place of one that is there, as another program would.
    pub(crate) fn put(&self, path: &str, content: &[u8]) {
        let now = self.shared.state().now();
        self.put_at(path, content, now);
    }

    /// The same at a time of its own, in seconds since 1970.
    pub(crate) fn put_at(&self, path: &str, content: &[u8], time: i64) {
        let upload =
            Upload { path, mode: Mode::Overwrite, autorename: false, strict_conflict: true, client_modified: None };
        self.shared.state().files.upload(&upload, content, time).expect("the file can be put");
        self.shared.announce_change();
    }

    /// Removes a file, or a folder with all below it, as another program would.
    pub(crate) fn remove(&self, path: &str) {
        self.shared.state().files.delete(path, None).expect("it is there");
        self.shared.announce_change();
    }
}

impl Drop for DropboxServer {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // A server that has failed hears nothing more; that shows at the thread.
            let _heard = stop.send(());
        }
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            assert!(!matches!(ended, Some(Err(_))), "the server has failed");
        }
    }
}
