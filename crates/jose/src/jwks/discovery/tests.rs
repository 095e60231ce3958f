//! Documents as issuers publish them, and those that are not believed. Made up by hand from the
//! issuers' documentation.

use std::time::Duration;

use serde_json::json;

use super::*;

const TENANT_ID: &str = "11111111-2222-3333-4444-555555555555";

fn settings(issuer: &str, tenants: &[&str]) -> IssuerUrl {
    IssuerUrl {
        issuer: issuer.to_owned(),
        tenants: tenants.iter().map(ToString::to_string).collect(),
        fresh: Duration::from_secs(3600),
        max_stale: Duration::from_secs(86_400),
        cooldown: Duration::from_secs(30),
        addresses: None,
    }
}

fn read(text: &str, issuer: &str, tenants: &[&str]) -> Result<Document, DocumentError> {
    Document::parse(
        text.as_bytes(),
        "https://d.example/",
        &settings(issuer, tenants),
    )
}

/// Issuer as configured, tenants, file, `iss` of its tokens, `jwks_uri`.
type Shape = (
    &'static str,
    &'static [&'static str],
    &'static str,
    &'static [&'static str],
    &'static str,
);

const SHAPES: [Shape; 15] = [
    (
        "https://keycloak.example.com/realms/acme",
        &[],
        include_str!("documents/keycloak.json"),
        &["https://keycloak.example.com/realms/acme"],
        "https://keycloak.example.com/realms/acme/protocol/openid-connect/certs",
    ),
    (
        "https://acme.eu.auth0.com/",
        &[],
        include_str!("documents/auth0.json"),
        &["https://acme.eu.auth0.com/"],
        "https://acme.eu.auth0.com/.well-known/jwks.json",
    ),
    (
        "https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/v2.0",
        &[],
        include_str!("documents/entra-v2.json"),
        &["https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/v2.0"],
        concat!(
            "https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555",
            "/discovery/v2.0/keys"
        ),
    ),
    (
        "https://sts.windows.net/11111111-2222-3333-4444-555555555555/",
        &[],
        include_str!("documents/entra-v1.json"),
        &["https://sts.windows.net/11111111-2222-3333-4444-555555555555/"],
        "https://login.microsoftonline.com/common/discovery/keys",
    ),
    (
        "https://login.microsoftonline.com/common/v2.0",
        &["t-1", "t-2"],
        include_str!("documents/entra-v2-common.json"),
        &[
            "https://login.microsoftonline.com/t-1/v2.0",
            "https://login.microsoftonline.com/t-2/v2.0",
        ],
        "https://login.microsoftonline.com/common/discovery/v2.0/keys",
    ),
    (
        "https://login.microsoftonline.com/organizations/v2.0",
        &["t-1"],
        include_str!("documents/entra-v2-common.json"),
        &["https://login.microsoftonline.com/t-1/v2.0"],
        "https://login.microsoftonline.com/common/discovery/v2.0/keys",
    ),
    (
        "https://login.microsoftonline.com/t-1/v2.0",
        &["t-1"],
        include_str!("documents/entra-v2-common.json"),
        &["https://login.microsoftonline.com/t-1/v2.0"],
        "https://login.microsoftonline.com/common/discovery/v2.0/keys",
    ),
    (
        "https://sts.windows.net/common/",
        &[TENANT_ID],
        include_str!("documents/entra-v1-common.json"),
        &["https://sts.windows.net/11111111-2222-3333-4444-555555555555/"],
        "https://login.microsoftonline.com/common/discovery/keys",
    ),
    (
        "https://accounts.google.com",
        &[],
        include_str!("documents/google.json"),
        &["https://accounts.google.com"],
        "https://www.googleapis.com/oauth2/v3/certs",
    ),
    (
        "https://acme.okta.com/oauth2/default",
        &[],
        include_str!("documents/okta.json"),
        &["https://acme.okta.com/oauth2/default"],
        "https://acme.okta.com/oauth2/default/v1/keys",
    ),
    (
        "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEfGhI",
        &[],
        include_str!("documents/cognito.json"),
        &["https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEfGhI"],
        concat!(
            "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEfGhI",
            "/.well-known/jwks.json"
        ),
    ),
    (
        "https://adfs.example.com/adfs",
        &[],
        include_str!("documents/adfs.json"),
        &["http://adfs.example.com/adfs/services/trust"],
        "https://adfs.example.com/adfs/discovery/keys",
    ),
    (
        "https://gitlab.example.com",
        &[],
        include_str!("documents/gitlab.json"),
        &["https://gitlab.example.com"],
        "https://gitlab.example.com/oauth/discovery/keys",
    ),
    (
        "https://dex.example.com/dex",
        &[],
        include_str!("documents/dex.json"),
        &["https://dex.example.com/dex"],
        "https://dex.example.com/dex/keys",
    ),
    (
        "http://127.0.0.1:5556/dex",
        &[],
        r#"{"issuer":"http://127.0.0.1:5556/dex","jwks_uri":"http://localhost:5557/keys"}"#,
        &["http://127.0.0.1:5556/dex"],
        "http://localhost:5557/keys",
    ),
];

#[test]
fn every_shape_loads() {
    for (issuer, tenants, text, issuers, jwks_uri) in SHAPES {
        let marked = format!("\u{feff}{text}");
        for text in [text, &marked] {
            let document =
                read(text, issuer, tenants).unwrap_or_else(|why| panic!("{issuer}: {why}"));
            assert_eq!(document.token_issuers, issuers, "{issuer}");
            assert_eq!(document.jwks_uri.as_deref(), Some(jwks_uri), "{issuer}");
            let kept = Value::from(document.to_json()).to_string();
            assert_eq!(
                read(&kept, issuer, tenants).as_ref(),
                Ok(&document),
                "{issuer}"
            );
        }
    }
}

#[test]
fn endpoints_for_introspection() {
    let keycloak = read(SHAPES[0].2, SHAPES[0].0, &[]).unwrap();
    assert_eq!(
        keycloak.introspection_endpoint.as_deref(),
        Some("https://keycloak.example.com/realms/acme/protocol/openid-connect/token/introspect")
    );
    let google = read(SHAPES[8].2, SHAPES[8].0, &[]).unwrap();
    assert_eq!(google.introspection_endpoint, None);
    let without_keys = r#"{"issuer":"https://i.example","jwks_uri":null}"#;
    assert_eq!(
        read(without_keys, "https://i.example", &[])
            .unwrap()
            .jwks_uri,
        None
    );
}

#[test]
fn another_issuer_is_refused() {
    let wanted = "https://i.example/a";
    for other in [
        "https://i.example/a/",
        "https://i.example",
        "https://I.example/a",
        "https://i.example:443/a",
        "http://i.example/a",
        "https://i.example/A",
        "https://i.example/%61",
        " https://i.example/a",
        "https://j.example/a",
        "",
    ] {
        let text = json!({ "issuer": other, "jwks_uri": "https://i.example/k" }).to_string();
        let refused = read(&text, wanted, &["t"]);
        assert_eq!(
            refused,
            Err(DocumentError::OtherIssuer(other.to_owned())),
            "{other:?}"
        );
    }
    let long = json!({ "issuer": "x".repeat(5000) }).to_string();
    assert_eq!(
        read(&long, wanted, &[]),
        Err(DocumentError::OtherIssuer("x".repeat(200)))
    );
}

#[test]
fn tenants_fill_in_what_they_may_and_nothing_else() {
    let text =
        json!({ "issuer": "https://i.example/{tenantid}/v2", "jwks_uri": "https://i.example/k" });
    let text = text.to_string();
    let all = "https://i.example/common/v2";
    assert_eq!(read(&text, all, &[]), Err(DocumentError::NoTenants));
    for (issuer, tenants) in [
        ("https://i.example/t-2/v2", &["t-1"][..]),
        ("https://i.example/t-1/v3", &["t-1"]),
        ("https://j.example/t-1/v2", &["t-1"]),
        ("https://i.example/common/x/v2", &["t-1"]),
        ("https://i.example//v2", &["t-1"]),
        ("https://i.example/v2", &["t-1"]),
    ] {
        let refused = read(&text, issuer, tenants);
        assert!(
            matches!(refused, Err(DocumentError::OtherIssuer(_))),
            "{issuer}: {refused:?}"
        );
    }
    let twice = text.replace("v2", "{tenantid}");
    assert!(read(&twice, "https://i.example/t-1/t-1", &["t-1"]).is_err());
}

#[test]
fn urls_that_are_not_asked() {
    for (issuer, url, why) in [
        ("https://i.example", "http://i.example/k", "is not https"),
        ("https://i.example", "http://127.0.0.1/k", "is not https"),
        ("https://i.example", "ftp://i.example/k", "is not https"),
        (
            "https://i.example",
            "file:///etc/passwd",
            "is not a URL with a host",
        ),
        ("https://i.example", "/k", "is not a URL"),
        ("https://i.example", "", "is not a URL"),
        (
            "https://i.example",
            "https://u:p@i.example/k",
            "holds a user name or a password",
        ),
        (
            "https://i.example",
            "https://u@i.example/k",
            "holds a user name or a password",
        ),
        (
            "https://i.example",
            "https://i.example/k#x",
            "has a fragment",
        ),
        ("http://127.0.0.1:1", "http://10.0.0.1/k", "is not https"),
        (
            "http://127.0.0.1:1",
            "http://127.0.0.1.example/k",
            "is not https",
        ),
        (
            "http://localhost:1",
            "http://localhost.example/k",
            "is not https",
        ),
    ] {
        for member in ["jwks_uri", "introspection_endpoint"] {
            let text = json!({ "issuer": issuer, member: url }).to_string();
            let refused = read(&text, issuer, &[]);
            assert_eq!(refused, Err(DocumentError::Url { member, why }), "{url}");
        }
    }
    for url in [
        "http://[::1]:1/k",
        "http://127.9.9.9/k",
        "https://elsewhere.example/k",
    ] {
        let text = json!({ "issuer": "http://[::1]:2", "jwks_uri": url }).to_string();
        assert!(read(&text, "http://[::1]:2", &[]).is_ok(), "{url}");
    }
}

#[test]
fn what_is_no_document() {
    let issuer = "https://i.example";
    for text in [
        "",
        "[]",
        "null",
        "<html>",
        r#"{"issuer":"https://i.example","issuer":"https://i.example"}"#,
        r#"{"issuer":"https://i.example"} x"#,
    ] {
        assert_eq!(
            read(text, issuer, &[]),
            Err(DocumentError::NotAnObject),
            "{text}"
        );
    }
    for (text, member) in [
        ("{}", "issuer"),
        (r#"{"issuer":null}"#, "issuer"),
        (r#"{"issuer":["https://i.example"]}"#, "issuer"),
        (
            r#"{"issuer":"https://i.example","jwks_uri":["x"]}"#,
            "jwks_uri",
        ),
        (
            r#"{"issuer":"https://i.example","access_token_issuer":1}"#,
            "access_token_issuer",
        ),
    ] {
        assert_eq!(
            read(text, issuer, &[]),
            Err(DocumentError::NotAString(member)),
            "{text}"
        );
    }
}

#[test]
fn where_documents_are_looked_for() {
    for (issuer, openid, oauth) in [
        (
            "https://i.example",
            "https://i.example/.well-known/openid-configuration",
            "https://i.example/.well-known/oauth-authorization-server",
        ),
        (
            "https://i.example/",
            "https://i.example/.well-known/openid-configuration",
            "https://i.example/.well-known/oauth-authorization-server",
        ),
        (
            "https://i.example:8443/a/b/",
            "https://i.example:8443/a/b/.well-known/openid-configuration",
            "https://i.example:8443/.well-known/oauth-authorization-server/a/b",
        ),
        (
            "http://[::1]:8080/a",
            "http://[::1]:8080/a/.well-known/openid-configuration",
            "http://[::1]:8080/.well-known/oauth-authorization-server/a",
        ),
    ] {
        assert_eq!(
            locations(issuer),
            Some([openid.to_owned(), oauth.to_owned()]),
            "{issuer}"
        );
    }
    for issuer in [
        "",
        "i",
        "urn:i",
        "http://i.example",
        "https://i.example/?a",
        "https://i.example/#a",
        "https://u:p@i.example",
    ] {
        assert_eq!(locations(issuer), None, "{issuer}");
    }
}
