//! HTTP: connections that can be cut, the checks that every call passes, and the turns of writers.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request, State as AxumState};
use axum::http::{HeaderMap, Method, request::Parts};
use axum::response::Response;
use axum::serve::{IncomingStream, Listener};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::super::certificates::ServerCertificate;
use super::answers::Answer;
use super::faults::{Call, Fault, Faults, When};
use super::files::Files;
use super::listing::Paging;
use super::oauth::Logins;
use super::routes::{Arguments, Conditions, Route, Style, read_longpoll, read_range};

/// All that the service knows.
#[derive(Debug)]
pub(super) struct State {
    pub(super) files: Files,
    pub(super) logins: Logins,
    pub(super) faults: Faults,
    pub(super) calls: Vec<Call>,
    pub(super) paging: Paging,
    pub(super) cursor_age: u64,
    /// How far the clock of the service is ahead, in seconds.
    pub(super) clock_offset: i64,
    pub(super) longpoll_time: Option<Duration>,
    pub(super) backoff: Option<u64>,
    /// How often long polls were woken for nothing.
    pub(super) pokes: u64,
    pub(super) write_time: Duration,
    pub(super) most_writers: usize,
}

impl State {
    pub(super) fn now(&self) -> i64 {
        jiff::Timestamp::now().as_second() + self.clock_offset
    }
}

/// The state, shared by the connections and the tests.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Counts the changes that long polls wake up for.
    pub(super) changes: watch::Sender<u64>,
    turns: tokio::sync::Mutex<()>,
    writers: AtomicUsize,
}

impl Shared {
    pub(super) fn new(logins: Logins) -> Self {
        let state = State {
            files: Files::default(),
            logins,
            faults: Faults::default(),
            calls: Vec::new(),
            paging: Paging { size: usize::MAX, empty: false },
            cursor_age: 1,
            clock_offset: 0,
            longpoll_time: None,
            backoff: None,
            pokes: 0,
            write_time: Duration::ZERO,
            most_writers: usize::MAX,
        };
        let turns = tokio::sync::Mutex::new(());
        Self { state: Mutex::new(state), changes: watch::Sender::new(0), turns, writers: AtomicUsize::new(0) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with the lock")
    }

    pub(super) fn announce_change(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

/// Serves until the runtime ends.
pub(super) async fn serve(
    listener: std::net::TcpListener,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
) -> io::Result<()> {
    let listener = CuttableListener { listener: TcpListener::from_std(listener)?, tls };
    let router = axum::Router::new().fallback(handle).with_state(shared);
    axum::serve(listener, router.into_make_service_with_connect_info::<Scissors>()).await
}

/// What speaks TLS with this certificate.
pub(super) fn acceptor(certificate: &ServerCertificate) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).expect("a key");
    let chain = CertificateDer::pem_slice_iter(certificate.certificate.as_bytes());
    let chain = chain.collect::<Result<_, _>>().expect("a certificate");
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("they belong together");
    TlsAcceptor::from(Arc::new(config))
}

struct CuttableListener {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
}

/// A connection that can be reset.
struct Cuttable {
    stream: Stream,
    scissors: Scissors,
}

enum Stream {
    Plain(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
}

/// How long a client may take to agree on encryption; meanwhile the others wait.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// Resets its connection at the next use.
#[derive(Debug, Clone, Default)]
pub(super) struct Scissors(Arc<AtomicBool>);

impl Listener for CuttableListener {
    type Io = Cuttable;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Cuttable, SocketAddr) {
        loop {
            let (stream, address) = Listener::accept(&mut self.listener).await;
            let stream = match &self.tls {
                None => Stream::Plain(stream),
                Some(tls) => match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
                    Ok(Ok(stream)) => Stream::Encrypted(Box::new(stream)),
                    // A client that does not trust us, or speaks no TLS.
                    Ok(Err(_)) | Err(_) => continue,
                },
            };
            return (Cuttable { stream, scissors: Scissors::default() }, address);
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Connected<IncomingStream<'_, CuttableListener>> for Scissors {
    fn connect_info(stream: IncomingStream<'_, CuttableListener>) -> Self {
        stream.io().scissors.clone()
    }
}

impl Cuttable {
    fn check(&self) -> io::Result<()> {
        if self.scissors.0.load(Ordering::Relaxed) {
            // Closed in this way, the peer sees a reset and not an end.
            match &self.stream {
                Stream::Plain(stream) => stream.set_zero_linger()?,
                Stream::Encrypted(stream) => stream.get_ref().0.set_zero_linger()?,
            }
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl AsyncRead for Cuttable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Encrypted(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Cuttable {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Encrypted(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Encrypted(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Encrypted(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

async fn handle(
    AxumState(shared): AxumState<Arc<Shared>>,
    ConnectInfo(scissors): ConnectInfo<Scissors>,
    request: Request,
) -> Response {
    const LARGEST: usize = 151 << 20;
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().trim_start_matches('/');
    let route = path.strip_prefix("2/").unwrap_or(path).to_owned();
    let Ok(body) = to_bytes(body, LARGEST).await else { return cut(&scissors) };
    let (fault, delay) = {
        let mut state = shared.state();
        (state.faults.take(&route), state.faults.delay)
    };
    let (mut answer, authorized) = match fault {
        Some((When::Before, fault)) => (fault.answer(), false),
        after => {
            let (answer, authorized) = answer_call(&shared, &parts, &route, &body).await;
            (after.map_or(Some(answer), |(_, fault)| fault.answer()), authorized)
        }
    };
    tokio::time::sleep(delay).await;
    let now = {
        let mut state = shared.state();
        if state.faults.down {
            answer = None;
        }
        let status = answer.as_ref().map(|answer| answer.status);
        state.calls.push(Call { route, authorized, status });
        state.now()
    };
    match (answer, fault) {
        (Some(answer), _) => answer.into_response(now),
        (None, Some((_, Fault::Hang))) => pending().await,
        (None, _) => cut(&scissors),
    }
}

fn cut(scissors: &Scissors) -> Response {
    scissors.0.store(true, Ordering::Relaxed);
    Response::new(Body::empty())
}

/// The answer, and whether the call brought a token that was good for it.
async fn answer_call(shared: &Shared, parts: &Parts, name: &str, body: &[u8]) -> (Answer, bool) {
    if parts.method != Method::POST {
        return (Answer::text(405, "The method is not allowed for this URL."), false);
    }
    if name == "oauth2/token" {
        return (token(shared, &parts.headers, body), false);
    }
    let host = text(&parts.headers, "host").unwrap_or_default();
    let Some(route) = Route::named(name).filter(|route| route.is_served_by(host)) else {
        return (Answer::text(404, &format!("Unknown API function: \"{name}\"")), false);
    };
    if let Some(refusal) = shared.state().faults.refusal(Instant::now()) {
        return (refusal, false);
    }
    let bad = |what: String| Answer::bad_call(name, &what);
    if route.style == Style::Longpoll {
        return (longpoll(shared, &parts.headers, body).await.unwrap_or_else(bad), false);
    }
    let token = match bearer(&parts.headers) {
        Ok(token) => token,
        Err(what) => return (bad(what), false),
    };
    let check = shared.state().logins.check(token, route.scope);
    if let Err(error) = check {
        return (error.answer(), false);
    }
    (call(shared, &route, parts, body, token).await.unwrap_or_else(bad), true)
}

/// A call by somebody who may make it. What is wrong with it in form is the error.
async fn call(shared: &Shared, route: &Route, parts: &Parts, body: &[u8], token: &str) -> Result<Answer, String> {
    let content_type = text(&parts.headers, "content-type");
    let argument = match route.style {
        Style::Upload => {
            check_content_type(content_type, &["application/octet-stream", CORS])?;
            api_argument(&parts.headers)?
        }
        Style::Download => {
            if !matches!(content_type, None | Some("")) {
                check_content_type(content_type, &["application/octet-stream", "text/plain"])?;
            }
            if !body.is_empty() {
                return Err("Non-empty HTTP request body. The argument is in the header.".to_owned());
            }
            api_argument(&parts.headers)?
        }
        Style::Rpc | Style::Longpoll => {
            if content_type.is_some() || !body.is_empty() {
                check_content_type(content_type, &["application/json", "application/json; charset=utf-8", CORS])?;
            }
            String::from_utf8(body.to_vec()).map_err(|_| "request body: could not decode input as UTF-8".to_owned())?
        }
    };
    if let Some(answer) = shared.state().call_without_argument(route, token) {
        let is_null = argument.trim() == "null" || (argument.is_empty() && content_type.is_none());
        return if is_null { Ok(answer) } else { Err(format!("request body: expected null, got '{argument}'")) };
    }
    let arguments = Arguments::read(&argument).map_err(|what| format!("request body: {what}"))?;
    let conditions = Conditions {
        if_none_match: text(&parts.headers, "if-none-match").map(ToOwned::to_owned),
        range: text(&parts.headers, "range").and_then(read_range),
    };
    if !route.writes {
        return shared.state().call(route, arguments, body, &conditions);
    }
    let Some(_writer) = Writer::enter(shared) else {
        return Ok(Answer::too_many("too_many_write_operations", None, false));
    };
    let turn = shared.turns.lock().await;
    let write_time = shared.state().write_time;
    tokio::time::sleep(write_time).await;
    let answer = shared.state().call(route, arguments, body, &conditions);
    shared.announce_change();
    drop(turn);
    answer
}

/// One of those that wait for the lock of the account.
struct Writer<'a>(&'a Shared);

impl<'a> Writer<'a> {
    fn enter(shared: &'a Shared) -> Option<Self> {
        let most = shared.state().most_writers;
        let writer = Self(shared);
        (shared.writers.fetch_add(1, Ordering::Relaxed) < most).then_some(writer)
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        self.0.writers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Waits for news behind the cursor, for the time-out and some more at most.
async fn longpoll(shared: &Shared, headers: &HeaderMap, body: &[u8]) -> Result<Answer, String> {
    if headers.contains_key("authorization") {
        return Err("Unexpected HTTP header \"Authorization\": this function takes none.".to_owned());
    }
    check_content_type(text(headers, "content-type"), &["application/json", "application/json; charset=utf-8", CORS])?;
    let body = str::from_utf8(body).map_err(|error| error.to_string())?;
    let (cursor, seconds) = Arguments::read(body).and_then(read_longpoll)?;
    let mut changes = shared.changes.subscribe();
    let (time, first_pokes) = {
        let state = shared.state();
        let jitter = Duration::from_secs(rand::random_range(0..=90));
        (state.longpoll_time.unwrap_or(Duration::from_secs(seconds) + jitter), state.pokes)
    };
    let end = tokio::time::Instant::now() + time;
    loop {
        let (is_reset, has_news, backoff) = {
            let state = shared.state();
            let has_news = state.files.has_news(&cursor) || state.pokes != first_pokes;
            (state.cursor_age != cursor.age, has_news, state.backoff)
        };
        if is_reset {
            return Ok(Answer::endpoint_error(&["reset"]));
        }
        let is_over = !has_news && tokio::time::timeout_at(end, changes.changed()).await.is_err();
        if has_news || is_over {
            let mut answer = json!({ "changes": has_news, "x_since_next_year": 1 });
            if let Some(backoff) = backoff {
                answer["backoff"] = backoff.into();
            }
            return Ok(Answer::good(&answer));
        }
    }
}

fn token(shared: &Shared, headers: &HeaderMap, body: &[u8]) -> Answer {
    let form = "application/x-www-form-urlencoded";
    let is_form = text(headers, "content-type").is_some_and(|found| found.split(';').next() == Some(form));
    match str::from_utf8(body) {
        Ok(body) if is_form => shared.state().logins.token(body, text(headers, "authorization")),
        _ => Answer::oauth_error("invalid_request", "the body is no form"),
    }
}

const CORS: &str = "text/plain; charset=dropbox-cors-hack";

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn check_content_type(found: Option<&str>, allowed: &[&str]) -> Result<(), String> {
    match found {
        Some(found) if allowed.contains(&found.to_lowercase().as_str()) => Ok(()),
        Some(found) => Err(format!("Bad HTTP \"Content-Type\" header: \"{found}\". Expecting one of {allowed:?}.")),
        None => Err(format!("Missing HTTP \"Content-Type\" header. Expecting one of {allowed:?}.")),
    }
}

fn bearer(headers: &HeaderMap) -> Result<&str, String> {
    let Some(value) = headers.get("authorization") else {
        return Err("Must provide HTTP header \"Authorization\" or URL parameter \"authorization\".".to_owned());
    };
    let token = value.to_str().ok().and_then(|value| value.strip_prefix("Bearer ")).filter(|token| !token.is_empty());
    token.ok_or_else(|| {
        "Invalid authorization value in HTTP header \"Authorization\". Expecting \"Bearer <oauth2-access-token>\"."
            .to_owned()
    })
}

fn api_argument(headers: &HeaderMap) -> Result<String, String> {
    let Some(value) = headers.get("dropbox-api-arg") else {
        return Err("Must provide HTTP header \"Dropbox-API-Arg\" or URL parameter \"arg\".".to_owned());
    };
    let is_plain = value.as_bytes().iter().all(|byte| (b' '..=b'~').contains(byte));
    match value.to_str() {
        Ok(text) if is_plain => Ok(text.to_owned()),
        _ => Err("HTTP header \"Dropbox-API-Arg\": could not decode input as JSON: it is not ASCII".to_owned()),
    }
}
