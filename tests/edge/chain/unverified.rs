//! What stands where a step looks for its credential, and nobody has verified: it does not reach
//! the upstream. What stands where no step looks is the application's.

use super::{ALICE, BILLING, basic, edge_of, identity_of, secret, step};
use crate::support::keys::RsaKey;
use crate::support::request::Request;
use crate::support::settings::Route;
use crate::support::{Edge, Issuer, Settings, Upstream};

/// A step that lets its credential travel.
fn token_step(issuer: &Issuer, flags: &str, further: &str) -> String {
    let config = format!(
        "jwks_url = \"{}\"\nissuer = \"https://auth.example.com\"\naudience = \"harmony-api\"\n\
         {further}",
        issuer.url()
    );
    step("token", "jwt-auth", &format!("{flags}\nforward_credential = true"), &config)
}

fn key_step(flags: &str, further: &str) -> String {
    let config = format!("keys = [{}]\n{further}", BILLING.entry(""));
    step("key", "api-key", &format!("{flags}\nforward_credential = true"), &config)
}

fn password_step(flags: &str) -> String {
    let config = format!("users = [{}]", ALICE.entry());
    step("password", "basic-auth", &format!("{flags}\nforward_credential = true"), &config)
}

const OPTIONAL: &str = "optional = true";
const FALLS_BACK: &str = "optional = true\nfallback_on = \"failed\"";

/// What the upstream gets of these fields, over either protocol: names and values, in their order.
#[track_caller]
fn assert_passed(
    row: &str,
    edge: &Edge,
    upstream: &Upstream,
    (target, fields): (&str, &[(&str, &str)]),
    method: Option<&str>,
    expected: &[(&str, &str)],
) {
    let names = ["authorization", "x-api-key", "x_api_key", "x-token", "x.token", "cookie"];
    for http2 in [false, true] {
        upstream.clear();
        let request = fields
            .iter()
            .fold(edge.get(target), |request: Request, (name, value)| request.header(name, *value));
        let request = if http2 { request.http2() } else { request };
        let row = format!("{row}, HTTP/2: {http2}");
        assert_eq!(request.send().status, 200, "{row}");
        let received = upstream.only();
        assert_eq!(identity_of(&received).0, method, "{row}");
        let mut seen: Vec<(&str, String)> = names
            .iter()
            .filter_map(|name| Some((*name, received.head.field(name)?.to_owned())))
            .collect();
        seen.push(("target", received.target().to_owned()));
        let expected: Vec<(&str, String)> =
            expected.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        assert_eq!(seen, expected, "{row}");
    }
}

#[test]
fn a_token_or_a_key() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let good = format!("Bearer {}", secret(&issuer.token().sign()));
    let stranger = RsaKey::number(5);
    let forged = format!("Bearer {}", secret(&issuer.token_of("k1", &stranger).sign()));
    let (key, password) = (BILLING.key(), basic("mallory", "guess-guess-guess"));
    let target = ("target", "/x");
    for (flags, falls_back) in [(OPTIONAL, false), (FALLS_BACK, true)] {
        let tables = token_step(&issuer, flags, "") + &key_step("", "");
        let edge = edge_of(&upstream, &["token", "key"], &tables).start();
        let with_key = ("X-API-Key", key);
        for (row, fields, method, expected) in [
            (
                "a key beside a good token",
                &[("Authorization", good.as_str()), with_key][..],
                "jwt",
                &[("authorization", good.as_str()), target][..],
            ),
            (
                "a password beside a key",
                &[("Authorization", &password), with_key],
                "api-key",
                &[("x-api-key", key), target],
            ),
            (
                "another scheme beside a key",
                &[("Authorization", "Digest username=\"alice\""), with_key],
                "api-key",
                &[("x-api-key", key), target],
            ),
            ("a key alone", &[with_key], "api-key", &[("x-api-key", key), target]),
            (
                "a key in disguise beside a key",
                &[with_key, ("X_API_Key", "another-key"), ("X.API-Key", "another-key")],
                "api-key",
                &[("x-api-key", key), target],
            ),
        ] {
            assert_passed(row, &edge, &upstream, ("/api/x", fields), Some(method), expected);
        }
        let fields = [("Authorization", forged.as_str()), with_key];
        if falls_back {
            let expected = [("x-api-key", key), target];
            let row = "a forged token beside a key";
            assert_passed(row, &edge, &upstream, ("/api/x", &fields), Some("api-key"), &expected);
        } else {
            let request = edge.get("/api/x").header("Authorization", &forged);
            assert_eq!(request.header("X-API-Key", key).send().status, 401);
        }
    }
    // The other way round, nobody looks at the token at all.
    let tables = key_step(OPTIONAL, "") + &token_step(&issuer, "", "");
    let edge = edge_of(&upstream, &["key", "token"], &tables).start();
    for authorization in [&good, &forged, &password] {
        let fields = [("Authorization", authorization.as_str()), ("X-API-Key", key)];
        let expected = [("x-api-key", key), target];
        let row = "whatever beside a key";
        assert_passed(row, &edge, &upstream, ("/api/x", &fields), Some("api-key"), &expected);
    }
}

#[test]
fn a_password_or_a_key_and_anonymous() {
    let upstream = Upstream::start();
    let key = BILLING.key();
    let alice = ALICE.credential();
    let tables = password_step(OPTIONAL) + &key_step(OPTIONAL, "");
    let edge = edge_of(&upstream, &["password", "key"], &tables).start();
    let target = ("target", "/x");
    for (row, fields, method, expected) in [
        (
            "a password",
            &[("Authorization", alice.as_str()), ("X-API-Key", key)][..],
            Some("basic"),
            &[("authorization", alice.as_str()), target][..],
        ),
        (
            "a token beside a key",
            &[("Authorization", "Bearer a.b.c"), ("X-API-Key", key)],
            Some("api-key"),
            &[("x-api-key", key), target],
        ),
        ("a token, anonymous", &[("Authorization", "Bearer a.b.c")], None, &[target]),
        ("a key in disguise, anonymous", &[("X_API_Key", "another-key")], None, &[target]),
    ] {
        assert_passed(row, &edge, &upstream, ("/api/x", fields), method, expected);
    }
}

#[test]
fn headers_cookies_and_parameters_of_skipped_steps() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let token = secret(&issuer.token().sign()).to_owned();
    let key = BILLING.key();
    let bearer = format!("Bearer {token}");
    let junk = "a.b.c";
    for (place, target, fields, forwarded) in [
        (
            "token_header = \"X-Token\"",
            "/api/x".to_owned(),
            [("X-Token", junk), ("X.Token", junk)],
            [("target", "/x")].as_slice(),
        ),
        (
            "token_cookie = \"token\"",
            "/api/x".to_owned(),
            [("Cookie", "a=1; token=a.b.c; b=2"), ("X-Token", junk)],
            &[("x-token", junk), ("cookie", "a=1; b=2"), ("target", "/x")],
        ),
        (
            "token_query = \"token\"",
            "/api/x?a=1&t%6fken=a.b.c&b=%20".to_owned(),
            [("Cookie", "token=a.b.c"), ("X-Token", junk)],
            &[("x-token", junk), ("cookie", "token=a.b.c"), ("target", "/x?a=1&b=%20")],
        ),
    ] {
        // The key step before it lets the request in.
        let tables = key_step(OPTIONAL, "") + &token_step(&issuer, "", place);
        let edge = edge_of(&upstream, &["key", "token"], &tables).start();
        // No step reads `Authorization`.
        let fields = [("Authorization", bearer.as_str()), ("X-API-Key", key), fields[0], fields[1]];
        let mut expected = vec![("authorization", bearer.as_str()), ("x-api-key", key)];
        expected.extend(forwarded);
        let method = Some("api-key");
        assert_passed(place, &edge, &upstream, (&target, &fields), method, &expected);
    }
    // Verified, a header and a cookie travel; a parameter never does.
    for (place, target, field, expected) in [
        (
            "token_header = \"X-Token\"",
            "/api/x".to_owned(),
            ("X-Token", token.clone()),
            ("x-token", token.clone()),
        ),
        (
            "token_cookie = \"token\"",
            "/api/x".to_owned(),
            ("Cookie", format!("a=1; token={token}")),
            ("cookie", format!("a=1; token={token}")),
        ),
        (
            "token_query = \"token\"",
            format!("/api/x?token={token}"),
            ("Cookie", "a=1".to_owned()),
            ("cookie", "a=1".to_owned()),
        ),
    ] {
        let edge = edge_of(&upstream, &["token"], &token_step(&issuer, "", place)).start();
        let fields = [(field.0, field.1.as_str())];
        let expected = [(expected.0, expected.1.as_str()), ("target", "/x")];
        assert_passed(place, &edge, &upstream, (&target, &fields), Some("jwt"), &expected);
    }
}

#[test]
fn where_no_step_looks_everything_passes() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let open = Route::to("open", &upstream).prefix("/open");
    let edge = Edge::configured(
        Settings::with_jwt(&issuer, &upstream).and(&open.text()).and(&key_step("", "")),
    )
    .start();
    let fields =
        [("Authorization", "Basic YTpi"), ("X_API_Key", "of the app"), ("Cookie", "token=x")];
    let expected = [
        ("authorization", "Basic YTpi"),
        ("x_api_key", "of the app"),
        ("cookie", "token=x"),
        ("target", "/x?token=y"),
    ];
    let row = "an open pipeline";
    assert_passed(row, &edge, &upstream, ("/open/x?token=y", &fields), None, &expected);
}
