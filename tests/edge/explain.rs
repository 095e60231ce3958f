//! `harmony-edge explain`: the same decision as the running edge, told to the operator.

use crate::configuration::with;
use crate::support::token::{Token, now};
use crate::support::{Issuer, Program};

fn explain(issuer: &Issuer, arguments: &[&str]) -> String {
    explain_with(issuer, arguments, "")
}

fn explain_with(issuer: &Issuer, arguments: &[&str], stdin: &str) -> String {
    let step = "  audience = \"harmony-api\",\n";
    let more = "  required_claims = { team = \"blue\" },\n  required_scopes = [\"read\"],\n";
    let text = with(step, &format!("{step}{more}"));
    let text = text.replace("http://127.0.0.1:1/jwks.json", &issuer.url());
    let mut all = vec!["explain", "-c", "harmony.toml"];
    all.extend_from_slice(arguments);
    let ran = Program::with(&all).file("harmony.toml", &text).stdin(stdin).run();
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    ran.stdout
}

fn good(issuer: &Issuer) -> Token {
    issuer.token().claim("team", "blue").claim("scope", "write read")
}

#[test]
fn it_tells_route_steps_and_what_the_upstream_gets() {
    let issuer = Issuer::start();
    let token = good(&issuer).sign();
    let field = format!("Authorization: Bearer {token}");
    let told = explain(
        &issuer,
        &[
            "--request",
            "GET /api/x?secret=1",
            "--header",
            &field,
            "--header",
            "X-Auth-Subject: root",
            "--from",
            "192.0.2.7",
        ],
    );
    for line in [
        "pipeline api, endpoint api at /api",
        "jwt: authenticated as alice",
        "forwarded to app",
        "x-auth-subject: alice",
        "x-forwarded-for: 192.0.2.7",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    assert!(
        !told.contains(&token) && !told.contains("secret=1") && !told.contains("root"),
        "{told}"
    );
}

#[test]
fn it_tells_why_not_and_what_the_client_gets() {
    let issuer = Issuer::start();
    let expired = format!("Authorization: Bearer {}", issuer.token().expired().sign());
    for (arguments, lines) in [
        (
            &["--request", "GET /api/x"] as &[&str],
            [
                "jwt: nothing presented",
                "answered  by the edge itself: missing",
                "HTTP/1.1 401 Unauthorized",
            ],
        ),
        (
            &["--request", "GET /api/x", "--header", &expired],
            ["jwt: rejected: expired", "error=\"invalid_token\"", "HTTP/1.1 401 Unauthorized"],
        ),
        (&["--request", "GET /nowhere"], ["route     none", "no_route", "HTTP/1.1 404 Not Found"]),
        (&["--request", "GET /api/%2f"], ["route     none", "path", "HTTP/1.1 400 Bad Request"]),
    ] {
        let told = explain(&issuer, arguments);
        for line in lines {
            assert!(told.contains(line), "{line}: {told}");
        }
    }
}

#[test]
fn a_request_that_is_none_is_an_error() {
    let text = with("http://127.0.0.1:1/jwks.json", "http://127.0.0.1:1/jwks.json");
    for arguments in [["--request", "GET"], ["--network", "nonsense"]] {
        let mut all = vec!["explain", "-c", "harmony.toml", "--request", "GET /"];
        if arguments[0] == "--request" {
            all.truncate(3);
        }
        all.extend_from_slice(&arguments);
        let ran = Program::with(&all).file("harmony.toml", &text).run();
        assert_eq!(ran.status, Some(1), "{arguments:?}: {}", ran.stderr);
    }
}

#[test]
fn it_names_the_value_and_the_claim_that_do_not_fit() {
    let issuer = Issuer::start();
    let past = now() - 3600;
    let ahead = now() + 3600;
    for (token, expected) in [
        (good(&issuer).claim("iss", "https://evil.example"), "wrong_issuer: iss is \"https://evil.example\", the step takes \"https://auth.example.com\"".to_owned()),
        (good(&issuer).without("iss"), "wrong_issuer: iss is absent, the step takes".to_owned()),
        (good(&issuer).claim("aud", vec!["one", "two"]), "wrong_audience: aud is [\"one\",\"two\"], the step takes \"harmony-api\"".to_owned()),
        (good(&issuer).claim("exp", past), format!("expired: exp is {past} (")),
        (good(&issuer).claim("exp", past), " s ago, and leeway_secs is 60".to_owned()),
        (good(&issuer).without("exp"), "no_expiry: exp is absent".to_owned()),
        (good(&issuer).claim("nbf", ahead), format!("not_yet_valid: nbf is {ahead} (")),
        (good(&issuer).claim("iat", ahead), format!("not_yet_valid: iat is {ahead} (")),
        (good(&issuer).claim("team", "red"), "claim_missing: team is \"red\", and has to have \"blue\"".to_owned()),
        (good(&issuer).without("team"), "claim_missing: team is absent, and has to have \"blue\"".to_owned()),
        (good(&issuer).claim("scope", "write"), "scope_missing: scope is \"write\", and has to hold \"read\"".to_owned()),
        (good(&issuer).without("scope"), "scope_missing: scope is absent, and has to hold \"read\"".to_owned()),
        (good(&issuer).header("typ", "at+dpop"), "wrong_type: typ is \"at+dpop\", the step takes \"jwt\" or \"at+jwt\"".to_owned()),
        (good(&issuer).header("alg", "RS512"), "wrong_algorithm: alg is \"RS512\", the step takes \"RS256\"".to_owned()),
        (good(&issuer).header("crit", vec!["x"]), "unsupported_header: its header has crit, which is not understood here".to_owned()),
        (good(&issuer).kid("k9"), "unknown_kid: kid is \"k9\"".to_owned()),
        (good(&issuer).claim("sub", 5), "malformed: sub is 5".to_owned()),
        (good(&issuer).claim("exp", "tomorrow"), "malformed: exp is \"tomorrow\", not a number".to_owned()),
        (good(&issuer).raw_claims("{}}"), "malformed: its claims are no JSON object".to_owned()),
    ] {
        let token = token.sign();
        let told = explain_with(&issuer, &["--request", "GET /api/x", "--token-stdin"], &token);
        let line = format!("jwt: rejected: {expected}");
        let line = if expected.starts_with(' ') { expected.as_str() } else { &line };
        assert!(told.contains(line), "{line}: {told}");
        assert!(!told.contains(&token), "{told}");
    }
    let field = "Authorization: Bearer not.a-token";
    let told = explain(&issuer, &["--request", "GET /api/x", "--header", field]);
    assert!(
        told.contains("jwt: rejected: malformed: a token is three parts in base64url"),
        "{told}"
    );
}

#[test]
fn it_takes_a_whole_url_and_a_token_from_standard_input() {
    let issuer = Issuer::start();
    let token = good(&issuer).sign();
    for stdin in [format!("{token}\n"), format!("Bearer {token}\r\n"), token.clone()] {
        let url = "GET https://api.example.com/api/x?q=1";
        let told = explain_with(&issuer, &["--request", url, "--token-stdin"], &stdin);
        for line in
            ["jwt: authenticated as alice", "host: api.example.com", "GET /x?[query] HTTP/1.1"]
        {
            assert!(told.contains(line), "{line}: {told}");
        }
    }
    let told = explain(&issuer, &["--request", "http://h:18080/nowhere"]);
    assert!(told.contains("HTTP/1.1 404 Not Found"), "{told}");
    for (arguments, stdin) in [
        (&["--token-stdin"][..], ""),
        (&["--token-stdin"], "two\nlines"),
        (&["--token-stdin", "--header", "Authorization: Bearer x"], "y"),
    ] {
        let mut all = vec!["explain", "-c", "harmony.toml", "--request", "GET /"];
        all.extend_from_slice(arguments);
        let text = with("http://127.0.0.1:1/jwks.json", &issuer.url());
        let ran = Program::with(&all).file("harmony.toml", &text).stdin(stdin).run();
        assert_eq!(ran.status, Some(1), "{arguments:?}: {}", ran.stdout);
    }
}
