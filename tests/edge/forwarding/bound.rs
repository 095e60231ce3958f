//! Upstreams that authenticate a connection, with NTLM or Negotiate: nobody but the client that has
//! authenticated may use it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::edge::EdgeBuilder;
use crate::support::poll::becomes_true;
use crate::support::{Client, Edge, Settings, Upstream};

const PATIENCE: Duration = Duration::from_secs(10);

/// Whoever sends `Authorization: SCHEME name` is that name on its connection from then on; others
/// are asked for it, and at `/open` they are not.
fn authenticating(scheme: &'static str) -> Upstream {
    let names = Arc::new(Mutex::new(HashMap::<usize, String>::new()));
    Upstream::with(move |exchange| {
        exchange.read_body();
        let connection = exchange.connection();
        let mut names = names.lock().unwrap();
        if let Some(sent) = exchange.field("authorization") {
            let name = sent.split(' ').nth(1).unwrap_or_default();
            names.insert(connection, name.to_owned());
        }
        let name = names.get(&connection).cloned();
        drop(names);
        let open = exchange.target() == "/open";
        match name {
            None if !open => exchange.answer(401, &[("WWW-Authenticate", scheme)], b"who?"),
            name => {
                let name = name.as_deref().unwrap_or("nobody");
                exchange.answer(200, &[], format!("{name} on {connection}").as_bytes());
            }
        }
    })
}

fn ask(client: &mut Client, fields: &str) -> (u16, String) {
    let response =
        client.send(format!("GET /api/x HTTP/1.1\r\nHost: h\r\n{fields}\r\n")).response();
    (response.status, response.text())
}

fn scheme_of(scheme: &str) -> String {
    scheme.split(' ').next().unwrap().to_owned()
}

#[test]
fn an_authenticated_connection_is_its_clients_alone() {
    for scheme in ["NTLM", "Negotiate", "negotiate oYG2=="] {
        let upstream = authenticating(scheme);
        let edge = Edge::open(&upstream).start();
        let login = format!("Authorization: {} alice\r\n", scheme_of(scheme));
        let mut alice = edge.connect();
        assert_eq!(ask(&mut alice, "").0, 401, "{scheme}");
        let (status, first) = ask(&mut alice, &login);
        assert_eq!(status, 200, "{scheme}");
        assert!(first.starts_with("alice on "), "{first}");
        for _ in 0..3 {
            assert_eq!(edge.get("/api/x").send().status, 401, "{scheme}: another one");
            let open = edge.get("/api/open").send().text();
            assert!(open.starts_with("nobody"), "{scheme}: {open}");
            assert_eq!(ask(&mut alice, ""), (200, first.clone()), "{scheme}: hers goes on");
        }
        drop(alice);
        for _ in 0..5 {
            let open = edge.get("/api/open").send().text();
            assert!(open.starts_with("nobody"), "{scheme}: {open}");
        }
    }
}

#[test]
fn it_ends_with_the_clients_connection() {
    let upstream = authenticating("NTLM");
    let edge = Edge::open(&upstream).start();
    let before = edge.descriptors();
    let mut clients: Vec<Client> = (0..8).map(|_| edge.connect()).collect();
    for client in &mut clients {
        assert_eq!(ask(client, "Authorization: NTLM bob\r\n").0, 200);
    }
    drop(clients);
    assert!(becomes_true(PATIENCE, || edge.descriptors() <= before + 2));
}

#[test]
fn the_clients_connection_stays_with_one_of_several_upstreams() {
    let upstreams = [authenticating("NTLM"), authenticating("NTLM"), authenticating("NTLM")];
    let urls: Vec<String> =
        upstreams.iter().map(|it| format!("http://127.0.0.1:{}", it.port())).collect();
    let tables = format!(
        "[pipelines.p]\nnetworks = [\"public\"]\nendpoints = [\"e\"]\nmiddleware = []\n\
         backends = [\"app\"]\n[endpoints.e]\nservice = \"http\"\n\
         [backends.app]\nservice = \"http\"\n[backends.app.options]\nupstreams = {urls:?}\n"
    );
    let edge = Edge::configured(Settings::bare().and(&tables)).start();
    let mut client = edge.connect();
    let (status, first) = ask(&mut client, "Authorization: NTLM carol\r\n");
    assert_eq!(status, 200);
    for _ in 0..9 {
        assert_eq!(ask(&mut client, ""), (200, first.clone()));
        assert_eq!(edge.get("/api/x").send().status, 401);
    }
}

#[test]
fn a_connection_of_many_is_bound_to_nobody() {
    let trusting = |builder: EdgeBuilder| builder.proxy("trusted_proxies = [\"127.0.0.0/8\"]");
    for (http2, trusted) in [(true, false), (false, true), (true, true)] {
        let row = format!("HTTP/2: {http2}, trusted: {trusted}");
        let upstream = authenticating("Negotiate");
        let builder = Edge::open(&upstream);
        let edge = if trusted { trusting(builder) } else { builder }.start();
        let send = |login: bool, target: &str| {
            let request = edge.get(target);
            let request =
                if login { request.header("Authorization", "NTLM dave") } else { request };
            if http2 { request.http2() } else { request }.send()
        };
        assert_eq!(send(false, "/api/x").status, 502, "{row}: it is asked for");
        assert_eq!(send(true, "/api/open").status, 502, "{row}: it is sent");
        assert!(upstream.requests().iter().all(|it| !it.head.has("authorization")), "{row}");
        assert!(send(false, "/api/open").text().starts_with("nobody"), "{row}");
        let told = || {
            let log = edge.log();
            log.matches("reason=shared_connection").count() == 2 && log.contains("NTLM")
        };
        assert!(becomes_true(PATIENCE, told), "{row}: {}", edge.log());
        assert!(!edge.log().contains("failed on attempt"), "{row}: {}", edge.log());
    }
}
