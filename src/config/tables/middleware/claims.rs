//! `required_claims` and `claims_to_headers` of a `jwt-auth` step.

use http::HeaderName;

use crate::config::model::RequiredClaim;
use crate::config::reader::{Entry, Reader};

/// Headers that carry neither a claim nor a token: they steer connections, say where a request goes
/// or who vouches for it, or are set by the edge itself.
pub(crate) const RESERVED: &[&str] = &[
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-auth-method",
    "x-auth-subject",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
];

/// Names, or a table name = value or list of values.
pub(crate) fn required(reader: &Reader<'_>) -> Vec<RequiredClaim> {
    let Some(entry) = reader.get("required_claims") else {
        return Vec::new();
    };
    if !entry.is_table() {
        let names = entry.one_or_more().into_iter();
        return names
            .map(|(name, _)| RequiredClaim {
                name: name.to_string(),
                values: Vec::new(),
            })
            .collect();
    }
    let claims = entry
        .table()
        .map(|table| table.entries())
        .unwrap_or_default();
    claims
        .into_iter()
        .map(|(name, entry)| RequiredClaim {
            name: name.to_owned(),
            values: values(&entry),
        })
        .collect()
}

fn values(entry: &Entry<'_>) -> Vec<serde_json::Value> {
    if !entry.is_array() {
        return entry.json_scalar().into_iter().collect();
    }
    entry.is_not_empty();
    entry
        .items()
        .iter()
        .filter_map(Entry::json_scalar)
        .collect()
}

/// A table claim = header.
pub(crate) fn to_headers(reader: &Reader<'_>) -> Vec<(String, HeaderName)> {
    let claims = reader
        .get("claims_to_headers")
        .and_then(|entry| entry.table())
        .map(|table| table.entries())
        .unwrap_or_default();
    let mut headers: Vec<(String, HeaderName)> = Vec::new();
    for (claim, entry) in claims {
        let Some(name) = header(&entry) else { continue };
        match headers
            .iter()
            .find(|(_, other)| spelling(other.as_str()) == spelling(name.as_str()))
        {
            Some((other, _)) => entry.error_help(
                format!("is the header of claim {other:?} too"),
                "give each claim its own",
            ),
            None => headers.push((claim.to_owned(), name)),
        }
    }
    headers
}

fn header(entry: &Entry<'_>) -> Option<HeaderName> {
    let text = entry.text()?;
    let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
        entry.error_help("is not a header name", "write it like \"X-User-Email\"");
        return None;
    };
    if RESERVED.contains(&spelling(name.as_str()).as_str()) {
        entry.error_help(
            format!("header {} cannot carry a claim", text.shown()),
            "choose a name of your own, like \"X-User-Email\"",
        );
        return None;
    }
    Some(name)
}

/// What a header counts as: upstreams take `_` and `.` for `-`.
pub(crate) fn spelling(name: &str) -> String {
    name.replace(['_', '.'], "-")
}
