//! Which connection is closed for another one when there are as many as there may be.
//!
//! An eviction happens under the lock of the listener, as often as clients connect, so its work is
//! bounded: it examines [`MAX_EXAMINED`] connections at most. In a larger pool these are the ones
//! that rank first, by a ranking that is made at most once per tick of the clock.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::close_reason::CloseReason;
use super::connection::Connection;
use super::state::EvictionClass;

/// Established connections that one eviction examines. In a pool that is not larger, the best one
/// is always found.
pub(super) const MAX_EXAMINED: usize = 64;
/// A response that is unread for less may still be read.
pub(super) const MIN_UNREAD: Duration = Duration::from_secs(10);

/// Connections that share a limit: those of a listener, or those of one client address. Some may be
/// closed already.
#[derive(Debug, Default)]
pub(super) struct EvictionPool {
    /// Those that may not have sent a whole head yet, the oldest first.
    new: VecDeque<Arc<Connection>>,
    /// Those that have.
    established: VecDeque<Arc<Connection>>,
    /// The tick in which the established ones were ranked.
    ranked_at: Option<u64>,
}

impl EvictionPool {
    /// Adds a connection that was just accepted.
    pub(super) fn push(&mut self, connection: Arc<Connection>) {
        self.new.push_back(connection);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.new.is_empty() && self.established.is_empty()
    }

    /// Closes the oldest connection that has not sent a whole head; if all have, the longest one of
    /// the first [`EvictionClass`] that there is. A later head is slow after `slow_head`. `None`:
    /// those that were examined are busy.
    pub(super) fn evict(&mut self, slow_head: Duration) -> Option<(Arc<Connection>, CloseReason)> {
        // Each connection passes here once.
        while let Some(oldest) = self.new.pop_front() {
            let state = oldest.state();
            if state.has_received_head() {
                self.established.push_back(oldest);
            } else if state.close(CloseReason::Evicted) {
                return Some((oldest, CloseReason::Evicted));
            }
        }
        self.rank(slow_head);
        loop {
            let (class, place) = self.first_evictable(slow_head)?;
            let reason = match class {
                EvictionClass::SlowHead => CloseReason::Evicted,
                EvictionClass::StalledBody => CloseReason::EvictedSlowBody,
                EvictionClass::Idle => CloseReason::EvictedIdle,
                EvictionClass::Unread => CloseReason::WriteTimeout,
            };
            let connection = self.established.remove(place)?;
            if connection.state().close(reason) {
                return Some((connection, reason));
            }
        }
    }

    /// Sorts a large pool by what goes first, unless that was done in this tick.
    fn rank(&mut self, slow_head: Duration) {
        let now = self
            .established
            .front()
            .map(|connection| connection.state().now());
        if self.established.len() <= MAX_EXAMINED || self.ranked_at == now {
            return;
        }
        self.ranked_at = now;
        self.established
            .retain(|connection| !connection.state().is_closed());
        self.established
            .make_contiguous()
            .sort_by_cached_key(|connection| {
                let class = eviction_class(connection, slow_head);
                (class.is_none(), class)
            });
    }

    /// The best one among the first [`MAX_EXAMINED`]. Those that are busy go to the end, so that
    /// the next eviction examines others.
    fn first_evictable(&mut self, slow_head: Duration) -> Option<(EvictionClass, usize)> {
        let mut first: Option<((EvictionClass, u64), usize)> = None;
        let mut place = 0;
        let mut left = self.established.len().min(MAX_EXAMINED);
        while left > 0
            && let Some(connection) = self.established.get(place)
        {
            if connection.state().is_closed() {
                self.established.remove(place);
                continue;
            }
            left -= 1;
            match eviction_class(connection, slow_head) {
                None => {
                    let busy = self.established.remove(place);
                    self.established.extend(busy);
                }
                Some(class) => {
                    if first.is_none_or(|(best, _)| class < best) {
                        first = Some((class, place));
                    }
                    place += 1;
                }
            }
        }
        first.map(|((class, _), place)| (class, place))
    }

    /// Drops those that are closed, `visit` having seen each before.
    pub(super) fn sweep(&mut self, mut visit: impl FnMut(&Arc<Connection>)) {
        self.established.retain(|connection| {
            visit(connection);
            !connection.state().is_closed()
        });
        self.new.retain(|connection| {
            visit(connection);
            let state = connection.state();
            if state.is_closed() {
                return false;
            }
            let is_established = state.has_received_head();
            if is_established {
                self.established.push_back(connection.clone());
            }
            !is_established
        });
        shrink(&mut self.new);
        shrink(&mut self.established);
    }
}

fn eviction_class(connection: &Connection, slow_head: Duration) -> Option<(EvictionClass, u64)> {
    #[cfg(test)]
    EXAMINED.set(EXAMINED.get() + 1);
    connection.state().eviction_class(slow_head, MIN_UNREAD)
}

/// After a flood, its memory is not kept for the next one.
fn shrink(connections: &mut VecDeque<Arc<Connection>>) {
    if connections.is_empty() {
        *connections = VecDeque::new();
    } else if connections.capacity() > 4 * connections.len() + 1024 {
        connections.shrink_to(2 * connections.len());
    }
}

#[cfg(test)]
thread_local! {
    static EXAMINED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// How many connections the evictions of this thread have examined.
#[cfg(test)]
pub(super) fn examined() -> usize {
    EXAMINED.get()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::client_limits::ClientLimits;
    use crate::listener::clock::Clock;

    const COUNT: usize = 5_000;
    const TICK: Duration = Duration::from_millis(250);

    /// A pool of busy connections, with the clock that they go by.
    fn busy_pool(count: usize) -> (EvictionPool, Vec<Arc<Connection>>, Arc<Clock>) {
        let clock = Arc::<Clock>::default();
        let limits = Arc::new(ClientLimits::new(0, 0));
        let mut pool = EvictionPool::default();
        let connections: Vec<_> = (0..count)
            .map(|_| Arc::new(Connection::new(clock.clone(), limits.clone())))
            .collect();
        for connection in &connections {
            pool.push(connection.clone());
            connection.state().head_complete();
        }
        pool.sweep(|_| {});
        (pool, connections, clock)
    }

    /// What one eviction closes, and how many connections it examines.
    fn evict(pool: &mut EvictionPool) -> (Option<Arc<Connection>>, usize) {
        let before = examined();
        let evicted = pool.evict(Duration::ZERO);
        (
            evicted.map(|(connection, _)| connection),
            examined() - before,
        )
    }

    #[test]
    fn an_eviction_examines_few_however_many_there_are() {
        let (mut pool, _connections, clock) = busy_pool(COUNT);
        for tick in 0..3 {
            let (evicted, examined) = evict(&mut pool);
            assert!(
                evicted.is_none() && examined <= COUNT + MAX_EXAMINED,
                "ranked in tick {tick}"
            );
            for _ in 0..1000 {
                let (evicted, examined) = evict(&mut pool);
                assert!(evicted.is_none() && examined <= MAX_EXAMINED, "{examined}");
            }
            clock.advance(TICK);
        }
    }

    #[test]
    fn in_a_large_pool_the_longest_idle_goes_first_and_none_is_missed() {
        let (mut pool, connections, clock) = busy_pool(COUNT);
        let idle = [3_000, 7, 4_999, 2_500].map(|place: usize| {
            clock.advance(TICK);
            connections[place].state().request_complete();
            &connections[place]
        });
        for expected in idle {
            let (evicted, _) = evict(&mut pool);
            assert!(evicted.is_some_and(|evicted| Arc::ptr_eq(&evicted, expected)));
        }
        assert!(evict(&mut pool).0.is_none(), "all others are busy");
        let [.., last] = &connections[..] else {
            unreachable!()
        };
        assert!(last.state().is_closed());
        connections[4_000].state().request_complete();
        clock.advance(TICK);
        let (evicted, _) = evict(&mut pool);
        assert!(evicted.is_some_and(|evicted| Arc::ptr_eq(&evicted, &connections[4_000])));
    }

    #[test]
    fn those_that_became_busy_do_not_hide_the_others() {
        let (mut pool, connections, clock) = busy_pool(COUNT);
        clock.advance(TICK);
        for connection in &connections[..1_000] {
            connection.state().request_complete();
        }
        assert!(evict(&mut pool).0.is_some(), "ranked");
        for connection in &connections[..900] {
            connection.state().head_complete();
        }
        let evicted = (0..1_000).filter(|_| evict(&mut pool).0.is_some()).count();
        assert_eq!(evicted, 100);
    }
}
