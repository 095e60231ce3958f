//! Where a token may go: the scheme, host and port of an address, compared exactly.
//!
//! Read by hand and strictly, not by a URL parser: a parser repairs what it reads (`https:\\host`,
//! upper case, `%2e`, an IDN), and what is compared must be what is written.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::error::RunbeamError;

/// The host of the published client's own default, `http://app.runbeam.io/api`. Users have it in
/// their settings, and the issuer of their tokens begins with it: it counts as its https origin
/// where names are compared. Nothing is ever sent there in clear text.
pub const PUBLISHED_DEFAULT_HOST: &str = "app.runbeam.io";

/// A scheme, a host and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    tls: bool,
    /// In lower case; an IPv6 address stands in brackets.
    host: String,
    port: u16,
}

impl Origin {
    /// Takes the origin of an address that somebody else wrote. `None`: it is not of the exact
    /// form, in which nothing can be misread.
    pub(super) fn exact(address: &str) -> Option<Self> {
        let (tls, rest) = match address.split_once("://")? {
            ("https", rest) => (true, rest),
            ("http", rest) => (false, rest),
            _ => return None,
        };
        let authority = rest.split(['/', '?', '#']).next()?;
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (literal, port) = rest.split_once(']')?;
                let address: Ipv6Addr = literal.parse().ok()?;
                (address.to_string() == literal).then_some(())?;
                (&authority[..literal.len() + 2], port)
            }
            None => {
                let end = authority.find(':').unwrap_or(authority.len());
                let (host, port) = authority.split_at(end);
                is_host(host).then_some((host, port))?
            }
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => default_port(tls),
            None => return None,
            Some(digits) => {
                let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
                (plain && !digits.starts_with('0')).then_some(())?;
                digits.parse().ok()?
            }
        };
        Some(Self {
            tls,
            host: host.to_owned(),
            port,
        })
    }

    /// The origin that an issuer means: its own, but for that of the published client's default.
    pub(super) fn of_issuer(issuer: &str) -> Option<Self> {
        let origin = Self::exact(issuer)?;
        if origin.host == PUBLISHED_DEFAULT_HOST
            && !origin.tls
            && origin.port == default_port(false)
        {
            return Some(Self {
                tls: true,
                port: default_port(true),
                ..origin
            });
        }
        Some(origin)
    }

    /// Takes the origin of an address that the operator or the program named, in which case does
    /// not matter.
    ///
    /// # Errors
    ///
    /// If it is not usable, or tokens would travel in the clear: http is for this machine only.
    pub(super) fn named(address: &str) -> Result<Self, RunbeamError> {
        let refuse = |problem| RunbeamError::Address {
            address: shown(address),
            problem,
        };
        let end = address
            .find("://")
            .and_then(|scheme| {
                address[scheme + 3..]
                    .find(['/', '?', '#'])
                    .map(|end| scheme + 3 + end)
            })
            .unwrap_or(address.len());
        let (origin, rest) = address.split_at(end);
        if origin.contains('@') {
            return Err(refuse("must not hold a user name or a password"));
        }
        let origin = Self::exact(&origin.to_ascii_lowercase()).ok_or_else(|| {
            refuse("must be an address that begins with https:// and names a host")
        })?;
        if !is_plain(rest) {
            return Err(refuse(
                "must have neither a query nor a fragment, nor characters that a path has not",
            ));
        }
        if !origin.tls && !origin.is_loopback() {
            return Err(refuse(
                "must begin with https://, since tokens travel on it; http:// is for this machine \
                 only",
            ));
        }
        Ok(origin)
    }

    /// Whether it is spoken to over TLS.
    pub(super) fn is_tls(&self) -> bool {
        self.tls
    }

    /// Whether it is this machine.
    pub(super) fn is_loopback(&self) -> bool {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost"
            || host
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    }
}

/// As the beginning of a URL: without a port that goes without saying.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port != default_port(self.tls) {
            write!(f, ":{}", self.port)?;
        }
        Ok(())
    }
}

/// Whether an address has no query, no fragment, and no character that a parser would repair.
pub(super) fn is_plain(address: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"?#\\".contains(&byte);
    address.bytes().all(plain)
}

/// An address as a log may show it: without user name, password and query, and not too long.
pub(super) fn shown(address: &str) -> String {
    let rest = address.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = rest.split_once("://").unwrap_or(("", rest));
    // Wherever it stands: in a malformed address, it need not be in front of the first slash.
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let separator = if scheme.is_empty() { "" } else { "://" };
    printable(&format!("{scheme}{separator}{rest}"), 100)
}

/// A text from elsewhere as a log may show it: at most so many characters, none of them a control
/// character.
pub(super) fn printable(text: &str, most: usize) -> String {
    text.chars()
        .filter(|c| !c.is_control() && !is_invisible(*c))
        .take(most)
        .collect()
}

/// What changes the direction or the look of the text around it.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
    )
}

fn default_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

/// A name of lower-case labels, or an IPv4 address in its usual form; no dot at the end, and
/// nothing that a resolver might take for a number.
fn is_host(host: &str) -> bool {
    if host.parse::<std::net::Ipv4Addr>().is_ok() {
        return true;
    }
    let label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let number = host
        .rsplit('.')
        .next()
        .is_some_and(|last| last.starts_with(|c: char| c.is_ascii_digit()));
    host.len() <= 253 && host.split('.').all(label) && !number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_origins() {
        let good = [
            ("https://api.runbeam.cloud", "https://api.runbeam.cloud"),
            (
                "https://api.runbeam.cloud:443/x",
                "https://api.runbeam.cloud",
            ),
            (
                "https://api.runbeam.cloud/api/cli/check-login/x?y=@z#:1",
                "https://api.runbeam.cloud",
            ),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://[::1]:8080/", "http://[::1]:8080"),
            (
                "https://xn--bcher-kva.example",
                "https://xn--bcher-kva.example",
            ),
        ];
        for (address, origin) in good {
            let found = Origin::exact(address).map(|origin| origin.to_string());
            assert_eq!(found.as_deref(), Some(origin), "{address}");
        }
        let bad = [
            "",
            "api.runbeam.cloud",
            "//api.runbeam.cloud",
            "HTTPS://api.runbeam.cloud",
            "https://API.runbeam.cloud",
            "https://api.runbeam.cloud.",
            "https://api.runbeam.cloud@evil.example",
            "https://api.runbeam.cloud:443@evil.example",
            "https://api.runbeam.cloud\\@evil.example",
            "https:\\\\api.runbeam.cloud",
            "https:/api.runbeam.cloud",
            "https:///api.runbeam.cloud",
            " https://api.runbeam.cloud",
            "https://api.runbeam.cloud ",
            "https://api.run\tbeam.cloud",
            "https://api%2erunbeam.cloud",
            "https://api.runbeam.cloud:",
            "https://api.runbeam.cloud:0",
            "https://api.runbeam.cloud:0443",
            "https://api.runbeam.cloud:+443",
            "https://api.runbeam.cloud:65979",
            "https://api..cloud",
            "https://bücher.example",
            "https://api。runbeam.cloud",
            "https://аpi.runbeam.cloud",
            "file:///etc/passwd",
            "file://api.runbeam.cloud/x",
            "ftp://api.runbeam.cloud",
            "javascript://api.runbeam.cloud",
            "https://0x7f000001",
            "https://2130706433",
            "https://127.1",
            "https://[::1",
            "https://[0:0::1]",
            "https://[::1]x",
            "https://",
        ];
        for address in bad {
            assert_eq!(Origin::exact(address), None, "{address:?}");
        }
    }

    #[test]
    fn the_issuer_of_the_published_default_is_its_https_origin() {
        let of = |issuer: &str| Origin::of_issuer(issuer).map(|origin| origin.to_string());
        let https = Some("https://app.runbeam.io".to_owned());
        for issuer in [
            "http://app.runbeam.io/api/cli/check-login/x",
            "http://app.runbeam.io",
            "http://app.runbeam.io:80/",
            "https://app.runbeam.io/api",
        ] {
            assert_eq!(of(issuer), https, "{issuer}");
        }
        for issuer in [
            "http://app.runbeam.io:8080",
            "http://app.runbeam.io.evil.example",
            "http://app.runbeam.io@evil.example",
            "http://api.runbeam.cloud",
            "http://APP.runbeam.io",
            "",
        ] {
            assert_ne!(of(issuer), https, "{issuer}");
        }
        assert!(
            Origin::named("http://app.runbeam.io/api").is_err(),
            "never in clear text"
        );
    }

    #[test]
    fn addresses_that_are_named() {
        for address in [
            "https://API.Runbeam.Cloud/api/",
            "HTTPS://a.example:8443",
            "http://localhost:1/api",
            "http://127.0.0.1",
            "http://[::1]:3/",
        ] {
            assert!(Origin::named(address).is_ok(), "{address}");
        }
        for address in [
            "",
            "a.example",
            "http://a.example",
            "http://127.0.0.1.evil.example",
            "http://localhost.evil.example",
            "https://user:secret@a.example",
            "https://a.example/?q=secret",
            "https://a.example/#secret",
            "https://a.example/a b",
            "https://a.example\\b",
            "ftp://a.example",
        ] {
            let error = Origin::named(address).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn what_a_log_may_show() {
        assert_eq!(
            shown("https://u:secret@a.example/x?secret#secret"),
            "https://a.example/x"
        );
        assert_eq!(shown("u:secret@a.example"), "a.example");
        assert_eq!(
            shown("https:///u:secret@a.example/x"),
            "https://a.example/x"
        );
        assert_eq!(shown("https://u:se/cret@a.example"), "https://a.example");
        assert_eq!(
            printable("a\r\n\u{1b}[31m\u{202e}\u{200b}b\u{feff}c", 6),
            "a[31mb"
        );
    }
}
