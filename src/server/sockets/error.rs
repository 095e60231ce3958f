//! Why a listener has no socket, and what the operator can do about it.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use crate::config::{Bind, Network};

/// Why a listener's socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// A listener's address cannot be bound.
    #[error(
        "network.{network}: cannot listen on {address}: {source}{}",
        hint(source)
    )]
    Bind {
        /// Name of the network.
        network: Arc<str>,
        /// Its address, as configured.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// A socket that systemd passed bears a network's name and another address.
    #[error(
        "network.{network}: the socket of this name that systemd passed is bound to {found}, not \
         to {address}; make ListenStream= and bind_address with bind_port the same"
    )]
    Misnamed {
        /// Name of the network.
        network: Arc<str>,
        /// Its address, as configured.
        address: String,
        /// That of the socket.
        found: String,
    },
}

impl SocketError {
    pub(super) fn bind(network: &Network, source: io::Error) -> Self {
        Self::Bind {
            network: network.name.clone(),
            address: network.bind.to_string(),
            source,
        }
    }

    pub(super) fn misnamed(network: &Network, found: &Bind) -> Self {
        Self::Misnamed {
            network: network.name.clone(),
            address: network.bind.to_string(),
            found: found.to_string(),
        }
    }
}

/// What to do about a listener that cannot be bound.
fn hint(source: &io::Error) -> &'static str {
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
