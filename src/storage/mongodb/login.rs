//! From the options of a storage to those of the driver.

use std::fs;
use std::time::Duration;

use mongodb::options::{
    Acknowledgment, ClientOptions, ReadPreference, SelectionCriteria, Tls, TlsOptions, WriteConcern,
};

use super::error::Origin;
use crate::job::StorageName;
use crate::secret::Secret;
use crate::storage::options::MongodbOptions;
use crate::storage::secret_key::SecretKey;
use crate::storage::{StorageError, StorageErrorKind};

const APP_NAME: &str = "qspool";

/// Where to connect and how.
pub(super) struct Login {
    pub(super) options: ClientOptions,
    pub(super) origin: Origin,
    /// How long an operation may wait for the server.
    pub(super) timeout: Duration,
}

impl Login {
    /// Reads the secrets, and for a bare host asks the name service for the servers.
    pub(super) async fn read(storage: &StorageName, options: &MongodbOptions) -> Result<Self, StorageError> {
        let key = |key, value, file| SecretKey { storage, key, value, file };
        let url = key(
            "mongodb_database_url",
            options.mongodb_database_url.as_ref(),
            options.mongodb_database_url_file.as_ref(),
        )
        .require()?;
        let password =
            key("mongodb_password", options.mongodb_password.as_ref(), options.mongodb_password_file.as_ref())
                .read()?;
        // Shown by its host also where the URL came from a file.
        let shown = MongodbOptions { mongodb_database_url: Some(url.clone()), ..options.clone() }.to_string();
        let origin = Origin { storage: storage.clone(), shown };
        let denied = |what: String| StorageError::new(StorageErrorKind::Denied, format!("storage.{storage}.{what}"));
        let url = whole_url(storage, url.expose(), options.mongodb_username.as_deref(), password.as_ref())?;
        let timeout = Duration::from_secs(options.timeout_s.max(1).into());
        let mut client = parse(&url, &origin, timeout).await?;
        client.app_name.get_or_insert_with(|| APP_NAME.into());
        client.connect_timeout = Some(timeout);
        client.server_selection_timeout = Some(timeout);
        // What has been answered shall survive the loss of a server, and a lease is read where it is written.
        client.write_concern = Some(WriteConcern::builder().w(Acknowledgment::Majority).w_timeout(timeout).build());
        client.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
        if let Some(path) = &options.ca_file {
            let shown = path.display();
            let text = fs::read(path).map_err(|error| denied(format!("ca_file: {shown} cannot be read: {error}")))?;
            if !text.windows(PEM.len()).any(|part| part == PEM) {
                return Err(denied(format!("ca_file: {shown} holds no certificate in PEM form")));
            }
            let tls = match client.tls.take() {
                Some(Tls::Enabled(mut tls)) => {
                    tls.ca_file_path = Some(path.clone());
                    tls
                }
                Some(Tls::Disabled) => {
                    return Err(denied(format!(
                        "ca_file is set, but storage.{storage}.mongodb_database_url turns TLS off; change one of them"
                    )));
                }
                None => TlsOptions::builder().ca_file_path(path.clone()).build(),
            };
            client.tls = Some(Tls::Enabled(tls));
        }
        Ok(Self { options: client, origin, timeout })
    }
}

const PEM: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// The URL with the credentials in it. A bare host becomes what the reference makes of it.
fn whole_url(
    storage: &StorageName,
    url: &str,
    user: Option<&str>,
    password: Option<&Secret>,
) -> Result<String, StorageError> {
    let denied = |what: &str| Err(StorageError::new(StorageErrorKind::Denied, format!("storage.{storage}.{what}")));
    let url = url.trim();
    let (scheme, rest) = url.split_once("://").unwrap_or(("mongodb+srv", url));
    let is_bare = !url.contains("://");
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let has_own = rest.contains('@') && (is_bare || authority.contains('@'));
    let credentials = match (user, password) {
        (None, None) => String::new(),
        _ if has_own => {
            return denied(&format!(
                "mongodb_database_url holds a user already, and storage.{storage}.mongodb_username or mongodb_password is \
                 given as well; keep one of them"
            ));
        }
        (Some(_), None) => return denied("mongodb_password is missing; set it, or mongodb_password_file"),
        (None, Some(_)) => return denied("mongodb_username is missing; it goes with the password"),
        (Some(user), Some(password)) => format!("{}:{}@", encode(user), encode(password.expose())),
    };
    if is_bare {
        let host = rest.trim_end_matches('/');
        if host.is_empty() || host.contains(['/', '?', '@']) {
            return denied(
                "mongodb_database_url is neither a host, as in cluster0.example.mongodb.net, nor a URL that begins with \
                 mongodb:// or mongodb+srv://",
            );
        }
        return Ok(format!("{scheme}://{credentials}{host}/?retryWrites=true&w=majority"));
    }
    Ok(format!("{scheme}://{credentials}{rest}"))
}

/// Writes everything in percent form that means something in a URL.
fn encode(text: &str) -> String {
    let encoded = text.bytes().map(|byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    });
    encoded.collect()
}

async fn parse(url: &str, origin: &Origin, timeout: Duration) -> Result<ClientOptions, StorageError> {
    let Origin { storage, shown } = origin;
    let answer = tokio::time::timeout(timeout, ClientOptions::parse(url)).await;
    let Ok(parsed) = answer else {
        let what = format!("cannot look up {shown}: the name service gave no answer within {} s", timeout.as_secs());
        return Err(StorageError::new(StorageErrorKind::Unavailable, what));
    };
    parsed.map_err(|error| {
        if let mongodb::error::ErrorKind::DnsResolve { message, .. } = &*error.kind {
            let what = format!("cannot look up {shown}: {message}");
            return StorageError::new(StorageErrorKind::Unavailable, what);
        }
        // The driver's own words may repeat parts of the URL, and with them of the password.
        let what = format!(
            "storage.{storage}.mongodb_database_url is not a URL that MongoDB's drivers understand; it looks like \
             mongodb://HOST:27017/?tls=true, and in a user or password in it, @ : / ? # % are written as %40 %3A %2F %3F \
             %23 %25"
        );
        StorageError::new(StorageErrorKind::Denied, what)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, login: (Option<&str>, Option<&str>), expected: &str) {
        let storage = "lab".parse().expect("a name");
        let (user, password) = login;
        let password = password.map(|password| Secret::from(password.to_owned()));
        let found = whole_url(&storage, url, user, password.as_ref()).unwrap_or_else(|error| error.to_string());
        assert!(found.starts_with(expected), "{found}");
    }

    #[test]
    fn a_bare_host_is_reached_as_the_reference_reaches_it() {
        let ending = "/?retryWrites=true&w=majority";
        check("db.example", (None, None), &format!("mongodb+srv://db.example{ending}"));
        check("db.example/", (Some("ada"), Some("p")), &format!("mongodb+srv://ada:p@db.example{ending}"));
        check("db", (Some("a@b"), Some("p@/:%ä")), &format!("mongodb+srv://a%40b:p%40%2F%3A%25%C3%A4@db{ending}"));
    }

    #[test]
    fn a_url_is_taken_as_it_is_with_the_credentials_put_in() {
        check("mongodb://h:1/?tls=true", (None, None), "mongodb://h:1/?tls=true");
        check("mongodb://u:p@h", (None, None), "mongodb://u:p@h");
        check("mongodb://h,i/?a=b@c", (Some("u"), Some("p")), "mongodb://u:p@h,i/?a=b@c");
    }

    #[test]
    fn a_login_that_cannot_be_meant_names_its_keys() {
        let twice = "storage.lab.mongodb_database_url holds a user already, and storage.lab.mongodb_username";
        check("mongodb://u:p@h", (Some("u"), Some("p")), twice);
        check("u:p@h", (Some("u"), Some("p")), twice);
        check("mongodb://h", (Some("u"), None), "storage.lab.mongodb_password is missing");
        check("mongodb://h", (None, Some("p")), "storage.lab.mongodb_username is missing");
        for url in ["", "u:p@h", "h/?a=b"] {
            check(url, (None, None), "storage.lab.mongodb_database_url is neither a host");
        }
    }

    #[tokio::test]
    async fn no_error_holds_the_password() {
        let storage = "lab".parse().expect("a name");
        for url in [
            "mongodb://ada:hunter2/x@h",
            "mongodb://ada:hunter2%zz@h",
            "http://ada:hunter2@h",
            "mongodb://ada:hunter2@",
        ] {
            let text = serde_json::json!({"mongodb_database_url": url}).to_string();
            let options: MongodbOptions = serde_json::from_str(&text).expect("options");
            let error = Login::read(&storage, &options).await.err().expect("it is no URL");
            assert_eq!(error.kind(), StorageErrorKind::Denied, "{url}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
