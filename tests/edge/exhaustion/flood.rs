//! Ten thousand connections that each send a head by the byte, the first or a later one: others are
//! served as by a proxy without them, in little memory, which is given back.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::closed_for;
use crate::support::poll::becomes_true;
use crate::support::{Edge, Settings, Upstream};

/// One flood at a time: the files of two are more than this process may have open.
static ALONE: Mutex<()> = Mutex::new(());

const CONNECTIONS: usize = 10_000;
const MEMORY_KIB: u64 = 256 * 1024;
/// Below that the machine is what is measured.
const NOISE: Duration = Duration::from_millis(20);

fn memory_kib(edge: &Edge, name: &str) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", edge.id())).expect("a running process");
    let line = status.lines().find(|line| line.starts_with(name)).expect("the line");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

/// For each proxy the slowest but one percent of requests, half of them on new connections. They
/// take turns, so that what else runs on the machine slows all of them alike.
fn p99<const N: usize>(edges: [&Edge; N], duration: Duration) -> [Duration; N] {
    let started = Instant::now();
    let mut kept = edges.map(Edge::connect);
    let mut took = edges.map(|_| Vec::new());
    while started.elapsed() < duration {
        for ((edge, kept), took) in edges.iter().zip(&mut kept).zip(&mut took) {
            let began = Instant::now();
            let response = kept.send("GET /api/x HTTP/1.1\r\nHost: h\r\n\r\n").response();
            assert_eq!(response.status, 200);
            took.push(began.elapsed());
            let began = Instant::now();
            assert_eq!(edge.get("/api/x").send().status, 200);
            took.push(began.elapsed());
        }
        thread::sleep(Duration::from_millis(2));
    }
    took.map(|mut took| {
        took.sort_unstable();
        took[took.len() * 99 / 100]
    })
}

#[test]
fn ten_thousand_slow_heads_harm_nobody() {
    slow_heads(|_| {});
}

#[test]
fn ten_thousand_slow_heads_after_a_request_harm_nobody() {
    slow_heads(|stream| {
        stream.write_all(b"GET /api/x HTTP/1.1\r\nHost: h\r\n\r\n").expect("a request");
        let mut answer = Vec::new();
        while !answer.ends_with(b"/x") {
            let mut some = [0; 1024];
            let read = stream.read(&mut some).expect("an answer");
            assert_ne!(read, 0, "{}", String::from_utf8_lossy(&answer));
            answer.extend(&some[..read]);
        }
    });
}

/// Slow heads on connections with which `before` was done first.
fn slow_heads(before: impl Fn(&mut TcpStream)) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit");
    if hard < CONNECTIONS as u64 + 2_000 {
        println!(
            "skipped: {CONNECTIONS} connections need a higher limit of open files than {hard}"
        );
        return;
    }
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("a higher limit");
    let upstream = Upstream::start();
    // All of them come from one address: else most would be turned away at once.
    let text = Settings::open(&upstream).text().replace(
        "[network.management.http]",
        "max_connections_per_address = 0\n[network.management.http]",
    );
    let edge = Edge::configured(Settings::of_text(&text)).quiet().start();
    let undisturbed = Edge::configured(Settings::open(&upstream)).quiet().start();
    let both = [&undisturbed, &edge];
    p99(both, Duration::from_secs(1));
    let resident = memory_kib(&edge, "VmRSS:");

    let mut slow: Vec<TcpStream> = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(("127.0.0.1", edge.port())).expect("a connection");
        before(&mut stream);
        let _ = stream.write_all(b"GET /api/x HTTP/1.1\r\nHost: h\r\nX-A: ");
        slow.push(stream);
    }
    let trickling = AtomicBool::new(true);
    let [without, with] = thread::scope(|scope| {
        scope.spawn(|| {
            while trickling.load(Ordering::Relaxed) {
                for mut stream in &slow {
                    let _ = stream.write_all(b"a");
                    thread::sleep(Duration::from_micros(200));
                }
            }
        });
        let measured = scope.spawn(|| p99(both, Duration::from_secs(4))).join();
        trickling.store(false, Ordering::Relaxed);
        measured.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    let peak = memory_kib(&edge, "VmHWM:");
    println!(
        "p99 {without:?} without, {with:?} with slow heads; resident {resident} KiB before, \
         {peak} KiB at most"
    );
    assert!(with < 2 * without.max(NOISE), "p99 {without:?} without, {with:?} with slow heads");
    assert!(peak < MEMORY_KIB, "{peak} KiB");

    let all_cut =
        || closed_for(&edge, "head_timeout") + closed_for(&edge, "crowded") >= CONNECTIONS as f64;
    assert!(
        becomes_true(Duration::from_secs(40), all_cut),
        "{} were cut",
        closed_for(&edge, "head_timeout")
    );
    // A thread gives back what it does not need any more as it goes on working. How much of it the
    // allocator keeps differs with how busy the machine was: a third to more than a half was seen.
    let given_back = || {
        p99([&edge], Duration::from_millis(500));
        memory_kib(&edge, "VmRSS:") < resident + (peak - resident) * 3 / 4
    };
    let back = becomes_true(Duration::from_secs(20), given_back);
    println!("resident {} KiB after", memory_kib(&edge, "VmRSS:"));
    assert!(back, "{} KiB are still resident, {resident} before", memory_kib(&edge, "VmRSS:"));
    assert_eq!(edge.get("/api/x").send().status, 200);
}
