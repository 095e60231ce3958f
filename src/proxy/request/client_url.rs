//! The URL of a request as its client sees it, which a proof of possession is made for (RFC 9449
//! section 4.3).

use std::fmt;

use http::{HeaderMap, HeaderName};

use super::authority::split_port;
use super::client_address::{X_FORWARDED_HOST, X_FORWARDED_PROTO, is_tls};
use super::context::Context;
use crate::auth::TargetUrl;
use crate::gateway;

/// The URL of one request, made up only when somebody asks.
#[derive(Clone, Copy)]
pub(crate) struct ClientUrl<'a> {
    pub(crate) ctx: &'a Context,
    /// Those that the client sent, or a trusted proxy.
    pub(crate) headers: &'a HeaderMap,
}

/// The same for who may outlast the request.
pub(super) struct DetachedUrl {
    https: bool,
    authority: Vec<u8>,
    path: String,
}

/// What a URL is compared by.
struct Parts<'a> {
    https: bool,
    /// Host and port as the client named them.
    authority: &'a [u8],
    path: &'a str,
}

impl ClientUrl<'_> {
    pub(super) fn detach(&self) -> DetachedUrl {
        let Parts {
            https,
            authority,
            path,
        } = self.parts();
        DetachedUrl {
            https,
            authority: authority.to_vec(),
            path: path.to_owned(),
        }
    }

    fn parts(&self) -> Parts<'_> {
        let ctx = self.ctx;
        let named = || ctx.head.as_ref().map_or(&b""[..], |head| &head.authority);
        Parts {
            https: match self.of_proxy(&X_FORWARDED_PROTO) {
                Some(proto) => is_tls(proto),
                None => ctx.connection.tls,
            },
            authority: self.of_proxy(&X_FORWARDED_HOST).unwrap_or_else(named),
            path: ctx.path.as_deref().unwrap_or_default(),
        }
    }

    /// What a trusted proxy says; nothing that could be meant if it says it twice.
    fn of_proxy(&self, name: &HeaderName) -> Option<&[u8]> {
        if !self.ctx.connection.peer_is_trusted {
            return None;
        }
        let mut values = self.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (None, _) => None,
            (Some(value), None) => Some(value.as_bytes()),
            (Some(_), Some(_)) => Some(b""),
        }
    }
}

impl DetachedUrl {
    fn parts(&self) -> Parts<'_> {
        Parts {
            https: self.https,
            authority: &self.authority,
            path: &self.path,
        }
    }
}

impl TargetUrl for ClientUrl<'_> {
    fn is_named_by(&self, url: &str) -> bool {
        self.parts().are_named_by(url)
    }
}

impl TargetUrl for DetachedUrl {
    fn is_named_by(&self, url: &str) -> bool {
        self.parts().are_named_by(url)
    }
}

impl fmt::Debug for ClientUrl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts().fmt(f)
    }
}

impl fmt::Debug for DetachedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts().fmt(f)
    }
}

impl Parts<'_> {
    /// After normalization (RFC 3986 section 6.2), the path's as everywhere here.
    fn are_named_by(&self, url: &str) -> bool {
        let Some((scheme, rest)) = url.split_once("://") else {
            return false;
        };
        if !scheme.eq_ignore_ascii_case(self.scheme()) {
            return false;
        }
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let path = if path.is_empty() { "/" } else { path };
        is_same_authority(authority.as_bytes(), self.authority, self.https)
            && gateway::canonical(path).is_ok_and(|path| is_same_path(&path, self.path))
    }

    fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }

    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = String::from_utf8_lossy(self.authority);
        write!(f, "{}://{authority}{}", self.scheme(), self.path)
    }
}

/// Canonical paths, which differ at most in how an escaped slash is spelt: its digits are
/// case-insensitive (RFC 3986 section 6.2.2.1), and forwarded as they came.
fn is_same_path(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let is_slash_digit = |at: usize| one[..at].ends_with(b"%2") && matches!(one[at], b'f' | b'F');
    let is_same = |(at, (a, b)): (usize, (&u8, &u8))| {
        a == b || a.eq_ignore_ascii_case(b) && is_slash_digit(at)
    };
    one.len() == other.len() && one.iter().zip(other).enumerate().all(is_same)
}

/// Without regard to case; the port of the scheme may be left out.
fn is_same_authority(one: &[u8], other: &[u8], https: bool) -> bool {
    let standard: &[u8] = if https { b"443" } else { b"80" };
    let split = |authority| {
        let (host, port) = split_port(authority);
        (
            host,
            port.filter(|port| !port.is_empty()).unwrap_or(standard),
        )
    };
    let ((host, port), (other_host, other_port)) = (split(one), split(other));
    !host.is_empty() && host.eq_ignore_ascii_case(other_host) && port == other_port
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use bytes::Bytes;
    use http::HeaderValue;

    use super::*;
    use crate::proxy::request::head::Head;

    fn context(authority: &'static str, path: &str, tls: bool, trusted: bool) -> Context {
        let mut ctx = Context::new(&Arc::new(AtomicUsize::new(0)));
        ctx.head = Some(Head {
            authority: Bytes::from_static(authority.as_bytes()),
            path: Bytes::copy_from_slice(path.as_bytes()),
            query: None,
        });
        ctx.path = Some(path.to_owned());
        ctx.connection.tls = tls;
        ctx.connection.peer_is_trusted = trusted;
        ctx
    }

    #[test]
    fn every_spelling_of_the_same_url_names_it() {
        for (https, authority, path, url, expected) in [
            (true, "a.example", "/x", "https://a.example/x", true),
            (
                true,
                "a.example",
                "/x",
                "HTTPS://A.Example:443/%78?b=1#c",
                true,
            ),
            (
                true,
                "a.example:443",
                "/x",
                "https://a.example/./y/../x",
                true,
            ),
            (true, "a.example", "/x", "https://a.example:/x", true),
            (true, "a.example", "/x", "https://a.example//x", true),
            (true, "a.example", "/", "https://a.example", true),
            (true, "a.example", "/", "https://a.example?x", true),
            (
                true,
                "a.example",
                "/%C3%A9",
                "https://a.example/%c3%a9",
                true,
            ),
            (true, "a.example", "/a%2fb", "https://a.example/a%2Fb", true),
            (true, "a.example", "/a%2Fb", "https://a.example/a%2fb", true),
            (true, "a.example", "/a%2fb", "https://a.example/a/b", false),
            (
                true,
                "a.example",
                "/a%2fb",
                "https://a.example/A%2fb",
                false,
            ),
            (true, "a.example", "/2f", "https://a.example/2F", false),
            (true, "[::1]:8443", "/x", "https://[::1]:8443/x", true),
            (false, "a.example:80", "/x", "http://a.example/x", true),
            (
                false,
                "a.example:8080",
                "/x",
                "http://a.example:8080/x",
                true,
            ),
            (true, "a.example", "/x", "http://a.example/x", false),
            (false, "a.example", "/x", "https://a.example/x", false),
            (true, "a.example", "/x", "https://b.example/x", false),
            (
                true,
                "a.example",
                "/x",
                "https://a.example.b.example/x",
                false,
            ),
            (true, "a.example", "/x", "https://a.example:80/x", false),
            (true, "a.example:8443", "/x", "https://a.example/x", false),
            (true, "a.example", "/x", "https://u@a.example/x", false),
            (true, "a.example", "/x", "https://a.example@b/x", false),
            (true, "a.example", "/x", "https://a.example/X", false),
            (true, "a.example", "/x", "https://a.example/x/", false),
            (true, "a.example", "/x", "https://a.example/x/y", false),
            (true, "a.example", "/x", "https://a.example/", false),
            (true, "a.example", "/x", "https://a.example\\x", false),
            (true, "a.example", "/x", "https:/a.example/x", false),
            (true, "a.example", "/x", "//a.example/x", false),
            (true, "a.example", "/x", "/x", false),
            (true, "a.example", "/x", "", false),
            (true, "a.example", "/x", " https://a.example/x", false),
            (true, "a.example", "/x", "https://a.example/x ", false),
            (true, "a.example", "/x", "https://a.example/%2578", false),
            (true, "a%2Fb", "/c", "https://a/b/c", false),
            (true, "", "/x", "https:///x", false),
        ] {
            let ctx = context(authority, path, https, false);
            let headers = HeaderMap::new();
            let target = ClientUrl {
                ctx: &ctx,
                headers: &headers,
            };
            assert_eq!(target.is_named_by(url), expected, "{target:?} {url}");
        }
    }

    #[test]
    fn a_trusted_proxy_says_what_its_client_asked_for() {
        let headers = |fields: &[(HeaderName, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(name.clone(), HeaderValue::from_static(value));
            }
            headers
        };
        let url = "https://public.example/x";
        let (proto, host) = (X_FORWARDED_PROTO, X_FORWARDED_HOST);
        let said = [(proto.clone(), "https"), (host.clone(), "public.example")];
        for (fields, trusted, expected) in [
            (&said[..], true, true),
            (&[(proto.clone(), "wss"), said[1].clone()], true, true),
            (&[(proto.clone(), "ws"), said[1].clone()], true, false),
            (&said, false, false),
            (&said[..1], true, false),
            (&said[1..], true, false),
            (
                &[(proto.clone(), "http"), (host.clone(), "public.example")],
                true,
                false,
            ),
            (
                &[
                    (proto.clone(), "https"),
                    (host.clone(), "public.example"),
                    (host.clone(), "public.example"),
                ],
                true,
                false,
            ),
            (
                &[
                    (proto.clone(), "https"),
                    (host.clone(), "public.example, b"),
                ],
                true,
                false,
            ),
        ] {
            let ctx = context("inner:8080", "/x", false, trusted);
            let headers = headers(fields);
            let target = ClientUrl {
                ctx: &ctx,
                headers: &headers,
            };
            assert_eq!(target.is_named_by(url), expected, "{target:?} {trusted}");
        }
        let ctx = context("public.example", "/x", false, true);
        let headers = headers(&said[..1]);
        assert!(
            ClientUrl {
                ctx: &ctx,
                headers: &headers
            }
            .is_named_by(url)
        );
    }
}
