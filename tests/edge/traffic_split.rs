//! Which backend of a pipeline a request goes to: by what `when` says of it, else by weight.

use std::time::Duration;

use serde_json::Value;

use crate::support::poll::becomes_true;
use crate::support::ports::Port;
use crate::support::request::Request;
use crate::support::{Edge, Program, Settings, Upstream};

/// Backends in this order, each with its upstream's port and its options.
fn pipeline(backends: &[(&str, u16, &str)]) -> String {
    let names: Vec<&str> = backends.iter().map(|(name, ..)| *name).collect();
    let tables = backends.iter().map(|(name, port, options)| {
        format!(
            "[backends.{name}]\nservice = \"http\"\n[backends.{name}.options]\n\
             base_url = \"http://127.0.0.1:{port}\"\n{options}\n"
        )
    });
    format!(
        "[pipelines.p]\nnetworks = [\"public\"]\nendpoints = [\"e\"]\nmiddleware = []\n\
         backends = {names:?}\n[endpoints.e]\nservice = \"http\"\n{}",
        tables.collect::<String>()
    )
}

fn edge(backends: &[(&str, u16, &str)]) -> Edge {
    Edge::configured(Settings::bare().and(&pipeline(backends))).start()
}

/// How many of `count` requests each upstream gets.
fn counts(upstreams: &[&Upstream], count: usize, request: impl Fn(usize) -> Request) -> Vec<usize> {
    upstreams.iter().for_each(|upstream| upstream.clear());
    for number in 0..count {
        assert_eq!(request(number).send().status, 200);
    }
    upstreams.iter().map(|upstream| upstream.count()).collect()
}

#[test]
fn the_first_backend_whose_condition_fits_takes_the_request() {
    let [app, canary, beta] = [(); 3].map(|()| Upstream::start());
    let edge = edge(&[
        ("app", app.port(), ""),
        ("canary", canary.port(), "when = { header = \"X-Canary\", value = \"1\" }"),
        ("beta", beta.port(), "when = { cookie = \"beta\", value = \"yes\" }\nweight = 0"),
    ]);
    let all = [&app, &canary, &beta];
    let got = |request: &dyn Fn() -> Request| counts(&all, 6, |_| request());
    assert_eq!(got(&|| edge.get("/")), [6, 0, 0]);
    assert_eq!(got(&|| edge.get("/").header("X-Canary", "1")), [0, 6, 0]);
    assert_eq!(got(&|| edge.get("/").header("x-canary", "1").http2()), [0, 6, 0]);
    assert_eq!(got(&|| edge.get("/").header("X-Canary", "10")), [6, 0, 0]);
    assert_eq!(got(&|| edge.get("/").header("X_Canary", "1")), [6, 0, 0]);
    let cookie = |request: Request| request.header("Cookie", "a=1; beta=yes");
    assert_eq!(got(&|| cookie(edge.get("/"))), [0, 0, 6]);
    assert_eq!(got(&|| cookie(edge.get("/").header("X-Canary", "1"))), [0, 6, 0]);
    assert_eq!(got(&|| edge.post("/", "x").header("X-Canary", "1")), [0, 6, 0]);
    let backends = edge.manage("/admin/backends").send().json();
    let shown =
        |at: usize| (&backends["backends"][at]["when"], &backends["backends"][at]["weight"]);
    assert_eq!(shown(0), (&Value::Null, &Value::Null));
    assert_eq!(shown(1), (&"x-canary: 1".into(), &Value::Null));
    assert_eq!(shown(2), (&"cookie beta=yes".into(), &0.into()));
    let log = edge.log();
    assert!(log.contains("/* (when x-canary: 1), http"), "{log}");
}

#[test]
fn the_others_share_by_weight() {
    let [one, two, drained] = [(); 3].map(|()| Upstream::start());
    let edge = edge(&[
        ("one", one.port(), "weight = 9"),
        ("two", two.port(), "weight = 1"),
        ("drained", drained.port(), "weight = 0"),
    ]);
    assert_eq!(counts(&[&one, &two, &drained], 40, |_| edge.get("/")), [36, 4, 0]);
}

#[test]
fn weights_are_sticky_by_what_the_balance_names() {
    let [one, two] = [(); 2].map(|()| Upstream::start());
    let by = "balance = \"consistent\"\nconsistent_by = { header = \"X-User\" }";
    let edge = edge(&[
        ("one", one.port(), &format!("weight = 3\n{by}")),
        ("two", two.port(), &format!("weight = 1\n{by}")),
    ]);
    let user = |number: usize| edge.get("/").header("X-User", format!("user-{number}"));
    let shares = counts(&[&one, &two], 200, user);
    assert!((120..=180).contains(&shares[0]), "{shares:?}");
    for number in 0..20 {
        let found = counts(&[&one, &two], 5, |_| user(number));
        assert!(found.contains(&5), "{found:?}");
    }
}

#[test]
fn where_no_upstream_is_in_service_the_others_take_its_requests() {
    let app = Upstream::start();
    let dead = Port::claim();
    let edge = edge(&[
        ("app", app.port(), "max_retries = 0"),
        (
            "canary",
            dead.number(),
            "when = { header = \"X-Canary\", value = \"1\" }\nmax_retries = 0\n\
             health_check = { type = \"tcp\", interval_secs = 1, unhealthy_after = 1 }",
        ),
    ]);
    let canary = || edge.get("/").header("X-Canary", "1");
    // Nothing was sent to the dead one, so the other one takes it at once.
    assert_eq!(canary().send().status, 200);
    let unhealthy = || edge.log().contains("unhealthy");
    assert!(becomes_true(Duration::from_secs(10), unhealthy), "{}", edge.log());
    let failures = || edge.log().matches("failed").count();
    let before = failures();
    assert_eq!(counts(&[&app], 6, |_| canary()), [6]);
    assert_eq!(failures(), before, "it is not even tried");
}

#[test]
fn nobody_else_gets_the_requests_of_a_backend_with_a_condition() {
    let canary = Upstream::start();
    let dead = Port::claim();
    let edge = edge(&[
        ("app", dead.number(), "max_retries = 3"),
        ("canary", canary.port(), "when = { header = \"X-Canary\", value = \"1\" }"),
    ]);
    for _ in 0..6 {
        assert_eq!(edge.get("/").send().status, 502);
    }
    assert_eq!(canary.count(), 0);
    assert_eq!(edge.get("/").header("X-Canary", "1").send().status, 200);
}

#[test]
fn explain_says_that_a_condition_fits() {
    let text = Settings::bare().and(&pipeline(&[
        ("app", 3, ""),
        ("canary", 4, "when = { header = \"X-Canary\", value = \"1\" }"),
    ]));
    let text = text.text().replace("{port}", "1").replace("{mport}", "2");
    for (field, expected) in [
        ("X-Canary: 1", "forwarded to canary (127.0.0.1:4), whose `when` fits, which decides"),
        ("X-Canary: 2", "forwarded to app (127.0.0.1:3), which decides"),
    ] {
        let request = ["--request", "GET /x", "--header", field];
        let all = [&["explain", "-c", "harmony.toml"][..], &request[..]].concat();
        let ran = Program::with(&all).file("harmony.toml", &text).run();
        assert!(ran.stdout.contains(expected), "{field}: {}\n{}", ran.stdout, ran.stderr);
    }
}
