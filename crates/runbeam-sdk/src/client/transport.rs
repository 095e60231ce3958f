//! One call over HTTP, with its limits on time and place.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::discovery;
use super::options::{ClientOptions, SetupFailure};
use super::request::Request;
use super::response::{message, read, retry_after};
use super::retry::Retries;
use crate::error::{ApiError, RunbeamError};
use crate::origin::Origin;
use crate::responses::{BaseUrlResponse, FromResponse};
use crate::{USER_AGENT, tls};
use jose::with_causes;

/// How many redirects within the host an attempt follows.
const REDIRECT_LIMIT: usize = 3;

/// HTTP to one cloud.
pub(super) struct Transport {
    client: Client,
    base_url: String,
    origin: Origin,
    /// Where the API begins, once that is known.
    root: Mutex<Option<String>>,
    timeout: Duration,
    attempts: u32,
}

impl Transport {
    pub(super) fn new(base_url: &str, options: &ClientOptions) -> Result<Self, SetupFailure> {
        let origin = Origin::named(base_url)?;
        if options.accept_invalid_certs && !origin.is_loopback() {
            return Err(SetupFailure::Address {
                address: origin.to_string(),
                problem: "is not this machine, and invalid certificates are accepted from this \
                          machine only",
            });
        }
        tls::install_provider();
        let mut builder = Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(options.connect_timeout)
            // On a connection that the cloud is just closing, a call that must not be made twice
            // would be lost.
            .pool_max_idle_per_host(0)
            .referer(false)
            .redirect(Policy::none())
            .tls_danger_accept_invalid_certs(options.accept_invalid_certs);
        if origin.is_loopback() {
            builder = builder.no_proxy();
        }
        builder = if origin.is_tls() {
            builder.https_only(true)
        } else {
            // No reason to need the system's roots.
            builder.tls_certs_only([])
        };
        let client = builder.build().map_err(|error| {
            SetupFailure::Setup(format!(
                "cannot make an HTTP client: {}",
                with_causes(&error)
            ))
        })?;
        let path = base_url
            .split_once("://")
            .and_then(|(_, rest)| rest.find('/').map(|start| &rest[start..]))
            .unwrap_or_default();
        Ok(Self {
            client,
            base_url: format!("{origin}{path}"),
            origin,
            root: Mutex::new(None),
            timeout: options.timeout,
            attempts: options.attempts.max(1),
        })
    }

    /// Makes a call within its limits. An empty response is `null`.
    pub(super) async fn call(&self, request: &Request, token: &str) -> Result<Value, RunbeamError> {
        let authorization = authorization(token)?;
        let deadline = Instant::now() + self.timeout;
        let mut retries = Retries::new(self.attempts);
        loop {
            let attempt = timeout_at(deadline, self.attempt(request, &authorization)).await;
            let error = match attempt {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) => error,
                Err(_) => self.timed_out(request.call),
            };
            if may_have_moved(&error) {
                self.set_root(None);
            }
            let pause = retries
                .after(request, &error)
                .filter(|pause| Instant::now() + *pause < deadline);
            let Some(pause) = pause else {
                return Err(error);
            };
            log::debug!("{error}; next attempt in {} ms", pause.as_millis());
            sleep(pause).await;
        }
    }

    /// The cloud's answer about where its API is.
    pub(super) async fn base_url(&self, token: &str) -> Result<BaseUrlResponse, RunbeamError> {
        const CALL: &str = "get base URL";
        let authorization = authorization(token)?;
        match timeout(self.timeout, self.discover(CALL, &authorization)).await {
            Ok(Ok(Discovery {
                found: Some((response, _)),
                ..
            })) => Ok(response),
            Ok(Ok(Discovery { last_error, .. })) => Err(last_error),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(self.timed_out(CALL)),
        }
    }

    async fn attempt(
        &self,
        request: &Request,
        authorization: &HeaderValue,
    ) -> Result<Value, RunbeamError> {
        let root = match self.known_root() {
            Some(root) => root,
            None => self.find_root(request.call, authorization).await?,
        };
        let url = format!("{root}{}", request.path);
        let (status, headers, body) = self.exchange(request, &url, authorization).await?;
        if !status.is_success() {
            return Err(http_error(request, status, &headers, &body, authorization));
        }
        if body.is_empty() {
            return Ok(Value::Null);
        }
        // The message of serde_json could quote the response.
        serde_json::from_slice(&body).map_err(|_| request.malformed("is not JSON".to_owned()))
    }

    /// Where the API begins.
    async fn find_root(
        &self,
        call: &'static str,
        authorization: &HeaderValue,
    ) -> Result<String, RunbeamError> {
        let discovery = self.discover(call, authorization).await?;
        let root = match discovery.found {
            Some((_, root)) => root,
            None => discovery::default_root(&self.base_url),
        };
        if discovery.settled {
            self.set_root(Some(root.clone()));
        }
        Ok(root)
    }

    /// Asks the cloud where its API begins.
    async fn discover(
        &self,
        call: &'static str,
        authorization: &HeaderValue,
    ) -> Result<Discovery, RunbeamError> {
        let mut settled = true;
        let mut last_error = ApiError::InvalidToken.into();
        for path in discovery::PATHS {
            let request = Request::get(call, path);
            let url = format!("{}{path}", self.base_url);
            last_error = match self.exchange(&request, &url, authorization).await {
                Ok((status, _, body)) if status.is_success() => {
                    let body = serde_json::from_slice(&body).unwrap_or_default();
                    if let Ok(response) = BaseUrlResponse::from_response(body)
                        && let Some(root) = discovery::root(&response, &self.origin)
                    {
                        let found = Some((response, root));
                        return Ok(Discovery {
                            found,
                            settled: true,
                            last_error,
                        });
                    }
                    request.malformed("names no usable address on the same host".to_owned())
                }
                Ok((status, headers, body)) => {
                    settled &=
                        !(matches!(status.as_u16(), 401 | 403 | 429) || status.is_server_error());
                    http_error(&request, status, &headers, &body, authorization)
                }
                // The call itself was not sent, so that it may be tried again whatever it is.
                Err(RunbeamError::Api(ApiError::Network { call, cause, .. })) => {
                    return Err(ApiError::Network {
                        call,
                        cause,
                        connected: false,
                    }
                    .into());
                }
                Err(error) => {
                    log::debug!("{error}");
                    error
                }
            };
        }
        Ok(Discovery {
            found: None,
            settled,
            last_error,
        })
    }

    /// One request, and what it is redirected to within the host.
    async fn exchange(
        &self,
        request: &Request,
        url: &str,
        authorization: &HeaderValue,
    ) -> Result<(StatusCode, HeaderMap, Vec<u8>), RunbeamError> {
        let malformed = || request.malformed("leads to an address that cannot be used".to_owned());
        let mut url = Url::parse(url).map_err(|_| malformed())?;
        for _ in 0..=REDIRECT_LIMIT {
            let begun = Instant::now();
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
            let response = sent.send().await;
            let response = response.map_err(|error| request.network_error(&error.without_url()));
            let tell = |outcome: &dyn fmt::Display| {
                let (method, path) = (&request.method, url.path());
                let after = begun.elapsed();
                log::debug!("{method} {}{path}: {outcome} after {after:?}", self.origin);
            };
            match &response {
                Ok(response) => tell(&response.status().as_u16()),
                Err(error) => tell(error),
            }
            let response = response?;
            let Some(next) = self.redirect(request, &url, &response)? else {
                let (status, headers) = (response.status(), response.headers().clone());
                return Ok((status, headers, read(request, response).await?));
            };
            url = next;
        }
        Err(request.malformed("is a redirect after too many others".to_owned()))
    }

    /// Where a redirect leads. `None`: it is none.
    fn redirect(
        &self,
        request: &Request,
        url: &Url,
        response: &Response,
    ) -> Result<Option<Url>, RunbeamError> {
        // Under 301 to 303, a POST would become a GET (RFC 9110 section 15.4).
        let follow = match response.status().as_u16() {
            307 | 308 => true,
            301..=303 => request.method == Method::GET,
            _ => return Ok(None),
        };
        let next = response
            .headers()
            .get(LOCATION)
            .and_then(|location| url.join(location.to_str().ok()?).ok())
            .filter(|_| follow)
            .ok_or_else(|| request.malformed("is a redirect that cannot be followed".to_owned()))?;
        if Origin::exact(next.as_str()).is_none_or(|origin| origin != self.origin)
            || !next.username().is_empty()
        {
            return Err(request.malformed("is a redirect to another host".to_owned()));
        }
        Ok(Some(next))
    }

    fn timed_out(&self, call: &'static str) -> RunbeamError {
        let limit = self.timeout;
        log::debug!("{call} at {}: no response after {limit:?}", self.origin);
        ApiError::TimedOut { call, limit }.into()
    }

    fn known_root(&self) -> Option<String> {
        let root = self.root.lock().unwrap_or_else(PoisonError::into_inner);
        root.clone()
    }

    fn set_root(&self, found: Option<String>) {
        *self.root.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }
}

/// What came of asking where the API begins.
struct Discovery {
    /// The first usable response, and the root that it names.
    found: Option<(BaseUrlResponse, String)>,
    /// Whether another token, or another moment, would bring the same.
    settled: bool,
    /// Why nothing was found.
    last_error: RunbeamError,
}

/// Whether an error may mean that the API is no longer where it was.
fn may_have_moved(error: &RunbeamError) -> bool {
    error
        .status()
        .is_none_or(|status| matches!(status, 404 | 405 | 500..))
}

fn http_error(
    request: &Request,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    authorization: &HeaderValue,
) -> RunbeamError {
    ApiError::Http {
        call: request.call,
        status: status.as_u16(),
        message: message(body, authorization),
        retry_after: retry_after(headers),
    }
    .into()
}

fn authorization(token: &str) -> Result<HeaderValue, ApiError> {
    let token = token.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ApiError::InvalidToken);
    }
    let mut value =
        HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| ApiError::InvalidToken)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_that_no_header_carries() {
        for bad in ["", " ", "a b", "a\nb", "a\r\nX: y", "é", "a\0"] {
            let error = authorization(bad).unwrap_err();
            assert!(matches!(error, ApiError::InvalidToken), "{bad:?}");
        }
        let value = authorization(" 1|abc\n").unwrap();
        assert_eq!(value, "Bearer 1|abc");
        assert!(!format!("{value:?}").contains("abc"));
    }
}
