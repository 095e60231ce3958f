//! `--upgrade`, SIGQUIT and SIGUSR2: a new process takes the listeners over, or the old one goes
//! on.

use std::fs;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::load::{Load, wrk, wrk_result};
use super::{END, ended, has};
use crate::support::edge::EdgeBuilder;
use crate::support::poll::{becomes_true, eventually};
use crate::support::ports::Port;
use crate::support::{Edge, Program, Settings, Upstream};

pub fn echoing() -> EdgeBuilder {
    let route = "[pipelines.echo]\nnetworks = [\"public\"]\nendpoints = [\"echo\"]\n\
                 [endpoints.echo]\nservice = \"echo\"\noptions = { path_prefix = \"/echo\" }\n";
    Edge::configured(Settings::bare().and(route)).quiet()
}

#[test]
fn five_upgrades_under_load_lose_nothing() {
    if !has("wrk") {
        return;
    }
    let mut edge = echoing().start();
    let port = edge.port();
    let flood = wrk(port);
    let fresh = Load::of_new_connections(port, 200);
    let kept = Load::of_kept_connections(port, 10, Duration::from_millis(300));
    let started = Instant::now();
    for round in 0..5 {
        let mut old = edge.upgrade();
        assert_eq!(ended(&mut old).code(), Some(0), "round {round}");
    }
    eprintln!("five upgrades in {:?}", started.elapsed());
    let (fresh, kept, flood) = (fresh.stop(), kept.stop(), wrk_result(flood));
    eprintln!(
        "answered: {} on new connections, {} on kept ones, {} of wrk's",
        fresh.0, kept.0, flood.0
    );
    for (who, failures) in
        [("new connections", &fresh.1), ("kept connections", &kept.1), ("wrk", &flood.1)]
    {
        assert!(
            failures.is_empty(),
            "{who}: {} failures: {:?}",
            failures.len(),
            &failures[..failures.len().min(5)]
        );
    }
    assert!(fresh.0 > 100 && kept.0 > 100 && flood.0 > 1000);
}

#[test]
fn an_idle_connection_stays_until_the_drain_and_its_next_request_is_answered() {
    let mut edge = echoing().start();
    let mut idle = edge.connect();
    idle.send(edge.get("/echo").bytes());
    assert_eq!(idle.response().status, 200);
    let mut old = edge.upgrade();
    idle.send(edge.get("/echo").bytes());
    let answer = idle.response();
    assert_eq!(
        (answer.status, answer.field("connection").map(str::to_ascii_lowercase).as_deref()),
        (200, Some("close"))
    );
    assert_eq!(ended(&mut old).code(), Some(0));
    assert_eq!(edge.get("/echo").send().status, 200);
}

#[test]
fn what_a_process_asks_itself_goes_to_no_upstream_and_into_no_log() {
    let upstream = Upstream::start();
    let route = format!(
        "[pipelines.all]\nnetworks = [\"public\"]\nendpoints = [\"all\"]\nmiddleware = []\n\
         backends = [\"up\"]\n[endpoints.all]\nservice = \"http\"\n[backends.up]\n\
         service = \"http\"\nbase_url = \"http://127.0.0.1:{}\"\n",
        upstream.port()
    );
    let mut edge = Edge::configured(Settings::bare().and(&route)).quiet().start();
    for _ in 0..4 {
        let mut old = edge.upgrade();
        assert_eq!(ended(&mut old).code(), Some(0));
    }
    assert_eq!(upstream.count(), 0);
    assert!(!edge.log().contains("harmony::access"), "{}", edge.log());
    assert_eq!(
        edge.get("/.harmony-edge/0123456789abcdef0123456789abcdef").send().status,
        503,
        "what only another process may answer"
    );
    assert_eq!(edge.get("/.harmony-edge/else").send().status, 200);
}

#[test]
fn listeners_change_with_an_upgrade_management_included() {
    let mut edge = echoing().start();
    let (other, socket) = (Port::claim(), edge.directory().join("admin.sock"));
    let before = edge.port();
    edge.rewrite(|text| {
        let public =
            text.replacen(&format!("bind_port = {before}"), &format!("bind_port = {other}"), 1);
        let management = public.find("[network.management.http]").expect("the management network");
        let (head, tail) = public.split_at(management);
        format!(
            "{head}{}",
            tail.replacen(
                "bind_address = \"127.0.0.1\"",
                &format!("bind_address = \"unix:{}\"", socket.display()),
                1
            )
        )
    });
    let answer = edge.steer("POST", "/admin/reload").send();
    assert_eq!(answer.status, 422);
    assert!(
        answer.text().contains("--upgrade"),
        "a refused reload says what to do: {}",
        answer.text()
    );
    let mut old = edge.upgrade();
    assert_eq!(
        crate::support::request::Request::new(other.number(), "GET", "/echo").send().status,
        200
    );
    assert!(std::os::unix::net::UnixStream::connect(&socket).is_ok());
    assert_eq!(ended(&mut old).code(), Some(0));
    assert!(TcpStream::connect(("127.0.0.1", before)).is_err(), "the old listener is closed");

    // The Unix socket is handed over too.
    let mut old = edge.upgrade();
    ended(&mut old);
    assert!(std::os::unix::net::UnixStream::connect(&socket).is_ok());
}

#[test]
fn a_wrong_configuration_leaves_the_running_process_alone() {
    let edge = echoing().start();
    edge.rewrite(|text| text.replace("path_prefix", "path_prefx"));
    assert_eq!(ended(&mut edge.launch(&["--upgrade"])).code(), Some(1));
    let log = edge.log();
    assert!(log.contains("path_prefx") && !log.contains("hand-over"), "{log}");
    assert_eq!(edge.get("/echo").send().status, 200);
}

#[test]
fn a_new_process_that_fails_midway_is_forgotten() {
    let mut edge = echoing().start();
    let taken = Port::claim();
    let _listener = std::net::TcpListener::bind(("127.0.0.1", taken.number())).unwrap();
    edge.rewrite(|text| {
        format!("{text}\n[network.more.http]\nbind_address = \"127.0.0.1\"\nbind_port = {taken}\n")
    });
    assert_eq!(ended(&mut edge.launch(&["--upgrade"])).code(), Some(1));
    eventually("a word of the old process", END, || {
        edge.log().contains("hand-over failed, this process goes on").then_some(())
    });
    assert!(edge.log().contains("network.more: cannot listen on"), "{}", edge.log());
    assert_eq!(edge.get("/echo").send().status, 200);

    edge.rewrite(|text| {
        text.replace("[network.more.http]", "[network.more.http]\n# a free one\n")
            .replace(&format!("bind_port = {taken}"), &format!("bind_port = {}", Port::claim()))
    });
    let mut old = edge.upgrade();
    assert_eq!(ended(&mut old).code(), Some(0));
}

#[test]
fn without_a_running_process_an_upgrade_is_an_error() {
    let port = Port::claim();
    let text = format!(
        "[proxy]\nid = \"t\"\n[network.public.http]\nbind_address = \"127.0.0.1\"\n\
         bind_port = {port}\n"
    );
    let ran = Program::with(&["-c", "harmony.toml", "--upgrade"]).file("harmony.toml", &text).run();
    assert_eq!(ran.status, Some(1));
    ran.error_with(&["--upgrade", "no running process"]);
}

#[test]
fn a_lone_sigquit_ends_nothing() {
    let mut edge = echoing().start();
    edge.signal(Signal::SIGQUIT);
    eventually("a word about it", END, || {
        edge.log().contains("hand-over failed, this process goes on: nobody waits").then_some(())
    });
    assert_eq!(edge.get("/echo").send().status, 200);
    edge.signal(Signal::SIGTERM);
    assert_eq!(edge.exit_status(END).code(), Some(0));
}

#[test]
fn sigusr2_starts_the_new_process() {
    let mut edge = echoing().start();
    edge.signal(Signal::SIGUSR2);
    assert_eq!(edge.exit_status(END).code(), Some(0));
    let pid = fs::read_to_string(edge.state().join("harmony-edge.pid"))
        .expect("the PID file of the new process");
    let new: i32 = pid.trim().parse().expect("a process id");
    assert_ne!(u32::try_from(new).unwrap(), edge.id());
    assert_eq!(edge.get("/echo").send().status, 200);
    kill(Pid::from_raw(new), Signal::SIGTERM).expect("a signal to the new process");
    let gone = || TcpStream::connect(("127.0.0.1", edge.port())).is_err();
    assert!(becomes_true(END, gone), "the new process ends as well");
}

#[test]
fn a_long_download_outlives_the_hand_over_within_the_grace() {
    let upstream = Upstream::with(|exchange| {
        exchange.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for _ in 0..60 {
            exchange.chunk(b"x");
            exchange.pause(Duration::from_millis(100));
        }
        exchange.write(b"0\r\n\r\n");
    });
    let mut edge = Edge::open(&upstream).proxy("grace_secs = 60").start();
    let mut client = edge.connect();
    client.send(edge.get("/api/x").bytes());
    let head = client.head();
    let mut old = edge.upgrade();
    let mut bytes = 0;
    assert!(
        client.read_body(&head, "GET", &mut |piece| bytes += piece.len()),
        "the download came to its end"
    );
    assert_eq!(bytes, 60);
    assert_eq!(ended(&mut old).code(), Some(0));
}
