//! One key set: where its keys are found, and which of them is the one for a token.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::timeout;

use super::KeySetStatus;
use super::discovery::Document;
use super::fetcher::{self, FetchError, Fetcher};
use super::issuer::IssuerDocument;
use super::parse;
use super::remote::{self, FetchReason, Fetched, Remote, Resource};
use crate::{AddressFilter, Algorithm, KeyRing, ParsedKeySet, PublicKey, TokenError};

/// How long a fetch waits for the issuer's document, before the one at hand has to do.
const DOCUMENT_WAIT: Duration = Duration::from_secs(4);

/// A key set that is fetched.
pub(super) type KeySet = Remote<KeySetResource>;

/// Where a key set is.
pub(super) enum KeySetResource {
    Url {
        url: Arc<str>,
        shown: String,
        addresses: Option<AddressFilter>,
    },
    /// Where the issuer's discovery document says.
    Issuer {
        document: Arc<IssuerDocument>,
        shown: String,
        /// The generation of the document that the last fetch went by.
        followed: AtomicU64,
    },
}

impl KeySetResource {
    pub(super) fn of_url(url: &str, addresses: Option<AddressFilter>) -> Self {
        Self::Url {
            url: url.into(),
            shown: fetcher::shown(url),
            addresses,
        }
    }

    pub(super) fn of_issuer(document: Arc<IssuerDocument>) -> Self {
        Self::Issuer {
            shown: format!("of {}", document.resource.issuer()),
            document,
            followed: AtomicU64::new(0),
        }
    }

    /// Whether the issuer has a new document since the last fetch.
    pub(super) fn is_outdated(&self) -> bool {
        match self {
            Self::Url { .. } => false,
            Self::Issuer {
                document, followed, ..
            } => document
                .generation(Duration::MAX)
                .is_some_and(|generation| generation != followed.load(Ordering::Relaxed)),
        }
    }

    /// Where the keys are now: for an issuer, once its document was fetched anew.
    async fn locate(&self) -> Result<(Arc<str>, Option<&AddressFilter>), FetchError> {
        let (document, followed) = match self {
            Self::Url { url, addresses, .. } => return Ok((url.clone(), addresses.as_ref())),
            Self::Issuer {
                document, followed, ..
            } => (document, followed),
        };
        if let Some(fetch) = document.start_fetch(FetchReason::Scheduled) {
            let _ = timeout(DOCUMENT_WAIT, remote::completed(fetch)).await;
        }
        let max_stale = document.max_stale();
        let generation = document.generation(max_stale).unwrap_or(0);
        followed.store(generation, Ordering::Relaxed);
        let found = document.with(max_stale, |document| document.jwks_uri.clone());
        let found = found.ok_or_else(|| FetchError::NoDocument(document.cause()))?;
        let url = found.ok_or(FetchError::NoJwksUri)?;
        Ok((url, document.resource.addresses()))
    }
}

impl Resource for KeySetResource {
    type Content = KeyRing;

    const KIND: &'static str = "key set";
    const WHILE_OLD: &'static str = "the last good keys go on serving";
    const WHILE_NONE: &'static str = "there are no keys, and tokens are answered 503";

    fn shown(&self) -> &str {
        match self {
            Self::Url { shown, .. } | Self::Issuer { shown, .. } => shown,
        }
    }

    fn stored_as(&self) -> String {
        match self {
            Self::Url { url, .. } => url.to_string(),
            Self::Issuer { document, .. } => format!("keys by {}", document.resource.stored_as()),
        }
    }

    fn restore(&self, stored: &[u8]) -> Option<KeyRing> {
        Some(ParsedKeySet::parse(stored).ok()?.ring)
    }

    fn to_stored(content: &KeyRing) -> Map<String, Value> {
        Map::from_iter([("keys".to_owned(), content.to_json())])
    }

    async fn fetch(
        &self,
        fetcher: &Fetcher,
        serving: Option<&KeyRing>,
    ) -> Result<Fetched<KeyRing>, FetchError> {
        let (url, addresses) = self.locate().await?;
        let accept = "application/jwk-set+json, application/json";
        let body = fetcher.get(&url, accept, addresses).await?;
        let set = parse::parse_after(&body.bytes, serving)?;
        let shown = fetcher::shown(&url);
        let refused = set.refused.iter();
        Ok(Fetched {
            refused: refused
                .map(|(key, refusal)| format!("key {key} of {shown} is not used: {refusal}"))
                .collect(),
            content: set.ring,
            max_age: body.max_age,
        })
    }

    fn change(before: Option<&KeyRing>, after: &KeyRing) -> String {
        let before = before.map(KeyRing::kids).unwrap_or_default();
        format!("keys {:?}, before {before:?}", after.kids())
    }
}

impl KeySet {
    /// Finds a key, without waiting and without a lock. `NoKeys`: no set at hand, or one older than
    /// `max_stale`.
    pub(super) fn find(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
        max_stale: Duration,
    ) -> Result<Arc<PublicKey>, TokenError> {
        self.with(max_stale, |ring| ring.select(kid, algorithm).cloned())
            .unwrap_or(Err(TokenError::NoKeys))
    }

    /// Where the keys are, as far as it is known; without user name, password and query.
    pub(super) fn url(&self) -> String {
        let KeySetResource::Issuer { document, .. } = &self.resource else {
            return self.resource.shown().to_owned();
        };
        let of_document =
            |document: &Arc<Document>| document.jwks_uri.as_deref().map(fetcher::shown);
        let found = document.with(Duration::MAX, of_document).flatten();
        found.unwrap_or_else(|| document.resource.shown().to_owned())
    }

    /// How the set stands.
    pub(super) fn key_set_status(&self) -> KeySetStatus {
        let (status, ring) = self.status();
        KeySetStatus {
            url: self.url(),
            issuer: match &self.resource {
                KeySetResource::Url { .. } => None,
                KeySetResource::Issuer { document, .. } => {
                    Some(document.resource.issuer().to_owned())
                }
            },
            age: status.age,
            keys: ring.map_or(0, |ring| ring.len()),
            last_error: status.last_error,
            generation: status.generation,
            fetches: status.fetches,
        }
    }
}
