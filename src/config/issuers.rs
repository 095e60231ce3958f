//! Whom a `jwt-auth` step trusts: one issuer in the plain form, or several under `issuers`, each bound to keys of its own.
//!
//! Not here: parsing key files or fetching key sets (the auth room).

use std::time::Duration;

use super::address::HttpUrl;
use super::entry::Entry;
use super::fill::Text;
use super::reader::Reader;
use super::{JwksUrl, JwtAlgorithm, JwtIssuer, KeySource, Secret};

/// The most entries that `issuers` may have.
const MAX_ISSUERS: usize = 64;

const ADD_SOURCE: &str = "add one of jwks_url, jwks_path, public_key_path";

/// Reads either form; `jwks_fresh` is the default of `jwks_cache_secs`.
pub(super) fn read(
    reader: &Reader<'_>,
    algorithm: Option<JwtAlgorithm>,
    jwks_fresh: Duration,
) -> Option<Vec<JwtIssuer>> {
    let fetching = Fetching::read(reader, jwks_fresh);
    if let Some(list) = reader.get("issuers") {
        refuse_plain_form(reader);
        return several(&list, algorithm, &fetching);
    }
    let keys = plain_source(reader, algorithm, &fetching);
    let names = match reader.any(&["issuer", "trusted_issuers"]) {
        Some(entry) => texts(&entry),
        None => {
            reader.warning("no issuer: a token of any issuer is taken if its key fits");
            Vec::new()
        }
    };
    Some(vec![JwtIssuer { names, keys: keys? }])
}

/// How key sets are fetched; the same for every issuer of a step.
struct Fetching {
    fresh: Duration,
    max_stale: Duration,
    cooldown: Duration,
    allow_http: bool,
}

impl Fetching {
    fn read(reader: &Reader<'_>, jwks_fresh: Duration) -> Self {
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
    if items.len() > MAX_ISSUERS {
        list.error(format!("has more than {MAX_ISSUERS} entries"));
    }
    let mut issuers: Vec<JwtIssuer> = Vec::new();
    for item in items {
        let Some(issuer) = one_of_several(&item, fetching, &issuers) else {
            continue;
        };
        if issuers.iter().any(|other| other.keys == issuer.keys) {
            item.warning(
                "has the keys of another issuer: each of the two can make the other's tokens",
            );
        }
        issuers.push(issuer);
    }
    (!issuers.is_empty()).then_some(issuers)
}

fn one_of_several(
    item: &Entry<'_>,
    fetching: &Fetching,
    before: &[JwtIssuer],
) -> Option<JwtIssuer> {
    let reader = item.table()?;
    if let Some(entry) = reader.any(&["secret", "hs256_secret"]) {
        entry.error_help(
            "is a shared secret, and `issuers` have public keys only",
            ADD_SOURCE,
        );
    }
    let source = match one_source(public_sources(&reader)) {
        Ok(Some((name, entry))) => public_source(name, &entry, fetching),
        Ok(None) if reader.has("secret") || reader.has("hs256_secret") => None,
        Ok(None) => {
            reader.error("has no key source", ADD_SOURCE);
            None
        }
        Err(()) => None,
    };
    let mut names: Vec<String> = Vec::new();
    match reader.get("issuer") {
        None => reader.missing("issuer", "name the `iss` of its tokens"),
        Some(entry) => {
            for (name, written) in entry.one_or_more() {
                if is_taken(&name, &names, before) {
                    written.error_help(
                        format!("issuer {} is named twice", name.shown()),
                        "an issuer has one source of keys: keep one of the two",
                    );
                }
                names.push(name.to_string());
            }
        }
    }
    reader.finish();
    Some(JwtIssuer {
        names,
        keys: source?,
    })
}

fn is_taken(name: &Text, names: &[String], before: &[JwtIssuer]) -> bool {
    let mut taken = before.iter().flat_map(|issuer| &issuer.names).chain(names);
    taken.any(|other| **other == **name)
}

/// The one source of keys of the plain form.
fn plain_source(
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
    if !url.tls && !url.is_loopback() {
        if !allow_http {
            entry.error_help("must be https", "whoever can change the key set on its way can make tokens; jwks_allow_http = true takes that risk");
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

fn texts(entry: &Entry<'_>) -> Vec<String> {
    entry
        .one_or_more()
        .into_iter()
        .map(|(text, _)| text.to_string())
        .collect()
}
