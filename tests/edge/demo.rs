//! `harmony-edge demo`: the first run, with nothing to set up.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::edge::{command, signal_process};
use crate::support::ports::Port;
use crate::support::{eventually, secrets};

/// Every demonstration would like the same port for its management, and looks whether it is free a
/// moment before it takes it.
static ONE_TEST_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_TEST_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A demonstration under way.
struct Demo {
    directory: TempDir,
    process: Child,
}

impl Demo {
    fn start(port: &Port) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file =
            |name: &str| File::create(directory.path().join(name)).expect("a file for the output");
        let mut command = command(directory.path());
        let process = command
            .args(["demo", "--port", &port.to_string()])
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .expect("the binary starts");
        Self { directory, process }
    }

    fn printed(&self, name: &str) -> String {
        fs::read_to_string(self.directory.path().join(name)).unwrap_or_default()
    }

    /// The lines to paste, once they are there.
    fn curl_lines(&self) -> Vec<String> {
        let lines = || {
            self.printed("stdout")
                .lines()
                .map(|line| line.trim().trim_start_matches("$ ").to_owned())
                .filter(|line| line.starts_with("curl "))
                .collect::<Vec<_>>()
        };
        eventually("four curl lines", Duration::from_secs(30), || {
            Some(lines()).filter(|lines| lines.len() >= 4)
        })
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("--- what the demonstration said ---\n{}", self.printed("stderr"));
        }
    }
}

#[test]
fn the_four_lines_give_what_they_say() {
    let Some(curl) = on_path("curl") else {
        eprintln!("skipped: needs curl");
        return;
    };
    let _alone = alone();
    let port = Port::claim();
    let mut demo = Demo::start(&port);
    let lines = demo.curl_lines();
    assert_eq!(lines.len(), 4, "{lines:?}");
    let before = demo.printed("stderr");
    for unwanted in [" WARN ", " ERROR ", "harmony::access"] {
        assert!(!before.contains(unwanted), "{unwanted} before the banner: {before}");
    }
    let banner = demo.printed("stdout");
    assert!(banner.starts_with("harmony-edge demo: "), "{banner}");
    let page = banner
        .lines()
        .find_map(|line| line.strip_prefix("Status page: "))
        .expect("the status page's address");
    let status = Command::new(&curl)
        .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", page])
        .env("no_proxy", "*")
        .output()
        .expect("curl");
    assert_eq!(String::from_utf8_lossy(&status.stdout), "200", "{page}");
    assert!(!banner.contains('#'), "an interactive zsh takes no comments: {banner}");
    for (line, expected) in lines.iter().zip(["200", "401", "401", "401"]) {
        assert!(line.contains(&format!(":{port}/")), "{line}");
        let output = Command::new("sh")
            .args(["-c", &format!("{line} -s -o /dev/null -w '%{{http_code}}'")])
            .env("PATH", curl.parent().unwrap())
            .env("no_proxy", "*")
            .output()
            .expect("a shell");
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{line}");
    }
    for token in lines.iter().filter_map(|line| line.split("Bearer ").nth(1)) {
        secrets::remember(token.split(['\'', '"']).next().unwrap_or_default());
    }
    assert_eq!(
        secrets::leak_in(demo.printed("stderr").as_bytes()),
        None,
        "tokens are printed where they are asked for, and logged nowhere"
    );

    let started = Instant::now();
    signal_process(&demo.process, Signal::SIGTERM);
    let status = eventually("the end of the demonstration", Duration::from_secs(10), || {
        demo.process.try_wait().expect("the status of a child")
    });
    assert_eq!(status.code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn two_demonstrations_run_side_by_side() {
    let _alone = alone();
    let ports = [Port::claim(), Port::claim()];
    // One after the other: only the proxy's port is the user's to choose, and the rest has to get
    // out of its own way.
    let demos = ports.each_ref().map(|port| {
        let demo = Demo::start(port);
        assert_eq!(demo.curl_lines().len(), 4);
        demo
    });
    drop(demos);
}

#[test]
fn a_port_that_is_taken_is_said() {
    let _alone = alone();
    let port = Port::claim();
    let _listener =
        std::net::TcpListener::bind(("127.0.0.1", port.number())).expect("a port of our own");
    let mut demo = Demo::start(&port);
    let status = eventually("the end of the demonstration", Duration::from_secs(30), || {
        demo.process.try_wait().expect("the status of a child")
    });
    assert_eq!(status.code(), Some(1));
    assert!(demo.printed("stderr").contains(&port.to_string()), "{}", demo.printed("stderr"));
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|file: &PathBuf| Path::is_file(file))
}
