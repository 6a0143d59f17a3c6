//! Apps, codes, and tokens.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::answers::Answer;

/// The scopes of the app in a new server.
pub(crate) const SCOPES: [&str; 4] =
    ["account_info.read", "files.content.read", "files.content.write", "files.metadata.read"];

type Scopes = BTreeSet<String>;

#[derive(Debug)]
pub(super) struct App {
    secret: String,
    /// What the console of the app allows. It counts when a code is given.
    pub(super) scopes: Scopes,
}

/// A code that a person was shown.
#[derive(Debug)]
struct Code {
    app: String,
    challenge: Option<String>,
    redirect_uri: Option<String>,
    offline: bool,
    scopes: Scopes,
    given: Instant,
    used: bool,
}

#[derive(Debug, Clone)]
struct Refresh {
    app: String,
    /// Whether it came without the secret of the app.
    from_pkce: bool,
    scopes: Scopes,
}

#[derive(Debug)]
struct Access {
    refresh: Option<String>,
    scopes: Scopes,
    end: Instant,
}

/// Why a token is not good for a call.
#[derive(Debug)]
pub(super) struct Unauthorized(&'static str, Value);

impl Unauthorized {
    pub(super) fn answer(self) -> Answer {
        Answer::auth_error(self.0, self.1)
    }
}

/// What the service knows of logins.
#[derive(Debug)]
pub(super) struct Logins {
    pub(super) apps: BTreeMap<String, App>,
    codes: HashMap<String, Code>,
    refreshes: HashMap<String, Refresh>,
    accesses: HashMap<String, Access>,
    /// Scopes that no token has, whatever it was promised.
    pub(super) withheld: Scopes,
    pub(super) token_life: Duration,
    pub(super) code_life: Duration,
    /// Whether a secret may come with a refresh token that was born without it.
    pub(super) takes_secret_with_pkce: bool,
    /// Whether a code never gives a refresh token.
    pub(super) never_offline: bool,
}

type Form = HashMap<String, String>;

fn random_text(prefix: &str, length: usize) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    let letters = (0..length).map(|_| char::from(LETTERS[rand::random_range(0..LETTERS.len())]));
    prefix.chars().chain(letters).collect()
}

/// Reads a form, or the query of a URL.
pub(super) fn read_form(text: &str) -> Option<Form> {
    fn decode(text: &str) -> Option<String> {
        let (mut bytes, mut rest) = (Vec::new(), text.bytes());
        while let Some(byte) = rest.next() {
            bytes.push(match byte {
                b'+' => b' ',
                b'%' => {
                    let digits = [rest.next()?, rest.next()?];
                    u8::from_str_radix(str::from_utf8(&digits).ok()?, 16).ok()?
                }
                other => other,
            });
        }
        String::from_utf8(bytes).ok()
    }
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').and_then(|(name, value)| Some((decode(name)?, decode(value)?)))).collect()
}

type OAuthError = (&'static str, &'static str);

impl Logins {
    pub(super) fn new() -> Self {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        Self {
            apps: BTreeMap::new(),
            codes: HashMap::new(),
            refreshes: HashMap::new(),
            accesses: HashMap::new(),
            withheld: Scopes::new(),
            token_life: hours(4),
            code_life: Duration::from_secs(600),
            takes_secret_with_pkce: false,
            never_offline: false,
        }
    }

    /// Registers an app with all scopes, and gives its key and secret.
    pub(super) fn new_app(&mut self) -> (String, String) {
        let text = |length| random_text("", length).to_lowercase().replace(['_', '-'], "z");
        let (key, secret) = (text(15), text(15));
        let scopes = SCOPES.map(ToOwned::to_owned).into();
        self.apps.insert(key.clone(), App { secret: secret.clone(), scopes });
        (key, secret)
    }

    /// A refresh token with all scopes of the app.
    pub(super) fn new_refresh(&mut self, app: &str, from_pkce: bool) -> String {
        let refresh = Refresh { app: app.to_owned(), from_pkce, scopes: self.apps[app].scopes.clone() };
        let token = random_text("", 64);
        self.refreshes.insert(token.clone(), refresh);
        token
    }

    pub(super) fn new_access(&mut self, refresh: Option<String>, scopes: Scopes) -> String {
        let token = random_text("sl.u.", 130);
        self.accesses.insert(token.clone(), Access { refresh, scopes, end: Instant::now() + self.token_life });
        token
    }

    pub(super) fn expire_all(&mut self) {
        let now = Instant::now();
        self.accesses.values_mut().for_each(|access| access.end = access.end.min(now));
    }

    /// Makes a refresh token, or an access token with the refresh token that it came from, worthless.
    pub(super) fn revoke(&mut self, token: &str) {
        let refresh = self.accesses.get(token).and_then(|access| access.refresh.clone());
        let refresh = refresh.unwrap_or_else(|| token.to_owned());
        self.refreshes.remove(&refresh);
        self.accesses.retain(|name, access| name != token && access.refresh.as_ref() != Some(&refresh));
    }

    /// Whether an access token is good for a call that needs `scope`.
    pub(super) fn check(&self, token: &str, scope: Option<&str>) -> Result<(), Unauthorized> {
        let Some(access) = self.accesses.get(token) else {
            return Err(Unauthorized("invalid_access_token", json!({})));
        };
        if access.end <= Instant::now() {
            return Err(Unauthorized("expired_access_token", json!({})));
        }
        match scope {
            Some(scope) if !access.scopes.contains(scope) || self.withheld.contains(scope) => {
                Err(Unauthorized("missing_scope", json!({ "required_scope": scope })))
            }
            _ => Ok(()),
        }
    }

    /// What a person does who opens `url`, logs in and agrees: gives the code that the page shows.
    ///
    /// # Errors
    ///
    /// What the page says in place of a code.
    pub(super) fn approve(&mut self, url: &str) -> Result<String, String> {
        let query = url.split_once("/oauth2/authorize?").ok_or("this is not the page")?.1;
        let form = read_form(query).ok_or("the query cannot be read")?;
        let field = |name: &str| form.get(name).map(String::as_str);
        let app = field("client_id").ok_or("client_id is missing")?;
        let allowed = &self.apps.get(app).ok_or("there is no app with this client_id")?.scopes;
        if field("response_type") != Some("code") {
            return Err("response_type must be code".to_owned());
        }
        let challenge = match (field("code_challenge"), field("code_challenge_method")) {
            (None, None) => None,
            (Some(challenge), Some("S256")) if challenge.len() == 43 => Some(challenge.to_owned()),
            _ => return Err("code_challenge is not one by S256".to_owned()),
        };
        // A scope that the console does not allow is left out of what is granted.
        let asked: Option<Scopes> = field("scope").map(|list| list.split(' ').map(ToOwned::to_owned).collect());
        let scopes = asked.map_or_else(|| allowed.clone(), |asked| asked.intersection(allowed).cloned().collect());
        let code = Code {
            app: app.to_owned(),
            challenge,
            redirect_uri: field("redirect_uri").map(ToOwned::to_owned),
            offline: field("token_access_type") == Some("offline") && !self.never_offline,
            scopes,
            given: Instant::now(),
            used: false,
        };
        let text = random_text("", 43);
        self.codes.insert(text.clone(), code);
        Ok(text)
    }

    /// `oauth2/token`.
    pub(super) fn token(&mut self, body: &str, authorization: Option<&str>) -> Answer {
        let Some(mut form) = read_form(body) else {
            return Answer::oauth_error("invalid_request", "the form cannot be read");
        };
        if let Some(basic) = authorization {
            let text = basic.strip_prefix("Basic ").and_then(|text| STANDARD.decode(text).ok());
            let text = text.and_then(|text| String::from_utf8(text).ok());
            let Some((key, secret)) = text.as_deref().and_then(|text| text.split_once(':')) else {
                return Answer::oauth_error("invalid_client", "the basic authorization cannot be read");
            };
            form.insert("client_id".to_owned(), key.to_owned());
            form.insert("client_secret".to_owned(), secret.to_owned());
        }
        let answer = match form.get("grant_type").map(String::as_str) {
            Some("authorization_code") => self.exchange(&form),
            Some("refresh_token") => self.refresh(&form),
            Some(_) => Err(("unsupported_grant_type", "grant_type must be authorization_code or refresh_token")),
            None => Err(("invalid_request", "missing required field \"grant_type\"")),
        };
        match answer {
            Ok(value) => Answer::good(&value),
            Err((error, description)) => Answer::oauth_error(error, description),
        }
    }

    /// The app, and whether its secret was given.
    fn client(&self, form: &Form) -> Result<(String, bool), OAuthError> {
        let key = form.get("client_id").ok_or(("invalid_client", "no client_id was given"))?;
        let app = self.apps.get(key).ok_or(("invalid_client", "Invalid client_id or client_secret"))?;
        match form.get("client_secret") {
            Some(secret) if *secret != app.secret => Err(("invalid_client", "Invalid client_id or client_secret")),
            secret => Ok((key.clone(), secret.is_some())),
        }
    }

    fn exchange(&mut self, form: &Form) -> Result<Value, OAuthError> {
        let (app, has_secret) = self.client(form)?;
        let text = form.get("code").ok_or(("invalid_request", "missing required field \"code\""))?;
        let code = self.codes.get_mut(text).filter(|code| code.app == app && code.given.elapsed() < self.code_life);
        let code = code.ok_or(("invalid_grant", "code doesn't exist or has expired"))?;
        if code.used {
            return Err(("invalid_grant", "code has already been used"));
        }
        if code.redirect_uri.as_ref() != form.get("redirect_uri") {
            return Err(("invalid_grant", "redirect_uri mismatch"));
        }
        match (&code.challenge, form.get("code_verifier")) {
            (Some(challenge), Some(verifier)) => {
                let is_formed = (43..=128).contains(&verifier.len())
                    && verifier.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
                if !is_formed || URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)) != *challenge {
                    return Err(("invalid_grant", "invalid code verifier"));
                }
            }
            (Some(_), None) => return Err(("invalid_grant", "code verifier is missing")),
            (None, Some(_)) => return Err(("invalid_grant", "the code was given without a challenge")),
            (None, None) if !has_secret => return Err(("invalid_client", "client_secret is missing")),
            (None, None) => {}
        }
        code.used = true;
        let (from_pkce, scopes, offline) = (code.challenge.is_some(), code.scopes.clone(), code.offline);
        let refresh = offline.then(|| random_text("", 64));
        if let Some(token) = &refresh {
            self.refreshes.insert(token.clone(), Refresh { app, from_pkce, scopes: scopes.clone() });
        }
        let mut answer = json!({
            "access_token": self.new_access(refresh.clone(), scopes.clone()),
            "token_type": "bearer",
            "expires_in": self.token_life.as_secs(),
            "scope": scopes.into_iter().collect::<Vec<_>>().join(" "),
            "uid": "12345",
            "account_id": super::routes::ACCOUNT_ID,
        });
        if let Some(token) = refresh {
            answer["refresh_token"] = token.into();
        }
        Ok(answer)
    }

    fn refresh(&mut self, form: &Form) -> Result<Value, OAuthError> {
        let (app, has_secret) = self.client(form)?;
        let token = form.get("refresh_token").ok_or(("invalid_request", "missing required field \"refresh_token\""))?;
        let refresh = self.refreshes.get(token).filter(|refresh| refresh.app == app).cloned();
        let refresh = refresh.ok_or(("invalid_grant", "refresh token is invalid or revoked"))?;
        if !refresh.from_pkce && !has_secret {
            return Err(("invalid_client", "client_secret is missing"));
        }
        if refresh.from_pkce && has_secret && !self.takes_secret_with_pkce {
            return Err(("invalid_request", "client_secret is not expected with this refresh token"));
        }
        let mut scopes = refresh.scopes;
        if let Some(list) = form.get("scope") {
            let asked: Scopes = list.split(' ').map(ToOwned::to_owned).collect();
            if !asked.is_subset(&scopes) {
                return Err(("invalid_scope", "a scope was not granted"));
            }
            scopes = asked;
        }
        let access = self.new_access(Some(token.clone()), scopes);
        Ok(json!({ "access_token": access, "token_type": "bearer", "expires_in": self.token_life.as_secs() }))
    }
}
