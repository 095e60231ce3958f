//! The settings of a `jwt-auth` step, and what makes them unsafe to start with.
//!
//! Not here: the issuers and their keys (`issuers`), the claims (`claims`), and where the token
//! stands (`token_location`).

use std::time::Duration;

use super::{claims, dpop, introspection, issuers, token_location};
use crate::config::model::{
    Discovery, IntrospectionClient, Jwt, JwtAlgorithm, JwtIssuer, KeySource,
};
use crate::config::reader::{Entry, Reader};

/// The value of `profile`, and the `typ` of its tokens (RFC 9068 section 2.1).
const ACCESS_TOKEN: &str = "at+jwt";

/// Reads the settings; `jwks_fresh` is the default of `jwks_cache_secs`.
pub(crate) fn read(reader: &Reader<'_>, jwks_fresh: Duration) -> Option<Jwt> {
    refuse_no_expiry(reader);
    let algorithm = algorithm(reader);
    let issuers = issuers::read(reader, algorithm, jwks_fresh);
    let rules = claims::rules(reader);
    let location = token_location::read(reader, &rules.claims_to_headers);
    let dpop = dpop::read(reader, &location);
    let access_token_profile = access_token_profile(reader);
    let introspection = match (reader.flag("introspect", false), &issuers) {
        (true, Some(issuers)) => Some(introspection(reader, issuers)?),
        (true, None) => None,
        (false, _) => {
            introspection::refuse_settings(reader);
            None
        }
    };
    let settings = Jwt {
        algorithm: algorithm.unwrap_or(JwtAlgorithm::Rs256),
        rules,
        introspection,
        location,
        accepted_types: accepted_types(reader, access_token_profile),
        access_token_profile,
        dpop,
        issuers: issuers?,
    };
    algorithm.map(|_| settings)
}

/// Who is asked about tokens that have verified: with one issuer that is discovered, it.
fn introspection(reader: &Reader<'_>, issuers: &[JwtIssuer]) -> Option<IntrospectionClient> {
    let discovered = |issuer: &JwtIssuer| match &issuer.keys {
        KeySource::Discovery(discovery) => Some(discovery.clone()),
        _ => None,
    };
    let discovered: Option<Vec<Discovery>> = issuers.iter().map(discovered).collect();
    introspection::client(reader, &discovered.unwrap_or_default())
}

fn refuse_no_expiry(reader: &Reader<'_>) {
    if let Some(entry) = reader.get("validate_expiry")
        && entry.boolean() == Some(false)
    {
        entry.error_help(
            "must not be switched off",
            "a token without end cannot be withdrawn; remove the key",
        );
    }
}

/// `algorithm`, or `use_hs256`; RS256 where nothing is stated.
pub(super) fn algorithm(reader: &Reader<'_>) -> Option<JwtAlgorithm> {
    let stated = reader.any(&["algorithm", "algorithms"]);
    let hs256 = reader
        .get("use_hs256")
        .map(|entry| (entry.boolean(), entry));
    let named = match &stated {
        Some(entry) => Some(one_algorithm(entry)?),
        None => None,
    };
    match (named, hs256) {
        (Some(named), Some((Some(hs256), entry))) if hs256 != (named == JwtAlgorithm::Hs256) => {
            entry.error_help("contradicts `algorithm`", "keep one of them");
            None
        }
        (None, Some((Some(true), _))) => Some(JwtAlgorithm::Hs256),
        (named, _) => Some(named.unwrap_or(JwtAlgorithm::Rs256)),
    }
}

/// Exactly one algorithm, as a string or an array of one.
fn one_algorithm(entry: &Entry<'_>) -> Option<JwtAlgorithm> {
    let names = entry.one_or_more();
    let hmac = names
        .iter()
        .filter(|(name, _)| name.starts_with("HS"))
        .count();
    if hmac > 0 && hmac < names.len() {
        entry.error_help(
            "mixes a shared secret with public keys",
            "name one algorithm: a token must never choose between them",
        );
        return None;
    }
    if names.len() > 1 {
        entry.error_help(
            "names more than one algorithm",
            "name the one that the issuer signs with",
        );
        return None;
    }
    let (name, item) = names.first()?;
    if let Some(algorithm) = JwtAlgorithm::named(name) {
        return Some(algorithm);
    }
    if name.eq_ignore_ascii_case("none") {
        item.error_help(
            "\"none\" is refused: anybody could make such a token",
            "use \"RS256\"",
        );
    } else if !name.is_empty() {
        item.unknown(
            "algorithm",
            name,
            &JwtAlgorithm::ALL.map(JwtAlgorithm::name),
        );
    }
    None
}

/// `profile`: whether tokens are held to RFC 9068.
fn access_token_profile(reader: &Reader<'_>) -> bool {
    let Some(entry) = reader.get("profile") else {
        return false;
    };
    let Some(text) = entry.text() else {
        return false;
    };
    let is_known = &*text == ACCESS_TOKEN;
    if !is_known {
        entry.unknown("profile", &text, &[ACCESS_TOKEN]);
    }
    is_known
}

fn accepted_types(reader: &Reader<'_>, access_token_profile: bool) -> Vec<String> {
    match reader.get("typ") {
        Some(entry) if access_token_profile => {
            entry.error_help(
                "stands beside `profile`, which says what `typ` a token has",
                "remove one of the two",
            );
            Vec::new()
        }
        None if access_token_profile => vec![ACCESS_TOKEN.to_owned()],
        Some(entry) => entry
            .strings()
            .into_iter()
            .map(|text| text.to_ascii_lowercase())
            .collect(),
        None => vec!["jwt".to_owned(), "at+jwt".to_owned()],
    }
}
