//! Addresses that connections could not be made to, of upstreams that have others: tried again in
//! the background, so that no request pays for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use pingora::protocols::ALPN;
use tokio::time::timeout;

use super::connector::Connector;
use crate::gateway::{Addresses, PeerAddress, Upstream};
use crate::proxy::forward::proxy_header;

/// How long one is left alone before it is tried, and how long that may take.
const PAUSE: Duration = Duration::from_secs(5);

/// Those that wait for their next probe.
#[derive(Debug, Default)]
pub(super) struct RecoveryProbes(Mutex<Vec<RecoveryProbe>>);

#[derive(Debug, Clone)]
struct RecoveryProbe {
    upstream: Weak<Upstream>,
    /// They outlive the upstream of one configuration.
    addresses: Weak<Addresses>,
    address: PeerAddress,
    due: Instant,
}

impl RecoveryProbes {
    /// One more, which is tried until a connection to it can be made. One that waits already does
    /// so once.
    pub(super) fn add(&self, upstream: &Arc<Upstream>, address: &PeerAddress) {
        let addresses = Arc::downgrade(&upstream.addresses);
        let mut waiting = self.waiting();
        let is_it = |probe: &RecoveryProbe| {
            probe.address == *address && Weak::ptr_eq(&probe.addresses, &addresses)
        };
        if waiting.iter().any(is_it) {
            return;
        }
        waiting.push(RecoveryProbe {
            upstream: Arc::downgrade(upstream),
            addresses,
            address: address.clone(),
            due: Instant::now() + PAUSE,
        });
    }

    /// Begins those that are due.
    pub(super) fn begin(self: &Arc<Self>, connector: &Arc<Connector>) {
        let now = Instant::now();
        let is_due = |probe: &mut RecoveryProbe| probe.due <= now;
        let due: Vec<RecoveryProbe> = self.waiting().extract_if(.., is_due).collect();
        for probe in due {
            let (probes, connector) = (self.clone(), connector.clone());
            tokio::spawn(async move {
                if probe.fails(&connector).await {
                    let due = Instant::now() + PAUSE;
                    probes.waiting().push(RecoveryProbe { due, ..probe });
                }
            });
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<RecoveryProbe>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RecoveryProbe {
    /// Whether it is to be tried again. It is not where its name is in use no more or has other
    /// addresses, nor where a request has found out meanwhile that it works.
    async fn fails(&self, connector: &Connector) -> bool {
        if !self.is_wanted() {
            return false;
        }
        let Some(upstream) = self.upstream.upgrade() else {
            // A reload has replaced it. Whether the address may be connected to is for its
            // successor to say, whose requests find out how it stands.
            if let Some(addresses) = self.addresses.upgrade() {
                addresses.forget_failure(&self.address);
            }
            return false;
        };
        let header = proxy_header::for_edge(&upstream).ok().flatten();
        let connecting = connector.connect(&upstream, &self.address, ALPN::H1, header);
        if !matches!(timeout(PAUSE, connecting).await, Ok(Ok(_))) {
            return self.is_wanted();
        }
        if let Some(addresses) = self.addresses.upgrade() {
            addresses.mark_working(&self.address);
        }
        false
    }

    fn is_wanted(&self) -> bool {
        let addresses = self.addresses.upgrade();
        addresses.is_some_and(|addresses| addresses.is_failing(&self.address))
    }
}
