//! What a rate limit counts: a request once, when everything else has let it pass.

use super::{BILLING, REPORTS, edge_of, step};
use crate::support::request::Request;
use crate::support::settings::Route;
use crate::support::{Edge, Settings, Upstream};

/// `few` lets three requests pass, but none to `/denied`; `filter` hides `/hidden`.
const TABLES: &str = "[middleware.few]\ntype = \"policies\"\npolicies = [\"few\"]\n\
    [middleware.again]\ntype = \"policies\"\npolicies = [\"few\"]\n\
    [policies.few]\nrules = [\"all\", \"denied\", \"three\"]\n\
    [rules.all]\ntype = \"allow_all\"\n\
    [rules.denied]\ntype = \"path\"\nmode = \"deny\"\npaths = [\"/denied/{*rest}\"]\n\
    [rules.three]\ntype = \"rate_limit\"\nmax_requests = 3\nwindow_seconds = 3600\n\
    [middleware.filter]\ntype = \"path-filter\"\n\
    rules = [{ deny = \"/hidden/{*rest}\" }, \"/{*rest}\"]\n\
    [middleware.flood]\ntype = \"policies\"\npolicies = [\"flood\"]\n\
    [policies.flood]\nrules = [\"all\", \"denied\", \"attempts\"]\n\
    [rules.attempts]\ntype = \"rate_limit\"\nmax_requests = 3\nwindow_seconds = 3600\n\
    count = \"attempts\"\n";

fn key(name: &str, header: &str, key: &str) -> String {
    step(name, "api-key", "", &format!("header = \"{header}\"\nkeys = [{key}]\nmax_failures = 0"))
}

fn tables() -> String {
    let billing = key("key", "X-API-Key", &BILLING.entry(""));
    billing + &key("second", "X-Second-Key", &REPORTS.entry("")) + TABLES
}

fn edge(upstream: &Upstream, steps: &[&str]) -> Edge {
    let route = Route::to("api", upstream).prefix("/api").steps(steps);
    let route = route.endpoint("methods = [\"GET\", \"POST\"]\nmax_body_size = 10");
    Edge::configured(Settings::bare().and(&route.text()).and(&tables())).start()
}

/// Three more requests pass, and no fourth.
#[track_caller]
fn assert_three_left(row: &str, request: &Request) {
    let statuses = [(); 4].map(|()| request.clone().send().status);
    assert_eq!(statuses, [200, 200, 200, 429], "{row}");
    let refused = request.clone().send();
    let wait: u32 = refused.field("retry-after").unwrap().parse().unwrap();
    assert!((3500..=3600).contains(&wait), "{row}: {wait}");
}

#[test]
fn a_request_that_anything_denies_takes_nothing() {
    let upstream = Upstream::start();
    for steps in [
        &["few", "filter"][..],
        &["filter", "few"],
        &["key", "few", "filter"],
        &["few", "key", "filter"],
        &["key", "few", "second"],
        &["key", "filter", "few", "second", "again"],
    ] {
        let edge = edge(&upstream, steps);
        let with_keys = |request: Request| {
            request.header("X-API-Key", BILLING.key()).header("X-Second-Key", REPORTS.key())
        };
        let get = |target: &str| with_keys(edge.get(target));
        let authenticates = steps.contains(&"key");
        let twice = steps.contains(&"second");
        for _ in 0..4 {
            let mut denied = vec![
                (get("/api/denied/x"), 403),
                (with_keys(edge.request("DELETE", "/api/x")), 405),
                (with_keys(edge.post("/api/x", "eleven byte")), 413),
            ];
            if steps.contains(&"filter") {
                denied.push((get("/api/hidden/x"), 404));
            }
            if authenticates {
                denied.push((edge.get("/api/x").header("X-Second-Key", REPORTS.key()), 401));
            }
            if twice {
                let unknown = get("/api/x").header("X-Second-Key", "again");
                denied.push((unknown, 400));
                denied.push((edge.get("/api/x").header("X-API-Key", BILLING.key()), 401));
            }
            for (request, status) in denied {
                let row = format!("{steps:?}: {request:?}");
                let response = request.send();
                assert_eq!(response.status, status, "{row}");
                assert_eq!(response.field("retry-after"), None, "{row}");
            }
        }
        assert_three_left(&format!("{steps:?}"), &get("/api/x"));
        // Who is denied hears of that, and not of the limit.
        assert_eq!(get("/api/denied/x").send().status, 403, "{steps:?}");
        assert_eq!(with_keys(edge.request("DELETE", "/api/x")).send().status, 405, "{steps:?}");
    }
}

#[test]
fn a_policy_that_several_steps_name_counts_a_request_once() {
    let upstream = Upstream::start();
    for steps in [
        &["few", "again"][..],
        &["key", "few", "second", "again"],
        // Before the first authentication and behind it.
        &["few", "key", "again"],
        &["few", "again", "key"],
        &["flood", "flood", "key"],
    ] {
        let edge = edge(&upstream, steps);
        let request = edge
            .get("/api/x")
            .header("X-API-Key", BILLING.key())
            .header("X-Second-Key", REPORTS.key());
        assert_three_left(&format!("{steps:?}"), &request);
    }
}

#[test]
fn before_the_first_authentication_every_attempt_may_count() {
    let upstream = Upstream::start();
    let edge = edge(&upstream, &["flood", "key"]);
    let good = || edge.get("/api/x").header("X-API-Key", BILLING.key());
    assert_eq!(good().send().status, 200);
    assert_eq!(edge.get("/api/x").send().status, 401);
    // What its own step denies is no attempt.
    for _ in 0..3 {
        let denied = edge.get("/api/denied/x").header("X-API-Key", BILLING.key());
        assert_eq!(denied.send().status, 403);
    }
    assert_eq!(
        edge.request("DELETE", "/api/x").header("X-API-Key", BILLING.key()).send().status,
        405
    );
    assert_eq!(good().send().status, 429);
    assert_eq!(edge.get("/api/x").send().status, 429);
}

#[test]
fn a_request_that_one_limit_refuses_takes_nothing_of_another() {
    let upstream = Upstream::start();
    let limit = |name: &str, most: u32| {
        format!(
            "[policies.{name}]\nrules = [\"all\", \"{name}\"]\n\
             [rules.{name}]\ntype = \"rate_limit\"\nmax_requests = {most}\nwindow_seconds = 3600\n"
        )
    };
    // Of one step and of two, whichever is refused first.
    for (narrow_steps, tables) in [
        (
            &["both"][..],
            "[middleware.both]\ntype = \"policies\"\npolicies = [\"wide\", \"narrow\"]\n",
        ),
        (&["both"], "[middleware.both]\ntype = \"policies\"\npolicies = [\"narrow\", \"wide\"]\n"),
        (&["narrow", "wide"], ""),
        (&["wide", "narrow"], ""),
    ] {
        let step = |name: &str| {
            format!("[middleware.{name}]\ntype = \"policies\"\npolicies = [\"{name}\"]\n")
        };
        let tables = ["[rules.all]\ntype = \"allow_all\"\n", tables].concat()
            + &limit("wide", 4)
            + &limit("narrow", 1)
            + &step("wide")
            + &step("narrow");
        let routes = Route::to("narrow", &upstream).prefix("/narrow").steps(narrow_steps).text()
            + &Route::to("wide", &upstream).prefix("/wide").steps(&["wide"]).text();
        let edge = Edge::configured(Settings::bare().and(&routes).and(&tables)).start();
        let status = |target: &str| edge.get(target).send().status;
        let narrow = [(); 6].map(|()| status("/narrow"));
        assert_eq!(narrow, [200, 429, 429, 429, 429, 429], "{narrow_steps:?}");
        let wide = [(); 4].map(|()| status("/wide"));
        assert_eq!(wide, [200, 200, 200, 429], "{narrow_steps:?}");
    }
}

#[test]
fn several_readings_of_a_path_take_one_token() {
    let upstream = Upstream::start();
    let edge = edge_of(&upstream, &["few", "again"], TABLES).start();
    let targets = ["/api/a%2Fb", "/api/a;b%2Fc", "/api/a;b", "/api/a%2Fb"];
    let statuses = targets.map(|target| edge.get(target).send().status);
    assert_eq!(statuses, [200, 200, 200, 429]);
}
