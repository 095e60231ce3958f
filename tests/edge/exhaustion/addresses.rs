//! One client address has only so many connections, and behind a trusted proxy only so many
//! requests at a time; all the others are served.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::{closed_for, sample, with_network};
use crate::support::edge::EdgeBuilder;
use crate::support::poll::becomes_true;
use crate::support::{Client, Edge, Settings, Upstream};
use crate::tls::Listening;

const SOON: Duration = Duration::from_secs(20);
const CAP: &str = "max_connections_per_address = 3";

/// A connection from another address of this machine.
fn connect_from(address: &str, port: u16) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let from: SocketAddr = format!("{address}:0").parse().unwrap();
    socket.bind(&from.into()).unwrap();
    socket.connect(&SocketAddr::from(([127, 0, 0, 1], port)).into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream
}

/// The status of an answer to these bytes; `None`: the connection was closed.
fn status_of(stream: &mut TcpStream, bytes: &str) -> Option<u16> {
    stream.write_all(bytes.as_bytes()).ok()?;
    let mut answer = [0; 4096];
    let read = stream.read(&mut answer).ok().filter(|read| *read > 0)?;
    let text = String::from_utf8_lossy(&answer[..read]).into_owned();
    text.split(' ').nth(1)?.parse().ok()
}

fn is_closed(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0; 100]), Ok(0)) || {
        let error = stream.take_error();
        matches!(error, Ok(Some(_)))
    }
}

/// Requests for `/busy` wait until they are let go.
fn holding() -> (Upstream, Arc<AtomicBool>) {
    let hold = Arc::new(AtomicBool::new(true));
    let holding = hold.clone();
    let upstream = Upstream::with(move |exchange| {
        while exchange.target().contains("busy") && holding.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(20));
        }
        exchange.echo_target();
    });
    (upstream, hold)
}

const BUSY: &str = "GET /api/busy HTTP/1.1\r\nHost: h\r\n\r\n";
const QUICK: &str = "GET /api/x HTTP/1.1\r\nHost: h\r\n\r\n";

#[test]
fn an_address_has_so_many_connections_and_harms_no_other() {
    let (upstream, hold) = holding();
    let edge = with_network(&upstream, CAP);
    let mut crowd: Vec<TcpStream> =
        (0..3).map(|_| connect_from("127.0.0.9", edge.port())).collect();
    for stream in &mut crowd {
        stream.write_all(BUSY.as_bytes()).unwrap();
    }
    assert!(becomes_true(SOON, || upstream.count() == 3));
    let mut refused = connect_from("127.0.0.9", edge.port());
    assert_eq!(status_of(&mut refused, QUICK), None, "all of its are busy");
    assert!(becomes_true(SOON, || closed_for(&edge, "refused_address") == 1.0));
    let mut others: Vec<TcpStream> =
        (0..3).map(|_| connect_from("127.0.0.8", edge.port())).collect();
    for stream in &mut others {
        assert_eq!(status_of(stream, QUICK), Some(200), "another address");
    }
    hold.store(false, Ordering::Relaxed);
    for stream in &mut crowd {
        assert_eq!(status_of(stream, ""), Some(200));
    }
    // Those are idle now, and the one that has been so for longest goes.
    let mut next = connect_from("127.0.0.9", edge.port());
    assert_eq!(status_of(&mut next, QUICK), Some(200));
    assert!(closed_for(&edge, "crowded_idle") >= 1.0);
    for stream in &mut others {
        assert_eq!(status_of(stream, QUICK), Some(200), "they are left alone");
    }
}

#[test]
fn what_has_sent_no_head_makes_room_for_its_own_address() {
    let (upstream, _hold) = holding();
    let edge = with_network(&upstream, CAP);
    let mut waiting = connect_from("127.0.0.8", edge.port());
    let mut silent: Vec<TcpStream> =
        (0..3).map(|_| connect_from("127.0.0.9", edge.port())).collect();
    let open = "harmony_connections_open{network=\"public\"}";
    assert!(becomes_true(SOON, || sample(&edge, open) == 4.0));
    let mut clients: Vec<TcpStream> = Vec::new();
    for _ in 0..3 {
        clients.push(connect_from("127.0.0.9", edge.port()));
        assert_eq!(clients.last_mut().and_then(|client| status_of(client, QUICK)), Some(200));
    }
    assert!(silent.iter_mut().all(is_closed));
    assert_eq!(closed_for(&edge, "crowded"), 3.0);
    assert_eq!(status_of(&mut waiting, QUICK), Some(200), "of another address");
}

#[test]
fn half_open_handshakes_make_room_for_their_own_address() {
    let listening = Listening::with().network("max_connections_per_address = 2").start();
    let mut half_open: Vec<TcpStream> =
        (0..4).map(|_| connect_from("127.0.0.1", listening.port())).collect();
    // Two are left: whoever comes now is younger.
    let cut = "harmony_connections_closed_total{network=\"tls\",reason=\"crowded\"}";
    assert!(becomes_true(SOON, || sample(&listening.edge, cut) >= 2.0));
    assert_eq!(listening.offer().get(listening.port(), "/s").expect("an answer").status, 200);
    assert!(half_open.iter_mut().filter_map(|one| is_closed(one).then_some(())).count() >= 3);
}

#[test]
fn streams_of_one_address_are_counted_like_its_connections() {
    let (upstream, hold) = holding();
    let text = Settings::open(&upstream).text();
    let text = text.replace("bind_port = {port}", &format!("bind_port = {{port}}\n{CAP}"));
    let edge = Edge::configured(Settings::of_text(&text)).quiet().start();
    let port = edge.port();
    let asking =
        thread::spawn(move || crate::support::http2::statuses(port, "/api/busy", &[None; 5]));
    assert!(becomes_true(SOON, || upstream.count() == 3));
    assert_eq!(edge.get("/api/x").http2().send().status, 429, "on whatever connection");
    hold.store(false, Ordering::Relaxed);
    let mut statuses = asking.join().expect("answers");
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    assert!(becomes_true(SOON, || edge.get("/api/x").http2().send().status == 200));
}

/// Behind a proxy at 127.0.0.1.
fn behind_proxy(upstream: &Upstream) -> EdgeBuilder {
    let text = Settings::open(upstream).proxy("trusted_proxies = [\"127.0.0.1\"]").text();
    let text = text.replace("bind_port = {port}", &format!("bind_port = {{port}}\n{CAP}"));
    Edge::configured(Settings::of_text(&text)).quiet()
}

#[test]
fn behind_a_trusted_proxy_requests_are_counted_by_client() {
    let (upstream, hold) = holding();
    let edge = behind_proxy(&upstream).start();
    let ask = |request: &str, client: &str| {
        let mut connection = edge.connect();
        let forwarded = match client {
            "" => String::new(),
            client => format!("X-Forwarded-For: {client}\r\n"),
        };
        connection.send(request.replace("Host", &format!("{forwarded}Host")));
        connection
    };
    let status = |client: &str| ask(QUICK, client).response().status;
    let mut crowd: Vec<Client> =
        (0..3).map(|number| ask(BUSY, &format!("2001:db8::{number}"))).collect();
    assert!(becomes_true(SOON, || upstream.count() == 3));
    let refused = ask(QUICK, "2001:db8::99").response();
    assert_eq!(refused.status, 429, "the same /64 has three in progress");
    assert_eq!(refused.field("retry-after"), Some("1"));
    assert_eq!(
        edge.get("/api/x").http2().header("X-Forwarded-For", "2001:db8::98").send().status,
        429,
        "over HTTP/2 too"
    );
    assert_eq!(status("192.0.2.1"), 200, "another client");
    // What the proxy asks on its own account, and as many connections as it likes.
    let own: Vec<Client> = (0..6).map(|_| ask(BUSY, "")).collect();
    assert!(becomes_true(SOON, || upstream.count() == 10));
    assert_eq!(status(""), 200);
    assert_eq!(status("192.0.2.1"), 200);
    hold.store(false, Ordering::Relaxed);
    for mut client in crowd.drain(..).chain(own) {
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(status("2001:db8::99"), 200, "none of them is left");
    assert_eq!(closed_for(&edge, "refused_address"), 0.0);
    let log = edge.log();
    assert!(log.contains("reason=too_many_in_progress"), "{log}");
}
