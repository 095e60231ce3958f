//! Rules on claims, and rules that are expressions.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{edge_of, step};
use crate::support::{Edge, Issuer, Program, Settings, Upstream};

/// `/api` behind a `jwt-auth` step and these rules.
fn edge(issuer: &Issuer, upstream: &Upstream, rules: &str) -> Edge {
    let jwt = step("jwt", "jwt-auth", "", &source(issuer));
    let acl = format!("[middleware.acl]\ntype = \"policies\"\nrules = [{rules}]\n");
    edge_of(upstream, &["jwt", "acl"], &(jwt + &acl)).start()
}

fn source(issuer: &Issuer) -> String {
    format!(
        "jwks_url = \"{}\"\nissuer = \"https://auth.example.com\"\naudience = \"harmony-api\"",
        issuer.url()
    )
}

fn cel(mode: &str, expression: &str) -> String {
    format!("{{ type = \"cel\", mode = \"{mode}\", expression = \"{expression}\" }}")
}

#[test]
fn claims_decide_from_the_first_request_and_from_the_cache() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let rule = "{ type = \"claims\", mode = \"allow\", claims = { \"realm_access.roles\" = \
                [\"ops\"] } }";
    let edge = edge(&issuer, &upstream, rule);
    for (claims, status) in [
        (json!({ "roles": ["dev", "ops"] }), 200),
        (json!({ "roles": ["dev"] }), 403),
        (json!({}), 403),
        (json!("ops"), 403),
    ] {
        let token = issuer.token().claim("realm_access", claims.clone()).sign();
        for _ in 0..2 {
            let bearer = format!("Bearer {token}");
            let answer = edge.get("/api/x").header("Authorization", bearer).send();
            assert_eq!(answer.status, status, "{claims}");
        }
    }
}

#[test]
fn an_expression_that_is_not_true_does_not_allow_and_one_that_fails_denies() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let rule = cel("allow", "claims.plan == 'gold' && request.method == 'GET'");
    let allow = edge(&issuer, &upstream, &rule);
    let deny = edge(
        &issuer,
        &upstream,
        &format!("{{ type = \"allow_all\" }}, {}", cel("deny", "claims.plan == 'banned'")),
    );
    let status = |edge: &Edge, method: &str, plan: serde_json::Value| {
        let token = issuer.token();
        let token = if plan.is_null() { token } else { token.claim("plan", plan) };
        let bearer = format!("Bearer {}", token.sign());
        edge.request(method, "/api/x").header("Authorization", bearer).send().status
    };
    for (method, plan, of_allow, of_deny) in [
        ("GET", json!("gold"), 200, 200),
        ("POST", json!("gold"), 403, 200),
        ("GET", json!("banned"), 403, 403),
        ("GET", json!(["gold"]), 403, 200),
        ("GET", json!({ "gold": 1 }), 403, 200),
        ("GET", json!(null), 403, 403),
    ] {
        assert_eq!(status(&allow, method, plan.clone()), of_allow, "{method} {plan}");
        assert_eq!(status(&deny, method, plan.clone()), of_deny, "{method} {plan}");
    }
}

#[test]
fn an_expression_sees_the_request_and_who_it_is_from() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let rule = cel(
        "allow",
        "identity.method == 'jwt' && identity.subject == 'alice' && 'read' in identity.scopes && \
         request.host == 'edge.example' && request.path.startsWith('/api/') && \
         request.client_address == '127.0.0.1' && request.headers['x-tier'] == 'a, b' && \
         !has(certificate.subject)",
    );
    let edge = edge(&issuer, &upstream, &rule);
    let bearer = format!("Bearer {}", issuer.token().claim("scope", "write read").sign());
    let request = |tiers: &[&str]| {
        let request = edge.get("/api/x").host("EDGE.example.:80").header("Authorization", &bearer);
        tiers.iter().fold(request, |request, tier| request.header("X-Tier", *tier)).send().status
    };
    assert_eq!(request(&["a", "b"]), 200);
    assert_eq!(request(&["a"]), 403);
    assert_eq!(request(&[]), 403);
}

/// A token of 8 KiB is no more than a token: neither its verdict nor the one of the next request
/// takes long.
#[test]
fn an_expression_never_runs_long() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = edge(&issuer, &upstream, &cel("allow", "claims.a.exists(x, x in claims.b)"));
    let many: Vec<u32> = (0..1000).map(|number| number % 10).collect();
    let token = issuer.token().claim("a", json!(many)).claim("b", json!(vec![11; 700])).sign();
    let start = Instant::now();
    let answer = edge.get("/api/x").header("Authorization", format!("Bearer {token}")).send();
    assert_eq!(answer.status, 403);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    let few = issuer.token().claim("a", json!([1, 2])).claim("b", json!([2])).sign();
    let answer = edge.get("/api/x").header("Authorization", format!("Bearer {few}")).send();
    assert_eq!(answer.status, 200);
}

#[test]
fn a_mistake_is_named_with_its_column() {
    let check = |middleware: &str, expression: &str| {
        let text = Settings::bare()
            .and(&format!(
                "[pipelines.api]\nnetworks = [\"public\"]\nendpoints = [\"api\"]\n\
                 middleware = {middleware}\n[endpoints.api]\nservice = \"echo\"\n\
                 [middleware.jwt]\ntype = \"jwt-auth\"\njwks_url = \"https://a.example/jwks\"\n\
                 issuer = \"i\"\naudience = \"a\"\n\
                 [middleware.acl]\ntype = \"policies\"\nrules = [{}]\n",
                cel("allow", expression)
            ))
            .text()
            .replace("{port}", "18080")
            .replace("{mport}", "18081");
        let arguments = ["-c", "harmony.toml", "--check"];
        let ran = Program::with(&arguments).file("harmony.toml", &text).run();
        (ran.status, ran.stdout + &ran.stderr)
    };
    let (both, last) = ("[\"jwt\", \"acl\"]", "[\"acl\", \"jwt\"]");
    assert_eq!(check(both, "claims.plan == 'gold'").0, Some(0));
    for (middleware, expression, want) in [
        (both, "claims.plan = = 'gold'", "column 13"),
        (both, "claims.plan.matches('x')", "column 13: there is no function \\\"matches\\\""),
        (both, &"(".repeat(1000), "is nested too deep"),
        (both, &"1+".repeat(500), "column"),
        (both, &format!("{}1 == 1", "1+".repeat(500)), "is nested too deep"),
        (last, "claims.plan == 'gold'", "no step before it authenticates anybody"),
    ] {
        let (status, said) = check(middleware, expression);
        let want = want.replace("\\\"", "\"");
        assert_eq!(status, Some(1), "{expression}: {said}");
        assert!(said.contains(&want), "{expression}: {said}");
        assert!(
            middleware == last || said.contains("middleware.acl.rules[0].expression: "),
            "{said}"
        );
    }
}
