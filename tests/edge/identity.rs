//! What the upstream is told about who asks: set by the edge alone, whatever the client claims.

use crate::support::settings::Route;
use crate::support::upstream::Received;
use crate::support::{Edge, Issuer, Settings, Upstream};

/// Every spelling that some server takes for an identity field.
const SPOOFED: [&str; 14] = [
    "X-Auth-Subject",
    "x-auth-subject",
    "X-AUTH-SUBJECT",
    "X_Auth_Subject",
    "x_auth_subject",
    "X-Auth_Subject",
    "x.auth.subject",
    "X-Auth.Subject",
    "X-Auth-Method",
    "X_AUTH_METHOD",
    "X-Auth-Roles",
    "x_auth_anything",
    "X-Tenant",
    "x_tenant",
];

/// The fields that an upstream could take for identity, in its own spelling.
fn identity(request: &Received) -> Vec<(String, String)> {
    let canonical = |name: &str| name.to_ascii_lowercase().replace(['_', '.'], "-");
    let fields = request.head.fields.iter().map(|(name, value)| (canonical(name), value.clone()));
    let mut fields: Vec<_> =
        fields.filter(|(name, _)| name.starts_with("x-auth") || name == "x-tenant").collect();
    fields.sort();
    fields
}

type Fields<'a> = &'a [(&'a str, &'a str)];

fn named(fields: Fields<'_>) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn identity_fields_are_the_edges_own_on_every_route() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let maybe = Route::to("maybe", &upstream).prefix("/maybe").steps(&["maybe"]);
    let step = format!(
        "[middleware.maybe]\ntype = \"jwt-auth\"\noptional = true\n\
         config = {{ jwks_url = \"{}\", issuer = \"https://auth.example.com\", audience = \
         \"harmony-api\", claims_to_headers = {{ tenant = \"X-Tenant\" }} }}",
        issuer.url()
    );
    let open = Route::to("open", &upstream).prefix("/open");
    let edge = Edge::configured(
        Settings::with_jwt(&issuer, &upstream)
            .jwt("claims_to_headers = { tenant = \"X-Tenant\" }")
            .and(&maybe.text())
            .and(&step)
            .and(&open.text()),
    )
    .start();
    let with_tenant = issuer.token().claim("tenant", "blue").sign();
    let without_tenant = issuer.token().sign();
    let alice = [("x-auth-method", "jwt"), ("x-auth-subject", "alice")];
    let blue = [alice[0], alice[1], ("x-tenant", "blue")];
    let rows: [(&str, &str, Option<&str>, Fields<'_>); 6] = [
        ("a protected route", "/api/x", Some(&with_tenant), &blue),
        ("a claim that the token does not have", "/api/x", Some(&without_tenant), &alice),
        ("an optional step, with a token", "/maybe/x", Some(&with_tenant), &blue),
        ("an optional step, anonymous", "/maybe/x", None, &[]),
        ("an open route", "/open/x", None, &[]),
        ("an open route, with a token", "/open/x", Some(&with_tenant), &[]),
    ];
    for (row, path, token, expected) in rows {
        for http2 in [false, true] {
            let clean = edge.get(path);
            let clean = if http2 { clean.http2() } else { clean };
            let clean = token.map_or(clean.clone(), |token| clean.bearer(token));
            let all =
                SPOOFED.iter().fold(clean.clone(), |request, name| request.header(name, "root"));
            let requests = SPOOFED
                .iter()
                .map(|name| (*name, clean.clone().header(name, "root")))
                .chain([("nothing", clean.clone()), ("all at once", all)]);
            for (spoofed, request) in requests {
                // An open route has no claims to carry, so `X-Tenant` is an ordinary field there.
                let ordinary = path == "/open/x"
                    && (spoofed == "all at once"
                        || spoofed.to_ascii_lowercase().ends_with("tenant"));
                upstream.clear();
                assert_eq!(request.send().status, 200, "{row}: {spoofed}");
                let mut seen = identity(&upstream.only());
                if ordinary {
                    seen.retain(|(name, _)| name != "x-tenant");
                }
                assert_eq!(seen, named(expected), "{row}, spoofed: {spoofed}, HTTP/2: {http2}");
            }
        }
    }
}

#[test]
fn a_token_without_a_subject_has_no_subject_field() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    edge.get("/api/x")
        .bearer(&issuer.token().without("sub").sign())
        .header("X-Auth-Subject", "root")
        .send();
    assert_eq!(identity(&upstream.only()), named(&[("x-auth-method", "jwt")]));
}

#[test]
fn a_subject_that_is_not_visible_ascii_is_401() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    for subject in ["alice\r\nX-Evil: 1", "alice\n", "\0", "älice", "ali\u{7f}ce", "😀", "\t"] {
        let response =
            edge.get("/api/x").bearer(&issuer.token().claim("sub", subject).sign()).send();
        assert_eq!(response.status, 401, "{subject:?}");
    }
    assert_eq!(upstream.connections(), 0);
    for subject in ["auth0|1234567890", "alice@example.com", "https://id.example.com/u/1?x=%20"] {
        upstream.clear();
        assert_eq!(
            edge.get("/api/x").bearer(&issuer.token().claim("sub", subject).sign()).send().status,
            200,
            "{subject:?}"
        );
        assert_eq!(upstream.only().head.field("x-auth-subject"), Some(subject));
    }
}

#[test]
fn a_claim_that_is_not_visible_ascii_is_percent_encoded() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream)
        .jwt("claims_to_headers = { tenant = \"X-Tenant\" }")
        .start();
    for (claim, field) in
        [("blue\r\nX-Evil: 1", "blue%0D%0AX-Evil:"), ("bläu", "bl%C3%A4u"), ("\0", "%00")]
    {
        upstream.clear();
        assert_eq!(
            edge.get("/api/x").bearer(&issuer.token().claim("tenant", claim).sign()).send().status,
            200,
            "{claim:?}"
        );
        let request = upstream.only();
        assert!(!request.head.has("x-evil"), "{claim:?}");
        let seen = request.head.field("x-tenant").unwrap_or_default();
        assert!(
            seen.to_uppercase().starts_with(&field.to_uppercase()),
            "{claim:?} became {seen:?}"
        );
        assert!(seen.bytes().all(|byte| byte.is_ascii_graphic()), "{seen:?}");
    }
}

#[test]
fn the_token_travels_on_unless_it_is_told_not_to() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let token = issuer.token().sign();
    let bearer = format!("Bearer {token}");
    for (setting, forwarded) in
        [("", true), ("forward_credential = true", true), ("forward_credential = false", false)]
    {
        upstream.clear();
        let edge = Edge::with_jwt(&issuer, &upstream).jwt(setting).start();
        assert_eq!(edge.get("/api/x").bearer(&token).send().status, 200);
        let request = upstream.only();
        assert_eq!(
            request.head.field("authorization"),
            forwarded.then_some(bearer.as_str()),
            "{setting:?}"
        );
    }
}

#[test]
fn a_credential_that_must_not_travel_does_not_when_an_earlier_step_took_it() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let route = Route::to("api", &upstream).prefix("/api").steps(&["one", "two"]);
    let step = |name: &str, flags: &str, forward: bool| {
        format!(
            "[middleware.{name}]\ntype = \"jwt-auth\"\n{flags}\n\
             config = {{ jwks_url = \"{}\", issuer = \"https://auth.example.com\", audience = \
             \"harmony-api\", forward_credential = {forward} }}\n",
            issuer.url()
        )
    };
    let edge = Edge::configured(
        Settings::bare()
            .and(&route.text())
            .and(&step("one", "optional = true", true))
            .and(&step("two", "", false)),
    )
    .start();
    assert_eq!(edge.get("/api/x").bearer(&issuer.token().sign()).send().status, 200);
    assert!(!upstream.only().head.has("authorization"), "the skipped step's setting holds too");
}
