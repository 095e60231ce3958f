//! Bodies of requests that come too slowly: each has a minimum rate, unless it is the upstream that
//! does not take it, and at the cap a stalled one makes room.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use super::{Held, POST, PREFACE, closed_for, sample, with_network};
use crate::support::frames::{Connection, DATA, END_HEADERS, END_STREAM, HEADERS, block, frame};
use crate::support::http2::upload;
use crate::support::poll::becomes_true;
use crate::support::{Client, Edge, Upstream};
use crate::tls::Listening;

/// The grace of 5 s, and what a busy machine may take.
const WITHIN: Duration = Duration::from_secs(40);

const LENGTH: &[u8] = b"POST /api/x HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n";
const CHUNKED: &[u8] = b"POST /api/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Name, first bytes, what trickles, how many seconds it may take at least and at most.
type Row<'a> = (&'a str, Vec<u8>, &'a [&'a [u8]], u64, u64);

#[test]
fn a_body_below_the_minimum_rate_is_408() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).and(ECHO).quiet().start();
    let listening = Listening::with().start();
    let port = edge.port();
    let http2 = [PREFACE, &frame(HEADERS, END_HEADERS, 1, POST)].concat();
    let data = frame(DATA, 0, 1, b"x");
    let echo = String::from_utf8(LENGTH.to_vec()).unwrap().replace("/api", "/echo").into_bytes();
    let fast_first = [LENGTH, &[b'x'; 60_000]].concat();
    let rows: [Row<'_>; 7] = [
        ("nothing of it", LENGTH.to_vec(), &[b""], 4, 20),
        ("by the byte", LENGTH.to_vec(), &[b"x"], 4, 20),
        ("one byte in each chunk", CHUNKED.to_vec(), &[b"1\r\nx\r\n"], 4, 20),
        ("for the edge itself", echo, &[b"x"], 4, 20),
        ("fast, and then by the byte", fast_first, &[b"x"], 15, 39),
        ("HTTP/2, nothing of it", http2.clone(), &[b""], 0, 0),
        ("HTTP/2, by the byte", http2, &[&data], 0, 0),
    ];
    thread::scope(|scope| {
        let held: Vec<_> = rows
            .iter()
            .map(|(name, first, pieces, from, to)| {
                let ended = scope.spawn(move || Held::on(port, first, pieces, WITHIN));
                (name, (*from, *to), ended)
            })
            .collect();
        let over_tls = scope.spawn(|| {
            let mut secure = listening.offer().shake(listening.port(), "localhost");
            let started = Instant::now();
            let head = "POST /s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx";
            (secure.unfinished(head).expect("an answer").status, started.elapsed())
        });
        for (name, (from, to), ended) in held {
            let held = ended.join().unwrap();
            let text = held.text();
            if to > 0 {
                assert!(text.starts_with("HTTP/1.1 408 "), "{name}: {text}");
                assert!(held.ended_between(from, to), "{name}: {:?}", held.ended);
            } else {
                assert!(text.contains("the body did not arrive in time"), "{name}: {text}");
                assert_eq!(held.ended, None, "{name}: the connection is not at fault");
            }
        }
        let (status, waited) = over_tls.join().unwrap();
        assert_eq!(status, 408, "TLS");
        assert!((4..20).contains(&waited.as_secs()), "TLS: {waited:?}");
    });
    assert_eq!(
        sample(&edge, "harmony_upstream_failures_total{backend=\"app\",kind=\"timeout\"}"),
        0.0,
        "a slow client is not the upstream's failure"
    );
    let told = || edge.log().contains("reason=body_timeout");
    assert!(becomes_true(Duration::from_secs(10), told), "{}", edge.log());
}

const ECHO: &str = r#"
[pipelines.echo]
networks = ["public"]
endpoints = ["echo"]
middleware = []
[endpoints.echo]
service = "echo"
options = { path_prefix = "/echo" }
"#;

/// Answers at once and goes on with what comes of the body; `/late` says 100 after 7 s, `/deaf`
/// reads nothing for 8 s.
fn patient_upstream() -> Upstream {
    Upstream::with(|exchange| match exchange.target() {
        "/early" => {
            exchange.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            exchange.chunk(b"begun ");
            exchange.read_body();
            exchange.chunk(b"done");
            exchange.write(b"0\r\n\r\n");
        }
        "/late" => {
            exchange.pause(Duration::from_secs(7));
            exchange.write(b"HTTP/1.1 100 Continue\r\n\r\n");
            exchange.echo_target();
        }
        "/deaf" => {
            exchange.pause(Duration::from_secs(8));
            exchange.echo_target();
        }
        "/socket" => {
            exchange.write(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                  Upgrade: websocket\r\n\r\n",
            );
            if let Ok(bytes) = exchange.read_raw() {
                exchange.write(&bytes);
            }
            exchange.close();
        }
        _ => exchange.echo_target(),
    })
}

fn post(edge: &Edge, path: &str, fields: &str, length: usize) -> Client {
    let mut client = edge.connect();
    client.send(format!(
        "POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n{fields}\r\n"
    ));
    client
}

/// Sends so many bytes at a time, 4 times a second.
fn trickle(client: &mut Client, bytes: usize, times: usize) {
    for _ in 0..times {
        thread::sleep(Duration::from_millis(250));
        client.send(vec![b'x'; bytes]);
    }
}

#[test]
fn what_is_fast_enough_or_not_the_clients_fault_passes() {
    let upstream = patient_upstream();
    let edge = Edge::open(&upstream).quiet().start();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = post(&edge, "/api/x", "", 100 * 36);
            trickle(&mut client, 100, 36);
            assert_eq!(client.response().status, 200, "400 bytes a second");
        });
        scope.spawn(|| {
            let mut client = post(&edge, "/api/x", "", 8000);
            client.send([b'x'; 4000]);
            thread::sleep(Duration::from_secs(9));
            client.send([b'x'; 4000]);
            assert_eq!(client.response().status, 200, "a pause that its rate allows");
        });
        scope.spawn(|| {
            let mut client = post(&edge, "/api/early", "", 32);
            trickle(&mut client, 1, 32);
            let response = client.response();
            assert_eq!(
                (response.status, response.text().as_str(), response.complete),
                (200, "begun done", true),
                "the answer had begun"
            );
        });
        scope.spawn(|| {
            let mut client = post(&edge, "/api/late", "Expect: 100-continue\r\n", 3);
            client.send(b"");
            // The upstream is slow to say 100.
            thread::sleep(Duration::from_secs(8));
            client.send(b"xyz");
            assert_eq!(client.response().status, 200, "it was not told to send");
        });
        scope.spawn(|| {
            let length = 9 << 20;
            let mut client = post(&edge, "/api/deaf", "", length);
            client.send(vec![b'x'; length]);
            assert_eq!(client.response().status, 200, "the upstream took nothing");
        });
        scope.spawn(|| {
            let mut client = edge.connect();
            client.send(
                "GET /api/socket HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n\
                 Upgrade: websocket\r\n\r\n",
            );
            assert_eq!(client.head().status, 101);
            thread::sleep(Duration::from_secs(8));
            client.send(b"late");
            assert_eq!(client.raw_exactly(4), b"late", "an upgraded connection");
        });
        scope.spawn(|| {
            let mut connection = Connection::open(edge.port(), Duration::from_secs(20));
            let fields = block(&[
                (b":method", b"POST"),
                (b":scheme", b"http"),
                (b":path", b"/api/x"),
                (b":authority", b"h"),
                (b"content-type", b"application/grpc+proto"),
            ]);
            connection.send(&frame(HEADERS, END_HEADERS, 1, &fields));
            thread::sleep(Duration::from_secs(8));
            connection.send(&frame(DATA, END_STREAM, 1, b"message"));
            assert_eq!(connection.read_until(1).stream(1).status, Some(200), "gRPC");
        });
        scope.spawn(|| a_stream_beside_one_that_fills_the_window(edge.port()));
    });
    assert_eq!(
        sample(&edge, "harmony_upstream_failures_total{backend=\"app\",kind=\"timeout\"}"),
        0.0
    );
}

/// One stream's upstream takes nothing, and what lies there fills the connection's window: the
/// client of the other one cannot send.
fn a_stream_beside_one_that_fills_the_window(port: u16) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        let post = |path: &str| {
            let request = http::Request::builder().method("POST");
            request.uri(format!("http://127.0.0.1:{port}{path}")).body(()).unwrap()
        };
        let mut sender = sender.ready().await.unwrap();
        let (deaf, large) = sender.send_request(post("/api/deaf"), false).unwrap();
        let mut sender = sender.ready().await.unwrap();
        let (other, mut small) = sender.send_request(post("/api/x"), false).unwrap();
        let body = bytes::Bytes::from(vec![b'x'; 9 << 20]);
        let uploading = tokio::spawn(upload(large, body));
        tokio::time::sleep(Duration::from_secs(7)).await;
        assert!(!uploading.is_finished(), "all of it was taken: nothing is tried here");
        small.send_data("at last".into(), true).unwrap();
        assert_eq!(other.await.unwrap().status(), 200, "the other stream");
        assert_eq!(deaf.await.unwrap().status(), 200, "the upstream took nothing");
    });
}

#[test]
fn a_network_has_its_own_minimum_and_a_reload_changes_it() {
    let upstream = Upstream::start();
    let edge = with_network(&upstream, "min_body_rate = 0");
    let mut client = post(&edge, "/api/x", "", 3);
    thread::sleep(Duration::from_secs(8));
    client.send(b"xyz");
    assert_eq!(client.response().status, 200, "0: no minimum");
    edge.rewrite(|text| text.replace("min_body_rate = 0", "min_body_rate = 2000"));
    assert_eq!(edge.steer("POST", "/admin/reload").send().status, 200);
    let mut client = post(&edge, "/api/x", "", 100_000);
    let started = Instant::now();
    trickle(&mut client, 100, 40);
    assert_eq!(client.response().status, 408, "400 bytes a second");
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}

#[test]
fn at_the_cap_stalled_bodies_make_room() {
    for (row, lines) in [
        ("with the minimum", "max_connections = 20"),
        ("without", "max_connections = 20\nmin_body_rate = 0"),
    ] {
        let upstream = Upstream::start();
        let edge = with_network(&upstream, lines);
        let mut idle = edge.connect();
        idle.send("GET /api/x HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(idle.response().status, 200);
        let slow: Vec<Client> = (0..19)
            .map(|_| {
                let mut client = edge.connect();
                client.send([LENGTH, b"x"].concat());
                client
            })
            .collect();
        let open = "harmony_connections_open{network=\"public\"}";
        assert!(becomes_true(Duration::from_secs(20), || sample(&edge, open) == 20.0));
        // A body is stalled after a second.
        thread::sleep(Duration::from_millis(1500));
        for _ in 0..10 {
            let started = Instant::now();
            assert_eq!(edge.get("/api/x").send().status, 200, "{row}");
            assert!(started.elapsed() < Duration::from_secs(2), "{row}: {:?}", started.elapsed());
        }
        assert!(closed_for(&edge, "crowded_body") >= 1.0, "{row}");
        assert_eq!(closed_for(&edge, "refused"), 0.0, "{row}");
        let told = slow.into_iter().find_map(|client| {
            client.patience(Duration::from_millis(200)).try_response("POST").ok().flatten()
        });
        assert_eq!(told.map(|answer| answer.status), Some(408), "{row}: it is told");
        idle.send("GET /api/x HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(idle.response().status, 200, "{row}: what is idle stays");
    }
}

#[test]
fn at_the_cap_a_connection_of_stalled_streams_makes_room() {
    let upstream = Upstream::start();
    let edge = with_network(&upstream, "max_connections = 2");
    let streams = |last: &[u8]| {
        let posts = (0..10u32).map(|number| frame(HEADERS, END_HEADERS, 2 * number + 1, POST));
        [PREFACE, &posts.collect::<Vec<_>>().concat(), last].concat()
    };
    let mut stalled = TcpStream::connect(("127.0.0.1", edge.port())).unwrap();
    std::io::Write::write_all(&mut stalled, &streams(b"")).unwrap();
    assert!(becomes_true(Duration::from_secs(20), || {
        sample(&edge, "harmony_http_requests_in_flight") >= 10.0
    }));
    thread::sleep(Duration::from_millis(1500));
    let mut kept = edge.connect();
    for _ in 0..3 {
        kept.send("GET /api/x HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(kept.response().status, 200);
        assert_eq!(edge.get("/api/x").send().status, 200);
    }
    assert_eq!(closed_for(&edge, "crowded_body"), 1.0);
}
