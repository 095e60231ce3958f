//! One call over HTTP, with its limits on time and place.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout_at};

use super::answer::{message, read, retry_after};
use super::options::{ClientOptions, Unusable};
use super::request::Request;
use super::{retry, root};
use crate::auth::with_causes;
use crate::runbeam::error::RunbeamError;
use crate::runbeam::origin::Origin;
use crate::runbeam::tls;

/// How many redirects within the host a try follows.
const REDIRECT_LIMIT: usize = 3;

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
            // A connection that the cloud is just closing would lose a call that must not be made
            // twice.
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
        let client = builder.build().map_err(|error| {
            Unusable::Setup(format!(
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

#[cfg(test)]
mod tests {
    use super::*;

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
