//! Fields that concern one connection only (RFC 9110 section 7.6.1).

use http::HeaderMap;
use http::header::{self, HeaderName};

use super::field_removal::remove_fields;

/// Removes the fields that concern one connection only, and those that its `Connection` names. One
/// that `stays` goes on nevertheless.
pub(crate) fn strip(headers: &mut HeaderMap, stays: impl Fn(&HeaderName) -> bool) {
    let named: Vec<HeaderName> = connection_options(headers)
        // Most heads name it, and it goes anyway.
        .filter(|name| !name.eq_ignore_ascii_case(b"keep-alive"))
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .collect();
    remove_fields(headers, |name| {
        (is_hop_by_hop(name) || named.contains(name)) && !stays(name)
    });
}

/// Whether a field goes no further, whatever `Connection` names.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

/// The fields and options that `Connection` names.
pub(crate) fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let values = headers.get_all(header::CONNECTION).iter();
    values
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|name| !name.is_empty())
}
