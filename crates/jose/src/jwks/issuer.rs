//! One issuer by its discovery document: fetched ahead of need, as its keys are.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::discovery::{self, Document};
use super::fetcher::{self, FetchError, Fetcher};
use super::remote::{self, FetchReason, Fetched, Remote, Resource};
use super::settings::Lifetime;
use super::{IssuerStatus, IssuerUrl, MAX_WAIT};
use crate::AddressFilter;

/// An issuer's document that is fetched.
pub(super) type IssuerDocument = Remote<DocumentResource>;

/// Whose document it is, and where it is looked for.
pub(super) struct DocumentResource {
    settings: IssuerUrl,
    /// `None`: the issuer is no URL that has one.
    locations: Option<[String; 2]>,
}

impl DocumentResource {
    pub(super) fn new(settings: IssuerUrl) -> Self {
        Self {
            locations: discovery::locations(&settings.issuer),
            settings,
        }
    }

    pub(super) fn issuer(&self) -> &str {
        &self.settings.issuer
    }

    pub(super) fn addresses(&self) -> Option<&AddressFilter> {
        self.settings.addresses.as_ref()
    }

    async fn get(&self, fetcher: &Fetcher, url: &str) -> Result<Fetched<Document>, FetchError> {
        let accept = "application/json";
        let body = fetcher.get(url, accept, self.addresses()).await?;
        Ok(Fetched {
            content: Document::parse(&body.bytes, url, &self.settings)?,
            max_age: body.max_age,
            refused: Vec::new(),
        })
    }
}

impl Resource for DocumentResource {
    type Content = Document;

    const KIND: &'static str = "discovery document";
    const WHILE_OLD: &'static str = "the last good one goes on serving";
    const WHILE_NONE: &'static str = "its issuer's tokens are answered 503";

    fn shown(&self) -> &str {
        match &self.locations {
            Some([first, _]) => first,
            None => &self.settings.issuer,
        }
    }

    fn stored_as(&self) -> String {
        let tenants = self.settings.tenants.join(" ");
        format!("issuer {} {tenants}", self.settings.issuer)
    }

    fn restore(&self, stored: &[u8]) -> Option<Document> {
        Document::parse(stored, self.shown(), &self.settings).ok()
    }

    fn to_stored(content: &Document) -> Map<String, Value> {
        content.to_json()
    }

    async fn fetch(
        &self,
        fetcher: &Fetcher,
        _: Option<&Document>,
    ) -> Result<Fetched<Document>, FetchError> {
        let Some([first, second]) = &self.locations else {
            return Err(FetchError::Request("the issuer is not a URL".to_owned()));
        };
        match self.get(fetcher, first).await {
            Err(FetchError::Status(StatusCode::NOT_FOUND)) => self.get(fetcher, second).await,
            found => found,
        }
    }

    fn change(_: Option<&Document>, after: &Document) -> String {
        format!(
            "its keys are at {}",
            after.jwks_uri.as_deref().unwrap_or("no place")
        )
    }
}

impl IssuerDocument {
    /// Why there is no document.
    pub(super) fn cause(&self) -> String {
        let (status, _) = self.status();
        match status.last_error {
            Some(error) => error,
            None => "no answer yet".to_owned(),
        }
    }

    /// How the issuer stands.
    pub(super) fn issuer_status(&self) -> IssuerStatus {
        let (status, document) = self.status();
        let document = document.as_deref();
        let endpoint = |url: Option<&Arc<str>>| url.map(|url| fetcher::shown(url));
        IssuerStatus {
            issuer: self.resource.issuer().to_owned(),
            document: document
                .map_or(self.resource.shown(), |document| &document.url)
                .to_owned(),
            jwks_uri: endpoint(document.and_then(|document| document.jwks_uri.as_ref())),
            introspection_endpoint: endpoint(
                document.and_then(|document| document.introspection_endpoint.as_ref()),
            ),
            age: status.age,
            last_error: status.last_error,
            fetches: status.fetches,
        }
    }
}

/// An issuer under the settings of one step.
#[derive(Debug)]
pub struct DiscoveredIssuer {
    document: Arc<IssuerDocument>,
    lifetime: Arc<Lifetime>,
}

impl DiscoveredIssuer {
    pub(super) fn new(document: Arc<IssuerDocument>, lifetime: Arc<Lifetime>) -> Self {
        Self { document, lifetime }
    }

    /// As it is configured.
    pub fn name(&self) -> &str {
        self.document.resource.issuer()
    }

    /// The document that serves now. `None`: there is none, or a request has to wait for the first
    /// fetch ([`Self::settled`]).
    pub fn document(&self) -> Option<Arc<Document>> {
        self.document
            .is_settled()
            .then(|| self.document.with(self.lifetime.max_stale, Arc::clone))?
    }

    /// The same, after the first fetch, for which it waits at most 5 s.
    pub async fn settled(&self) -> Option<Arc<Document>> {
        if !self.document.is_tried()
            && let Some(fetch) = self.document.start_fetch(FetchReason::Scheduled)
        {
            let _ = timeout(MAX_WAIT, remote::completed(fetch)).await;
        }
        self.document.with(self.lifetime.max_stale, Arc::clone)
    }

    /// The generation of the document that serves: it grows whenever it changes.
    pub(super) fn generation(&self) -> Option<u64> {
        self.document.generation(self.lifetime.max_stale)
    }

    /// In how many seconds the next fetch is due, from 1 to 60.
    pub fn retry_after(&self) -> u32 {
        self.document.retry_after()
    }

    /// Why there is no document.
    pub fn cause(&self) -> String {
        self.document.cause()
    }
}
