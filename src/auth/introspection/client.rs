//! One question to an issuer about one token (RFC 7662 section 2), within limits.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use jose::{AddressFilter, Claims, DiscoveredIssuer, HttpClients, strict_json, with_causes};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;
use reqwest::redirect::Policy;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::auth::request_source::LogPrefix;
use crate::config::{ClientAuth, IntrospectionClient};

/// The whole question, the issuer's document included.
const TIME_LIMIT: Duration = Duration::from_secs(2);
const BODY_LIMIT: usize = 64 * 1024;
/// How long a connection may be idle.
const IDLE: Duration = Duration::from_secs(15);
/// What `application/x-www-form-urlencoded` leaves as it is, but for the space.
const FORM: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'*')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_');

/// What an issuer says of a token.
pub(super) enum Answer {
    /// `active: true`, and what else it says.
    Active(Claims),
    /// `active: false`.
    Inactive,
}

/// Why there is no answer. Nothing of the body is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum AskError {
    #[error("{0}")]
    Request(String),
    #[error("no answer within {} s", TIME_LIMIT.as_secs())]
    TimedOut,
    #[error("the status is {}, not 200", .0.as_u16())]
    Status(StatusCode),
    #[error("the answer is larger than 64 KiB")]
    TooLarge,
    #[error("the answer is not a JSON object with a boolean `active`, or names a member twice")]
    Malformed,
    #[error("the issuer's discovery document is not available: {0}")]
    NoDocument(String),
    #[error("the issuer's discovery document names no `introspection_endpoint`")]
    NoEndpoint,
}

/// Where the questions go.
pub(super) enum Endpoint {
    Url(Url),
    /// Where the issuer's document says.
    Discovered(DiscoveredIssuer),
}

/// What asks: connections that are kept open, and what it proves itself with.
pub(super) struct Client {
    endpoint: Endpoint,
    addresses: Option<AddressFilter>,
    /// `None`: in the body.
    authorization: Option<HeaderValue>,
    /// What of the form is always the same, ready to be sent.
    credentials: Zeroizing<String>,
    clients: HttpClients,
}

impl Client {
    pub(super) fn new(
        settings: &IntrospectionClient,
        endpoint: Endpoint,
        addresses: Option<AddressFilter>,
        user_agent: &'static str,
    ) -> Self {
        let (authorization, credentials) = credentials(settings);
        Self {
            endpoint,
            // No redirect is followed: the secret and the token are for one place.
            clients: HttpClients::new(move |builder| {
                builder
                    .user_agent(user_agent)
                    .timeout(TIME_LIMIT)
                    .pool_idle_timeout(IDLE)
                    .redirect(Policy::none())
            }),
            addresses,
            authorization,
            credentials,
        }
    }

    /// What a log calls it; a URL without its query.
    pub(super) fn shown(&self) -> String {
        match &self.endpoint {
            Endpoint::Discovered(issuer) => format!("the endpoint of {}", issuer.name()),
            Endpoint::Url(url) => {
                let mut url = url.clone();
                url.set_query(None);
                url.into()
            }
        }
    }

    /// The issuer, if its document says where it is asked.
    pub(super) fn issuer(&self) -> Option<&DiscoveredIssuer> {
        match &self.endpoint {
            Endpoint::Url(_) => None,
            Endpoint::Discovered(issuer) => Some(issuer),
        }
    }

    /// Asks about a token. What the log says of it begins with `prefix`.
    pub(super) async fn ask(&self, token: &[u8], prefix: &LogPrefix) -> Result<Answer, AskError> {
        let begun = Instant::now();
        let answer = tokio::time::timeout(TIME_LIMIT, self.ask_without_limit(token))
            .await
            .unwrap_or(Err(AskError::TimedOut));
        if log::log_enabled!(log::Level::Debug) {
            let (shown, after) = (self.shown(), begun.elapsed());
            let came = match &answer {
                Ok(Answer::Active(_)) => "200, active".to_owned(),
                Ok(Answer::Inactive) => "200, inactive".to_owned(),
                Err(error) => error.to_string(),
            };
            log::debug!("{prefix}POST {shown}: {came}, after {after:?}");
        }
        answer
    }

    async fn ask_without_limit(&self, token: &[u8]) -> Result<Answer, AskError> {
        let url = self.locate().await?;
        let client = self.clients.for_url(&url, self.addresses.as_ref());
        let client = client.map_err(AskError::Request)?;
        let mut form = self.credentials.as_str().to_owned();
        form.push_str("token=");
        form.extend(percent_encoding::percent_encode(token, FORM));
        let mut request = client
            .post(url)
            .header(ACCEPT, "application/json")
            .header(ACCEPT_ENCODING, "identity")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let mut response = request.body(form).send().await.map_err(AskError::request)?;
        if response.status() != StatusCode::OK {
            return Err(AskError::Status(response.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(AskError::request)? {
            if body.len() + chunk.len() > BODY_LIMIT {
                return Err(AskError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        parse(&body)
    }

    async fn locate(&self) -> Result<Url, AskError> {
        let issuer = match &self.endpoint {
            Endpoint::Url(url) => return Ok(url.clone()),
            Endpoint::Discovered(issuer) => issuer,
        };
        let document = issuer.settled().await;
        let document = document.ok_or_else(|| AskError::NoDocument(issuer.cause()))?;
        let url = document.introspection_endpoint.as_deref();
        let url = url.ok_or(AskError::NoEndpoint)?;
        Url::parse(url).map_err(|error| AskError::Request(error.to_string()))
    }
}

impl AskError {
    fn request(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            Self::TimedOut
        } else {
            Self::Request(with_causes(&error.without_url()))
        }
    }
}

/// How a client proves itself: the field, and the beginning of the form. Id and secret are encoded
/// as in a form before they are joined by a colon (RFC 6749 section 2.3.1).
fn credentials(settings: &IntrospectionClient) -> (Option<HeaderValue>, Zeroizing<String>) {
    let id = form_encoded(&settings.client_id);
    let secret = settings.client_secret.as_ref();
    let secret = secret.map(|secret| form_encoded(secret.expose()));
    match (settings.client_auth, secret) {
        (ClientAuth::Basic, Some(secret)) => {
            let pair = Zeroizing::new(format!("{}:{}", *id, *secret));
            let text = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
            let value = HeaderValue::from_str(&text).ok().map(|mut value| {
                value.set_sensitive(true);
                value
            });
            (value, Zeroizing::default())
        }
        (ClientAuth::Post, Some(secret)) => {
            let form = format!("client_id={}&client_secret={}&", *id, *secret);
            (None, Zeroizing::new(form))
        }
        (_, None) => (None, Zeroizing::new(format!("client_id={}&", *id))),
    }
}

fn form_encoded(text: &str) -> Zeroizing<String> {
    let words = text
        .split(' ')
        .map(|word| utf8_percent_encode(word, FORM).to_string());
    Zeroizing::new(words.collect::<Vec<_>>().join("+"))
}

/// Reads an answer.
pub(super) fn parse(text: &[u8]) -> Result<Answer, AskError> {
    let mut answer = strict_json::object(text).ok_or(AskError::Malformed)?;
    match answer.remove("active") {
        Some(Value::Bool(true)) => Ok(Answer::Active(Claims::from(answer))),
        Some(Value::Bool(false)) => Ok(Answer::Inactive),
        _ => Err(AskError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn active_must_be_a_boolean() {
        for (text, want) in [
            (r#"{"active":true,"sub":"a"}"#, Some(true)),
            (r#"{"active":false}"#, Some(false)),
            (r#"{"active":false,"sub":"a"}"#, Some(false)),
            (r#"{"active":"true"}"#, None),
            (r#"{"active":1}"#, None),
            (r#"{"active":null}"#, None),
            (r#"{"active":true,"active":false}"#, None),
            (r#"{"active":true,"sub":"a","sub":"b"}"#, None),
            (r#"{"sub":"a"}"#, None),
            ("[true]", None),
            ("true", None),
            ("", None),
            (r#"{"active":true"#, None),
        ] {
            let found = match parse(text.as_bytes()) {
                Ok(Answer::Active(_)) => Some(true),
                Ok(Answer::Inactive) => Some(false),
                Err(error) => {
                    assert_eq!(error, AskError::Malformed);
                    None
                }
            };
            assert_eq!(found, want, "{text}");
        }
    }

    #[test]
    fn ids_and_secrets_are_encoded_as_in_a_form() {
        for (text, want) in [
            ("edge", "edge"),
            ("s3:cr%t+ x", "s3%3Acr%25t%2B+x"),
            ("a-b.c_d*e~f", "a-b.c_d*e%7Ef"),
            ("zoë&=", "zo%C3%AB%26%3D"),
        ] {
            assert_eq!(*form_encoded(text), want);
        }
    }
}
