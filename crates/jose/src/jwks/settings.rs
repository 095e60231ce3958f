//! Where key sets and discovery documents are fetched from, and how long they serve.

use std::sync::Arc;
use std::time::Duration;

use crate::AddressFilter;

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
