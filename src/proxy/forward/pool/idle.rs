//! Connections to upstreams that wait for another request.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use foldhash::fast::RandomState;
use tokio::io::AsyncReadExt;
use tokio::task::coop::unconstrained;

use crate::proxy::forward::pool::{Link, Purpose};

/// Most connections that are kept.
const LIMIT: usize = 1024;

/// Those that wait, by address. The one that has waited least goes first, so that what is too many
/// dries up.
#[derive(Default)]
pub(crate) struct Idle(Mutex<Links>);

#[derive(Default)]
struct Links {
    by_address: HashMap<SocketAddr, Vec<Link>, RandomState>,
    count: usize,
}

impl Idle {
    /// Takes one that fits and that the upstream has left alone: one that is closed, or has
    /// something to read, is none to send a request on.
    pub(crate) fn take(&self, address: SocketAddr, fits: impl Fn(&Link) -> bool) -> Option<Link> {
        loop {
            let mut link = self.links().take(address, &fits)?;
            if link.deadline.wake() && is_quiet(&mut link) {
                return Some(link);
            }
        }
    }

    /// Keeps one, unless there are enough.
    pub(crate) fn put(&self, link: Link) {
        link.deadline.rest();
        let mut links = self.links();
        if links.count < LIMIT {
            links.count += 1;
            let address = link.purpose.address;
            links.by_address.entry(address).or_default().push(link);
        }
    }

    /// Closes the one that has waited longest of those that may go; `false`: there is none.
    pub(crate) fn close_one(&self, may_go: impl Fn(&Link) -> bool) -> bool {
        let mut links = self.links();
        let longest = |(address, waiting): (&SocketAddr, &Vec<Link>)| {
            // The last one has come last.
            let at = waiting.iter().position(&may_go)?;
            Some((waiting.get(at)?.deadline.due(), *address, at))
        };
        let of_each = links.by_address.iter().filter_map(longest);
        let Some((_, address, at)) = of_each.min() else {
            return false;
        };
        let link = links.by_address.get_mut(&address).map(|it| it.remove(at));
        links.count -= usize::from(link.is_some());
        // Closing takes its time.
        drop(links);
        link.is_some()
    }

    /// Closes those that the upstream has closed, that have waited for too long, or whose address is
    /// none of the upstream's any more.
    pub(crate) fn sweep(&self) {
        let mut over = Vec::new();
        let mut links = self.links();
        for waiting in links.by_address.values_mut() {
            let has_left = |Purpose {
                                addresses, address, ..
                            }: &Purpose| !addresses.has(*address);
            let is_over = |link: &mut Link| {
                link.deadline.passed() || has_left(&link.purpose) || !is_quiet(link)
            };
            over.extend(waiting.extract_if(.., is_over));
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
    fn take(&mut self, address: SocketAddr, fits: impl Fn(&Link) -> bool) -> Option<Link> {
        let waiting = self.by_address.get_mut(&address)?;
        let at = waiting.iter().rposition(fits)?;
        self.count -= 1;
        Some(waiting.remove(at))
    }
}

/// Whether nothing has come from the upstream, not even the end. Asks the system only after it has
/// said that something has.
pub(crate) fn is_quiet(link: &mut Link) -> bool {
    let mut byte = [0];
    // Whatever else the task has read: otherwise all would be quiet once it has read its share.
    let reading = pin!(unconstrained(link.stream.read(&mut byte)));
    let mut context = Context::from_waker(Waker::noop());
    reading.poll(&mut context).is_pending()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

    use super::super::limit::Permit;
    use super::*;
    use crate::gateway::Resolver;
    use crate::proxy::forward::deadline::Deadline;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    /// One to this port, and its other end.
    fn link(port: u16, host: Option<&str>) -> (Link, DuplexStream) {
        let (ours, theirs) = duplex(64);
        let link = Link {
            stream: Box::new(ours),
            deadline: Arc::new(Deadline::new()),
            purpose: Purpose {
                address: address(port),
                addresses: Resolver::default().addresses("127.0.0.1", port),
                tls: host.map(|host| (host.to_owned(), None)),
            },
            permit: Permit::uncounted(),
        };
        (link, theirs)
    }

    fn taken(idle: &Idle, port: u16, host: Option<&str>) -> Option<Link> {
        let name = |link: &Link| link.purpose.tls.as_ref().map(|(host, _)| host.clone());
        idle.take(address(port), |link| name(link).as_deref() == host)
    }

    #[tokio::test]
    async fn one_is_taken_for_its_own_purpose_only() {
        let idle = Idle::default();
        let (one, _one) = link(1, Some("a.example"));
        let (other, _other) = link(1, None);
        idle.put(one);
        idle.put(other);
        assert!(taken(&idle, 2, None).is_none());
        assert!(taken(&idle, 1, Some("b.example")).is_none());
        assert!(taken(&idle, 1, Some("a.example")).is_some());
        assert!(taken(&idle, 1, Some("a.example")).is_none(), "it is in use");
        assert!(taken(&idle, 1, None).is_some());
        assert_eq!(idle.links().count, 0);
    }

    #[tokio::test]
    async fn one_that_was_closed_or_says_something_is_not_used_again() {
        let idle = Idle::default();
        let (quiet, _quiet) = link(1, None);
        let (closed, end) = link(1, None);
        let (talking, mut mouth) = link(1, None);
        for link in [quiet, closed, talking] {
            idle.put(link);
        }
        drop(end);
        mouth.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        assert!(taken(&idle, 1, None).is_some(), "the quiet one");
        assert!(taken(&idle, 1, None).is_none());
        assert_eq!(idle.links().count, 0);
    }

    #[tokio::test]
    async fn one_whose_time_is_over_is_not_used_again() {
        let idle = Idle::default();
        let (link, _end) = link(1, None);
        let deadline = link.deadline.clone();
        idle.put(link);
        // As the watcher does, between its look at the clock and the end of the connection.
        assert!(deadline.wake());
        assert!(taken(&idle, 1, None).is_none());
    }

    #[tokio::test]
    async fn a_sweep_closes_what_is_over_and_leaves_the_rest() {
        let idle = Idle::default();
        let (kept, _kept) = link(1, None);
        let (closed, end) = link(1, None);
        let (alone, its_end) = link(2, None);
        for link in [kept, closed, alone] {
            idle.put(link);
        }
        drop((end, its_end));
        idle.sweep();
        let links = idle.links();
        assert_eq!((links.count, links.by_address.len()), (1, 1));
        drop(links);
        assert!(taken(&idle, 1, None).is_some());
    }

    #[tokio::test]
    async fn the_one_that_has_waited_longest_makes_room() {
        let idle = Idle::default();
        let mut ends = Vec::new();
        for (port, host) in [(2, None), (1, Some("old")), (1, None), (2, Some("new"))] {
            let (link, end) = link(port, host);
            idle.put(link);
            ends.push(end);
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        assert!(idle.close_one(|link| link.purpose.tls.is_some()));
        assert!(taken(&idle, 1, Some("old")).is_none());
        assert!(idle.close_one(|_| true));
        assert!(taken(&idle, 2, None).is_none());
        assert!(!idle.close_one(|link| link.purpose.address.port() == 3));
        assert!(taken(&idle, 1, None).is_some() && taken(&idle, 2, Some("new")).is_some());
        assert!(!idle.close_one(|_| true));
        assert_eq!(idle.links().count, 0);
    }

    #[tokio::test]
    async fn there_is_an_end_to_how_many_are_kept() {
        let idle = Idle::default();
        let ends: Vec<_> = (0..LIMIT + 3)
            .map(|_| {
                let (link, end) = link(1, None);
                idle.put(link);
                end
            })
            .collect();
        assert_eq!(idle.links().count, LIMIT);
        drop(ends);
        idle.sweep();
        assert_eq!(idle.links().count, 0);
    }
}
