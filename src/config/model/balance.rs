//! How upstreams share the load, and how their health is told.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

/// One of `upstreams`, or the one of `base_url`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamUrl {
    /// https rather than http.
    pub tls: bool,
    /// Host name in lower case, or an IP literal (IPv6 without brackets). `localhost` for a socket.
    pub host: String,
    /// Port; the scheme's own by default.
    pub port: u16,
    /// `unix:PATH`: the socket to connect to, without TLS, instead of host and port.
    pub socket: Option<Arc<Path>>,
    /// The path of the URL followed by `path_prefix`: begins with `/`, canonical, no trailing slash
    /// unless it is `/` alone.
    pub base_path: String,
    /// Whether a reference was filled into the path: it may be a secret, so that no log shows it.
    pub path_filled: bool,
    /// `weight`, 1 to 100: its share of the load. Default 1.
    pub weight: u32,
    /// `http_version`, of the upstream, else of the backend.
    pub http_version: HttpVersion,
}

/// `http_version`: the protocol that is spoken to an upstream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum HttpVersion {
    /// `"auto"`: over https what ALPN agrees on, over http HTTP/1.1.
    #[default]
    Auto,
    /// `"1.1"`.
    Http1,
    /// `"2"`: over https ALPN `h2` and nothing else, over http with prior knowledge (h2c).
    Http2,
}

impl UpstreamUrl {
    /// Whether HTTP/2 may be spoken to it.
    pub fn may_speak_http2(&self) -> bool {
        match self.http_version {
            HttpVersion::Auto => self.tls,
            HttpVersion::Http1 => false,
            HttpVersion::Http2 => true,
        }
    }

    /// Host and port as they stand in a URL, without the scheme's own port: what `Host` says.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        if self.port == default_port(self.tls) {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }

    /// `http://HOST:PORT`, without the path and without the scheme's own port; or `unix:PATH`.
    pub fn origin(&self) -> String {
        match &self.socket {
            Some(path) => format!("unix:{}", path.display()),
            None if self.tls => format!("https://{}", self.authority()),
            None => format!("http://{}", self.authority()),
        }
    }

    /// `HOST:PORT` or `unix:PATH`: what is connected to, for a log.
    pub fn server(&self) -> String {
        match &self.socket {
            Some(_) => self.origin(),
            None => format!("{}:{}", self.host, self.port),
        }
    }

    /// The whole URL, without a slash at its end.
    pub fn whole(&self) -> String {
        self.with_path(&self.base_path)
    }

    /// The same as a log may show it.
    pub fn shown(&self) -> String {
        match self.base_path.as_str() {
            path if path == "/" || !self.path_filled => self.with_path(path),
            _ => self.with_path("/(filled in)"),
        }
    }

    fn with_path(&self, path: &str) -> String {
        let separator = if self.socket.is_some() { ":" } else { "" };
        match path {
            "/" => self.origin(),
            path => self.origin() + separator + path,
        }
    }
}

/// The port of a URL that names none: that of https, or of http.
pub(crate) fn default_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

/// `balance`: which upstream gets a request. All of them count weights.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Balance {
    /// `round_robin`: one after the other.
    #[default]
    RoundRobin,
    /// `least_conn`: the one with the fewest requests in flight.
    LeastConn,
    /// `consistent`: the same one for the same key, for as long as it is there.
    Consistent(ConsistentBy),
}

impl Balance {
    /// The name that the configuration has for it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::LeastConn => "least_conn",
            Self::Consistent(_) => "consistent",
        }
    }
}

/// `consistent_by`: what requests that belong together have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsistentBy {
    /// `"address"`: the client's address, behind trusted proxies.
    Address,
    /// `{ header = NAME }`; a request without it counts by its client's address.
    Header(HeaderName),
}

/// `health_check`: how an upstream is asked, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HealthCheck {
    /// `type`, with what belongs to it.
    pub kind: CheckKind,
    /// `interval_secs`: from the end of a check to the next one. Default 10 s.
    pub interval: Duration,
    /// `timeout_secs`: for a whole check. Default 2 s.
    pub timeout: Duration,
    /// `unhealthy_after`: so many failures in a row. Default 3.
    pub unhealthy_after: u32,
    /// `healthy_after`: so many successes in a row. Default 2.
    pub healthy_after: u32,
}

/// `health_check.type`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CheckKind {
    /// `tcp`: a connection can be made.
    Tcp,
    /// `http`: a GET is answered with 200 to 399.
    Http {
        /// `path`, on the upstream's host; it may have a query. Default `/`.
        path: String,
        /// `host`: the `Host` that is sent. Default: the upstream's own.
        host: Option<String>,
        /// `send_credential`: whether the backend's credential goes along. Default false.
        send_credential: bool,
    },
    /// `grpc`: `grpc.health.v1.Health/Check`, over HTTP/2, is answered with `SERVING`.
    Grpc {
        /// `service`: the one that is asked about. Default: empty, the server as a whole.
        service: String,
    },
}

/// `eject_after` and `eject_secs`: when an upstream is left alone for a while because requests to
/// it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ejection {
    /// So many failures in a row; 0: never. Default 3.
    pub after: u32,
    /// For how long the first time; each time that it fails again at once, twice as long. Default
    /// 10 s.
    pub time: Duration,
}
