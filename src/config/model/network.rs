//! Listeners: where they bind, their limits, their certificates.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// `[network.NAME.http]`: one listener.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// The table's name.
    pub name: Arc<str>,
    /// `bind_address` and `bind_port`.
    pub bind: Bind,
    /// TLS; `None`: plain.
    pub tls: Option<ListenerTls>,
    /// `max_connections`: of clients, at a time. `None`: 10,000, on the management network 1,000.
    pub max_connections: Option<usize>,
    /// `max_connections_per_address`: of one client address (IPv6: /64) at a time; over HTTP/2 and
    /// behind `trusted_proxies`, requests of one client. 0: no limit. Default 5,000.
    pub max_connections_per_address: usize,
    /// `min_body_rate`: bytes a second that the body of a request must come at, after a grace of
    /// 5 s. 0: no minimum. Default 240.
    pub min_body_rate: u64,
    /// `force_https`: everything is redirected to https at this port. Never beside `tls`.
    pub https_port: Option<u16>,
    /// `proxy_protocol = "require"`: each connection begins with a PROXY header, and comes from one
    /// of `trusted_proxies`.
    pub proxy_protocol: bool,
}

/// TLS on a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    /// `cert_path` with `key_path`, then `certificates`: at least one. The first is shown to who
    /// asks for no name, or for one that none is for.
    pub certificates: Vec<CertificateFiles>,
    /// `client_ca_path`: clients may show a certificate of one of these authorities; on the
    /// management network they must.
    pub client_ca_path: Option<PathBuf>,
    /// `client_certificate = "request"`: clients may show any certificate, which tokens can be
    /// bound to (RFC 8705). Default false. Never on the management network.
    pub requests_certificate: bool,
}

/// The files of one certificate. They can be read; what is in them has not been looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// `cert_path`: the certificate and those between it and its authority, PEM.
    pub cert_path: PathBuf,
    /// `key_path`: its key, PEM: PKCS#8, PKCS#1 or SEC1.
    pub key_path: PathBuf,
}

/// Where a listener binds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bind {
    /// An address and a port.
    Tcp(SocketAddr),
    /// `bind_address = "unix:/path"`: management only.
    Unix(PathBuf),
}

impl Bind {
    /// Whether other machines can reach it.
    pub fn is_exposed(&self) -> bool {
        match self {
            Self::Tcp(address) => !address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => false,
        }
    }

    /// The port, if it has one.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(address) => Some(address.port()),
            Self::Unix(_) => None,
        }
    }
}

impl ListenerTls {
    /// Whether clients are asked for a certificate.
    pub fn asks_for_certificate(&self) -> bool {
        self.requests_certificate || self.client_ca_path.is_some()
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
