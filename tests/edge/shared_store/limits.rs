//! Budgets of a fleet.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::redis::{Redis, SlowWay};
use super::{assert_becomes, budget, node};
use crate::support::client::Client;
use crate::support::poll::becomes_true;
use crate::support::{Edge, Issuer, Upstream, secrets};

fn three(issuer: &Issuer, upstream: &Upstream, url: &str, rules: &str) -> [Edge; 3] {
    let shared = format!("url = \"{url}\"");
    let nodes = [(); 3].map(|()| node(issuer, upstream, &shared, rules));
    assert_becomes(true, &nodes);
    nodes
}

/// Sends `count` requests of a subject over one connection, and returns how many passed and how
/// long the longest took.
fn send(edge: &Edge, token: &str, count: usize) -> (usize, Duration) {
    let mut client = Client::connect(edge.port());
    let request = edge.get("/api/x").bearer(token).bytes();
    let (mut passed, mut longest) = (0, Duration::ZERO);
    for _ in 0..count {
        let sent = Instant::now();
        client.send(&request);
        let status = client.response().status;
        longest = longest.max(sent.elapsed());
        assert!(matches!(status, 200 | 429), "{status}");
        passed += usize::from(status == 200);
    }
    (passed, longest)
}

/// The same at all nodes at once.
fn send_to_all(nodes: &[Edge], token: &str, count: usize) -> (usize, Duration) {
    let sent: Vec<_> = std::thread::scope(|scope| {
        let begun: Vec<_> =
            nodes.iter().map(|node| scope.spawn(move || send(node, token, count))).collect();
        begun.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let longest = sent.iter().map(|(_, longest)| *longest).max().unwrap();
    (sent.iter().map(|(passed, _)| passed).sum(), longest)
}

#[test]
fn three_nodes_have_one_budget_and_one_lease_each_besides() {
    let Some(redis) = Redis::start() else { return };
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let nodes = three(&issuer, &upstream, &redis.url(), &budget(1000));
    let token = |subject: &str| issuer.token().claim("sub", subject).sign();
    let (passed, _) = send_to_all(&nodes, &token("s"), 2000);
    assert!((1000..=1300).contains(&passed), "{passed}");
    // What the others have been lent and do not use is lost to nobody.
    let uneven = token("uneven");
    assert_eq!(send(&nodes[0], &uneven, 1).0 + send(&nodes[1], &uneven, 1).0, 2);
    let (passed, _) = send(&nodes[2], &uneven, 1100);
    assert!((998..=1000).contains(&passed), "{passed}");
    // The keys are hashes: nobody is named in the store.
    let keys = redis.ask("KEYS *");
    assert!(keys.contains("harmony:limit:") && !keys.contains("uneven"), "{keys}");
}

#[test]
fn a_store_that_restarts_empty_is_told_again_what_was_used() {
    let Some(mut redis) = Redis::start() else { return };
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let nodes = three(&issuer, &upstream, &redis.url(), &budget(100));
    let token = issuer.token().sign();
    let (before, _) = send_to_all(&nodes, &token, 30);
    assert_eq!(before, 90);
    redis.restart();
    let downs = || nodes.iter().all(|node| node.log().contains("this node counts alone"));
    assert!(becomes_true(Duration::from_secs(6), downs));
    assert_becomes(true, &nodes);
    let (after, _) = send_to_all(&nodes, &token, 100);
    assert!((10..=70).contains(&after), "{after}: a lease a node, and one before it tells");
}

#[test]
fn a_small_budget_is_lent_one_by_one() {
    let Some(redis) = Redis::start() else { return };
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let nodes = three(&issuer, &upstream, &redis.url(), &budget(5));
    let token = issuer.token().sign();
    let passed: usize = (0..8).map(|index| send(&nodes[index % 3], &token, 1).0).sum();
    assert!((5..=8).contains(&passed), "{passed}");
    let refused = nodes[0].get("/api/x").bearer(&token).send();
    assert_eq!(refused.status, 429);
    let wait: u32 = refused.field("retry-after").unwrap().parse().unwrap();
    assert!((40..=60).contains(&wait), "the fleet's window: {wait}");
}

/// Requests of a debug build on a busy machine, and 25 ms for the store.
const SLOW: Duration = Duration::from_millis(500);

#[test]
fn a_store_that_is_gone_paused_or_slow_takes_no_request_with_it() {
    let Some(mut redis) = Redis::start() else { return };
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let way = SlowWay::to(&redis);
    let nodes = three(&issuer, &upstream, &way.url(), &budget(50));
    let subject = |name: &str| issuer.token().claim("sub", name).sign();
    for (name, begin) in [
        ("killed", (|redis: &mut Redis, _: &SlowWay| redis.kill()) as fn(&mut Redis, &SlowWay)),
        ("paused", |redis, _| redis.signal(Signal::SIGSTOP)),
        ("slow", |_, way| way.take_ms(100)),
    ] {
        let token = subject(name);
        assert_eq!(send(&nodes[0], &token, 1).0, 1, "{name}");
        begin(&mut redis, &way);
        let (passed, longest) = send_to_all(&nodes, &token, 60);
        assert!(longest < SLOW, "{name}: {longest:?}");
        // Each node's own count holds: up to the whole budget.
        assert!((49..=150).contains(&passed), "{name}: {passed}");
        assert_becomes(false, &nodes);
        let again = subject(&format!("{name} again"));
        let (passed, longest) = send_to_all(&nodes, &again, 60);
        assert_eq!(passed, 150, "{name}: without a store, each node for itself");
        assert!(longest < SLOW, "{name}: {longest:?}");
        match name {
            "killed" => redis.restart(),
            "paused" => redis.signal(Signal::SIGCONT),
            _ => way.take_ms(0),
        }
        assert_becomes(true, &nodes);
        // What was used without the store is used.
        assert_eq!(send_to_all(&nodes, &again, 5).0, 0, "{name}");
        let (passed, _) = send_to_all(&nodes, &subject(&format!("{name} after")), 60);
        assert!((50..=65).contains(&passed), "{name}: {passed}");
    }
    for node in &nodes {
        let down = node.log().matches("this node counts alone").count();
        assert!((3..=12).contains(&down), "said once each time: {down}");
    }
}

#[test]
fn a_store_that_is_away_at_the_start_is_found_later() {
    let Some(mut redis) = Redis::start() else { return };
    redis.kill();
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let shared = format!("url = \"{}\"", redis.url());
    let nodes = [node(&issuer, &upstream, &shared, &budget(50))];
    assert_eq!(send(&nodes[0], &issuer.token().sign(), 60).0, 50);
    redis.restart();
    assert_becomes(true, &nodes);
}

#[test]
fn a_user_and_a_password_by_reference() {
    let password = "a-password-of-the-store-0815";
    secrets::remember(password);
    let user = format!("--user node on >{password} ~edge:* +@all --user default off");
    let Some(redis) = Redis::with(&user) else { return };
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let with = |password: &str| {
        let shared = format!(
            "url = \"{}\"\nusername = \"node\"\npassword = \"{password}\"\n\
             key_prefix = \"edge\"\nconnect_timeout_ms = 500",
            redis.url()
        );
        node(&issuer, &upstream, &shared, &budget(50))
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), password).unwrap();
    let well = with(&format!("${{file:{}}}", file.path().display()));
    assert_becomes(true, std::slice::from_ref(&well));
    assert_eq!(send(&well, &issuer.token().sign(), 60).0, 50);
    let wrong = with("wrong");
    assert_becomes(false, std::slice::from_ref(&wrong));
    assert_eq!(send(&wrong, &issuer.token().sign(), 60).0, 50);
}
