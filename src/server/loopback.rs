//! A request of this process to itself, through a real listener: whether it serves. Needs nothing of the configuration, leaves no access record.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::config::{Bind, Config};
use crate::proxy::Probe;

/// Where to ask, and for what.
#[derive(Debug)]
pub(super) struct Loopback {
    bind: Bind,
    path: String,
}

impl Loopback {
    /// The first network of the proxy, else the management network.
    pub(super) fn new(config: &Config, probe: &Probe) -> Option<Self> {
        let management = config.management.as_ref().map(|settings| &settings.network);
        let of = |wanted: bool| {
            let mut networks = config.networks.iter();
            let found = networks.find(|network| (management == Some(&network.name)) == wanted);
            found.map(|network| network.bind.clone())
        };
        if let Some(bind) = of(false) {
            let path = probe.path().to_owned();
            return Some(Self { bind, path });
        }
        let path = "/health".to_owned();
        of(true).map(|bind| Self { bind, path })
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
        let mut answer = [0; 12];
        match &self.bind {
            Bind::Tcp(address) => {
                let mut stream = TcpStream::connect(reachable(*address).as_slice()).await?;
                stream.write_all(request.as_bytes()).await?;
                stream.read_exact(&mut answer).await?;
            }
            Bind::Unix(path) => {
                let mut stream = UnixStream::connect(path).await?;
                stream.write_all(request.as_bytes()).await?;
                stream.read_exact(&mut answer).await?;
            }
        }
        Ok(answer.starts_with(b"HTTP/1.1 20"))
    }
}

/// A listener on every address is also on the loopback one, of one family at least: systemd may have opened the other one.
fn reachable(address: SocketAddr) -> Vec<SocketAddr> {
    if !address.ip().is_unspecified() {
        return vec![address];
    }
    let both: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    both.map(|ip| SocketAddr::new(ip, address.port())).to_vec()
}
