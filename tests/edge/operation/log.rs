//! The log file: opened anew on SIGUSR1, and never in a request's way.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::END;
use super::handover::echoing;
use crate::support::poll::eventually;

const TO_FILE: &str = "[logging]\nlog_to_file = true\nlog_file_path = \"logs/edge.log\"\n";

#[test]
fn a_moved_file_is_opened_anew_on_sigusr1() {
    let edge = echoing().and(TO_FILE).file("logs/keep", "").start();
    let (file, moved) =
        (edge.directory().join("logs/edge.log"), edge.directory().join("logs/edge.log.1"));
    let holds = |path: &std::path::Path, word: &str| {
        fs::read_to_string(path).is_ok_and(|text| text.contains(word))
    };
    assert_eq!(edge.get("/echo/before").send().status, 200);
    eventually("the first line", END, || holds(&file, "/echo/before").then_some(()));
    fs::rename(&file, &moved).unwrap();
    edge.signal(Signal::SIGUSR1);
    eventually("the new file", END, || file.exists().then_some(()));
    assert_eq!(edge.get("/echo/after").send().status, 200);
    eventually("the next line in it", END, || holds(&file, "/echo/after").then_some(()));
    assert!(!holds(&moved, "/echo/after") && holds(&moved, "/echo/before"));
}

#[test]
fn a_directory_that_is_gone_sends_the_log_to_standard_error() {
    let edge = echoing().and(TO_FILE).file("logs/keep", "").start();
    fs::remove_dir_all(edge.directory().join("logs")).unwrap();
    edge.signal(Signal::SIGUSR1);
    eventually("a word on standard error", END, || {
        edge.log().contains("the log file cannot be opened anew").then_some(())
    });
    assert_eq!(edge.get("/echo/after").send().status, 200);
    eventually("the log on standard error", END, || {
        edge.log().contains("/echo/after").then_some(())
    });

    fs::create_dir(edge.directory().join("logs")).unwrap();
    edge.signal(Signal::SIGUSR1);
    eventually("the file again", END, || {
        edge.directory().join("logs/edge.log").exists().then_some(())
    });
}

#[test]
fn a_pipe_that_nobody_reads_slows_no_request() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let logging =
        format!("[logging]\nlog_to_file = true\nlog_file_path = {:?}\n", pipe.to_str().unwrap());
    let measure = |edge: &crate::support::Edge| {
        let mut client = edge.connect();
        let mut times: Vec<Duration> = (0..12_000)
            .map(|_| {
                let started = Instant::now();
                client.send(edge.get("/echo").bytes());
                assert_eq!(client.response().status, 200);
                started.elapsed()
            })
            .collect();
        times.sort_unstable();
        times[times.len() / 2]
    };
    let mut edge = echoing().and(&logging).start();
    // Enough to fill the pipe and the queue behind it.
    let stuck = measure(&edge);
    edge.signal(Signal::SIGTERM);
    assert_eq!(edge.exit_status(END).code(), Some(0), "nor does it keep the process from ending");
    drop(edge);
    let free = measure(&echoing().start());
    eprintln!("median of a request: {stuck:?} with a stuck log, {free:?} with a free one");
    assert!(stuck < 3 * free + Duration::from_millis(5), "{stuck:?} against {free:?}");
}
