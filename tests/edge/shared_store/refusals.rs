//! A store that is there and refuses.

use std::time::{Duration, Instant};

use super::redis::Redis;
use super::{assert_becomes, budget, is_up, node};
use crate::support::{Edge, Issuer, Upstream};

/// Requests, whose questions the store refuses, for a while.
fn send_for(edge: &Edge, issuer: &Issuer, time: Duration) {
    let until = Instant::now() + time;
    for number in 0.. {
        let token = issuer.token().claim("sub", format!("s-{number}")).sign();
        let sent = Instant::now();
        assert_eq!(edge.get("/api/x").bearer(&token).send().status, 200);
        assert!(sent.elapsed() < Duration::from_millis(500), "{:?}", sent.elapsed());
        if Instant::now() >= until {
            return;
        }
    }
}

fn said(edge: &Edge, text: &str) -> usize {
    edge.log().matches(text).count()
}

const DOWN: &str = "this node counts alone";

#[test]
fn a_store_that_takes_no_writes_is_down_and_that_is_said_once() {
    let Some(redis) = Redis::start() else { return };
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let nodes = [node(&issuer, &upstream, &format!("url = \"{}\"", redis.url()), &budget(50))];
    assert_becomes(true, &nodes);
    for (begin, end, why) in [
        ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0", "OOM"),
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", "read-only"),
    ] {
        let before = (said(&nodes[0], DOWN), said(&nodes[0], "shared store: connected"));
        assert!(redis.ask(begin).starts_with("+OK"), "{begin}");
        send_for(&nodes[0], &issuer, Duration::from_millis(1500));
        assert_becomes(false, &nodes);
        send_for(&nodes[0], &issuer, Duration::from_secs(3));
        assert!(!is_up(&nodes[0]), "{why}");
        let after = (said(&nodes[0], DOWN), said(&nodes[0], "shared store: connected"));
        assert_eq!(after, (before.0 + 1, before.1), "{why}");
        assert!(redis.ask(end).starts_with("+OK"), "{end}");
        assert_becomes(true, &nodes);
    }
}

#[test]
fn a_user_who_lacks_a_command_has_the_rest_of_the_store() {
    let user = "--user default on nopass ~harmony:* +@all -hset -xadd";
    let Some(redis) = Redis::with(user) else { return };
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let nodes = [node(&issuer, &upstream, &format!("url = \"{}\"", redis.url()), &budget(50))];
    assert_becomes(true, &nodes);
    send_for(&nodes[0], &issuer, Duration::from_secs(3));
    assert!(is_up(&nodes[0]));
    assert_eq!(said(&nodes[0], DOWN), 0);
    assert_eq!(said(&nodes[0], "shared store: connected"), 1);
    assert_eq!(said(&nodes[0], "a command was refused"), 1);
}
