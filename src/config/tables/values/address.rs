//! Host names, http URLs and address ranges.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Uri;
use ipnet::IpNet;

use super::path;
use crate::config::reader::Entry;

/// Where an http or https URL points.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HttpUrl {
    /// https rather than http.
    pub(crate) tls: bool,
    /// A name in lower case, or an IP literal without brackets.
    pub(crate) host: String,
    /// The port, if it is written.
    pub(crate) port: Option<u16>,
    /// The path, as written; `/` if it is empty.
    pub(crate) path: String,
    pub(crate) query: bool,
}

impl HttpUrl {
    /// Takes a URL apart.
    ///
    /// # Errors
    ///
    /// Why it is refused, as a sentence about the URL that does not show it.
    pub(crate) fn parse(url: &str) -> Result<Self, &'static str> {
        if url.contains('#') {
            return Err("must not have a fragment");
        }
        let uri: Uri = url.parse().map_err(|_| "is not a URL")?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("must begin with \"https://\" or \"http://\""),
        };
        let authority = uri.authority().ok_or("must name a host")?;
        if authority.as_str().contains('@') {
            return Err("must not hold a user name or a password");
        }
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") => None,
            Some(port) => Some(
                port.strip_prefix(':')
                    .and_then(|port| port.parse().ok())
                    .filter(|port| *port != 0)
                    .ok_or("must have a port from 1 to 65535")?,
            ),
            None => return Err("must name a host"),
        };
        let host = host(authority.host()).ok_or("must name a valid host")?;
        Ok(Self {
            tls,
            host,
            port,
            path: uri.path().to_owned(),
            query: uri.query().is_some(),
        })
    }

    /// Whether it points at this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

/// A host name in lower case, or an IP literal without brackets; `None` if it is neither.
pub(crate) fn host(text: &str) -> Option<String> {
    if let Some(literal) = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        return literal
            .parse::<Ipv6Addr>()
            .ok()
            .map(|address| address.to_string());
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_string());
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let labels = || name.split('.');
    let valid = |label: &str| {
        let inner = label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        inner && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    let numeric = labels().next_back().is_some_and(|label| {
        label.starts_with(|c: char| c.is_ascii_digit()) && label.parse::<f64>().is_ok()
            || label.starts_with("0x")
            || label.starts_with("0X")
    });
    (name.len() <= 253 && labels().all(valid) && !numeric).then(|| name.to_ascii_lowercase())
}

/// Whether a host, as [`host`] gives it, is a name.
fn is_name(host: &str) -> bool {
    host.parse::<IpAddr>().is_err()
}

/// Whether a host, as [`host`] gives it, is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// An address to listen on: an IP literal, with or without brackets, or `localhost`.
pub(crate) fn bind_address(text: &str) -> Option<IpAddr> {
    match text {
        "localhost" => Some(Ipv4Addr::LOCALHOST.into()),
        _ => host(text)?.parse().ok(),
    }
}

/// An array of address ranges (`10.0.0.0/8`) and addresses.
pub(crate) fn ranges(entry: &Entry<'_>) -> Vec<IpNet> {
    let range = |text: &str| {
        text.parse::<IpNet>()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
            .ok()
    };
    let mut ranges = Vec::new();
    for (text, item) in entry.texts() {
        match range(&text) {
            Some(range) => ranges.push(range),
            None => item.error_help(
                format!("{} is not an address range", text.shown()),
                "write it like \"10.0.0.0/8\" or \"fd00::/8\"",
            ),
        }
    }
    ranges
}

/// An array of host names without ports. `wildcards`: `*.NAME` is one, too.
pub(crate) fn hosts(entry: &Entry<'_>, wildcards: bool) -> Vec<String> {
    let read = |text: &str| match text.strip_prefix("*.").filter(|_| wildcards) {
        Some(name) => Some(format!("*.{}", host(name).filter(|it| is_name(it))?)),
        None => host(text),
    };
    let mut hosts = Vec::new();
    for (text, item) in entry.texts() {
        match read(&text) {
            Some(host) if hosts.contains(&host) => {
                item.error(format!("{} is named twice", text.shown()))
            }
            Some(host) => hosts.push(host),
            None => item.error_help(
                format!("{} is not a host name", text.shown()),
                match wildcards {
                    true => "write it without scheme, port and path; `*.` may stand before a name",
                    false => "write it without scheme, port, path and wildcard",
                },
            ),
        }
    }
    hosts
}

/// A path prefix, or `/`.
pub(crate) fn path_prefix(entry: Option<&Entry<'_>>) -> Option<String> {
    let Some(entry) = entry else {
        return Some("/".to_owned());
    };
    let text = entry.text()?;
    match path::canonical(&text) {
        Ok(prefix) => Some(prefix),
        Err(why) => {
            entry.error_help(why.into_owned(), format!("it is {}", text.shown()));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let parsed = |url| HttpUrl::parse(url).map(|u| (u.tls, u.host, u.port, u.path));
        assert_eq!(
            parsed("https://API.example.com"),
            Ok((true, "api.example.com".into(), None, "/".into()))
        );
        assert_eq!(
            parsed("http://[::1]:3000/a/b/"),
            Ok((false, "::1".into(), Some(3000), "/a/b/".into()))
        );
        for url in [
            "",
            "example.com",
            "ftp://x/",
            "/x",
            "http://",
            "http://u:p@h/",
            "http://h:0/",
            "http://h:99999/",
            "http://h:/",
            "http://h/#x",
            "http://h x/",
            "http://-h/",
            "http://1.2.3/",
            "http://0x7f000001/",
        ] {
            assert!(HttpUrl::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn loopback() {
        for host in ["localhost", "127.0.0.1", "127.9.9.9", "::1"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "10.0.0.1",
            "example.com",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn where_to_listen() {
        for text in ["0.0.0.0", "127.0.0.1", "::", "[::1]", "localhost"] {
            assert!(bind_address(text).is_some(), "{text}");
        }
        for text in ["", "*", "example.com", "1.2.3", "127.0.0.1:80"] {
            assert!(bind_address(text).is_none(), "{text}");
        }
    }
}
