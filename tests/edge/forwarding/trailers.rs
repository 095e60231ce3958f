//! Trailers of answers, from chunked HTTP/1.1: who gets them, and which of them.

use std::time::Duration;

use crate::support::poll::becomes_true;
use crate::support::ports::Port;
use crate::support::{Client, Edge, Framing, Settings, Upstream};

const PATIENCE: Duration = Duration::from_secs(10);
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n";

/// Answers the request to `/N` with the N-th trailer section behind a body of `hello`.
fn upstream_of(sections: &[String]) -> Upstream {
    let sections = sections.to_vec();
    Upstream::with(move |exchange| {
        exchange.read_body();
        let number = exchange.target().trim_start_matches('/').parse::<usize>();
        match number.ok().and_then(|number| sections.get(number)) {
            Some(section) => {
                let answer = format!("{CHUNKED}5\r\nhello\r\n0\r\n{section}\r\n");
                exchange.write(answer.as_bytes());
            }
            None => exchange.echo_target(),
        }
    })
}

fn ask(client: &mut Client, target: &str, fields: &str) {
    client.send(format!("GET /api{target} HTTP/1.1\r\nHost: h\r\n{fields}\r\n"));
}

#[test]
fn trailers_reach_those_that_take_them_and_nobody_else() {
    let upstream = upstream_of(&["X-Sum: 1\r\nGrpc-Status: 0\r\nx-sum:  two words \r\n".into()]);
    let edge = Edge::open(&upstream).start();
    let all = "x-sum: 1\r\nx-sum: two words\r\ngrpc-status: 0\r\n";
    let mut client = edge.connect();
    for (fields, expected) in [
        ("TE: trailers\r\nConnection: TE\r\n", all),
        ("", ""),
        ("TE: trailers\r\n", all),
        ("TE: gzip\r\nConnection: TE\r\n", ""),
        ("TE: gzip;q=0.5, Trailers\r\nConnection: TE\r\n", all),
        ("Connection: TE\r\n", ""),
        ("TE: deflate\r\nTE: trailers\r\nConnection: TE\r\n", all),
    ] {
        ask(&mut client, "/0", fields);
        let response = client.response();
        assert_eq!(response.text(), "hello", "{fields:?}");
        assert!(response.complete, "{fields:?}");
        let mut lines: Vec<_> = response.trailers.split_inclusive("\r\n").collect();
        lines.sort_unstable_by(|one, other| other.cmp(one));
        let mut wanted: Vec<_> = expected.split_inclusive("\r\n").collect();
        wanted.sort_unstable_by(|one, other| other.cmp(one));
        assert_eq!(lines, wanted, "{fields:?}");
        for name in ["x-sum", "grpc-status", "trailer"] {
            assert!(!response.head.has(name), "{fields:?}: {:?}", response.head);
        }
        // Nothing of them stays on the connection.
        ask(&mut client, "/plain", "TE: trailers\r\nConnection: TE\r\n");
        let plain = client.response();
        assert_eq!((plain.text().as_str(), plain.trailers.as_str()), ("/plain", ""));
    }
    let response = edge.get("/api/0").http2().send();
    assert_eq!((response.text().as_str(), response.complete), ("hello", true));
    assert!(response.trailers.contains("x-sum: two words\r\n"), "{}", response.trailers);
    let mut old = edge.connect();
    old.send(
        "GET /api/0 HTTP/1.0\r\nHost: h\r\nTE: trailers\r\nConnection: TE, keep-alive\r\n\r\n",
    );
    let response = old.response();
    assert_eq!((response.text().as_str(), response.head.framing()), ("hello", Framing::None));
}

#[test]
fn a_client_says_to_the_upstream_that_it_takes_trailers_and_nothing_else_of_te() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).start();
    for http2 in [false, true] {
        for (sent, expected) in [
            (None, None),
            (Some("trailers"), Some("trailers")),
            (Some("gzip, trailers"), Some("trailers")),
            (Some("gzip"), None),
        ] {
            if http2 && sent.is_some_and(|sent| sent.contains("gzip")) {
                continue;
            }
            upstream.clear();
            let mut request = edge.get("/api/x");
            if let Some(sent) = sent {
                request = request.header("TE", sent);
            }
            assert_eq!(if http2 { request.http2() } else { request }.send().status, 200);
            let head = upstream.only().head;
            assert_eq!(head.field("te"), expected, "{sent:?} (HTTP/2: {http2})");
            let named = expected.map(|_| "TE");
            assert_eq!(head.field("connection"), named, "{sent:?} (HTTP/2: {http2})");
        }
    }
}

#[test]
fn trailers_decide_nothing() {
    let forbidden = "Content-Length: 3\r\nTransfer-Encoding: gzip\r\nConnection: X-Hop\r\n\
        X-Hop: 1\r\nSet-Cookie: a=b\r\nWWW-Authenticate: Basic\r\nHost: evil\r\nTrailer: x\r\n\
        Authorization: x\r\nX-Auth-Subject: root\r\nX_Auth_Subject: root\r\nX-Request-Id: x\r\n\
        Location: /evil\r\nCache-Control: public\r\nContent-Type: text/html\r\nTE: trailers\r\n\
        Upgrade: h2c\r\nKeep-Alive: x\r\nProxy-Authenticate: Basic\r\nDate: x\r\n";
    let upstream = upstream_of(&[format!("{forbidden}X-Kept: 1\r\nGrpc-Message: a%20b\r\n")]);
    let edge = Edge::open(&upstream).start();
    let mut client = edge.connect();
    ask(&mut client, "/0", "TE: trailers\r\nConnection: TE\r\n");
    for response in [client.response(), edge.get("/api/0").http2().send()] {
        assert_eq!((response.text().as_str(), response.complete), ("hello", true));
        let mut lines: Vec<_> = response.trailers.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["grpc-message: a%20b", "x-kept: 1"]);
    }
}

#[test]
fn a_connection_field_of_the_head_names_trailers_too() {
    let upstream = Upstream::with(|exchange| {
        exchange.write(
            b"HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nTransfer-Encoding: chunked\r\n\r\n\
              0\r\nX-Hop: 1\r\nX-End: 2\r\n\r\n",
        );
    });
    let edge = Edge::open(&upstream).start();
    assert_eq!(edge.get("/api/0").http2().send().trailers, "x-end: 2\r\n");
}

/// For a client that takes trailers; others never see them.
#[test]
fn a_trailer_section_that_cannot_be_read_makes_the_answer_invalid() {
    let sections = [
        "X-A\r\n".to_owned(),
        "X A: 1\r\n".to_owned(),
        "X-A : 1\r\n".to_owned(),
        ": 1\r\n".to_owned(),
        "X-A: 1\r\n folded\r\n".to_owned(),
        "X-A: \x01\r\n".to_owned(),
        "X-A: 1\n".to_owned(),
        format!("X-A: {}\r\n", "a".repeat(17_000)),
        "X-A: 1\r\n".repeat(101),
    ];
    let upstream = upstream_of(&sections);
    let edge = Edge::open(&upstream).start();
    for (number, section) in sections.iter().enumerate() {
        let section = &section[..section.len().min(40)];
        let connections = upstream.connections();
        let mut client = edge.connect().patience(Duration::from_secs(5));
        ask(&mut client, &format!("/{number}"), "TE: trailers\r\nConnection: TE\r\n");
        let response = client.try_response("GET").unwrap().unwrap();
        assert!(response.status == 502 || !response.complete, "{section:?}: {response:?}");
        assert_eq!(response.trailers, "", "{section:?}");
        // It came on a connection that nobody uses again.
        assert_eq!(edge.get("/api/x").send().text(), "/x", "{section:?}");
        assert!(upstream.connections() > connections, "{section:?}");
    }
}

#[test]
fn trailers_are_read_however_the_bytes_are_cut() {
    let answer = "HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\
        Transfer-Encoding: chunked\r\n\r\n5;a=\"0\r\n\r\n\"\r\n0\r\n\r\n\r\n3\r\nabc\r\n\
        0\r\nX-Sum: 1\r\n\r\n"
        .replace("5;a=\"0\r\n\r\n\"", "5;a=b");
    let cuts = answer.len();
    let upstream = Upstream::with(move |exchange| {
        let cut: usize = exchange.target().trim_start_matches('/').parse().unwrap();
        exchange.write(&answer.as_bytes()[..cut]);
        exchange.pause(Duration::from_millis(4));
        exchange.write(&answer.as_bytes()[cut..]);
    });
    let edge = Edge::open(&upstream).quiet().start();
    let mut client = edge.connect();
    for cut in 1..cuts {
        ask(&mut client, &format!("/{cut}"), "TE: trailers\r\nConnection: TE\r\n");
        let response = client.response();
        assert_eq!(response.text(), "0\r\n\r\nabc", "cut at {cut}");
        assert_eq!(response.trailers, "x-sum: 1\r\n", "cut at {cut}");
    }
    assert_eq!(upstream.connections(), 1, "it is kept");
}

/// The body ends in what a last chunk looks like, and the client reads it a little at a time.
#[test]
fn no_byte_of_a_body_is_taken_for_the_last_chunk() {
    let end = "0\r\n\r\n".repeat(100_000);
    let whole = end.len() + 5;
    let upstream = Upstream::with(move |exchange| {
        exchange.read_body();
        exchange.write(CHUNKED.as_bytes());
        exchange.chunk(end.as_bytes());
        exchange.chunk(b"0\r\n\r\n");
        exchange.write(b"0\r\nX-Sum: 1\r\n\r\n");
    });
    let edge = Edge::open(&upstream).start();
    for body in ["", "0123456789"] {
        let mut client = edge.connect();
        socket2::SockRef::from(&client.writer()).set_recv_buffer_size(64 * 1024).unwrap();
        let length = body.len();
        let fields = format!("TE: trailers\r\nConnection: TE\r\nContent-Length: {length}\r\n");
        client.send(format!("POST /api/x HTTP/1.1\r\nHost: h\r\n{fields}\r\n"));
        std::thread::sleep(Duration::from_millis(100));
        client.send(body);
        std::thread::sleep(Duration::from_millis(500));
        let response = client.response();
        assert!(response.complete, "{body:?}");
        assert_eq!(response.body.len(), whole, "{body:?}");
        assert_eq!(response.trailers, "x-sum: 1\r\n", "{body:?}");
        assert_eq!(edge.get("/api/x").send().body.len(), whole);
    }
}

#[test]
fn an_answer_with_trailers_before_the_end_of_the_request_ends_with_them() {
    let upstream = Upstream::with(|exchange| {
        exchange.write(CHUNKED.as_bytes());
        exchange.chunk(b"early");
        exchange.write(b"0\r\nX-Sum: 1\r\n\r\n");
        exchange.read_body();
        exchange.close();
    });
    let edge = Edge::open(&upstream).start();
    let mut client = edge.connect();
    client.send(
        "POST /api/x HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nConnection: TE\r\n\
         Content-Length: 100\r\n\r\nsome",
    );
    let response = client.response();
    assert_eq!((response.text().as_str(), response.trailers.as_str()), ("early", "x-sum: 1\r\n"));
    assert!(becomes_true(PATIENCE, || client.is_closed()), "no second answer follows");
}

/// An upstream over HTTP/2 that answers each request with its body and its trailers, and with
/// trailers of its own.
fn http2_upstream() -> (Port, tokio::runtime::Runtime) {
    let port = Port::claim();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let address = ("127.0.0.1", port.number());
    let listener = runtime.block_on(tokio::net::TcpListener::bind(address)).expect("a listener");
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
                while let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::spawn(async move { drop(answer_http2(request, respond).await) });
                }
            });
        }
    });
    (port, runtime)
}

async fn answer_http2(
    request: http::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<bytes::Bytes>,
) -> Result<(), h2::Error> {
    let mut body = request.into_body();
    let mut text = Vec::new();
    while let Some(piece) = body.data().await.transpose()? {
        body.flow_control().release_capacity(piece.len())?;
        text.extend_from_slice(&piece);
    }
    for (name, value) in &body.trailers().await?.unwrap_or_default() {
        let value = value.to_str().unwrap_or_default();
        text.extend_from_slice(format!("|{name}: {value}").as_bytes());
    }
    let mut sender = respond.send_response(http::Response::new(()), false)?;
    sender.send_data(text.into(), false)?;
    let mut trailers = http::HeaderMap::new();
    for (name, value) in [("x-sum", "1"), ("set-cookie", "a=b"), ("x-auth-subject", "root")] {
        trailers.append(name, http::HeaderValue::from_static(value));
    }
    sender.send_trailers(trailers)
}

#[test]
fn trailers_of_an_http2_upstream_reach_a_client_of_http1_that_takes_them() {
    let (port, _runtime) = http2_upstream();
    let edge =
        Edge::configured(Settings::open_to(port.number())).backend("http_version = \"2\"").start();
    let mut client = edge.connect();
    for (fields, expected) in [
        ("TE: trailers\r\nConnection: TE\r\n", "x-sum: 1\r\n"),
        ("", ""),
        ("TE: trailers\r\n", "x-sum: 1\r\n"),
    ] {
        client.send(format!(
            "POST /api/x HTTP/1.1\r\nHost: h\r\n{fields}Content-Length: 5\r\n\r\nhello"
        ));
        let response = client.response();
        assert_eq!((response.text().as_str(), response.complete), ("hello", true), "{fields:?}");
        assert_eq!(response.trailers, expected, "{fields:?}");
    }
}

#[test]
fn trailers_of_a_request_in_chunks_reach_an_http2_upstream() {
    let (port, _runtime) = http2_upstream();
    let edge =
        Edge::configured(Settings::open_to(port.number())).backend("http_version = \"2\"").start();
    let mut client = edge.connect();
    for (trailers, expected) in [
        ("X-Sum: 1\r\nx-b: two words\r\n", "hello|x-sum: 1|x-b: two words"),
        ("", "hello"),
        ("X-Auth-Subject: root\r\nx_auth_subject: root\r\nX-Kept: 1\r\n", "hello|x-kept: 1"),
        ("Host: evil\r\nAuthorization: x\r\nTransfer-Encoding: x\r\n", "hello"),
        ("Cookie: a\r\nContent-Length: 3\r\nX-Forwarded-For: 1.2.3.4\r\n", "hello"),
    ] {
        for pieces in [1, 2] {
            let head = "POST /api/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
            let bytes = format!("{head}5\r\nhello\r\n0\r\n{trailers}\r\n");
            for piece in bytes.as_bytes().chunks(bytes.len().div_ceil(pieces)) {
                client.send(piece);
                std::thread::sleep(Duration::from_millis(20));
            }
            assert_eq!(client.response().text(), expected, "{trailers:?} in {pieces}");
        }
    }
    // Those of the last request are not those of the next one.
    client.send("POST /api/x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(client.response().text(), "hi");
}

#[test]
fn trailers_of_a_request_do_not_reach_an_http1_upstream() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).start();
    let mut client = edge.connect();
    client.send(
        "POST /api/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
         5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
    );
    assert_eq!(client.response().text(), "/x");
    let seen = upstream.only();
    assert_eq!((seen.body.as_slice(), seen.trailers.as_slice()), (&b"hello"[..], &b""[..]));
    assert!(!seen.head.has("x-sum"));
}
