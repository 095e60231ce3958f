//! What a service manager hears: a socket of the test's takes its place.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::handover::echoing;
use super::{END, ended};
use crate::support::Edge;
use crate::support::edge::EdgeBuilder;

/// The manager's end.
struct Manager {
    directory: TempDir,
    socket: UnixDatagram,
}

impl Manager {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let socket = UnixDatagram::bind(directory.path().join("notify")).expect("a socket");
        Self { directory, socket }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("notify")
    }

    fn supervise(&self, edge: EdgeBuilder) -> EdgeBuilder {
        edge.env("NOTIFY_SOCKET", self.path().to_str().expect("a path in UTF-8"))
    }

    /// The next message within the time.
    fn hear(&self, within: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(within)).expect("a timeout");
        let mut buffer = [0; 4096];
        let read = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..read]).into_owned())
    }

    /// The next message that holds `line`; those before it are returned too.
    #[track_caller]
    fn await_line(&self, line: &str) -> Vec<String> {
        let (deadline, mut heard) = (Instant::now() + END, Vec::new());
        while Instant::now() < deadline {
            let Some(message) = self.hear(Duration::from_secs(1)) else {
                continue;
            };
            let found = message.lines().any(|other| other == line);
            heard.push(message);
            if found {
                return heard;
            }
        }
        panic!("no {line}: {heard:?}");
    }
}

fn supervised(manager: &Manager) -> Edge {
    manager.supervise(echoing()).start()
}

#[test]
fn start_reload_and_stop_are_told() {
    let manager = Manager::new();
    let mut edge = supervised(&manager);
    let heard = manager.await_line("READY=1");
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert!(!heard[0].contains("MAINPID"), "{heard:?}");

    edge.signal(Signal::SIGHUP);
    let heard = manager.await_line("RELOADING=1");
    assert!(heard.last().unwrap().contains("MONOTONIC_USEC="), "{heard:?}");
    manager.await_line("READY=1");

    edge.rewrite(|text| text.replace("path_prefix", "path_prefx"));
    edge.signal(Signal::SIGHUP);
    manager.await_line("RELOADING=1");
    let heard = manager.await_line("READY=1");
    let status = heard
        .last()
        .unwrap()
        .lines()
        .find(|line| line.starts_with("STATUS="))
        .expect("a status")
        .to_owned();
    assert!(status.contains("reload refused") && status.contains("path_prefx"), "{status}");

    edge.signal(Signal::SIGTERM);
    manager.await_line("STOPPING=1");
    assert_eq!(edge.exit_status(END).code(), Some(0));
}

#[test]
fn an_upgrade_names_the_new_main_process_and_nobody_says_stopping() {
    let manager = Manager::new();
    let mut edge = supervised(&manager);
    manager.await_line("READY=1");
    let mut old = edge.upgrade();
    let heard = manager.await_line(&format!("MAINPID={}", edge.id()));
    assert!(heard.last().unwrap().contains("READY=1"), "{heard:?}");
    assert_eq!(ended(&mut old).code(), Some(0));
    while let Some(message) = manager.hear(Duration::from_millis(100)) {
        assert!(!message.contains("STOPPING"), "{message}");
    }
}

#[test]
fn the_watchdog_is_fed_only_while_the_process_answers_itself() {
    let manager = Manager::new();
    let edge = manager.supervise(echoing()).env("WATCHDOG_USEC", "400000").start();
    manager.await_line("WATCHDOG=1");
    manager.await_line("WATCHDOG=1");

    // Nothing more can be accepted: all descriptors are in use.
    let limit = |number: &str| {
        let status = Command::new("prlimit")
            .args(["--pid", &edge.id().to_string(), &format!("--nofile={number}:4096")])
            .status();
        assert!(status.is_ok_and(|status| status.success()), "prlimit");
    };
    limit("4");
    let quiet = || std::iter::from_fn(|| manager.hear(Duration::from_millis(10))).count();
    std::thread::sleep(Duration::from_secs(1));
    quiet();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(quiet(), 0, "not fed");
    assert!(edge.log().contains("does not answer itself"), "{}", edge.log());

    limit("1024");
    manager.await_line("WATCHDOG=1");
    assert!(!edge.log().contains("harmony::access"), "the questions leave no access record");
}
