//! The sockets that the listeners accept from: inherited from systemd or from the process before,
//! else bound here.
//!
//! They are opened before Pingora runs, so that an address that is taken is an error with a name,
//! and kept, so that they can be handed over. Pingora gets copies.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{IntoRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use listenfd::ListenFd;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::{ServiceReadyNotifier, ServiceWithDependents};
use tokio::sync::watch;

use super::StartError;
use crate::config::{Bind, Network};
use crate::gateway::Live;

/// How long an address may still be taken by a process that is just ending.
const BIND_PATIENCE: Duration = Duration::from_secs(1);
/// How long a process that takes over waits for its first key sets and upstream names before it
/// accepts anything.
const WARM_UP: Duration = Duration::from_secs(10);

/// A listening socket that came from elsewhere.
#[derive(Debug)]
pub struct Inherited {
    /// What it is bound to.
    bind: Bind,
    /// `FileDescriptorName=`, where systemd gave one.
    name: Option<String>,
    fd: OwnedFd,
}

impl Inherited {
    /// Those that systemd passed (`LISTEN_FDS`). Call first of all, in the one thread there is: it
    /// takes the variables out of the environment.
    pub fn from_systemd() -> io::Result<Vec<Self>> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').map(str::to_owned);
        let mut passed = ListenFd::from_env();
        let mut sockets = Vec::new();
        for place in 0..passed.len() {
            let name = names.next().filter(|name| !name.is_empty());
            sockets.push(match passed.take_tcp_listener(place) {
                Ok(Some(socket)) => Self::tcp(socket, name)?,
                Ok(None) => continue,
                Err(_) => match passed.take_unix_listener(place)? {
                    Some(socket) => Self::unix(socket, name)?,
                    None => continue,
                },
            });
        }
        Ok(sockets)
    }

    /// One that the process before has sent, with the address that it gave it.
    pub(super) fn received(fd: OwnedFd, address: &str) -> Self {
        let bind = match address.parse() {
            Ok(address) => Bind::Tcp(address),
            Err(_) => Bind::Unix(address.into()),
        };
        let name = None;
        Self { bind, name, fd }
    }

    fn tcp(socket: TcpListener, name: Option<String>) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let bind = Bind::Tcp(socket.local_addr()?);
        let fd = socket.into();
        Ok(Self { bind, name, fd })
    }

    fn unix(socket: UnixListener, name: Option<String>) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let path = address.as_pathname().unwrap_or("".as_ref()).to_owned();
        let (bind, fd) = (Bind::Unix(path), socket.into());
        Ok(Self { bind, name, fd })
    }

    /// Whether this is the socket of a network: by what it is bound to. `0.0.0.0` and `::` count as
    /// the same, since systemd binds to the latter by default.
    fn is_for(&self, network: &Network) -> bool {
        match (&self.bind, &network.bind) {
            (Bind::Tcp(own), Bind::Tcp(wanted)) => {
                let everywhere = own.ip().is_unspecified() && wanted.ip().is_unspecified();
                own == wanted || everywhere && own.port() == wanted.port()
            }
            (own, wanted) => own == wanted,
        }
    }
}

/// One listener's socket.
#[derive(Debug)]
struct Socket {
    address: String,
    fd: OwnedFd,
    /// For Pingora, until it has it.
    copy: Option<OwnedFd>,
}

/// The sockets of all networks.
#[derive(Debug, Default)]
pub(super) struct Sockets(Mutex<Vec<Socket>>);

impl Sockets {
    /// Takes what was inherited and binds the rest. What no network names is closed.
    pub(super) fn open(
        networks: &[Network],
        mut inherited: Vec<Inherited>,
    ) -> Result<Self, StartError> {
        let mut sockets = Vec::new();
        for network in networks {
            let place = inherited.iter().position(|socket| socket.is_for(network));
            let named = |socket: &Inherited| socket.name.as_deref() == Some(&*network.name);
            let fd = match place.map(|place| inherited.swap_remove(place)) {
                Some(socket) => Ok(socket.fd),
                None => match inherited.iter().find(|socket| named(socket)) {
                    Some(other) => return Err(StartError::misnamed(network, &other.bind)),
                    None => bind(&network.bind),
                },
            };
            let copied = fd.and_then(|fd| Ok((fd.try_clone()?, fd)));
            let (copy, fd) = copied.map_err(|source| StartError::bind(network, source))?;
            let (address, copy) = (address(&network.bind), Some(copy));
            sockets.push(Socket { address, fd, copy });
        }
        for unused in inherited {
            log::warn!(
                "the inherited socket at {} is closed: no network has its address",
                unused.bind
            );
        }
        Ok(Self(Mutex::new(sockets)))
    }

    /// Adds one that no network names; returns what Pingora calls it.
    pub(super) fn add(&self, listener: TcpListener) -> io::Result<String> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?.to_string();
        let copy = Some(listener.try_clone()?.into());
        self.lock().push(Socket {
            address: address.clone(),
            fd: listener.into(),
            copy,
        });
        Ok(address)
    }

    /// Copies of all, with their addresses, for the process after this one.
    pub(super) fn copies(&self) -> io::Result<Vec<(String, OwnedFd)>> {
        let copy = |socket: &Socket| Ok((socket.address.clone(), socket.fd.try_clone()?));
        self.lock().iter().map(copy).collect()
    }

    /// Closes them, but for Pingora's copies.
    pub(super) fn close(&self) {
        self.lock().clear();
    }

    fn place(&self, table: &ListenFds) {
        for socket in self.lock().iter_mut() {
            if let Some(copy) = socket.copy.take() {
                table.lock().add(socket.address.clone(), copy.into_raw_fd());
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Socket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What Pingora calls the listener of a network.
pub(super) fn address(bind: &Bind) -> String {
    match bind {
        Bind::Tcp(address) => address.to_string(),
        Bind::Unix(path) => path.to_string_lossy().into_owned(),
    }
}

fn bind(bind: &Bind) -> io::Result<OwnedFd> {
    match bind {
        Bind::Tcp(address) => bind_tcp(address),
        Bind::Unix(path) => {
            // What a process that is gone has left behind is no reason to fail; a living one is.
            if UnixStream::connect(path).is_ok() {
                return Err(ErrorKind::AddrInUse.into());
            }
            let _ = std::fs::remove_file(path);
            let socket = UnixListener::bind(path)?;
            socket.set_nonblocking(true)?;
            Ok(socket.into())
        }
    }
}

fn bind_tcp(address: &SocketAddr) -> io::Result<OwnedFd> {
    let deadline = Instant::now() + BIND_PATIENCE;
    loop {
        match TcpListener::bind(address) {
            Ok(socket) => {
                socket.set_nonblocking(true)?;
                return Ok(socket.into());
            }
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {
                std::thread::sleep(BIND_PATIENCE / 20);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Puts the sockets where Pingora's listeners look for theirs. The listeners depend on it.
pub(super) struct Placing {
    pub(super) sockets: Arc<Sockets>,
    /// What must be warm before the first connection: for a process that takes over, whose
    /// forerunner serves on meanwhile.
    pub(super) warm: Option<Arc<Live>>,
    /// Whether the signals that have a meaning are listened for.
    pub(super) listening: watch::Receiver<bool>,
}

#[async_trait]
impl ServiceWithDependents for Placing {
    async fn start_service(
        &mut self,
        table: Option<ListenFds>,
        _: ShutdownWatch,
        _: usize,
        ready: ServiceReadyNotifier,
    ) {
        // Whoever is answered may send a signal, which would end a process that does not listen for
        // it.
        let _ = self.listening.wait_for(|listening| *listening).await;
        if let Some(live) = &self.warm {
            let deadline = Instant::now() + WARM_UP;
            while !live.is_warm() && Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        if let Some(table) = table {
            self.sockets.place(&table);
        }
        ready.notify_ready();
    }

    fn name(&self) -> &str {
        "listeners"
    }

    fn threads(&self) -> Option<usize> {
        Some(1)
    }
}

/// What to do about a listener that cannot be bound.
pub(super) fn hint(source: &std::io::Error) -> &'static str {
    use std::io::ErrorKind;
    match source.kind() {
        ErrorKind::AddrInUse => "; is another process using it?",
        ErrorKind::AddrNotAvailable => "; this machine has no such address",
        ErrorKind::PermissionDenied => {
            "; a port below 1024 needs CAP_NET_BIND_SERVICE, or a socket from systemd as in \
             systemd/harmony-edge.socket"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(name: &str, address: &str) -> Network {
        let bind = Bind::Tcp(address.parse().unwrap());
        let name = name.into();
        Network {
            name,
            bind,
            tls: None,
            max_connections: None,
            max_connections_per_address: 0,
            min_body_rate: 0,
            https_port: None,
        }
    }

    fn inherited(name: Option<&str>) -> (Inherited, String) {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap().to_string();
        let inherited = Inherited::tcp(socket, name.map(str::to_owned)).unwrap();
        (inherited, address)
    }

    #[test]
    fn an_inherited_socket_goes_to_the_network_with_its_address() {
        let (socket, address) = inherited(Some("other"));
        let sockets = Sockets::open(&[network("public", &address)], vec![socket]).unwrap();
        assert_eq!(sockets.copies().unwrap()[0].0, address);
    }

    #[test]
    fn a_name_without_its_address_is_an_error() {
        let (socket, address) = inherited(Some("public"));
        let error = Sockets::open(&[network("public", "127.0.0.1:1")], vec![socket]).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("network.public: ") && text.contains(&address),
            "{text}"
        );
    }

    #[test]
    fn what_no_network_names_is_closed() {
        let (socket, address) = inherited(None);
        Sockets::open(&[], vec![socket]).unwrap();
        assert!(std::net::TcpStream::connect(address).is_err());
    }

    #[test]
    fn every_address_is_the_same_in_both_families() {
        let socket = |address: &str| Inherited {
            bind: Bind::Tcp(address.parse().unwrap()),
            name: None,
            fd: inherited(None).0.fd,
        };
        assert!(socket("[::]:443").is_for(&network("n", "0.0.0.0:443")));
        assert!(!socket("[::]:443").is_for(&network("n", "0.0.0.0:80")));
        assert!(!socket("[::]:443").is_for(&network("n", "127.0.0.1:443")));
    }
}
