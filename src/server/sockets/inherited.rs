//! Listening sockets that systemd or the process before passed.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;

use crate::config::{Bind, Network};

/// A listening socket that came from elsewhere.
#[derive(Debug)]
pub struct InheritedSocket {
    /// What it is bound to.
    pub(super) bind: Bind,
    /// `FileDescriptorName=`, where systemd gave one.
    pub(super) name: Option<String>,
    pub(super) fd: OwnedFd,
}

impl InheritedSocket {
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
    pub(in crate::server) fn received(fd: OwnedFd, address: &str) -> Self {
        let bind = match address.parse() {
            Ok(address) => Bind::Tcp(address),
            Err(_) => Bind::Unix(address.into()),
        };
        let name = None;
        Self { bind, name, fd }
    }

    pub(super) fn tcp(socket: TcpListener, name: Option<String>) -> io::Result<Self> {
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
    pub(super) fn is_for(&self, network: &Network) -> bool {
        match (&self.bind, &network.bind) {
            (Bind::Tcp(own), Bind::Tcp(wanted)) => {
                let everywhere = own.ip().is_unspecified() && wanted.ip().is_unspecified();
                own == wanted || everywhere && own.port() == wanted.port()
            }
            (own, wanted) => own == wanted,
        }
    }
}
