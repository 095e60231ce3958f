//! What a name leads to: `/etc/hosts` first, then DNS, which says how long its answer holds, then
//! whatever else the system's resolver knows (nsswitch.conf: multicast DNS, the host's own name).
//!
//! `/etc/hosts` and `/etc/resolv.conf` are read anew for each look-up, so that a change of either
//! needs no reload.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ResolveHosts, ServerOrderingStrategy};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::system_conf::parse_resolv_conf;
use tokio::net::lookup_host;
use tokio::time::timeout;

/// How long DNS has before the system's resolver is asked beside it.
const HEAD_START: Duration = Duration::from_secs(1);
/// The port of name servers.
const DNS_PORT: u16 = 53;

/// What a name leads to now.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// At the port that was asked for. Never empty.
    pub(super) addresses: Vec<SocketAddr>,
    /// How long DNS lets it be kept; `None`: it is not from DNS.
    pub(super) ttl: Option<Duration>,
}

/// Asks for the addresses of a host at a port.
type Lookup = fn(String, u16) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// The text of `resolv_conf`, and a client for its name servers; `None`: it names none.
type DnsClient = (Vec<u8>, Option<Arc<TokioResolver>>);

/// Looks names up.
pub(super) struct NameLookup {
    hosts: PathBuf,
    resolv_conf: PathBuf,
    dns_port: u16,
    dns: Mutex<Option<DnsClient>>,
    system: Lookup,
}

impl Default for NameLookup {
    fn default() -> Self {
        Self {
            hosts: "/etc/hosts".into(),
            resolv_conf: "/etc/resolv.conf".into(),
            dns_port: DNS_PORT,
            dns: Mutex::default(),
            system: |host, port| {
                Box::pin(async move { Ok(lookup_host((host, port)).await?.collect()) })
            },
        }
    }
}

impl fmt::Debug for NameLookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NameLookup").finish_non_exhaustive()
    }
}

impl NameLookup {
    /// Looks a name up once, for as long as that takes.
    ///
    /// # Errors
    ///
    /// Why nobody knows it: the words of the system's resolver.
    pub(super) async fn look_up(&self, host: &str, port: u16) -> io::Result<Answer> {
        if let Some(found) = self.fixed(host).await {
            let addresses = found.into_iter().map(|ip| SocketAddr::new(ip, port));
            let addresses = addresses.collect();
            return Ok(Answer {
                addresses,
                ttl: None,
            });
        }
        let Some(dns) = self.dns().await else {
            return self.ask_system(host, port).await;
        };
        let mut from_dns = pin!(ask_dns(&dns, host, port));
        let mut slow = match timeout(HEAD_START, from_dns.as_mut()).await {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => false,
            Err(_) => true,
        };
        let mut from_system = pin!(self.ask_system(host, port));
        loop {
            tokio::select! {
                answer = from_dns.as_mut(), if slow => match answer {
                    Some(answer) => return Ok(answer),
                    None => slow = false,
                },
                answer = from_system.as_mut() => return match answer {
                    Err(_) if slow => from_dns.await.ok_or_else(no_answer),
                    answer => answer,
                },
            }
        }
    }

    /// What `/etc/hosts` says, and of `localhost` what everybody knows: it never goes to DNS
    /// (RFC 6761 section 6.3).
    async fn fixed(&self, host: &str) -> Option<Vec<IpAddr>> {
        let hosts = tokio::fs::read(&self.hosts).await.unwrap_or_default();
        let found = in_hosts(&String::from_utf8_lossy(&hosts), host);
        if !found.is_empty() {
            return Some(found);
        }
        let is_localhost = host == "localhost" || host.ends_with(".localhost");
        let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        is_localhost.then(|| loopback.into())
    }

    /// The client for the system's name servers; `None` where it has none that can be read.
    async fn dns(&self) -> Option<Arc<TokioResolver>> {
        let text = tokio::fs::read(&self.resolv_conf).await.ok()?;
        let mut known = self.dns.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((made_of, client)) if *made_of == text => client.clone(),
            _ => {
                let client = dns_client(&text, self.dns_port).map(Arc::new);
                *known = Some((text, client.clone()));
                client
            }
        }
    }

    async fn ask_system(&self, host: &str, port: u16) -> io::Result<Answer> {
        let addresses = (self.system)(host.to_owned(), port).await?;
        match addresses.is_empty() {
            true => Err(io::Error::other("the name has no address")),
            false => Ok(Answer {
                addresses,
                ttl: None,
            }),
        }
    }
}

fn no_answer() -> io::Error {
    io::Error::other("neither the name servers nor the system's resolver know it")
}

/// A client for the name servers of a `resolv.conf`, which are asked in their order as the system
/// asks them.
fn dns_client(resolv_conf: &[u8], port: u16) -> Option<TokioResolver> {
    let (mut config, mut options) = parse_resolv_conf(resolv_conf).ok()?;
    let servers = config.name_servers.iter_mut();
    for connection in servers.flat_map(|server| server.connections.iter_mut()) {
        connection.port = port;
    }
    options.use_hosts_file = ResolveHosts::Never;
    options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
    options.num_concurrent_reqs = 1;
    // When to ask again is for the caller to say. Aliases are kept: they have times of their own.
    options.cache_size = 0;
    options.preserve_intermediates = true;
    let provider = TokioRuntimeProvider::default();
    let builder = TokioResolver::builder_with_config(config, provider).with_options(options);
    builder.build().ok()
}

/// What DNS knows of a name; `None`: nothing, or it cannot be asked.
async fn ask_dns(dns: &TokioResolver, host: &str, port: u16) -> Option<Answer> {
    let found = dns.lookup_ip(host).await.ok()?;
    let addresses: Vec<_> = found.iter().map(|ip| SocketAddr::new(ip, port)).collect();
    let records = found.as_lookup().answers();
    let ttl = records.iter().map(|record| record.ttl).min()?;
    (!addresses.is_empty()).then_some(Answer {
        addresses,
        ttl: Some(Duration::from_secs(ttl.into())),
    })
}

/// The addresses that a text in the form of `/etc/hosts` has for a name.
fn in_hosts(text: &str, host: &str) -> Vec<IpAddr> {
    let of_line = |line: &str| {
        let mut words = line.split('#').next()?.split_ascii_whitespace();
        let address = words.next()?.parse().ok()?;
        let is_it = |word: &str| {
            word.strip_suffix('.')
                .unwrap_or(word)
                .eq_ignore_ascii_case(host)
        };
        words.any(is_it).then_some(address)
    };
    text.lines().filter_map(of_line).collect()
}

#[cfg(test)]
mod tests;
