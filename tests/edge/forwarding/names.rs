//! Upstreams named by a name with several addresses: one that is dead, or swallows what is sent to
//! it, costs no request, and only the failure of all of them is the upstream's. What DNS says is
//! followed as long as DNS says.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::edge::EdgeBuilder;
use crate::support::poll::becomes_true;
use crate::support::ports::Port;
use crate::support::server::Server;
use crate::support::{Edge, Settings, Upstream, eventually};

const PATIENCE: Duration = Duration::from_secs(30);

fn local(last: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, last], port))
}

/// How to run a program with a file of its own in the place of one of the system's: it is the one
/// that is named next. `None`, and a word about it, where that is not possible.
fn own_file(path: &str) -> Option<Vec<String>> {
    let mount = format!("mount --bind \"$0\" {path} && exec \"$@\"");
    let possible = [&["unshare", "-m"][..], &["unshare", "-r", "-m"]].into_iter().find(|words| {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(["sh", "-c", "mount --bind /etc/hosts /etc/hosts"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    });
    if possible.is_none() {
        eprintln!("skipped: no mount namespace of its own");
    }
    possible.map(|words| {
        let words = words.iter().copied().chain(["sh", "-c", &mount]);
        words.map(str::to_owned).collect()
    })
}

/// A file of host names that can be changed.
struct Hosts(tempfile::NamedTempFile);

impl Hosts {
    fn new(name: &str, addresses: &[&str]) -> Self {
        let hosts = Self(tempfile::NamedTempFile::new().unwrap());
        hosts.set(name, addresses);
        hosts
    }

    fn set(&self, name: &str, addresses: &[&str]) {
        let lines = addresses.iter().map(|address| format!("{address} {name}\n"));
        std::fs::write(self.0.path(), lines.collect::<String>()).unwrap();
    }

    /// An edge in front of these upstreams that sees the file as `/etc/hosts`.
    fn edge(&self, upstreams: &[String], options: &str) -> Option<EdgeBuilder> {
        let mut launcher = own_file("/etc/hosts")?;
        launcher.push(self.0.path().to_str().unwrap().to_owned());
        let launcher: Vec<&str> = launcher.iter().map(String::as_str).collect();
        let edge = Edge::configured(behind(upstreams, options)).quiet();
        Some(edge.under(&launcher))
    }
}

/// An open pipeline in front of these upstreams.
fn behind(upstreams: &[String], options: &str) -> Settings {
    let tables = format!(
        "[pipelines.p]\nnetworks = [\"public\"]\nendpoints = [\"e\"]\nmiddleware = []\n\
         backends = [\"app\"]\n[endpoints.e]\nservice = \"http\"\n[backends.app]\n\
         service = \"http\"\n[backends.app.options]\nupstreams = {upstreams:?}\n{options}\n"
    );
    Settings::bare().and(&tables)
}

/// Started, and its names looked up: that is done in the background.
#[track_caller]
fn resolved(edge: EdgeBuilder) -> Edge {
    let edge = edge.start();
    eventually("the addresses", PATIENCE, || edge.log().contains(": resolved to").then_some(()));
    edge
}

/// An upstream that keeps no connection.
fn brief() -> Upstream {
    Upstream::with(|exchange| {
        exchange.read_body();
        exchange.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nA");
        exchange.close();
    })
}

/// One at another address of this machine, at the port of the first.
fn beside(port: u16, last: u8, answer: &'static [u8]) -> Server {
    Server::start_on(local(last, port), move |_, mut stream: TcpStream| {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
            head.push(byte[0]);
        }
        let _ = stream.write_all(answer);
    })
}

/// An address that answers no attempt to connect; `None`, and a word about it: not to be had here.
fn black_hole(address: SocketAddr) -> Option<(TcpListener, Vec<socket2::Socket>)> {
    use socket2::{Domain, Socket, Type};
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.set_reuse_address(true).unwrap();
    listener.bind(&address.into()).unwrap();
    listener.listen(0).unwrap();
    let fill = (0..4).map(|_| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let _ = socket.connect(&address.into());
        socket
    });
    let fill: Vec<Socket> = fill.collect();
    std::thread::sleep(Duration::from_millis(300));
    if TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok() {
        eprintln!("skipped: a full backlog takes connections here");
        return None;
    }
    Some((listener.into(), fill))
}

/// The upstream that the Management API tells of first.
#[track_caller]
fn told(edge: &Edge) -> serde_json::Value {
    edge.manage("/admin/backends").send().json()["backends"][0]["upstreams"][0].clone()
}

#[test]
fn localhost_with_the_application_on_one_of_its_families_costs_no_request() {
    let upstream = brief();
    let hosts = Hosts::new("localhost", &["127.0.0.1", "::1"]);
    let urls = [format!("http://localhost:{}", upstream.port())];
    let Some(edge) = hosts.edge(&urls, "max_retries = 0") else { return };
    let edge = resolved(edge);
    for number in 0..20 {
        let status = edge.post("/x", "once").send().status;
        assert_eq!(status, 200, "request {number}");
    }
    let told = told(&edge);
    assert_eq!((&told["state"], &told["failures"]), (&"healthy".into(), &0.into()), "{told}");
    assert!(!edge.log().contains("failed on attempt"), "{}", edge.log());
}

#[test]
fn one_living_address_of_four_gets_its_share_and_the_upstream_is_not_ejected() {
    let (alive, other) = (brief(), Upstream::start());
    let hosts = Hosts::new("four.test", &["127.0.0.2", "127.0.0.1", "127.0.0.3", "127.0.0.4"]);
    let urls = [
        format!("http://four.test:{}", alive.port()),
        format!("http://127.0.0.1:{}", other.port()),
    ];
    let check = "eject_after = 1\nhealth_check = { interval_secs = 1, timeout_secs = 1 }";
    let Some(edge) = hosts.edge(&urls, check) else { return };
    let edge = resolved(edge);
    eventually("a check", PATIENCE, || (told(&edge)["state"] == "healthy").then_some(()));
    let before = alive.count();
    for number in 0..40 {
        assert_eq!(edge.post("/x", "once").send().status, 200, "request {number}");
    }
    assert!(alive.count() - before >= 20, "{}", alive.count());
    let told = told(&edge);
    assert_eq!((&told["state"], &told["failures"]), (&"healthy".into(), &0.into()), "{told}");
    let log = edge.log();
    for last in 2..=4 {
        let line = format!("its address {} is tried after", local(last, alive.port()));
        assert!(log.matches(&line).count() <= 1, "{log}");
    }
}

#[test]
fn that_all_addresses_fail_counts_once_for_each_request() {
    let nobody = Port::claim();
    let hosts = Hosts::new("dead.test", &["127.0.0.2", "127.0.0.1", "127.0.0.3"]);
    let urls = [format!("http://dead.test:{nobody}")];
    let Some(edge) = hosts.edge(&urls, "max_retries = 0") else { return };
    let edge = resolved(edge);
    for number in 1..=3 {
        assert_eq!(edge.get("/x").send().status, 502);
        assert_eq!(told(&edge)["failures"], number);
    }
    assert_eq!(told(&edge)["last_error"], "connection refused");
}

#[test]
fn an_address_that_swallows_packets_costs_a_moment_once() {
    let upstream = brief();
    let Some(_hole) = black_hole(local(5, upstream.port())) else { return };
    let hosts = Hosts::new("hole.test", &["127.0.0.1", "127.0.0.5"]);
    let urls = [format!("http://hole.test:{}", upstream.port())];
    let check = "connect_timeout_secs = 10\n\
                 health_check = { interval_secs = 1, timeout_secs = 1, unhealthy_after = 1 }";
    let Some(edge) = hosts.edge(&urls, check) else { return };
    let edge = resolved(edge);
    let started = Instant::now();
    for number in 0..12 {
        assert_eq!(edge.post("/x", "once").send().status, 200, "request {number}");
    }
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    eventually("two checks", PATIENCE, || (upstream.count() >= 14).then_some(()));
    assert_eq!(told(&edge)["state"], "healthy");
    assert!(!edge.log().contains("unhealthy"), "{}", edge.log());
}

#[test]
fn an_address_that_comes_to_life_is_found_without_a_request_that_fails() {
    let upstream = brief();
    let hosts = Hosts::new("two.test", &["127.0.0.1", "127.0.0.2"]);
    let urls = [format!("http://two.test:{}", upstream.port())];
    let Some(edge) = hosts.edge(&urls, "max_retries = 0") else { return };
    let edge = resolved(edge);
    for _ in 0..4 {
        assert_eq!(edge.post("/x", "once").send().status, 200);
    }
    let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nB";
    let _second = beside(upstream.port(), 2, answer);
    eventually("an answer of the second", PATIENCE, || {
        let response = edge.post("/x", "once").send();
        assert_eq!(response.status, 200);
        (response.text() == "B").then_some(())
    });
    let told = || edge.log().contains("accepts connections again");
    assert!(becomes_true(Duration::from_secs(10), told), "{}", edge.log());
}

#[test]
fn an_address_that_takes_connections_and_drops_them_comes_last() {
    let upstream = brief();
    let _dropping = beside(upstream.port(), 2, b"");
    let hosts = Hosts::new("half.test", &["127.0.0.1", "127.0.0.2"]);
    let urls = [format!("http://half.test:{}", upstream.port())];
    let Some(edge) = hosts.edge(&urls, "max_retries = 2") else { return };
    let edge = resolved(edge);
    // A POST may have been served there, so it is not sent again; but the next ones go elsewhere.
    let mut statuses: Vec<u16> = (0..20).map(|_| edge.post("/x", "a").send().status).collect();
    statuses.retain(|status| *status != 200);
    assert!(statuses.len() <= 2 && statuses.iter().all(|status| *status == 502), "{statuses:?}");
    for _ in 0..20 {
        assert_eq!(edge.get("/x").send().status, 200, "what is idempotent is tried elsewhere");
    }
}

#[test]
fn a_name_that_changes_is_followed_and_what_was_idle_is_closed() {
    let upstream = Upstream::start();
    let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nB";
    let _second = beside(upstream.port(), 2, answer);
    let hosts = Hosts::new("moving.test", &["127.0.0.1"]);
    let urls = [format!("http://moving.test:{}", upstream.port())];
    let Some(edge) = hosts.edge(&urls, "") else { return };
    let edge = resolved(edge);
    assert_eq!(edge.get("/x").send().text(), "/x");
    hosts.set("moving.test", &["127.0.0.2"]);
    let moved = || edge.get("/y").send().text() == "B";
    assert!(becomes_true(Duration::from_secs(60), moved), "{}", edge.log());
    let open = || connected_to(edge.id(), local(1, upstream.port()));
    assert!(becomes_true(PATIENCE, || !open()), "the idle connection is closed");
    assert_eq!(edge.get("/y").send().text(), "B");
}

/// A name server on port 53 of an address of this machine of its own. It has one name, with one
/// address that can be changed.
struct NameServer {
    address: Ipv4Addr,
    last: Arc<AtomicU8>,
    queries: Arc<AtomicUsize>,
}

impl NameServer {
    /// `None`, and a word about it: port 53 is not to be had here.
    fn start(name: &'static str, last: u8, ttl: u32) -> Option<Self> {
        let of_test = Ipv4Addr::new(127, 53, u8::try_from(ttl).unwrap(), last);
        let Ok(socket) = UdpSocket::bind((of_test, 53)) else {
            eprintln!("skipped: no name server at {of_test}");
            return None;
        };
        let server =
            Self { address: of_test, last: Arc::new(last.into()), queries: Arc::default() };
        let (last, queries) = (server.last.clone(), server.queries.clone());
        std::thread::spawn(move || {
            let mut datagram = [0; 512];
            while let Ok((length, client)) = socket.recv_from(&mut datagram) {
                queries.fetch_add(1, Ordering::Relaxed);
                let address = [127, 0, 0, last.load(Ordering::Relaxed)];
                let answer = dns_answer(&datagram[..length], name, address, ttl);
                let _ = socket.send_to(&answer, client);
            }
        });
        Some(server)
    }

    fn queries(&self) -> usize {
        self.queries.load(Ordering::Relaxed)
    }

    /// How to run a program for which this is the only name server.
    fn launcher(&self, resolv_conf: &tempfile::NamedTempFile) -> Option<Vec<String>> {
        let text = format!("nameserver {}\n", self.address);
        std::fs::write(resolv_conf.path(), text).unwrap();
        let mut launcher: Vec<String> = own_file("/etc/resolv.conf")?;
        launcher.push(resolv_conf.path().to_str().unwrap().to_owned());
        Some(launcher)
    }
}

/// The answer to a query (RFC 1035 section 4): an address for A and this name, nothing for AAAA,
/// and for other names that they do not exist.
fn dns_answer(query: &[u8], name: &str, address: [u8; 4], ttl: u32) -> Vec<u8> {
    let wire: Vec<u8> = name
        .split('.')
        .flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat())
        .chain([0])
        .collect();
    let end = 12 + query[12..].iter().position(|&byte| byte == 0).unwrap() + 5;
    let question = &query[12..end];
    let known = question[..question.len() - 4].eq_ignore_ascii_case(&wire);
    let has_it = known && question[question.len() - 4..] == [0, 1, 0, 1];
    let mut answer = query[..2].to_vec();
    answer.extend([0x81, if known { 0x80 } else { 0x83 }, 0, 1, 0, has_it.into(), 0, 0, 0, 0]);
    answer.extend_from_slice(question);
    if has_it {
        answer.extend([0xc0, 12, 0, 1, 0, 1]);
        answer.extend(ttl.to_be_bytes());
        answer.extend([0, 4]);
        answer.extend(address);
    }
    answer
}

/// An edge in front of `http://NAME:PORT` with this name server, and what it was started with.
fn edge_by_dns(
    server: &NameServer,
    name: &str,
    port: u16,
    proxy: &str,
) -> Option<(Edge, tempfile::NamedTempFile)> {
    let resolv_conf = tempfile::NamedTempFile::new().unwrap();
    let launcher = server.launcher(&resolv_conf)?;
    let launcher: Vec<&str> = launcher.iter().map(String::as_str).collect();
    let urls = [format!("http://{name}:{port}")];
    let edge = Edge::configured(behind(&urls, "").proxy(proxy)).quiet();
    Some((resolved(edge.under(&launcher)), resolv_conf))
}

#[test]
fn a_change_of_dns_is_followed_when_the_ttl_is_over() {
    let upstream = brief();
    let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nB";
    let _second = beside(upstream.port(), 2, answer);
    let Some(server) = NameServer::start("app.test", 1, 6) else { return };
    let Some((edge, _file)) = edge_by_dns(&server, "app.test", upstream.port(), "") else { return };
    let started = Instant::now();
    assert_eq!(edge.get("/x").send().text(), "A");
    let at_first = server.queries();
    assert!(at_first <= 4, "one query for each family, and maybe one more of each: {at_first}");
    server.last.store(2, Ordering::Relaxed);
    let moved = || edge.get("/y").send().text() == "B";
    assert!(becomes_true(Duration::from_secs(20), moved), "{}", edge.log());
    let took = started.elapsed();
    assert!(Duration::from_secs(3) < took, "not before its time: {took:?}");
}

#[test]
fn a_fixed_interval_counts_instead_of_the_ttl() {
    let upstream = brief();
    let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nB";
    let _second = beside(upstream.port(), 2, answer);
    let Some(server) = NameServer::start("app.test", 1, 250) else { return };
    let edge = edge_by_dns(&server, "app.test", upstream.port(), "resolve_secs = 1");
    let Some((edge, _file)) = edge else { return };
    assert_eq!(edge.get("/x").send().text(), "A");
    server.last.store(2, Ordering::Relaxed);
    let moved = || edge.get("/y").send().text() == "B";
    assert!(becomes_true(Duration::from_secs(20), moved), "{}", edge.log());
}

/// Whether the process has a connection to this address.
fn connected_to(process: u32, address: SocketAddr) -> bool {
    let IpAddr::V4(ip) = address.ip() else { return false };
    let ip = u32::from(Ipv4Addr::from(ip.octets())).swap_bytes();
    let wanted = format!("{ip:08X}:{:04X}", address.port());
    let table = std::fs::read_to_string(format!("/proc/{process}/net/tcp")).unwrap();
    // The remote address, and the state: established, or closed by the other side.
    table.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.get(2) == Some(&wanted.as_str()) && matches!(fields.get(3), Some(&"01" | &"08"))
    })
}
