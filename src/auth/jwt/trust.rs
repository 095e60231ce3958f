//! Whom a step trusts: issuers, each bound to keys of its own.

use std::sync::Arc;

use jose::{Claims, DiscoveredIssuer, Document, KeySets, Keys, TokenError};

use super::source;
use crate::auth::error::BuildCause;
use crate::auth::outcome::Refusal;
use crate::config::Jwt;

/// One issuer, or several that sign with the same keys.
#[derive(Debug)]
pub(super) struct Trusted {
    /// `iss` of its tokens, unless its document says it.
    configured: Vec<String>,
    pub(super) keys: Keys,
}

/// Accepted values of `iss`. Empty: any, or none at all.
pub(super) enum Names<'a> {
    Configured(&'a [String]),
    Discovered(Arc<Document>),
}

impl std::ops::Deref for Names<'_> {
    type Target = [String];

    fn deref(&self) -> &[String] {
        match self {
            Self::Configured(names) => names,
            Self::Discovered(document) => &document.token_issuers,
        }
    }
}

impl Trusted {
    /// Accepted values of `iss` now. `None`: its document would say it, and is not at hand.
    pub(super) fn names(&self) -> Option<Names<'_>> {
        match self.discovered() {
            None => Some(Names::Configured(&self.configured)),
            Some(issuer) => issuer.document().map(Names::Discovered),
        }
    }

    /// The issuer, if its keys are found by its document.
    pub(super) fn discovered(&self) -> Option<&DiscoveredIssuer> {
        match &self.keys {
            Keys::Fetched(keys) => keys.issuer(),
            _ => None,
        }
    }
}

/// Builds the key source of every issuer of a step.
pub(super) fn build(settings: &Jwt, key_sets: &KeySets) -> Result<Vec<Trusted>, BuildCause> {
    settings
        .issuers
        .iter()
        .map(|issuer| {
            Ok(Trusted {
                configured: issuer.names.clone(),
                keys: source::build(settings.algorithm, &issuer.keys, key_sets)?,
            })
        })
        .collect()
}

/// The issuer, by index, whom claims that nobody has verified name. What they say counts only once
/// that issuer's keys have verified it. Waits for the first fetch of documents that may name it.
pub(super) async fn select(issuers: &[Trusted], claims: &Claims) -> Result<usize, Refusal> {
    let named = || {
        let names_it = |names: Names<'_>| claims.check_issuer(&names).is_ok();
        issuers
            .iter()
            .position(|issuer| issuer.names().is_some_and(names_it))
    };
    if let Some(index) = named() {
        return Ok(index);
    }
    let mut without_document = None;
    for issuer in issuers.iter().filter_map(Trusted::discovered) {
        if issuer.settled().await.is_none() {
            without_document = without_document.or(Some(issuer));
        }
    }
    match (named(), without_document) {
        (Some(index), _) => Ok(index),
        // It may be one of that issuer's tokens.
        (None, Some(issuer)) => Err(Refusal {
            reason: TokenError::NoKeys.into(),
            retry_after: Some(issuer.retry_after()),
        }),
        (None, None) => Err(TokenError::WrongIssuer.into()),
    }
}
