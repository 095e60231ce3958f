//! Sentinels and a cluster, as real servers.

use std::net::TcpListener;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::redis::Redis;
use super::revocations::{self, revoke};
use super::sentinel::Sentinel;
use super::{assert_becomes, budget, is_up, node};
use crate::support::poll::becomes_true;
use crate::support::{Edge, Issuer, Upstream, secrets};

/// How many of `count` requests of a subject pass at these nodes, in turn.
fn passed(nodes: &[Edge], issuer: &Issuer, subject: &str, count: usize) -> usize {
    let token = issuer.token().claim("sub", subject).sign();
    let nodes = nodes.iter().cycle().take(count);
    nodes.filter(|node| node.get("/api/x").bearer(&token).send().status == 200).count()
}

fn two(issuer: &Issuer, upstream: &Upstream, shared: &str) -> [Edge; 2] {
    let nodes = [(); 2].map(|()| node(issuer, upstream, shared, &budget(50)));
    assert_becomes(true, &nodes);
    nodes
}

/// It accepts connections, and says nothing.
fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://127.0.0.1:{}", listener.local_addr().unwrap().port());
    (listener, url)
}

#[test]
fn the_primary_that_the_sentinels_name_is_the_store() {
    // What docs/fleet.md asks for.
    let commands = "+ping +hello +select +evalsha +script|load +time +hmget +hset +pexpire +incr \
                    +set +xadd +xrange +role";
    let password = "a-password-of-the-store-0816";
    secrets::remember(password);
    let user = format!("--user edge on >{password} ~harmony:* {commands}");
    let Some(mut primary) = Redis::with(&user) else { return };
    let Some(replica) = Redis::with(&format!("{user} --replicaof {}", primary.host_and_port()))
    else {
        return;
    };
    let sentinel = Sentinel::of("store", &primary);
    assert!(becomes_true(Duration::from_secs(20), || sentinel.knows_a_replica()));
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    // One of them is not there, and one is silent.
    let (_listener, silent) = silent();
    let shared = format!(
        "url = [\"redis://127.0.0.1:1\", \"{silent}\", \"{}\"]\nsentinel_master = \"store\"\n\
         username = \"edge\"\npassword = \"{password}\"",
        sentinel.url()
    );
    let nodes = two(&issuer, &upstream, &shared);
    let count = passed(&nodes, &issuer, "before", 120);
    assert!((50..=60).contains(&count), "{count}");
    primary.kill();
    assert_becomes(false, &nodes);
    assert!(becomes_true(Duration::from_secs(30), || nodes.iter().all(is_up)), "no fail-over");
    assert_eq!(replica.ask("ROLE").lines().nth(2), Some("master"));
    let count = passed(&nodes, &issuer, "after", 120);
    assert!((50..=60).contains(&count), "{count}");
}

#[test]
fn a_paused_primary_that_is_replaced_is_left() {
    let Some(primary) = Redis::start() else { return };
    let replicaof = format!("--replicaof {}", primary.host_and_port());
    let Some(_replica) = Redis::with(&replicaof) else { return };
    let sentinel = Sentinel::of("store", &primary);
    assert!(becomes_true(Duration::from_secs(20), || sentinel.knows_a_replica()));
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let shared = format!("url = \"{}\"\nsentinel_master = \"store\"", sentinel.url());
    let nodes = two(&issuer, &upstream, &shared);
    primary.signal(Signal::SIGSTOP);
    assert_becomes(false, &nodes);
    assert!(becomes_true(Duration::from_secs(30), || nodes.iter().all(is_up)), "no fail-over");
    primary.signal(Signal::SIGCONT);
    let count = passed(&nodes, &issuer, "after", 120);
    assert!((50..=60).contains(&count), "{count}");
}

#[test]
fn the_nodes_of_a_cluster_are_one_store() {
    let Some(cluster) = Redis::cluster() else { return };
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let (_listener, silent) = silent();
    let shared = format!("url = [\"{silent}\", \"{}\"]\ncluster = true", cluster[0].url());
    let nodes = two(&issuer, &upstream, &shared);
    for subject in ["a", "b", "c", "d", "e", "f"] {
        let count = passed(&nodes, &issuer, subject, 120);
        assert!((50..=60).contains(&count), "{subject}: {count}");
    }
    let keys: Vec<usize> =
        cluster.iter().map(|node| node.ask("KEYS *").matches("harmony:limit:").count()).collect();
    assert_eq!(keys.iter().sum::<usize>(), 6, "{keys:?}");
    assert!(keys.iter().filter(|keys| **keys > 0).count() > 1, "{keys:?}");
    revoke(&nodes[0], "of-a-cluster");
    let reached = || revocations::status(&issuer, &nodes[1], "of-a-cluster") == 401;
    assert!(becomes_true(Duration::from_secs(1), reached));
}

#[test]
fn what_a_server_quotes_of_a_question_is_told_nobody() {
    // A server without HELLO answers with all that it was sent, the password too.
    let Some(redis) = Redis::with("--rename-command HELLO NONE --requirepass sesame") else {
        return;
    };
    let password = "a-password-that-is-quoted-0817";
    secrets::remember(password);
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    for topology in ["", "cluster = true"] {
        let shared = format!("url = \"{}\"\npassword = \"{password}\"\n{topology}", redis.url());
        let edge = node(&issuer, &upstream, &shared, &budget(50));
        let said = || edge.log().contains("this node counts alone");
        assert!(becomes_true(Duration::from_secs(6), said));
        assert!(!edge.log().contains(password), "{}", edge.log());
        assert!(!edge.manage("/admin/status").send().text().contains(password));
    }
}
