//! Policies and path filters.

use super::{edge_of, reload, step};
use crate::bearer::assert_generic_denial;
use crate::support::edge::EdgeBuilder;
use crate::support::poll::becomes_true;
use crate::support::request::Request;
use crate::support::{Edge, Response, Upstream};

pub const TRUSTED: &str = "trusted_proxies = [\"127.0.0.0/8\"]";

/// The step `access` with these rules, each a table inside the list.
pub fn access(rules: &[&str]) -> String {
    step("access", "policies", "", "policies = [\"main\"]")
        + &format!("[policies.main]\nrules = [{}]\n", rules.join(", "))
}

pub fn ip(kind: &str, ranges: &[&str]) -> String {
    format!("{{ type = \"{kind}\", ip_addresses = {ranges:?} }}")
}

pub fn paths() -> String {
    step(
        "paths",
        "path-filter",
        "",
        "rules = [\"/status\", { deny = \"/users/root\" }, { allow = \"/users/{id}\" }, { allow = \
         \"/files/{*rest}\" }]",
    )
}

fn limited(upstream: &Upstream, most: u32, seconds: u32) -> EdgeBuilder {
    let rules = "[policies.main]\nrules = [\"all\", \"often\", \"no-delete\"]\n[rules.all]\n\
                 type = \"allow_all\"\n\
                 [rules.no-delete]\ntype = \"method\"\nmode = \"deny\"\nmethods = [\"DELETE\"]\n";
    let limit = format!(
        "[rules.often]\ntype = \"rate_limit\"\nmax_requests = {most}\nwindow_seconds = {seconds}\n"
    );
    edge_of(
        upstream,
        &["access"],
        &(step("access", "policies", "", "policies = [\"main\"]") + rules + &limit),
    )
    .proxy(TRUSTED)
}

fn from(edge: &Edge, client: &str) -> Request {
    edge.get("/api/x").header("X-Forwarded-For", client)
}

#[track_caller]
fn assert_forbidden(row: &str, response: &Response) {
    assert_eq!(response.status, 403, "{row}");
    assert!(!response.head.has("www-authenticate"), "{row}: no credential would help");
    assert_generic_denial(row, response);
}

#[track_caller]
fn assert_limited(row: &str, response: &Response, at_most: u32) {
    assert_eq!(response.status, 429, "{row}");
    let seconds = response.field("retry-after").and_then(|value| value.parse::<u32>().ok());
    assert!(
        seconds.is_some_and(|seconds| (1..=at_most).contains(&seconds)),
        "{row}: Retry-After {seconds:?}"
    );
    assert_generic_denial(row, response);
}

#[track_caller]
fn assert_filtered(row: &str, response: &Response) {
    assert_eq!((response.status, response.body.len(), response.complete), (404, 0, true), "{row}");
}

#[test]
fn addresses_are_those_behind_the_trusted_proxies() {
    let upstream = Upstream::start();
    let (allow, deny) =
        (ip("ip_allow", &["10.0.0.0/8", "2001:db8::/32"]), ip("ip_deny", &["10.6.6.0/24"]));
    let rows = [
        ("10.1.1.1", true),
        ("2001:db8::1", true),
        ("::ffff:10.1.1.1", true),
        ("6.6.6.6, 10.1.1.1", true),
        ("10.6.6.6, 10.1.1.1", true),
        ("10.1.1.1, 127.0.0.9", true),
        ("10.6.6.6", false),
        ("::ffff:10.6.6.6", false),
        ("10.1.1.1, 10.6.6.6", false),
        ("10.6.6.6, 127.0.0.9", false),
        ("192.0.2.1", false),
        ("10.1.1.1, 192.0.2.1", false),
        ("2001:db9::1", false),
        ("10.1.1.1:4711", true),
        ("[2001:db8::1]", true),
        ("[2001:db8::1]:443", true),
        ("\"10.1.1.1\"", true),
        ("\"[2001:db8::1]:443\"", true),
        ("6.6.6.6:1, 10.1.1.1:2, 127.0.0.9:3", true),
        ("nonsense, 10.1.1.1", true),
        ("10.6.6.6:4711", false),
        ("192.0.2.1:80", false),
        ("10.1.1.1, nonsense", false),
        ("10.1.1.1, unknown", false),
        ("10.1.1.1, _hidden, 127.0.0.9", false),
        ("10.1.1.1, ", false),
        ("10.1.1.1,,127.0.0.9", false),
        ("", false),
        ("10.1.1.1:x", false),
        ("[10.1.1.1]", false),
        ("\"10.1.1.1", false),
        ("for=10.1.1.1", false),
    ];
    for rules in [[allow.as_str(), deny.as_str()], [deny.as_str(), allow.as_str()]] {
        let edge = edge_of(&upstream, &["access"], &access(&rules)).proxy(TRUSTED).start();
        for http2 in [false, true] {
            for (client, passes) in rows {
                upstream.clear();
                let request = from(&edge, client);
                let response = if http2 { request.http2() } else { request }.send();
                let row = format!("{client}, HTTP/2: {http2}");
                if passes {
                    assert_eq!(response.status, 200, "{row}");
                } else {
                    assert_forbidden(&row, &response);
                }
                assert_eq!(upstream.count(), usize::from(passes), "{row}");
            }
        }
        let split = edge
            .get("/api/x")
            .header("X-Forwarded-For", "10.1.1.1")
            .header("X-Forwarded-For", "192.0.2.1")
            .send();
        assert_forbidden("the last of two fields counts", &split);
        assert_forbidden("the peer itself", &edge.get("/api/x").send());
    }
}

#[test]
fn a_client_without_an_address_is_nobody_and_not_the_proxy() {
    let upstream = Upstream::start();
    let everybody = "{ type = \"allow_all\" }";
    for rules in [
        // The proxy's own network, as an inside-only list has it.
        vec![ip("ip_allow", &["127.0.0.0/8", "::/0", "0.0.0.0/0"])],
        // Nobody knows that it is not one of these.
        vec![everybody.to_owned(), ip("ip_deny", &["192.0.2.1"])],
    ] {
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        let edge = edge_of(&upstream, &["access"], &access(&rules)).proxy(TRUSTED).start();
        assert_eq!(edge.get("/api/x").send().status, 200, "the proxy itself");
        for client in ["unknown", "203.0.113.9:x", "\"203.0.113.9", "203.0.113.9, ", "unix:"] {
            assert_forbidden(client, &from(&edge, client).send());
        }
        let logged = || edge.log().matches("client=- ").count() == 5;
        assert!(becomes_true(std::time::Duration::from_secs(10), logged), "{}", edge.log());
    }
}

#[test]
fn a_port_does_not_make_another_client_and_junk_is_one_client() {
    let upstream = Upstream::start();
    let edge = limited(&upstream, 1, 3600).start();
    for (clients, name) in [
        (&["192.0.2.1:1", "192.0.2.1:2", "\"192.0.2.1\"", "192.0.2.1"][..], "one address"),
        (&["[2001:db8::1]:1", "2001:db8::1", "[2001:db8::2]"], "one network of 64 bits"),
        (&["unknown", "junk", "192.0.2.7:x", "[192.0.2.8]"], "no address"),
    ] {
        let statuses: Vec<u16> =
            clients.iter().map(|client| from(&edge, client).send().status).collect();
        let (first, rest) = statuses.split_first().expect("a client");
        assert_eq!(*first, 200, "{name}");
        assert!(rest.iter().all(|status| *status == 429), "{name}: {statuses:?}");
    }
    assert_eq!(edge.get("/api/x").send().status, 200, "the proxy itself is somebody else");
}

#[test]
fn a_peer_that_is_not_trusted_is_itself() {
    let upstream = Upstream::start();
    let edge =
        edge_of(&upstream, &["access"], &access(&[&ip("ip_allow", &["10.0.0.0/8"])])).start();
    assert_forbidden("an address that anybody could write", &from(&edge, "10.1.1.1").send());
    let edge = edge_of(
        &upstream,
        &["access"],
        &access(&["{ type = \"allow_all\" }", &ip("ip_deny", &["127.0.0.1"])]),
    )
    .start();
    assert_forbidden("nor does it hide the peer", &from(&edge, "10.1.1.1").send());
    assert_eq!(upstream.count(), 0);
}

#[test]
fn deny_wins_and_nothing_said_is_denied() {
    let upstream = Upstream::start();
    let (all, none) = ("{ type = \"allow_all\" }", "{ type = \"deny_all\" }");
    let often = "{ type = \"rate_limit\", max_requests = 100, window_seconds = 60 }";
    let no_admin = "{ type = \"path\", mode = \"deny\", paths = [\"/admin/{*path}\"] }";
    let reading = "{ type = \"method\", mode = \"allow\", methods = [\"GET\", \"HEAD\"] }";
    for (row, rules, method, target, passes) in [
        ("allowed", &[all][..], "GET", "/api/x", true),
        ("allowed and denied", &[all, none], "GET", "/api/x", false),
        ("denied and allowed", &[none, all], "GET", "/api/x", false),
        ("a rate limit allows nothing", &[often], "GET", "/api/x", false),
        ("a deny that does not match allows nothing", &[no_admin], "GET", "/api/x", false),
        ("an allow that matches", &[reading, no_admin], "GET", "/api/x", true),
        ("an allow that does not match", &[reading, no_admin], "POST", "/api/x", false),
        ("a deny that matches", &[reading, no_admin], "GET", "/api/admin/x", false),
        (
            "a deny that matches, in another spelling",
            &[reading, no_admin],
            "GET",
            "/api/y/..//%61dmin/x",
            false,
        ),
        ("a deny that matches, without an end", &[reading, no_admin], "GET", "/api/admin", false),
    ] {
        upstream.clear();
        let edge = edge_of(&upstream, &["access"], &access(rules)).start();
        for http2 in [false, true] {
            let request = edge.request(method, target);
            let response = if http2 { request.http2() } else { request }.send();
            if passes {
                assert_eq!(response.status, 200, "{row}");
            } else {
                assert_forbidden(row, &response);
            }
        }
        assert_eq!(upstream.count(), if passes { 2 } else { 0 }, "{row}");
    }
}

#[test]
fn a_rate_limit_counts_each_client_and_survives_a_reload() {
    let upstream = Upstream::start();
    let edge = limited(&upstream, 2, 3600).start();
    for _ in 0..3 {
        assert_forbidden(
            "what is denied is not counted",
            &edge.request("DELETE", "/api/x").header("X-Forwarded-For", "192.0.2.1").send(),
        );
    }
    assert_eq!(from(&edge, "192.0.2.1").send().status, 200);
    assert_eq!(from(&edge, "192.0.2.1").http2().send().status, 200);
    assert_limited("the third", &from(&edge, "192.0.2.1").send(), 3600);
    assert_limited("over HTTP/2", &from(&edge, "192.0.2.1").http2().send(), 3600);
    assert_eq!(from(&edge, "192.0.2.2").send().status, 200, "another client");
    assert_eq!(from(&edge, "192.0.2.1, 192.0.2.3").send().status, 200, "whatever stands before it");
    assert_eq!(upstream.count(), 4);

    edge.rewrite(|text| text.replace("[\"DELETE\"]", "[\"PATCH\"]"));
    reload(&edge);
    assert_eq!(
        edge.request("DELETE", "/api/x").header("X-Forwarded-For", "192.0.2.9").send().status,
        200,
        "the new rules serve"
    );
    assert_limited("after the reload", &from(&edge, "192.0.2.1").send(), 3600);
    assert_eq!(from(&edge, "192.0.2.2").send().status, 200, "its second request");
    assert_limited("its third", &from(&edge, "192.0.2.2").send(), 3600);
}

#[test]
fn a_window_ends() {
    let upstream = Upstream::start();
    let edge = limited(&upstream, 1, 2).start();
    assert_eq!(from(&edge, "192.0.2.1").send().status, 200);
    assert_limited("the second", &from(&edge, "192.0.2.1").send(), 2);
    assert!(
        becomes_true(std::time::Duration::from_secs(10), || from(&edge, "192.0.2.1").send().status
            == 200),
        "after the window"
    );
}

#[test]
fn a_path_that_is_filtered_is_404_and_nothing_else() {
    let upstream = Upstream::start();
    let edge = edge_of(&upstream, &["paths"], &paths()).start();
    for http2 in [false, true] {
        for (target, passes) in [
            ("/api/status", true),
            ("/api/status/", true),
            ("/api/users/7", true),
            ("/api/files/a/b", true),
            ("/api/x/../status?q=1", true),
            ("/api", false),
            ("/api/", false),
            ("/api/x", false),
            ("/api/STATUS", false),
            ("/api/status/x", false),
            ("/api/users", false),
            ("/api/users/7/x", false),
            ("/api/users/root", false),
            ("/api/users/%72oot", false),
            ("/api/users/root/", false),
            ("/api/users/root;x=1", false),
            ("/api/files/../x", false),
        ] {
            for method in ["GET", "POST"] {
                upstream.clear();
                let request = edge.request(method, target);
                let request = if method == "POST" { request.body("a body") } else { request };
                let response = if http2 { request.http2() } else { request }.send();
                let row = format!("{method} {target}, HTTP/2: {http2}");
                if passes {
                    assert_eq!(response.status, 200, "{row}");
                } else {
                    assert_filtered(&row, &response);
                }
                assert_eq!(upstream.count(), usize::from(passes), "{row}");
            }
        }
    }
}
