//! Names of header fields.

use http::HeaderName;

use crate::config::reader::Entry;

/// Headers that carry neither a claim nor a token: they steer connections, say where a request goes
/// or who vouches for it, or are set by the edge itself.
const RESERVED: &[&str] = &[
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

/// The name of a header; `example` is told where it is none.
pub(crate) fn name(entry: &Entry<'_>, example: &str) -> Option<HeaderName> {
    let name = HeaderName::from_bytes(entry.text()?.as_bytes()).ok();
    if name.is_none() {
        entry.error_help("is not a header name", format!("write it like {example:?}"));
    }
    name
}

/// A header that may carry a credential: none that the edge takes away or reads itself before a
/// step sees it.
pub(crate) fn for_credential(entry: &Entry<'_>) -> Option<HeaderName> {
    let name = name(entry, "X-API-Key")?;
    if spelling(&name).starts_with("x-auth-") || is_reserved(&name) {
        entry.error_help(
            format!(
                "header {} cannot carry a credential of its own",
                entry.text()?.shown()
            ),
            "choose another, like \"X-API-Key\"; Authorization is for jwt-auth and basic-auth, \
             and no client may set X-Auth-*",
        );
        return None;
    }
    Some(name)
}

/// Whether a header carries neither a claim nor a token.
pub(crate) fn is_reserved(name: &HeaderName) -> bool {
    RESERVED.contains(&spelling(name).as_str())
}

/// What a header counts as: some servers take every character that is no letter and no digit for
/// `-` (RFC 3875 section 4.1.18).
pub(crate) fn spelling(name: &HeaderName) -> String {
    let name = name.as_str().chars();
    name.map(|it| if it.is_ascii_alphanumeric() { it } else { '-' })
        .collect()
}

/// Why neither a rule may change a header nor a condition read it, in whatever spelling; `None`: it
/// is an application's.
pub(crate) fn untouchable(name: &HeaderName) -> Option<&'static str> {
    let spelling = spelling(name);
    Some(match spelling.as_str() {
        "client-cert" | "client-cert-chain" => "tells who a request is from",
        name if name.starts_with("x-auth-") => "tells who a request is from",
        "content-length" | "transfer-encoding" | "trailer" | "expect" => "frames a message",
        "connection" | "keep-alive" | "proxy-connection" | "te" | "upgrade" | "http2-settings"
        | "proxy-authenticate" | "proxy" => "concerns one connection only",
        "host" | "via" | "forwarded" | "traceparent" | "tracestate" => "tells the way of a message",
        name if name.starts_with("x-forwarded-") => "tells the way of a message",
        "authorization" | "proxy-authorization" | "cookie" | "dpop" => "carries credentials",
        _ => return None,
    })
}
