//! `token_header`, `token_cookie` and `token_query` of a `jwt-auth` step: the one place where its
//! token stands.

use http::HeaderName;

use crate::config::model::CredentialLocation;
use crate::config::reader::{Entry, Reader};
use crate::config::tables::values::header;

/// Reads the location; `filled` are the headers that the step fills from claims.
pub(crate) fn read(reader: &Reader<'_>, filled: &[(String, HeaderName)]) -> CredentialLocation {
    let mut locations = ["token_header", "token_cookie", "token_query"]
        .into_iter()
        .filter_map(|key| Some((key, reader.get(key)?)));
    let Some((key, entry)) = locations.next() else {
        return CredentialLocation::Authorization;
    };
    for (_, second) in locations {
        second.error_help(
            format!("is a second place for the token beside `{key}`"),
            "a token is looked for in one place only: keep one of them",
        );
    }
    let location = match key {
        "token_header" => token_header(&entry, filled).map(CredentialLocation::Header),
        "token_cookie" => cookie(&entry).map(CredentialLocation::Cookie),
        _ => query(&entry).map(CredentialLocation::Query),
    };
    location.unwrap_or(CredentialLocation::Authorization)
}

fn token_header(entry: &Entry<'_>, filled: &[(String, HeaderName)]) -> Option<HeaderName> {
    let name = header::name(entry, "X-Access-Token")?;
    let text = entry.text()?;
    let spelt = header::spelling(&name);
    match spelt.as_str() {
        "authorization" => {
            entry.error_help("is the place where a token stands anyway", "remove it")
        }
        "cookie" => entry.error_help("holds cookies", "name the cookie with `token_cookie`"),
        _ if header::is_reserved(&name) => entry.error_help(
            format!("header {} cannot carry a token", text.shown()),
            "choose a name of your own, like \"X-Access-Token\"",
        ),
        _ if spelt.starts_with("x-auth-")
            || filled
                .iter()
                .any(|(_, other)| header::spelling(other) == spelt) =>
        {
            entry.error_help(
                format!(
                    "header {} is taken from what clients send, since it tells the upstream \
                     who they are",
                    text.shown()
                ),
                "choose a name of your own, like \"X-Access-Token\"",
            );
        }
        _ => return Some(name),
    }
    None
}

/// RFC 6265 section 4.1.1: a token of RFC 9110 section 5.6.2.
fn cookie(entry: &Entry<'_>) -> Option<String> {
    let text = entry.text()?;
    let fits = !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
    if !fits {
        entry.error_help("is not a cookie name", "write it like \"access_token\"");
    }
    fits.then(|| text.to_string())
}

fn query(entry: &Entry<'_>) -> Option<String> {
    let text = entry.text()?;
    if text.is_empty() {
        entry.error_help("is empty", "write it like \"access_token\"");
        return None;
    }
    entry.warning(
        "a token in a URL stays in histories and in the logs of others (RFC 6750 section 2.3)",
    );
    Some(text.to_string())
}
