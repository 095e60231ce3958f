//! The PROXY protocol: from a load balancer in front, whose header names the client from then on,
//! and towards an upstream, whose connections are then one client's each.

use std::io::Read;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::peers::Running;
use crate::support::authority::Authority;
use crate::support::poll::{becomes_true, eventually};
use crate::support::ports::Port;
use crate::support::settings::Route;
use crate::support::tls::Offer;
use crate::support::{Client, Edge, Program, Settings, Upstream};

const SOON: Duration = Duration::from_secs(20);
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const GET: &str = "GET /api/x HTTP/1.1\r\nHost: h\r\n\r\n";
const V1: &str = "PROXY TCP4 203.0.113.7 192.0.2.1 4711 80\r\n";

/// A header of version 2.
fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, body].concat()
}

/// Its addresses: from this one.
fn four(source: [u8; 4]) -> Vec<u8> {
    [&source[..], &[192, 0, 2, 1, 0x12, 0x67, 0, 80]].concat()
}

/// An edge whose network `public` wants the header, from loopback.
fn behind_balancer(upstream: &Upstream, lines: &str) -> Edge {
    let text = Settings::open(upstream).proxy("trusted_proxies = [\"127.0.0.1/32\"]").text();
    let text = text.replace(
        "bind_port = {port}",
        &format!("bind_port = {{port}}\nproxy_protocol = \"require\"\n{lines}"),
    );
    Edge::configured(Settings::of_text(&text)).start()
}

/// `X-Forwarded-For` of what reached the upstream after these bytes.
fn forwarded_for(edge: &Edge, upstream: &Upstream, bytes: &[u8]) -> Option<String> {
    upstream.clear();
    let mut client = edge.connect().patience(Duration::from_secs(5));
    client.send(bytes);
    let answered =
        matches!(client.try_response("GET"), Ok(Some(response)) if response.status == 200);
    let request = upstream.requests().pop();
    assert_eq!(answered, request.is_some());
    request?.head.field("x-forwarded-for").map(str::to_owned)
}

fn closed_for(edge: &Edge, reason: &str) -> f64 {
    let name =
        format!("harmony_connections_closed_total{{network=\"public\",reason=\"{reason}\"}}");
    let text = edge.manage("/metrics").send().text();
    let value = text.lines().find_map(|line| line.strip_prefix(&name)?.trim().parse().ok());
    value.unwrap_or(0.0)
}

#[test]
fn the_header_names_the_client() {
    let upstream = Upstream::start();
    let edge = behind_balancer(&upstream, "");
    let source: std::net::Ipv6Addr = "2001:db8::7".parse().unwrap();
    let six = [&source.octets()[..], &[0; 16], &[0, 1, 0, 2]].concat();
    let fields = [&four([203, 0, 113, 8])[..], b"\x04\0\x02ab"].concat();
    for (header, expected) in [
        (V1.as_bytes(), "203.0.113.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n", "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (&v2(0x21, 0x11, &four([203, 0, 113, 8])), "203.0.113.8"),
        (&v2(0x21, 0x21, &six), "2001:db8::7"),
        (&v2(0x21, 0x11, &fields), "203.0.113.8"),
        (&v2(0x20, 0, b""), "127.0.0.1"),
        (&v2(0x21, 0, b""), "127.0.0.1"),
        // Whoever came to the load balancer by another way than TCP.
        (&v2(0x21, 0x31, &[b'/'; 216]), "127.0.0.1"),
        (&v2(0x21, 0x12, &four([203, 0, 113, 8])), "127.0.0.1"),
    ] {
        let bytes = [header, GET.as_bytes()].concat();
        let found = forwarded_for(&edge, &upstream, &bytes);
        assert_eq!(found.as_deref(), Some(expected), "{}", header.escape_ascii());
    }
    assert!(becomes_true(SOON, || edge.log().contains("client=2001:db8::7")), "{}", edge.log());
    // Its own word is believed only where the one that it names may speak for others.
    let forging = GET.replace("\r\n\r\n", "\r\nX-Forwarded-For: 198.51.100.9\r\n\r\n");
    let told =
        |header: &str| forwarded_for(&edge, &upstream, (header.to_owned() + &forging).as_bytes());
    assert_eq!(told(V1).as_deref(), Some("203.0.113.7"));
    let trusted = "PROXY TCP4 127.0.0.1 192.0.2.1 1 80\r\n";
    assert_eq!(told(trusted).as_deref(), Some("198.51.100.9, 127.0.0.1"));
}

#[test]
fn it_may_come_in_pieces_and_stands_for_all_requests_of_its_connection() {
    let upstream = Upstream::start();
    let edge = behind_balancer(&upstream, "");
    let mut client = edge.connect();
    for piece in [&v2(0x21, 0x11, &four([203, 0, 113, 8]))[..], GET.as_bytes()].concat().chunks(3) {
        client.send(piece);
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(client.response().status, 200);
    client.send(GET.repeat(2));
    assert_eq!((client.response().status, client.response().status), (200, 200));
    for request in upstream.requests() {
        assert_eq!(request.head.field("x-forwarded-for"), Some("203.0.113.8"));
    }
    // A second header is no request.
    client.send(V1);
    assert_eq!(client.response().status, 400);
}

#[test]
fn what_is_no_header_is_closed_and_counted() {
    let upstream = Upstream::start();
    let edge = behind_balancer(&upstream, "");
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(200));
    let wrong: &[&[u8]] = &[
        b"",
        b"\r\n\r\n\0\r\nQUIX\n\x21\x11",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 4711\r\n",
        b"PROXY TCP4 203.0.113.7 2001:db8::1 1 2\r\n",
        long.as_bytes(),
        &v2(0x21, 0x11, &[0; 5000]),
        &v2(0x21, 0x13, &four([203, 0, 113, 8])),
        &v2(0x21, 0x11, &[&four([203, 0, 113, 8])[..], b"\x04\0\x05a"].concat()),
        b"PROXY TCP4 203.0.113.7 192.0.2.1 +1 80\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
    ];
    for header in wrong {
        let (answers, closed) = edge.raw([header, GET.as_bytes()].concat());
        assert!(answers.is_empty() && closed, "{}", header.escape_ascii());
    }
    assert_eq!(upstream.count(), 0);
    assert_eq!(closed_for(&edge, "proxy_header"), wrong.len() as f64);
    // A check that only connects is none.
    drop(TcpStream::connect(("127.0.0.1", edge.port())).unwrap());
    let open = "harmony_connections_open{network=\"public\"} 0";
    assert!(becomes_true(SOON, || edge.manage("/metrics").send().text().contains(open)));
    assert_eq!(closed_for(&edge, "proxy_header"), wrong.len() as f64);
}

#[test]
fn a_slow_one_gets_the_time_of_a_head() {
    let edge = behind_balancer(&Upstream::start(), "");
    let mut client = edge.connect();
    client.send("PROXY TCP4 203.0.113.7 ");
    assert!(client.is_closed());
    assert_eq!(closed_for(&edge, "head_timeout"), 1.0);
}

#[test]
fn others_than_trusted_proxies_are_closed() {
    let upstream = Upstream::start();
    let text = Settings::open(&upstream).proxy("trusted_proxies = [\"192.0.2.0/24\"]").text();
    let text =
        text.replace("bind_port = {port}", "bind_port = {port}\nproxy_protocol = \"require\"");
    let edge = Edge::configured(Settings::of_text(&text)).start();
    let before = closed_for(&edge, "untrusted_proxy");
    let (answers, closed) = edge.raw(V1.to_owned() + GET);
    assert!(answers.is_empty() && closed);
    assert_eq!((upstream.count(), closed_for(&edge, "untrusted_proxy")), (0, before + 1.0));
    // From the next connection on, as with every other change.
    edge.rewrite(|text| text.replace("192.0.2.0/24", "127.0.0.1/32"));
    assert_eq!(edge.steer("POST", "/admin/reload").send().status, 200);
    let found = forwarded_for(&edge, &upstream, (V1.to_owned() + GET).as_bytes());
    assert_eq!(found.as_deref(), Some("203.0.113.7"));
}

#[test]
fn where_none_is_expected_it_is_a_malformed_request() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).proxy("trusted_proxies = [\"127.0.0.1/32\"]").start();
    for header in [V1.as_bytes(), &v2(0x21, 0x11, &four([203, 0, 113, 8]))] {
        let (answers, closed) = edge.raw([header, GET.as_bytes()].concat());
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!((statuses, closed), (vec![400], true));
    }
    assert_eq!(upstream.count(), 0);
}

#[test]
fn connections_count_for_the_address_that_it_names() {
    let upstream = Upstream::start();
    let edge = behind_balancer(&upstream, "max_connections_per_address = 2");
    let from = |source: [u8; 4]| {
        let mut client = edge.connect().patience(Duration::from_secs(5));
        client.send([&v2(0x21, 0x11, &four(source))[..], GET.as_bytes()].concat());
        let answered = client.try_response("GET");
        (client, matches!(answered, Ok(Some(response)) if response.status == 200))
    };
    let mut kept: Vec<(Client, bool)> = (0..3).map(|_| from([203, 0, 113, 8])).collect();
    let others: Vec<(Client, bool)> = (1..6).map(|last| from([203, 0, 113, 100 + last])).collect();
    assert!(kept.iter().chain(&others).all(|(_, answered)| *answered));
    // The one of the three that had been idle for longest made room.
    assert!(kept[0].0.is_closed());
    assert!(becomes_true(SOON, || closed_for(&edge, "crowded_idle") == 1.0));
}

#[test]
fn a_flood_of_them_is_bounded() {
    let upstream = Upstream::start();
    let edge = behind_balancer(&upstream, "max_connections = 20");
    let silent: Vec<Client> = (0..100)
        .map(|_| {
            let mut client = edge.connect();
            client.send("PROXY ");
            client
        })
        .collect();
    assert!(becomes_true(SOON, || closed_for(&edge, "crowded") >= 80.0));
    let found = forwarded_for(&edge, &upstream, (V1.to_owned() + GET).as_bytes());
    assert_eq!(found.as_deref(), Some("203.0.113.7"));
    drop(silent);
}

#[test]
fn the_configuration_is_checked() {
    let filled = |text: &str| text.replace("{port}", "18080").replace("{mport}", "19090");
    let text = Settings::open_to(1).text();
    for (line, with, error) in [
        ("proxy_protocol = \"require\"", "", "without trusted_proxies"),
        (
            "proxy_protocol = \"v1\"",
            "trusted_proxies = [\"10.0.0.1\"]",
            "unknown use of the PROXY protocol \"v1\"",
        ),
    ] {
        let text = text
            .replace("bind_port = {port}", &format!("bind_port = {{port}}\n{line}"))
            .replace("id = \"edge-1\"", &format!("id = \"edge-1\"\n{with}"));
        Program::check(&filled(&text)).run().error_with(&["proxy_protocol", error]);
    }
    let backend = Settings::open_to(1).backend("send_proxy_protocol = \"v3\"").text();
    Program::check(&filled(&backend)).run().error_with(&["send_proxy_protocol", "\"v3\""]);
}

/// Records the PROXY line of each connection, and answers every request with 200.
fn expecting_lines() -> (Port, Arc<Mutex<Vec<String>>>) {
    let (port, lines) = (Port::claim(), Arc::<Mutex<Vec<String>>>::default());
    let listener = std::net::TcpListener::bind(("127.0.0.1", port.number())).unwrap();
    let seen = lines.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, seen) = (stream.unwrap(), seen.clone());
            thread::spawn(move || {
                let (mut bytes, mut room) = (Vec::new(), [0; 4096]);
                let (mut recorded, mut answered) = (false, 0);
                while let Ok(read @ 1..) = stream.read(&mut room) {
                    bytes.extend_from_slice(&room[..read]);
                    let text = String::from_utf8_lossy(&bytes);
                    if !recorded && let Some((line, _)) = text.split_once("\r\n") {
                        recorded = true;
                        seen.lock().unwrap().push(line.to_owned());
                    }
                    while answered < text.matches("\r\n\r\n").count() {
                        answered += 1;
                        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                        let _ = std::io::Write::write_all(&mut stream, answer);
                    }
                }
            });
        }
    });
    (port, lines)
}

#[test]
fn each_client_gets_connections_of_its_own() {
    let (port, lines) = expecting_lines();
    let settings = Settings::open_to(port.number())
        .proxy("trusted_proxies = [\"127.0.0.9/32\"]")
        .backend("send_proxy_protocol = \"v1\"");
    let edge = Edge::configured(settings).start();
    let mut clients: Vec<Client> = (0..2).map(|_| edge.connect()).collect();
    for _ in 0..3 {
        for client in &mut clients {
            client.send(GET);
            assert_eq!(client.response().status, 200);
        }
    }
    let seen = lines.lock().unwrap().clone();
    assert_eq!(seen.len(), 2, "{seen:?}");
    let (first, second) = (&seen[0], &seen[1]);
    assert!(first != second && first.starts_with("PROXY TCP4 127.0.0.1 127.0.0.1 "), "{seen:?}");
    assert!(first.ends_with(&format!(" {}", edge.port())), "{seen:?}");
}

#[test]
fn idle_clients_leave_others_room_for_connections() {
    let (port, lines) = expecting_lines();
    let settings = Settings::open_to(port.number())
        .backend("send_proxy_protocol = \"v1\"\nmax_connections = 6");
    let edge = Edge::configured(settings).start();
    let mut clients: Vec<Client> = (0..12).map(|_| edge.connect()).collect();
    for round in 0..2 {
        for (index, client) in clients.iter_mut().enumerate() {
            client.send(GET);
            assert_eq!(client.response().status, 200, "round {round}, client {index}");
        }
    }
    // Three clients have kept theirs.
    assert_eq!(lines.lock().unwrap().len(), 21);
}

#[test]
fn behind_a_proxy_no_connection_is_kept() {
    let (port, lines) = expecting_lines();
    let settings = Settings::open_to(port.number())
        .proxy("trusted_proxies = [\"127.0.0.1/32\"]")
        .backend("send_proxy_protocol = \"v1\"");
    let edge = Edge::configured(settings).start();
    let mut client = edge.connect();
    for last in [1, 2, 1] {
        let field = format!("\r\nX-Forwarded-For: 203.0.113.{last}\r\n\r\n");
        client.send(GET.replace("\r\n\r\n", &field));
        assert_eq!(client.response().status, 200);
    }
    let seen = lines.lock().unwrap().clone();
    let to = edge.port();
    let line = |last: u8| format!("PROXY TCP4 203.0.113.{last} 127.0.0.1 0 {to}");
    assert_eq!(seen, [line(1), line(2), line(1)]);
}

#[test]
fn health_checks_speak_for_the_edge() {
    let (port, lines) = expecting_lines();
    let settings = Settings::open_to(port.number())
        .backend("send_proxy_protocol = \"v1\"\nhealth_check = { path = \"/health\" }");
    let _edge = Edge::configured(settings).start();
    let seen = eventually("a check", SOON, || lines.lock().unwrap().first().cloned());
    assert_eq!(seen, "PROXY UNKNOWN");
}

/// One edge before another: by TLS and without, HTTP/1.1 and HTTP/2, both versions of the header.
#[test]
fn two_edges_understand_each_other() {
    let upstream = Upstream::start();
    let authority = Authority::new("the inner edge's");
    let pair = authority.server(&["localhost"]);
    let (plain, tls) = (Port::claim(), Port::claim());
    let networks: String = [(&plain, "plain", ""), (&tls, "tls", CERTIFICATE)]
        .iter()
        .map(|(port, name, lines)| {
            format!(
                "[network.{name}.http]\nbind_address = \"127.0.0.1\"\nbind_port = {port}\n\
                 proxy_protocol = \"require\"\n{lines}\n"
            )
        })
        .collect();
    let inner = Route::to("inner", &upstream).prefix("/api").networks(&["plain", "tls"]);
    let inner = Edge::configured(
        Settings::bare()
            .proxy("trusted_proxies = [\"127.0.0.1/32\"]")
            .and(&networks)
            .and(&inner.text()),
    )
    .file("tls/cert.pem", &pair.certificate)
    .file("tls/key.pem", &pair.key)
    .start();
    for (url, lines) in [
        (format!("http://localhost:{plain}"), "http_version = \"1.1\""),
        (format!("http://localhost:{plain}"), "http_version = \"2\""),
        (format!("https://localhost:{tls}"), "http_version = \"1.1\""),
        (format!("https://localhost:{tls}"), "http_version = \"2\""),
    ] {
        for version in ["v1", "v2"] {
            let row = format!("{url} {lines} {version}");
            let ca = if url.starts_with("https") { "ca_cert_path = \"ca.pem\"" } else { "" };
            let route = Route::to_url("api", &url)
                .prefix("/api")
                .backend(&format!("send_proxy_protocol = \"{version}\"\n{lines}\n{ca}"));
            let outer = Edge::configured(Settings::bare().and(&route.text()))
                .file("ca.pem", &authority.pem())
                .start();
            // Its name has to be resolved first.
            let answers = || outer.get("/api/api/x").send().status == 200;
            assert!(becomes_true(SOON, answers), "{row}: {}", inner.log());
            for _ in 0..3 {
                upstream.clear();
                let answer = outer.get("/api/api/x").send();
                assert_eq!(answer.status, 200, "{row}: {}", inner.log());
                // Of both edges, since the inner one takes loopback for a proxy.
                let request = upstream.only();
                let found = request.head.field("x-forwarded-for").map(str::to_owned);
                assert!(found.is_some_and(|found| found.starts_with("127.0.0.1")), "{row}");
            }
        }
    }
}

const CERTIFICATE: &str = "cert_path = \"tls/cert.pem\"\nkey_path = \"tls/key.pem\"";

const HAPROXY: &str = "\
defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
listen in
  bind 127.0.0.1:{port}
  server edge 127.0.0.1:{edge} source 127.0.0.5 send-proxy-v2
";

/// A real HAProxy that passes TLS through.
#[test]
fn haproxy_passes_tls_through() {
    let authority = Authority::new("the edge's");
    let pair = authority.server(&["localhost"]);
    let upstream = Upstream::start();
    let text =
        Settings::open(&upstream).proxy("trusted_proxies = [\"127.0.0.5/32\"]").text().replace(
            "bind_port = {port}",
            &format!("bind_port = {{port}}\nproxy_protocol = \"require\"\n{CERTIFICATE}"),
        );
    let edge = Edge::configured(Settings::of_text(&text))
        .file("tls/cert.pem", &pair.certificate)
        .file("tls/key.pem", &pair.key)
        .start();
    let settings = HAPROXY.replace("{edge}", &edge.port().to_string());
    let files = [("haproxy.cfg", settings.as_str())];
    let arguments = ["-db", "-f", "{dir}/haproxy.cfg"];
    let Some(haproxy) = Running::start("haproxy", &arguments, &files) else { return };
    let offer = Offer::trusting(&authority);
    let answer = offer.get(haproxy.port(), "/api/x").expect("an answer through HAProxy");
    assert_eq!(answer.status, 200);
    assert_eq!(upstream.only().head.field("x-forwarded-for"), Some("127.0.0.1"));
    let before = closed_for(&edge, "untrusted_proxy");
    let (answers, closed) = edge.raw(v2(0x21, 0x11, &four([203, 0, 113, 8])));
    assert!(answers.is_empty() && closed, "whoever else sends it is closed");
    assert_eq!((upstream.count(), closed_for(&edge, "untrusted_proxy")), (1, before + 1.0));
}
