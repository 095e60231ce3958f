//! `Forwarded` (RFC 7239) beside `X-Forwarded-*`, with `proxy.forwarded`: both come from trusted
//! proxies, both go to the upstream, and both say the same.
//!
//! A proxy that writes one of them and passes the other one on as its client sent it lets the
//! client speak for it. So neither is believed over the other: if they name different clients, the
//! client is unknown. The one that has no client adds no scheme and no host to the one that has.

use std::net::IpAddr;

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName, HeaderValue};
use pingora::http::RequestHeader;

use super::client_address::{
    X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, address, entries, find_client,
};
use crate::auth::is_tchar;

/// A node that is not known (RFC 7239 section 6.2).
const UNKNOWN: &str = "unknown";

/// What one proxy wrote of the request that it got.
#[derive(Debug, Default, PartialEq, Eq)]
struct Element {
    /// `for`, as an entry of `X-Forwarded-For`.
    node: Option<String>,
    host: Option<String>,
    proto: Option<String>,
}

/// In which of the fields the proxies in front of us name their client.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// `X-Forwarded-For`, and maybe `Forwarded` as well.
    XForwarded,
    /// `Forwarded` alone.
    Forwarded,
    Neither,
}

/// Makes `Forwarded` and `X-Forwarded-*` of a trusted peer say the same: where one of them names no
/// client, it is made of the other one. A contradiction is settled on the safe side: the client
/// becomes `unknown` (also where `Forwarded` cannot be read), the scheme `http`, the host that of
/// this request.
pub(crate) fn reconcile(
    request: &mut RequestHeader,
    peer: IpAddr,
    trusts: impl Fn(IpAddr) -> bool,
) {
    let client = |chain: &[Vec<u8>]| {
        let entries = chain.iter().map(Vec::as_slice);
        find_client(entries, peer, &trusts)
    };
    let has_list = request.headers.contains_key(X_FORWARDED_FOR);
    let listed: Vec<Vec<u8>> = entries(&request.headers).map(<[u8]>::to_vec).collect();
    let parsed = parse(&request.headers);
    let elements = parsed.as_deref().unwrap_or_default();
    let names_nodes = elements.iter().any(|element| element.node.is_some());
    let node = |element: &Element| element.node.as_deref().unwrap_or(UNKNOWN).into();
    let nodes: Vec<Vec<u8>> = elements.iter().filter(|_| names_nodes).map(node).collect();
    let contradicted = has_list && names_nodes && client(&listed).0 != client(&nodes).0;
    let (chain, mut keeps) = if parsed.is_none() || contradicted {
        (vec![UNKNOWN.into()], false)
    } else if has_list {
        (listed.clone(), names_nodes)
    } else {
        (nodes, names_nodes)
    };
    let hop = client(&chain).1;
    let dialect = match (has_list, names_nodes) {
        (true, _) => Dialect::XForwarded,
        (false, true) => Dialect::Forwarded,
        (false, false) => Dialect::Neither,
    };
    if let Some(element) = elements.iter().nth_back(hop).or(elements.first()) {
        let (proto, host) = (element.proto.as_deref(), element.host.as_deref());
        let scheme = HeaderValue::from_static("http");
        keeps &= settle(request, X_FORWARDED_PROTO, proto, dialect, Some(scheme));
        keeps &= settle(request, X_FORWARDED_HOST, host, dialect, None);
    }
    if chain != listed {
        set(request, X_FORWARDED_FOR, chain.join(&b", "[..]));
    }
    if !keeps {
        request.remove_header(&FORWARDED);
        if !chain.is_empty() {
            let forwarded = written(&chain, hop, &request.headers);
            set(request, FORWARDED, forwarded.into());
        }
    }
}

/// One element more, for the request of this peer to us.
pub(crate) fn element(peer: IpAddr, host: Option<&HeaderValue>, proto: &HeaderValue) -> String {
    let mut text = String::new();
    push(&mut text, "for", &node(peer.to_string().as_bytes()));
    push_origin(&mut text, host, Some(proto));
    text
}

/// Makes a field of `X-Forwarded-*` say what `Forwarded` says, as far as that may be believed;
/// whether `Forwarded` can stay as it is.
fn settle(
    request: &mut RequestHeader,
    name: HeaderName,
    forwarded: Option<&str>,
    dialect: Dialect,
    otherwise: Option<HeaderValue>,
) -> bool {
    let same = |value: &HeaderValue, forwarded: &str| {
        value.as_bytes().eq_ignore_ascii_case(forwarded.as_bytes())
    };
    match (request.headers.get(&name), forwarded) {
        (None, None) => true,
        (None, Some(_)) if dialect == Dialect::XForwarded => false,
        (None, Some(forwarded)) => {
            set(request, name, forwarded.into());
            true
        }
        (Some(_), None) => {
            if dialect == Dialect::Forwarded {
                request.remove_header(&name);
            }
            true
        }
        (Some(value), Some(forwarded)) if same(value, forwarded) => true,
        (Some(_), Some(_)) => {
            request.remove_header(&name);
            if let Some(value) = otherwise {
                set(request, name, value.as_bytes().into());
            }
            false
        }
    }
}

/// Every part of what is set is of a field that was there, so it is a value.
fn set(request: &mut RequestHeader, name: HeaderName, value: Vec<u8>) {
    if let Ok(value) = HeaderValue::try_from(value) {
        let _ = request.insert_header(name, value);
    }
}

/// `X-Forwarded-*` as `Forwarded` has it; host and scheme stand with the client, `hop` from the
/// end.
fn written(chain: &[Vec<u8>], hop: usize, headers: &HeaderMap) -> String {
    let mut text = String::new();
    for (place, entry) in chain.iter().enumerate() {
        text.push_str(if place > 0 { ", " } else { "" });
        push(&mut text, "for", &node(entry));
        if place + hop + 1 == chain.len() {
            let (host, proto) = (
                headers.get(X_FORWARDED_HOST),
                headers.get(X_FORWARDED_PROTO),
            );
            push_origin(&mut text, host, proto);
        }
    }
    text
}

fn push_origin(text: &mut String, host: Option<&HeaderValue>, proto: Option<&HeaderValue>) {
    for (name, value) in [("host", host), ("proto", proto)] {
        if let Some(value) = value.and_then(|value| value.to_str().ok()) {
            text.push(';');
            push(text, name, value);
        }
    }
}

/// A parameter, in quotes where its value is no token.
fn push(text: &mut String, name: &str, value: &str) {
    text.push_str(name);
    text.push('=');
    if !value.is_empty() && value.bytes().all(is_tchar) {
        return text.push_str(value);
    }
    text.push('"');
    for c in value.chars() {
        if matches!(c, '"' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text.push('"');
}

/// An entry of `X-Forwarded-For` as a node: an address of version 6 is in brackets.
fn node(entry: &[u8]) -> String {
    let Ok(text) = str::from_utf8(entry) else {
        return UNKNOWN.to_owned();
    };
    let text = text.trim_matches('"');
    match address(entry) {
        Some(IpAddr::V6(ip)) if !text.starts_with('[') => format!("[{ip}]"),
        Some(_) => text.to_owned(),
        None => hidden(text).unwrap_or(UNKNOWN).to_owned(),
    }
}

/// An identifier that hides an address (RFC 7239 section 6.3).
fn hidden(node: &str) -> Option<&str> {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (node.starts_with('_') && node.bytes().all(valid)).then_some(node)
}

/// Every element of every line, none where there is no line; `None`: they cannot be read.
fn parse(headers: &HeaderMap) -> Option<Vec<Element>> {
    let mut elements = Vec::new();
    for line in headers.get_all(FORWARDED) {
        let mut rest = line.to_str().ok()?;
        loop {
            elements.push(parse_element(&mut rest)?);
            match rest.strip_prefix(',') {
                Some(next) => rest = next,
                None => break,
            }
        }
        if !rest.is_empty() {
            return None;
        }
    }
    Some(elements)
}

/// The element at the beginning. An empty one is none, though lists may have it: whoever skips what
/// a proxy could not fill in believes what its client wrote before.
fn parse_element(rest: &mut &str) -> Option<Element> {
    let mut element = Element::default();
    let mut names: Vec<String> = Vec::new();
    loop {
        let name = take_token(rest)?.to_ascii_lowercase();
        *rest = rest.strip_prefix('=')?;
        let value = take_value(rest)?;
        if names.contains(&name) {
            return None;
        }
        match name.as_str() {
            "for" => element.node = Some(entry(&value)),
            "host" => element.host = Some(value),
            "proto" => element.proto = Some(value),
            _ => {}
        }
        names.push(name);
        *rest = rest.trim_start_matches([' ', '\t']);
        match rest.strip_prefix(';') {
            Some(next) => *rest = next,
            None => return Some(element),
        }
    }
}

fn take_token<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let text = rest.trim_start_matches([' ', '\t']);
    let end = text.bytes().position(|byte| !is_tchar(byte));
    let (token, behind) = text.split_at(end.unwrap_or(text.len()));
    *rest = behind;
    (!token.is_empty()).then_some(token)
}

/// A token, or what a quoted string means.
fn take_value(rest: &mut &str) -> Option<String> {
    let Some(quoted) = rest.strip_prefix('"') else {
        let starts = rest.bytes().next().is_some_and(is_tchar);
        return starts.then(|| take_token(rest).map(str::to_owned))?;
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '"' => break,
            '\\' => value.push(chars.next()?),
            c => value.push(c),
        }
    }
    *rest = chars.as_str();
    Some(value)
}

/// A node as an entry of `X-Forwarded-For`: an address, with a port that is a number, or a word for
/// one that is not told.
fn entry(node: &str) -> String {
    let node = match node.rsplit_once(":_") {
        Some((node, _)) => node,
        None => node,
    };
    let told = address(node.as_bytes()).map(|_| node);
    told.or_else(|| hidden(node)).unwrap_or(UNKNOWN).to_owned()
}

#[cfg(test)]
mod tests;
