//! What the place of a step before or after authentication means.

use super::policies::{TRUSTED, access, ip, paths};
use super::{API_KEY, BILLING, REPORTS, edge_of, secret, step};
use crate::support::Upstream;

fn key() -> String {
    step("key", "api-key", "", &format!("keys = [{}, {}]", BILLING.entry(""), REPORTS.entry("")))
}

#[test]
fn steps_decide_in_their_order() {
    let upstream = Upstream::start();
    let deny = access(&["{ type = \"allow_all\" }", &ip("ip_deny", &["10.0.0.0/8"])]);
    let tables = key() + &deny + &paths();
    let (good, bad) = (Some(BILLING.key()), Some(secret("hk_nobodyknowsthiskeynobodyknows")));
    // Whoever is denied by more than one step hears of the first.
    for (steps, rows) in [
        (
            ["access", "paths", "key"],
            [(None, [403, 404, 401]), (bad, [403, 404, 401]), (good, [403, 404, 200])],
        ),
        (
            ["key", "access", "paths"],
            [(None, [401, 401, 401]), (bad, [401, 401, 401]), (good, [403, 404, 200])],
        ),
        (
            ["paths", "key", "access"],
            [(None, [401, 404, 401]), (bad, [401, 404, 401]), (good, [403, 404, 200])],
        ),
    ] {
        let edge = edge_of(&upstream, &steps, &tables).proxy(TRUSTED).start();
        for http2 in [false, true] {
            for (credential, expected) in rows {
                let responses = [
                    ("10.1.1.1", "/api/status"),
                    ("192.0.2.1", "/api/x"),
                    ("192.0.2.1", "/api/status"),
                ]
                .map(|(client, target)| {
                    let request = edge.get(target).header("X-Forwarded-For", client);
                    let request = credential.map_or(request.clone(), |credential| {
                        request.header("X-API-Key", credential)
                    });
                    if http2 { request.http2() } else { request }.send()
                });
                let row =
                    format!("{steps:?}, {}, HTTP/2: {http2}", credential.unwrap_or("nothing"));
                assert_eq!(
                    responses.each_ref().map(|response| response.status),
                    expected,
                    "{row}: a denied client, a filtered path, neither"
                );
                for response in &responses {
                    let challenges: &[&str] = if response.status == 401 { &[API_KEY] } else { &[] };
                    assert_eq!(response.fields("www-authenticate"), challenges, "{row}");
                }
            }
        }
    }
    assert_eq!(upstream.count(), 6, "only who passes every step");
}

#[test]
fn a_rate_limit_behind_authentication_counts_only_who_got_there() {
    let upstream = Upstream::start();
    let limit = "type = \"rate_limit\", max_requests = 2, window_seconds = 3600";
    for (steps, count, unauthenticated, authenticated) in [
        (["key", "access"], "", [401, 401, 401], [200, 200, 429]),
        (["access", "key"], "", [401, 401, 401], [200, 200, 429]),
        (["access", "key"], ", count = \"attempts\"", [401, 401, 429], [429, 429, 429]),
    ] {
        let rules = ["{ type = \"allow_all\" }", &format!("{{ {limit}{count} }}")];
        let tables = key() + &access(&rules);
        let edge = edge_of(&upstream, &steps, &tables).start();
        let status = |key: &str| edge.get("/api/x").header("X-API-Key", key).send().status;
        let (unknown, good) = (secret("hk_nobodyknowsthiskeynobodyknows"), BILLING.key());
        assert_eq!([(); 3].map(|()| status(unknown)), unauthenticated, "{steps:?}: unknown keys");
        assert_eq!([(); 3].map(|()| status(good)), authenticated, "{steps:?}: good keys");
    }
}

#[test]
fn a_group_that_policies_would_split_is_an_error() {
    let upstream = Upstream::start();
    let optional = key()
        .replace("type = \"api-key\"", "type = \"api-key\"\noptional = true")
        .replace("middleware.key", "middleware.maybe");
    let tables = optional + &key() + &access(&["{ type = \"allow_all\" }"]);
    let edge = edge_of(&upstream, &["maybe", "key", "access"], &tables).start();
    edge.rewrite(|text| {
        text.replace("[\"maybe\", \"key\", \"access\"]", "[\"maybe\", \"access\", \"key\"]")
    });
    let answer = edge.steer("POST", "/admin/reload").send();
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert_eq!(edge.get("/api/x").send().status, 401, "what served before goes on serving");
}
