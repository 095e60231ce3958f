//! Endpoints that are told of revocations: logout tokens of an issuer (OpenID Connect Back-Channel
//! Logout 1.0) and security events of a transmitter (RFC 8935).
//!
//! Both send a signed token, which is verified as strictly as one that a request presents. What is
//! told becomes entries of the list of revocations, and is on the disk before it is answered.

mod backchannel_logout;
mod error;
#[cfg(fuzzing)]
pub(super) mod fuzzing;
mod security_events;
mod seen;
mod subject;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::HeaderMap;
use jose::clock;

use super::bearer::single_bearer;
use super::failures::{FailureLimit, Failures};
use super::jwt;
use super::revocation::{Revocation, Revocations};
use super::trace::Trace;
use crate::common::sha256;
use crate::config::{BackchannelLogout, SecurityEvents};
use error::RETRY_AFTER;
use seen::SeenTokens;

pub use error::{Invalid, ReceiveError};

/// How many failed posts one client address has in a minute.
const MAX_FAILURES: u32 = 60;

/// `service` of the endpoints.
const BACKCHANNEL_LOGOUT: &str = "backchannel-logout";
const SECURITY_EVENTS: &str = "security-events";

/// An endpoint that is told of revocations.
#[derive(Debug)]
pub struct Receiver {
    endpoint: Arc<str>,
    kind: Kind,
    verifier: jwt::Verifier,
    shared: Arc<SharedReceivers>,
    revocations: Revocations,
}

/// What it takes.
#[derive(Debug)]
pub(super) enum Kind {
    /// Logout tokens.
    BackchannelLogout(BackchannelLogout),
    /// Security event tokens.
    SecurityEvents(SecurityEvents),
}

/// What receivers keep for the life of the process.
#[derive(Debug)]
pub(super) struct SharedReceivers {
    failures: Failures,
    logout_tokens: SeenTokens,
    backchannel_logout: Counters,
    security_events: Counters,
}

/// How posts to one kind of endpoint ended.
#[derive(Debug, Default)]
struct Counters {
    accepted: AtomicU64,
    refused: AtomicU64,
    turned_away: AtomicU64,
}

/// What came of a post that was accepted.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Received {
    /// Who has told of it: `iss` of the token.
    pub issuer: String,
    /// What was revoked, in words: what each entry names, and its id.
    pub revoked: Vec<String>,
}

/// How posts to receivers ended, since the process began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiverStatus {
    /// `service` of the endpoints.
    pub service: &'static str,
    /// Tokens that were accepted.
    pub accepted: u64,
    /// Posts that were refused.
    pub refused: u64,
    /// Posts that could not be taken: no room, no keys, or too many failures before.
    pub turned_away: u64,
}

impl SharedReceivers {
    pub(super) fn new() -> Self {
        Self {
            failures: Failures::new(),
            logout_tokens: SeenTokens::default(),
            backchannel_logout: Counters::default(),
            security_events: Counters::default(),
        }
    }

    /// How posts ended, by the kind of endpoint.
    pub(super) fn status(&self) -> [ReceiverStatus; 2] {
        [
            self.backchannel_logout.status(BACKCHANNEL_LOGOUT),
            self.security_events.status(SECURITY_EVENTS),
        ]
    }
}

impl Counters {
    fn count(&self, received: &Result<Received, ReceiveError>) {
        let counter = match received {
            Ok(_) => &self.accepted,
            Err(ReceiveError::Invalid(_)) => &self.refused,
            Err(ReceiveError::TooManyFailures(_) | ReceiveError::Unavailable { .. }) => {
                &self.turned_away
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn status(&self, service: &'static str) -> ReceiverStatus {
        ReceiverStatus {
            service,
            accepted: self.accepted.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            turned_away: self.turned_away.load(Ordering::Relaxed),
        }
    }
}

impl Receiver {
    pub(super) fn new(
        endpoint: &Arc<str>,
        kind: Kind,
        verifier: jwt::Verifier,
        shared: &Arc<SharedReceivers>,
        revocations: &Revocations,
    ) -> Self {
        Self {
            endpoint: endpoint.clone(),
            kind,
            verifier,
            shared: shared.clone(),
            revocations: revocations.clone(),
        }
    }

    /// Whether it takes security event tokens: they come as they are, and their errors are those
    /// of RFC 8935. A logout token comes in a form.
    pub fn takes_security_events(&self) -> bool {
        matches!(self.kind, Kind::SecurityEvents(_))
    }

    /// `service` of its endpoint.
    pub fn service(&self) -> &'static str {
        match self.kind {
            Kind::BackchannelLogout(_) => BACKCHANNEL_LOGOUT,
            Kind::SecurityEvents(_) => SECURITY_EVENTS,
        }
    }

    /// Takes what a client has posted: the token, or what is wrong with the post.
    ///
    /// # Errors
    ///
    /// Why it is not accepted. Nothing was revoked then.
    pub async fn receive(
        &self,
        token: Result<&[u8], &'static str>,
        headers: &HeaderMap,
        client: Option<IpAddr>,
        request_id: &str,
    ) -> Result<Received, ReceiveError> {
        let limit = FailureLimit::new(&self.endpoint, MAX_FAILURES, client);
        let failures = &self.shared.failures;
        let received = match failures.check(&limit) {
            Ok(()) => {
                let received = self.examine(token, headers).await;
                if let Err(ReceiveError::Invalid(invalid)) = &received
                    && !invalid.from_transmitter
                {
                    failures.count(&limit);
                }
                received
            }
            Err(refusal) => Err(ReceiveError::TooManyFailures(
                refusal.retry_after.unwrap_or(RETRY_AFTER),
            )),
        };
        let from = Client(client);
        let prefix = format_args!("request {request_id}: endpoint {}", self.endpoint);
        match &received {
            Err(ReceiveError::Invalid(Invalid { code, why, .. })) => {
                log::warn!("{prefix}: post from {from}, answered {code}: {why}");
            }
            Err(ReceiveError::Unavailable { why, .. }) => {
                log::warn!("{prefix}: post from {from}, answered 503: {why}");
            }
            Ok(_) | Err(ReceiveError::TooManyFailures(_)) => {}
        }
        let counters = match self.kind {
            Kind::BackchannelLogout(_) => &self.shared.backchannel_logout,
            Kind::SecurityEvents(_) => &self.shared.security_events,
        };
        counters.count(&received);
        received
    }

    async fn examine(
        &self,
        token: Result<&[u8], &'static str>,
        headers: &HeaderMap,
    ) -> Result<Received, ReceiveError> {
        let now = clock::now();
        match &self.kind {
            Kind::BackchannelLogout(settings) => {
                let token = token.map_err(Invalid::request)?;
                let claims = self
                    .verifier
                    .verify_notice(token, now, true, &mut Trace::off())
                    .await?;
                let logout = backchannel_logout::read(&claims, settings.also_subject)?;
                let seen = &self.shared.logout_tokens;
                let until = logout.expires_at + self.verifier.leeway().as_secs_f64();
                let place = seen.take(&logout.issuer, &logout.token_id, until, now)?;
                let received = self.revoke(logout.entries, &logout.issuer).await?;
                place.keep();
                Ok(received)
            }
            Kind::SecurityEvents(settings) => {
                if let Some(hash) = &settings.token_hash
                    && !has_token(headers, hash)
                {
                    return Err(ReceiveError::Invalid(Invalid {
                        code: "authentication_failed",
                        why: "Authorization is missing or wrong".to_owned(),
                        from_transmitter: false,
                    }));
                }
                let token = token.map_err(Invalid::request)?;
                let claims = self
                    .verifier
                    .verify_notice(token, now, false, &mut Trace::off())
                    .await?;
                let entries = security_events::read(&claims, &settings.issuers, now);
                let entries = entries.map_err(|invalid| Invalid {
                    from_transmitter: true,
                    ..invalid
                })?;
                let issuer = claims.get("iss").and_then(serde_json::Value::as_str);
                self.revoke(entries, issuer.unwrap_or_default()).await
            }
        }
    }

    async fn revoke(&self, entries: Vec<Revocation>, by: &str) -> Result<Received, ReceiveError> {
        if entries.is_empty() {
            return Ok(Received::default());
        }
        let told = entries
            .iter()
            .map(|entry| format!("{} ({})", entry.target, entry.id()));
        let revoked: Vec<String> = told.collect();
        self.revocations.revoke(entries).await?;
        log::info!(
            "endpoint {}: {by:?} revoked {}",
            self.endpoint,
            revoked.join(", ")
        );
        Ok(Received {
            issuer: by.to_owned(),
            revoked,
        })
    }
}

/// Whether the one `Authorization: Bearer` holds the token that this is the hash of.
fn has_token(headers: &HeaderMap, hash: &[u8; 32]) -> bool {
    let token = single_bearer(headers).ok().flatten();
    token.is_some_and(|token| verify_slices_are_equal(&sha256(&[token]), hash).is_ok())
}

/// Where a post came from, for the log.
struct Client(Option<IpAddr>);

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("an unknown address"),
        }
    }
}
