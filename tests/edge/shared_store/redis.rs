//! A `redis-server` that a test stops, pauses, slows down and starts again, empty.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::edge::signal_process;
use crate::support::poll::becomes_true;
use crate::support::ports::Port;

pub struct Redis {
    port: Port,
    arguments: Vec<String>,
    directory: TempDir,
    /// Where the nodes of a cluster find it.
    cluster_port: Option<Port>,
    process: Option<Child>,
}

impl Redis {
    /// `None` after saying that it is not here.
    pub fn start() -> Option<Self> {
        Self::with("")
    }

    /// With these arguments, each a word: Redis 7 takes no word with spaces for several.
    pub fn with(arguments: &str) -> Option<Self> {
        let mut probe = Command::new("redis-server");
        if probe.arg("--version").stdout(Stdio::null()).status().is_err() {
            return crate::peers::running::skip("redis-server");
        }
        let arguments = arguments.split_whitespace().map(str::to_owned).collect();
        let directory = tempfile::tempdir().unwrap();
        let mut redis =
            Self { port: Port::claim(), arguments, directory, cluster_port: None, process: None };
        redis.restart();
        Some(redis)
    }

    /// Two, each with half of the slots.
    pub fn cluster() -> Option<[Self; 2]> {
        let node = || {
            let port = Port::claim();
            let arguments =
                format!("--cluster-enabled yes --cluster-node-timeout 2000 --cluster-port {port}");
            let mut node = Self::with(&arguments)?;
            node.cluster_port = Some(port);
            Some(node)
        };
        let nodes = [node()?, node()?];
        nodes[0].ask("CLUSTER ADDSLOTSRANGE 0 8191");
        nodes[1].ask("CLUSTER ADDSLOTSRANGE 8192 16383");
        let bus = nodes[0].cluster_port.as_ref().unwrap();
        nodes[1].ask(&format!("CLUSTER MEET {} {bus}", nodes[0].host_and_port()));
        let is_well = |node: &Self| node.ask("CLUSTER INFO").contains("cluster_state:ok");
        assert!(becomes_true(Duration::from_secs(20), || nodes.iter().all(is_well)), "no cluster");
        Some(nodes)
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// As `REPLICAOF` takes it, and a Sentinel.
    pub fn host_and_port(&self) -> String {
        format!("127.0.0.1 {}", self.port)
    }

    /// Starts it, empty.
    pub fn restart(&mut self) {
        self.kill();
        let process = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--dir", self.directory.path().to_str().unwrap()])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server starts");
        self.process = Some(process);
        let listens = || TcpStream::connect(("127.0.0.1", self.port.number())).is_ok();
        assert!(becomes_true(Duration::from_secs(20), listens), "redis-server does not listen");
    }

    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    pub fn signal(&self, signal: Signal) {
        signal_process(self.process.as_ref().unwrap(), signal);
    }

    /// What it answers to a line.
    pub fn ask(&self, line: &str) -> String {
        ask(&self.port, line)
    }
}

/// What the server at this port answers to a line.
pub fn ask(port: &Port, line: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port.number())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(format!("{line}\r\nQUIT\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A way to the store that can be made longer.
pub struct SlowWay {
    port: u16,
    delay: Arc<AtomicU64>,
}

impl SlowWay {
    pub fn to(redis: &Redis) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (target, delay) = (redis.port.number(), Arc::new(AtomicU64::new(0)));
        let of_answers = delay.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                let ends = [(client.try_clone(), server.try_clone()), (Ok(server), Ok(client))];
                for (index, (from, to)) in ends.into_iter().enumerate() {
                    let delay = if index == 0 { Arc::default() } else { of_answers.clone() };
                    thread::spawn(move || pass(from.unwrap(), to.unwrap(), &delay));
                }
            }
        });
        Self { port, delay }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn take_ms(&self, delay: u64) {
        self.delay.store(delay, Ordering::Relaxed);
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, delay: &AtomicU64) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        thread::sleep(Duration::from_millis(delay.load(Ordering::Relaxed)));
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
