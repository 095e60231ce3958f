//! Users' tokens: who signed them, and whom they name.
//!
//! Not here: the cryptography ([`jose`]).

mod claims;
mod options;

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use jose::{
    Algorithm as JwtAlgorithm, CompactJws, Header, HmacKey, KeySetUrl, KeySets, Keys, TokenError,
    clock,
};
use serde::{Deserialize, Serialize};

use super::error::{JwtError, RunbeamError};
use super::origin::{Origin, printable};
use super::responses::UserInfo;
use super::{USER_AGENT, tls};

pub use claims::{JwtClaims, TeamInfo};
pub use options::JwtValidationOptions;

/// Where an issuer has its key set.
const JWKS_PATH: &str = "/api/.well-known/jwks.json";
/// A key set is not fetched again sooner, however short it is to be kept.
const LEAST_FRESH: Duration = Duration::from_secs(60);
/// How long fetched keys serve when fetches fail.
const MAX_STALE: Duration = Duration::from_secs(86_400);
/// At most one fetch for unknown key ids in this time.
const COOLDOWN: Duration = Duration::from_secs(30);
/// Accepted values of `typ`.
const TYPES: [&str; 2] = ["jwt", "at+jwt"];

/// Verifies a user's JWT.
///
/// `options` are [`JwtValidationOptions`], or a number of hours: then they are
/// [`JwtValidationOptions::from_env`], with a key set that serves for so long (at least a minute)
/// before it is fetched again. Key sets are kept for the life of the process, whatever the options
/// of the next call are.
///
/// # Errors
///
/// [`RunbeamError::JwtValidation`] if the token does not pass, [`RunbeamError::KeySet`] if nothing
/// can be known about it, [`RunbeamError::Address`] if an option names an address that cannot be
/// used.
pub async fn validate_jwt_token(
    token: impl AsRef<str>,
    options: impl Into<JwtValidationOptions>,
) -> Result<JwtClaims, RunbeamError> {
    static KEY_SETS: OnceLock<KeySets> = OnceLock::new();
    let key_sets = match KEY_SETS.get() {
        Some(key_sets) => key_sets,
        None => {
            let made = key_sets()?;
            KEY_SETS.get_or_init(|| made)
        }
    };
    UserTokens::over(key_sets.clone(), options.into())?
        .validate(token)
        .await
}

/// The token of an `Authorization` header: `Bearer` in any case, and one token (RFC 6750 section
/// 2.1).
///
/// # Errors
///
/// [`JwtError::NotBearer`] for anything else.
pub fn extract_bearer_token(authorization: &str) -> Result<&str, RunbeamError> {
    authorization
        .split_once(' ')
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim_matches(' '))
        .filter(|token| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()))
        .ok_or_else(|| JwtError::NotBearer.into())
}

/// A user's token as a program keeps it between two runs, with
/// [`save_token_as`](super::save_token_as). `Debug` does not show the token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserToken {
    /// The token itself: a secret.
    pub token: String,
    /// When it expires, in seconds since 1970, if that is known.
    #[serde(default)]
    pub expires_at: Option<i64>,
    /// Whose it is, if that is known.
    #[serde(default)]
    pub user: Option<UserInfo>,
}

impl UserToken {
    /// A token with what is known about it.
    pub fn new(token: impl Into<String>, expires_at: Option<i64>, user: Option<UserInfo>) -> Self {
        Self {
            token: token.into(),
            expires_at,
            user,
        }
    }
}

impl fmt::Debug for UserToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserToken")
            .field("token", &"[redacted]")
            .field("expires_at", &self.expires_at)
            .field("user", &self.user)
            .finish()
    }
}

/// Whether a token has the form of a Sanctum token, `{id}|{text}`: only the cloud can say more
/// about it.
pub fn is_sanctum_token(token: &str) -> bool {
    token.split_once('|').is_some_and(|(id, text)| {
        !id.is_empty()
            && id.bytes().all(|byte| byte.is_ascii_digit())
            && !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_graphic())
    })
}

/// Verifies users' tokens under fixed options, with key sets of its own: for a program that lives
/// long.
///
/// Nothing is fetched before the first token that a trusted issuer seems to have signed.
pub struct UserTokens {
    options: JwtValidationOptions,
    trusted: Vec<(Origin, Keys)>,
    /// The keys for HS256, or how long the secret is that is too short.
    secret: Option<Result<Keys, usize>>,
    key_sets: KeySets,
}

impl UserTokens {
    /// Nothing is fetched yet.
    ///
    /// # Errors
    ///
    /// [`RunbeamError::Address`] if an option names an address that cannot be used,
    /// [`RunbeamError::Setup`] if there can be no HTTP client.
    pub fn new(options: JwtValidationOptions) -> Result<Self, RunbeamError> {
        Self::over(key_sets()?, options)
    }

    /// The same key sets under other options.
    ///
    /// # Errors
    ///
    /// Those of [`Self::new`].
    pub fn with_options(&self, options: JwtValidationOptions) -> Result<Self, RunbeamError> {
        Self::over(self.key_sets.clone(), options)
    }

    fn over(key_sets: KeySets, options: JwtValidationOptions) -> Result<Self, RunbeamError> {
        let fresh = Duration::from_secs(options.cache_hours.saturating_mul(3600)).max(LEAST_FRESH);
        if let Some(url) = &options.jwks_uri {
            Origin::named(url)?;
        }
        let mut trusted: Vec<(Origin, Keys)> = Vec::new();
        for issuer in &options.trusted_issuers {
            let origin = Origin::named(issuer)?;
            if trusted.iter().any(|(known, _)| *known == origin) {
                continue;
            }
            let own = || format!("{origin}{JWKS_PATH}");
            let url = options.jwks_uri.clone().unwrap_or_else(own);
            trusted.push((origin, fetched(url, fresh, &key_sets)));
        }
        let secret = options
            .jwt_secret
            .as_ref()
            .map(|secret| hs256(secret.as_bytes()).ok_or(secret.len()));
        Ok(Self {
            options,
            trusted,
            secret,
            key_sets,
        })
    }

    /// Verifies a token.
    ///
    /// # Errors
    ///
    /// [`RunbeamError::JwtValidation`] if it does not pass, [`RunbeamError::KeySet`] if nothing can
    /// be known about it.
    pub async fn validate(&self, token: impl AsRef<str>) -> Result<JwtClaims, RunbeamError> {
        let token = token.as_ref().trim().as_bytes();
        let jws = CompactJws::split(token).map_err(invalid)?;
        let header = Header::read(&jws, &self.algorithms(), &TYPES).map_err(invalid)?;
        let unverified = jws.unverified_claims().map_err(invalid)?;
        let issuer = unverified.get("iss").and_then(|issuer| issuer.as_str());
        let (origin, fetched) = self.trusted(issuer)?;
        let keys = match &self.secret {
            _ if header.algorithm != JwtAlgorithm::Hs256 => fetched,
            Some(Ok(secret)) => secret,
            Some(Err(length)) => {
                return Err(RunbeamError::ShortSecret {
                    length: *length,
                    minimum: JwtAlgorithm::Hs256.secret_bytes().unwrap_or_default(),
                });
            }
            None => return Err(JwtError::NoSecret.into()),
        };
        keys.refresh_if_due().await;
        let claims = keys.verify(&jws, &header).await;
        let claims = claims.map_err(|error| refused(keys, error))?;
        let options = &self.options;
        claims
            .validity(options.leeway)
            .and_then(|validity| validity.check(clock::now()))
            .and_then(|()| claims.check_audience(&options.audiences))
            .map_err(invalid)?;
        let mut required = options.required_claims.iter();
        if !required.all(|name| claims.has(name, &[])) {
            return Err(invalid(TokenError::ClaimMissing));
        }
        Ok(JwtClaims::new(claims.into_map(), origin.to_string()))
    }

    /// HS256 is always read, so that its refusal can say what to set.
    fn algorithms(&self) -> Vec<JwtAlgorithm> {
        let asymmetric = |algorithm: &JwtAlgorithm| !algorithm.is_hmac();
        let named = self.options.algorithms.iter().copied();
        named
            .filter(asymmetric)
            .chain([JwtAlgorithm::Hs256])
            .collect()
    }

    /// The trusted issuer of that name.
    fn trusted(&self, issuer: Option<&str>) -> Result<(&Origin, &Keys), JwtError> {
        let named = issuer.and_then(Origin::of_issuer);
        self.trusted
            .iter()
            .find(|(origin, _)| Some(origin) == named.as_ref())
            .map(|(origin, keys)| (origin, keys))
            .ok_or_else(|| JwtError::UntrustedIssuer {
                issuer: printable(issuer.unwrap_or_default(), 100),
                trusted: self
                    .trusted
                    .iter()
                    .map(|(origin, _)| origin.to_string())
                    .collect(),
            })
    }
}

/// Shows whom it trusts.
impl fmt::Debug for UserTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserTokens")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

fn key_sets() -> Result<KeySets, RunbeamError> {
    tls::install_provider();
    KeySets::new(USER_AGENT, None).map_err(|error| RunbeamError::Setup(error.to_string()))
}

/// A key set that is fetched when it is asked for, and again when it is older than `fresh`.
fn fetched(url: String, fresh: Duration, key_sets: &KeySets) -> Keys {
    Keys::Fetched(key_sets.register(&KeySetUrl {
        url,
        fresh,
        max_stale: MAX_STALE,
        cooldown: COOLDOWN,
        addresses: None,
    }))
}

/// A shared secret. `None`: it is too short.
fn hs256(secret: &[u8]) -> Option<Keys> {
    HmacKey::new(JwtAlgorithm::Hs256, secret).map(Keys::Secret)
}

fn invalid(error: TokenError) -> RunbeamError {
    JwtError::Invalid(error.as_str()).into()
}

fn refused(keys: &Keys, error: TokenError) -> RunbeamError {
    match keys {
        Keys::Fetched(keys) if error == TokenError::NoKeys => {
            let trouble = keys.trouble();
            RunbeamError::KeySet {
                url: trouble.url,
                cause: trouble.cause,
                timed_out: trouble.timed_out,
                retry_after: Some(Duration::from_secs(keys.retry_after().into())),
            }
        }
        _ => invalid(error),
    }
}

#[cfg(test)]
mod signatures;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer_tokens() {
        for good in ["Bearer 1|abc", "bearer  1|abc ", "BEARER 1|abc"] {
            assert_eq!(extract_bearer_token(good).unwrap(), "1|abc", "{good}");
        }
        for bad in [
            "",
            "Bearer",
            "Bearer ",
            "Basic abc",
            "Bearerabc",
            "Bearer a b",
            "abc",
        ] {
            assert!(extract_bearer_token(bad).is_err(), "{bad}");
        }
        let kept = UserToken::new("1|secret", Some(7), None);
        assert!(!format!("{kept:?}").contains("secret"));
        let json = serde_json::to_string(&kept).unwrap();
        assert_eq!(serde_json::from_str::<UserToken>(&json).unwrap(), kept);
    }

    #[test]
    fn sanctum_tokens() {
        for good in ["1|abc123def456", "17|a|b", "007|~"] {
            assert!(is_sanctum_token(good), "{good}");
        }
        for bad in [
            "",
            "|",
            "1|",
            "|abc",
            "a|b",
            "1.2|b",
            "1|a b",
            "1|a\n",
            "eyJ.eyJ.c",
            "mt_1",
        ] {
            assert!(!is_sanctum_token(bad), "{bad:?}");
        }
    }

    #[test]
    fn options_from_the_environment() {
        let options = |variables: &[(&str, &str)]| {
            JwtValidationOptions::from_variables(|name| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        let default = JwtValidationOptions::default();
        assert_eq!(options(&[]), default);
        assert_eq!(
            options(&[("RUNBEAM_API_URL", " "), ("RUNBEAM_JWT_SECRET", "")]),
            default
        );
        assert_eq!(default.trusted_issuers, ["https://api.runbeam.cloud"]);
        assert!(default.jwt_secret.is_none());
        let set = options(&[
            ("RUNBEAM_API_URL", "https://a.example"),
            ("RUNBEAM_JWT_SECRET", "well-kept"),
        ]);
        assert_eq!(
            (&*set.trusted_issuers, set.jwt_secret.as_deref()),
            (&["https://a.example".to_owned()][..], Some("well-kept"))
        );
        assert!(!format!("{set:?}").contains("well-kept"));
    }

    #[test]
    fn options_are_set_one_by_one() {
        let built = JwtValidationOptions::new()
            .with_trusted_issuers(vec!["https://a.example".to_owned()])
            .with_jwks_uri("https://a.example/keys")
            .with_algorithms(vec![JwtAlgorithm::Es256])
            .with_required_claims(vec!["tenant".to_owned()])
            .with_leeway_seconds(10)
            .with_jwks_cache_duration_hours(2);
        let expected = JwtValidationOptions {
            trusted_issuers: vec!["https://a.example".to_owned()],
            jwks_uri: Some("https://a.example/keys".to_owned()),
            algorithms: vec![JwtAlgorithm::Es256],
            required_claims: vec!["tenant".to_owned()],
            leeway: Duration::from_secs(10),
            cache_hours: 2,
            ..JwtValidationOptions::default()
        };
        assert_eq!(built, expected);
        let longest = built.with_leeway_seconds(3600).leeway;
        assert_eq!(longest, Duration::from_secs(300));
    }

    #[test]
    fn addresses_that_are_not_trusted_with_tokens() {
        let trusting = |issuer: &str| {
            let trusted_issuers = vec![issuer.to_owned()];
            UserTokens::new(JwtValidationOptions {
                trusted_issuers,
                ..JwtValidationOptions::default()
            })
        };
        assert!(
            trusting("https://API.example.com/api").is_ok()
                && trusting("http://[::1]:8000").is_ok()
        );
        for bad in [
            "http://api.example.com",
            "api.example.com",
            "",
            "https://u:p@api.example.com",
        ] {
            assert!(
                matches!(trusting(bad), Err(RunbeamError::Address { .. })),
                "{bad}"
            );
        }
        let jwks_uri = Some("http://api.example.com/keys".to_owned());
        assert!(
            UserTokens::new(JwtValidationOptions {
                jwks_uri,
                ..JwtValidationOptions::default()
            })
            .is_err()
        );
    }
}
