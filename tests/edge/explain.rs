//! `harmony-edge explain`: the same decision as the running edge, told to the operator.

use crate::configuration::with;
use crate::support::{Issuer, Program};

fn explain(issuer: &Issuer, arguments: &[&str]) -> String {
    let text = with("http://127.0.0.1:1/jwks.json", &issuer.url());
    let mut all = vec!["explain", "-c", "harmony.toml"];
    all.extend_from_slice(arguments);
    let ran = Program::with(&all).file("harmony.toml", &text).run();
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    ran.stdout
}

#[test]
fn it_tells_route_steps_and_what_the_upstream_gets() {
    let issuer = Issuer::start();
    let token = issuer.token().sign();
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
