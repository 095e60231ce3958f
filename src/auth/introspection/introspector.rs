//! Introspection at one issuer: answers are cached, and concurrent requests with the same token
//! share one call.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jose::Claims;
use moka::sync::Cache;
use tokio::sync::{Semaphore, SemaphorePermit};
use zeroize::Zeroizing;

use super::client::{Answer, AskError, Client};
use super::counters::Counters;
use super::in_flight::{InFlightCalls, IntrospectionRequest, PendingCall, Started};
use crate::auth::outcome::{Class, Reason, Refusal};
use crate::auth::request_source::LogPrefix;
use crate::auth::token_cache::{TokenCache, TokenKey, Verified};
use crate::auth::trace::Trace;
use crate::config::IntrospectionClient;

/// How long a token that does not pass is not asked about again.
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// Refusals remembered at most, about 200 bytes each. A flood of made-up tokens pushes out its own.
const MAX_REFUSALS: u64 = 32_768;
/// `Retry-After` when too many calls are in flight,
const SOON: u32 = 1;
/// and when the issuer does not answer.
const LATER: u32 = 5;

/// One issuer that is asked, under one client's name.
pub(crate) struct Introspector {
    client: Client,
    /// For how long an answer counts.
    cache: Duration,
    calls: Arc<InFlightCalls>,
    /// One for each call that may be made for an open stream: half of all.
    stream_permits: Semaphore,
    refused: Cache<TokenKey, Refusal>,
    /// Whether the log was told that there are no answers.
    is_failing: AtomicBool,
    counters: Arc<Counters>,
}

impl Introspector {
    pub(super) fn new(
        client: Client,
        settings: &IntrospectionClient,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            client,
            cache: settings.cache,
            calls: InFlightCalls::at_most(settings.max_in_flight),
            stream_permits: Semaphore::new((settings.max_in_flight / 2).max(1)),
            refused: Cache::builder()
                .max_capacity(MAX_REFUSALS)
                .time_to_live(REFUSED_FOR)
                .build(),
            is_failing: AtomicBool::new(false),
            counters,
        }
    }

    /// Accepted values of `iss`, if the issuer's document says them.
    pub(in crate::auth) fn token_issuers(&self) -> Option<Vec<String>> {
        let document = self.client.issuer()?.document()?;
        Some(document.token_issuers.clone())
    }

    /// When a token about which an answer comes now is due again.
    pub(in crate::auth) fn next_due(&self) -> Instant {
        Instant::now() + self.cache
    }

    /// Waits until a call may be made for an open stream, however many streams there are.
    pub(in crate::auth) async fn stream_permit(&self) -> Option<SemaphorePermit<'_>> {
        self.stream_permits.acquire().await.ok()
    }

    /// Why a token was refused a moment ago.
    pub(in crate::auth) fn refused(&self, key: &TokenKey) -> Option<Refusal> {
        self.refused.get(key)
    }

    /// Asks about a token, or waits for the answer of the call that is in flight. `to_verdict`
    /// makes the verdict of an active token's claims; one that passes is kept in `cache` until it
    /// is due again. The call goes on whoever stops waiting for it, so that it need not be made
    /// twice.
    pub(in crate::auth) async fn ask(
        self: &Arc<Self>,
        request: IntrospectionRequest<'_>,
        cache: &TokenCache,
        trace: &mut Trace,
        to_verdict: impl FnOnce(Claims, &mut Trace) -> Result<Verified, Refusal> + Send + 'static,
    ) -> Result<Verified, Refusal> {
        let recall = || match cache.peek(&request.key) {
            Some(verified) if !verified.is_due() => Some(Ok(verified)),
            _ => self.refused.get(&request.key).map(Err),
        };
        let mut verdict = match self.calls.begin(&request, recall) {
            Started::Answered(verdict) => return verdict,
            Started::TurnedAway => return Err(self.turn_away()),
            Started::Joined(verdict) => verdict,
            Started::Opened(mut call, verdict) => {
                let (introspector, key) = (self.clone(), request.key);
                let prefix = request.source.log_prefix();
                let token = Zeroizing::new(request.token.to_vec());
                let kept = request.cacheable.then(|| cache.clone());
                let mut own = trace.same_kind();
                tokio::spawn(async move {
                    let verdict = introspector
                        .examine(&mut call, &token, &prefix, &mut own, to_verdict)
                        .await;
                    introspector.keep(key, &verdict, kept.as_ref());
                    let (_, details) = own.finish();
                    call.answer(verdict.map_err(|refusal| (refusal, details)));
                });
                verdict
            }
        };
        let verdict = match verdict.wait_for(Option::is_some).await {
            Ok(verdict) => verdict.clone(),
            // Lost with its runtime.
            Err(_) => None,
        };
        let (refusal, details) = match verdict {
            Some(Ok(verified)) => return Ok(verified),
            Some(Err(refused)) => refused,
            None => (unavailable(Reason::IntrospectionFailed), Vec::new()),
        };
        for detail in details {
            trace.detail(|| detail);
        }
        Err(refusal)
    }

    fn turn_away(&self) -> Refusal {
        self.counters.turned_away.fetch_add(1, Ordering::Relaxed);
        unavailable(Reason::IntrospectionQueueFull)
    }

    /// Makes the call when it is its turn, and the verdict of its answer.
    async fn examine(
        &self,
        call: &mut PendingCall,
        token: &[u8],
        prefix: &LogPrefix,
        trace: &mut Trace,
        to_verdict: impl FnOnce(Claims, &mut Trace) -> Result<Verified, Refusal>,
    ) -> Result<Verified, Refusal> {
        if !call.wait_turn().await {
            return Err(self.turn_away());
        }
        let (counters, asked) = (&self.counters, Instant::now());
        counters.in_flight.fetch_add(1, Ordering::Relaxed);
        let answer = self.client.ask(token, prefix).await;
        counters.in_flight.fetch_sub(1, Ordering::Relaxed);
        match answer {
            Ok(Answer::Active(claims)) => {
                counters.active.fetch_add(1, Ordering::Relaxed);
                let mut verified = to_verdict(claims, trace)?;
                verified.next_check = Some(asked + self.cache);
                Ok(verified)
            }
            Ok(Answer::Inactive) => {
                counters.inactive.fetch_add(1, Ordering::Relaxed);
                trace.detail(|| "the issuer says that it is not active".to_owned());
                Err(Reason::Inactive.into())
            }
            Err(error) => {
                counters.failed.fetch_add(1, Ordering::Relaxed);
                self.report(&error, prefix);
                trace.detail(|| error.to_string());
                Err(unavailable(Reason::IntrospectionFailed))
            }
        }
    }

    /// Caches a verdict. A failed call is no verdict and is not cached.
    fn keep(&self, key: TokenKey, verdict: &Result<Verified, Refusal>, cache: Option<&TokenCache>) {
        match verdict {
            Ok(verified) => {
                self.note_answer();
                if let Some(cache) = cache {
                    cache.insert(key, verified.clone());
                }
            }
            Err(refusal) if refusal.reason.class() == Class::Unavailable => {}
            Err(refusal) => {
                self.note_answer();
                if let Some(cache) = cache {
                    cache.remove(&key);
                    self.refused.insert(key, *refusal);
                }
            }
        }
    }

    fn note_answer(&self) {
        if self.is_failing.swap(false, Ordering::Relaxed) {
            log::info!("introspection at {} works again", self.client.shown());
        }
    }

    /// Warns that there is no answer, the first time.
    fn report(&self, error: &AskError, prefix: &LogPrefix) {
        if !self.is_failing.swap(true, Ordering::Relaxed) {
            log::warn!(
                "{prefix}introspection at {} fails: {error}; requests whose tokens are not in the \
                 cache are answered 503 until it works again",
                self.client.shown()
            );
        }
    }
}

/// Another try may end differently.
fn unavailable(reason: Reason) -> Refusal {
    let retry_after = match reason {
        Reason::IntrospectionQueueFull => SOON,
        _ => LATER,
    };
    Refusal {
        reason,
        retry_after: Some(retry_after),
    }
}

/// Shows no token and no verdict.
impl fmt::Debug for Introspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Introspector")
            .field("at", &self.client.shown())
            .finish_non_exhaustive()
    }
}
