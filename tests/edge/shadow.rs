//! Steps and rules in shadow: what they would refuse is logged and counted, and nothing else
//! changes.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::provider::Reply;
use crate::support::settings::Route;
use crate::support::token::AUDIENCE;
use crate::support::{Edge, Issuer, Program, Provider, Settings, Upstream, eventually, secrets};

/// On a busy machine a password takes several seconds.
const SOON: Duration = Duration::from_secs(60);

/// A user of a Basic step whose hash takes about a second.
const SLOW: &str = "$2b$14$n8S8NFpb9wwCa50UMUTBK.K2.8lfkIUeiPIxY2EZK7BLlw6SGO/VC";

fn jwt(name: &str, issuer: &Issuer, lines: &str) -> String {
    format!(
        "[middleware.{name}]\ntype = \"jwt-auth\"\njwks_url = \"{}\"\n\
         issuer = \"https://auth.example.com\"\naudience = \"{AUDIENCE}\"\n{lines}\n",
        issuer.url()
    )
}

fn policies(name: &str, lines: &str) -> String {
    format!("[middleware.{name}]\ntype = \"policies\"\n{lines}\n")
}

/// `/api` with these steps.
fn settings(upstream: &Upstream, steps: &[&str], tables: &str) -> Settings {
    let route = Route::to("api", upstream).prefix("/api").steps(steps);
    Settings::bare().and(&route.text()).and(tables)
}

fn denials(edge: &Edge, step: &str, reason: &str) -> u64 {
    let sample = format!(
        "harmony_shadow_denials_total{{pipeline=\"api\",step=\"{step}\",reason=\"{reason}\"}} "
    );
    let metrics = edge.manage("/metrics").send().text();
    let line = metrics.lines().find_map(|line| line.strip_prefix(&sample));
    line.map_or(0, |count| count.parse().unwrap())
}

/// The access record of the only request to this path.
fn record(edge: &Edge, path: &str) -> String {
    let ends = format!(" path={path} ");
    eventually("the access record", SOON, || {
        let log = edge.log();
        let mut lines = log.lines().filter(|line| line.contains("harmony::access: request"));
        lines.find(|line| line.contains(&ends)).map(str::to_owned)
    })
}

#[test]
fn a_stricter_step_beside_the_one_in_force_changes_no_answer() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let base = jwt("jwt", &issuer, "");
    let strict = jwt(
        "strict",
        &issuer,
        "enforce = false\nrequired_scopes = [\"write\"]\nclaims_to_headers = { team = \"X-Team\" }",
    );
    let without = Edge::configured(settings(&upstream, &["jwt"], &base)).start();
    let tried: Vec<Edge> = [["jwt", "strict"], ["strict", "jwt"]]
        .iter()
        .map(|steps| {
            Edge::configured(settings(&upstream, steps, &format!("{base}{strict}"))).start()
        })
        .collect();
    let good = issuer.token().claim("scope", "read write").claim("team", "blue");
    let tokens = [
        Some(good.sign()),
        Some(issuer.token().claim("scope", "read").sign()),
        Some(issuer.token().sign()),
        Some(issuer.token().expired().sign()),
        Some("made-up".to_owned()),
        None,
    ];
    for edge in &tried {
        for (index, token) in tokens.iter().enumerate() {
            let send = |edge: &Edge| {
                upstream.clear();
                let request = edge.get(&format!("/api/{index}")).header("X-Team", "mine");
                let request = match token {
                    Some(token) => request.header("Authorization", format!("Bearer {token}")),
                    None => request,
                };
                let answer = request.send();
                let seen: Vec<_> = upstream
                    .requests()
                    .into_iter()
                    .map(|it| {
                        let mut fields: Vec<_> = it
                            .head
                            .fields
                            .into_iter()
                            .filter(|(name, _)| {
                                !name.eq_ignore_ascii_case("x-request-id")
                                    && !name.eq_ignore_ascii_case("traceparent")
                                    && !name.eq_ignore_ascii_case("host")
                            })
                            .collect();
                        fields.sort();
                        fields
                    })
                    .collect();
                (answer.without_date_and_id(), seen)
            };
            let changed = |text: String, of: &Edge| text.replace(&of.port().to_string(), "PORT");
            let (before, seen_before) = send(&without);
            let (after, seen_after) = send(edge);
            assert_eq!(changed(before, &without), changed(after, edge), "{index}");
            assert_eq!(
                format!("{seen_before:?}").replace(&without.port().to_string(), "PORT"),
                format!("{seen_after:?}").replace(&edge.port().to_string(), "PORT"),
                "{index}"
            );
        }
        // Two tokens lack the scope. What the step in force refuses counts where it is tried first.
        assert_eq!(denials(edge, "strict", "scope_missing"), 2);
        assert!(record(edge, "/api/0").contains(" shadow=- "), "{}", record(edge, "/api/0"));
        assert!(record(edge, "/api/1").contains(" shadow=strict:scope_missing "));
    }
    assert_eq!(denials(&tried[0], "strict", "missing"), 0);
    assert_eq!(denials(&tried[1], "strict", "missing"), 1);
    assert_eq!(denials(&tried[1], "strict", "expired"), 1);

    let status: Value =
        serde_json::from_str(&tried[0].manage("/admin/status").send().text()).unwrap();
    let pipeline = &status["pipelines"][0];
    assert_eq!(pipeline["steps"][1]["enforce"], false, "{pipeline}");
    assert_eq!(pipeline["steps"][0]["enforce"], true, "{pipeline}");
    assert_eq!(pipeline["shadow_denials"]["strict"]["scope_missing"], 2, "{pipeline}");
}

#[test]
fn explain_tells_both() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let text = settings(
        &upstream,
        &["jwt", "strict", "acl"],
        &[
            jwt("jwt", &issuer, ""),
            jwt("strict", &issuer, "enforce = false\nrequired_scopes = [\"write\"]"),
            policies(
                "acl",
                "rules = [{ type = \"allow_all\" }, { id = \"team\", type = \"claims\", \
                 mode = \"deny\", claims = { \"org.team\" = \"blue\" }, enforce = false }]",
            ),
        ]
        .concat(),
    )
    .text()
    .replace("{port}", "18080")
    .replace("{mport}", "18081");
    let token = issuer.token().claim("org", serde_json::json!({ "team": ["blue"] })).sign();
    let field = format!("Authorization: Bearer {token}");
    let arguments =
        ["explain", "-c", "harmony.toml", "--request", "GET /api/x", "--header", &field];
    let told = Program::with(&arguments).file("harmony.toml", &text).run().stdout;
    for line in [
        "step      jwt: authenticated as alice",
        "step      strict: in shadow, would refuse: rejected: scope_missing",
        "step      acl: rule \"rules[0]\" allows",
        "step      acl, rules in shadow: in shadow, would refuse: rule \"team\" denies",
        "org.team is [\"blue\"]",
        "forwarded to api",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
}

#[test]
fn a_group_is_as_if_steps_in_shadow_were_not_there() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let tables = [
        jwt("jwt", &issuer, "optional = true"),
        jwt("tried", &issuer, "enforce = false\nrequired_scopes = [\"write\"]"),
        policies("acl", "enforce = false\nrules = [{ type = \"deny_all\" }]"),
        "[middleware.key]\ntype = \"api-key\"\nkeys = [{ id = \"billing\", hash = \
         \"sha256:0ebdb30199e3bbb6301173e87cc4e5448e6249d7dc3a9043b41718255002f943\" }]\n"
            .to_owned(),
    ];
    let steps = ["jwt", "tried", "acl", "key"];
    let edge = Edge::configured(settings(&upstream, &steps, &tables.concat())).start();
    secrets::remember("hk_goodkeygoodkeygoodkeygood0001");
    let key = edge.get("/api/key").header("X-API-Key", "hk_goodkeygoodkeygoodkeygood0001");
    assert_eq!(key.send().status, 200);
    assert!(record(&edge, "/api/key").contains(" shadow=tried:missing,acl:policy_denied "));
    let token = format!("Bearer {}", issuer.token().sign());
    assert_eq!(edge.get("/api/token").header("Authorization", token).send().status, 200);
    // In the order in which they ended.
    let record = record(&edge, "/api/token");
    assert!(record.contains("tried:scope_missing") && record.contains("acl:policy_denied"));
    let none = edge.get("/api/none").send();
    assert_eq!(none.status, 401);
    assert_eq!(none.fields("www-authenticate").len(), 2);
}

#[test]
fn a_pipeline_whose_authentication_is_in_shadow_is_open() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let tables = jwt("jwt", &issuer, "enforce = false\ntoken_header = \"X-Token\"");
    let settings = settings(&upstream, &["jwt"], &tables);
    let text = settings.text().replace("{port}", "18080").replace("{mport}", "18081");
    let arguments = ["-c", "harmony.toml", "--check"];
    let checked = Program::with(&arguments).file("harmony.toml", &text).run();
    let said = checked.stdout + &checked.stderr;
    assert!(said.contains("pipeline \"api\" is open"), "{said}");
    let edge = Edge::configured(settings).start();
    // Where a step in shadow looks for its credential is the application's.
    let answer = edge.get("/api/x").header("X-Token", "theirs").send();
    assert_eq!(answer.status, 200);
    let received = upstream.only();
    assert_eq!(received.head.field("x-token"), Some("theirs"));
    assert_eq!(received.head.field("x-auth-subject"), None);
}

#[test]
fn nobody_waits_and_nobody_is_locked_out() {
    let upstream = Upstream::start();
    let provider = Provider::start();
    provider.answer(
        "/introspect",
        Reply::After(
            Duration::from_millis(1500),
            Box::new(Reply::Json(serde_json::json!({ "active": false }))),
        ),
    );
    let tables = format!(
        "[middleware.basic]\ntype = \"basic-auth\"\nenforce = false\nmax_failures = 1\n\
         username = \"alice\"\npassword_hash = \"{SLOW}\"\n\
         [middleware.ask]\ntype = \"introspection\"\nenforce = false\ntoken_header = \"X-Token\"\n\
         introspection_url = \"{}/introspect\"\nclient_id = \"edge\"\n\
         client_secret = \"a secret of some length\"\nissuer = \"i\"\naudience = \"a\"\n",
        provider.url()
    );
    let edge = Edge::configured(settings(&upstream, &["basic", "ask"], &tables)).start();
    edge.get("/api/warm").send();
    for index in 0..4 {
        let start = Instant::now();
        let request = edge
            .get(&format!("/api/{index}"))
            .header("Authorization", "Basic YWxpY2U6d3Jvbmdwd3Jvbmdwd3Jvbmc=")
            .header("X-Token", "an-opaque-token");
        assert_eq!(request.send().status, 200);
        assert!(start.elapsed() < Duration::from_millis(700), "{index}: {:?}", start.elapsed());
    }
    // The records come once the steps have ended.
    let first = record(&edge, "/api/0");
    assert!(first.contains(" shadow=basic:"), "{first}");
    assert!(first.contains(",ask:inactive ") || first.contains("ask:inactive,"), "{first}");
    eventually("what the steps would have refused", SOON, || {
        let passwords = denials(&edge, "basic", "wrong_password")
            + denials(&edge, "basic", "too_many_failures");
        (passwords == 4 && denials(&edge, "ask", "inactive") == 4).then_some(())
    });
}

#[test]
fn a_place_in_shadow_ends_with_its_request_whatever_is_still_tried() {
    let upstream = Upstream::start();
    let tables = format!(
        "[middleware.basic]\ntype = \"basic-auth\"\nenforce = false\n\
         username = \"alice\"\npassword_hash = \"{SLOW}\"\n"
    ) + &policies(
        "acl",
        "enforce = false\nrules = [{ type = \"allow_all\" }, \
         { type = \"concurrency_limit\", max_in_flight = 1 }]",
    );
    let edge = Edge::configured(settings(&upstream, &["basic", "acl"], &tables)).start();
    for index in 0..3 {
        let request = edge
            .get(&format!("/api/{index}"))
            .header("Authorization", "Basic YWxpY2U6d3Jvbmdwd3Jvbmdwd3Jvbmc=");
        assert_eq!(request.send().status, 200);
        // Less than the password takes.
        thread::sleep(Duration::from_millis(100));
    }
    eventually("the passwords", SOON, || {
        (denials(&edge, "basic", "wrong_password") == 3).then_some(())
    });
    assert_eq!(denials(&edge, "acl", "concurrency_limited"), 0);
}

#[test]
fn rules_in_shadow_change_nothing() {
    let upstream = Upstream::start();
    let rules = "rules = [{ type = \"allow_all\" }, \
                 { type = \"method\", mode = \"deny\", methods = [\"DELETE\"], enforce = false }, \
                 { type = \"rate_limit\", max_requests = 2, window_seconds = 600, \
                   enforce = false }]";
    let filter = "[middleware.filter]\ntype = \"path-filter\"\nenforce = false\nrules = [\"/a\"]\n";
    let tables = policies("acl", rules) + filter;
    let edge = Edge::configured(settings(&upstream, &["acl", "filter"], &tables)).start();
    assert_eq!(edge.get("/api/a").send().status, 200);
    assert_eq!(edge.get("/api/b").send().status, 200);
    assert_eq!(edge.request("DELETE", "/api/c").send().status, 200);
    assert!(record(&edge, "/api/a").contains(" shadow=- "));
    assert!(record(&edge, "/api/b").contains(" shadow=filter:path_filtered "));
    let last = record(&edge, "/api/c");
    assert!(last.contains("acl:policy_denied,filter:path_filtered,acl:rate_limited"), "{last}");
    assert_eq!(denials(&edge, "acl", "rate_limited"), 1);
    assert_eq!(denials(&edge, "filter", "path_filtered"), 2);
    thread::yield_now();
}

#[test]
fn rules_in_shadow_of_a_step_in_shadow_are_tried() {
    let upstream = Upstream::start();
    let rules = "enforce = false\nrules = [{ type = \"allow_all\" }, \
                 { type = \"deny_all\", enforce = false }, \
                 { type = \"rate_limit\", max_requests = 1, window_seconds = 600, \
                   enforce = false }]";
    let edge = Edge::configured(settings(&upstream, &["acl"], &policies("acl", rules))).start();
    assert_eq!(edge.get("/api/a").send().status, 200);
    assert_eq!(edge.get("/api/b").send().status, 200);
    assert!(record(&edge, "/api/a").contains(" shadow=acl:policy_denied "));
    assert!(record(&edge, "/api/b").contains(" shadow=acl:policy_denied,acl:rate_limited "));
}

#[test]
fn an_expression_that_denies_says_of_which_request() {
    let upstream = Upstream::start();
    let rules = "rules = [{ type = \"cel\", mode = \"allow\", expression = \
                 \"request.headers['x-a'] == '1'\" }]";
    let settings = settings(&upstream, &["acl"], &policies("acl", rules));
    let edge = Edge::configured(settings).start();
    let refused = edge.get("/api/a").send();
    assert_eq!(refused.status, 403);
    let id = refused.field("x-request-id").unwrap().to_owned();
    let said = format!(
        "request {id}: an expression cannot be evaluated, so it denies: a value that it refers to \
         is missing"
    );
    eventually("the line about it", SOON, || edge.log().contains(&said).then_some(()));
}
