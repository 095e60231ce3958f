//! Consistent hashing: the same key goes to the same member, and when one is gone only its keys move. The ring is Pingora's Ketama.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;

use pingora::lb::selection::{BackendIter, BackendSelection, Consistent};
use pingora::lb::{Backend, Extensions};
use pingora::protocols::l4::socket::SocketAddr as PeerAddr;
use ring::digest::{SHA256, digest};

/// How many points of the ring are looked at for each member before all members are gone through: far more than it takes to meet every one.
const POINTS: usize = 160;

/// A ring of members.
pub(super) struct Ring {
    ring: Arc<Consistent>,
    members: usize,
}

/// A member's number, as the ring carries it.
#[derive(Clone, Copy)]
struct Number(usize);

impl Ring {
    /// A ring of members with these names and weights. A member's place depends on nothing but its name: not on what the name resolves to, nor on the others.
    pub(super) fn new<'a>(members: impl IntoIterator<Item = (&'a str, u32)>) -> Self {
        let mut backends = BTreeSet::new();
        for (index, (name, weight)) in members.into_iter().enumerate() {
            let mut ext = Extensions::new();
            ext.insert(Number(index));
            let mut backend = Backend {
                addr: place(name, 0),
                weight: usize::try_from(weight).unwrap_or(1).max(1),
                ext,
            };
            // Two members of one name: two places.
            let taken = |backend: &Backend| {
                backends
                    .iter()
                    .any(|other: &Backend| other.addr == backend.addr)
            };
            for again in 1.. {
                if !taken(&backend) {
                    break;
                }
                backend.addr = place(name, again);
            }
            backends.insert(backend);
        }
        Self {
            members: backends.len(),
            ring: Arc::new(Consistent::build(&backends)),
        }
    }

    /// The member that a key belongs to, or the first one after it on the ring that is accepted.
    pub(super) fn find(&self, key: &[u8], mut accept: impl FnMut(usize) -> bool) -> Option<usize> {
        let mut points = self.ring.iter(key);
        let mut last = None;
        for _ in 0..self.members.saturating_mul(POINTS) {
            let Number(index) = *points.next()?.ext.get::<Number>()?;
            if last.replace(index) != Some(index) && accept(index) {
                return Some(index);
            }
        }
        (0..self.members).find(|&index| accept(index))
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("members", &self.members)
            .finish_non_exhaustive()
    }
}

/// The ring takes addresses only, so a name becomes one that stands for it; nobody connects to it.
fn place(name: &str, again: u16) -> PeerAddr {
    let digest = digest(&SHA256, name.as_bytes());
    let mut bytes = [0; 16];
    for (byte, &from) in bytes.iter_mut().zip(digest.as_ref()) {
        *byte = from;
    }
    PeerAddr::Inet(SocketAddr::new(Ipv6Addr::from(bytes).into(), again))
}
