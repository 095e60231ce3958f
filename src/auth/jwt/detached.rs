//! A token outside any chain: for those who need its claims, and who choose the keys by what it
//! says of its issuer.
//!
//! As strict as a step, and made of the same parts; only the identity is left out.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};

use super::claims;
use super::compact::Compact;
use super::header::Header;
use super::source::Source;
use crate::auth::clock;
use crate::auth::jwks::{KeySets, KeyTrouble};
use crate::auth::key::HmacKey;
use crate::auth::outcome::{Reason, Refusal};
use crate::config::{JwksUrl, JwtAlgorithm};

/// How long fetched keys serve when fetches fail.
const MAX_STALE: Duration = Duration::from_secs(86_400);
/// At most one fetch for unknown key ids in this time.
const COOLDOWN: Duration = Duration::from_secs(30);

/// A token, taken apart but not yet believed.
pub(crate) struct Unverified<'a> {
    compact: Compact<'a>,
    header: Header,
    claims: claims::Claims,
}

impl<'a> Unverified<'a> {
    /// Reads a token that is signed under one of these algorithms, as it says.
    pub(crate) fn read(token: &'a [u8], algorithms: &[JwtAlgorithm]) -> Result<Self, Reason> {
        let compact = Compact::split(token)?;
        let types = ["jwt".to_owned(), "at+jwt".to_owned()];
        let header = Header::read(&compact.header, algorithms, &types)?;
        let claims = claims::parse(&compact.claims)?;
        Ok(Self {
            compact,
            header,
            claims,
        })
    }

    /// The algorithm that it is to be verified under.
    pub(crate) fn algorithm(&self) -> JwtAlgorithm {
        self.header.algorithm
    }

    /// What it says of its issuer. This counts only once that issuer's keys have verified it.
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.claims.get("iss")?.as_str()
    }

    /// The claims, once the keys have verified the token and it counts now. `audiences`: accepted
    /// values of `aud`; empty: not checked.
    pub(crate) async fn verify(
        self,
        keys: &DetachedKeys,
        leeway: Duration,
        audiences: &[String],
    ) -> Result<Map<String, Value>, Refusal> {
        if let Source::Fetched(keys) = &keys.0 {
            keys.refresh_if_due().await;
        }
        let signed = keys
            .0
            .verifies(
                self.header.algorithm,
                self.header.kid.as_deref(),
                self.compact.signing_input,
                &self.compact.signature,
            )
            .await?;
        if !signed {
            return Err(Reason::BadSignature.into());
        }
        claims::validity(&self.claims, leeway.as_secs_f64())?.check(clock::now())?;
        claims::check_audience(&self.claims, audiences)?;
        Ok(self.claims)
    }
}

/// The keys of one issuer.
#[derive(Debug)]
pub(crate) struct DetachedKeys(Source);

impl DetachedKeys {
    /// A key set that is fetched when it is asked for, and again when it is older than `fresh`.
    pub(crate) fn fetched(url: String, fresh: Duration, key_sets: &KeySets) -> Self {
        Self(Source::Fetched(key_sets.register(&JwksUrl {
            url,
            fresh,
            max_stale: MAX_STALE,
            cooldown: COOLDOWN,
            reach: None,
        })))
    }

    /// A shared secret for HS256. `None`: it is too short.
    pub(crate) fn hs256(secret: &[u8]) -> Option<Self> {
        HmacKey::new(JwtAlgorithm::Hs256, secret).map(|key| Self(Source::Secret(key)))
    }

    /// Why there are no keys, after a token met with [`Reason::NoKeys`].
    pub(crate) fn trouble(&self) -> Option<KeyTrouble> {
        match &self.0 {
            Source::Fetched(keys) => Some(keys.trouble()),
            _ => None,
        }
    }
}

/// Shows nothing of the token.
impl fmt::Debug for Unverified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unverified").finish_non_exhaustive()
    }
}
