//! Memory: clients that never read, and a limit that is met by what is normal.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crate::row::{Row, metric};
use crate::support::{Client, Edge, Issuer, Upstream, eventually};
use crate::traffic::Traffic;
use crate::{SOON, can};

const MEGABYTE: usize = 1_000_000;

/// An upstream that answers `/large` with 10 MB, and `/stored` with how much it was sent.
fn upstream() -> Upstream {
    let large = vec![b'x'; 10 * MEGABYTE];
    Upstream::with(move |exchange| {
        let target = exchange.target().to_owned();
        match target.as_str() {
            "/large" => exchange.answer(200, &[], &large),
            "/stored" => {
                let mut length = 0;
                exchange.read_body_into(&mut |piece| length += piece.len());
                exchange.answer(200, &[], length.to_string().as_bytes());
            }
            _ => exchange.echo_target(),
        }
    })
}

#[test]
fn two_hundred_clients_do_not_read_their_answers() {
    const CLIENTS: usize = 200;
    let (issuer, upstream) = (Issuer::start(), upstream());
    let edge = Edge::with_jwt(&issuer, &upstream).quiet().start();
    let request = edge.get("/api/large").bearer(&issuer.token().sign()).bytes();
    let mut row = Row::begin(
        "200 clients do not read their 10 MB",
        &edge,
        Traffic::with_tokens(&edge, &issuer, "/api/x"),
    );
    let clients: Vec<Client> = (0..CLIENTS)
        .map(|_| {
            let mut client = edge.connect();
            client.send(&request);
            client
        })
        .collect();
    row.sees_metric("harmony_upstream_requests_in_flight", |value| value >= CLIENTS as f64);
    // Whatever it would read ahead, it has read by the time that nothing grows any more.
    let mut before = 0;
    eventually("memory that does not grow", SOON, || {
        thread::sleep(Duration::from_secs(2));
        let now = edge.resident_mib();
        (now <= std::mem::replace(&mut before, now)).then_some(())
    });
    row.sees(format!("{before} MiB, {} descriptors", edge.descriptors()));
    drop(clients);
    row.recovers(|| {
        metric(&edge, "harmony_upstream_requests_in_flight").is_some_and(|(_, value)| value < 10.0)
    });
    // Pingora reads ahead by some pieces of 64 KiB for each; the answers as a whole have 2 GB.
    row.end(256);
}

#[test]
fn mixed_traffic_in_256_mb() {
    const LIMIT: usize = 256;
    let Some(limit) = Limit::of(LIMIT) else {
        return;
    };
    let launcher: Vec<&str> = limit.launcher.iter().map(String::as_str).collect();
    let (issuer, upstream) = (Issuer::start(), upstream());
    let edge = Edge::with_jwt(&issuer, &upstream).under(&launcher).start();
    let token = issuer.token().sign();
    let row = Row::begin(
        "mixed traffic within 256 MB",
        &edge,
        Traffic::with_tokens(&edge, &issuer, "/api/x"),
    );
    let until = Instant::now() + Duration::from_secs(5);
    thread::scope(|scope| {
        for http2 in [false, false, true, true] {
            let (edge, token) = (&edge, &token);
            scope.spawn(move || {
                let kind = |request: crate::support::request::Request| {
                    if http2 { request.http2() } else { request }
                };
                while Instant::now() < until {
                    let large = kind(edge.get("/api/large").bearer(token)).send();
                    assert_eq!(
                        (large.status, large.body.len(), large.complete),
                        (200, 10 * MEGABYTE, true)
                    );
                    let stored =
                        kind(edge.post("/api/stored", vec![b'x'; 2 * MEGABYTE]).bearer(token))
                            .send();
                    assert_eq!((stored.status, stored.text()), (200, (2 * MEGABYTE).to_string()));
                }
            });
        }
    });
    assert!(edge.peak_mib() < LIMIT as u64, "{} MiB", edge.peak_mib());
    row.end(LIMIT as u64);
}

/// A limit on memory: a control group, removed when this is dropped, or a limit on the data of a
/// process.
struct Limit {
    group: Option<PathBuf>,
    launcher: Vec<String>,
}

impl Limit {
    /// `None`, and a word about it, where there is neither.
    fn of(megabytes: usize) -> Option<Self> {
        let bytes = megabytes * MEGABYTE;
        for (hierarchy, file) in
            [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")]
        {
            let group = PathBuf::from(hierarchy)
                .join(format!("harmony-edge-faults-{}", std::process::id()));
            if fs::create_dir(&group).is_ok() {
                let script =
                    format!("echo $$ > {}/cgroup.procs && exec \"$0\" \"$@\"", group.display());
                let limited = group.join(file).exists()
                    && fs::write(group.join(file), bytes.to_string()).is_ok();
                let limit = Self {
                    group: Some(group),
                    launcher: ["sh", "-c", &script].map(str::to_owned).to_vec(),
                };
                if limited {
                    return Some(limit);
                }
            }
        }
        let data = format!("--data={bytes}");
        can("prlimit", &[&data, "true"]).then(|| Self {
            group: None,
            launcher: vec!["prlimit".to_owned(), data, "--".to_owned()],
        })
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        if let Some(group) = &self.group {
            let _ = fs::remove_dir(group);
        }
    }
}
