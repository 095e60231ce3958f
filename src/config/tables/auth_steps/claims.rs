//! What a step asks of claims, and what it makes headers of.

use std::time::Duration;

use http::HeaderName;

use crate::config::model::{ClaimRules, RequiredClaim};
use crate::config::reader::{Entry, Reader};
use crate::config::tables::values::header;

/// All of it.
pub(super) fn rules(reader: &Reader<'_>) -> ClaimRules {
    let scopes = reader.get("required_scopes");
    ClaimRules {
        audiences: audiences(reader),
        leeway: leeway(reader),
        required_claims: required(reader),
        required_scopes: scopes.map(|entry| entry.strings()).unwrap_or_default(),
        claims_to_headers: to_headers(reader),
        keeps_claims: false,
    }
}

fn audiences(reader: &Reader<'_>) -> Vec<String> {
    match reader.get("audience") {
        Some(entry) => entry.strings(),
        None => {
            reader.warning("no audience: a token that was made for another service is taken too");
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

/// Names, or a table name = value or list of values.
fn required(reader: &Reader<'_>) -> Vec<RequiredClaim> {
    let Some(entry) = reader.get("required_claims") else {
        return Vec::new();
    };
    if !entry.is_table() {
        let names = entry.strings().into_iter();
        return names
            .map(|name| RequiredClaim {
                name,
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
            values: entry.json_scalars(),
        })
        .collect()
}

/// A table claim = header.
fn to_headers(reader: &Reader<'_>) -> Vec<(String, HeaderName)> {
    let claims = reader
        .get("claims_to_headers")
        .and_then(|entry| entry.table())
        .map(|table| table.entries())
        .unwrap_or_default();
    let mut headers: Vec<(String, HeaderName)> = Vec::new();
    for (claim, entry) in claims {
        let Some(name) = claim_header(&entry) else {
            continue;
        };
        match headers
            .iter()
            .find(|(_, other)| header::spelling(other) == header::spelling(&name))
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

fn claim_header(entry: &Entry<'_>) -> Option<HeaderName> {
    let name = header::name(entry, "X-User-Email")?;
    if header::is_reserved(&name) {
        entry.error_help(
            format!("header {} cannot carry a claim", entry.text()?.shown()),
            "choose a name of your own, like \"X-User-Email\"",
        );
        return None;
    }
    Some(name)
}
