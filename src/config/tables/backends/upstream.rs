//! The address of a backend or a target: `base_url`, or `connection.{host, port, protocol,
//! base_path}`; and the addresses of `upstreams`.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::model::{HttpVersion, UpstreamUrl, default_port};
use crate::config::reader::{Entry, Reader};
use crate::config::tables::unsupported;
use crate::config::tables::values::address::HttpUrl;
use crate::config::tables::values::{address, given, path};

/// Choosing the least busy looks at each of them.
const MOST_UPSTREAMS: usize = 64;
/// Bytes of a socket's path: what `sockaddr_un` has room for.
const MAX_SOCKET_PATH: usize = 107;
const SOCKET_HELP: &str =
    "write it like \"unix:/run/app.sock\", or \"unix:/run/app.sock:/base/path\"";

/// An address, as far as it is written.
#[derive(Clone, Default)]
pub(crate) struct Upstream {
    tls: Option<bool>,
    host: Option<String>,
    port: Option<u16>,
    /// The unix socket that is meant by its host.
    socket: Option<Arc<Path>>,
    path: Option<String>,
    /// Whether a reference was filled into the path.
    path_filled: bool,
    /// Whose certificates are trusted, if not the system's.
    pub(crate) ca: Option<PathBuf>,
}

impl Upstream {
    /// Whether it says nothing of where.
    pub(crate) fn is_empty(&self) -> bool {
        self.tls.is_none() && self.host.is_none() && self.port.is_none() && self.path.is_none()
    }

    /// This one, with what it does not say taken from `other`. One that names a host by URL takes
    /// nothing.
    pub(crate) fn over(self, other: Self) -> Self {
        if self.host.is_some() && self.tls.is_some() {
            return self;
        }
        Self {
            tls: self.tls.or(other.tls),
            socket: match &self.host {
                Some(_) => self.socket,
                None => other.socket,
            },
            host: self.host.or(other.host),
            port: self.port.or(other.port),
            path_filled: match &self.path {
                Some(_) => self.path_filled,
                None => other.path_filled,
            },
            path: self.path.or(other.path),
            ca: self.ca.or(other.ca),
        }
    }

    /// The whole address; reports a missing host.
    pub(crate) fn resolve(
        self,
        reader: &Reader<'_>,
        http_version: HttpVersion,
    ) -> Option<UpstreamUrl> {
        if self.socket.is_some() && (self.port.is_some() || self.tls == Some(true)) {
            reader.error(
                "its target names a unix socket, which has no port and is spoken to without TLS",
                "remove connection.port and the protocol, or write a base_url of its own",
            );
        }
        let url = self.whole(http_version);
        if url.is_none() {
            reader.missing(
                "base_url",
                "add base_url = \"http://HOST:PORT\", upstreams, or target_ref",
            );
        }
        url
    }

    /// The whole address, if it names a host.
    fn whole(self, http_version: HttpVersion) -> Option<UpstreamUrl> {
        let tls = self.tls.unwrap_or(false);
        Some(UpstreamUrl {
            tls,
            host: self.host?,
            port: self.port.unwrap_or(default_port(tls)),
            socket: self.socket,
            base_path: self.path.unwrap_or_else(|| "/".to_owned()),
            path_filled: self.path_filled,
            weight: 1,
            http_version,
        })
    }
}

/// Reads the address of a backend or a target; `None` after an error.
pub(crate) fn read(reader: &Reader<'_>) -> Option<Upstream> {
    let url = reader.any(&["base_url", "url"]);
    let connection = reader.get("connection");
    // a target of the public DSL has its protocol outside of the connection
    let outer = reader
        .any(&["protocol", "type"])
        .map(|entry| protocol(&entry));
    let inner = connection.as_ref().map(read_connection);
    let url = url.map(|entry| (from_url(&entry), entry));
    if let (Some((_, entry)), Some(connection)) = (&url, &connection) {
        entry.error_help(
            "is given beside `connection`",
            format!(
                "keep one of them: the other stands at {}",
                connection.span()
            ),
        );
    }
    let outer_ca = ca(reader);
    let outer = given(outer)?;
    if let Some((Some(address), entry)) = &url
        && address.socket.is_some()
        && outer == Some(true)
    {
        entry.error_help(
            "is a unix socket, which is spoken to without TLS, and the protocol is https",
            "remove the protocol",
        );
    }
    let address = match (url, inner) {
        (Some((url, _)), _) => url,
        (None, Some(connection)) => connection.map(|connection| Upstream {
            tls: connection.tls.or(outer),
            ..connection
        }),
        (None, None) => Some(Upstream {
            tls: outer,
            ..Upstream::default()
        }),
    };
    address.map(|address| Upstream {
        ca: address.ca.clone().or(outer_ca),
        ..address
    })
}

/// Reads `upstreams`: URLs, or tables of a URL, a weight, and the HTTP version if it is not the one
/// of the backend. `None` after an error.
pub(crate) fn read_many(entry: &Entry<'_>, http_version: HttpVersion) -> Option<Vec<UpstreamUrl>> {
    if entry.is_array() && !entry.is_not_empty() {
        return None;
    }
    let items = entry.items();
    if items.len() > MOST_UPSTREAMS {
        entry.error(format!("must not have more than {MOST_UPSTREAMS} of them"));
        return None;
    }
    let mut all: Vec<UpstreamUrl> = Vec::new();
    let mut whole = !items.is_empty();
    for item in items {
        let Some(url) = read_item(&item, http_version) else {
            whole = false;
            continue;
        };
        if all.iter().any(|other| other.origin() == url.origin()) {
            item.error_help(
                "names a host and a port that stand in the list already",
                "keep one of them; `weight` gives it a larger share",
            );
        }
        all.push(url);
    }
    whole.then_some(all)
}

fn read_item(item: &Entry<'_>, http_version: HttpVersion) -> Option<UpstreamUrl> {
    if !item.is_table() {
        return from_url(item)?.whole(http_version);
    }
    let reader = item.table()?;
    let url = reader.any(&["url", "base_url"]);
    if url.is_none() {
        reader.missing("url", "add url = \"http://HOST:PORT\"");
    }
    let weight = reader.number("weight", 1..=100, 1);
    let own_version = self::http_version(&reader);
    let address = url.and_then(|url| from_url(&url)?.whole(http_version));
    reader.finish();
    let own_version = own_version?;
    Some(UpstreamUrl {
        weight: u32::try_from(weight).unwrap_or(1),
        http_version: own_version.unwrap_or(http_version),
        ..address?
    })
}

/// `http_version`, if it is there. The outer `None` follows an error.
pub(crate) fn http_version(reader: &Reader<'_>) -> Option<Option<HttpVersion>> {
    let Some(entry) = reader.get("http_version") else {
        return Some(None);
    };
    match &*entry.text()? {
        "auto" => Some(Some(HttpVersion::Auto)),
        "1.1" => Some(Some(HttpVersion::Http1)),
        "2" => Some(Some(HttpVersion::Http2)),
        _ => {
            entry.error_help(
                "must be \"auto\", \"1.1\" or \"2\"",
                "it says what is spoken to the upstream: \"2\" is HTTP/2, without TLS by prior \
                 knowledge (h2c)",
            );
            None
        }
    }
}

fn read_connection(entry: &Entry<'_>) -> Option<Upstream> {
    let reader = entry.table()?;
    let ca = ca(&reader);
    let host = reader.get("host").map(|entry| read_host(&entry));
    let port = reader.get("port").map(|entry| {
        entry
            .integer(1..=65_535)
            .and_then(|port| u16::try_from(port).ok())
    });
    let tls = reader.get("protocol").map(|entry| protocol(&entry));
    let path = reader.get("base_path");
    let path_filled = path.as_ref().is_some_and(Entry::is_filled);
    let path = path.map(|entry| address::path_prefix(Some(&entry)));
    reader.finish();
    let host = given(host)?.unwrap_or_default();
    Some(Upstream {
        tls: given(tls)?.or(host.tls),
        port: given(port)?.or(host.port),
        path_filled: path_filled || path.is_none() && host.path_filled,
        socket: None,
        path: given(path)?.or(host.path),
        host: host.host,
        ca,
    })
}

/// Reports an authority that nothing is verified with, and names that cannot be verified.
pub(crate) fn check_tls(reader: &Reader<'_>, upstreams: &[UpstreamUrl], has_ca: bool) {
    let mut verified = upstreams.iter().filter(|upstream| upstream.tls).peekable();
    if has_ca && verified.peek().is_none() {
        reader.error(
            "ca_cert_path is for https, and the address is http",
            "write base_url = \"https://...\" or connection.protocol = \"https\", or remove \
             ca_cert_path",
        );
    }
    if verified.any(|upstream| has_underscore_first(&upstream.host)) {
        reader.error(
            "a certificate cannot be verified for a host whose name has an underscore before the \
             first dot",
            "use a name without",
        );
    }
}

fn ca(reader: &Reader<'_>) -> Option<PathBuf> {
    reader
        .get("ca_cert_path")
        .and_then(|entry| entry.readable_file())
}

/// Pingora writes such a name with `-` before it verifies it, which would be another host.
fn has_underscore_first(host: &str) -> bool {
    host.split('.')
        .next()
        .is_some_and(|label| label.contains('_'))
}

/// A host name, an IP literal, or a whole URL.
fn read_host(entry: &Entry<'_>) -> Option<Upstream> {
    let text = entry.text()?;
    if text.contains("://") {
        return from_url(entry);
    }
    if text.starts_with("unix:") {
        entry.error_help("is not a host name", "a unix socket is named by base_url");
        return None;
    }
    let host = address::host(&text);
    if host.is_none() {
        entry.error_help(
            "is not a host name",
            "write it without port and path: they have their own keys",
        );
    }
    Some(Upstream {
        host: Some(host?),
        ..Upstream::default()
    })
}

fn from_url(entry: &Entry<'_>) -> Option<Upstream> {
    let text = entry.text()?;
    if let Some(socket) = text.strip_prefix("unix:") {
        return match from_socket(socket) {
            Ok(address) => Some(Upstream {
                path_filled: entry.is_filled(),
                ..address
            }),
            Err(why) => {
                entry.error_help(why.into_owned(), SOCKET_HELP);
                None
            }
        };
    }
    let url = match HttpUrl::parse(&text) {
        Ok(url) if url.query => Err("must not have a query".into()),
        Ok(url) => path::canonical(&url.path).map(|path| (url, path)),
        Err(why) => Err(why.into()),
    };
    match url {
        Ok((url, path)) => Some(Upstream {
            tls: Some(url.tls),
            host: Some(url.host),
            port: url.port,
            socket: None,
            path: Some(path),
            path_filled: entry.is_filled(),
            ca: None,
        }),
        Err(why) => {
            entry.error(why.into_owned());
            None
        }
    }
}

/// `/run/app.sock`, with or without `:/base/path`. An error: why it is none, as a sentence.
fn from_socket(text: &str) -> Result<Upstream, Cow<'static, str>> {
    let (socket, path) = match text.find(":/") {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, "/"),
    };
    if !socket.starts_with('/') || socket.starts_with("//") {
        return Err("must have an absolute path after \"unix:\"".into());
    }
    if socket.ends_with('/') || socket.chars().any(char::is_control) {
        return Err("must have the path of a socket after \"unix:\"".into());
    }
    if socket.len() > MAX_SOCKET_PATH {
        let bytes = socket.len();
        return Err(format!(
            "names a socket by a path of {bytes} bytes, more than the system's {MAX_SOCKET_PATH}"
        )
        .into());
    }
    Ok(Upstream {
        tls: Some(false),
        host: Some("localhost".to_owned()),
        socket: Some(Path::new(socket).into()),
        path: Some(path::canonical(path)?),
        ..Upstream::default()
    })
}

/// Whether a protocol is https rather than http.
fn protocol(entry: &Entry<'_>) -> Option<bool> {
    let text = entry.text()?;
    match &*text {
        "http" => return Some(false),
        "https" => return Some(true),
        _ => {}
    }
    match unsupported::instead(unsupported::PROTOCOLS, &text) {
        Some(instead) => entry.foreign("the protocol", &text, instead),
        None => entry.unknown("protocol", &text, &["http", "https"]),
    }
    None
}
