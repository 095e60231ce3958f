//! The outcomes of one `jwt-auth` step, row by row.

use super::{CHALLENGE, INVALID, assert_generic_denial};
use crate::support::issuer::Answer;
use crate::support::keys::RsaKey;
use crate::support::request::Request;
use crate::support::{Edge, Issuer, Upstream};

#[test]
fn a_good_token_passes_in_every_spelling_of_the_scheme() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let token = issuer.token().sign();
    for scheme in ["Bearer ", "bearer ", "BEARER ", "BeArEr ", "Bearer  ", "Bearer    "] {
        let response =
            edge.get("/api/x").header("Authorization", format!("{scheme}{token}")).send();
        assert_eq!(response.status, 200, "{scheme:?}");
    }
    assert_eq!(upstream.count(), 6);
}

#[test]
fn without_a_token_the_challenge_has_no_error() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let token = issuer.token().sign();
    let rows: [(&str, Request); 8] = [
        ("nothing", edge.get("/api/x")),
        (
            "another scheme",
            edge.get("/api/x").header("Authorization", "Basic dXNlcjpwYXNzd29yZA=="),
        ),
        (
            "a scheme that begins alike",
            edge.get("/api/x").header("Authorization", format!("Bearers {token}")),
        ),
        (
            "no space after the scheme",
            edge.get("/api/x").header("Authorization", format!("Bearer{token}")),
        ),
        (
            "a token in another field",
            edge.get("/api/x").header("X-Authorization", format!("Bearer {token}")),
        ),
        (
            "a token in Proxy-Authorization",
            edge.get("/api/x").header("Proxy-Authorization", format!("Bearer {token}")),
        ),
        ("a token in the query", edge.get(&format!("/api/x?access_token={token}"))),
        (
            "a token in a form",
            edge.post("/api/x", format!("access_token={token}"))
                .header("Content-Type", "application/x-www-form-urlencoded"),
        ),
    ];
    for (row, request) in rows {
        let response = request.send();
        assert_eq!(response.status, 401, "{row}");
        assert_eq!(response.fields("www-authenticate"), [CHALLENGE], "{row}");
        assert_generic_denial(row, &response);
    }
    assert_eq!(upstream.connections(), 0, "a denied request never reaches the upstream");
}

#[test]
fn an_empty_bearer_is_401() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    for value in ["", "Bearer", "Bearer ", "bearer", "Bearer ,", "Bearer \t"] {
        let response = edge.get("/api/x").header("Authorization", value).send();
        assert_eq!(response.status, 401, "{value:?}");
        assert_generic_denial(value, &response);
    }
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn every_refused_token_gets_the_same_bytes() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let good = issuer.token().sign();
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = message.split_once('.').unwrap();
    let rows = [
        ("expired", issuer.token().expired().sign()),
        ("not yet valid", issuer.token().claim("nbf", crate::support::token::now() + 3600).sign()),
        ("wrong audience", issuer.token().claim("aud", "another-api").sign()),
        ("wrong issuer", issuer.token().claim("iss", "https://evil.example.com").sign()),
        ("no expiry", issuer.token().without("exp").sign()),
        ("tampered signature", format!("{message}.{}", crate::support::keys::base64url([7; 256]))),
        (
            "tampered claims",
            format!(
                "{header}.{}.{signature}",
                crate::support::keys::base64url(issuer.token().claim("sub", "root").claims_text())
            ),
        ),
        ("signed by another key", issuer.token_of("k1", &RsaKey::number(1)).sign()),
        ("unknown key id", issuer.token().kid("unknown").sign()),
        ("no token at all", "abc".to_owned()),
        ("two segments", message.to_owned()),
        ("four segments", format!("{good}.{signature}")),
        ("two tokens in one", format!("{good}, Bearer {good}")),
        ("something after it", format!("{good} x")),
    ];
    for http2 in [false, true] {
        let mut first = None;
        for (row, token) in &rows {
            let request = edge.get("/api/x").bearer(token);
            let response = if http2 { request.http2() } else { request }.send();
            assert_eq!(response.status, 401, "{row}");
            assert_eq!(response.fields("www-authenticate"), [INVALID], "{row}");
            assert_generic_denial(row, &response);
            let bytes = response.without_date_and_id();
            assert_eq!(
                &bytes,
                first.get_or_insert(bytes.clone()),
                "{row}: byte for byte as the first row (HTTP/2: {http2})"
            );
        }
    }
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn one_credential_twice_is_400() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let token = issuer.token().sign();
    let bearer = format!("Bearer {token}");
    let rows = [
        ("the same token twice", [bearer.as_str(), bearer.as_str()]),
        ("a good one and a bad one", [bearer.as_str(), "Bearer abc"]),
        ("a bad one and a good one", ["Bearer abc", bearer.as_str()]),
        ("two schemes", [bearer.as_str(), "Basic dXNlcjpwYXNzd29yZA=="]),
        ("an empty one beside it", ["", bearer.as_str()]),
    ];
    for http2 in [false, true] {
        for (row, [first, second]) in rows {
            let request =
                edge.get("/api/x").header("Authorization", first).header("Authorization", second);
            let response = if http2 { request.http2() } else { request }.send();
            assert_eq!(response.status, 400, "{row}");
            assert_eq!(
                response.fields("www-authenticate"),
                [r#"Bearer realm="harmony", error="invalid_request""#],
                "{row}"
            );
            assert_generic_denial(row, &response);
        }
    }
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn connection_may_not_nominate_what_the_edge_decides_by() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let token = issuer.token().sign();
    let nominated = [
        "Authorization",
        "authorization",
        "Host",
        "host",
        "X-Auth-Subject",
        "x-auth-method",
        "X-Auth-Anything",
        "X_Auth_Subject",
        "x.auth.subject",
    ];
    let forwarded = ["X-Forwarded-For", "x-forwarded-host", "X-Forwarded-Proto"];
    let no_names = ["\"x-something\"", ":path", "x something", "a, b, c, d, e, f, g, h, i, j"];
    for name in nominated.into_iter().chain(forwarded).chain(no_names) {
        for value in [
            name.to_owned(),
            format!("keep-alive, {name}"),
            format!("close,{name}"),
            format!(" ,{name}, x"),
        ] {
            let response =
                edge.get("/api/x").bearer(&token).header("Connection", value.as_str()).send();
            assert_eq!(response.status, 400, "Connection: {value}");
            assert_generic_denial(&value, &response);
        }
        let split = edge
            .get("/api/x")
            .bearer(&token)
            .header("Connection", "keep-alive")
            .header("Connection", name)
            .send();
        assert_eq!(split.status, 400, "{name} in a second Connection field");
    }
    assert_eq!(upstream.connections(), 0);
    let other = edge.get("/api/x").bearer(&token).header("Connection", "x-something").send();
    assert_eq!(other.status, 200, "other fields may be nominated");
}

#[test]
fn a_missing_scope_or_claim_value_is_403() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream)
        .jwt(
            "required_scopes = [\"read\", \"write\"]\n\
             required_claims = { tenant = [\"blue\", \"green\"], level = 3 }",
        )
        .start();
    let complete = issuer
        .token()
        .claim("scope", "openid write read")
        .claim("tenant", "green")
        .claim("level", 3);
    let passing = [
        ("all there", complete.clone()),
        ("scp as a list", complete.clone().without("scope").claim("scp", vec!["read", "write"])),
        ("scp as a string", complete.clone().without("scope").claim("scp", "read write")),
        ("a list that holds the value", complete.clone().claim("tenant", vec!["red", "blue"])),
    ];
    for (row, token) in passing {
        assert_eq!(edge.get("/api/x").bearer(&token.sign()).send().status, 200, "{row}");
    }
    upstream.clear();
    let rows = [
        ("no scope at all", complete.clone().without("scope")),
        ("one of two scopes", complete.clone().claim("scope", "read")),
        ("a scope that only begins alike", complete.clone().claim("scope", "read writer")),
        ("a scope in other letters", complete.clone().claim("scope", "READ WRITE")),
        ("scopes with commas", complete.clone().claim("scope", "read,write")),
        ("no claim", complete.clone().without("tenant")),
        ("another value", complete.clone().claim("tenant", "red")),
        ("a value of another type", complete.clone().claim("level", "3")),
        ("a list without the value", complete.clone().claim("tenant", vec!["red"])),
    ];
    for (row, token) in rows {
        let response = edge.get("/api/x").bearer(&token.sign()).send();
        assert_eq!(response.status, 403, "{row}");
        let challenge = response.field("www-authenticate").unwrap_or_default();
        assert!(
            challenge.starts_with(r#"Bearer realm="harmony""#)
                && challenge.contains(r#"error="insufficient_scope""#),
            "{row}: {challenge}"
        );
        assert_generic_denial(row, &response);
    }
    let bad = edge.get("/api/x").bearer(&complete.expired().sign()).send();
    assert_eq!(bad.status, 401, "a token that is bad and lacks nothing else");
    assert_eq!(upstream.count(), 0);
}

#[test]
fn a_required_claim_by_name_has_only_to_be_there() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).jwt("required_claims = [\"tenant\"]").start();
    assert_eq!(
        edge.get("/api/x").bearer(&issuer.token().claim("tenant", "any").sign()).send().status,
        200
    );
    assert_eq!(edge.get("/api/x").bearer(&issuer.token().sign()).send().status, 403);
    assert_eq!(upstream.count(), 1);
}

#[test]
fn without_keys_a_token_is_503_and_nobody_is_let_through() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    issuer.answer(Answer::Status(500));
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    for http2 in [false, true] {
        for (row, token) in [
            ("good", issuer.token()),
            ("expired", issuer.token().expired()),
            ("unknown key id", issuer.token().kid("other")),
        ] {
            let request = edge.get("/api/x").bearer(&token.sign());
            let response = if http2 { request.http2() } else { request }.send();
            assert_eq!(response.status, 503, "{row}");
            let seconds = response.field("retry-after").and_then(|value| value.parse::<u32>().ok());
            assert!(seconds.is_some_and(|seconds| seconds > 0), "{row}: Retry-After {seconds:?}");
            assert_generic_denial(row, &response);
        }
    }
    assert_eq!(
        edge.get("/api/x").send().status,
        401,
        "who presents nothing is asked for a token all the same"
    );
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn the_realm_is_the_one_configured() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).jwt("realm = \"the vault\"").start();
    assert_eq!(
        edge.get("/api/x").send().fields("www-authenticate"),
        [r#"Bearer realm="the vault""#]
    );
}

#[test]
fn a_body_echoes_nothing_of_the_request() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let response = edge
        .get("/api/needle-path?needle-query")
        .bearer("needle-token")
        .header("X-Needle", "needle-field")
        .host("needle-host")
        .send();
    assert_eq!(response.status, 401);
    assert!(
        !response.without_date_and_id().contains("needle"),
        "{}",
        response.without_date_and_id()
    );
}
