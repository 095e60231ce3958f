//! The list of revocations of a fleet.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::redis::Redis;
use super::{assert_becomes, budget, node};
use crate::support::poll::becomes_true;
use crate::support::{Edge, Issuer, Upstream};

const SECOND: Duration = Duration::from_secs(1);

pub fn revoke(edge: &Edge, token_id: &str) {
    let body = format!("{{ \"issuer\": \"https://auth.example.com\", \"jti\": \"{token_id}\" }}");
    let request =
        edge.steer("POST", "/admin/revocations").header("Content-Type", "application/json");
    assert_eq!(request.body(body).send().status, 201);
}

/// Of a request with the token of this id.
pub fn status(issuer: &Issuer, edge: &Edge, id: &str) -> u16 {
    let token = issuer.token().claim("jti", id).sign();
    edge.get("/api/x").bearer(&token).send().status
}

#[test]
fn a_revocation_holds_on_every_node_within_a_second() {
    let Some(mut redis) = Redis::start() else { return };
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let shared = format!("url = \"{}\"", redis.url());
    let mut nodes = [(); 3].map(|()| node(&issuer, &upstream, &shared, &budget(100_000)));
    assert_becomes(true, &nodes);
    let status = |node: &Edge, id: &str| status(&issuer, node, id);
    let tries = if std::env::var_os("REVOCATIONS").is_some() { 200 } else { 20 };
    for number in 0..tries {
        let id = format!("try-{number}");
        let at = number % 3;
        assert_eq!(status(&nodes[(at + 1) % 3], &id), 200);
        revoke(&nodes[at], &id);
        let made = Instant::now();
        let everywhere = || nodes.iter().all(|node| status(node, &id) == 401);
        assert!(becomes_true(SECOND, everywhere), "{id}: {:?}", made.elapsed());
    }
    // What a node misses while it is away, it gets when it is back.
    let [one, two, _] = &mut nodes;
    two.signal(nix::sys::signal::Signal::SIGTERM);
    two.exit_status(Duration::from_secs(20));
    revoke(one, "away");
    two.restart();
    assert!(becomes_true(SECOND, || status(two, "away") == 401));
    // Without the store it holds where it was made; the others get it from an empty one.
    redis.kill();
    assert_becomes(false, &nodes);
    revoke(&nodes[0], "alone");
    assert_eq!([status(&nodes[0], "alone"), status(&nodes[1], "alone")], [401, 200]);
    redis.restart();
    assert_becomes(true, &nodes);
    for node in &nodes {
        assert!(becomes_true(2 * SECOND, || status(node, "alone") == 401));
    }
    assert_eq!(status(&nodes[2], "never"), 200);
}

#[test]
fn a_node_that_revokes_steadily_hears_of_the_others_revocations() {
    let Some(redis) = Redis::start() else { return };
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let shared = format!("url = \"{}\"", redis.url());
    let [busy, other] = [(); 2].map(|()| node(&issuer, &upstream, &shared, &budget(100_000)));
    let nodes = [busy, other];
    assert_becomes(true, &nodes);
    let [busy, other] = &nodes;
    let heard = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0.. {
                if heard.load(Ordering::Relaxed) || number == 200 {
                    break;
                }
                revoke(busy, &format!("steady-{number}"));
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        // It has begun.
        assert!(becomes_true(5 * SECOND, || status(&issuer, other, "steady-3") == 401));
        revoke(other, "of-the-other");
        let hears = || status(&issuer, busy, "of-the-other") == 401;
        let in_time = becomes_true(SECOND, hears);
        heard.store(true, Ordering::Relaxed);
        assert!(in_time);
    });
}
