//! Connections to upstreams that wait for another request.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;

use super::connection::{Lease, PooledConnection, is_quiet};
use crate::gateway::PeerAddress;

/// Most connections that are kept.
const LIMIT: usize = 1024;

/// Those that wait, by address. The one that has waited least goes first, so that what is too many
/// dries up.
#[derive(Default)]
pub(super) struct Idle(Mutex<Connections>);

#[derive(Default)]
struct Connections {
    by_address: HashMap<PeerAddress, Vec<PooledConnection>, RandomState>,
    count: usize,
}

impl Idle {
    /// Takes one that fits and that the upstream has left alone: one that is closed, or has
    /// something to read, is none to send a request on.
    pub(super) fn take(
        &self,
        address: &PeerAddress,
        fits: impl Fn(&Lease) -> bool,
    ) -> Option<PooledConnection> {
        loop {
            let mut connection = self.lock().take(address, &fits)?;
            if connection.wakes_quiet() {
                return Some(connection);
            }
        }
    }

    /// Keeps one, unless there are enough.
    pub(super) fn put(&self, connection: PooledConnection) {
        connection.lease.deadline.rest();
        let mut all = self.lock();
        if all.count < LIMIT {
            all.count += 1;
            let address = connection.lease.key.address.clone();
            all.by_address.entry(address).or_default().push(connection);
        }
    }

    /// Closes the one that has waited longest of those that may go; `false`: there is none.
    pub(super) fn close_one(&self, may_go: impl Fn(&Lease) -> bool) -> bool {
        let mut all = self.lock();
        let of_each = all.by_address.iter().filter_map(|(address, idle)| {
            // The last one has come last.
            let at = idle.iter().position(|it| may_go(&it.lease))?;
            Some((idle.get(at)?.lease.deadline.due(), address, at))
        });
        let Some((_, address, at)) = of_each.min() else {
            return false;
        };
        let address = address.clone();
        let evicted = all.by_address.get_mut(&address).map(|it| it.remove(at));
        all.count -= usize::from(evicted.is_some());
        // Closing takes its time.
        drop(all);
        evicted.is_some()
    }

    /// Closes those that the upstream has closed, that have waited for too long, or whose address
    /// is none of the upstream's any more.
    pub(super) fn sweep(&self) {
        let mut over = Vec::new();
        let mut all = self.lock();
        for idle in all.by_address.values_mut() {
            let is_over = |PooledConnection { stream, lease }: &mut PooledConnection| {
                let key = &lease.key;
                lease.deadline.passed() || !key.addresses.has(&key.address) || !is_quiet(stream)
            };
            over.extend(idle.extract_if(.., is_over));
        }
        all.by_address.retain(|_, idle| !idle.is_empty());
        all.count -= over.len();
        // Closing takes its time.
        drop(all);
        drop(over);
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connections {
    fn take(
        &mut self,
        address: &PeerAddress,
        fits: impl Fn(&Lease) -> bool,
    ) -> Option<PooledConnection> {
        let idle = self.by_address.get_mut(address)?;
        let at = idle.iter().rposition(|it| fits(&it.lease))?;
        self.count -= 1;
        Some(idle.remove(at))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::gateway::Resolver;
    use crate::proxy::forward::deadline::Deadline;
    use crate::proxy::forward::pool::connection::PoolKey;
    use crate::proxy::forward::pool::limit::Permit;

    fn address(port: u16) -> PeerAddress {
        PeerAddress::Inet(([127, 0, 0, 1], port).into())
    }

    /// One to this port, and its other end.
    fn connection(port: u16, host: Option<&str>) -> (PooledConnection, DuplexStream) {
        let (ours, theirs) = duplex(64);
        let lease = Lease {
            deadline: Arc::new(Deadline::new()),
            key: PoolKey {
                address: address(port),
                addresses: Resolver::default().addresses("127.0.0.1", port),
                tls: host.map(|host| (host.to_owned(), None)),
            },
            permit: Permit::uncounted(),
        };
        let stream = Box::new(ours);
        (PooledConnection { stream, lease }, theirs)
    }

    fn taken(idle: &Idle, port: u16, host: Option<&str>) -> Option<PooledConnection> {
        let name = |lease: &Lease| lease.key.tls.as_ref().map(|(host, _)| host.clone());
        idle.take(&address(port), |lease| name(lease).as_deref() == host)
    }

    #[tokio::test]
    async fn one_is_taken_for_its_own_purpose_only() {
        let idle = Idle::default();
        let (one, _one) = connection(1, Some("a.example"));
        let (other, _other) = connection(1, None);
        idle.put(one);
        idle.put(other);
        assert!(taken(&idle, 2, None).is_none());
        assert!(taken(&idle, 1, Some("b.example")).is_none());
        assert!(taken(&idle, 1, Some("a.example")).is_some());
        assert!(taken(&idle, 1, Some("a.example")).is_none(), "it is in use");
        assert!(taken(&idle, 1, None).is_some());
        assert_eq!(idle.lock().count, 0);
    }

    #[tokio::test]
    async fn one_that_was_closed_or_says_something_is_not_used_again() {
        let idle = Idle::default();
        let (quiet, _quiet) = connection(1, None);
        let (closed, end) = connection(1, None);
        let (talking, mut mouth) = connection(1, None);
        for one in [quiet, closed, talking] {
            idle.put(one);
        }
        drop(end);
        mouth.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        assert!(taken(&idle, 1, None).is_some(), "the quiet one");
        assert!(taken(&idle, 1, None).is_none());
        assert_eq!(idle.lock().count, 0);
    }

    #[tokio::test]
    async fn one_whose_time_is_over_is_not_used_again() {
        let idle = Idle::default();
        let (one, _end) = connection(1, None);
        let deadline = one.lease.deadline.clone();
        idle.put(one);
        // As the watcher does, between its look at the clock and the end of the connection.
        assert!(deadline.wake());
        assert!(taken(&idle, 1, None).is_none());
    }

    #[tokio::test]
    async fn a_sweep_closes_what_is_over_and_leaves_the_rest() {
        let idle = Idle::default();
        let (kept, _kept) = connection(1, None);
        let (closed, end) = connection(1, None);
        let (alone, its_end) = connection(2, None);
        for one in [kept, closed, alone] {
            idle.put(one);
        }
        drop((end, its_end));
        idle.sweep();
        let all = idle.lock();
        assert_eq!((all.count, all.by_address.len()), (1, 1));
        drop(all);
        assert!(taken(&idle, 1, None).is_some());
    }

    #[tokio::test]
    async fn the_one_that_has_waited_longest_makes_room() {
        let idle = Idle::default();
        let mut ends = Vec::new();
        for (port, host) in [(2, None), (1, Some("old")), (1, None), (2, Some("new"))] {
            let (one, end) = connection(port, host);
            idle.put(one);
            ends.push(end);
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        assert!(idle.close_one(|lease| lease.key.tls.is_some()));
        assert!(taken(&idle, 1, Some("old")).is_none());
        assert!(idle.close_one(|_| true));
        assert!(taken(&idle, 2, None).is_none());
        assert!(!idle.close_one(|lease| lease.key.address == address(3)));
        assert!(taken(&idle, 1, None).is_some() && taken(&idle, 2, Some("new")).is_some());
        assert!(!idle.close_one(|_| true));
        assert_eq!(idle.lock().count, 0);
    }

    #[tokio::test]
    async fn there_is_an_end_to_how_many_are_kept() {
        let idle = Idle::default();
        let ends: Vec<_> = (0..LIMIT + 3)
            .map(|_| {
                let (one, end) = connection(1, None);
                idle.put(one);
                end
            })
            .collect();
        assert_eq!(idle.lock().count, LIMIT);
        drop(ends);
        idle.sweep();
        assert_eq!(idle.lock().count, 0);
    }
}
