//! The client's end of a cell, over both protocols.

use std::io;
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::cases::{ASKS, Case, When};
use super::message::{
    At, End, Framing, HOP_BY_HOP, How, Seen, Version, body_bytes, end_to_end, head_bytes,
    head_fields, parse_head, trailer_fields,
};
use crate::support::Peer;
use crate::support::frames::{HEADERS, block, frame};
use crate::support::hpack::Field;
use crate::support::http2_peer::{CANCEL, fields};
use crate::support::wire::Wire;

const PATIENCE: Duration = Duration::from_secs(15);
pub const HOST: &str = "h.example";
/// What goes through a tunnel, in both directions.
pub const TUNNELED: usize = 70_000;

/// A connection of a client that has not left.
pub enum Connection {
    Http1(Wire),
    Http2(Peer),
}

/// Does what the client does in a case. `arrived` waits until the upstream has seen the request.
pub fn run(
    version: Version,
    port: u16,
    case: &Case,
    target: &str,
    arrived: &dyn Fn(),
) -> (Seen, Option<Connection>) {
    match version {
        Version::Http1 => {
            let wire = connect(port);
            let (seen, wire) = http1(wire, case, target, arrived);
            (seen, wire.map(Connection::Http1))
        }
        Version::Http2 => {
            let (seen, peer) = http2(Peer::connect(port), case, target, arrived);
            (seen, peer.map(Connection::Http2))
        }
    }
}

/// Another request; the body of its answer if that is 200.
pub fn probe(connection: &mut Connection, target: &str) -> Option<String> {
    let (status, body) = match connection {
        Connection::Http1(wire) => {
            let head = format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
            wire.write(head.as_bytes()).ok()?;
            let seen = read_http1(wire, "GET");
            (seen.status(), seen.body)
        }
        Connection::Http2(peer) => {
            let pseudo =
                [(":method", "GET"), (":scheme", "http"), (":authority", HOST), (":path", target)];
            let seen = read_http2(peer, peer.open(&fields(&pseudo), true));
            (seen.status(), seen.body)
        }
    };
    (status == 200).then(|| String::from_utf8_lossy(&body).into_owned())
}

/// Whether nothing more comes and the connection ends.
pub fn is_closed(connection: &mut Connection) -> bool {
    match connection {
        Connection::Http1(wire) => match wire.some() {
            Ok(bytes) => bytes.is_empty(),
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        },
        Connection::Http2(peer) => peer.wait(|state| state.closed.then_some(())).is_some(),
    }
}

/// A client that asks nothing but this.
pub fn other(version: Version, port: u16, target: &str) -> Option<String> {
    let mut connection = match version {
        Version::Http1 => Connection::Http1(connect(port)),
        Version::Http2 => Connection::Http2(Peer::connect(port)),
    };
    probe(&mut connection, target)
}

fn connect(port: u16) -> Wire {
    let wire = Wire::new(TcpStream::connect(("127.0.0.1", port)).expect("a connection"));
    wire.set_patience(PATIENCE);
    wire
}

fn leave(wire: Wire, how: How) {
    if how == How::Reset {
        let _ = socket2::SockRef::from(wire.stream()).set_linger(Some(Duration::ZERO));
    }
    drop(wire);
}

fn http1(mut wire: Wire, case: &Case, target: &str, arrived: &dyn Fn()) -> (Seen, Option<Wire>) {
    let request = &case.request;
    let asks_for_upgrade = request.fields.iter().any(|(name, _)| *name == "Upgrade");
    let own = match (asks_for_upgrade, request.fields.contains(&ASKS)) {
        (true, _) => String::new(),
        (false, true) => format!("{HOP_BY_HOP}Connection: TE\r\n"),
        (false, false) => HOP_BY_HOP.to_owned(),
    };
    let first_line = format!("{} {target} HTTP/1.1\r\nHost: {HOST}", case.method);
    let head = head_bytes(&first_line, &end_to_end(), &own, request);
    let body = body_bytes(request);
    let send = |wire: &mut Wire, bytes: &[u8]| drop(wire.write(bytes));
    match request.breaks_off {
        Some((At::InHead, how)) => {
            send(&mut wire, &head[..head.len() / 2]);
            thread::sleep(Duration::from_millis(50));
            leave(wire, how);
            return (Seen::default(), None);
        }
        Some((At::BeforeHead, how)) => {
            send(&mut wire, &[head, body].concat());
            arrived();
            leave(wire, how);
            return (Seen::default(), None);
        }
        Some((at, how)) => {
            send(&mut wire, &[head, body].concat());
            arrived();
            if at == At::AfterHead || case.when == When::HeadRead {
                while let Ok(Some(head)) = wire.head() {
                    if !head.starts_with(b"HTTP/1.1 1") {
                        break;
                    }
                }
                let _ = wire.some();
            } else {
                thread::sleep(Duration::from_millis(50));
            }
            leave(wire, how);
            return (Seen::default(), None);
        }
        None => {}
    }
    let (go, gone) = mpsc::channel();
    let mut writer = wire.stream().try_clone().expect("another handle");
    let early = matches!(case.when, When::Early | When::EarlyReset);
    let seen = thread::scope(|scope| {
        scope.spawn(move || {
            let mut write = |bytes: &[u8]| io::Write::write_all(&mut writer, bytes);
            let _ = write(&head);
            let first = if early { body.len() / 2 } else { body.len() };
            if case.request.fields.iter().any(|(name, _)| *name == "Expect") {
                let _ = gone.recv_timeout(PATIENCE);
            }
            let _ = write(&body[..first]);
            if early {
                let _ = gone.recv_timeout(PATIENCE);
                let _ = write(&body[first..]);
            }
        });
        let seen = read_http1_noting(&mut wire, case.method, &|| _ = go.send(()));
        let _ = go.send(());
        seen
    });
    if seen.status() != 101 {
        return (seen, Some(wire));
    }
    let mut seen = seen;
    let said: Vec<u8> = (0..TUNNELED).map(|at| at as u8).collect();
    send(&mut wire, &said);
    seen.behind = wire.up_to(TUNNELED).unwrap_or_default();
    (seen, None)
}

fn read_http1(wire: &mut Wire, method: &str) -> Seen {
    read_http1_noting(wire, method, &|| ())
}

/// Reads an answer. `continues` is told of every interim head.
fn read_http1_noting(wire: &mut Wire, method: &str, continues: &dyn Fn()) -> Seen {
    let mut seen = Seen { end: End::Cut, ..Seen::default() };
    loop {
        let Ok(Some(raw)) = wire.head() else { return seen };
        let head = parse_head(&raw);
        if head[0].1.starts_with(b"1") && head[0].1 != b"101" {
            seen.interim.push(head);
            continues();
            continue;
        }
        seen.head = head;
        break;
    }
    let mut body = Vec::new();
    let mut sink = |piece: &[u8]| body.extend_from_slice(piece);
    let length = seen.field("content-length").map(|length| {
        std::str::from_utf8(length).ok().and_then(|length| length.parse::<u64>().ok()).unwrap_or(0)
    });
    let whole = if method == "HEAD" || matches!(seen.status(), 101 | 204 | 304) {
        Ok(Vec::new())
    } else if seen.field("transfer-encoding").is_some() {
        wire.chunked(&mut sink)
    } else if let Some(length) = length {
        wire.exactly(length, &mut sink).map(|()| Vec::new())
    } else {
        wire.rest(&mut sink).map(|()| Vec::new())
    };
    seen.body = body;
    if let Ok(trailers) = whole {
        seen.end = End::Whole;
        seen.trailers = parse_head(&[b" \r\n", &trailers[..]].concat()).split_off(2);
    }
    seen
}

fn http2(peer: Peer, case: &Case, target: &str, arrived: &dyn Fn()) -> (Seen, Option<Peer>) {
    let request = &case.request;
    let pseudo =
        [(":method", case.method), (":scheme", "http"), (":authority", HOST), (":path", target)];
    let head = head_fields(&pseudo, request);
    if let Some((At::InHead, _)) = request.breaks_off {
        let fields: Vec<(&[u8], &[u8])> =
            head.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        let block = block(&fields);
        peer.write(&frame(HEADERS, 0, 1, &block[..block.len() / 2]));
        thread::sleep(Duration::from_millis(50));
        peer.close();
        return (Seen::default(), None);
    }
    let has_body = request.framing != Framing::NoBody;
    let stream = peer.open(&head, !has_body);
    let body = request.body();
    if let Some((at, how)) = request.breaks_off {
        if has_body {
            let _ = peer.data(stream, &body[..request.sent()], how == How::EndStream);
        }
        if how == How::EndStream {
            return (read_http2(&peer, stream), Some(peer));
        }
        arrived();
        if at == At::AfterHead || case.when == When::HeadRead {
            let _ = peer.nth_head(stream, 0);
            let _ = peer.take(stream);
        } else {
            thread::sleep(Duration::from_millis(50));
        }
        match how {
            How::Reset => peer.reset(stream, CANCEL),
            _ => peer.close(),
        }
        return (Seen::default(), Some(peer));
    }
    let early = matches!(case.when, When::Early | When::EarlyReset);
    let (go, gone) = mpsc::channel::<()>();
    let seen = thread::scope(|scope| {
        let peer = &peer;
        scope.spawn(move || {
            if !has_body {
                return;
            }
            let first = if early { body.len() / 2 } else { body.len() };
            let ends = request.trailers.is_empty();
            let mut sent = peer.data(stream, &body[..first], ends && !early);
            if early {
                let _ = gone.recv_timeout(PATIENCE);
                sent = peer.data(stream, &body[first..], ends);
            }
            if sent.is_ok() && !ends {
                peer.head(stream, &trailer_fields(request), true);
            }
        });
        let seen = read_http2(peer, stream);
        let _ = go.send(());
        seen
    });
    (seen, Some(peer))
}

fn read_http2(peer: &Peer, stream: u32) -> Seen {
    let mut seen = Seen::default();
    let mut number = 0;
    while let Some(head) = peer.nth_head(stream, number) {
        number += 1;
        if is_interim(&head) {
            seen.interim.push(head);
            continue;
        }
        seen.head = head;
        break;
    }
    seen.body = peer.take_all(stream);
    let over = peer.stream(stream);
    seen.trailers = over.heads.get(number).cloned().unwrap_or_default();
    seen.end = match (over.ended, over.reset) {
        (true, _) => End::Whole,
        (false, Some(code)) => End::Reset(code),
        (false, None) => End::Cut,
    };
    seen
}

fn is_interim(head: &[Field]) -> bool {
    head.first().is_some_and(|(_, status)| status.starts_with(b"1"))
}
