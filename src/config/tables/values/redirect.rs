//! Where an endpoint with `service = "redirect"` sends its clients.
//!
//! What a request says must never choose the server: `{path}` begins with a slash, so it may stand
//! nowhere but behind a whole authority, and `{host}` is one of the endpoint's own.

use http::StatusCode;
use http::uri::PathAndQuery;

use super::address::HttpUrl;
use crate::config::model::{Redirect, RedirectPart};
use crate::config::reader::{Entry, Reader};

const STATUSES: [i64; 4] = [301, 302, 307, 308];

/// `to` and `status`. `named`: whether the endpoint names its hosts.
pub(crate) fn read(reader: &Reader<'_>, named: bool) -> Option<Redirect> {
    let to = reader.get("to");
    if to.is_none() {
        reader.missing("to", "write to = \"https://new.example{path}\"");
    }
    let to = to.map(|entry| target(&entry, named));
    let status = match reader.get("status") {
        Some(entry) => status(&entry),
        None => Some(StatusCode::PERMANENT_REDIRECT),
    };
    Some(Redirect {
        to: to??,
        status: status?,
    })
}

fn status(entry: &Entry<'_>) -> Option<StatusCode> {
    let status = entry.integer(0..=999)?;
    if !STATUSES.contains(&status) {
        entry.error_help(
            "is not the status of a redirect",
            "use 308 or 307, which keep the method, or 301 or 302",
        );
        return None;
    }
    StatusCode::from_u16(u16::try_from(status).ok()?).ok()
}

fn target(entry: &Entry<'_>, named: bool) -> Option<Vec<RedirectPart>> {
    let text = entry.text()?;
    let Some(parts) = parts(&text) else {
        entry.error_help(
            "holds a placeholder that is not known",
            "there are {host} and {path}",
        );
        return None;
    };
    if parts.contains(&RedirectPart::Host) && !named {
        entry.error_help(
            "uses {host}, and the endpoint names no hosts: a client could choose where it leads",
            "name the endpoint's `hosts`, or write the host out",
        );
        return None;
    }
    let fits = is_target(&parts);
    if !fits {
        entry.error_help(
            "is neither a URL nor a path that a client can be sent to",
            "write it like \"https://new.example{path}\" or \"/new{path}\"",
        );
    }
    fits.then_some(parts)
}

/// `None`: a brace that begins or ends no known placeholder.
fn parts(mut text: &str) -> Option<Vec<RedirectPart>> {
    let mut parts = Vec::new();
    while let Some(open) = text.find(['{', '}']) {
        let (before, rest) = text.split_at(open);
        if !before.is_empty() {
            parts.push(RedirectPart::Text(before.to_owned()));
        }
        let (part, rest) = match rest.strip_prefix("{host}") {
            Some(rest) => (RedirectPart::Host, rest),
            None => (RedirectPart::Path, rest.strip_prefix("{path}")?),
        };
        parts.push(part);
        text = rest;
    }
    if !text.is_empty() {
        parts.push(RedirectPart::Text(text.to_owned()));
    }
    Some(parts)
}

/// Whether a request's path can be no part of the authority, wherever it stands.
fn is_target(parts: &[RedirectPart]) -> bool {
    let mut example = String::new();
    let mut authority = None;
    for part in parts {
        match part {
            RedirectPart::Text(text) => example.push_str(text),
            RedirectPart::Host => example.push_str("host.example"),
            RedirectPart::Path => {
                authority = authority.or_else(|| Some(example.clone()));
                example.push_str("/p?q=1");
            }
        }
    }
    if example.starts_with('/') {
        // Not `//`, which begins an authority; browsers take a backslash for a slash.
        let first = match parts.first() {
            Some(RedirectPart::Text(text)) => text.as_str(),
            _ => return false,
        };
        let alone = first == "/" && parts.len() > 1;
        return !alone
            && !first.starts_with("//")
            && !example.contains(['\\', '#'])
            && example.parse::<PathAndQuery>().is_ok();
    }
    let whole = authority.unwrap_or_else(|| example.clone());
    !example.contains('\\') && HttpUrl::parse(&example).is_ok() && HttpUrl::parse(&whole).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_never_names_the_server() {
        for good in [
            "https://new.example{path}",
            "https://new.example:8443/base{path}",
            "https://new.example/",
            "http://{host}{path}",
            "https://www.{host}:8443/x{path}",
            "https://login.example/?next={path}",
            "/",
            "/new",
            "/new{path}",
        ] {
            assert!(is_target(&parts(good).unwrap()), "{good}");
        }
        for bad in [
            "",
            "new.example{path}",
            "{path}",
            "{host}{path}",
            "/{path}",
            "/{host}",
            "//new.example{path}",
            "/\\new.example",
            "https://{path}",
            "https:/{path}",
            "https:{path}",
            "https://u:p@new.example{path}",
            "ftp://new.example{path}",
            "https://new.example#{path}",
            "https://new.example\\{path}",
            "https://new.example:{path}",
            "javascript:alert(1)",
        ] {
            assert!(!is_target(&parts(bad).unwrap()), "{bad}");
        }
        for unknown in ["https://h{query}", "https://h{path", "https://h}", "{PATH}"] {
            assert_eq!(parts(unknown), None, "{unknown}");
        }
    }
}
