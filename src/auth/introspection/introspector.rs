//! Who is asked about tokens, and how often: one question for a token at a time, a bounded number
//! of them at one time, and none about what was answered a moment ago.
//!
//! It outlives configurations: a reload finds what the one before has asked.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jose::{AddressFilter, Claims, KeySets};
use moka::sync::Cache;
use reqwest::Url;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::client::{Answer, AskError, Asker, Endpoint};
use crate::auth::error::BuildCause;
use crate::auth::fetching::{self, USER_AGENT};
use crate::auth::outcome::{Class, Reason, Refusal};
use crate::auth::token_cache::{TokenCache, TokenKey, Verified};
use crate::auth::trace::Trace;
use crate::common::{WeakMap, client_network};
use crate::config::{IntrospectionClient, IntrospectionEndpoint};

/// How long a token that does not pass is not asked about again.
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// Refusals remembered at most, about 200 bytes each. A flood of made-up tokens pushes out its own.
const MOST_REFUSALS: u64 = 32_768;
/// How long a token that passed before waits for its question to be asked.
const MAX_WAIT: Duration = Duration::from_secs(2);
/// `Retry-After` when too many questions are under way,
const SOON: u32 = 1;
/// and when the issuer does not answer.
const LATER: u32 = 5;

/// Those that are asked, by their settings, and what all of them count. A clone is the same.
#[derive(Clone, Default)]
pub(crate) struct Introspections {
    known: Arc<WeakMap<IntrospectionClient, Introspector>>,
    counters: Arc<Counters>,
}

/// Questions, for a status page or a metric.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IntrospectionStatus {
    /// Answers that a token is active.
    pub active: u64,
    /// Answers that a token is not active.
    pub inactive: u64,
    /// Questions without a usable answer.
    pub failed: u64,
    /// Questions that were not asked, because too many were under way.
    pub turned_away: u64,
    /// Questions under way.
    pub in_flight: u64,
}

#[derive(Default)]
struct Counters {
    active: AtomicU64,
    inactive: AtomicU64,
    failed: AtomicU64,
    turned_away: AtomicU64,
    in_flight: AtomicU64,
}

/// One issuer that is asked, under one client's name.
pub(crate) struct Introspector {
    asker: Asker,
    /// For how long an answer counts.
    cache: Duration,
    /// How many questions may be under way for one client address.
    of_one_client: usize,
    /// One for each question that may be under way.
    permits: Arc<Semaphore>,
    questions: Mutex<HashMap<TokenKey, Question>>,
    refused: Cache<TokenKey, Refusal>,
    /// Whether the log was told that there are no answers.
    is_failing: AtomicBool,
    counters: Arc<Counters>,
}

/// A question under way.
struct Question {
    verdict: watch::Receiver<Option<Verdict>>,
    /// For whom it is asked, if it counts among those that one address may have asked; the inner
    /// `None`: for an address that is not known.
    counted_for: Option<Option<IpAddr>>,
}

/// What a token gets, and what `explain` tells of a refusal.
type Verdict = Result<Verified, (Refusal, Vec<String>)>;

/// A token to ask about.
pub(in crate::auth) struct Subject<'a> {
    pub(in crate::auth) token: &'a [u8],
    /// What the verdict belongs to.
    pub(in crate::auth) key: TokenKey,
    /// Whether the verdict may be kept under that key.
    pub(in crate::auth) is_kept: bool,
    /// Who presented it.
    pub(in crate::auth) client: Option<IpAddr>,
    /// Whether it passed before.
    pub(in crate::auth) is_known: bool,
}

/// How a question begins.
enum Begun {
    /// The answer has come meanwhile.
    Answered(Result<Verified, Refusal>),
    /// Somebody else has asked it.
    Joined(watch::Receiver<Option<Verdict>>),
    /// It is to be asked now.
    Asked(
        watch::Receiver<Option<Verdict>>,
        watch::Sender<Option<Verdict>>,
        Option<OwnedSemaphorePermit>,
    ),
}

impl Introspections {
    /// The one with these settings; made now where there is none.
    pub(crate) fn of(
        &self,
        settings: &IntrospectionClient,
        key_sets: &KeySets,
    ) -> Result<Arc<Introspector>, BuildCause> {
        let (endpoint, addresses) = endpoint(&settings.endpoint, key_sets)?;
        Ok(self.known.get_or_make(settings.clone(), |settings| {
            Arc::new(Introspector {
                asker: Asker::new(settings, endpoint, addresses, USER_AGENT),
                cache: settings.cache,
                of_one_client: (settings.max_in_flight / 4).max(1),
                permits: Arc::new(Semaphore::new(settings.max_in_flight)),
                questions: Mutex::default(),
                refused: Cache::builder()
                    .max_capacity(MOST_REFUSALS)
                    .time_to_live(REFUSED_FOR)
                    .build(),
                is_failing: AtomicBool::new(false),
                counters: self.counters.clone(),
            })
        }))
    }

    /// How the questions stand.
    pub(crate) fn status(&self) -> IntrospectionStatus {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        IntrospectionStatus {
            active: read(&counters.active),
            inactive: read(&counters.inactive),
            failed: read(&counters.failed),
            turned_away: read(&counters.turned_away),
            in_flight: read(&counters.in_flight),
        }
    }
}

/// Where the questions go, and what may be connected to for them.
fn endpoint(
    settings: &IntrospectionEndpoint,
    key_sets: &KeySets,
) -> Result<(Endpoint, Option<AddressFilter>), BuildCause> {
    Ok(match settings {
        IntrospectionEndpoint::Url { url, reach } => (
            Endpoint::Url(Url::parse(url).map_err(|_| BuildCause::IntrospectionUrl)?),
            fetching::addresses(reach.as_ref()),
        ),
        IntrospectionEndpoint::Discovery(issuer) => (
            Endpoint::Discovered(key_sets.discover(&fetching::issuer_url(issuer))),
            fetching::addresses(issuer.reach.as_ref()),
        ),
    })
}

impl Introspector {
    /// Accepted values of `iss`, if the issuer's document says them.
    pub(in crate::auth) fn token_issuers(&self) -> Option<Vec<String>> {
        let document = self.asker.issuer()?.document()?;
        Some(document.token_issuers.clone())
    }

    /// Why a token was refused a moment ago.
    pub(in crate::auth) fn refused(&self, key: &TokenKey) -> Option<Refusal> {
        self.refused.get(key)
    }

    /// Asks about a token, or waits for the answer to the same question. `judge` makes the verdict
    /// of an active token's claims; one that passes is kept in `cache` until it is due again. The
    /// question goes on whoever stops waiting for it, so that it need not be asked twice.
    pub(in crate::auth) async fn ask(
        self: &Arc<Self>,
        subject: Subject<'_>,
        cache: &TokenCache,
        trace: &mut Trace,
        judge: impl FnOnce(Claims, &mut Trace) -> Result<Verified, Refusal> + Send + 'static,
    ) -> Result<Verified, Refusal> {
        let mut verdict = match self.begin(&subject, cache) {
            Begun::Answered(verdict) => return verdict,
            Begun::Joined(verdict) => verdict,
            Begun::Asked(verdict, answer, permit) => {
                let question = UnderWay::new(self, subject.key);
                let token = Zeroizing::new(subject.token.to_vec());
                let kept = subject.is_kept.then(|| cache.clone());
                let mut own = if trace.is_on() {
                    Trace::on()
                } else {
                    Trace::off()
                };
                tokio::spawn(async move {
                    let introspector = &question.introspector;
                    let verdict = introspector.question(&token, permit, &mut own, judge).await;
                    introspector.keep(question.key, &verdict, kept.as_ref());
                    drop(question);
                    let (_, details) = own.finish();
                    let _ = answer.send(Some(verdict.map_err(|refusal| (refusal, details))));
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

    /// Finds the same question, or makes room for a new one.
    fn begin(&self, subject: &Subject<'_>, cache: &TokenCache) -> Begun {
        let mut questions = self.questions();
        if let Some(question) = questions.get(&subject.key) {
            return Begun::Joined(question.verdict.clone());
        }
        // One may have ended since the caches were asked.
        if let Some(verified) = cache.peek(&subject.key).filter(|it| !it.is_due()) {
            return Begun::Answered(Ok(verified));
        }
        if let Some(refusal) = self.refused.get(&subject.key) {
            return Begun::Answered(Err(refusal));
        }
        let counted_for = (!subject.is_known).then(|| subject.client.map(client_network));
        let of_client = |question: &&Question| question.counted_for == counted_for;
        // A token that passed before waits its turn, ahead of those that nobody knows.
        let permit = match counted_for {
            None => None,
            Some(_) if questions.values().filter(of_client).count() >= self.of_one_client => {
                return self.turned_away();
            }
            Some(_) => match self.permits.clone().try_acquire_owned() {
                Ok(permit) => Some(permit),
                Err(_) => return self.turned_away(),
            },
        };
        let (answer, verdict) = watch::channel(None);
        questions.insert(
            subject.key,
            Question {
                verdict: verdict.clone(),
                counted_for,
            },
        );
        Begun::Asked(verdict, answer, permit)
    }

    fn turned_away(&self) -> Begun {
        self.counters.turned_away.fetch_add(1, Ordering::Relaxed);
        Begun::Answered(Err(unavailable(Reason::IntrospectionQueueFull)))
    }

    /// Asks, and judges the answer.
    async fn question(
        &self,
        token: &[u8],
        permit: Option<OwnedSemaphorePermit>,
        trace: &mut Trace,
        judge: impl FnOnce(Claims, &mut Trace) -> Result<Verified, Refusal>,
    ) -> Result<Verified, Refusal> {
        let counters = &self.counters;
        let _permit = match permit {
            Some(permit) => permit,
            None => match timeout(MAX_WAIT, self.permits.clone().acquire_owned()).await {
                Ok(Ok(permit)) => permit,
                _ => {
                    counters.turned_away.fetch_add(1, Ordering::Relaxed);
                    return Err(unavailable(Reason::IntrospectionQueueFull));
                }
            },
        };
        let asked = Instant::now();
        counters.in_flight.fetch_add(1, Ordering::Relaxed);
        let answer = self.asker.ask(token).await;
        counters.in_flight.fetch_sub(1, Ordering::Relaxed);
        match answer {
            Ok(Answer::Active(claims)) => {
                counters.active.fetch_add(1, Ordering::Relaxed);
                let mut verified = judge(claims, trace)?;
                verified.ask_again = Some(asked + self.cache);
                Ok(verified)
            }
            Ok(Answer::Inactive) => {
                counters.inactive.fetch_add(1, Ordering::Relaxed);
                trace.detail(|| "the issuer says that it is not active".to_owned());
                Err(Reason::Inactive.into())
            }
            Err(error) => {
                counters.failed.fetch_add(1, Ordering::Relaxed);
                self.report(&error);
                trace.detail(|| error.to_string());
                Err(unavailable(Reason::IntrospectionFailed))
            }
        }
    }

    /// Remembers a verdict, for its time. That there was no answer is none.
    fn keep(&self, key: TokenKey, verdict: &Result<Verified, Refusal>, cache: Option<&TokenCache>) {
        match verdict {
            Ok(verified) => {
                self.is_failing.store(false, Ordering::Relaxed);
                if let Some(cache) = cache {
                    cache.insert(key, verified.clone());
                }
            }
            Err(refusal) if refusal.reason.class() == Class::Unavailable => {}
            Err(refusal) => {
                self.is_failing.store(false, Ordering::Relaxed);
                if let Some(cache) = cache {
                    cache.remove(&key);
                    self.refused.insert(key, *refusal);
                }
            }
        }
    }

    /// Logs that there is no answer: a warning the first time.
    fn report(&self, error: &AskError) {
        let shown = self.asker.shown();
        if self.is_failing.swap(true, Ordering::Relaxed) {
            log::debug!("introspection at {shown}: {error}");
        } else {
            log::warn!(
                "introspection at {shown} fails: {error}; tokens that it has not answered for \
                 lately are answered 503"
            );
        }
    }

    fn questions(&self) -> MutexGuard<'_, HashMap<TokenKey, Question>> {
        self.questions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question that is no longer under way when this is dropped, whatever became of it.
struct UnderWay {
    introspector: Arc<Introspector>,
    key: TokenKey,
}

impl UnderWay {
    fn new(introspector: &Arc<Introspector>, key: TokenKey) -> Self {
        Self {
            introspector: introspector.clone(),
            key,
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.introspector.questions().remove(&self.key);
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
            .field("at", &self.asker.shown())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Introspections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.status().fmt(f)
    }
}
