//! The log file: opened anew on SIGUSR1, and never in a request's way.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::END;
use super::handover::echoing;
use crate::support::poll::eventually;
use crate::support::ports::Port;
use crate::support::{Edge, Program, Settings, Upstream};

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
        edge.log().contains("the log file cannot be reopened").then_some(())
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
fn a_file_that_cannot_be_written_is_named_with_its_key() {
    let log = "[logging]\nlog_to_file = true\nlog_file_path = \"here.log\"\n";
    let ports = [Port::claim(), Port::claim()].map(|port| port.number().to_string());
    for (tables, words) in [
        (TO_FILE.to_owned(), "logging.log_file_path: cannot write "),
        (format!("{log}[audit]\npath = \"gone/audit.log\"\n"), "audit.path: cannot write "),
    ] {
        let text = Settings::bare().and(&tables).text();
        let text = text.replace("{port}", &ports[0]).replace("{mport}", &ports[1]);
        let ran = Program::with(&["-c", "harmony.toml"]).file("harmony.toml", &text).run();
        assert_eq!(ran.status, Some(1), "{ran:?}");
        let told = ran.stderr.lines().any(|line| {
            line.starts_with(words) && line.contains(".log: No such file or directory")
        });
        assert!(told, "{words}: {}", ran.stderr);
    }
}

#[test]
fn a_pipe_that_nobody_reads_slows_no_request() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let logging =
        format!("[logging]\nlog_to_file = true\nlog_file_path = {:?}\n", pipe.to_str().unwrap());
    let measure = |edge: &Edge| {
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

/// The access record of the request that was refused or answered last, as JSON.
fn record(edge: &Edge, path: &str) -> serde_json::Value {
    eventually("the access record", END, || {
        edge.log().lines().rev().find_map(|line| {
            let record: serde_json::Value = serde_json::from_str(line).ok()?;
            (record["target"] == "harmony::access" && record["path"] == path).then_some(record)
        })
    })
}

#[test]
fn a_record_tells_the_host_the_upstream_and_the_path_that_was_refused() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).and("[logging]\nformat = \"json\"\n").start();
    assert_eq!(edge.get("/api/x").host("edge.example:81").send().status, 200);
    let passed = record(&edge, "/api/x");
    let address = format!("127.0.0.1:{}", upstream.port());
    for (field, expected) in [
        ("host", serde_json::json!("edge.example")),
        ("upstream", address.into()),
        ("status", 200.into()),
        ("reason", serde_json::Value::Null),
        ("subject", serde_json::Value::Null),
    ] {
        assert_eq!(passed[field], expected, "{field}: {passed}");
    }
    assert!(passed["bytes"].is_u64() && passed["duration_us"].is_u64(), "{passed}");

    let (answers, _) = edge.raw("GET /api/..;/x%00?token=hidden HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(answers[0].status, 400);
    let refused = record(&edge, "/api/..;/x%00");
    assert_eq!(refused["status"], 400, "{refused}");
    assert_eq!(refused["upstream"], serde_json::Value::Null, "{refused}");
    assert!(!edge.log().contains("hidden"), "a query stands in no log");

    // What never became a request is a record and an event all the same.
    for (head, status, reason, method) in [
        ("GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "unreadable_head", None),
        ("CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", 405, "unreadable_head", None),
        ("GET /x y HTTP/1.1\r\nHost: h\r\n\r\n", 400, "target", Some("GET")),
    ] {
        let told = |target: &str, field: &str| {
            edge.log().lines().any(|line| {
                let Ok(line) = serde_json::from_str::<serde_json::Value>(line) else {
                    return false;
                };
                let fits = method.is_none_or(|method| line["method"] == method);
                fits && line["target"] == target
                    && line["status"] == status
                    && line[field] == reason
            })
        };
        let (answers, closed) = edge.raw(head);
        assert_eq!((answers[0].status, closed), (status, true), "{head}");
        eventually("the access record", END, || told("harmony::access", "reason").then_some(()));
        eventually("the event", END, || told("harmony::audit", "outcome").then_some(()));
    }
}

#[test]
fn no_request_forges_a_field() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).start();
    let targets = [
        "/api/x status=200",
        "/api/x\tstatus=200",
        "/api/x%20status=200%0astatus=200",
        "/api/x\"status=200",
        "/api/x\u{a0}status=200",
        "/api/x\u{3000}status=200",
        "http://h/api/x status=200",
        "/api/last",
    ];
    for target in targets {
        for host in ["h", "h status=200", "h\" status=200"] {
            edge.raw(format!(
                "GET {target} HTTP/1.1\r\nHost: {host}\r\nX-Request-Id: a status=200\r\n\
                 Connection: close\r\n\r\n"
            ));
        }
    }
    let log = eventually("the last record", END, || {
        Some(edge.log()).filter(|log| log.contains("path=/api/last "))
    });
    let records: Vec<_> = log.lines().filter(|line| line.contains("harmony::access")).collect();
    assert!(records.len() > targets.len(), "{log}");
    for record in records {
        // What stands in quotes is a value, whatever it looks like.
        let outside: String = record.replace("\\\"", "").split('"').step_by(2).collect();
        let count = |key: &str| outside.split_whitespace().filter(|it| it.starts_with(key)).count();
        assert_eq!((count("status="), count("path=")), (1, 1), "{record}");
    }
}
