//! Endpoints that are told of revocations.

use std::sync::Arc;

use super::Jwt;

/// `service = "backchannel-logout"` (OpenID Connect Back-Channel Logout 1.0).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackchannelLogout {
    /// How logout tokens are verified: issuers and keys are those of the `jwt-auth` step that
    /// `step` names, the audience is `client_id`.
    pub tokens: Arc<Jwt>,
    /// `fallback = "sub"`: a logout token with `sid` ends all of its subject's tokens too, since
    /// access tokens have no `sid`. Default false.
    pub also_subject: bool,
}

/// `service = "security-events"` (RFC 8935).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityEvents {
    /// How security event tokens are verified: `issuer`, its keys, `algorithm`, `audience`.
    pub tokens: Arc<Jwt>,
    /// `issuers`: whose tokens an event may revoke. Default: the transmitter's own.
    pub issuers: Vec<String>,
    /// `token_hash`: the SHA-256 of the bearer token that the transmitter sends.
    pub token_hash: Option<[u8; 32]>,
}
