//! Few open files: the listeners' limits shrink with them, and without any left nothing spins and
//! nothing breaks for good.

use std::fs;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use super::{closed_for, sample};
use crate::support::poll::becomes_true;
use crate::support::{Edge, Upstream};

/// CPU time of a process so far, in ticks of 10 ms.
fn ticks(edge: &Edge) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", edge.id())).expect("a running process");
    let after_name = stat.rsplit(')').next().expect("a name");
    after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .sum()
}

fn limited(upstream: &Upstream, limit: &str) -> Edge {
    let script = format!("ulimit {limit} && exec \"$@\"");
    Edge::open(upstream).under(&["sh", "-c", &script, "sh"]).start()
}

#[test]
fn a_soft_limit_is_raised() {
    let upstream = Upstream::start();
    let edge = limited(&upstream, "-Sn 100");
    assert!(sample(&edge, "process_max_fds") > 100.0);
}

#[test]
fn with_few_files_the_listeners_take_fewer_connections() {
    let upstream = Upstream::start();
    let edge = limited(&upstream, "-n 400");
    assert!(
        edge.log().contains(
            "the process may have 400 files open, too few for the 11000 connections \
             that the networks take and the 15000 to upstreams"
        ),
        "{}",
        edge.log()
    );
    let mut slow: Vec<TcpStream> = Vec::new();
    for _ in 0..30 {
        slow.extend(
            (0..20).map(|_| TcpStream::connect(("127.0.0.1", edge.port())).expect("a connection")),
        );
        // Who is let in makes another one go, whose file is closed a moment later.
        let made_room = || {
            closed_for(&edge, "crowded") + 200.0 >= slow.len() as f64 && edge.descriptors() < 300
        };
        assert!(
            becomes_true(Duration::from_secs(20), made_room),
            "{} files are open",
            edge.descriptors()
        );
    }
    assert_eq!(edge.get("/api/x").send().status, 200);
    assert!(closed_for(&edge, "crowded") >= 300.0);
    assert!(!edge.log().contains("Accept() failed"), "{}", edge.log());
}

#[test]
fn without_files_nothing_spins_and_nothing_breaks_for_good() {
    let upstream = Upstream::start();
    let edge = limited(&upstream, "-n 60");
    let hoard: Vec<TcpStream> = (0..100)
        .map(|_| TcpStream::connect(("127.0.0.1", edge.port())).expect("a connection"))
        .collect();
    let before = ticks(&edge);
    thread::sleep(Duration::from_secs(3));
    let spent = ticks(&edge) - before;
    assert!(spent < 100, "{spent} ticks of CPU time in three seconds");
    drop(hoard);
    assert!(becomes_true(Duration::from_secs(30), || {
        let mut client = edge.connect().patience(Duration::from_secs(5));
        client.send("GET /api/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        matches!(client.try_response("GET"), Ok(Some(response)) if response.status == 200)
    }));
}

#[test]
fn a_lack_of_files_is_told_once() {
    let upstream = Upstream::start();
    let edge = limited(&upstream, "-n 400");
    let told = || edge.log().matches("files open, too few for").count();
    assert!(becomes_true(Duration::from_secs(20), || told() == 1));
    for prefix in ["/one", "/two"] {
        edge.rewrite(|text| {
            text.replace("path_prefix = \"/", &format!("path_prefix = \"{prefix}/"))
        });
        assert_eq!(edge.steer("POST", "/admin/reload").send().status, 200);
        // The sweep comes by four times a second.
        thread::sleep(Duration::from_millis(600));
    }
    assert_eq!(told(), 1);
    edge.rewrite(|text| {
        text.replace("id = \"edge-1\"", "id = \"edge-1\"\nmax_upstream_connections = 9000")
    });
    assert_eq!(edge.steer("POST", "/admin/reload").send().status, 200);
    assert!(becomes_true(Duration::from_secs(20), || told() == 2), "{}", edge.log());
}
