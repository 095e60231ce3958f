//! A step's view of a key set: the key for a token, at once when it is known.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::set::{self, KeySet, Purpose};
use crate::auth::key::RsaKey;
use crate::auth::outcome::{Reason, Refusal};
use crate::config::JwksUrl;

/// How long a request waits for keys.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it waits for a fetch to confirm keys that were kept from the last run.
const PATIENCE_WITH_KEPT_KEYS: Duration = Duration::from_secs(1);

/// A fetched key set under the settings of one step.
#[derive(Debug)]
pub(crate) struct FetchedKeys {
    set: Arc<KeySet>,
    settings: Arc<JwksUrl>,
}

impl FetchedKeys {
    pub(super) fn new(set: Arc<KeySet>, settings: Arc<JwksUrl>) -> Self {
        Self { set, settings }
    }

    /// The key for a token. A known key is found without waiting. At a start the request waits for the first fetch; an unknown `kid` waits for one fetch, if the cool-down allows one.
    pub(crate) async fn key(&self, kid: Option<&str>) -> Result<Arc<RsaKey>, Refusal> {
        match self.find(kid) {
            Ok(key) if self.set.is_settled() => Ok(key),
            found => self.wait_for(kid, found.is_ok()).await,
        }
    }

    async fn wait_for(&self, kid: Option<&str>, kept: bool) -> Result<Arc<RsaKey>, Refusal> {
        let begun = Instant::now();
        if !self.set.is_tried() {
            let patience = if kept {
                PATIENCE_WITH_KEPT_KEYS
            } else {
                PATIENCE
            };
            self.fetch(Purpose::Scheduled, begun + patience).await;
        }
        let unknown = Purpose::UnknownKid(self.settings.cooldown);
        // The first fetch may be one that was under way, and began before the key was there.
        for _ in 0..2 {
            match self.find(kid) {
                Err(Reason::UnknownKid) if self.fetch(unknown, begun + PATIENCE).await => {}
                found => return found.map_err(|reason| self.refusal(reason)),
            }
        }
        self.find(kid).map_err(|reason| self.refusal(reason))
    }

    /// Waits for a fetch. `false`: there is none to wait for.
    async fn fetch(&self, purpose: Purpose, deadline: Instant) -> bool {
        match self.set.take_off(purpose) {
            Some(flight) => {
                let _ = timeout_at(deadline, set::landed(flight)).await;
                true
            }
            None => false,
        }
    }

    fn find(&self, kid: Option<&str>) -> Result<Arc<RsaKey>, Reason> {
        self.set.find(kid, self.settings.max_stale)
    }

    fn refusal(&self, reason: Reason) -> Refusal {
        Refusal {
            reason,
            retry_after: (reason == Reason::NoKeys).then(|| self.set.retry_after()),
        }
    }
}
