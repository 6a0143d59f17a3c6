//! Where the service is, and the client that speaks with it.

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Url};

use crate::job::StorageName;
use crate::storage::options::DropboxOptions;
use crate::storage::tls::use_ring;
use crate::storage::{StorageError, StorageErrorKind};

/// How long a connection may take to be made.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// How often to ask over a silent connection whether the other side is still there. A firewall that forgets a waiting
/// connection is noticed by that.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// The base URLs of the kinds of routes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hosts {
    pub(super) api: String,
    pub(super) content: String,
    pub(super) notify: String,
}

impl Hosts {
    /// The three hosts of Dropbox, or the one that the options name in their place.
    pub(super) fn of(storage: &StorageName, options: &DropboxOptions) -> Result<Self, StorageError> {
        let Some(endpoint) = &options.endpoint else {
            let host = |name: &str| format!("https://{name}.dropboxapi.com");
            return Ok(Self { api: host("api"), content: host("content"), notify: host("notify") });
        };
        let refused = || {
            let what = format!(
                "storage.{storage}.endpoint {endpoint:?} is not allowed; allowed: an https URL without user and query, \
                 and http for addresses of this machine"
            );
            StorageError::new(StorageErrorKind::Denied, what)
        };
        let url = Url::parse(endpoint).map_err(|_unreadable| refused())?;
        let is_here = url.host_str().is_some_and(is_this_machine);
        let is_plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        if !(url.scheme() == "https" || (url.scheme() == "http" && is_here)) || !is_plain || url.fragment().is_some() {
            return Err(refused());
        }
        let base = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self { api: base.clone(), content: base.clone(), notify: base })
    }
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// A client that trusts what the options say. It follows no redirection, which might carry a token elsewhere.
pub(super) fn http_client(storage: &StorageName, options: &DropboxOptions) -> Result<Client, StorageError> {
    use_ring();
    let mut builder = Client::builder()
        .user_agent(concat!("qspool/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .connect_timeout(CONNECT_LIMIT)
        .tcp_keepalive(KEEPALIVE);
    if options.endpoint.as_deref().and_then(|url| Url::parse(url).ok()?.host_str().map(is_this_machine)) == Some(true) {
        builder = builder.no_proxy();
    }
    if let Some(path) = &options.ca_file {
        let denied = |error: String| {
            let what = format!("storage.{storage}.ca_file cannot be used, {}: {error}", path.display());
            StorageError::new(StorageErrorKind::Denied, what)
        };
        let text = fs::read(path).map_err(|error| denied(error.to_string()))?;
        let certificates = Certificate::from_pem_bundle(&text).map_err(|error| denied(error.to_string()))?;
        if certificates.is_empty() {
            return Err(denied("it holds no certificate".to_owned()));
        }
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(|error| {
        let what = format!("the storage {storage} cannot use HTTPS");
        StorageError::new(StorageErrorKind::Refused, what).caused_by(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(endpoint: &str, expected: Option<&str>) {
        let options: DropboxOptions =
            toml::from_str(&format!("app_key = 'k'\nendpoint = '{endpoint}'")).expect("options");
        match Hosts::of(&"lab".parse().expect("a name"), &options) {
            Ok(hosts) => assert_eq!(Some(hosts.api.as_str()), expected, "{endpoint}"),
            Err(error) => {
                assert_eq!(expected, None, "{endpoint}");
                assert!(error.to_string().contains("storage.lab.endpoint"), "{error}");
            }
        }
    }

    #[test]
    fn an_endpoint_is_encrypted_unless_it_is_on_this_machine() {
        check("https://dropbox.example.org", Some("https://dropbox.example.org"));
        check("https://dropbox.example.org/base/", Some("https://dropbox.example.org/base"));
        check("http://127.0.0.1:8080", Some("http://127.0.0.1:8080"));
        check("http://[::1]:8080/", Some("http://[::1]:8080"));
        check("http://localhost:8080", Some("http://localhost:8080"));
        check("http://dropbox.example.org", None);
        check("http://127.0.0.1.example.org", None);
        check("https://user:password@example.org", None);
        check("https://example.org/?a=b", None);
        check("ftp://127.0.0.1", None);
        check("dropbox", None);
    }

    #[test]
    fn without_an_endpoint_there_are_three_hosts() {
        let options: DropboxOptions = toml::from_str("app_key = 'k'").expect("options");
        let hosts = Hosts::of(&"lab".parse().expect("a name"), &options).expect("hosts");
        assert_eq!(hosts.api, "https://api.dropboxapi.com");
        assert_eq!(hosts.content, "https://content.dropboxapi.com");
        assert_eq!(hosts.notify, "https://notify.dropboxapi.com");
    }
}
