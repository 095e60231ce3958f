use std::net::SocketAddr;

use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::gateway::Resolver;
use crate::proxy::forward::deadline::Deadline;
use crate::proxy::forward::pool::limit::Permit;

fn address(last: u8) -> PeerAddress {
    SocketAddr::from(([127, 0, 0, last], 1)).into()
}

fn group(idle_count: &Arc<AtomicUsize>) -> ConnectionGroup {
    ConnectionGroup {
        key: GroupKey {
            backend: Arc::default(),
            host: "127.0.0.1".to_owned(),
            port: 1,
            socket: None,
            tls: None,
            http_version: HttpVersion::Auto,
            proxy_protocol: None,
        },
        addresses: Resolver::default().addresses("127.0.0.1", 1),
        idle: Mutex::default(),
        idle_count: idle_count.clone(),
        http2: Mutex::default(),
        negotiated_http1: AtomicBool::new(false),
        room_of_next: AtomicUsize::new(MAX_STREAMS),
        openings: Mutex::default(),
    }
}

/// One to this address, and its other end.
fn connection(last: u8) -> (PooledConnection, DuplexStream) {
    let (ours, theirs) = duplex(64);
    let lease = Lease {
        deadline: Arc::new(Deadline::new()),
        address: address(last),
        reused: false,
        on_trial_until: None,
        _permit: Permit::uncounted(),
    };
    let stream = Box::new(ours);
    (PooledConnection { stream, lease }, theirs)
}

#[tokio::test]
async fn a_connection_is_taken_for_its_own_address_and_once() {
    let group = group(&Arc::default());
    let (one, _one) = connection(1);
    group.put(one);
    assert!(group.take(&address(2), Versions::Http1).is_none());
    assert!(group.take(&address(1), Versions::Http2).is_none());
    let taken = group.take(&address(1), Versions::Alpn).unwrap();
    assert!(taken.reused() && *taken.address() == address(1));
    assert!(group.take_idle(&address(1)).is_none(), "it is in use");
    assert_eq!(group.idle_count.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn one_that_was_closed_or_says_something_is_not_used_again() {
    let group = group(&Arc::default());
    let (quiet, _quiet) = connection(1);
    let (closed, end) = connection(1);
    let (talking, mut mouth) = connection(1);
    for one in [quiet, closed, talking] {
        group.put(one);
    }
    drop(end);
    mouth.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
    assert!(group.take_idle(&address(1)).is_some(), "the quiet one");
    assert!(group.take_idle(&address(1)).is_none());
    assert_eq!(group.idle_count.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn one_whose_time_is_over_is_not_used_again() {
    let group = group(&Arc::default());
    let (one, _end) = connection(1);
    let deadline = one.lease.deadline.clone();
    group.put(one);
    // As the watcher does, between its look at the clock and the end of the connection.
    assert!(deadline.wake());
    assert!(group.take_idle(&address(1)).is_none());
}

#[tokio::test]
async fn one_on_trial_waits_and_makes_room_like_any_other() {
    let group = group(&Arc::default());
    let (mut one, _one) = connection(1);
    let (mut other, _other) = connection(1);
    let now = std::time::Instant::now();
    one.lease.on_trial_until = now.checked_add(Duration::from_secs(60));
    other.lease.on_trial_until = Some(now);
    group.put(other);
    group.put(one);
    assert!(group.take_idle(&address(1)).is_some(), "its trial is over");
    assert!(group.take_idle(&address(1)).is_none());
    assert!(group.close_longest_idle());
}

#[tokio::test]
async fn a_sweep_closes_what_is_over_and_leaves_the_rest() {
    let group = group(&Arc::default());
    let (kept, _kept) = connection(1);
    let (closed, end) = connection(1);
    // The upstream has no such address any more.
    let (left, _left) = connection(2);
    for one in [kept, closed, left] {
        group.put(one);
    }
    drop(end);
    group.sweep();
    assert_eq!(group.idle_count.load(Ordering::Relaxed), 1);
    assert!(!group.is_empty() && group.take_idle(&address(1)).is_some());
    assert!(group.is_empty());
}

#[tokio::test]
async fn the_one_that_has_waited_longest_makes_room() {
    let group = group(&Arc::default());
    assert_eq!(group.longest_idle(), None);
    let mut ends = Vec::new();
    for last in [2, 1] {
        let (one, end) = connection(last);
        group.put(one);
        ends.push(end);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(group.longest_idle() >= Some(Duration::from_millis(35)));
    assert!(group.close_longest_idle());
    assert!(group.take_idle(&address(2)).is_none());
    assert!(group.longest_idle() < Some(Duration::from_millis(35)));
    assert!(group.close_longest_idle() && !group.close_longest_idle());
    assert_eq!(group.idle_count.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn there_is_an_end_to_how_many_are_kept_for_all_upstreams() {
    let count = Arc::default();
    let (one, other) = (group(&count), group(&count));
    let ends: Vec<_> = (0..MAX_IDLE + 3)
        .map(|number| {
            let (connection, end) = connection(1);
            [&one, &other][number % 2].put(connection);
            end
        })
        .collect();
    assert_eq!(count.load(Ordering::Relaxed), MAX_IDLE);
    drop(ends);
    one.sweep();
    other.sweep();
    assert_eq!(count.load(Ordering::Relaxed), 0);
}
