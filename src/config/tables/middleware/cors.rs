//! The settings of a `cors` step.

use std::net::Ipv4Addr;

use http::{HeaderName, Method};

use crate::config::model::{AllowedOrigins, Cors, OriginPattern};
use crate::config::reader::{Entry, Reader, Text};
use crate::config::tables::values::{address, header, method};

/// Most seconds of `max_age_secs`: no browser keeps an answer for longer than a day.
const MAX_AGE: i64 = 86_400;

pub(super) fn read(reader: &Reader<'_>) -> Option<Cors> {
    let origins = reader.get("allow_origins");
    if origins.is_none() {
        reader.missing(
            "allow_origins",
            "add allow_origins = [\"https://app.example\"]",
        );
    }
    let listed = reader.get("allow_methods");
    let methods = match &listed {
        Some(entry) => method::all(entry),
        None => vec![Method::GET, Method::HEAD, Method::POST],
    };
    let (headers, headers_entry) = names(reader, "allow_headers");
    let (exposed, exposed_entry) = names(reader, "expose_headers");
    let credentials = reader.flag("allow_credentials", false);
    let max_age = reader
        .has("max_age_secs")
        .then(|| reader.seconds("max_age_secs", 0..=MAX_AGE, 0));
    let origins_entry = origins?;
    let origins = allowed_origins(&origins_entry)?;
    let wildcards = [
        (origins == AllowedOrigins::Any, Some(&origins_entry)),
        (methods.iter().any(|it| it.as_str() == "*"), listed.as_ref()),
        (headers.iter().any(|it| it == "*"), headers_entry.as_ref()),
        (exposed.iter().any(|it| it == "*"), exposed_entry.as_ref()),
    ];
    let with_credentials = wildcards.into_iter().filter(|(any, _)| *any && credentials);
    for entry in with_credentials.filter_map(|(_, entry)| entry) {
        entry.error_help(
            "\"*\" does not go with allow_credentials = true: any page could act for its visitors",
            "list what is allowed, or remove allow_credentials",
        );
    }
    Some(Cors {
        origins,
        methods,
        headers,
        exposed,
        credentials,
        max_age,
    })
}

/// Names of headers, each once, and where they stand.
fn names<'a>(reader: &Reader<'a>, key: &'static str) -> (Vec<HeaderName>, Option<Entry<'a>>) {
    let entry = reader.get(key);
    let items = entry.as_ref().map(Entry::items).unwrap_or_default();
    let mut names: Vec<HeaderName> = Vec::new();
    for item in &items {
        match header::name(item, "X-Total-Count") {
            Some(name) if names.contains(&name) => item.error("is named twice"),
            Some(name) => names.push(name),
            None => {}
        }
    }
    (names, entry)
}

fn allowed_origins(entry: &Entry<'_>) -> Option<AllowedOrigins> {
    if !entry.is_not_empty() {
        return None;
    }
    let texts = entry.one_or_more();
    if texts.iter().any(|(text, _)| &**text == "*") {
        if texts.len() > 1 {
            entry.error_help(
                "\"*\" stands beside other origins, which it holds already",
                "keep the one or the others",
            );
            return None;
        }
        return Some(AllowedOrigins::Any);
    }
    let mut patterns = Vec::new();
    for (text, item) in &texts {
        let pattern = origin(text);
        match pattern {
            Some(pattern) if patterns.contains(&pattern) => {
                item.error(format!("{} is named twice", text.shown()));
            }
            Some(pattern) => patterns.push(pattern),
            None => item.error_help(
                format!("{} is not an origin", text.shown()),
                "write scheme, host and port, like \"https://app.example\" or \
                 \"https://*.example.com\", without a path",
            ),
        }
    }
    (patterns.len() == texts.len()).then_some(AllowedOrigins::Listed(patterns))
}

/// An origin as browsers write it (Fetch standard, "byte-serializing a request origin").
fn origin(text: &Text) -> Option<OriginPattern> {
    let text = text.to_ascii_lowercase();
    let (scheme, host) = text.split_once("://")?;
    let of_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase());
    if !is_scheme || !scheme.bytes().all(of_scheme) {
        return None;
    }
    if let Some(below) = host.strip_prefix("*.") {
        let is_address = below.starts_with('[') || host_of(below).parse::<Ipv4Addr>().is_ok();
        let name = exact(scheme, below).filter(|_| !is_address)?;
        let (scheme, name) = name.split_once("://")?;
        return Some(OriginPattern::Below {
            scheme: format!("{scheme}://"),
            suffix: format!(".{name}"),
        });
    }
    exact(scheme, host).map(OriginPattern::Exact)
}

fn host_of(authority: &str) -> &str {
    authority.split(':').next().unwrap_or(authority)
}

/// The schemes of the web have a port of their own, which an origin does not show; those of apps
/// have none.
fn exact(scheme: &str, authority: &str) -> Option<String> {
    if authority.contains(['/', '?', '#', '@', '\\', '*']) {
        return None;
    }
    if !matches!(scheme, "http" | "https") {
        let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
        let is_sound = !authority.is_empty() && authority.bytes().all(sound);
        return is_sound.then(|| format!("{scheme}://{authority}"));
    }
    let url = address::HttpUrl::parse(&format!("{scheme}://{authority}/")).ok()?;
    let host = match url.host.contains(':') {
        true => format!("[{}]", url.host),
        false => url.host,
    };
    Some(match url.port {
        Some(port) if port != if url.tls { 443 } else { 80 } => format!("{scheme}://{host}:{port}"),
        _ => format!("{scheme}://{host}"),
    })
}
