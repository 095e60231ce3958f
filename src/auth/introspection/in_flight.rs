//! Calls in flight: one for a token at a time, and a bounded number of them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use crate::auth::outcome::Refusal;
use crate::auth::request_source::RequestSource;
use crate::auth::token_cache::{TokenKey, Verified};
use crate::common::client_network;

/// How long a token that passed before waits for its call to be made.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// What a token gets, and what `explain` tells of a refusal.
pub(super) type Verdict = Result<Verified, (Refusal, Vec<String>)>;

/// Where the verdict of a call will be.
pub(super) type Pending = watch::Receiver<Option<Verdict>>;

/// A token that its issuer is to be asked about.
pub(in crate::auth) struct IntrospectionRequest<'a> {
    pub(in crate::auth) token: &'a [u8],
    /// What the verdict belongs to.
    pub(in crate::auth) key: TokenKey,
    /// Whether the verdict may be kept under that key.
    pub(in crate::auth) cacheable: bool,
    /// Who presents it.
    pub(in crate::auth) source: RequestSource<'a>,
    /// Whether it passed before.
    pub(in crate::auth) passed_before: bool,
}

/// All that are in flight to one issuer.
pub(super) struct InFlightCalls {
    calls: Mutex<Calls>,
    /// One for each call that may be made at one time.
    permits: Arc<Semaphore>,
    /// How many there may be for tokens that one client address presents and that never passed.
    max_per_client: usize,
    /// How many there may be for tokens that passed before, those that wait included.
    max_passed_before: usize,
}

#[derive(Default)]
struct Calls {
    by_token: HashMap<TokenKey, Pending>,
    by_limit: HashMap<CountedFor, usize>,
}

/// What a call counts among.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum CountedFor {
    /// Those of tokens that passed before.
    PassedBefore,
    /// Those of a client address; `None`: of all that are not known.
    Client(Option<IpAddr>),
}

/// A call that is to be made. It is no longer in flight when this is dropped, whatever became of
/// it.
pub(super) struct PendingCall {
    calls: Arc<InFlightCalls>,
    key: TokenKey,
    counted_for: CountedFor,
    answer: watch::Sender<Option<Verdict>>,
    permit: Option<OwnedSemaphorePermit>,
}

/// How a call begins.
pub(super) enum Started {
    /// The answer has come meanwhile.
    Answered(Result<Verified, Refusal>),
    /// It is in flight already.
    Joined(Pending),
    /// It is to be made now.
    Opened(PendingCall, Pending),
    /// Too many are in flight.
    TurnedAway,
}

impl InFlightCalls {
    /// At most so many at one time, a quarter of them for one client address. Eight times as many
    /// may wait for tokens that passed before.
    pub(super) fn at_most(max_in_flight: usize) -> Arc<Self> {
        Arc::new(Self {
            calls: Mutex::default(),
            permits: Arc::new(Semaphore::new(max_in_flight)),
            max_per_client: (max_in_flight / 4).max(1),
            max_passed_before: max_in_flight.saturating_mul(8),
        })
    }

    /// Finds the call about the same token, or makes room for a new one. `recall`: what is known of
    /// the token, since a call may have ended after the caches were asked.
    pub(super) fn begin(
        self: &Arc<Self>,
        request: &IntrospectionRequest<'_>,
        recall: impl FnOnce() -> Option<Result<Verified, Refusal>>,
    ) -> Started {
        let mut calls = self.calls();
        if let Some(verdict) = calls.by_token.get(&request.key) {
            return Started::Joined(verdict.clone());
        }
        if let Some(verdict) = recall() {
            return Started::Answered(verdict);
        }
        let counted_for = match request.passed_before {
            true => CountedFor::PassedBefore,
            false => CountedFor::Client(request.source.client.map(client_network)),
        };
        let count = calls.by_limit.get(&counted_for).copied().unwrap_or(0);
        // A token that passed before waits its turn, ahead of those that nobody knows.
        let permit = match counted_for {
            CountedFor::PassedBefore if count >= self.max_passed_before => {
                return Started::TurnedAway;
            }
            CountedFor::PassedBefore => None,
            CountedFor::Client(_) if count >= self.max_per_client => return Started::TurnedAway,
            CountedFor::Client(_) => match self.permits.clone().try_acquire_owned() {
                Ok(permit) => Some(permit),
                Err(_) => return Started::TurnedAway,
            },
        };
        let (answer, verdict) = watch::channel(None);
        calls.by_token.insert(request.key, verdict.clone());
        calls.by_limit.insert(counted_for, count + 1);
        let call = PendingCall {
            calls: self.clone(),
            key: request.key,
            counted_for,
            answer,
            permit,
        };
        Started::Opened(call, verdict)
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PendingCall {
    /// Waits until it may be made. Whether that was in time.
    pub(super) async fn wait_turn(&mut self) -> bool {
        if self.permit.is_none() {
            let permits = self.calls.permits.clone();
            let permit = timeout(MAX_WAIT, permits.acquire_owned()).await;
            self.permit = permit.ok().and_then(Result::ok);
        }
        self.permit.is_some()
    }

    /// Tells everybody who waits.
    pub(super) fn answer(self, verdict: Verdict) {
        let _ = self.answer.send(Some(verdict));
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        let mut calls = self.calls.calls();
        calls.by_token.remove(&self.key);
        if let Entry::Occupied(mut count) = calls.by_limit.entry(self.counted_for) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::token_cache::TokenCache;

    fn start(calls: &Arc<InFlightCalls>, token: &str, client: u8, passed_before: bool) -> Started {
        let cache = TokenCache::off().unwrap().limited_to(1 << 20);
        let client = Some([192, 0, 2, client].into());
        let request = IntrospectionRequest {
            token: token.as_bytes(),
            // Under a secret of the cache, so never the same.
            key: cache.key(token.as_bytes()).unwrap(),
            cacheable: true,
            source: RequestSource {
                client,
                request_id: None,
            },
            passed_before,
        };
        calls.begin(&request, || None)
    }

    fn opened(started: Started) -> Option<PendingCall> {
        match started {
            Started::Opened(call, _) => Some(call),
            _ => None,
        }
    }

    #[test]
    fn calls_are_counted_for_clients_and_for_tokens_that_passed_before() {
        let calls = InFlightCalls::at_most(8);
        let open = |client, passed_before| opened(start(&calls, "t", client, passed_before));
        let (one, two) = (open(1, false).unwrap(), open(1, false).unwrap());
        assert!(open(1, false).is_none(), "a quarter is for one client");
        assert!(open(2, false).is_some());
        let known: Vec<_> = (0..64).map(|_| open(1, true).unwrap()).collect();
        assert!(open(1, true).is_none(), "even of those that only wait");
        assert!(open(2, false).is_some());
        drop(known);
        assert!(open(1, true).is_some());
        drop(one);
        assert!(open(1, false).is_some());
        drop(two);
        assert!(calls.calls().by_limit.is_empty() && calls.calls().by_token.is_empty());
    }
}
