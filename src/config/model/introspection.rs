//! Asking an issuer about a token (RFC 7662).

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use super::{ClaimRules, CredentialLocation, Discovery, Dpop, Reach, Secret};

/// Settings of `introspection`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introspection {
    /// `issuer`: accepted values of `iss` in the answer. Empty: not checked. With a discovered
    /// endpoint, those that its document names count.
    pub issuers: Vec<String>,
    /// What the answer has to say.
    pub rules: ClaimRules,
    /// `token_header`, `token_cookie` or `token_query`: the one location where the token is looked
    /// for. Default [`CredentialLocation::Authorization`].
    pub location: CredentialLocation,
    /// `dpop`. `None`: no proof is looked at, and no token passes that is bound to a key.
    pub dpop: Option<Dpop>,
    /// Who is asked, and how.
    pub client: IntrospectionClient,
}

/// Who is asked about tokens, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntrospectionClient {
    /// Where.
    pub endpoint: IntrospectionEndpoint,
    /// `client_id`: who asks.
    pub client_id: String,
    /// `client_secret`. `None`: whoever knows the id may ask (a warning was noted).
    pub client_secret: Option<Secret>,
    /// `client_auth`: how the secret is sent. Default `basic`.
    pub client_auth: ClientAuth,
    /// `cache_secs`, 1 to 3600: for how long an answer counts. Default 60 s.
    pub cache: Duration,
    /// `max_in_flight`, 1 to 1024: questions at one time; a quarter of them for one client address.
    /// Default 64.
    pub max_in_flight: usize,
}

/// What is not the secret tells one from another well enough.
impl Hash for IntrospectionClient {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.endpoint.hash(state);
        self.client_id.hash(state);
    }
}

/// Where an issuer is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum IntrospectionEndpoint {
    /// `introspection_url`.
    Url {
        /// https, or http to a loopback address.
        url: String,
        /// What may be connected to, for a URL from the cloud. `None`: anything.
        reach: Option<Arc<Reach>>,
    },
    /// The `introspection_endpoint` of the issuer's document.
    Discovery(Discovery),
}

/// How a client authenticates (RFC 6749 section 2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientAuth {
    /// In `Authorization`.
    Basic,
    /// In the body.
    Post,
}
