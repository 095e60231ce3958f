//! What is asked of a user's token.

use std::env;
use std::fmt;
use std::time::Duration;

use crate::auth::JwtAlgorithm;
use crate::runbeam::DEFAULT_BASE_URL;

/// What is asked of a user's token, and where the keys come from.
#[derive(Clone, PartialEq, Eq)]
pub struct ValidationOptions {
    /// Whose tokens are accepted: addresses of which the scheme, host and port count. https, or
    /// http on this machine. `iss` has to have exactly the same, though its path may be any.
    /// Default: [`DEFAULT_BASE_URL`]. None: no token passes.
    pub trusted_issuers: Vec<String>,
    /// Where the keys of all of them are, instead of `/api/.well-known/jwks.json` at each. https,
    /// or http on this machine.
    pub jwks_url: Option<String>,
    /// The accepted algorithms with public keys. Default: RS256. Those with a shared secret do not
    /// count here.
    pub algorithms: Vec<JwtAlgorithm>,
    /// Claims that have to be there, besides `exp` and `iss`. Default: none.
    pub required_claims: Vec<String>,
    /// Accepted values of `aud`, of which one has to be there. Default: none, and `aud` is not
    /// looked at: the cloud's tokens seldom have it.
    pub audiences: Vec<String>,
    /// How far the clocks may be apart. Default 60 s.
    pub leeway: Duration,
    /// The secret, of at least 32 bytes, that the cloud signs HS256 tokens with. Default: none, and
    /// HS256 is refused.
    pub jwt_secret: Option<String>,
    /// For how many hours a key set serves before it is fetched again; at least a minute. Default
    /// 24. When it cannot be fetched, the old one serves for a day.
    pub cache_hours: u64,
}

impl Default for ValidationOptions {
    fn default() -> Self {
        Self {
            trusted_issuers: vec![DEFAULT_BASE_URL.to_owned()],
            jwks_url: None,
            algorithms: vec![JwtAlgorithm::Rs256],
            required_claims: Vec::new(),
            audiences: Vec::new(),
            leeway: Duration::from_secs(60),
            jwt_secret: None,
            cache_hours: 24,
        }
    }
}

impl ValidationOptions {
    /// The defaults, but for `RUNBEAM_API_URL` (the one trusted issuer) and `RUNBEAM_JWT_SECRET`
    /// (the secret for HS256). Empty counts as unset.
    pub fn from_env() -> Self {
        Self::from_variables(|name| env::var(name).ok())
    }

    pub(super) fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name| {
            variable(name)
                .map(|value| value.trim().to_owned())
                .filter(|value| !value.is_empty())
        };
        let mut options = Self {
            jwt_secret: set("RUNBEAM_JWT_SECRET"),
            ..Self::default()
        };
        if let Some(issuer) = set("RUNBEAM_API_URL") {
            options.trusted_issuers = vec![issuer];
        }
        options
    }
}

/// Shows everything but the secret.
impl fmt::Debug for ValidationOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValidationOptions")
            .field("trusted_issuers", &self.trusted_issuers)
            .field("jwks_url", &self.jwks_url)
            .field("algorithms", &self.algorithms)
            .field("required_claims", &self.required_claims)
            .field("audiences", &self.audiences)
            .field("leeway", &self.leeway)
            .field(
                "jwt_secret",
                &self.jwt_secret.as_ref().map(|_| "[redacted]"),
            )
            .field("cache_hours", &self.cache_hours)
            .finish()
    }
}
