//! One call over HTTP: the limits on time, size and place, and what an answer that is none becomes.

use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use jiff::fmt::rfc2822;
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout_at};

use super::options::{ClientOptions, Unusable};
use super::{retry, root};
use crate::runbeam::error::RunbeamError;
use crate::runbeam::origin::{Origin, printable};
use crate::runbeam::tls;

/// The largest answer that is read, in bytes.
const BODY_LIMIT: usize = 1024 * 1024;
/// How many redirects within the host a try follows.
const REDIRECT_LIMIT: usize = 3;
/// The longest message of the cloud that is kept, in characters.
const MESSAGE_LIMIT: usize = 300;
/// The longest `Retry-After` that is told.
const RETRY_AFTER_LIMIT: Duration = Duration::from_secs(3600);

/// A call to be made.
pub(super) struct Request {
    call: &'static str,
    method: Method,
    /// Below the root, with its query.
    path: String,
    body: Option<Value>,
    repeatable: bool,
}

impl Request {
    /// A call that may be made twice: the second time changes nothing.
    pub(super) fn new(call: &'static str, method: Method, path: impl Into<String>) -> Self {
        Self {
            call,
            method,
            path: path.into(),
            body: None,
            repeatable: true,
        }
    }

    pub(super) fn get(call: &'static str, path: impl Into<String>) -> Self {
        Self::new(call, Method::GET, path)
    }

    /// A POST that may be made twice.
    pub(super) fn post(call: &'static str, path: impl Into<String>) -> Self {
        Self::new(call, Method::POST, path)
    }

    /// A POST that makes something, each time anew.
    pub(super) fn creating(call: &'static str, path: impl Into<String>) -> Self {
        let repeatable = false;
        Self {
            repeatable,
            ..Self::post(call, path)
        }
    }

    pub(super) fn with(self, body: Value) -> Self {
        let body = Some(body);
        Self { body, ..self }
    }

    pub(super) fn is_repeatable(&self) -> bool {
        self.repeatable
    }

    /// An answer with a problem.
    pub(super) fn unusable(&self, problem: String) -> RunbeamError {
        RunbeamError::Answer {
            call: self.call,
            problem,
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> RunbeamError {
        RunbeamError::Unreachable {
            call: self.call,
            cause: describe(error),
            connected: !error.is_connect(),
        }
    }
}

/// The way to one cloud.
pub(super) struct Transport {
    client: Client,
    base_url: String,
    home: Origin,
    /// Where the API begins, since that was last found out.
    root: Mutex<Option<String>>,
    timeout: Duration,
    attempts: u32,
}

impl Transport {
    pub(super) fn new(base_url: &str, options: &ClientOptions) -> Result<Self, Unusable> {
        let home = Origin::named(base_url)?;
        if options.accept_invalid_certs && !home.is_loopback() {
            return Err(Unusable::Address {
                address: home.to_string(),
                problem: "is not this machine, and invalid certificates are accepted from this machine only",
            });
        }
        tls::install_provider();
        let mut builder = Client::builder()
            .user_agent(concat!("harmony-edge/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(options.connect_timeout)
            // A connection that the cloud is just closing would lose a call that must not be made twice.
            .pool_max_idle_per_host(0)
            .referer(false)
            .redirect(Policy::none())
            .tls_danger_accept_invalid_certs(options.accept_invalid_certs);
        if home.is_loopback() {
            builder = builder.no_proxy();
        }
        builder = if home.is_tls() {
            builder.https_only(true)
        } else {
            // No reason to need the system's roots.
            builder.tls_certs_only([])
        };
        let client = builder
            .build()
            .map_err(|error| Unusable::Setup(describe(&error)))?;
        let path = base_url
            .split_once("://")
            .and_then(|(_, rest)| rest.find('/').map(|start| &rest[start..]))
            .unwrap_or_default();
        Ok(Self {
            client,
            base_url: format!("{home}{path}"),
            home,
            root: Mutex::new(None),
            timeout: options.timeout,
            attempts: options.attempts.max(1),
        })
    }

    /// Makes a call within its limits. An empty answer is `null`.
    pub(super) async fn call(&self, request: &Request, token: &str) -> Result<Value, RunbeamError> {
        let authorization = authorization(token)?;
        let deadline = Instant::now() + self.timeout;
        let mut tried = 0;
        loop {
            tried += 1;
            let outcome = timeout_at(deadline, self.try_once(request, &authorization)).await;
            let error = match outcome {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => error,
                Err(_) => RunbeamError::TimedOut {
                    call: request.call,
                    limit: self.timeout,
                },
            };
            if is_about_the_place(&error) {
                self.set_root(None);
            }
            let pause = retry::pause(request, &error, tried)
                .filter(|_| tried < self.attempts)
                .filter(|pause| Instant::now() + *pause < deadline);
            let Some(pause) = pause else {
                return Err(error);
            };
            log::debug!("{error}; once more in {} ms", pause.as_millis());
            sleep(pause).await;
        }
    }

    async fn try_once(
        &self,
        request: &Request,
        authorization: &HeaderValue,
    ) -> Result<Value, RunbeamError> {
        let known = self.known_root();
        let root = match known {
            Some(root) => root,
            None => self.find_root(request.call, authorization).await?,
        };
        let url = format!("{root}{}", request.path);
        let (status, headers, body) = self.exchange(request, &url, authorization).await?;
        if !status.is_success() {
            return Err(RunbeamError::Status {
                call: request.call,
                status: status.as_u16(),
                message: message(&body, authorization),
                retry_after: retry_after(&headers),
            });
        }
        if body.is_empty() {
            return Ok(Value::Null);
        }
        // What serde_json says could quote the answer.
        serde_json::from_slice(&body).map_err(|_| request.unusable("is not JSON".to_owned()))
    }

    /// Asks the cloud where its API begins.
    async fn find_root(
        &self,
        call: &'static str,
        authorization: &HeaderValue,
    ) -> Result<String, RunbeamError> {
        let mut settled = true;
        for question in root::QUESTIONS {
            let request = Request::get(call, question);
            let url = format!("{}{question}", self.base_url);
            match self.exchange(&request, &url, authorization).await {
                Ok((status, _, body)) if status.is_success() => {
                    let answer = serde_json::from_slice(&body).unwrap_or_default();
                    if let Some(root) = root::named(answer, &self.home) {
                        self.set_root(Some(root.clone()));
                        return Ok(root);
                    }
                }
                // Another token, or another moment, may bring another answer.
                Ok((status, ..)) => {
                    settled &=
                        !(matches!(status.as_u16(), 401 | 403 | 429) || status.is_server_error());
                }
                // The call itself was not sent, so that it may be tried again whatever it is.
                Err(RunbeamError::Unreachable { call, cause, .. }) => {
                    return Err(RunbeamError::Unreachable {
                        call,
                        cause,
                        connected: false,
                    });
                }
                Err(error) => log::debug!("{error}"),
            }
        }
        let root = root::assumed(&self.base_url);
        if settled {
            self.set_root(Some(root.clone()));
        }
        Ok(root)
    }

    /// One request, and what it is redirected to within the host.
    async fn exchange(
        &self,
        request: &Request,
        url: &str,
        authorization: &HeaderValue,
    ) -> Result<(StatusCode, HeaderMap, Vec<u8>), RunbeamError> {
        let unusable = || request.unusable("leads to an address that cannot be used".to_owned());
        let mut url = Url::parse(url).map_err(|_| unusable())?;
        for _ in 0..=REDIRECT_LIMIT {
            let mut sent = self
                .client
                .request(request.method.clone(), url.clone())
                .header(ACCEPT, "application/json")
                .header(AUTHORIZATION, authorization.clone());
            if let Some(body) = &request.body {
                sent = sent
                    .header(CONTENT_TYPE, "application/json")
                    .body(body.to_string());
            }
            let answer = sent
                .send()
                .await
                .map_err(|error| request.unreachable(&error.without_url()))?;
            let Some(next) = self.redirect(request, &url, &answer)? else {
                let (status, headers) = (answer.status(), answer.headers().clone());
                return Ok((status, headers, read(request, answer).await?));
            };
            url = next;
        }
        Err(request.unusable("is a redirect after too many others".to_owned()))
    }

    /// Where an answer leads. `None`: it is no redirect.
    fn redirect(
        &self,
        request: &Request,
        url: &Url,
        answer: &Response,
    ) -> Result<Option<Url>, RunbeamError> {
        // Under 301 to 303, a POST would become a GET (RFC 9110 section 15.4).
        let follow = match answer.status().as_u16() {
            307 | 308 => true,
            301..=303 => request.method == Method::GET,
            _ => return Ok(None),
        };
        let next = answer
            .headers()
            .get(LOCATION)
            .and_then(|location| url.join(location.to_str().ok()?).ok())
            .filter(|_| follow)
            .ok_or_else(|| request.unusable("is a redirect that cannot be followed".to_owned()))?;
        if Origin::exact(next.as_str()).is_none_or(|origin| origin != self.home)
            || !next.username().is_empty()
        {
            return Err(request.unusable("is a redirect to another host".to_owned()));
        }
        Ok(Some(next))
    }

    fn known_root(&self) -> Option<String> {
        let root = self.root.lock().unwrap_or_else(PoisonError::into_inner);
        root.clone()
    }

    fn set_root(&self, found: Option<String>) {
        *self.root.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }
}

/// Whether an error may mean that the API is no longer where it was.
fn is_about_the_place(error: &RunbeamError) -> bool {
    match error {
        RunbeamError::Status { status, .. } => matches!(status, 404 | 405 | 500..),
        _ => true,
    }
}

fn authorization(token: &str) -> Result<HeaderValue, RunbeamError> {
    let token = token.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(RunbeamError::UnusableToken);
    }
    let mut value = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| RunbeamError::UnusableToken)?;
    value.set_sensitive(true);
    Ok(value)
}

/// The body, unless it is too large.
async fn read(request: &Request, mut answer: Response) -> Result<Vec<u8>, RunbeamError> {
    let too_large = || request.unusable("is larger than 1 MiB".to_owned());
    if answer
        .content_length()
        .is_some_and(|length| length > BODY_LIMIT as u64)
    {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer
        .chunk()
        .await
        .map_err(|error| request.unreachable(&error.without_url()))?
    {
        if body.len() + chunk.len() > BODY_LIMIT {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What the cloud says about an error, fit for a log: without the token, should it be repeated there.
fn message(body: &[u8], authorization: &HeaderValue) -> String {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let said = answer
        .get("message")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let token = authorization
        .to_str()
        .ok()
        .and_then(|text| text.strip_prefix("Bearer "));
    match token {
        Some(token) => printable(&said.replace(token, "[redacted]"), MESSAGE_LIMIT),
        None => String::new(),
    }
}

/// `Retry-After` in seconds or as a date (RFC 9110 section 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match value.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = SystemTime::from(rfc2822::parse(value).ok()?.timestamp());
            date.duration_since(SystemTime::now()).unwrap_or_default()
        }
    };
    Some(wait.min(RETRY_AFTER_LIMIT))
}

/// An error with its causes.
fn describe(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_in_both_forms() {
        let told = |value: &str| {
            let headers =
                HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(value).unwrap())]);
            retry_after(&headers).map(|wait| wait.as_secs())
        };
        let cases = [
            ("7", Some(7)),
            ("0", Some(0)),
            ("99999999", Some(3600)),
            ("-1", None),
            ("soon", None),
            ("Wed, 21 Oct 2015 07:28:00 GMT", Some(0)),
            ("Wed, 21 Oct 2099 07:28:00 GMT", Some(3600)),
        ];
        for (value, expected) in cases {
            assert_eq!(told(value), expected, "{value}");
        }
    }

    #[test]
    fn what_the_cloud_says_is_made_fit_for_a_log() {
        let authorization = authorization("1|abc").unwrap();
        let message = |body: &[u8]| message(body, &authorization);
        assert_eq!(
            message(br#"{"message":"no\r\n\u001b[31m way"}"#),
            "no[31m way"
        );
        assert_eq!(
            message(br#"{"message":"1|abc is unknown"}"#),
            "[redacted] is unknown"
        );
        assert_eq!(message(b"<html>"), "");
        assert_eq!(message(br#"{"message":7}"#), "");
        let long = format!(r#"{{"message":"{}"}}"#, "x".repeat(10_000));
        assert_eq!(message(long.as_bytes()).len(), MESSAGE_LIMIT);
    }

    #[test]
    fn tokens_that_no_header_carries() {
        for bad in ["", " ", "a b", "a\nb", "a\r\nX: y", "é", "a\0"] {
            let error = authorization(bad).unwrap_err();
            assert!(matches!(error, RunbeamError::UnusableToken), "{bad:?}");
        }
        let value = authorization(" 1|abc\n").unwrap();
        assert_eq!(value, "Bearer 1|abc");
        assert!(!format!("{value:?}").contains("abc"));
    }
}
