//! Clients that mean harm, or are broken: they trickle, hang, hoard connections and streams, and
//! never read. Others are served all the while.

mod addresses;
mod bodies;
mod crowd;
mod files;
mod flood;
mod heads;
mod patience;
mod streams;
mod upstreams;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::{Edge, Settings, Upstream};

/// The preface of HTTP/2 and settings that change nothing.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
/// `GET http://h/api/x`, as HPACK without any table.
const GET: &[u8] = b"\x82\x86\x04\x06/api/x\x01\x01h";
/// `POST http://h/api/x`, likewise.
const POST: &[u8] = b"\x83\x86\x04\x06/api/x\x01\x01h";

/// Longer than what happens at once takes on a busy machine.
const WAIT: Duration = Duration::from_secs(20);

/// An edge whose network `public` has these lines besides.
fn with_network(upstream: &Upstream, lines: &str) -> Edge {
    let text = Settings::open(upstream).text();
    let text = text.replace("bind_port = {port}", &format!("bind_port = {{port}}\n{lines}"));
    Edge::configured(Settings::of_text(&text)).quiet().start()
}

/// The value of a sample of `/metrics`; 0: there is none.
fn sample(edge: &Edge, name: &str) -> f64 {
    let text = edge.manage("/metrics").send().text();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or(0.0)
}

fn closed_for(edge: &Edge, reason: &str) -> f64 {
    sample(
        edge,
        &format!("harmony_connections_closed_total{{network=\"public\",reason=\"{reason}\"}}"),
    )
}

/// What came of a connection that was held on to: when it ended, if it did, and what the edge sent.
#[derive(Debug)]
struct Held {
    ended: Option<Duration>,
    received: Vec<u8>,
}

impl Held {
    /// Sends `first`, then one of `pieces` every 400 ms (the last one again and again), until the
    /// edge closes or `within` is over.
    fn on(port: u16, first: &[u8], pieces: &[&[u8]], within: Duration) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_millis(400))).expect("a read timeout");
        let started = Instant::now();
        let mut held = Self { ended: None, received: Vec::new() };
        let mut gone = stream.write_all(first).is_err();
        let mut turn = 0;
        while started.elapsed() < within {
            let mut buffer = [0; 4096];
            match stream.read(&mut buffer) {
                Ok(0) => gone = true,
                Ok(length) => {
                    held.received.extend_from_slice(&buffer[..length]);
                    continue;
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) => {}
                Err(_) => gone = true,
            }
            if gone {
                held.ended = Some(started.elapsed());
                break;
            }
            if let Some(piece) = pieces.get(turn).or(pieces.last()) {
                gone = stream.write_all(piece).is_err();
                turn += 1;
            }
        }
        held
    }

    fn ended_between(&self, from: u64, to: u64) -> bool {
        self.ended.is_some_and(|ended| {
            (Duration::from_secs(from)..Duration::from_secs(to)).contains(&ended)
        })
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.received).into_owned()
    }
}
