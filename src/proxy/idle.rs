//! Connections to upstreams that wait for another request.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use foldhash::fast::RandomState;
use tokio::io::{AsyncRead, ReadBuf};

use super::upstream::Link;
use crate::gateway::Upstream;

/// Most connections that are kept.
const LIMIT: usize = 1024;

/// Those that wait, by address. The one that has waited least goes first, so that what is too many dries up.
#[derive(Default)]
pub(super) struct Idle(Mutex<Links>);

#[derive(Default)]
struct Links {
    by_address: HashMap<SocketAddr, Vec<Link>, RandomState>,
    count: usize,
}

impl Idle {
    /// Takes one that fits and that the upstream has left alone: one that is closed, or has something to read, is none to send a request on.
    pub(super) fn take(&self, upstream: &Upstream, address: SocketAddr) -> Option<Link> {
        loop {
            let mut link = self.links().take(upstream, address)?;
            if is_quiet(&mut link) {
                return Some(link);
            }
        }
    }

    /// Keeps one, unless there are enough.
    pub(super) fn put(&self, link: Link) {
        let mut links = self.links();
        if links.count < LIMIT {
            links.count += 1;
            let address = link.purpose.address;
            links.by_address.entry(address).or_default().push(link);
        }
    }

    /// Closes those that the upstream has closed, or that have waited for too long.
    pub(super) fn sweep(&self) {
        let mut over = Vec::new();
        let mut links = self.links();
        for waiting in links.by_address.values_mut() {
            over.extend(waiting.extract_if(.., |link| !is_quiet(link)));
        }
        links.by_address.retain(|_, waiting| !waiting.is_empty());
        links.count -= over.len();
        // Closing takes its time.
        drop(links);
        drop(over);
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Links {
    fn take(&mut self, upstream: &Upstream, address: SocketAddr) -> Option<Link> {
        let waiting = self.by_address.get_mut(&address)?;
        let fits = |link: &Link| link.purpose.fits(upstream, address);
        let at = waiting.iter().rposition(fits)?;
        self.count -= 1;
        Some(waiting.remove(at))
    }
}

/// Whether nothing has come from the upstream, not even the end. Asks the system only after it has said that something has.
fn is_quiet(link: &mut Link) -> bool {
    let mut byte = [0];
    let mut byte = ReadBuf::new(&mut byte);
    let mut context = Context::from_waker(Waker::noop());
    let read = Pin::new(&mut link.stream).poll_read(&mut context, &mut byte);
    read.is_pending()
}
