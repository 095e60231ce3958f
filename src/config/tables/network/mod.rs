//! `[network.*]`: the listeners.

pub(crate) mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::values::address;
use crate::config::model::{Bind, ErrorKind, ListenerTls, Network};
use crate::config::reader::{Entry, Named, Reader};
use tls::ForceHttps;

/// The port of https, which no URL names.
const HTTPS: u16 = 443;
/// The default of `max_connections_per_address`.
const MAX_PER_ADDRESS: u64 = 5_000;
/// The default of `min_body_rate`, bytes a second.
const MIN_BODY_RATE: u64 = 240;

/// The listeners as read.
pub(crate) struct Networks<'a> {
    /// Those that are right, each with its table, in the order of the file.
    pub(crate) all: Vec<(Network, Entry<'a>)>,
    /// What `force_https` says in each of them.
    pub(crate) forced: Vec<Option<ForceHttps>>,
    /// Their names, also of those that are wrong.
    pub(crate) named: Named<Arc<str>>,
}

impl Networks<'_> {
    /// Where one listens, if that is an address and a port.
    pub(crate) fn address(&self, name: &str) -> Option<SocketAddr> {
        let mut all = self.all.iter();
        let (network, _) = all.find(|(network, _)| &*network.name == name)?;
        match network.bind {
            Bind::Tcp(address) => Some(address),
            Bind::Unix(_) => None,
        }
    }

    /// Those of these names.
    pub(crate) fn among(&self, names: &[Arc<str>]) -> Vec<&Network> {
        let networks = self.all.iter().map(|(network, _)| network);
        networks
            .filter(|network| names.contains(&network.name))
            .collect()
    }
}

/// Reads `[network.*]`. `trusts`: whether there are `trusted_proxies`.
pub(crate) fn read<'a>(root: &Reader<'a>, trusts: bool) -> Networks<'a> {
    let mut networks = Networks {
        all: Vec::new(),
        forced: Vec::new(),
        named: Named::new("network"),
    };
    let group = root.group("network");
    if group.is_empty() {
        root.missing(
            "network",
            "add [network.public.http] with bind_address and bind_port",
        );
    }
    for (name, entry) in group {
        let network = read_one(name, &entry, trusts);
        entry.note_if_left_out(&network);
        networks.named.define(name, name.into());
        if let Some((network, forced)) = network {
            refuse_taken(&networks.all, &network, &entry);
            networks.all.push((network, entry));
            networks.forced.push(forced);
        }
    }
    networks
}

/// The listener that is named here, whatever is to be said of the others.
pub(crate) fn find(root: &Reader<'_>, named: &Entry<'_>) -> Option<Network> {
    let wanted = named.text()?;
    let group = root.group("network");
    let names: Vec<&str> = group.iter().map(|(name, _)| *name).collect();
    let Some((name, entry)) = group.iter().find(|(name, _)| **name == *wanted) else {
        named.unknown("network", &wanted, &names);
        return None;
    };
    read_one(name, entry, true).map(|(network, _)| network)
}

/// Finds out what port `force_https = true` leads to: that of the listeners with TLS, or 443 when
/// there is none here. Reports what has no meaning on the network of the Management API.
pub(crate) fn settle(networks: &mut Networks<'_>, management: Option<&Arc<str>>) {
    let mut ports: Vec<u16> = networks
        .all
        .iter()
        .filter(|(network, _)| network.tls.is_some() && Some(&network.name) != management)
        .filter_map(|(network, _)| network.bind.port())
        .collect();
    ports.sort_unstable();
    ports.dedup();
    let found = match *ports {
        [] => Some(HTTPS),
        [port] => Some(port),
        _ => ports.contains(&HTTPS).then_some(HTTPS),
    };
    for ((network, entry), forced) in networks.all.iter_mut().zip(&networks.forced) {
        let requests = |tls: &ListenerTls| tls.requests_certificate;
        if Some(&network.name) == management && network.tls.as_ref().is_some_and(requests) {
            entry.error_help(
                "client_certificate has no meaning on the network of the Management API, which \
                 no token is for",
                "name the authority of its clients in client_ca_path",
            );
        }
        let Some(forced) = forced else { continue };
        if network.tls.is_some() {
            entry.info("force_https has no effect: this listener speaks TLS only");
        } else if Some(&network.name) == management {
            entry.error_help(
                "force_https has no meaning on the network of the Management API",
                "give it cert_path and key_path instead",
            );
        } else {
            network.https_port = match forced {
                ForceHttps::Port(port) => Some(*port),
                ForceHttps::Found => found,
            };
            if network.https_port.is_none() {
                entry.error_help(
                    "force_https = true is ambiguous: several listeners speak TLS, none at 443",
                    "name the port: force_https = 8443",
                );
            }
        }
    }
}

fn read_one(name: &str, entry: &Entry<'_>, trusts: bool) -> Option<(Network, Option<ForceHttps>)> {
    let reader = entry.table()?;
    reader.know(&["description"]);
    reader.ignore(&["id", "interface"]);
    if let Some(entry) = reader.get("enable_wireguard")
        && entry.boolean() == Some(true)
    {
        entry.error_help(
            ErrorKind::Foreign("WireGuard (enable_wireguard)".into()),
            "set up the interface with the system's tools and bind to its address",
        );
    }
    if let Some(entry) = reader.get_of_others("http3") {
        entry.error_help(
            ErrorKind::Foreign("HTTP/3".into()),
            "use [network.NAME.http]: HTTP/1.1 and HTTP/2",
        );
    }
    let listener = reader.any(&["http", "tcp_config"]);
    if listener.is_none() {
        reader.missing(
            "http",
            "add bind_address and bind_port in [network.NAME.http]",
        );
    }
    let listener = listener.and_then(|listener| read_listener(&listener, trusts));
    reader.finish();
    let listener = listener?;
    let network = Network {
        name: name.into(),
        bind: listener.bind,
        tls: listener.tls,
        max_connections: listener.max_connections,
        max_connections_per_address: listener.max_connections_per_address,
        min_body_rate: listener.min_body_rate,
        https_port: None,
        proxy_protocol: listener.proxy_protocol,
    };
    Some((network, listener.forced))
}

/// Where it binds, what it speaks, how many it takes, and what it holds them to.
struct Listener {
    bind: Bind,
    tls: Option<ListenerTls>,
    forced: Option<ForceHttps>,
    max_connections: Option<usize>,
    max_connections_per_address: usize,
    min_body_rate: u64,
    proxy_protocol: bool,
}

fn read_listener(listener: &Entry<'_>, trusts: bool) -> Option<Listener> {
    let reader = listener.table()?;
    let bind = read_bind(&reader);
    let tls = tls::read(&reader);
    let forced = tls::force_https(&reader);
    let max_connections = reader.connections("max_connections");
    let per_address = reader.number(
        "max_connections_per_address",
        0..=1_000_000,
        MAX_PER_ADDRESS,
    );
    let min_body_rate = reader.number("min_body_rate", 0..=1_000_000_000, MIN_BODY_RATE);
    let proxy_protocol = reader.get("proxy_protocol");
    if let (Some(Bind::Unix(_)), Some(entry)) = (&bind, &proxy_protocol) {
        entry.error_help(
            "a Unix socket has no peer that could be trusted to send it",
            "remove it, or bind to an address and a port",
        );
    }
    reader.finish();
    if let (Some(Bind::Unix(_)), true) = (&bind, tls.is_some() || forced.is_some()) {
        listener.error_help(
            "a Unix socket has no TLS",
            "remove the keys for TLS, or bind to an address and a port",
        );
    }
    Some(Listener {
        bind: bind?,
        tls,
        forced,
        max_connections,
        max_connections_per_address: usize::try_from(per_address).unwrap_or_default(),
        min_body_rate,
        proxy_protocol: proxy_protocol.is_some_and(|entry| requires(&entry, trusts)),
    })
}

/// `proxy_protocol`, which takes somebody who may speak for others.
fn requires(entry: &Entry<'_>, trusts: bool) -> bool {
    let Some(text) = entry.text() else {
        return false;
    };
    if &*text != "require" {
        entry.unknown("use of the PROXY protocol", &text, &["require"]);
        return false;
    }
    if !trusts {
        entry.error_help(
            "without trusted_proxies, nobody may send a PROXY header",
            "name the load balancer in front: [proxy] trusted_proxies = [\"10.0.0.7/32\"]",
        );
    }
    true
}

/// `bind_address` (default `0.0.0.0`) and `bind_port`, or `unix:/path`.
fn read_bind(reader: &Reader<'_>) -> Option<Bind> {
    let address = reader.get("bind_address");
    let text = match &address {
        Some(entry) => entry.text().map(|text| text.to_string()),
        None => Some("0.0.0.0".to_owned()),
    };
    let socket = text
        .as_deref()
        .and_then(|text| text.strip_prefix("unix:").map(PathBuf::from));
    let port = reader.get("bind_port");
    if port.is_none() && socket.is_none() {
        reader.missing("bind_port", "add bind_port = 8080");
    }
    let port = port
        .and_then(|entry| entry.integer(1..=65_535))
        .and_then(|port| u16::try_from(port).ok());
    match socket {
        Some(path) if path.is_absolute() => Some(Bind::Unix(path)),
        Some(_) => {
            listener_error(
                address.as_ref(),
                "must be an absolute path after \"unix:\"",
                "write it like \"unix:/run/harmony-edge/admin.sock\"",
            );
            None
        }
        None => {
            let ip = address::bind_address(&text?);
            if ip.is_none() {
                listener_error(
                    address.as_ref(),
                    "must be an IP address",
                    "write \"0.0.0.0\" for every address, or \"127.0.0.1\" for this machine only",
                );
            }
            Some(Bind::Tcp(SocketAddr::new(ip?, port?)))
        }
    }
}

fn listener_error(address: Option<&Entry<'_>>, sentence: &str, help: &str) {
    if let Some(entry) = address {
        entry.error_help(sentence, help);
    }
}

/// Reports an address that another network has taken, be it as part of every address.
fn refuse_taken(networks: &[(Network, Entry<'_>)], network: &Network, entry: &Entry<'_>) {
    for (other, _) in networks
        .iter()
        .filter(|(other, _)| overlap(&other.bind, &network.bind))
    {
        entry.error_help(
            format!("binds to the same address as network {:?}", other.name),
            "give each its own bind_address or bind_port",
        );
    }
}

fn overlap(one: &Bind, other: &Bind) -> bool {
    match (one, other) {
        (Bind::Unix(one), Bind::Unix(other)) => one == other,
        (Bind::Tcp(one), Bind::Tcp(other)) => {
            let every = one.ip().is_unspecified() || other.ip().is_unspecified();
            one.port() == other.port()
                && (one.ip() == other.ip() || every && one.is_ipv4() == other.is_ipv4())
        }
        _ => false,
    }
}
