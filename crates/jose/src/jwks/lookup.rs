//! A step's view of a key set: the key for a token, at once when it is known.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::MAX_WAIT;
use super::issuer::DiscoveredIssuer;
use super::remote::{self, FetchReason};
use super::set::KeySet;
use super::settings::Lifetime;
use crate::{Algorithm, PublicKey, TokenError};

/// How long it waits for a fetch to confirm keys that were kept from the last run.
const MAX_WAIT_WITH_STORED_KEYS: Duration = Duration::from_secs(1);

/// A fetched key set under the settings of one step.
#[derive(Debug)]
pub struct FetchedKeys {
    set: Arc<KeySet>,
    lifetime: Arc<Lifetime>,
    /// Whose document says where the set is.
    issuer: Option<DiscoveredIssuer>,
}

/// Why there are no keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyTrouble {
    /// Where they are fetched from; without user name, password and query.
    pub url: String,
    /// What became of the last fetch.
    pub cause: String,
    /// Whether it was for want of an answer in time.
    pub timed_out: bool,
}

impl FetchedKeys {
    pub(super) fn new(
        set: Arc<KeySet>,
        lifetime: Arc<Lifetime>,
        issuer: Option<DiscoveredIssuer>,
    ) -> Self {
        Self {
            set,
            lifetime,
            issuer,
        }
    }

    /// The issuer whose document says where the keys are; `None`: the configuration says it.
    pub fn issuer(&self) -> Option<&DiscoveredIssuer> {
        self.issuer.as_ref()
    }

    /// The generation of the keys that serve, and of the document that led to them: it grows
    /// whenever one of them changes. `None`: there are none, or a request has to wait for the
    /// first fetch.
    pub fn generation(&self) -> Option<u64> {
        let keys = self
            .set
            .is_settled()
            .then(|| self.set.generation(self.lifetime.max_stale))??;
        match &self.issuer {
            None => Some(keys),
            // Both are numbers of one count.
            Some(issuer) => Some(keys.max(issuer.generation()?)),
        }
    }

    /// Fetches the set if that is due: for those who have no background task. A request waits for
    /// it only if there are no keys that may serve.
    pub(crate) async fn refresh_if_due(&self) {
        if self.set.due() > Instant::now() {
            return;
        }
        let fetch = self.set.start_fetch(FetchReason::Scheduled);
        // Before the first fetch has ended, whoever asks for a key waits for it anyway.
        let waits = self.set.is_tried() && self.set.generation(self.lifetime.max_stale).is_none();
        if let Some(fetch) = fetch.filter(|_| waits) {
            let _ = timeout_at(Instant::now() + MAX_WAIT, remote::completed(fetch)).await;
        }
    }

    /// In how many seconds the next fetch is due, from 1 to 60: for `Retry-After`, when there are
    /// no keys.
    pub fn retry_after(&self) -> u32 {
        self.set.retry_after()
    }

    /// Why there are no keys, after a request was told so.
    pub fn trouble(&self) -> KeyTrouble {
        let (status, _) = self.set.status();
        let waiting = self.set.fetch_in_progress().is_some();
        KeyTrouble {
            url: self.set.url(),
            cause: match status.last_error {
                _ if waiting => "no answer yet".to_owned(),
                Some(error) => error,
                None => "none was fetched".to_owned(),
            },
            timed_out: waiting || self.set.timed_out(),
        }
    }

    /// The key for a token. A known key is found without waiting. At a start the request waits for
    /// the first fetch; an unknown `kid` waits for one fetch, if the cool-down allows one.
    pub(crate) async fn key(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Arc<PublicKey>, TokenError> {
        let find = || self.set.find(kid, algorithm, self.lifetime.max_stale);
        match find() {
            Ok(key) if self.set.is_settled() => Ok(key),
            found => self.wait_for(find, found.is_ok()).await,
        }
    }

    async fn wait_for(
        &self,
        find: impl Fn() -> Result<Arc<PublicKey>, TokenError>,
        kept: bool,
    ) -> Result<Arc<PublicKey>, TokenError> {
        let begun = Instant::now();
        if !self.set.is_tried() {
            let max_wait = if kept {
                MAX_WAIT_WITH_STORED_KEYS
            } else {
                MAX_WAIT
            };
            self.fetch(FetchReason::Scheduled, begun + max_wait).await;
        }
        let unknown = FetchReason::UnknownKid(self.lifetime.cooldown);
        // The first fetch may be one that was under way, and began before the key was there.
        for _ in 0..2 {
            match find() {
                Err(TokenError::UnknownKid) if self.fetch(unknown, begun + MAX_WAIT).await => {}
                found => return found,
            }
        }
        find()
    }

    /// Waits for a fetch. `false`: there is none to wait for.
    async fn fetch(&self, purpose: FetchReason, deadline: Instant) -> bool {
        match self.set.start_fetch(purpose) {
            Some(fetch) => {
                let _ = timeout_at(deadline, remote::completed(fetch)).await;
                true
            }
            None => false,
        }
    }
}
