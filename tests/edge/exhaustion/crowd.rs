//! A listener takes so many connections, and who makes no headway makes room.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::{closed_for, sample, with_network};
use crate::support::poll::becomes_true;
use crate::support::{Client, Edge, Upstream};

const SOON: Duration = Duration::from_secs(20);
const REQUEST: &str = "GET /api/x HTTP/1.1\r\nHost: h\r\n\r\n";

#[track_caller]
fn open_becomes(edge: &Edge, count: u32) {
    let name = "harmony_connections_open{network=\"public\"}";
    assert!(
        becomes_true(SOON, || sample(edge, name) == f64::from(count)),
        "{} connections instead of {count}",
        sample(edge, name)
    );
}

fn is_open(client: &mut Client) -> bool {
    let (responses, ended) = client.send(REQUEST).drain("GET");
    !ended && responses.len() == 1 && responses[0].status == 200
}

fn short(edge: &Edge) -> Client {
    edge.connect().patience(Duration::from_secs(1))
}

#[test]
fn at_the_cap_the_oldest_without_a_whole_head_goes() {
    let upstream = Upstream::start();
    let edge = with_network(&upstream, "max_connections = 5");
    open_becomes(&edge, 0);
    let mut kept = short(&edge);
    assert!(is_open(&mut kept));
    let mut slow: Vec<Client> = Vec::new();
    for count in 2..=5 {
        let mut client = edge.connect();
        client.send("GET /api/x HTTP/1.1\r\nHo");
        slow.push(client);
        open_becomes(&edge, count);
    }
    assert_eq!(edge.get("/api/x").send().status, 200);
    assert!(slow[0].is_closed(), "the oldest");
    open_becomes(&edge, 4);
    for client in &mut slow[1..] {
        assert_eq!(client.send("st: h\r\n\r\n").response().status, 200);
    }
    assert!(is_open(&mut kept), "it has sent a head");
    assert_eq!((closed_for(&edge, "crowded"), closed_for(&edge, "crowded_idle")), (1.0, 0.0));
}

#[test]
fn among_those_that_have_sent_one_the_longest_idle_goes_and_a_busy_one_never() {
    let hold = Arc::new(AtomicBool::new(true));
    let holding = hold.clone();
    let upstream = Upstream::with(move |exchange| {
        while exchange.target().contains("busy") && holding.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(20));
        }
        exchange.echo_target();
    });
    let edge = with_network(&upstream, "max_connections = 3");
    open_becomes(&edge, 0);
    let (mut busy, mut first, mut second) = (edge.connect(), short(&edge), short(&edge));
    busy.send(REQUEST.replace("/api/x", "/api/busy"));
    assert!(is_open(&mut first));
    thread::sleep(Duration::from_millis(600));
    assert!(is_open(&mut second));
    let mut third = short(&edge);
    assert!(is_open(&mut third));
    assert!(first.is_closed());
    assert!(is_open(&mut second));
    assert_eq!(closed_for(&edge, "crowded_idle"), 1.0);
    for client in [&mut second, &mut third] {
        client.send(REQUEST.replace("/api/x", "/api/busy"));
    }
    assert!(becomes_true(SOON, || upstream
        .requests()
        .iter()
        .filter(|request| request.target() == "/busy")
        .count()
        == 3));
    let mut refused = short(&edge);
    assert!(refused.send(REQUEST).is_closed(), "all are busy");
    assert_eq!(closed_for(&edge, "refused"), 1.0);
    hold.store(false, Ordering::Relaxed);
    for client in [&mut busy, &mut second, &mut third] {
        assert_eq!(client.response().status, 200);
    }
}

#[test]
fn a_reload_changes_the_cap_and_closes_nothing() {
    let upstream = Upstream::start();
    let edge = with_network(&upstream, "max_connections = 50");
    let mut clients: Vec<Client> = (0..10).map(|_| short(&edge)).collect();
    assert!(clients.iter_mut().all(is_open));
    edge.rewrite(|text| text.replace("max_connections = 50", "max_connections = 3"));
    assert_eq!(edge.steer("POST", "/admin/reload").send().status, 200);
    assert!(clients.iter_mut().all(is_open));
    assert!(becomes_true(SOON, || {
        let _ = edge.get("/api/x").send();
        closed_for(&edge, "crowded_idle") >= 1.0
    }));
}
