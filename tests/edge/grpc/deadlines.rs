//! `grpc-timeout`, between a client and a server that themselves would wait for ever.

use std::future::poll_fn;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::raw::{PATIENCE, call, end_of_call};
use crate::support::grpc::Server;
use crate::support::poll::becomes_true;
use crate::support::settings::Route;
use crate::support::{Edge, Settings};

fn in_front_of(port: u16, lines: &str) -> Edge {
    let route = Route::to_url("app", &format!("http://127.0.0.1:{port}"))
        .prefix("/")
        .backend(&format!("http_version = \"2\"\n{lines}"));
    Edge::configured(Settings::bare().and(&route.text())).start()
}

/// A server that answers nothing, or at `/begins` with one message, and never ends a call. What
/// ends them is counted.
struct Patient {
    port: u16,
    calls: Arc<Calls>,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Default)]
struct Calls {
    connections: AtomicUsize,
    open: AtomicUsize,
    reset: AtomicUsize,
}

impl Patient {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let calls = Arc::new(Calls::default());
        let counting = calls.clone();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                counting.connections.fetch_add(1, Ordering::SeqCst);
                let calls = counting.clone();
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((request, response))) = connection.accept().await {
                        tokio::spawn(wait(request, response, calls.clone()));
                    }
                });
            }
        });
        Self { port, calls, _runtime: runtime }
    }

    fn open(&self) -> usize {
        self.calls.open.load(Ordering::SeqCst)
    }

    fn reset(&self) -> usize {
        self.calls.reset.load(Ordering::SeqCst)
    }
}

async fn wait(
    request: http::Request<h2::RecvStream>,
    mut response: h2::server::SendResponse<Bytes>,
    calls: Arc<Calls>,
) {
    calls.open.fetch_add(1, Ordering::SeqCst);
    let reset = if request.uri().path() == "/begins" {
        let head = http::Response::builder().header("content-type", "application/grpc");
        let mut stream = response.send_response(head.body(()).unwrap(), false).unwrap();
        stream.send_data(Bytes::from_static(b"\0\0\0\0\x01x"), false).unwrap();
        poll_fn(|context| stream.poll_reset(context)).await
    } else {
        poll_fn(|context| response.poll_reset(context)).await
    };
    calls.open.fetch_sub(1, Ordering::SeqCst);
    calls.reset.fetch_add(usize::from(reset.is_ok()), Ordering::SeqCst);
}

#[test]
fn a_deadline_ends_a_call_at_both_ends_and_is_no_failure_of_the_server() {
    let server = Patient::start();
    let edge = in_front_of(server.port, "eject_after = 1\neject_secs = 60");
    for (number, timeout) in ["300m", "00000300m", "300000u", "1n", "0S"].iter().enumerate() {
        let begun = Instant::now();
        let answer = call(edge.port(), "/waits", &[("grpc-timeout", timeout)]);
        assert_eq!((answer.status, answer.field("grpc-status")), (200, Some("4")), "{timeout}");
        assert!(answer.ends_with_head && begun.elapsed() < Duration::from_secs(5), "{timeout}");
        assert!(number > 2 || begun.elapsed() >= Duration::from_millis(300), "{timeout}");
        let reset = || server.open() == 0 && server.reset() == number + 1;
        assert!(becomes_true(PATIENCE, reset), "{timeout}: {}", server.reset());
    }
    let trailers = end_of_call(edge.port(), "/begins", &[("grpc-timeout", "500m")]);
    assert_eq!(trailers.expect("trailers").get("grpc-status").unwrap(), "4");
    assert!(becomes_true(PATIENCE, || server.reset() == 6));
    assert_eq!(server.calls.connections.load(Ordering::SeqCst), 1, "it lives on");
    let log = edge.log();
    assert!(log.contains(" status=504 ") && log.contains(" reason=grpc_deadline "), "{log}");
    assert!(!log.contains("failed on attempt"), "{log}");
    let metrics = edge.manage("/metrics").send().text();
    assert!(!metrics.contains("harmony_upstream_failures_total{backend=\"app\""), "{metrics}");
}

#[test]
fn the_smaller_one_of_deadline_and_total_timeout_counts() {
    let server = Patient::start();
    let edge = in_front_of(server.port, "total_timeout_secs = 1");
    for (timeout, reason) in [("99999999H", "upstream_timeout"), ("200m", "grpc_deadline")] {
        let answer = call(edge.port(), "/waits", &[("grpc-timeout", timeout)]);
        assert_eq!(answer.field("grpc-status"), Some("4"), "{timeout}");
        let logged = || edge.log().contains(&format!(" reason={reason} "));
        assert!(becomes_true(PATIENCE, logged), "{timeout}: {}", edge.log());
    }
}

#[test]
fn a_malformed_deadline_is_the_servers_to_judge() {
    let server = Server::start();
    let edge = in_front_of(server.port(), "");
    for timeout in ["1x", "123456789S", "-1S", "S"] {
        call(edge.port(), "/test.Svc/Echo", &[("grpc-timeout", timeout)]);
        assert_eq!(server.metadata().get("grpc-timeout").unwrap(), timeout);
        assert!(!edge.log().contains("grpc_deadline"), "{timeout}");
    }
    let echoed = end_of_call(edge.port(), "/test.Svc/Echo", &[("grpc-timeout", "10S")]);
    assert_eq!(echoed.expect("trailers").get("grpc-status").unwrap(), "0");
}
