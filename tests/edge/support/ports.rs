//! Ports for programs that must be told theirs.
//!
//! Pingora cannot report which port it got for port 0, and a test has to stop a server and start
//! another one in the same place. So a port is claimed first: outside the range that the kernel
//! gives to outgoing connections, under a lock file that keeps other test processes away, and only
//! after a trial bind.

use std::fmt;
use std::fs::{self, File};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the kernel's default range for outgoing connections (32768 to 60999).
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

/// A port that nobody else in any test process uses while this value lives.
#[derive(Debug)]
pub struct Port {
    number: u16,
    /// The lock ends with the file, also when the process is killed.
    _claim: File,
}

impl Port {
    pub fn claim() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        // Processes begin in different places, so that they seldom meet.
        let start = (std::process::id() % u32::from(COUNT)) as u16;
        let directory = std::env::temp_dir().join("harmony-edge-test-ports");
        fs::create_dir_all(&directory).expect("the directory for port claims");
        for _ in 0..COUNT {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let number = FIRST + (start.wrapping_mul(7) % COUNT + step % COUNT) % COUNT;
            let Ok(claim) = File::create(directory.join(number.to_string())) else {
                continue;
            };
            if claim.try_lock().is_ok() && is_free(number) {
                return Self { number, _claim: claim };
            }
        }
        panic!("no free port from {FIRST} on");
    }

    pub fn number(&self) -> u16 {
        self.number
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number.fmt(f)
    }
}

fn is_free(number: u16) -> bool {
    TcpListener::bind(("0.0.0.0", number)).is_ok()
}
