//! Where key sets and discovery documents are fetched from, and how long they serve.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A key set that is fetched.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeySetUrl {
    /// https or http.
    pub url: String,
    /// How long a set is fresh; a shorter `max-age` of the answer counts, down to 60 s.
    pub fresh: Duration,
    /// How long the last good set serves when fetches fail.
    pub max_stale: Duration,
    /// At most one fetch for unknown key ids in this time.
    pub cooldown: Duration,
    /// What may be connected to. `None`: anything.
    pub addresses: Option<AddressFilter>,
}

/// An issuer that publishes where its keys are (OpenID Connect Discovery 1.0, RFC 8414).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IssuerUrl {
    /// https, or http to a loopback address; without query and fragment. Its document has to name
    /// exactly this issuer.
    pub issuer: String,
    /// What `{tenantid}` in the document's `issuer` may stand for. Empty: it may not be there.
    pub tenants: Vec<String>,
    /// How long document and key set are fresh; a shorter `max-age` counts, down to 60 s.
    pub fresh: Duration,
    /// How long the last good ones serve when fetches fail.
    pub max_stale: Duration,
    /// At most one fetch for unknown key ids in this time.
    pub cooldown: Duration,
    /// What may be connected to, for the document and for the keys. `None`: anything.
    pub addresses: Option<AddressFilter>,
}

/// How long what was fetched serves one of its users.
#[derive(Debug)]
pub(super) struct Lifetime {
    pub(super) fresh: Duration,
    pub(super) max_stale: Duration,
    pub(super) cooldown: Duration,
}

impl KeySetUrl {
    pub(super) fn lifetime(&self) -> Arc<Lifetime> {
        Arc::new(Lifetime {
            fresh: self.fresh,
            max_stale: self.max_stale,
            cooldown: self.cooldown,
        })
    }
}

impl IssuerUrl {
    pub(super) fn lifetime(&self) -> Arc<Lifetime> {
        Arc::new(Lifetime {
            fresh: self.fresh,
            max_stale: self.max_stale,
            cooldown: self.cooldown,
        })
    }
}

type Check = dyn Fn(SocketAddr) -> Result<(), String> + Send + Sync;

/// Which addresses may be connected to. With one, names are resolved here and not by a proxy.
#[derive(Clone)]
pub struct AddressFilter {
    id: Arc<str>,
    check: Arc<Check>,
}

impl AddressFilter {
    /// `check` says why an address is not connected to. Two filters are equal if their `id` is: it
    /// has to hold everything that decides. Sets of one URL under different filters are kept apart.
    pub fn new(
        id: impl Into<Arc<str>>,
        check: impl Fn(SocketAddr) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            id: id.into(),
            check: Arc::new(check),
        }
    }

    pub(super) fn check(&self, address: SocketAddr) -> Result<(), String> {
        (self.check)(address)
    }
}

impl PartialEq for AddressFilter {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for AddressFilter {}

impl Hash for AddressFilter {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl fmt::Debug for AddressFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AddressFilter").field(&self.id).finish()
    }
}
