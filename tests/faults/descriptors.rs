//! The process has 256 descriptors, and clients take them all: who is connected is served, nobody
//! else is blamed, and it ends with the clients.

use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crate::can;
use crate::row::{Row, metric};
use crate::support::{Edge, Issuer, Upstream};
use crate::traffic::Traffic;

const DESCRIPTORS: usize = 256;

#[test]
fn clients_take_every_descriptor() {
    if !can("prlimit", &["--version"]) {
        return;
    }
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let limit = format!("--nofile={DESCRIPTORS}");
    let edge = Edge::with_jwt(&issuer, &upstream)
        .backend("eject_after = 1")
        .under(&["prlimit", &limit, "--"])
        .start();
    let good = (0..20)
        .map(|number| edge.get("/api/x").bearer(&issuer.token().claim("jti", number).sign()));
    let token = issuer.token().sign();
    let mut row = Row::begin(
        "256 descriptors, 400 idle clients",
        &edge,
        Traffic::start(good.collect(), Vec::new()),
    );
    // One that is connected, and whose request will need a connection to the upstream.
    let mut connected = edge.connect();
    connected.send(edge.get("/api/x").bearer(&token).bytes());
    assert_eq!(connected.response().status, 200);
    assert!(edge.log().contains("the process may have 256 files open, too few"), "{}", edge.log());
    let idle: Vec<TcpStream> = (0..400)
        .map(|_| TcpStream::connect(("127.0.0.1", edge.port())).expect("the backlog takes it"))
        .collect();
    row.sees_metric(
        "harmony_connections_closed_total{network=\"public\",reason=\"crowded\"}",
        |count| count >= 200.0,
    );
    assert!(edge.descriptors() <= DESCRIPTORS);
    // The kept connections to the upstream go, and clients that wait get their descriptors; then a
    // request needs a new one. The cap on connections leaves it one, unless others were quicker.
    let mut refused = false;
    for _ in 0..10 {
        upstream.close_connections();
        thread::sleep(Duration::from_millis(300));
        let response = connected.send(edge.get("/api/x").bearer(&token).bytes()).response();
        if response.status != 200 {
            assert_eq!(
                (response.status, response.field("retry-after").is_some()),
                (503, true),
                "{}",
                response.text()
            );
            refused = true;
        }
    }
    if refused {
        row.sees_line(&["WARN", "out of file descriptors"]);
        row.sees_line(&["status=503", "reason=out_of_descriptors"]);
    }
    // It goes on, without a flood of lines.
    let before = row.lines(&["Too many open files"]);
    thread::sleep(Duration::from_secs(3));
    let told = row.lines(&["Too many open files"]) - before;
    assert!(told < 60, "{told} lines in 3 s");
    drop(idle);
    row.recovers(|| {
        let mut client = edge.connect().patience(Duration::from_secs(1));
        client
            .send(edge.get("/api/x").bearer(&token).bytes())
            .try_response("GET")
            .is_ok_and(|answer| answer.is_some_and(|answer| answer.status == 200))
    });
    let healthy = metric(&edge, "harmony_upstream_healthy").expect("the metric");
    assert_eq!(healthy.1, 1.0, "the upstream is not blamed: {}", healthy.0);
    row.sees_metric("process_max_fds", |value| value == DESCRIPTORS as f64);
    // While there was no connection to the upstream, there was nothing to be had.
    row.end_with_losses(32, usize::MAX);
}
