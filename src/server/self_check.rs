//! A request of this process to itself, through a real listener: whether it serves. Needs nothing
//! of the configuration, leaves no access record.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::config::{Bind, Config};
use crate::proxy::Probe;

/// Of an answer, so much is read.
const MOST: u64 = 4096;

/// Where to ask, and for what.
#[derive(Debug)]
pub(super) struct SelfCheck {
    bind: Bind,
    path: String,
    /// What the answer must hold; `None` on the management network, where any success will do.
    expected: Option<String>,
    /// For a network that speaks TLS only.
    tls: Option<reqwest::Client>,
}

impl SelfCheck {
    /// The first network of the proxy, in the clear if there is one, else the management network.
    /// None that only load balancers may connect to: their address is not ours.
    pub(super) fn new(config: &Config, probe: &Probe) -> Option<Self> {
        let management = config.management.as_ref().map(|settings| &settings.network);
        let of = |wanted: bool, tls: bool| {
            config.networks.iter().find(|network| {
                (management == Some(&network.name)) == wanted
                    && network.tls.is_some() == tls
                    && !network.proxy_protocol
            })
        };
        let own = probe.answer().to_str().ok().map(str::to_owned);
        let (network, path, expected) = match of(false, false).or_else(|| of(false, true)) {
            Some(network) => (network, probe.path(), own),
            None => (of(true, false)?, "/health", None),
        };
        Some(Self {
            bind: network.bind.clone(),
            path: path.to_owned(),
            expected,
            tls: match (&network.tls, &network.bind) {
                (Some(_), Bind::Tcp(address)) => Some(tls_client(*address)?),
                _ => None,
            },
        })
    }

    /// Whether the answer is the expected one, and comes in time.
    pub(super) async fn answers(&self, within: Duration) -> bool {
        let answered = tokio::time::timeout(within, self.ask()).await;
        matches!(answered, Ok(Ok(true)))
    }

    async fn ask(&self) -> std::io::Result<bool> {
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            self.path
        );
        let mut answer = Vec::new();
        match &self.bind {
            Bind::Tcp(address) if let Some(client) = &self.tls => {
                let url = format!("https://localhost:{}{}", address.port(), self.path);
                let answer = client.get(url).send().await;
                let answer = answer.map_err(std::io::Error::other)?;
                let id = answer.headers().get("x-request-id");
                let own = id.and_then(|id| id.to_str().ok()) == self.expected.as_deref();
                return Ok(answer.status().is_success() && own);
            }
            Bind::Tcp(address) => {
                let mut stream = TcpStream::connect(reachable(*address).as_slice()).await?;
                stream.write_all(request.as_bytes()).await?;
                stream.take(MOST).read_to_end(&mut answer).await?;
            }
            Bind::Unix(path) => {
                let mut stream = UnixStream::connect(path).await?;
                stream.write_all(request.as_bytes()).await?;
                stream.take(MOST).read_to_end(&mut answer).await?;
            }
        }
        let text = String::from_utf8_lossy(&answer);
        let own = self.expected.as_ref().is_none_or(|own| text.contains(own));
        Ok(text.starts_with("HTTP/1.1 20") && own)
    }
}

/// A client that takes any certificate: it asks this process, and is sure of that by the answer.
fn tls_client(address: SocketAddr) -> Option<reqwest::Client> {
    let client = reqwest::Client::builder()
        .resolve_to_addrs("localhost", &reachable(address))
        .danger_accept_invalid_certs(true)
        .pool_max_idle_per_host(0)
        .no_proxy();
    client.build().ok()
}

/// A listener on every address is also on the loopback one, of one family at least: systemd may
/// have opened the other one.
fn reachable(address: SocketAddr) -> Vec<SocketAddr> {
    if !address.ip().is_unspecified() {
        return vec![address];
    }
    let both: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    both.map(|ip| SocketAddr::new(ip, address.port())).to_vec()
}
