//! The keys of one issuer, wherever they come from.

use crate::{Claims, CompactJws, FetchedKeys, Header, HmacKey, KeyRing, PublicKey, TokenError};

/// The keys of one issuer.
///
/// A secret goes with HMAC alone, everything else with the other algorithms alone, so that no
/// public key is ever taken for a secret (RFC 8725 section 2.1).
#[derive(Debug)]
pub enum Keys {
    /// A shared secret; `kid` is not looked at.
    Secret(HmacKey),
    /// One public key; `kid` is not looked at.
    PublicKey(PublicKey),
    /// A key set that was read once.
    Set(KeyRing),
    /// A key set that is fetched.
    Fetched(FetchedKeys),
}

impl Keys {
    /// The claims of a token whose signature verifies under the key that its header names. Waits
    /// for that key only when it is not at hand.
    ///
    /// # Errors
    ///
    /// [`TokenError::BadSignature`]; that there is no such key ([`TokenError::NoKid`],
    /// [`TokenError::UnknownKid`], [`TokenError::KeyDoesNotFit`], [`TokenError::NoKeys`]);
    /// [`TokenError::Malformed`] for claims that are no JSON object.
    pub async fn verify(
        &self,
        jws: &CompactJws<'_>,
        header: &Header,
    ) -> Result<Claims, TokenError> {
        let (algorithm, kid) = (header.algorithm, header.kid.as_deref());
        let fetched;
        let key = match self {
            Self::Secret(key) => {
                return claims(jws, key.verifies(jws.signing_input, &jws.signature));
            }
            Self::PublicKey(key) => key,
            Self::Set(ring) => ring.select(kid, algorithm)?,
            Self::Fetched(keys) => {
                fetched = keys.key(kid, algorithm).await?;
                &fetched
            }
        };
        claims(
            jws,
            key.verifies(algorithm, jws.signing_input, &jws.signature),
        )
    }

    /// Fetches what is fetched if that is due: for those who do not run
    /// [`KeySets::run`](crate::KeySets::run). Waits only if there are no keys that may serve.
    pub async fn refresh_if_due(&self) {
        if let Self::Fetched(keys) = self {
            keys.refresh_if_due().await;
        }
    }

    /// In how many seconds the next fetch is due, after [`TokenError::NoKeys`].
    pub fn retry_after(&self) -> Option<u32> {
        match self {
            Self::Fetched(keys) => Some(keys.retry_after()),
            _ => None,
        }
    }
}

fn claims(jws: &CompactJws<'_>, verified: bool) -> Result<Claims, TokenError> {
    if verified {
        jws.unverified_claims()
    } else {
        Err(TokenError::BadSignature)
    }
}
