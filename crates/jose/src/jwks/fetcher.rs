//! One fetch over HTTP, within limits.

use std::time::{Duration, Instant};

use http::header::{ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING};
use http::{HeaderMap, StatusCode};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Url};
use rustls::crypto::CryptoProvider;

use super::{DocumentError, KeySetError, NoTlsProvider};
use crate::{AddressFilter, HttpClients, with_causes};

/// The whole fetch.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// The connection alone.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const BODY_LIMIT: usize = 1024 * 1024;
const REDIRECT_LIMIT: usize = 5;
/// 203: a proxy on the way has changed something, its fields as a rule (RFC 9110 section 15.3.4).
const USABLE: [StatusCode; 2] = [StatusCode::OK, StatusCode::NON_AUTHORITATIVE_INFORMATION];
/// No coding at all.
const IDENTITY: &str = "identity";
/// As much of a coding's name as a log shows.
const CODING_SHOWN: usize = 40;

/// Why a fetch failed. Nothing of the body is in it.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("{0}")]
    Request(String),
    #[error("no answer within {} s", TIME_LIMIT.as_secs())]
    TimedOut,
    #[error("the status is {}, not 200", .0.as_u16())]
    Status(StatusCode),
    #[error("the body is larger than 1 MiB")]
    TooLarge,
    /// What `Content-Encoding` says (RFC 9110 section 8.4).
    #[error("the body comes in the coding {0:?}, although only `identity` was asked for")]
    Coding(String),
    #[error(transparent)]
    KeySet(#[from] KeySetError),
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// There is no discovery document, for this reason.
    #[error("its discovery document is not available: {0}")]
    NoDocument(String),
    #[error("its discovery document names no `jwks_uri`")]
    NoJwksUri,
}

/// What was fetched.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    status: StatusCode,
    /// `max-age` of `Cache-Control` (RFC 9111 section 5.2.2.1).
    pub(super) max_age: Option<Duration>,
}

/// What fetches.
pub(super) struct Fetcher(HttpClients);

impl Fetcher {
    pub(super) fn new(user_agent: &'static str) -> Result<Self, NoTlsProvider> {
        if CryptoProvider::get_default().is_none() {
            return Err(NoTlsProvider);
        }
        Ok(Self(HttpClients::new(move |builder| {
            builder
                .user_agent(user_agent)
                .timeout(TIME_LIMIT)
                .connect_timeout(CONNECT_LIMIT)
                .pool_max_idle_per_host(0)
                .redirect(Policy::custom(follow_at_home))
        })))
    }

    /// Fetches what is behind a URL. `addresses`: what may be connected to.
    pub(super) async fn get(
        &self,
        url: &str,
        accept: &'static str,
        addresses: Option<&AddressFilter>,
    ) -> Result<Body, FetchError> {
        let begun = Instant::now();
        let name = shown(url);
        let url = Url::parse(url).map_err(|error| FetchError::Request(error.to_string()))?;
        let client = self.0.for_url(&url, addresses);
        let client = client.map_err(FetchError::Request)?;
        let fetched = tokio::time::timeout(TIME_LIMIT, get(&client, url, accept))
            .await
            .unwrap_or(Err(FetchError::TimedOut));
        let after = begun.elapsed();
        match &fetched {
            Ok(body) => log::debug!("GET {name}: {} after {after:?}", body.status.as_u16()),
            Err(error) => log::debug!("GET {name}: {error}, after {after:?}"),
        }
        fetched
    }
}

async fn get(client: &Client, url: Url, accept: &'static str) -> Result<Body, FetchError> {
    let mut response = client
        .get(url)
        .header(ACCEPT, accept)
        .header(ACCEPT_ENCODING, IDENTITY)
        .send()
        .await
        .map_err(FetchError::request)?;
    let status = response.status();
    if !USABLE.contains(&status) {
        return Err(FetchError::Status(status));
    }
    if let Some(coding) = coding(response.headers()) {
        return Err(FetchError::Coding(coding));
    }
    let max_age = max_age(response.headers());
    if response
        .content_length()
        .is_some_and(|length| length > BODY_LIMIT as u64)
    {
        return Err(FetchError::TooLarge);
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(FetchError::request)? {
        if bytes.len() + chunk.len() > BODY_LIMIT {
            return Err(FetchError::TooLarge);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Body {
        bytes,
        status,
        max_age,
    })
}

impl FetchError {
    fn request(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            Self::TimedOut
        } else {
            Self::Request(with_causes(&error.without_url()))
        }
    }
}

/// A URL as a log may show it: without user name, password, query and fragment.
pub fn shown(url: &str) -> String {
    let Ok(mut url) = Url::parse(url) else {
        return "(not a URL)".to_owned();
    };
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

/// Follows a redirect only within the origin that was asked first: same scheme, host and port.
fn follow_at_home(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let is_home = attempt
        .previous()
        .first()
        .is_some_and(|first| first.origin() == attempt.url().origin());
    if !is_home {
        attempt.error("a redirect to another host")
    } else if attempt.previous().len() > REDIRECT_LIMIT {
        attempt.error("too many redirects")
    } else {
        attempt.follow()
    }
}

/// The codings of a body, if there are any.
fn coding(headers: &HeaderMap) -> Option<String> {
    let codings: Vec<_> = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(IDENTITY.as_bytes()))
        .map(String::from_utf8_lossy)
        .collect();
    let shown = codings.join(", ").chars().take(CODING_SHOWN).collect();
    (!codings.is_empty()).then_some(shown)
}

fn max_age(headers: &HeaderMap) -> Option<Duration> {
    headers
        .get_all(CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|directive| directive.split_once('='))
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("max-age"))
        .filter_map(|(_, seconds)| seconds.trim().trim_matches('"').parse().ok())
        .min()
        .map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn freshness() {
        let cases = [
            ("max-age=300", Some(300)),
            ("public, Max-Age=\"300\", must-revalidate", Some(300)),
            ("max-age=300, max-age=200", Some(200)),
            ("s-maxage=10", None),
            ("no-store", None),
            ("max-age=-1", None),
            ("max-age=99999999999999999999999", None),
        ];
        for (value, expected) in cases {
            let headers = HeaderMap::from_iter([(CACHE_CONTROL, HeaderValue::from_static(value))]);
            assert_eq!(
                max_age(&headers),
                expected.map(Duration::from_secs),
                "{value}"
            );
        }
    }

    #[test]
    fn urls_are_shown_without_secrets() {
        assert_eq!(
            shown("https://u:secret@a.example:8443/k?token=secret#f"),
            "https://a.example:8443/k"
        );
        assert_eq!(shown("secret"), "(not a URL)");
    }
}
