//! Questions under way: one for a token at a time, and a bounded number of them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use crate::auth::outcome::Refusal;
use crate::auth::presenter::Presenter;
use crate::auth::token_cache::{TokenKey, Verified};
use crate::common::client_network;

/// How long a token that passed before waits for its question to be asked.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// What a token gets, and what `explain` tells of a refusal.
pub(super) type Verdict = Result<Verified, (Refusal, Vec<String>)>;

/// Where the verdict of a question will be.
pub(super) type Pending = watch::Receiver<Option<Verdict>>;

/// A token to ask about.
pub(in crate::auth) struct Subject<'a> {
    pub(in crate::auth) token: &'a [u8],
    /// What the verdict belongs to.
    pub(in crate::auth) key: TokenKey,
    /// Whether the verdict may be kept under that key.
    pub(in crate::auth) is_kept: bool,
    /// Who presents it.
    pub(in crate::auth) presenter: Presenter<'a>,
    /// Whether it passed before.
    pub(in crate::auth) is_known: bool,
}

/// All that are under way to one issuer.
pub(super) struct Questions {
    under_way: Mutex<HashMap<TokenKey, UnderWay>>,
    /// One for each question that may be asked at one time.
    permits: Arc<Semaphore>,
    /// How many may be under way for one client address.
    of_one_client: usize,
}

struct UnderWay {
    verdict: Pending,
    /// For whom it is asked, if it counts among those that one address may have asked; the inner
    /// `None`: for an address that is not known.
    counted_for: Option<Option<IpAddr>>,
}

/// A question that is to be asked. It is no longer under way when this is dropped, whatever became
/// of it.
pub(super) struct Question {
    questions: Arc<Questions>,
    key: TokenKey,
    answer: watch::Sender<Option<Verdict>>,
    permit: Option<OwnedSemaphorePermit>,
}

/// How a question begins.
pub(super) enum Begun {
    /// The answer has come meanwhile.
    Answered(Result<Verified, Refusal>),
    /// Somebody else has asked it.
    Joined(Pending),
    /// It is to be asked now.
    Opened(Question, Pending),
    /// Too many are under way.
    TurnedAway,
}

impl Questions {
    /// At most so many at one time, a quarter of them for one client address.
    pub(super) fn at_most(max_in_flight: usize) -> Arc<Self> {
        Arc::new(Self {
            under_way: Mutex::default(),
            permits: Arc::new(Semaphore::new(max_in_flight)),
            of_one_client: (max_in_flight / 4).max(1),
        })
    }

    /// Finds the same question, or makes room for a new one. `recall`: what is known of the token,
    /// since a question may have ended after the caches were asked.
    pub(super) fn begin(
        self: &Arc<Self>,
        subject: &Subject<'_>,
        recall: impl FnOnce() -> Option<Result<Verified, Refusal>>,
    ) -> Begun {
        let mut under_way = self.under_way();
        if let Some(question) = under_way.get(&subject.key) {
            return Begun::Joined(question.verdict.clone());
        }
        if let Some(verdict) = recall() {
            return Begun::Answered(verdict);
        }
        let counted_for = (!subject.is_known).then(|| subject.presenter.client.map(client_network));
        let of_client = |question: &&UnderWay| question.counted_for == counted_for;
        // A token that passed before waits its turn, ahead of those that nobody knows.
        let permit = match counted_for {
            None => None,
            Some(_) if under_way.values().filter(of_client).count() >= self.of_one_client => {
                return Begun::TurnedAway;
            }
            Some(_) => match self.permits.clone().try_acquire_owned() {
                Ok(permit) => Some(permit),
                Err(_) => return Begun::TurnedAway,
            },
        };
        let (answer, verdict) = watch::channel(None);
        let pending = verdict.clone();
        under_way.insert(
            subject.key,
            UnderWay {
                verdict,
                counted_for,
            },
        );
        let question = Question {
            questions: self.clone(),
            key: subject.key,
            answer,
            permit,
        };
        Begun::Opened(question, pending)
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<TokenKey, UnderWay>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Question {
    /// Waits until it may be asked. Whether that was in time.
    pub(super) async fn wait_turn(&mut self) -> bool {
        if self.permit.is_none() {
            let permits = self.questions.permits.clone();
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

impl Drop for Question {
    fn drop(&mut self) {
        self.questions.under_way().remove(&self.key);
    }
}
