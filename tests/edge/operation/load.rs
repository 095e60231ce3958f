//! Load on an edge, from clients that count every failure: `wrk`, one connection for each request,
//! and connections that are kept.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::edge::signal_process;

/// Clients that go on until they are stopped.
pub struct Load {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    /// One connection for each request, `rate` a second, from several threads.
    pub fn of_new_connections(port: u16, rate: u32) -> Self {
        const THREADS: u32 = 4;
        let pause = Duration::from_secs(1) * THREADS / rate;
        Self::start(THREADS, move || {
            let due = Instant::now() + pause;
            let outcome = Kept::connect(port).and_then(|mut connection| connection.get(true));
            thread::sleep(due.saturating_duration_since(Instant::now()));
            outcome.map(drop)
        })
    }

    /// `number` connections, each with a request every `pause`, until one is answered with
    /// `Connection: close`: then comes the next connection.
    pub fn of_kept_connections(port: u16, number: u32, pause: Duration) -> Self {
        Self::with_state(number, move |kept: &mut Option<Kept>| {
            let mut connection = match kept.take() {
                Some(connection) => connection,
                None => Kept::connect(port)?,
            };
            if !connection.get(false)? {
                *kept = Some(connection);
            }
            thread::sleep(pause);
            Ok(())
        })
    }

    fn start(threads: u32, step: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self::with_state(threads, move |(): &mut ()| step())
    }

    fn with_state<S: Default>(
        threads: u32,
        step: impl Fn(&mut S) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        let (stop, count, step) =
            (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(step));
        let clients = (0..threads).map(|_| {
            let (stop, count, step) = (Arc::clone(&stop), Arc::clone(&count), Arc::clone(&step));
            thread::spawn(move || {
                let (mut state, mut failures) = (S::default(), Vec::new());
                while !stop.load(Ordering::Relaxed) {
                    match step(&mut state) {
                        Ok(()) => drop(count.fetch_add(1, Ordering::Relaxed)),
                        Err(failure) => failures.push(failure),
                    }
                }
                failures
            })
        });
        let clients = clients.collect();
        Self { stop, count, clients }
    }

    /// How many requests were answered, and what failed.
    pub fn stop(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let failures =
            self.clients.into_iter().flat_map(|client| client.join().expect("a client")).collect();
        (self.count.load(Ordering::Relaxed), failures)
    }
}

/// One connection.
struct Kept(TcpStream);

impl Kept {
    fn connect(port: u16) -> Result<Self, String> {
        let stream =
            TcpStream::connect(("127.0.0.1", port)).map_err(|error| format!("connect: {error}"))?;
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        Ok(Self(stream))
    }

    /// Whether the answer says that the connection ends.
    fn get(&mut self, close: bool) -> Result<bool, String> {
        let close = if close { "Connection: close\r\n" } else { "" };
        let request = format!("GET /echo HTTP/1.1\r\nHost: h\r\n{close}\r\n");
        self.0.write_all(request.as_bytes()).map_err(|error| format!("write: {error}"))?;
        let mut answer = Vec::new();
        loop {
            let mut buffer = [0; 4096];
            match self.0.read(&mut buffer) {
                Ok(0) => return Err(format!("closed after {} bytes", answer.len())),
                Ok(read) => answer.extend_from_slice(&buffer[..read]),
                Err(error) => return Err(format!("read: {error} after {} bytes", answer.len())),
            }
            // What the echo service answers ends with a brace of its own line.
            if answer.ends_with(b"\n}\n") || answer.ends_with(b"\n}") {
                break;
            }
        }
        let text = String::from_utf8_lossy(&answer);
        if !text.starts_with("HTTP/1.1 200") {
            return Err(format!("answered {:?}", text.lines().next()));
        }
        Ok(text.to_ascii_lowercase().contains("\r\nconnection: close"))
    }
}

/// `wrk` with 64 connections, until it is asked for its result.
pub fn wrk(port: u16) -> Child {
    let url = format!("http://127.0.0.1:{port}/echo");
    let mut command = Command::new("wrk");
    command.args(["-t1", "-c64", "--timeout", "30s", "-d", "10m", &url]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("wrk")
}

/// What `wrk` reported: how many requests, and the lines that tell of failures.
pub fn wrk_result(process: Child) -> (u64, Vec<String>) {
    signal_process(&process, Signal::SIGINT);
    let output = process.wait_with_output().expect("wrk's report");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let requests = text.lines().find_map(|line| {
        line.split(" requests in").next().filter(|number| *number != line)?.trim().parse().ok()
    });
    let failures = text
        .lines()
        .filter(|line| line.contains("Socket errors") || line.contains("Non-2xx"))
        .map(str::to_owned)
        .collect();
    (requests.unwrap_or_else(|| panic!("wrk says:\n{text}")), failures)
}
