//! API keys: the presented one is hashed and looked up. The keys themselves are known nowhere here.
//!
//! A key is long and random, or it should be: one round of SHA-256 is enough to store it, unlike a
//! password.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::HeaderValue;
use ring::{digest, hmac};

use super::clock::UnixTime;
use super::error::BuildCause;
use super::identity::{AuthMethod, Identity};
use super::outcome::{Outcome, Reason};
use super::place::{self, Found};
use super::presented::Presented;
use crate::config::{ApiKey, CredentialPlace, KeyDigest};

/// An `api-key` step, ready to look keys up.
#[derive(Debug)]
pub(crate) struct Verifier {
    settings: Arc<ApiKey>,
    keys: HashMap<KeyDigest, Key>,
    /// Whether any digest is of this kind, so that nothing is hashed in vain.
    plain: bool,
    pepper: Option<hmac::Key>,
}

#[derive(Debug)]
struct Key {
    digest: KeyDigest,
    identity: Identity,
    expires_at: Option<UnixTime>,
    has_scopes: bool,
}

impl Verifier {
    /// Makes the table of digests.
    pub(crate) fn build(settings: &Arc<ApiKey>) -> Result<Self, BuildCause> {
        let mut keys = HashMap::new();
        for entry in &settings.keys {
            let subject = HeaderValue::from_str(&entry.id).map_err(|_| BuildCause::UnfitSubject)?;
            #[allow(clippy::cast_precision_loss, reason = "exact for 285 million years")]
            let expires_at = entry.expires_at.map(|seconds| seconds as UnixTime);
            let key = Key {
                digest: entry.digest.clone(),
                identity: Identity::new(AuthMethod::ApiKey, Some(subject), Vec::new(), expires_at),
                expires_at,
                has_scopes: settings
                    .required_scopes
                    .iter()
                    .all(|scope| entry.scopes.contains(scope)),
            };
            keys.insert(entry.digest.clone(), key);
        }
        let is_plain = |digest: &KeyDigest| matches!(digest, KeyDigest::Sha256(_));
        let pepper = settings
            .pepper
            .as_ref()
            .map(|pepper| hmac::Key::new(hmac::HMAC_SHA256, pepper.expose().as_bytes()));
        if pepper.is_none() && !keys.keys().all(is_plain) {
            return Err(BuildCause::NoPepper);
        }
        Ok(Self {
            settings: settings.clone(),
            plain: keys.keys().any(is_plain),
            keys,
            pepper,
        })
    }

    /// Where the key is looked for.
    pub(crate) fn place(&self) -> &CredentialPlace {
        &self.settings.place
    }

    /// Examines the request's key.
    pub(crate) fn authenticate(&self, request: &Presented<'_>, now: UnixTime) -> Outcome {
        let presented = match place::find(&self.settings.place, request) {
            Found::Nothing => return Outcome::NotPresented,
            Found::Repeated => return Outcome::Rejected(Reason::Repeated.into()),
            Found::One(presented) => presented,
        };
        let verdict = match self.look_up(&presented) {
            _ if presented.is_empty() => Err(Reason::Malformed),
            None => Err(Reason::UnknownKey),
            Some(key) if key.expires_at.is_some_and(|end| now >= end) => Err(Reason::Expired),
            Some(key) if !key.has_scopes => Err(Reason::ScopeMissing),
            Some(key) => Ok(key.identity.clone()),
        };
        match verdict {
            Ok(identity) => Outcome::Authenticated(identity),
            Err(reason) => Outcome::Rejected(reason.into()),
        }
    }

    /// A client cannot steer the digest of what it guesses, so the table gives nothing away; the
    /// comparison that counts takes constant time all the same.
    fn look_up(&self, presented: &[u8]) -> Option<&Key> {
        let plain = self
            .plain
            .then(|| array(digest::digest(&digest::SHA256, presented).as_ref()))
            .flatten()
            .map(KeyDigest::Sha256);
        let peppered = self
            .pepper
            .as_ref()
            .and_then(|pepper| array(hmac::sign(pepper, presented).as_ref()))
            .map(KeyDigest::HmacSha256);
        [plain, peppered].into_iter().flatten().find_map(|digest| {
            let key = self.keys.get(&digest)?;
            verify_slices_are_equal(key.digest.bytes(), digest.bytes()).ok()?;
            Some(key)
        })
    }
}

fn array(bytes: &[u8]) -> Option<[u8; 32]> {
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests;
