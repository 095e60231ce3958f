//! Verifying a JSON Web Token: RFC 7519, signed as RFC 7515 says, as strictly as RFC 8725 asks.
//!
//! In this order, and nothing later is looked at before what comes earlier has passed: the compact form, the header, the key, the signature, the claims. The token chooses
//! neither the algorithm nor where a key comes from. Whatever is wrong, the client gets one and the same answer.

mod carried;
mod claims;
mod compact;
mod header;
mod source;

use std::sync::Arc;

use http::HeaderMap;

use self::compact::Compact;
use self::header::Header;
use self::source::Source;
use super::bearer::{self, Presented};
use super::clock::UnixTime;
use super::error::BuildCause;
use super::identity::Identity;
use super::jwks::KeySets;
use super::outcome::{Outcome, Reason, Refusal};
use crate::config::Jwt;

/// A `jwt-auth` step, ready to verify.
#[derive(Debug)]
pub(crate) struct Verifier {
    settings: Arc<Jwt>,
    keys: Source,
}

impl Verifier {
    /// Reads key files and registers key sets.
    pub(crate) fn build(settings: &Arc<Jwt>, key_sets: &KeySets) -> Result<Self, BuildCause> {
        Ok(Self {
            settings: settings.clone(),
            keys: Source::build(settings.algorithm, &settings.keys, key_sets)?,
        })
    }

    /// Examines the request's bearer token.
    pub(crate) async fn authenticate(&self, headers: &HeaderMap, now: UnixTime) -> Outcome {
        let verdict = match bearer::find(headers) {
            Presented::Nothing => return Outcome::NotPresented,
            Presented::Malformed => Err(Reason::Malformed.into()),
            Presented::Token(token) => self.verify(token, now).await,
        };
        match verdict {
            Ok(identity) => Outcome::Authenticated(identity),
            Err(refusal) => Outcome::Rejected(refusal),
        }
    }

    async fn verify(&self, token: &[u8], now: UnixTime) -> Result<Identity, Refusal> {
        let compact = Compact::split(token)?;
        let header = Header::read(&compact.header, &self.settings)?;
        let signed = self
            .keys
            .verifies(
                header.kid.as_deref(),
                compact.signing_input,
                &compact.signature,
            )
            .await?;
        if !signed {
            return Err(Reason::BadSignature.into());
        }
        Ok(claims::examine(&compact.claims, &self.settings, now)?)
    }
}

#[cfg(test)]
mod tests;
