//! A Sentinel of one primary, which decides alone.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::redis::{Redis, ask};
use crate::support::poll::becomes_true;
use crate::support::ports::Port;

pub struct Sentinel {
    port: Port,
    name: String,
    process: Child,
    _directory: TempDir,
}

impl Sentinel {
    /// Knows a primary, and in time its replicas, under this name.
    pub fn of(name: &str, primary: &Redis) -> Self {
        let (port, directory) = (Port::claim(), tempfile::tempdir().unwrap());
        let file = directory.path().join("sentinel.conf");
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor {name} {} 1\n\
             sentinel down-after-milliseconds {name} 1000\n\
             sentinel failover-timeout {name} 5000\n",
            directory.path().display(),
            primary.host_and_port()
        );
        std::fs::write(&file, text).unwrap();
        let process = Command::new("redis-server")
            .arg(file)
            .arg("--sentinel")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server starts");
        let sentinel = Self { port, name: name.to_owned(), process, _directory: directory };
        let listens =
            || std::net::TcpStream::connect(("127.0.0.1", sentinel.port.number())).is_ok();
        assert!(becomes_true(Duration::from_secs(20), listens), "the Sentinel does not listen");
        sentinel
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Without one that is in step, there is no fail-over.
    pub fn knows_a_replica(&self) -> bool {
        let replicas = ask(&self.port, &format!("SENTINEL REPLICAS {}", self.name));
        replicas.contains("master-link-status\r\n$2\r\nok")
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
