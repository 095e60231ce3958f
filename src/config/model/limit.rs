//! `rate_limit` and `concurrency_limit`: how often, and how many at once, for whom.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// One of `by`: what tells those apart that are counted apart. Who has no such identity counts by
/// address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CountBy {
    /// `client`: the client's address; of IPv6 its /64.
    Client,
    /// `subject`, with the way it authenticated and its issuer.
    Subject,
    /// `claim:NAME`, with the way it authenticated and its issuer. Names with dots between lead
    /// into objects.
    Claim(Arc<str>),
    /// `key`: the id of an API key.
    ApiKey,
    /// `client_id` of a token, else its `azp`, with its issuer.
    ClientId,
    /// `route`: pipeline and endpoint.
    Route,
}

/// As it is written.
impl fmt::Display for CountBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => f.write_str("client"),
            Self::Subject => f.write_str("subject"),
            Self::Claim(name) => write!(f, "claim:{name}"),
            Self::ApiKey => f.write_str("key"),
            Self::ClientId => f.write_str("client_id"),
            Self::Route => f.write_str("route"),
        }
    }
}

/// How many requests a limit has room for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// `max_requests` or `max_in_flight`: at least 1.
    pub most: u32,
    /// `limits`: what is looked at, and for each of its values another number.
    pub by: Option<(CountBy, BTreeMap<String, u32>)>,
}

/// `rate_limit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// `max_requests` and `limits`.
    pub quota: Quota,
    /// `window_seconds`: 1 s to 31 days, from the first request that is counted.
    pub window: Duration,
    /// `by`: at least one; together they make one key. Default: the client.
    pub by: Vec<CountBy>,
    /// `count = "attempts"`: every request that its step lets pass, whatever becomes of it later.
    /// Else a request is counted after everything else let it pass.
    pub attempts: bool,
    /// `scope = "shared"`: counted together with the other nodes of `[shared]`.
    pub shared: bool,
    /// `headers`: whether answers carry `RateLimit` and `RateLimit-Policy`. Default true.
    pub headers: bool,
}

/// `concurrency_limit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConcurrencyLimit {
    /// `max_in_flight` and `limits`.
    pub quota: Quota,
    /// `by`: at least one; together they make one key. Default: the client.
    pub by: Vec<CountBy>,
}

impl Quota {
    fn reads_claims(&self) -> bool {
        matches!(self.by, Some((CountBy::Claim(_), _)))
    }
}

impl RateLimit {
    /// Whether it looks at the claims of a token.
    pub fn reads_claims(&self) -> bool {
        self.quota.reads_claims() || any_claim(&self.by)
    }
}

impl ConcurrencyLimit {
    /// Whether it looks at the claims of a token.
    pub fn reads_claims(&self) -> bool {
        self.quota.reads_claims() || any_claim(&self.by)
    }
}

fn any_claim(by: &[CountBy]) -> bool {
    by.iter().any(|by| matches!(by, CountBy::Claim(_)))
}
