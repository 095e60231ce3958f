//! A request of this process to itself, through a real listener: whether it serves. Needs nothing of the configuration, leaves no access record.

mod myself;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::config::{Bind, Config, Network};
use crate::proxy::Probe;

/// Where to ask, and for what.
#[derive(Debug)]
pub(super) struct Loopback {
    bind: Bind,
    tls: bool,
    path: String,
}

impl Loopback {
    /// The first network of the proxy, one without TLS if there is one; else the management network, unless it wants a certificate.
    pub(super) fn new(config: &Config, probe: &Probe) -> Option<Self> {
        let management = config.management.as_ref().map(|settings| &settings.network);
        let (of_management, mut of_proxy): (Vec<&Network>, Vec<&Network>) = config
            .networks
            .iter()
            .partition(|network| management == Some(&network.name));
        of_proxy.sort_by_key(|network| network.tls.is_some());
        let at = |network: &Network, path: &str| Self {
            bind: network.bind.clone(),
            tls: network.tls.is_some(),
            path: path.to_owned(),
        };
        if let Some(network) = of_proxy.first() {
            return Some(at(network, probe.path()));
        }
        let wants = |network: &&&Network| {
            let tls = network.tls.as_ref();
            tls.is_some_and(|tls| tls.client_ca_path.is_some())
        };
        let found = of_management.iter().find(|network| !wants(network));
        found.map(|network| at(network, "/health"))
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
        match &self.bind {
            Bind::Tcp(address) => {
                let stream = TcpStream::connect(reachable(*address).as_slice()).await?;
                if self.tls {
                    exchange(myself::connect(stream).await?, &request).await
                } else {
                    exchange(stream, &request).await
                }
            }
            Bind::Unix(path) => exchange(UnixStream::connect(path).await?, &request).await,
        }
    }
}

async fn exchange<S>(mut stream: S, request: &str) -> std::io::Result<bool>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut answer = [0; 12];
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    stream.read_exact(&mut answer).await?;
    Ok(answer.starts_with(b"HTTP/1.1 20"))
}

/// A listener on every address is also on the loopback one, of one family at least: systemd may have opened the other one.
fn reachable(address: SocketAddr) -> Vec<SocketAddr> {
    if !address.ip().is_unspecified() {
        return vec![address];
    }
    let both: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    both.map(|ip| SocketAddr::new(ip, address.port())).to_vec()
}
