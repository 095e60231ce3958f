//! The sockets that the listeners accept from: inherited from systemd or from the process before,
//! else bound here.
//!
//! They are opened before Pingora runs, so that an address that is taken is an error with a name,
//! and kept, so that they can be handed over. Pingora gets copies.

mod error;
mod inherited;
mod placement;

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{IntoRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pingora::server::ListenFds;

use crate::config::{Bind, Network};

pub use error::SocketError;
pub use inherited::InheritedSocket;
pub(super) use placement::SocketPlacement;

/// How long an address may still be taken by a process that is just ending.
const BIND_PATIENCE: Duration = Duration::from_secs(1);

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
        mut inherited: Vec<InheritedSocket>,
    ) -> Result<Self, SocketError> {
        let mut sockets = Vec::new();
        for network in networks {
            let place = inherited.iter().position(|socket| socket.is_for(network));
            let named = |socket: &InheritedSocket| socket.name.as_deref() == Some(&*network.name);
            let fd = match place.map(|place| inherited.swap_remove(place)) {
                Some(socket) => Ok(socket.fd),
                None => match inherited.iter().find(|socket| named(socket)) {
                    Some(other) => return Err(SocketError::misnamed(network, &other.bind)),
                    None => bind(&network.bind),
                },
            };
            let copied = fd.and_then(|fd| Ok((fd.try_clone()?, fd)));
            let (copy, fd) = copied.map_err(|source| SocketError::bind(network, source))?;
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

    fn lock(&self) -> MutexGuard<'_, Vec<Socket>> {
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

#[cfg(test)]
mod tests;
