//! Facts in, finding out: a table for each type of rule.

mod ambiguous;

use http::Method;
use serde_json::json;

use super::*;
use crate::policy::testing::{Request, policies};

const ALLOW: Option<Effect> = Some(Effect::Allow);
const DENY: Option<Effect> = Some(Effect::Deny);

/// What the one rule says of each request.
#[track_caller]
fn says<const N: usize>(rule: &str, cases: [(Request, Option<Effect>); N]) {
    let settings = policies(rule);
    let check = &settings.policies[0].rules[0].check;
    for (index, (request, expected)) in cases.iter().enumerate() {
        let found = evaluate(check, &request.facts());
        assert_eq!(found, *expected, "{rule}: case {index}");
    }
}

/// The same for `mode = "allow"` and `mode = "deny"`: whether it matches.
#[track_caller]
fn matches<const N: usize>(options: &str, cases: [(Request, bool); N]) {
    for (mode, effect) in [("allow", ALLOW), ("deny", DENY)] {
        let rule = format!("{{ mode = \"{mode}\", {options} }}");
        let cases = cases.clone();
        says(
            &rule,
            cases.map(|(request, matches)| (request, effect.filter(|_| matches))),
        );
    }
}

fn get() -> Request {
    Request::get("/")
}

#[test]
fn all_or_nothing() {
    says("{ type = \"allow_all\" }", [(get(), ALLOW)]);
    says("{ type = \"deny-all\", options = {} }", [(get(), DENY)]);
    says(
        "{ type = \"rate_limit\", max_requests = 1, window_seconds = 1 }",
        [(get(), None), (get(), None)],
    );
}

#[test]
fn claims() {
    let with = |claims| get().claims(claims);
    matches(
        "type = \"claims\", claims = { role = [\"admin\", \"ops\"] }",
        [
            (get(), false),
            (with(json!({})), false),
            (with(json!({ "role": "admin" })), true),
            (with(json!({ "role": ["dev", "ops"] })), true),
            (with(json!({ "role": ["dev", ["ops"]] })), false),
            (with(json!({ "role": "Admin" })), false),
            (with(json!({ "role": null })), false),
            (with(json!({ "role": { "ops": true } })), false),
        ],
    );
    matches(
        "type = \"claims\", claims = { \"a.b.c\" = 1, d = true }",
        [
            (with(json!({ "a": { "b": { "c": 1 } }, "d": true })), true),
            (
                with(json!({ "a": { "b": { "c": [2, 1.0] } }, "d": [true] })),
                true,
            ),
            (with(json!({ "a.b": { "c": 1 }, "d": true })), true),
            (with(json!({ "a.b.c": 1, "d": true })), true),
            (with(json!({ "a": { "b": { "c": 1 } } })), false),
            (
                with(json!({ "a": { "b": { "c": "1" } }, "d": true })),
                false,
            ),
            (
                with(json!({ "a": [{ "b": { "c": 1 } }], "d": true })),
                false,
            ),
        ],
    );
}

#[test]
fn addresses() {
    let unknown = Request {
        client: None,
        ..get()
    };
    for (kind, effect, of_unknown) in [("ip_allow", ALLOW, None), ("ip_deny", DENY, DENY)] {
        says(
            &format!(
                "{{ type = \"{kind}\", options = {{ ip_addresses = [\"10.0.0.0/8\", \
                 \"127.0.0.1/32\", \"192.0.2.7\", \"fd00::/8\"] }} }}"
            ),
            [
                (get().from("10.255.0.1"), effect),
                (get().from("127.0.0.1"), effect),
                (get().from("127.0.0.2"), None),
                (get().from("192.0.2.7"), effect),
                (get().from("192.0.2.8"), None),
                (get().from("::ffff:10.0.0.1"), effect),
                (get().from("fd12::1"), effect),
                (get().from("2001:db8::1"), None),
                (unknown.clone(), of_unknown),
            ],
        );
    }
}

#[test]
fn paths() {
    matches(
        "type = \"path\", paths = [\"/admin/{*path}\", \"/users/{id}\", \"/health\"]",
        [
            (Request::get("/admin/x"), true),
            (Request::get("/admin/x/y/"), true),
            (Request::get("/administrator"), false),
            (Request::get("/users/7"), true),
            (Request::get("/users/7/"), true),
            (Request::get("/users/7/orders"), false),
            (Request::get("/users"), false),
            (Request::get("/health"), true),
            (Request::get("/health/"), true),
            (Request::get("/"), false),
        ],
    );
    matches(
        "type = \"path\", paths = [\"*\"]",
        [(Request::get("/"), true), (Request::get("/a/b"), true)],
    );
    let below = |path| Request {
        prefix: "/api".to_owned(),
        ..Request::get(path)
    };
    matches(
        "type = \"path\", paths = [\"/users/{id}\", \"/api/keys\"]",
        [
            (below("/api/users/7"), true),
            (below("/api/keys"), true),
            (below("/api"), false),
            (below("/apix/users/7"), false),
        ],
    );
}

#[test]
fn methods() {
    let with = |method: &str| Request {
        method: Method::from_bytes(method.as_bytes()).unwrap(),
        ..get()
    };
    matches(
        "type = \"method\", methods = [\"GET\", \"post\", \"PURGE\"]",
        [
            (with("GET"), true),
            (with("POST"), true),
            (with("PURGE"), true),
            (with("HEAD"), false),
        ],
    );
}

#[test]
fn headers() {
    matches(
        "type = \"header\", headers = [{ name = \"X-Tenant\", match_type = \"exact\", value = \
         \"Acme\" }, { name = \"X-Kind\", match_type = \"contains\", value = \"B\" }]",
        [
            (
                get().header("x-tenant", "aCME").header("x-kind", "abc"),
                true,
            ),
            (get().header("x-tenant", "acme"), false),
            (
                get().header("x-tenant", "acmes").header("x-kind", "b"),
                false,
            ),
            (
                get().header("x-tenant", "acme").header("x-kind", "c"),
                false,
            ),
            (get(), false),
        ],
    );
    matches(
        "type = \"header\", headers = [{ name = \"X-Version\", match_type = \"regex\", value = \
         \"^v[0-9]+$\" }]",
        [
            (get().header("x-version", "v2"), true),
            (get().header("x-version", "V2"), false),
            (get().header("x-version", "v2x"), false),
            (get().header("x-version", "\u{e4}v2"), false),
        ],
    );
    matches(
        "type = \"header\", headers = [{ name = \"X-Flag\", match_type = \"exists\" }]",
        [(get().header("x-flag", ""), true), (get(), false)],
    );
}

#[test]
fn user_agents() {
    matches(
        "type = \"user_agent\", patterns = [{ label = \"bots\", pattern = \"/bot|crawler/i\" }, { \
         pattern = \"/^python-requests/i\" }, \"^curl\"]",
        [
            (get().header("user-agent", "GoogleBot/2"), true),
            (get().header("user-agent", "Python-Requests/3"), true),
            (get().header("user-agent", "x python-requests/3"), false),
            (get().header("user-agent", "curl/8"), true),
            (get().header("user-agent", "Curl/8"), false),
            (get(), false),
        ],
    );
}

#[test]
fn content_types() {
    let with = |value: &str| get().header("content-type", value);
    matches(
        "type = \"content_type\", content_types = [\"application/json\", \"text/*\"]",
        [
            (with("application/json"), true),
            (with("Application/JSON; charset=utf-8"), true),
            (with("application/json5"), false),
            (with("application/problem+json"), false),
            (with("text/csv"), true),
            (with("texts/csv"), false),
            (with("text"), false),
            (with(""), false),
            (with("t\u{e4}xt/x"), false),
            (with("text/plain, application/json"), true),
            (with("image/png"), false),
            (get(), false),
        ],
    );
    for (value, allowed, denied) in [
        ("text/plain; a=b , image/png", None, DENY),
        ("image/png,text/plain", None, DENY),
        ("image/png; a=\", text/plain\"", None, DENY),
        ("text/plain,", ALLOW, DENY),
        (",, text/plain", ALLOW, DENY),
        ("multipart/form-data; boundary=\"a,b\"", None, None),
        ("text/plain; boundary=\"a,b\"", ALLOW, DENY),
        (",", None, None),
    ] {
        for (mode, expected) in [("allow", allowed), ("deny", denied)] {
            says(
                &format!(
                    "{{ type = \"content_type\", mode = \"{mode}\", content_types = [\"text/*\"] }}"
                ),
                [(with(value), expected)],
            );
        }
    }
    matches(
        "type = \"content_type\", content_types = [\"*/*\"]",
        [(with("a/b"), true), (get(), false)],
    );
}

#[test]
fn query_parameters() {
    matches(
        "type = \"query_parameter\", parameters = [{ name = \"version\", match_type = \"exact\", \
         value = \"v2\" }, { name = \"q\", match_type = \"contains\", value = \"a b\" }]",
        [
            (get().query("version=v2&q=xa+bx"), true),
            (get().query("q=a%20b&%76ersion=v%32"), true),
            (get().query("version=V2&q=a+b"), false),
            (get().query("version=v2"), false),
            (get(), false),
        ],
    );
    matches(
        "type = \"query_parameter\", parameters = [{ name = \"id\", match_type = \"regex\", value \
         = \"/^[0-9]+$/\" }]",
        [
            (get().query("id=42"), true),
            (get().query("id=42a"), false),
            (get().query("id"), false),
        ],
    );
    matches(
        "type = \"query_parameter\", parameters = [{ name = \"debug\", match_type = \"exists\" }]",
        [
            (get().query("a=1&debug"), true),
            (get().query("debug="), true),
            (get().query("debugs=1"), false),
        ],
    );
}

#[test]
fn countries_on_the_word_of_a_trusted_proxy() {
    let from = |value: &str, peer_is_trusted| Request {
        peer_is_trusted,
        ..get().header("cf-ipcountry", value)
    };
    matches(
        "type = \"geo\", country_codes = [\"DE\", \"fr\"], header = \"CF-IPCountry\"",
        [
            (from("DE", true), true),
            (from("Fr", true), true),
            (from("US", true), false),
            (from("DE", false), false),
            (get(), false),
        ],
    );
    let both = || Request {
        peer_is_trusted: true,
        ..get()
            .header("x-geo-country", "DE")
            .header("x-geo-country", "US")
    };
    for (mode, expected) in [("allow", None), ("deny", DENY)] {
        let rule = format!("{{ type = \"geo\", mode = \"{mode}\", country_codes = [\"DE\"] }}");
        says(&rule, [(both(), expected)]);
    }
}

/// Whether the one rule allows a request at each of these times.
#[track_caller]
fn allows_at_times<const N: usize>(rule: &str, cases: [(&str, bool); N]) {
    let settings = policies(rule);
    let Check::Time(window) = &settings.policies[0].rules[0].check else {
        panic!("{rule}");
    };
    for (time, expected) in cases {
        let allows = allows_at(window, time.parse().unwrap());
        assert_eq!(allows, expected, "{rule}: {time}");
    }
}

#[test]
fn times() {
    // 2026-01-02 is a Friday; New York is five hours behind.
    allows_at_times(
        "{ type = \"time_based\", timezone = \"America/New_York\", start_time = \"09:00\", \
         end_time = \"17:00\", days_of_week = [\"monday\", \"Friday\"] }",
        [
            ("2026-01-02T13:59:59Z", false),
            ("2026-01-02T14:00:00Z", true),
            ("2026-01-02T21:59:59Z", true),
            ("2026-01-02T22:00:00Z", false),
            ("2026-01-03T15:00:00Z", false),
            ("2026-07-03T13:30:00Z", true), // daylight saving
        ],
    );
    allows_at_times(
        "{ type = \"time_based\", allow_during_window = false, start_time = \"22:00\", end_time = \
         \"06:00\" }",
        [
            ("2026-01-02T21:59:00Z", true),
            ("2026-01-02T22:00:00Z", false),
            ("2026-01-03T05:59:00Z", false),
            ("2026-01-03T06:00:00Z", true),
        ],
    );
    allows_at_times(
        "{ type = \"time_based\", start_date = \"2026-01-02\", end_date = \"2026-01-03\" }",
        [
            ("2026-01-01T23:59:59Z", false),
            ("2026-01-02T00:00:00Z", true),
            ("2026-01-03T23:59:59Z", true),
            ("2026-01-04T00:00:00Z", false),
        ],
    );
    allows_at_times(
        "{ type = \"time_based\", start_time = \"18:00\", end_time = \"24:00\" }",
        [
            ("2026-01-01T23:59:59Z", true),
            ("2026-01-02T00:00:00Z", false),
        ],
    );
}
