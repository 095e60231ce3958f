//! The outcome table for a single API-key step.

use super::{
    API_KEY, BILLING, BYGONE, REPORTS, assert_absent, edge_of, forms, identity_of, secret, step,
};
use crate::support::edge::EdgeBuilder;
use crate::support::{Edge, Upstream, secrets};

const UNKNOWN: &str = "hk_nobodyknowsthiskeynobodyknows";

/// `billing` may read and write, `reports` may do nothing, the time of `bygone` is over.
fn edge(upstream: &Upstream, flags: &str, config: &str) -> EdgeBuilder {
    let keys = [
        BILLING.entry(", scopes = [\"read\", \"write\"]"),
        REPORTS.entry(""),
        BYGONE.entry(", expires_at = \"2020-01-01T00:00:00Z\", scopes = [\"read\"]"),
    ];
    edge_of(
        upstream,
        &["key"],
        &step("key", "api-key", flags, &format!("keys = [{}]\n{config}", keys.join(", "))),
    )
}

#[test]
fn every_row_in_every_form() {
    let upstream = Upstream::start();
    let edge = edge(&upstream, "", "required_scopes = [\"read\"]").start();
    let good = BILLING.key();
    let rejected = [
        ("unknown", secret(UNKNOWN).to_owned()),
        ("expired", BYGONE.key().to_owned()),
        ("empty", String::new()),
        ("the digest instead of the key", BILLING.digest.to_owned()),
        ("other letters", good.to_uppercase()),
        ("one character more", format!("{good}x")),
        ("one character less", good[..good.len() - 1].to_owned()),
        ("two in one", format!("{good}, {good}")),
        ("a scheme before it", format!("ApiKey {good}")),
    ];
    secrets::remember(&good.to_uppercase());
    for form in forms(&edge) {
        let missing = form.assert_denied("missing", &[], 401, &[API_KEY]);
        form.assert_denied(
            "in Authorization",
            &[("Authorization", &format!("ApiKey {good}"))],
            401,
            &[API_KEY],
        );
        form.assert_denied(
            "in another field",
            &[("X-Key", good), ("X_API_Key", good)],
            401,
            &[API_KEY],
        );
        for (row, key) in &rejected {
            let bytes = form.assert_denied(row, &[("X-API-Key", key)], 401, &[API_KEY]);
            assert_eq!(
                bytes, missing,
                "{row}; {}: byte for byte as if nothing was presented",
                form.name
            );
        }
        form.assert_denied("twice", &[("X-API-Key", good), ("x-api-key", good)], 400, &[API_KEY]);
        form.assert_denied(
            "good and unknown",
            &[("X-API-Key", good), ("X-API-Key", UNKNOWN)],
            400,
            &[API_KEY],
        );
        form.assert_denied(
            "Authorization twice",
            &[("X-API-Key", good), ("Authorization", "a"), ("Authorization", "b")],
            400,
            &[API_KEY],
        );
        form.assert_denied("a scope missing", &[("X-API-Key", REPORTS.key())], 403, &[API_KEY]);
        assert_eq!(upstream.count(), 0, "{}: nothing reaches the upstream", form.name);
        let received =
            form.assert_passes("good", &[("X-API-Key", good)], &upstream, ("api-key", "billing"));
        assert_absent(&form.name, &received, good);
        assert!(!received.head.has("x-api-key"), "{}: X-API-Key at the upstream", form.name);
    }
}

#[test]
fn connection_may_not_nominate_what_the_edge_decides_by() {
    let upstream = Upstream::start();
    let edge = edge(&upstream, "", "").start();
    for nominated in ["Authorization", "keep-alive, authorization", "X-Auth-Subject", "Host"] {
        let response = edge
            .get("/api/x")
            .header("X-API-Key", BILLING.key())
            .header("Connection", nominated)
            .send();
        assert_eq!(response.status, 400, "{nominated}");
    }
    assert_eq!(upstream.count(), 0);
}

#[test]
fn digests_in_every_form() {
    let upstream = Upstream::start();
    let (pepper, peppered) =
        (secret("saltAndPepperSaltAndPepper"), secret("hk_pepperedkeypepperedkeypepp04"));
    let plain = BILLING.digest.strip_prefix("sha256:").unwrap();
    let hmac = "hmac-sha256:40627f394e6117796bca7daac8967ffae8ac9faee6b5cdcf3a131d38ff3182a8";
    for (row, keys, key, subject) in [
        ("sha256:", format!("\"{}\"", BILLING.digest), BILLING.key(), "0ebdb301"),
        ("without sha256:", format!("\"{plain}\""), BILLING.key(), "0ebdb301"),
        ("a table", BILLING.entry(""), BILLING.key(), "billing"),
        ("an expiry to come", BILLING.entry(", expires_at = 4102444800"), BILLING.key(), "billing"),
        (
            "hmac-sha256: among others",
            format!("\"{}\", {{ id = \"peppered\", hash = \"{hmac}\" }}", REPORTS.digest),
            peppered,
            "peppered",
        ),
    ] {
        let pepper_line = if keys.contains("hmac") { "\npepper = \"${PEPPER}\"" } else { "" };
        let edge = edge_of(
            &upstream,
            &["key"],
            &step("key", "api-key", "", &format!("keys = [{keys}]{pepper_line}")),
        )
        .env("PEPPER", pepper)
        .start();
        assert_eq!(edge.get("/api/x").header("X-API-Key", key).send().status, 200, "{row}");
        let received = upstream.only();
        assert_eq!(identity_of(&received), (Some("api-key"), Some(subject)), "{row}");
        assert_absent(row, &received, key);
        assert_eq!(
            edge.get("/api/x").header("X-API-Key", secret(UNKNOWN)).send().status,
            401,
            "{row}: an unknown key"
        );
        upstream.clear();
    }
}

#[test]
fn another_header_is_the_only_place_then() {
    let upstream = Upstream::start();
    let edge = edge(&upstream, "realm = \"the vault\"", "header = \"X-Access\"").start();
    let key = BILLING.key();
    let response = edge.get("/api/x").header("X-API-Key", key).send();
    assert_eq!(
        (response.status, response.fields("www-authenticate").as_slice()),
        (401, [r#"ApiKey realm="the vault""#].as_slice())
    );
    assert_eq!(edge.get("/api/x").header("x-access", key).send().status, 200);
    let received = upstream.only();
    assert_absent("X-Access", &received, key);
}

#[test]
fn a_key_travels_where_that_is_said() {
    let upstream = Upstream::start();
    let edge = edge(&upstream, "forward_credential = true", "").start();
    assert_eq!(edge.get("/api/x").header("X-API-Key", BILLING.key()).send().status, 200);
    assert_eq!(upstream.only().head.field("x-api-key"), Some(BILLING.key()));
}

/// A request's target and cookies, and what it leads to: the status, or the target and the cookies
/// that the upstream gets.
type Row<'a> = (&'a str, String, Vec<String>, Result<(&'a str, &'a str), u16>);

#[track_caller]
fn assert_rows(edge: &Edge, upstream: &Upstream, rows: &[Row<'_>]) {
    for (row, target, cookies, expected) in rows {
        for http2 in [false, true] {
            upstream.clear();
            let request = cookies
                .iter()
                .fold(edge.get(target), |request, cookie| request.header("Cookie", cookie));
            let response = if http2 { request.http2() } else { request }.send();
            let row = format!("{row}, HTTP/2: {http2}");
            match expected {
                Ok((target, cookies)) => {
                    assert_eq!(response.status, 200, "{row}");
                    let received = upstream.only();
                    assert_eq!(
                        (received.target(), received.head.fields("cookie").join("; ").as_str()),
                        (*target, *cookies),
                        "{row}"
                    );
                    assert_eq!(identity_of(&received), (Some("api-key"), Some("billing")), "{row}");
                    assert_absent(&row, &received, &BILLING.key()[1..]);
                }
                Err(status) => {
                    assert_eq!(response.status, *status, "{row}");
                    assert_eq!(response.fields("www-authenticate"), [API_KEY], "{row}");
                    assert_eq!(upstream.count(), 0, "{row}: nothing reaches the upstream");
                }
            }
        }
    }
}

#[test]
fn a_key_in_the_query_goes_no_further() {
    let upstream = Upstream::start();
    let key = BILLING.key();
    for flags in ["", "forward_credential = true"] {
        let edge = edge(&upstream, flags, "query = \"api_key\"").start();
        assert_rows(
            &edge,
            &upstream,
            &[
                ("alone", format!("/api/x?api_key={key}"), vec![], Ok(("/x", ""))),
                (
                    "among others",
                    format!("/api/x?a=1&api_key={key}&b=%20"),
                    vec![],
                    Ok(("/x?a=1&b=%20", "")),
                ),
                (
                    "in escaped form",
                    format!("/api/x?a=1&api_%6bey=%68{}", &key[1..]),
                    vec![],
                    Ok(("/x?a=1", "")),
                ),
                ("missing", "/api/x?a=1".into(), vec![], Err(401)),
                ("unknown", format!("/api/x?api_key={}", secret(UNKNOWN)), vec![], Err(401)),
                ("empty", "/api/x?api_key=".into(), vec![], Err(401)),
                ("expired", format!("/api/x?api_key={}", BYGONE.key()), vec![], Err(401)),
                ("twice", format!("/api/x?api_key={key}&api_key={key}"), vec![], Err(400)),
                (
                    "good and unknown, in escaped form",
                    format!("/api/x?api_key={key}&%61pi_key={UNKNOWN}"),
                    vec![],
                    Err(400),
                ),
                ("in a cookie", "/api/x".into(), vec![format!("api_key={key}")], Err(401)),
            ],
        );
        assert_eq!(edge.get("/api/x").header("X-API-Key", key).send().status, 401, "in the header");
    }
}

#[test]
fn a_key_in_a_cookie_goes_no_further() {
    let upstream = Upstream::start();
    let edge = edge(&upstream, "", "cookie = \"api_key\"").start();
    let key = BILLING.key();
    let target = || "/api/x".to_owned();
    assert_rows(
        &edge,
        &upstream,
        &[
            ("alone", target(), vec![format!("api_key={key}")], Ok(("/x", ""))),
            (
                "among others",
                target(),
                vec![format!("a=1; api_key={key}; b=2")],
                Ok(("/x", "a=1; b=2")),
            ),
            ("missing", target(), vec!["a=1".into()], Err(401)),
            ("unknown", target(), vec![format!("api_key={}", secret(UNKNOWN))], Err(401)),
            ("expired", target(), vec![format!("api_key={}", BYGONE.key())], Err(401)),
            ("twice", target(), vec![format!("api_key={key}; api_key={key}")], Err(400)),
            (
                "twice, in two fields",
                target(),
                vec![format!("api_key={key}"), format!("api_key={UNKNOWN}")],
                Err(400),
            ),
        ],
    );
}

#[test]
fn guesses_are_counted_for_each_client_address() {
    let upstream = Upstream::start();
    let edge =
        edge(&upstream, "", "max_failures = 5").proxy("trusted_proxies = [\"127.0.0.1\"]").start();
    let status = |client: &str, key: &str| {
        edge.get("/api/x").header("X-Forwarded-For", client).header("X-API-Key", key).send().status
    };
    let good = BILLING.key();
    assert_eq!(status("192.0.2.1", good), 200, "somebody uses it");
    let guesses: Vec<u16> =
        (0..7).map(|number| status("192.0.2.2", &format!("{}{number}", secret(UNKNOWN)))).collect();
    assert_eq!(guesses, [401, 401, 401, 401, 401, 429, 429]);
    assert_eq!(status("192.0.2.2", good), 429, "the right one tells nothing");
    assert_eq!(status("192.0.2.1", good), 200, "who uses it goes on");
}
