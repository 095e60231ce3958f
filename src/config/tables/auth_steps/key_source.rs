//! Where the keys of a `jwt-auth` step come from: a key set by URL or in a file, a public key, or a
//! secret.
//!
//! Not here: keys that are found by way of their issuer (`discovery`), and parsing key files or
//! fetching key sets (the auth room).

use std::time::Duration;

use crate::config::model::{JwksUrl, JwtAlgorithm, KeySource, Secret};
use crate::config::reader::{Entry, Reader};
use crate::config::tables::values::address::HttpUrl;

const ADD_SOURCE: &str = concat!(
    "add one of jwks_url, jwks_path, public_key_path; or write `issuer` as the URL under which ",
    "it publishes where its keys are"
);

/// How key sets are fetched; the same for every issuer of a step.
pub(crate) struct Fetching {
    pub(super) fresh: Duration,
    pub(super) max_stale: Duration,
    pub(super) cooldown: Duration,
    allow_http: bool,
}

impl Fetching {
    pub(crate) fn read(reader: &Reader<'_>, jwks_fresh: Duration) -> Self {
        let fresh = reader
            .get("jwks_cache_secs")
            .and_then(|entry| entry.integer(60..=604_800))
            .map_or(jwks_fresh, |seconds| {
                Duration::from_secs(seconds.unsigned_abs())
            });
        Self {
            fresh,
            max_stale: reader.seconds("jwks_max_stale_secs", 0..=2_592_000, 86_400),
            cooldown: reader.seconds("jwks_cooldown_secs", 1..=3600, 30),
            allow_http: reader.flag("jwks_allow_http", false),
        }
    }
}

/// Whether a source of keys is written, so that none has to be discovered.
pub(super) fn is_written(reader: &Reader<'_>) -> bool {
    let secret = reader.any(&["secret", "hs256_secret"]);
    secret.is_some() || !public_sources(reader).is_empty()
}

/// The one source of keys of the plain form.
pub(crate) fn plain(
    reader: &Reader<'_>,
    algorithm: Option<JwtAlgorithm>,
    fetching: &Fetching,
) -> Option<KeySource> {
    let mut sources = public_sources(reader);
    let secret = reader.any(&["secret", "hs256_secret"]);
    sources.extend(secret.map(|entry| ("secret", entry)));
    let Some((name, entry)) = one_source(sources).ok()? else {
        match algorithm {
            Some(algorithm) if algorithm.is_hmac() => reader.error(
                format!("{} has no secret", algorithm.name()),
                "add secret = \"${JWT_SECRET}\"",
            ),
            Some(algorithm) => reader.error(
                format!("{} has no key source", algorithm.name()),
                ADD_SOURCE,
            ),
            None => {}
        }
        return None;
    };
    match (name, algorithm) {
        ("secret", Some(algorithm)) if !algorithm.is_hmac() => {
            entry.error_help(
                "is a shared secret, and HS256 is not stated",
                "add algorithm = \"HS256\", or use jwks_url, jwks_path or public_key_path instead",
            );
            None
        }
        ("secret", algorithm) => {
            let least = algorithm.and_then(JwtAlgorithm::secret_bytes).unwrap_or(0);
            secret_value(&entry, least).map(KeySource::Secret)
        }
        (_, Some(algorithm)) if algorithm.is_hmac() => {
            entry.error_help(
                format!(
                    "is a source of public keys, and {} takes none",
                    algorithm.name()
                ),
                "give `secret`, or algorithm = \"RS256\"",
            );
            None
        }
        (name, _) => public_source(name, &entry, fetching),
    }
}

/// The one source of keys of an entry of `issuers`, which is no secret.
pub(crate) fn public(reader: &Reader<'_>, fetching: &Fetching) -> Option<KeySource> {
    let secret = reader.any(&["secret", "hs256_secret"]);
    if let Some(entry) = &secret {
        entry.error_help(
            "is a shared secret, and `issuers` have public keys only",
            ADD_SOURCE,
        );
    }
    match one_source(public_sources(reader)).ok()? {
        Some((name, entry)) => public_source(name, &entry, fetching),
        None => {
            if secret.is_none() {
                reader.error("has no key source", ADD_SOURCE);
            }
            None
        }
    }
}

fn public_sources<'a>(reader: &Reader<'a>) -> Vec<(&'static str, Entry<'a>)> {
    [
        ("jwks_url", reader.any(&["jwks_url", "jwks_uri"])),
        ("jwks_path", reader.get("jwks_path")),
        ("public_key_path", reader.get("public_key_path")),
    ]
    .into_iter()
    .filter_map(|(name, entry)| Some((name, entry?)))
    .collect()
}

/// The only one, if there is one; a second one is reported.
fn one_source<'a>(
    sources: Vec<(&'static str, Entry<'a>)>,
) -> Result<Option<(&'static str, Entry<'a>)>, ()> {
    let mut sources = sources.into_iter();
    let first = sources.next();
    if let (Some((first, _)), Some((second, entry))) = (&first, sources.next()) {
        entry.error_help(
            format!("is a second key source beside `{first}`"),
            format!("keep either `{first}` or `{second}`"),
        );
        return Err(());
    }
    Ok(first)
}

fn public_source(name: &str, entry: &Entry<'_>, fetching: &Fetching) -> Option<KeySource> {
    match name {
        "jwks_path" => entry.readable_file().map(KeySource::JwksPath),
        "public_key_path" => entry.readable_file().map(KeySource::PublicKey),
        _ => Some(KeySource::JwksUrl(JwksUrl {
            url: jwks_url(entry, fetching.allow_http)?,
            fresh: fetching.fresh,
            max_stale: fetching.max_stale,
            cooldown: fetching.cooldown,
            reach: entry.reach(),
        })),
    }
}

/// https, or http to this machine, or http that is allowed in so many words.
fn jwks_url(entry: &Entry<'_>, allow_http: bool) -> Option<String> {
    let text = entry.text()?;
    let url = match HttpUrl::parse(&text) {
        Ok(url) => url,
        Err(why) => {
            entry.error(why);
            return None;
        }
    };
    const DOCUMENTS: [&str; 2] = [
        "/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server",
    ];
    if DOCUMENTS.iter().any(|document| text.contains(document)) {
        entry.error_help(
            "is the URL of the issuer's document, not of its key set",
            "write the document's `jwks_uri`; or remove this, and write the issuer's URL as \
             `issuer`",
        );
        return None;
    }
    if !url.tls && !url.is_loopback() {
        if !allow_http {
            entry.error_help(
                "must be https",
                "whoever can change the key set on its way can make \
                 tokens; jwks_allow_http = true takes that risk",
            );
            return None;
        }
        entry.warning(
            "the key set comes over http: whoever can change it on its way can make tokens",
        );
    }
    Some(text.to_string())
}

fn secret_value(entry: &Entry<'_>, least: usize) -> Option<Secret> {
    let text = entry.text()?;
    match text.len() {
        0 => entry.error_help(
            "is empty after filling in",
            "set the variable that it refers to",
        ),
        length if length < least => entry.error_help(
            format!("must be at least {least} bytes"),
            "make one with `openssl rand -base64 64`",
        ),
        _ => return Some(Secret::new(text.to_string())),
    }
    None
}
