//! The settings of a `jwt-auth` step, and what makes them unsafe to start with.
//!
//! Not here: the claims (`claims`), and parsing key files or fetching key sets (the auth room).

use std::time::Duration;

use super::address::HttpUrl;
use super::entry::Entry;
use super::error::ErrorKind;
use super::reader::Reader;
use super::{JwksUrl, Jwt, JwtAlgorithm, KeySource, Secret, claims, not_yet};

const SECRET_BYTES: usize = 32;

/// Reads the settings; `jwks_fresh` is the default of `jwks_cache_secs`.
pub(super) fn read(reader: &Reader<'_>, jwks_fresh: Duration) -> Option<Jwt> {
    reader.refuse(not_yet::JWT);
    refuse_no_expiry(reader);
    let algorithm = algorithm(reader);
    let keys = keys(reader, algorithm, jwks_fresh);
    let issuers = accepted(
        reader,
        &["issuer", "trusted_issuers"],
        "no issuer: a token of any issuer is taken if its key fits",
    );
    let audiences = accepted(
        reader,
        &["audience"],
        "no audience: a token that was made for another service is taken too",
    );
    let settings = Jwt {
        algorithm: algorithm.unwrap_or(JwtAlgorithm::Rs256),
        issuers,
        audiences,
        leeway: leeway(reader),
        required_claims: claims::required(reader),
        required_scopes: reader
            .get("required_scopes")
            .map(|entry| strings(&entry))
            .unwrap_or_default(),
        claims_to_headers: claims::to_headers(reader),
        accepted_types: accepted_types(reader),
        keys: keys?,
    };
    algorithm.map(|_| settings)
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
fn algorithm(reader: &Reader<'_>) -> Option<JwtAlgorithm> {
    let stated = reader.any(&["algorithm", "algorithms"]);
    let hs256 = reader
        .get("use_hs256")
        .map(|entry| (entry.boolean(), entry));
    let named = match &stated {
        Some(entry) => Some(one_algorithm(entry)?),
        None => None,
    };
    match (named, hs256) {
        (Some(JwtAlgorithm::Rs256), Some((Some(true), entry)))
        | (Some(JwtAlgorithm::Hs256), Some((Some(false), entry))) => {
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
    match &**name {
        "RS256" => return Some(JwtAlgorithm::Rs256),
        "HS256" => return Some(JwtAlgorithm::Hs256),
        "" => {}
        none if none.eq_ignore_ascii_case("none") => item.error_help(
            "\"none\" is refused: anybody could make such a token",
            "use \"RS256\"",
        ),
        later if not_yet::ALGORITHMS.contains(&later) => {
            item.error(ErrorKind::NotServed(format!("algorithm {later:?}")))
        }
        _ => item.unknown("algorithm", name, &["RS256", "HS256"]),
    }
    None
}

/// The one source of keys.
fn keys(
    reader: &Reader<'_>,
    algorithm: Option<JwtAlgorithm>,
    jwks_fresh: Duration,
) -> Option<KeySource> {
    let fresh = reader
        .get("jwks_cache_secs")
        .and_then(|entry| entry.integer(60..=604_800))
        .map_or(jwks_fresh, |seconds| {
            Duration::from_secs(seconds.unsigned_abs())
        });
    let max_stale = reader.seconds("jwks_max_stale_secs", 0..=2_592_000, 86_400);
    let cooldown = reader.seconds("jwks_cooldown_secs", 1..=3600, 30);
    let allow_http = reader.flag("jwks_allow_http", false);

    let secret = reader.any(&["secret", "hs256_secret"]);
    let public = [
        ("jwks_url", reader.any(&["jwks_url", "jwks_uri"])),
        ("jwks_path", reader.get("jwks_path")),
        ("public_key_path", reader.get("public_key_path")),
    ];
    let mut sources = public
        .into_iter()
        .filter_map(|(name, entry)| Some((name, entry?)))
        .chain(secret.map(|entry| ("secret", entry)));
    let first = sources.next();
    if let Some((second, entry)) = sources.next() {
        let (first, _) = first?;
        entry.error_help(
            format!("is a second key source beside `{first}`"),
            format!("keep either `{first}` or `{second}`"),
        );
        return None;
    }
    match (algorithm, first) {
        (Some(JwtAlgorithm::Rs256), None) => {
            reader.error(
                "RS256 has no key source",
                "add one of jwks_url, jwks_path, public_key_path",
            );
            None
        }
        (Some(JwtAlgorithm::Hs256), None) => {
            reader.error("HS256 has no secret", "add secret = \"${JWT_SECRET}\"");
            None
        }
        (None, None) => None,
        (Some(JwtAlgorithm::Rs256), Some(("secret", entry))) => {
            entry.error_help(
                "is a shared secret, and HS256 is not stated",
                "add algorithm = \"HS256\", or use jwks_url, jwks_path or public_key_path instead",
            );
            None
        }
        (Some(JwtAlgorithm::Hs256), Some((name, entry))) if name != "secret" => {
            entry.error_help(
                "is a source of public keys, and HS256 takes none",
                "give `secret`, or algorithm = \"RS256\"",
            );
            None
        }
        (_, Some(("jwks_url", entry))) => Some(KeySource::JwksUrl(JwksUrl {
            url: jwks_url(&entry, allow_http)?,
            fresh,
            max_stale,
            cooldown,
        })),
        (_, Some(("jwks_path", entry))) => Some(KeySource::JwksPath(entry.readable_file()?)),
        (_, Some(("public_key_path", entry))) => Some(KeySource::PublicKey(entry.readable_file()?)),
        (_, Some((_, entry))) => Some(KeySource::Secret(secret_value(&entry)?)),
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

fn secret_value(entry: &Entry<'_>) -> Option<Secret> {
    let text = entry.text()?;
    match text.len() {
        0 => entry.error_help(
            "is empty after filling in",
            "set the variable that it refers to",
        ),
        1..SECRET_BYTES => entry.error_help(
            format!("must be at least {SECRET_BYTES} bytes"),
            "make one with `openssl rand -base64 48`",
        ),
        _ => return Some(Secret::new(text.to_string())),
    }
    None
}

/// The accepted values of a claim; none of them is allowed, with a warning.
fn accepted(reader: &Reader<'_>, keys: &[&'static str], warning: &str) -> Vec<String> {
    match reader.any(keys) {
        Some(entry) => strings(&entry),
        None => {
            reader.warning(warning);
            Vec::new()
        }
    }
}

fn leeway(reader: &Reader<'_>) -> Duration {
    let seconds = reader
        .any(&["leeway_secs", "leeway_seconds"])
        .and_then(|entry| entry.integer(0..=300));
    Duration::from_secs(seconds.map_or(60, i64::unsigned_abs))
}

fn accepted_types(reader: &Reader<'_>) -> Vec<String> {
    match reader.get("typ") {
        Some(entry) => strings(&entry)
            .into_iter()
            .map(|text| text.to_ascii_lowercase())
            .collect(),
        None => vec!["jwt".to_owned(), "at+jwt".to_owned()],
    }
}

fn strings(entry: &Entry<'_>) -> Vec<String> {
    entry
        .one_or_more()
        .into_iter()
        .map(|(text, _)| text.to_string())
        .collect()
}
