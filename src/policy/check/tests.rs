//! Facts in, finding out: a table for each type of rule.

use http::Method;

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
        let found = finding(check, &request.facts());
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
fn a_denied_tree_has_no_gap() {
    for (mode, root) in [("allow", None), ("deny", DENY)] {
        says(
            &format!("{{ type = \"path\", mode = \"{mode}\", paths = [\"/admin/{{*path}}\"] }}"),
            [
                (Request::get("/admin"), root),
                (Request::get("/admin/"), root),
                (Request::get("/admin;v=1/users"), root),
                (Request::get("/;x/admin%3Bv=1/;/users"), root),
                (Request::get("/admin;v=1"), root),
                (Request::get("/admins;v=1/users"), None),
                (Request::get("/admi"), None),
                (Request::get("/"), None),
            ],
        );
    }
    says(
        "{ type = \"path\", mode = \"deny\", paths = [\"/{*rest}\"] }",
        [(Request::get("/"), DENY), (Request::get("/x"), DENY)],
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
fn a_path_is_denied_in_every_case_and_allowed_in_its_own() {
    let exact = |path| Request {
        case_sensitive_paths: true,
        ..Request::get(path)
    };
    let paths = "paths = [\"/admin/{*path}\", \"/Users/{Id}\", \"/health\", \"/%C3%A4\"]";
    for (path, as_written) in [
        ("/health", true),
        ("/Health", false),
        ("/HEALTH/", false),
        ("/admin/X", true),
        ("/Admin/x", false),
        ("/ADMIN/x;y/z", false),
        ("/Users/7", true),
        ("/users/7", false),
        ("/USERS/A", false),
        ("/%C3%A4", true),
    ] {
        let allowed = Some(Effect::Allow).filter(|_| as_written);
        says(
            &format!("{{ type = \"path\", mode = \"allow\", {paths} }}"),
            [(Request::get(path), allowed)],
        );
        says(
            &format!("{{ type = \"path\", mode = \"deny\", {paths} }}"),
            [
                (Request::get(path), DENY),
                (exact(path), DENY.filter(|_| as_written)),
            ],
        );
    }
    says(
        &format!("{{ type = \"path\", mode = \"deny\", {paths} }}"),
        [
            (Request::get("/ADMIN"), DENY),
            (Request::get("/Admin;x"), DENY),
            (exact("/ADMIN"), None),
            (Request::get("/USERS"), None),
            (Request::get("/Healthy"), None),
        ],
    );
}

#[test]
fn a_method_is_denied_in_every_case_and_allowed_in_its_own() {
    let with = |method: &str| Request {
        method: Method::from_bytes(method.as_bytes()).unwrap(),
        ..get()
    };
    says(
        "{ type = \"method\", mode = \"deny\", methods = [\"DELETE\", \"Purge\"] }",
        [
            (with("DELETE"), DENY),
            (with("delete"), DENY),
            (with("Delete"), DENY),
            (with("purge"), DENY),
            (with("DELETES"), None),
            (with("get"), None),
        ],
    );
    says(
        "{ type = \"method\", mode = \"allow\", methods = [\"GET\"] }",
        [(with("GET"), ALLOW), (with("get"), None)],
    );
}

#[test]
fn names_that_some_servers_take_for_the_one_that_is_meant() {
    let exact = || get().header("x-tenant", "acme");
    for (mode, alone, beside) in [("allow", None, None), ("deny", DENY, DENY)] {
        let rule = format!(
            "{{ type = \"header\", mode = \"{mode}\", headers = [{{ name = \"X-Tenant\", \
             match_type = \"exact\", value = \"acme\" }}] }}"
        );
        let both = if mode == "allow" { ALLOW } else { DENY };
        says(
            &rule,
            [
                (get().header("x_tenant", "acme"), alone),
                (get().header("x!tenant", "acme"), alone),
                (exact().header("x_tenant", "evil"), beside),
                (exact().header("x.tenant", "ACME"), both),
                (exact().header("x-tenants", "evil"), both),
                (exact().header("xatenant", "evil"), both),
                (get().header("xatenant", "acme"), None),
            ],
        );
        let rule = format!(
            "{{ type = \"query_parameter\", mode = \"{mode}\", parameters = [{{ name = \"v\", \
             match_type = \"exact\", value = \"1\" }}] }}"
        );
        says(
            &rule,
            [
                (get().query("V=1"), alone),
                (get().query("v=1&%56=2"), beside),
                (get().query("v=1&V=1"), both),
                (get().query("v=1&w=2"), both),
            ],
        );
        let rule =
            format!("{{ type = \"user_agent\", mode = \"{mode}\", patterns = [\"^good\"] }}");
        let agent = || get().header("user-agent", "good");
        says(
            &rule,
            [
                (get().header("user_agent", "good"), alone),
                (agent().header("user_agent", "evil"), beside),
                (agent(), both),
            ],
        );
    }
}

#[test]
fn what_comes_twice_allows_less_and_denies_more() {
    let twice = || get().header("x-tenant", "acme").header("x-tenant", "evil");
    for (mode, expected) in [("allow", None), ("deny", DENY)] {
        says(
            &format!(
                "{{ type = \"header\", mode = \"{mode}\", headers = [{{ name = \"x-tenant\", \
                 match_type = \"exact\", value = \"acme\" }}] }}"
            ),
            [(twice(), expected)],
        );
        says(
            &format!(
                "{{ type = \"query_parameter\", mode = \"{mode}\", parameters = [{{ name = \"v\", \
                 match_type = \"exact\", value = \"1\" }}] }}"
            ),
            [
                (get().query("v=1&v=2"), expected),
                (get().query("v=2&v=1"), expected),
            ],
        );
    }
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

#[test]
fn times() {
    let at = |time: &str| Request {
        time: time.parse().unwrap(),
        ..get()
    };
    // 2026-01-02 is a Friday; New York is five hours behind.
    says(
        "{ type = \"time_based\", timezone = \"America/New_York\", start_time = \"09:00\", \
         end_time = \"17:00\", days_of_week = [\"monday\", \"Friday\"] }",
        [
            (at("2026-01-02T13:59:59Z"), DENY),
            (at("2026-01-02T14:00:00Z"), ALLOW),
            (at("2026-01-02T21:59:59Z"), ALLOW),
            (at("2026-01-02T22:00:00Z"), DENY),
            (at("2026-01-03T15:00:00Z"), DENY),
            (at("2026-07-03T13:30:00Z"), ALLOW), // daylight saving
        ],
    );
    says(
        "{ type = \"time_based\", allow_during_window = false, start_time = \"22:00\", end_time = \
         \"06:00\" }",
        [
            (at("2026-01-02T21:59:00Z"), ALLOW),
            (at("2026-01-02T22:00:00Z"), DENY),
            (at("2026-01-03T05:59:00Z"), DENY),
            (at("2026-01-03T06:00:00Z"), ALLOW),
        ],
    );
    says(
        "{ type = \"time_based\", start_date = \"2026-01-02\", end_date = \"2026-01-03\" }",
        [
            (at("2026-01-01T23:59:59Z"), DENY),
            (at("2026-01-02T00:00:00Z"), ALLOW),
            (at("2026-01-03T23:59:59Z"), ALLOW),
            (at("2026-01-04T00:00:00Z"), DENY),
        ],
    );
    says(
        "{ type = \"time_based\", start_time = \"18:00\", end_time = \"24:00\" }",
        [
            (at("2026-01-01T23:59:59Z"), ALLOW),
            (at("2026-01-02T00:00:00Z"), DENY),
        ],
    );
}
