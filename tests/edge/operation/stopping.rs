//! SIGTERM, and what comes after `kill -9`.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::END;
use super::handover::echoing;
use crate::support::poll::eventually;
use crate::support::{Edge, Issuer, Upstream};

/// Answers after `pause`.
fn slow(pause: Duration) -> Upstream {
    Upstream::with(move |exchange| {
        exchange.read_body();
        exchange.pause(pause);
        exchange.answer(200, &[], b"finished");
    })
}

#[test]
fn with_nothing_in_flight_it_ends_within_a_second() {
    let mut edge = echoing().start();
    let mut idle = edge.connect();
    idle.send(edge.get("/echo").bytes());
    assert_eq!(idle.response().status, 200);
    let started = Instant::now();
    edge.signal(Signal::SIGTERM);
    assert_eq!(edge.exit_status(END).code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert!(idle.is_closed());
}

#[test]
fn what_is_in_flight_finishes_and_kept_connections_are_answered() {
    let upstream = slow(Duration::from_secs(2));
    let mut edge = Edge::open(&upstream).proxy("grace_secs = 60").start();
    let request = edge.get("/api/x").bytes();
    let mut idle = edge.connect();
    idle.send(edge.get("/nowhere").bytes());
    assert_eq!(idle.response().status, 404);
    let mut busy: Vec<_> = (0..30).map(|_| edge.connect()).collect();
    for client in &mut busy {
        client.send(&request);
    }
    eventually("all of them at the upstream", END, || (upstream.count() == 30).then_some(()));
    edge.signal(Signal::SIGTERM);
    eventually("the drain", END, || edge.log().contains("requests in flight").then_some(()));
    idle.send(edge.get("/nowhere").bytes());
    let answer = idle.response();
    assert_eq!(
        (answer.status, answer.field("connection").map(str::to_ascii_lowercase).as_deref()),
        (404, Some("close"))
    );
    for client in &mut busy {
        assert_eq!(client.response().text(), "finished");
    }
    assert_eq!(edge.exit_status(END).code(), Some(0));
}

#[test]
fn after_the_grace_what_is_left_is_cut_off() {
    let upstream = slow(Duration::from_secs(30));
    let mut edge = Edge::open(&upstream).proxy("grace_secs = 1").start();
    let mut client = edge.connect();
    client.send(edge.get("/api/x").bytes());
    upstream.last();
    let started = Instant::now();
    edge.signal(Signal::SIGTERM);
    assert_eq!(edge.exit_status(END).code(), Some(0));
    assert!((1..20).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    assert!(client.is_closed());
    assert!(edge.log().contains("1 requests cut off"), "{}", edge.log());
}

#[test]
fn a_websocket_gets_the_grace_and_no_more() {
    let upstream = Upstream::with(|exchange| {
        exchange.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
              Upgrade: websocket\r\n\r\n",
        );
        while let Ok(bytes) = exchange.read_raw() {
            if bytes.is_empty() {
                break;
            }
            exchange.write(&bytes);
        }
        exchange.close();
    });
    let mut edge = Edge::open(&upstream).proxy("grace_secs = 5").start();
    let mut client = edge.connect();
    client.send(
        "GET /api/socket HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    assert_eq!(client.response().status, 101);
    let started = Instant::now();
    edge.signal(Signal::SIGTERM);
    eventually("the drain", END, || edge.log().contains("requests in flight").then_some(()));
    client.send(b"still there");
    assert_eq!(client.raw_exactly(11), b"still there");
    assert_eq!(edge.exit_status(END).code(), Some(0));
    assert!(started.elapsed() >= Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(client.is_closed());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let upstream = slow(Duration::from_secs(30));
    let mut edge = Edge::open(&upstream).proxy("grace_secs = 60").start();
    let mut client = edge.connect();
    client.send(edge.get("/api/x").bytes());
    upstream.last();
    edge.signal(Signal::SIGTERM);
    eventually("the drain", END, || edge.log().contains("requests in flight").then_some(()));
    let started = Instant::now();
    // The drain may not listen yet.
    eventually("the end", Duration::from_secs(20), || {
        edge.signal(Signal::SIGTERM);
        edge.log().contains("requests cut off").then_some(())
    });
    assert_eq!(edge.exit_status(END).code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn for_the_delay_it_goes_on_as_before_but_is_not_ready() {
    let upstream = Upstream::start();
    let mut edge = Edge::open(&upstream).proxy("shutdown_delay_secs = 3").quiet().start();
    let ready = || {
        let answer = edge.manage("/ready").send();
        (answer.status, answer.json()["status"].as_str().map(str::to_owned))
    };
    assert_eq!(ready(), (200, Some("ready".into())));
    let started = Instant::now();
    edge.signal(Signal::SIGTERM);
    eventually("503", Duration::from_secs(1), || (ready().0 == 503).then_some(()));
    assert_eq!(ready(), (503, Some("stopping".into())));
    assert_eq!(edge.manage("/health").send().status, 200);
    // 200 connections a second.
    let mut number = 0;
    while started.elapsed() < Duration::from_millis(2700) {
        assert_eq!(edge.get("/api/x").send().status, 200, "connection {number}");
        number += 1;
        let due = started + Duration::from_millis(5) * number;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    assert_eq!(edge.exit_status(END).code(), Some(0));
    assert!(started.elapsed() >= Duration::from_secs(3), "{:?}", started.elapsed());
}

#[test]
fn a_second_signal_ends_the_delay_too() {
    let mut edge = echoing().proxy("shutdown_delay_secs = 600").start();
    edge.signal(Signal::SIGTERM);
    eventually("the delay", END, || edge.log().contains("no longer ready").then_some(()));
    edge.signal(Signal::SIGTERM);
    assert_eq!(edge.exit_status(Duration::from_secs(20)).code(), Some(0));
}

#[test]
fn killed_and_started_again_it_serves_at_once_without_its_issuer() {
    let (mut issuer, upstream) = (Issuer::start(), Upstream::start());
    let mut edge = Edge::with_jwt(&issuer, &upstream).proxy("state_dir = \"{dir}/state\"").start();
    let token = issuer.token().sign();
    assert_eq!(edge.get("/api/x").bearer(&token).send().status, 200);
    let kept = edge.directory().join("state/jwks");
    eventually("the set on the disk", END, || {
        let mut files = std::fs::read_dir(&kept).ok()?;
        files
            .any(|file| {
                file.is_ok_and(|file| file.path().extension().is_some_and(|it| it == "json"))
            })
            .then_some(())
    });
    issuer.stop();
    edge.signal(Signal::SIGKILL);
    edge.exit_status(END);
    let started = Instant::now();
    edge.restart();
    assert_eq!(
        edge.get("/api/x").bearer(&token).send().status,
        200,
        "the last good key set serves"
    );
    eprintln!("serving after {:?}", started.elapsed());
    // A second on a machine of its own; here others work too, and the build is not optimized.
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}
