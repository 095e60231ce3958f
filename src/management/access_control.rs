//! Who may call the Management API: checks that come before any route looks at the request.
//!
//! A browser on the operator's machine can reach loopback, so being on loopback is not enough: a
//! foreign `Host` (DNS rebinding) and a foreign page (`Origin`, `Sec-Fetch-Site`) are turned away.

use std::net::IpAddr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::{HeaderMap, StatusCode, header};
use ipnet::IpNet;
use ring::digest::{SHA256, digest};

use crate::gateway::single_bearer;

/// What decides who may call.
#[derive(Debug, Clone, Default)]
pub struct AccessControl {
    /// Host names besides IP literals and `localhost`, in lower case.
    pub hosts: Vec<String>,
    /// Peers besides loopback.
    pub allow_from: Vec<IpNet>,
    /// SHA-256 of the management token; `None`: none is asked for.
    pub token_hash: Option<[u8; 32]>,
    /// Whether nobody gets as far as a request without a certificate that was verified.
    pub client_certificate: bool,
}

/// Why a call is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// Another `Host` than one of ours: a name that was rebound.
    #[error("the Host is neither an IP address, localhost, nor in management.hosts")]
    Host,
    /// From a page of another site.
    #[error("calls from web pages are not accepted")]
    Page,
    /// From an address that nothing allows.
    #[error("the address is not in management.allow_from")]
    Address,
    /// Without the management token, or with another one.
    #[error("X-Management-Token is missing or wrong")]
    Credential,
}

impl Refusal {
    /// All of them.
    pub(super) const ALL: [Self; 4] = [Self::Host, Self::Page, Self::Address, Self::Credential];

    /// A stable label for metrics.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Page => "origin",
            Self::Address => "address",
            Self::Credential => "credential",
        }
    }

    /// The status code of the answer.
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Credential => StatusCode::UNAUTHORIZED,
            Self::Host | Self::Page | Self::Address => StatusCode::FORBIDDEN,
        }
    }
}

impl AccessControl {
    /// Lets a call on, or says why not. `peer` is `None` on a Unix socket, whose file permissions
    /// have decided. `scraped`: for a scraper, whose token may come as `Authorization: Bearer`, the
    /// only way that many of them have; elsewhere that field holds a user's token.
    pub(super) fn check(
        &self,
        headers: &HeaderMap,
        authority: Option<&str>,
        peer: Option<IpAddr>,
        scraped: bool,
    ) -> Result<(), Refusal> {
        self.check_origin(headers, authority, peer)?;
        match self.token_hash {
            Some(hash) if !has_token(headers, &hash, scraped) => Err(Refusal::Credential),
            _ => Ok(()),
        }
    }

    /// The same without the token: for what holds no state.
    pub(super) fn check_origin(
        &self,
        headers: &HeaderMap,
        authority: Option<&str>,
        peer: Option<IpAddr>,
    ) -> Result<(), Refusal> {
        let host = headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok())
            .or(authority);
        if !host.is_some_and(|host| self.is_our_host(host)) {
            return Err(Refusal::Host);
        }
        let cross_site = headers
            .get("sec-fetch-site")
            .is_some_and(|site| site == "cross-site");
        if headers.contains_key(header::ORIGIN) || cross_site {
            return Err(Refusal::Page);
        }
        let near = peer.is_none_or(|peer| {
            let peer = peer.to_canonical();
            peer.is_loopback() || self.allow_from.iter().any(|net| net.contains(&peer))
        });
        if self.token_hash.is_none() && !near && !self.client_certificate {
            return Err(Refusal::Address);
        }
        Ok(())
    }

    fn is_our_host(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let name = name.to_ascii_lowercase();
        let literal = name.trim_start_matches('[').trim_end_matches(']');
        name == "localhost" || literal.parse::<IpAddr>().is_ok() || self.hosts.contains(&name)
    }
}

fn has_token(headers: &HeaderMap, hash: &[u8; 32], scraped: bool) -> bool {
    let token = match headers.get("x-management-token") {
        Some(token) => Some(token.as_bytes()),
        None if scraped => single_bearer(headers).ok().flatten(),
        None => None,
    };
    token
        .is_some_and(|token| verify_slices_are_equal(digest(&SHA256, token).as_ref(), hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn check(access: &AccessControl, fields: &[(&'static str, &str)], peer: &str) -> u16 {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        match access.check(&headers, None, peer.parse().ok(), false) {
            Ok(()) => 200,
            Err(refusal) => refusal.status().as_u16(),
        }
    }

    #[test]
    fn pages_and_rebound_names_are_turned_away() {
        let access = AccessControl {
            hosts: vec!["edge.internal".to_owned()],
            ..AccessControl::default()
        };
        for (fields, expected) in [
            (&[("host", "127.0.0.1:9090")][..], 200),
            (&[("host", "[::1]:9090")], 200),
            (&[("host", "LocalHost:9090")], 200),
            (&[("host", "edge.internal:9090")], 200),
            (&[("host", "evil.example")], 403),
            (&[("host", "127.0.0.1.evil.example")], 403),
            (&[], 403),
            (
                &[("host", "localhost"), ("origin", "http://localhost")],
                403,
            ),
            (
                &[("host", "localhost"), ("sec-fetch-site", "cross-site")],
                403,
            ),
            (&[("host", "localhost"), ("sec-fetch-site", "none")], 200),
            (
                &[("host", "localhost"), ("sec-fetch-site", "same-origin")],
                200,
            ),
        ] {
            assert_eq!(check(&access, fields, "127.0.0.1"), expected, "{fields:?}");
        }
    }

    #[test]
    fn from_elsewhere_by_address_or_by_token() {
        let host = ("host", "10.0.0.1:9090");
        let open = AccessControl::default();
        assert_eq!(check(&open, &[host], "10.0.0.9"), 403);
        let listed = AccessControl {
            allow_from: vec!["10.0.0.0/24".parse().unwrap()],
            ..AccessControl::default()
        };
        assert_eq!(check(&listed, &[host], "10.0.0.9"), 200);
        assert_eq!(check(&listed, &[host], "::ffff:10.0.0.9"), 200);
        assert_eq!(check(&listed, &[host], "10.0.1.9"), 403);
        let hash: [u8; 32] = digest(&SHA256, b"token").as_ref().try_into().unwrap();
        let with_token = AccessControl {
            token_hash: Some(hash),
            ..AccessControl::default()
        };
        assert_eq!(
            check(
                &with_token,
                &[host, ("x-management-token", "token")],
                "10.0.0.9"
            ),
            200
        );
        assert_eq!(
            check(
                &with_token,
                &[host, ("x-management-token", "tokem")],
                "127.0.0.1"
            ),
            401
        );
        assert_eq!(check(&with_token, &[host], "127.0.0.1"), 401);
        let page = |access: &AccessControl, host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("host", HeaderValue::from_str(host).unwrap());
            let peer = "10.0.0.9".parse().ok();
            access.check_origin(&headers, None, peer).is_ok()
        };
        assert!(
            page(&with_token, host.1),
            "the page that asks for it needs no token"
        );
        assert!(!page(&with_token, "evil.example") && !page(&open, host.1));
    }

    #[test]
    fn a_scraper_may_send_the_token_as_bearer() {
        let hash: [u8; 32] = digest(&SHA256, b"token").as_ref().try_into().unwrap();
        let access = AccessControl {
            token_hash: Some(hash),
            ..AccessControl::default()
        };
        let check = |fields: &[(&'static str, &'static str)], scraped| {
            let mut headers = HeaderMap::new();
            headers.insert("host", HeaderValue::from_static("localhost"));
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            access.check(&headers, None, None, scraped).is_ok()
        };
        let right = [("authorization", "Bearer token")];
        assert!(check(&right, true));
        assert!(!check(&right, false), "elsewhere it is a user's token");
        assert!(check(&[("authorization", "bearer  token")], true));
        for wrong in [
            &[("authorization", "Bearer tokem")][..],
            &[("authorization", "Bearer")],
            &[("authorization", "Bearer ")],
            &[("authorization", "Basic token")],
            &[("authorization", "token")],
            &[right[0], right[0]],
            &[right[0], ("x-management-token", "tokem")],
        ] {
            assert!(!check(wrong, true), "{wrong:?}");
        }
    }
}
