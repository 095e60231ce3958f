//! Tokens that are bound to their sender (RFC 9449), and what a pipeline says of itself to clients
//! that look for one (RFC 9728).

use std::time::Duration;

use super::{JwtAlgorithm, Secret};

/// How a step takes tokens with a proof that their sender has the key that they are bound to (RFC
/// 9449).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dpop {
    /// `dpop = "require"`: no other token passes. Otherwise `"allow"`.
    pub required: bool,
    /// `dpop_algorithms`: at least one, each of public keys. Default ES256, EdDSA, RS256.
    pub algorithms: Vec<JwtAlgorithm>,
    /// `dpop_max_age_secs`, 1 to 600: how old a proof may be. Default 60 s.
    pub max_age: Duration,
    /// `dpop_nonce = true`: a proof has to hold a nonce of ours. Default: none is asked for.
    pub nonce: Option<DpopNonce>,
}

/// Where the nonces of a step come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DpopNonce {
    /// A key of this process.
    OfProcess,
    /// `dpop_nonce_secret`, at least 32 bytes: what one process of a fleet has given out counts at
    /// the others.
    OfFleet(Secret),
}

/// `[pipelines.NAME.resource]`: what the pipeline publishes of itself (RFC 9728).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// `identifier`: https, without query and fragment.
    pub identifier: String,
    /// Where its document is: the well-known path with that of the identifier behind it.
    pub document_path: String,
    /// `authorization_servers`: issuers at which a client gets its tokens.
    pub authorization_servers: Vec<String>,
    /// `scopes_supported`.
    pub scopes_supported: Vec<String>,
    /// `documentation`: a URL for developers.
    pub documentation: Option<String>,
}

impl Resource {
    /// The first part of every document's path (RFC 9728 section 3).
    pub const WELL_KNOWN: &'static str = "/.well-known/oauth-protected-resource";

    /// The URL of the document, made of the identifier alone.
    pub fn document_url(&self) -> String {
        let authority = self.identifier.strip_prefix("https://").unwrap_or_default();
        let authority = authority.split('/').next().unwrap_or_default();
        format!("https://{authority}{}", self.document_path)
    }
}
