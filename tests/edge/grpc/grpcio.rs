//! The same calls with Python's gRPC, whose core is that of C++, Ruby, PHP and others.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::Secured;
use crate::support::poll::becomes_true;
use crate::support::ports::Port;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/edge/grpc/grpcio.py");

/// Whether `python3` has what the script needs; says so if it has not, and the test may go.
fn has_grpcio() -> bool {
    let found = Command::new("python3")
        .args(["-c", "import grpc, grpc_health.v1.health"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !found {
        eprintln!("skipped: python3 has no grpcio and grpcio-health-checking");
    }
    found
}

/// A server of grpcio; it ends with the test.
struct Server(Child);

impl Server {
    fn start(port: &Port) -> Self {
        let mut process = Command::new("python3")
            .args([SCRIPT, "server", &port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 starts");
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "serving\n");
        Self(process)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_client_and_a_server_of_grpcio_do_not_see_the_edge() {
    if !has_grpcio() {
        return;
    }
    let port = Port::claim();
    let server = Server::start(&port);
    let place = Secured::in_front_of(
        port.number(),
        "health_check = { type = \"grpc\", interval_secs = 1 }",
    );
    let authority = place.edge.directory().join("ca.pem");
    std::fs::write(&authority, place.authority.pem()).unwrap();
    let called = Command::new("python3")
        .args([SCRIPT, "client", &place.port().to_string()])
        .arg(authority)
        .arg(place.token())
        .env_remove("http_proxy")
        .output()
        .expect("python3 starts");
    let told = [called.stdout, called.stderr].concat();
    assert!(
        called.status.success() && told.ends_with(b"all well\n"),
        "{}",
        String::from_utf8_lossy(&told)
    );
    let healthy = || {
        let told = place.edge.manage("/admin/backends").send().text();
        told.contains("\"healthy\"") && !told.contains("\"unhealthy\"")
    };
    assert!(becomes_true(Duration::from_secs(30), healthy));
    drop(server);
}
