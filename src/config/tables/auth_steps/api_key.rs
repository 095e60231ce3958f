//! The settings of an `api-key` step. Keys are stored as digests; a key as it is would be one that
//! a backup gives away.

use std::collections::HashSet;

use http::HeaderName;

use crate::config::model::{ApiKey, ApiKeyEntry, CredentialLocation, KeyDigest};
use crate::config::reader::{Entry, Reader, Text};
use crate::config::tables::values::credential::{self, hex32};
use crate::config::tables::values::{filled_secret, given, header};

/// The default of `max_failures`: more than a mistake or two of many users behind one address.
const MAX_FAILURES: u64 = 100;
const HELP: &str = "make it with `harmony-edge hash-key`";

const NOT_A_DIGEST: &str = "is not a digest: 64 hexadecimal digits, with or without sha256:, or \
                            hmac-sha256: and 64 of them";
/// How many digits of a digest stand for a key that has no `id`.
const SHORT: usize = 8;

/// Reads the settings.
pub(crate) fn read(reader: &Reader<'_>) -> Option<ApiKey> {
    let location = location(reader);
    let pepper = reader
        .get("pepper")
        .map(|entry| (filled_secret(&entry), entry));
    let keys = match reader.get("keys") {
        Some(entry) => keys(&entry),
        None => {
            reader.missing(
                "keys",
                "add keys = [\"sha256:...\"]; `harmony-edge hash-key` makes them",
            );
            None
        }
    }?;
    let peppered = |key: &ApiKeyEntry| matches!(key.digest, KeyDigest::HmacSha256(_));
    match (&pepper, keys.iter().any(peppered)) {
        (None, true) => {
            reader.missing(
                "pepper",
                "an hmac-sha256 key needs the secret that it was made with: pepper = \
                 \"${API_KEY_PEPPER}\"",
            );
            return None;
        }
        (Some((_, entry)), false) => entry.warning(
            "no key was made with the pepper: it has no effect on sha256 keys; make keys with \
             `harmony-edge hash-key --pepper-env NAME`",
        ),
        _ => {}
    }
    let pepper = given(pepper.map(|(pepper, _)| pepper))?;
    Some(ApiKey {
        location: location?,
        keys,
        pepper,
        required_scopes: reader
            .get("required_scopes")
            .map(|entry| entry.strings())
            .unwrap_or_default(),
        max_failures: u32::try_from(reader.number("max_failures", 0..=1_000_000, MAX_FAILURES))
            .unwrap_or(u32::MAX),
    })
}

/// One of `header`, `query` and `cookie`.
fn location(reader: &Reader<'_>) -> Option<CredentialLocation> {
    let mut locations = ["header", "query", "cookie"]
        .into_iter()
        .filter_map(|key| Some((key, reader.get(key)?)));
    let Some((first, entry)) = locations.next() else {
        return Some(CredentialLocation::Header(HeaderName::from_static(
            "x-api-key",
        )));
    };
    if let Some((second, again)) = locations.next() {
        again.error_help(
            format!("is a second place for the key beside `{first}`"),
            format!("keep either `{first}` or `{second}`"),
        );
        return None;
    }
    match first {
        "header" => header::for_credential(&entry).map(CredentialLocation::Header),
        "query" => {
            let name = entry.text()?;
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
                entry.error_help(
                    "is not the name of a parameter",
                    "write it like \"api_key\"",
                );
                return None;
            }
            entry.warning(
                "a key in the query ends up in histories, and in the logs of whoever \
                 the request passes; put it in a header",
            );
            Some(CredentialLocation::Query(name.to_string()))
        }
        _ => {
            let name = entry.text()?;
            if HeaderName::from_bytes(name.as_bytes()).is_err() {
                entry.error_help("is not the name of a cookie", "write it like \"api_key\"");
                return None;
            }
            Some(CredentialLocation::Cookie(name.to_string()))
        }
    }
}

/// Every key, each digest once.
fn keys(entry: &Entry<'_>) -> Option<Vec<ApiKeyEntry>> {
    if entry.is_array() && !entry.is_not_empty() {
        return None;
    }
    let items = if entry.is_array() {
        entry.items()
    } else {
        vec![entry.clone()]
    };
    let many = items.len();
    let mut keys: Vec<ApiKeyEntry> = Vec::new();
    let mut digests = HashSet::new();
    for (index, item) in items.into_iter().enumerate() {
        let key = if item.is_table() {
            from_table(&item)
        } else {
            from_text(&item, index).map(|digest| named(None, digest))
        };
        let Some(key) = key else { continue };
        if !digests.insert(key.digest.clone()) {
            item.error_help(
                format!("key {} is there twice", index + 1),
                "keep one of them",
            );
        }
        keys.push(key);
    }
    (keys.len() == many).then_some(keys)
}

fn from_text(item: &Entry<'_>, index: usize) -> Option<KeyDigest> {
    let digest = digest(&item.text()?);
    if digest.is_none() {
        item.error_help(format!("key {} {NOT_A_DIGEST}", index + 1), HELP);
    }
    digest
}

/// `{ id, hash, expires_at, scopes }`.
fn from_table(item: &Entry<'_>) -> Option<ApiKeyEntry> {
    let reader = item.table()?;
    reader.know(&["description"]);
    let hash = reader.get("hash");
    if hash.is_none() {
        reader.missing("hash", HELP);
    }
    let digest = hash.and_then(|entry| {
        let digest = digest(&entry.text()?);
        if digest.is_none() {
            entry.error_help(NOT_A_DIGEST, HELP);
        }
        digest
    });
    let id = given(reader.get("id").map(|entry| id(&entry)))?;
    let expires_at = given(reader.get("expires_at").map(|entry| moment(&entry)))?;
    let scopes = reader.get("scopes").map(|entry| entry.texts().into_iter());
    let scopes = scopes.into_iter().flatten();
    let scopes = scopes.map(|(text, _)| text.to_string()).collect();
    reader.finish();
    Some(ApiKeyEntry {
        expires_at,
        scopes,
        ..named(id, digest?)
    })
}

fn named(id: Option<String>, digest: KeyDigest) -> ApiKeyEntry {
    let short = || -> String {
        let digits = digest.bytes().iter().map(|byte| format!("{byte:02x}"));
        digits.take(SHORT / 2).collect()
    };
    ApiKeyEntry {
        id: id.unwrap_or_else(short),
        digest,
        expires_at: None,
        scopes: Vec::new(),
    }
}

fn digest(text: &Text) -> Option<KeyDigest> {
    if let Some(digits) = text.strip_prefix("hmac-sha256:") {
        return hex32(digits).map(KeyDigest::HmacSha256);
    }
    hex32(text.strip_prefix("sha256:").unwrap_or(text)).map(KeyDigest::Sha256)
}

fn id(entry: &Entry<'_>) -> Option<String> {
    let text = entry.text()?;
    if !credential::is_subject(&text) {
        entry.error("must be visible ASCII: the upstream gets it in a header");
        return None;
    }
    Some(text.to_string())
}

/// RFC 3339, or seconds since 1970; one that has passed is told.
fn moment(entry: &Entry<'_>) -> Option<i64> {
    let seconds = match entry.date() {
        Some(text) => text
            .parse::<jiff::Timestamp>()
            .map(jiff::Timestamp::as_second)
            .ok(),
        None => return entry.integer(0..=i64::MAX),
    };
    match seconds {
        None => entry.error_help(
            "is not a moment",
            "write it like \"2030-12-31T23:59:59Z\", with its offset from UTC, or in seconds \
             since 1970",
        ),
        Some(seconds) if seconds <= jiff::Timestamp::now().as_second() => {
            entry.warning("has passed: the key is refused");
        }
        Some(_) => {}
    }
    seconds
}
