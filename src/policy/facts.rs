//! What is known of a request before it goes anywhere.

use std::borrow::Cow;
use std::net::IpAddr;

use http::{HeaderMap, Method};
use percent_encoding::percent_decode;

use crate::auth::{Identity, PresentedCertificate};
use crate::config::{Effect, PathPattern};

/// Everything that a rule may look at.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// That of the request, for the log.
    pub request_id: &'a str,
    /// As the client sent it; methods are case-sensitive (RFC 9110 section 9.1).
    pub method: &'a Method,
    /// The canonical path.
    pub path: &'a str,
    /// What else servers behind us may take the path for.
    pub other_paths: &'a [String],
    /// Whether those servers tell upper case from lower case in it: `case_sensitive_paths`.
    pub case_sensitive_paths: bool,
    /// The endpoint's prefix: `/`, or without a slash at its end.
    pub prefix: &'a str,
    /// The query as it came, without its `?`.
    pub query: Option<&'a [u8]>,
    /// The header fields, as the client sent them, without those that no client may set.
    pub headers: &'a HeaderMap,
    /// Whether a name among them is one that some servers take for another one; false saves the
    /// search for it.
    pub ambiguous_names: bool,
    /// The client's address, behind trusted proxies; `None` when it is not known.
    pub client: Option<IpAddr>,
    /// Whether the peer is a trusted proxy, so that its word on the client counts.
    pub peer_is_trusted: bool,
    /// The host that it names, without port.
    pub host: Option<&'a str>,
    /// The certificate that the client showed when it connected, if it did.
    pub certificate: Option<PresentedCertificate<'a>>,
    /// Who the request is from, as far as it has got; `None`: nobody by name.
    pub identity: Option<&'a Identity>,
}

impl<'a> Facts<'a> {
    /// The same for each other way to read the path, which comes first: what is decided has to hold
    /// for all of them.
    pub(super) fn other_readings(&self) -> impl Iterator<Item = (&'a str, Self)> + use<'a> {
        let facts = *self;
        let others = facts.other_paths.iter();
        others.map(move |path| (&**path, Self { path, ..facts }))
    }

    /// What of the path follows the endpoint's prefix; begins with a slash.
    pub(super) fn subpath(&self) -> &'a str {
        let prefix = self.prefix.strip_suffix('/').unwrap_or(self.prefix);
        match self.path.strip_prefix(prefix) {
            Some("") => "/",
            Some(rest) if rest.starts_with('/') => rest,
            _ => self.path,
        }
    }

    /// Whether a path meets a pattern: to allow, by matching it; to deny, by what servers behind us
    /// may take for a match, too.
    pub(super) fn meets(&self, path: &str, pattern: &PathPattern, effect: Effect) -> bool {
        match effect {
            Effect::Allow => pattern.is_match(path),
            Effect::Deny => pattern.covers(path, self.case_sensitive_paths),
        }
    }

    /// The parameters of the query, decoded as a form would be: `+` is a space.
    pub(super) fn parameters(
        &self,
    ) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> + use<'a> {
        let pairs = self.query.unwrap_or_default().split(|&byte| byte == b'&');
        pairs.filter(|pair| !pair.is_empty()).map(|pair| {
            let mut parts = pair.splitn(2, |&byte| byte == b'=');
            let mut next = || decoded(parts.next().unwrap_or_default());
            (next(), next())
        })
    }
}

fn decoded(part: &[u8]) -> Cow<'_, str> {
    if !part.contains(&b'+') {
        return percent_decode(part).decode_utf8_lossy();
    }
    let spaced: Vec<u8> = part
        .iter()
        .map(|&byte| if byte == b'+' { b' ' } else { byte })
        .collect();
    percent_decode(&spaced)
        .decode_utf8_lossy()
        .into_owned()
        .into()
}
