//! The log cannot be written: no request waits for it, the operator learns of it, and it goes on
//! when it can.

use std::fs;

use crate::SOON;
use crate::row::{Row, metric};
use crate::support::{Edge, Issuer, Upstream, eventually};
use crate::traffic::Traffic;
use crate::volume::Volume;

const DROPPED: &str = "harmony_log_records_dropped_total{log=\"log\"}";

#[test]
fn a_log_on_a_full_device() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let logging = "[logging]\nlog_to_file = true\nlog_file_path = \"/dev/full\"\n";
    let edge = Edge::with_jwt(&issuer, &upstream).and(logging).quiet().start();
    let mut row =
        Row::begin("log on a full device", &edge, Traffic::with_tokens(&edge, &issuer, "/api/x"));
    row.sees_metric(DROPPED, |value| value > 20.0);
    // On standard error, which the service manager keeps; and not for each line.
    let lines: Vec<String> = edge
        .log()
        .lines()
        .filter(|line| line.contains("No space left on device"))
        .map(str::to_owned)
        .collect();
    assert_eq!(lines.len(), 1, "{}", edge.log());
    row.sees(lines[0].clone());
    row.end(32);
}

#[test]
fn a_log_on_a_disk_that_is_full_for_a_while() {
    let Some(volume) = Volume::of(256) else {
        return;
    };
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let logging =
        format!("[logging]\nlog_to_file = true\nlog_file_path = \"{}/edge.log\"\n", volume.path());
    let launcher = volume.launcher();
    let launcher: Vec<&str> = launcher.iter().map(String::as_str).collect();
    let edge = Edge::with_jwt(&issuer, &upstream).and(&logging).under(&launcher).start();
    let log = || fs::read_to_string(volume.inside().join("edge.log")).unwrap_or_default();
    let mut row = Row::begin(
        "log on a disk that is full for a while",
        &edge,
        Traffic::with_tokens(&edge, &issuer, "/api/x"),
    );
    volume.fill();
    row.sees_line(&["the log cannot be written", "No space left on device"]);
    row.sees_metric(DROPPED, |value| value > 20.0);
    volume.free();
    row.recovers(|| log().contains("log records lost"));
    row.sees(log().lines().find(|line| line.contains("log records lost")).unwrap().to_owned());
    row.sees_line(&["the log can be written again"]);
    let dropped = metric(&edge, DROPPED);
    let after = edge.get("/api/after-the-full-disk").send();
    assert_eq!(after.status, 401);
    eventually("the log goes on", SOON, || {
        log().contains("/api/after-the-full-disk").then_some(())
    });
    assert_eq!(metric(&edge, DROPPED), dropped, "nothing is lost any more");
    for line in log().lines().filter(|line| line.contains("request client=")) {
        assert!(
            line.starts_with("20") && line.matches("request client=").count() == 1,
            "half a line runs into the next one: {line}"
        );
    }
    row.end(32);
}
