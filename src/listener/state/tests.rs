//! Which phase has which time limit, and what can be evicted.

use super::*;

const LIMITS: Limits = Limits {
    head: Duration::from_secs(10),
    idle: Duration::from_secs(60),
    write: Duration::from_secs(30),
};

fn at(state: &ConnectionState, seconds: u64) -> Option<CloseReason> {
    state.clock.set(Duration::from_secs(seconds));
    state.timed_out(&LIMITS)
}

#[test]
fn a_head_has_its_time_however_it_trickles() {
    let state = ConnectionState::new(Arc::default());
    assert_eq!(at(&state, 9), None);
    state.bytes_arrived(true);
    state.bytes_arrived(true);
    assert_eq!(at(&state, 10), Some(CloseReason::HeadTimeout));
    state.head_complete();
    assert!(state.has_received_head());
    assert_eq!(at(&state, 1000), None, "a request may take its time");
    state.request_complete();
    assert_eq!(at(&state, 1059), None);
    assert_eq!(at(&state, 1060), Some(CloseReason::IdleTimeout));
    state.bytes_arrived(true);
    assert_eq!(at(&state, 1069), None);
    assert_eq!(at(&state, 1070), Some(CloseReason::HeadTimeout));
}

#[test]
fn streams_keep_a_connection_and_an_open_block_does_not() {
    let state = ConnectionState::new(Arc::default());
    state.bytes_arrived(false);
    state.end_header_block();
    state.begin_stream();
    assert_eq!(at(&state, 500), None);
    state.begin_header_block();
    assert_eq!(at(&state, 510), Some(CloseReason::HeadTimeout));
    state.end_header_block();
    state.begin_stream();
    state.end_stream();
    state.bytes_arrived(false);
    let spare = || state.eviction_class(Duration::from_secs(1), Duration::MAX);
    assert_eq!((at(&state, 900), spare()), (None, None));
    state.end_stream();
    assert_eq!(spare(), Some((EvictionClass::Idle, 900_000)));
    state.begin_header_block();
    assert_eq!((at(&state, 900), spare()), (None, None));
    assert_eq!(
        (at(&state, 901), spare()),
        (None, Some((EvictionClass::SlowHead, 900_000)))
    );
    state.end_header_block();
    assert_eq!(at(&state, 961), Some(CloseReason::IdleTimeout));
}

#[test]
fn it_has_stalled_once_each_of_its_requests_has() {
    let state = ConnectionState::new(Arc::default());
    let spare = || state.eviction_class(Duration::from_secs(1), Duration::MAX);
    at(&state, 3);
    state.head_complete();
    assert_eq!(spare(), None, "HTTP/1, busy");
    state.body_stalled(true);
    assert_eq!(spare(), Some((EvictionClass::StalledBody, 3_000)));
    state.body_stalled(false);
    assert_eq!(spare(), None);
    let state = ConnectionState::new(Arc::default());
    let spare = || state.eviction_class(Duration::from_secs(1), Duration::MAX);
    state.end_header_block();
    state.begin_stream();
    state.begin_stream();
    state.body_stalled(true);
    assert_eq!(spare(), None, "another stream is served");
    at(&state, 2);
    state.body_stalled(true);
    assert_eq!(spare(), Some((EvictionClass::StalledBody, 0)));
    state.body_stalled(false);
    state.end_stream();
    assert_eq!(spare(), Some((EvictionClass::StalledBody, 0)));
}

#[test]
fn it_is_cut_once_and_wakes_who_serves_it() {
    let state = ConnectionState::new(Arc::default());
    assert_eq!((state.close_reason(), state.is_closed()), (None, false));
    state.set_waker(Waker::noop());
    assert!(
        state.close(CloseReason::Evicted)
            && !state.close(CloseReason::IdleTimeout)
            && !state.finish()
    );
    assert_eq!(state.close_reason(), Some(CloseReason::Evicted));
    let ended = ConnectionState::new(Arc::default());
    assert!(ended.finish() && !ended.close(CloseReason::IdleTimeout));
    assert_eq!(ended.close_reason(), None);
}
