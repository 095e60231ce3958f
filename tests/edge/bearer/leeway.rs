//! Times at their edges. Every row keeps 5 s away from the limit, so that a slow machine does not
//! change its outcome.

use serde_json::json;

use crate::support::token::{Token, now};
use crate::support::{Edge, Issuer, Upstream};

#[test]
fn sixty_seconds_of_leeway_both_ways() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let rows: [(&str, i64, u16); 9] = [
        ("exp", 0, 200),
        ("exp", -55, 200),
        ("exp", -65, 401),
        ("nbf", 0, 200),
        ("nbf", 55, 200),
        ("nbf", 65, 401),
        ("iat", 0, 200),
        ("iat", 55, 200),
        ("iat", 65, 401),
    ];
    for (claim, seconds, status) in rows {
        let whole = issuer.token().claim(claim, now() + seconds);
        assert_eq!(
            edge.get("/api/x").bearer(&whole.sign()).send().status,
            status,
            "{claim} {seconds:+} s"
        );
        let fraction = issuer.token().claim(claim, (now() + seconds) as f64 + 0.25);
        assert_eq!(
            edge.get("/api/x").bearer(&fraction.sign()).send().status,
            status,
            "{claim} {seconds:+}.25 s"
        );
    }
}

#[test]
fn the_leeway_is_the_one_configured() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    for (configured, seconds, status) in
        [(0, -5, 401), (0, 60, 200), (300, -290, 200), (300, -310, 401)]
    {
        let edge =
            Edge::with_jwt(&issuer, &upstream).jwt(&format!("leeway_secs = {configured}")).start();
        assert_eq!(
            edge.get("/api/x").bearer(&issuer.token().exp(seconds).sign()).send().status,
            status,
            "leeway {configured} s, exp {seconds:+} s"
        );
    }
}

#[test]
fn times_that_are_no_numbers_are_refused() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let later = now() + 600;
    let refused = |row: &str, token: Token| {
        assert_eq!(edge.get("/api/x").bearer(&token.sign()).send().status, 401, "{row}")
    };
    for claim in ["exp", "nbf", "iat"] {
        for value in [
            json!(later.to_string()),
            json!(null),
            json!(true),
            json!([later]),
            json!({ "at": later }),
            json!(""),
        ] {
            refused(&format!("{claim}: {value}"), issuer.token().claim(claim, value));
        }
    }
    refused("exp: 0", issuer.token().claim("exp", 0));
    refused("exp: -1", issuer.token().claim("exp", -1));
    refused("exp in milliseconds", issuer.token().claim("exp", later * 1000));
    refused("exp: the year 10000", issuer.token().claim("exp", 253_402_300_800_u64));
    refused("exp: the largest number", issuer.token().claim("exp", u64::MAX));
    refused("nbf: -1", issuer.token().claim("nbf", -1));
    refused("iat: -1", issuer.token().claim("iat", -1));
    refused("iat: -0.5", issuer.token().claim("iat", -0.5));
    refused("no exp", issuer.token().without("exp"));
    for claim in ["nbf", "iat"] {
        assert_eq!(
            edge.get("/api/x").bearer(&issuer.token().without(claim).sign()).send().status,
            200,
            "{claim} may be absent"
        );
    }
}

#[test]
fn a_token_that_passed_stops_passing_when_it_expires() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).jwt("leeway_secs = 0").start();
    let token = issuer.token().exp(2).sign();
    let status = || edge.get("/api/x").bearer(&token).send().status;
    assert_eq!([status(), status()], [200, 200], "before; the second time from the cache");
    crate::support::eventually("401 after the expiry", std::time::Duration::from_secs(20), || {
        (status() == 401).then_some(())
    });
}
