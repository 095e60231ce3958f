//! What idle keep-alive connections cost.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};

use anyhow::ensure;

use crate::cases::Bench;
use crate::contestants::{EDGE, Edge};
use crate::process::{Process, free_port};

const CONNECTIONS: usize = 10_000;

/// Memory with that many connections which have asked once, as lines of the report.
pub fn measure(bench: &Bench) -> anyhow::Result<Vec<String>> {
    raise_limit()?;
    let port = free_port()?;
    let file =
        bench.file("idle.toml", &bench.edge_configuration(&Edge::new(bench.nginx_upstream), port));
    let edge = [EDGE.to_owned(), "-c".to_owned(), file.display().to_string()];
    let (before, after) = with_idle("harmony-edge", &edge, port)?;
    let mut lines = vec![format!(
        "memory with {CONNECTIONS} idle connections: harmony-edge {after:.1} MB ({before:.1} MB \
         without)"
    )];
    if let Some((command, port)) = bench.plain_haproxy() {
        let (before, peer) = with_idle("HAProxy", &command, port)?;
        lines.push(format!(
            "memory with {CONNECTIONS} idle connections: HAProxy {peer:.1} MB \
             ({before:.1} MB without); ratio {:.2}",
            after / peer
        ));
    }
    Ok(lines)
}

fn with_idle(name: &str, command: &[String], port: u16) -> anyhow::Result<(f64, f64)> {
    println!("{name}: {CONNECTIONS} idle connections");
    let process = Process::start(name, "0", command, port)?;
    let before = process.resident()?;
    let mut connections = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        connection.write_all(b"GET /api/x HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        let mut answer = [0; 1024];
        let read = connection.read(&mut answer)?;
        ensure!(answer[..read].starts_with(b"HTTP/1.1 200"), "{name} did not answer");
        connections.push(connection);
    }
    let after = process.resident()?;
    Ok((before, after))
}

/// The client's own descriptors; its children inherit the limit.
fn raise_limit() -> anyhow::Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    ensure!(hard >= CONNECTIONS as u64 + 1000, "the hard limit of open files is {hard}");
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}
