//! Who is evicted for whom, and that each connection counts once.

use super::*;
use crate::listener::clock::Clock;
use crate::listener::eviction::{self, MIN_UNREAD};

struct Limited {
    limiter: Arc<ConnectionLimiter>,
    clock: Arc<Clock>,
}

impl Limited {
    fn new(limit: usize) -> Self {
        let bind = Bind::Tcp("127.0.0.1:80".parse().unwrap());
        let metrics = Arc::new(NetworkMetrics::new("public".into()));
        Self {
            limiter: Arc::new(ConnectionLimiter::new(
                bind,
                limit,
                ClientLimits::new(240, 0),
                metrics,
            )),
            clock: Arc::default(),
        }
    }

    fn open(&self) -> Option<(Arc<Connection>, Admission)> {
        self.open_from("192.0.2.1")
    }

    fn open_from(&self, address: &str) -> Option<(Arc<Connection>, Admission)> {
        let clients = self.limiter.clients().clone();
        let connection = Arc::new(Connection::new(self.clock.clone(), clients));
        let address = address.parse().ok();
        let admission = self.limiter.admit(&connection, address)?;
        Some((connection, admission))
    }

    fn count(&self) -> usize {
        self.limiter.metrics.open.load(Ordering::Relaxed)
    }
}

fn closed(connection: &(Arc<Connection>, Admission)) -> Option<CloseReason> {
    connection.0.state().close_reason()
}

#[test]
fn the_oldest_without_a_whole_head_goes() {
    let limited = Limited::new(3);
    let [kept, slow, new] = [(); 3].map(|()| limited.open().unwrap());
    kept.0.state().head_complete();
    slow.0.state().bytes_arrived(true);
    let next = limited.open().unwrap();
    assert_eq!(
        [closed(&kept), closed(&slow), closed(&new), closed(&next)],
        [None, Some(CloseReason::Evicted), None, None]
    );
    assert_eq!(limited.count(), 3);
    drop(slow);
    assert_eq!(limited.count(), 3, "it was taken off when it was closed");
    drop((kept, new, next));
    assert_eq!(limited.count(), 0);
    limited.limiter.sweep();
    assert!(limited.limiter.pools().all.is_empty());
}

#[test]
fn among_those_that_have_sent_one_the_longest_idle_goes_and_a_busy_one_never() {
    let limited = Limited::new(2);
    let [busy, idle] = [(); 2].map(|()| limited.open().unwrap());
    for connection in [&busy, &idle] {
        connection.0.state().head_complete();
    }
    assert!(limited.open().is_none(), "both are busy");
    assert_eq!(limited.limiter.metrics.closed(), [("refused", 1)]);
    idle.0.state().request_complete();
    let next = limited.open().unwrap();
    assert_eq!(
        [closed(&busy), closed(&idle), closed(&next)],
        [None, Some(CloseReason::EvictedIdle), None]
    );
    assert_eq!(limited.count(), 2);
}

#[test]
fn a_slow_later_head_goes_before_what_is_idle_and_a_quick_one_stays() {
    let limited = Limited::new(2);
    let [idle, slow] = [(); 2].map(|()| limited.open().unwrap());
    for connection in [&idle, &slow] {
        connection.0.state().head_complete();
        connection.0.state().request_complete();
    }
    slow.0.state().bytes_arrived(true);
    let first = limited.open().unwrap();
    assert_eq!(
        (closed(&idle), closed(&slow)),
        (Some(CloseReason::EvictedIdle), None),
        "it has just begun"
    );
    first.0.state().head_complete();
    first.0.state().request_complete();
    limited.clock.advance(SLOW_HEAD);
    let _second = limited.open().unwrap();
    assert_eq!(
        (closed(&first), closed(&slow)),
        (None, Some(CloseReason::Evicted))
    );
}

#[test]
fn an_unread_answer_goes_last_and_only_after_a_while() {
    let limited = Limited::new(2);
    let [unread, idle] = [(); 2].map(|()| limited.open().unwrap());
    for connection in [&unread, &idle] {
        connection.0.state().head_complete();
    }
    unread.0.state().write_blocked();
    assert!(limited.open().is_none(), "it may still read");
    limited.clock.advance(MIN_UNREAD);
    idle.0.state().request_complete();
    let next = limited.open().unwrap();
    assert_eq!(
        (closed(&unread), closed(&idle)),
        (None, Some(CloseReason::EvictedIdle))
    );
    next.0.state().head_complete();
    let _next = limited.open().unwrap();
    assert_eq!(closed(&unread), Some(CloseReason::WriteTimeout));
}

#[test]
fn a_stalled_body_goes_before_what_is_idle() {
    let limited = Limited::new(2);
    let [stalled, idle] = [(); 2].map(|()| limited.open().unwrap());
    for connection in [&stalled, &idle] {
        connection.0.state().head_complete();
    }
    stalled.0.state().body_stalled(true);
    idle.0.state().request_complete();
    let _next = limited.open().unwrap();
    assert_eq!(
        (closed(&stalled), closed(&idle)),
        (Some(CloseReason::EvictedSlowBody), None)
    );
    assert_eq!(limited.count(), 2);
    drop(stalled);
    assert_eq!(limited.count(), 2, "it was taken off when it was closed");
}

#[test]
fn an_address_has_its_own_cap_and_harms_nobody_else() {
    let limited = Limited::new(100);
    limited.limiter.clients().set(240, 2);
    let other = limited.open_from("192.0.2.2").unwrap();
    other.0.state().head_complete();
    let [busy, half_open] = [(); 2].map(|()| limited.open_from("2001:db8::1").unwrap());
    busy.0.state().head_complete();
    half_open.0.state().begin_handshake();
    let next = limited.open_from("2001:db8::2").unwrap();
    assert_eq!(
        [closed(&other), closed(&busy), closed(&half_open)],
        [None, None, Some(CloseReason::Evicted)],
        "one network of 64 bits is one client"
    );
    next.0.state().head_complete();
    next.0.state().request_complete();
    next.0.state().bytes_arrived(true);
    let third = limited.open_from("2001:db8::3").unwrap();
    assert_eq!(
        closed(&next),
        Some(CloseReason::Evicted),
        "its head has just begun"
    );
    third.0.state().head_complete();
    assert!(limited.open_from("2001:db8::4").is_none(), "both are busy");
    let counts = limited.limiter.metrics.closed();
    assert!(counts.contains(&("refused_address", 1)), "{counts:?}");
    assert_eq!(limited.count(), 3);
    let proxy: Vec<_> = (0..5)
        .map(|_| limited.open_from("a trusted proxy"))
        .collect();
    assert!(
        proxy.iter().all(Option::is_some),
        "it is counted for nobody"
    );
    drop(busy);
    let last = limited.open_from("2001:db8::4");
    assert!(last.is_some(), "one has ended");
    drop((other, half_open, next, third, proxy, last));
    limited.limiter.sweep();
    assert_eq!(limited.count(), 0);
    assert!(limited.limiter.pools().by_address.is_empty());
}

#[test]
fn what_the_stream_closes_itself_is_taken_off_once() {
    let reasons = [
        CloseReason::ClientGone,
        CloseReason::ResetFlood,
        CloseReason::HandshakeTimeout,
        CloseReason::Http2Error,
    ];
    let limited = Limited::new(reasons.len());
    let open = reasons.map(|reason| {
        let connection = limited.open().unwrap();
        connection.0.state().close(reason);
        connection
    });
    limited.limiter.sweep();
    drop(open);
    assert_eq!(limited.count(), 0);
    let mut closed = limited.limiter.metrics.closed();
    closed.sort_unstable();
    assert_eq!(
        closed,
        [("handshake_timeout", 1), ("http2_error", 1), ("resets", 1)]
    );
}

#[test]
fn an_address_at_its_limit_costs_others_nothing() {
    const COUNT: usize = 2_000;
    let limited = Limited::new(10 * COUNT);
    limited.limiter.clients().set(240, COUNT);
    let busy: Vec<_> = (0..COUNT)
        .map(|_| limited.open_from("192.0.2.1").unwrap())
        .collect();
    for connection in &busy {
        connection.0.state().head_complete();
    }
    assert!(limited.open_from("192.0.2.1").is_none());
    let before = eviction::examined();
    for _ in 0..100 {
        assert!(limited.open_from("192.0.2.1").is_none());
        assert!(limited.open_from("192.0.2.2").is_some());
    }
    let examined = eviction::examined() - before;
    assert!(examined <= 100 * eviction::MAX_EXAMINED, "{examined}");
    drop(busy);
    assert!(
        limited.open_from("192.0.2.1").is_some(),
        "those that ended do not count"
    );
}

#[test]
fn what_was_evicted_for_the_listener_does_not_count_for_its_address() {
    let limited = Limited::new(2);
    limited.limiter.clients().set(240, 1);
    let first = limited.open_from("192.0.2.1").unwrap();
    let _others = ["192.0.2.2", "192.0.2.3"].map(|address| limited.open_from(address).unwrap());
    assert_eq!(closed(&first), Some(CloseReason::Evicted));
    let again = limited.open_from("192.0.2.1").unwrap();
    again.0.state().head_complete();
    assert!(limited.open_from("192.0.2.1").is_none());
    drop(first);
    assert!(
        limited.open_from("192.0.2.1").is_none(),
        "it was taken off when it was closed"
    );
    drop(again);
    assert!(limited.open_from("192.0.2.1").is_some());
}
