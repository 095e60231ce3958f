//! Whom a `jwt-auth` step trusts: one issuer in the plain form, or several under `issuers`, each
//! bound to keys of its own.
//!
//! Not here: where keys may come from (`key_source`, `discovery`).

use std::time::Duration;

use super::discovery;
use super::key_source::{self, Fetching};
use crate::config::model::{Discovery, JwtAlgorithm, JwtIssuer, KeySource};
use crate::config::reader::{Entry, Reader, Text};

/// The most entries that `issuers` may have.
const MAX_ISSUERS: usize = 64;

/// Reads either form; `jwks_fresh` is the default of `jwks_cache_secs`.
pub(crate) fn read(
    reader: &Reader<'_>,
    algorithm: Option<JwtAlgorithm>,
    jwks_fresh: Duration,
) -> Option<Vec<JwtIssuer>> {
    let fetching = Fetching::read(reader, jwks_fresh);
    if let Some(list) = reader.get("issuers") {
        refuse_plain_form(reader);
        return several(&list, algorithm, &fetching);
    }
    let issuer = reader.any(&["issuer", "trusted_issuers"]);
    let names = issuer.as_ref().map(Entry::one_or_more);
    if let (Some(entry), Some(names)) = (&issuer, &names)
        && !algorithm.is_some_and(JwtAlgorithm::is_hmac)
        && !key_source::is_written(reader)
        && discovery::is_meant(names)
    {
        return bounded(entry, found(discovery::read(reader, names, &fetching)));
    }
    discovery::refuse_tenants(reader);
    let keys = key_source::plain(reader, algorithm, &fetching);
    let names = match names {
        Some(names) => names.iter().map(|(name, _)| name.to_string()).collect(),
        None => {
            reader.warning("no issuer: a token of any issuer is taken if its key fits");
            Vec::new()
        }
    };
    Some(vec![JwtIssuer { names, keys: keys? }])
}

/// The one issuer of security event tokens. There is no default: whoever it is can revoke.
pub(super) fn transmitter(
    reader: &Reader<'_>,
    algorithm: Option<JwtAlgorithm>,
    jwks_fresh: Duration,
) -> Option<JwtIssuer> {
    let fetching = Fetching::read(reader, jwks_fresh);
    let issuer = reader.get("issuer");
    let Some(entry) = issuer else {
        reader.missing("issuer", "name the `iss` of its tokens");
        return None;
    };
    let name = entry.text()?;
    if name.is_empty() {
        entry.error("must not be empty");
        return None;
    }
    let names = vec![(name, entry)];
    if !algorithm.is_some_and(JwtAlgorithm::is_hmac)
        && !key_source::is_written(reader)
        && discovery::is_meant(&names)
    {
        return found(discovery::read(reader, &names, &fetching)).pop();
    }
    let keys = key_source::plain(reader, algorithm, &fetching)?;
    let names = names.iter().map(|(name, _)| name.to_string()).collect();
    Some(JwtIssuer { names, keys })
}

fn refuse_plain_form(reader: &Reader<'_>) {
    for key in [
        "issuer",
        "trusted_issuers",
        "jwks_url",
        "jwks_uri",
        "jwks_path",
        "public_key_path",
        "secret",
        "hs256_secret",
        "tenants",
    ] {
        if let Some(entry) = reader.get(key) {
            entry.error_help(
                "stands beside `issuers`",
                "move it into an entry of `issuers`, or remove one of the two",
            );
        }
    }
}

/// The entries of `issuers`.
fn several(
    list: &Entry<'_>,
    algorithm: Option<JwtAlgorithm>,
    fetching: &Fetching,
) -> Option<Vec<JwtIssuer>> {
    if let Some(algorithm) = algorithm.filter(|algorithm| algorithm.is_hmac()) {
        list.error_help(
            format!(
                "{} takes a shared secret, and `issuers` have public keys only",
                algorithm.name()
            ),
            "name an algorithm of public keys, like \"RS256\"",
        );
        return None;
    }
    let items = list.is_not_empty().then(|| list.items())?;
    let mut issuers: Vec<JwtIssuer> = Vec::new();
    for item in items {
        for issuer in one_of_several(&item, fetching, &issuers).unwrap_or_default() {
            if issuers.iter().any(|other| other.keys == issuer.keys) {
                item.warning(
                    "has the keys of another issuer: each of the two can make the other's tokens",
                );
            }
            issuers.push(issuer);
        }
    }
    (!issuers.is_empty()).then(|| bounded(list, issuers))?
}

/// Issuers whose keys are found by their documents.
fn found(discovered: Vec<Discovery>) -> Vec<JwtIssuer> {
    let issuer = |discovery: Discovery| JwtIssuer {
        names: vec![discovery.issuer.clone()],
        keys: KeySource::Discovery(discovery),
    };
    discovered.into_iter().map(issuer).collect()
}

/// As many issuers as a step can tell apart.
fn bounded(entry: &Entry<'_>, issuers: Vec<JwtIssuer>) -> Option<Vec<JwtIssuer>> {
    if issuers.len() > MAX_ISSUERS {
        entry.error(format!("has more than {MAX_ISSUERS} entries"));
        return None;
    }
    (!issuers.is_empty()).then_some(issuers)
}

/// An entry: one issuer, or several that are discovered.
fn one_of_several(
    item: &Entry<'_>,
    fetching: &Fetching,
    before: &[JwtIssuer],
) -> Option<Vec<JwtIssuer>> {
    let reader = item.table()?;
    let issuer = reader.get("issuer");
    if issuer.is_none() {
        reader.missing("issuer", "name the `iss` of its tokens");
    }
    let written = issuer.as_ref().map(Entry::one_or_more).unwrap_or_default();
    let mut names: Vec<String> = Vec::new();
    for (name, entry) in &written {
        if is_taken(name, &names, before) {
            entry.error_help(
                format!("issuer {} is named twice", name.shown()),
                "an issuer has one source of keys: keep one of the two",
            );
        }
        names.push(name.to_string());
    }
    let issuers = if !key_source::is_written(&reader) && discovery::is_meant(&written) {
        Some(found(discovery::read(&reader, &written, fetching)))
    } else {
        discovery::refuse_tenants(&reader);
        let source = key_source::public(&reader, fetching);
        source.map(|keys| vec![JwtIssuer { names, keys }])
    };
    reader.finish();
    issuers
}

fn is_taken(name: &Text, names: &[String], before: &[JwtIssuer]) -> bool {
    let mut taken = before.iter().flat_map(|issuer| &issuer.names).chain(names);
    taken.any(|other| **other == **name)
}
