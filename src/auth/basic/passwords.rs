//! What is known of passwords, for the life of the process: which were right a moment ago, who used
//! them, which are being hashed, and whose were wrong too often.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use moka::{future, sync};
use ring::error::Unspecified;
use ring::hmac;
use ring::rand::SystemRandom;
use zeroize::Zeroizing;

use super::pool::Pool;
use super::stored::{Check, StoredPassword};
use super::user_pass::UserPass;
use crate::auth::failures::{Attempt, FailureLimit, Failures, SharedFailures};
use crate::auth::outcome::Refusal;
use crate::config::Owner;

/// How long a password that was right is not hashed again.
const REMEMBERED: Duration = Duration::from_secs(300);
/// How long an address that has used a credential is exempt from `max_failures` with it. Longer
/// than [`REMEMBERED`], so that users who share an address with a guesser are not locked out.
const USED: Duration = Duration::from_secs(3600);
/// Credentials remembered at most, and uses of them, about 100 bytes each.
const MAX_REMEMBERED: u64 = 100_000;
/// How long a request waits for its verdict.
const PATIENCE: Duration = Duration::from_secs(10);

/// The memory and the threads. A clone is the same.
#[derive(Clone)]
pub(crate) struct Passwords(Arc<Inner>);

struct Inner {
    /// Random, so that what is remembered means nothing outside this process.
    key: hmac::Key,
    verified: sync::Cache<CredentialKey, ()>,
    /// Which address has used which credential. What others used must not be looked up for an
    /// address that fails too often: the answers would tell it what is right.
    used: sync::Cache<(IpAddr, CredentialKey), ()>,
    /// Comparisons under way: requests that come together with one credential wait for one hash.
    in_progress: future::Cache<(FailureLimit, CredentialKey), ()>,
    failures: Failures,
    local: Pool,
    /// Whatever the cloud sends, users of the local files do not wait behind it.
    cloud: Pool,
}

/// Stands for a user, a password, and what that was compared with: when one of them changes, so
/// does the key.
type CredentialKey = [u8; 32];

/// Why a comparison came to nothing.
enum Failure {
    Wrong,
    Refused(Refusal),
}

impl Passwords {
    /// Fails only if the system provides no random numbers.
    pub(crate) fn new() -> Result<Self, Unspecified> {
        Ok(Self(Arc::new(Inner {
            key: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())?,
            verified: sync::Cache::builder()
                .max_capacity(MAX_REMEMBERED)
                .time_to_live(REMEMBERED)
                .build(),
            used: sync::Cache::builder()
                .max_capacity(MAX_REMEMBERED)
                .time_to_idle(USED)
                .build(),
            in_progress: future::Cache::builder()
                .max_capacity(1024)
                .time_to_live(Duration::from_secs(1))
                .build(),
            failures: Failures::new(),
            local: Pool::local(),
            cloud: Pool::cloud(),
        })))
    }

    /// Makes ready for hashes up to this cost.
    pub(super) fn prepare_for_cost(&self, cost: u32, owner: Owner) {
        self.0.pool(owner).prepare_for_cost(cost);
    }

    /// Counts failures together with other nodes from now on.
    pub(crate) fn share(&self, store: Arc<dyn SharedFailures>) {
        self.0.failures.share(store);
    }

    /// How many passwords were hashed.
    pub(crate) fn hashed(&self) -> u64 {
        self.0.local.hashed() + self.0.cloud.hashed()
    }

    /// How many passwords wait to be hashed.
    pub(crate) fn waiting(&self) -> u64 {
        self.0.local.waiting() + self.0.cloud.waiting()
    }

    /// The digest that a plain-text password of the configuration is compared as.
    pub(super) fn digest(&self, password: &str) -> [u8; 32] {
        self.0.sign(&[b"password", password.as_bytes()])
    }

    /// Whether the password is the right one. `owner` is the step's, `max_cost` the cost of its
    /// costliest hash. Hashes only what was not right a moment ago. Beyond the limit, nothing is
    /// looked up or hashed but what the same address has used before, so the refusal is the same
    /// for right and wrong.
    pub(super) async fn verify(
        &self,
        owner: Owner,
        stored: &StoredPassword,
        max_cost: Option<u32>,
        presented: UserPass,
        limit: FailureLimit,
    ) -> Result<bool, Refusal> {
        let inner = &*self.0;
        let UserPass { user, password } = presented;
        let credential = inner.sign(&[
            b"user",
            user.as_bytes(),
            stored.bytes(),
            password.as_bytes(),
        ]);
        let address_key = limit.client().map(|client| (client, credential));
        let exempt = match &address_key {
            _ if limit.is_none() => true,
            Some(address_key) => inner.used.contains_key(address_key),
            // Nobody knows whether it is the same client again.
            None => false,
        };
        if exempt && inner.verified.contains_key(&credential) {
            return Ok(true);
        }
        let check = Check {
            stored: stored.clone(),
            digest: self.digest(&password),
            password,
            max_cost,
        };
        let key = (limit.clone(), credential);
        let hashing = async move {
            let attempt = match exempt {
                true => Attempt::uncounted(),
                false => inner.failures.attempt(&limit).await?,
            };
            if !inner.verified.contains_key(&credential) {
                if !inner.compare(check, owner).await? {
                    attempt.failed();
                    return Err(Failure::Wrong);
                }
                inner.verified.insert(credential, ());
            }
            if let Some(address_key) = address_key.filter(|_| !limit.is_none()) {
                inner.used.insert(address_key, ());
            }
            Ok(())
        };
        let verdict = inner.in_progress.try_get_with(key, hashing);
        match tokio::time::timeout(PATIENCE, verdict).await {
            Ok(Ok(())) => Ok(true),
            Ok(Err(failure)) => match *failure {
                Failure::Wrong => Ok(false),
                Failure::Refused(refusal) => Err(refusal),
            },
            Err(_) => Err(Refusal::HASH_TIMED_OUT),
        }
    }
}

impl Inner {
    fn pool(&self, owner: Owner) -> &Pool {
        match owner {
            Owner::Local => &self.local,
            Owner::Cloud => &self.cloud,
        }
    }

    /// Without a bcrypt hash in the step, the comparison is cheap and runs on the worker.
    async fn compare(&self, check: Check, owner: Owner) -> Result<bool, Refusal> {
        match check.max_cost {
            Some(_) => self.pool(owner).run(check).await,
            None => Ok(check.run()),
        }
    }

    /// HMAC over length-prefixed parts, so that no two lists of parts give the same message.
    fn sign(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut message = Zeroizing::new(Vec::with_capacity(
            parts.iter().map(|part| part.len() + 8).sum(),
        ));
        for part in parts {
            message.extend_from_slice(&part.len().to_le_bytes());
            message.extend_from_slice(part);
        }
        let mut signature = [0; 32];
        signature.copy_from_slice(hmac::sign(&self.key, &message).as_ref());
        signature
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").finish_non_exhaustive()
    }
}
