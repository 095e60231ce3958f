//! Settings of `jwt-auth`: whose tokens are taken, their keys, and what their claims have to be.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::{CredentialLocation, Dpop, IntrospectionClient, JwtAlgorithm, Reach, Secret};

/// Settings of `jwt-auth`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwt {
    /// `algorithm`: the one algorithm that is accepted. Default RS256.
    pub algorithm: JwtAlgorithm,
    /// Who is trusted, each with keys of its own: one entry in the plain form, 1 to 64 under
    /// `issuers`.
    pub issuers: Vec<JwtIssuer>,
    /// What the claims have to be.
    pub rules: ClaimRules,
    /// `introspect = true`: the issuer is asked about each token besides.
    pub introspection: Option<IntrospectionClient>,
    /// `typ`: accepted values of the header's `typ`, in lower case. Default `jwt` and `at+jwt`; an
    /// absent `typ` always passes. With `access_token_profile`: `at+jwt` alone.
    pub accepted_types: Vec<String>,
    /// `profile = "at+jwt"`: tokens have to be access tokens as RFC 9068 has them. Default false.
    pub access_token_profile: bool,
    /// `dpop`. `None`: no proof is looked at, and no token passes that is bound to a key.
    pub dpop: Option<Dpop>,
    /// `token_header`, `token_cookie` or `token_query`: the one location where the token is looked
    /// for. Default [`CredentialLocation::Authorization`].
    pub location: CredentialLocation,
}

/// What a token's claims have to be, wherever they come from, and what the upstream learns of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClaimRules {
    /// `audience`: accepted values of `aud`. Empty: not checked (a warning was noted).
    pub audiences: Vec<String>,
    /// `leeway_secs`, 0 to 300. Default 60 s.
    pub leeway: Duration,
    /// `required_claims`.
    pub required_claims: Vec<RequiredClaim>,
    /// `required_scopes`: all of them, in `scope` or `scp`.
    pub required_scopes: Vec<String>,
    /// `claims_to_headers`: claim name and the header that carries it to the upstream.
    pub claims_to_headers: Vec<(String, HeaderName)>,
    /// Whether a rule or a limit reads claims, so that they are kept with the identity.
    pub keeps_claims: bool,
}

/// Whose tokens a `jwt-auth` step takes, and the keys that they are signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtIssuer {
    /// `issuer`: accepted values of `iss`; no two entries share one. Empty, in the plain form only:
    /// not checked (a warning was noted). With [`KeySource::Discovery`]: the one issuer, whose
    /// document may name others for its tokens.
    pub names: Vec<String>,
    /// Where the keys come from. Never a secret in one of several entries.
    pub keys: KeySource,
}

/// Where a `jwt-auth` step's keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// `jwks_url`.
    JwksUrl(JwksUrl),
    /// `jwks_path`: a file that exists and holds a JSON object.
    JwksPath(PathBuf),
    /// `public_key_path`: a PEM file that exists.
    PublicKey(PathBuf),
    /// `secret`: at least [`JwtAlgorithm::secret_bytes`] long.
    Secret(Secret),
    /// `issuer` alone.
    Discovery(Discovery),
}

/// An issuer that publishes where its keys and its endpoints are (OpenID Connect Discovery 1.0, RFC
/// 8414).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Discovery {
    /// `issuer`: https, or http to a loopback address; without query.
    pub issuer: String,
    /// `tenants`: what `{tenantid}` in the document's `issuer` may stand for.
    pub tenants: Vec<String>,
    /// `jwks_cache_secs`, for the document too.
    pub fresh: Duration,
    /// `jwks_max_stale_secs`, for the document too.
    pub max_stale: Duration,
    /// `jwks_cooldown_secs`.
    pub cooldown: Duration,
    /// What may be connected to, for an issuer from the cloud. `None`: anything.
    pub reach: Option<Arc<Reach>>,
}

/// A key set that is fetched.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JwksUrl {
    /// https; or http to a loopback address or with `jwks_allow_http = true`.
    pub url: String,
    /// `jwks_cache_secs`: how long a set is fresh; at least 60 s. Default
    /// `proxy.jwks_cache_duration_hours`, else 1 h.
    pub fresh: Duration,
    /// `jwks_max_stale_secs`: how long the last good set serves when fetches fail. Default 24 h.
    pub max_stale: Duration,
    /// `jwks_cooldown_secs`: at most one fetch for unknown key ids in this time. Default 30 s.
    pub cooldown: Duration,
    /// What may be connected to, for a URL from the cloud. `None`: anything.
    pub reach: Option<Arc<Reach>>,
}

/// One entry of `required_claims`.
#[derive(Debug, Clone, PartialEq, Hash)]
pub struct RequiredClaim {
    /// The claim's name.
    pub name: String,
    /// Accepted values; the claim (or one element, if it is an array) equals one of them. Empty: it
    /// only has to be there.
    pub values: Vec<serde_json::Value>,
}

impl Eq for RequiredClaim {}
