//! What is asked of a user's token.

use std::fmt;
use std::time::Duration;

use crate::{DEFAULT_BASE_URL, env};
use jose::Algorithm as JwtAlgorithm;

/// What is required of a user's token, and where the keys come from.
///
/// A number of hours is [`Self::from_env`] with that `cache_hours`:
/// `validate_jwt_token(token, 24)`. The expiry is always checked.
#[derive(Clone, PartialEq, Eq)]
pub struct JwtValidationOptions {
    /// Whose tokens are accepted: addresses of which the scheme, host and port count. https, or
    /// http on this machine. `iss` has to have exactly the same, though its path may be any.
    /// Default: [`DEFAULT_BASE_URL`]. None: no token passes.
    pub trusted_issuers: Vec<String>,
    /// Where the keys of all of them are, instead of `/api/.well-known/jwks.json` at each. https,
    /// or http on this machine.
    pub jwks_uri: Option<String>,
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

impl Default for JwtValidationOptions {
    fn default() -> Self {
        Self {
            trusted_issuers: vec![DEFAULT_BASE_URL.to_owned()],
            jwks_uri: None,
            algorithms: vec![JwtAlgorithm::Rs256],
            required_claims: Vec::new(),
            audiences: Vec::new(),
            leeway: Duration::from_secs(60),
            jwt_secret: None,
            cache_hours: 24,
        }
    }
}

/// The longest leeway that [`JwtValidationOptions::with_leeway_seconds`] sets.
const MAX_LEEWAY: u64 = 300;

impl JwtValidationOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `trusted_issuers`.
    #[must_use]
    pub fn with_trusted_issuers(self, trusted_issuers: Vec<String>) -> Self {
        Self {
            trusted_issuers,
            ..self
        }
    }

    /// Sets `jwks_uri`.
    #[must_use]
    pub fn with_jwks_uri(self, jwks_uri: impl Into<String>) -> Self {
        Self {
            jwks_uri: Some(jwks_uri.into()),
            ..self
        }
    }

    /// Sets `algorithms`.
    #[must_use]
    pub fn with_algorithms(self, algorithms: Vec<JwtAlgorithm>) -> Self {
        Self { algorithms, ..self }
    }

    /// Sets `required_claims`.
    #[must_use]
    pub fn with_required_claims(self, required_claims: Vec<String>) -> Self {
        Self {
            required_claims,
            ..self
        }
    }

    /// Sets `leeway`; more than 300 s counts as 300 s.
    #[must_use]
    pub fn with_leeway_seconds(self, seconds: u64) -> Self {
        Self {
            leeway: Duration::from_secs(seconds.min(MAX_LEEWAY)),
            ..self
        }
    }

    /// Sets `cache_hours`.
    #[must_use]
    pub fn with_jwks_cache_duration_hours(self, cache_hours: u64) -> Self {
        Self {
            cache_hours,
            ..self
        }
    }

    /// The defaults, but for `RUNBEAM_API_URL` (the one trusted issuer) and `RUNBEAM_JWT_SECRET`
    /// (the secret for HS256). Empty counts as unset.
    pub fn from_env() -> Self {
        Self::from_variables(env::variable)
    }

    pub(super) fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name| {
            variable(name)
                .map(|value| value.trim().to_owned())
                .filter(|value| !value.is_empty())
        };
        let mut options = Self {
            jwt_secret: set(env::JWT_SECRET),
            ..Self::default()
        };
        if let Some(issuer) = set(env::API_URL) {
            options.trusted_issuers = vec![issuer];
        }
        options
    }
}

/// Shows everything but the secret.
impl fmt::Debug for JwtValidationOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtValidationOptions")
            .field("trusted_issuers", &self.trusted_issuers)
            .field("jwks_uri", &self.jwks_uri)
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

/// The options of the environment, and for how many hours a key set serves.
impl From<u64> for JwtValidationOptions {
    fn from(cache_hours: u64) -> Self {
        Self {
            cache_hours,
            ..Self::from_env()
        }
    }
}

impl From<&Self> for JwtValidationOptions {
    fn from(options: &Self) -> Self {
        options.clone()
    }
}
