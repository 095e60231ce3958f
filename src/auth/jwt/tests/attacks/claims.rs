//! Attacks by way of the claims.

use jose::{TokenError, clock};
use serde_json::json;

use super::super::claims_with;
use super::Forge;
use crate::auth::outcome::Reason;
use crate::auth::testing::{AUDIENCE, ISSUER};

/// `exp`, `nbf` and `iat`.
pub(super) fn times(forge: &mut Forge) {
    for exp in [
        json!("9999999999"),
        json!(true),
        json!([9_999_999_999_i64]),
        json!({}),
    ] {
        forge.add(
            forge.claimed(&claims_with(json!({ "exp": exp }))),
            TokenError::Malformed,
        );
        forge.add(
            forge.claimed(&claims_with(json!({ "nbf": exp }))),
            TokenError::Malformed,
        );
        forge.add(
            forge.claimed(&claims_with(json!({ "iat": exp }))),
            TokenError::Malformed,
        );
    }
    for name in ["exp", "nbf", "iat", "sub"] {
        let null = format!("\"{name}\":null");
        let text = claims_with(json!({ name: 7 })).replace(&format!("\"{name}\":7"), &null);
        assert!(text.contains(&null));
        forge.add(forge.claimed(&text), TokenError::Malformed);
        let text = claims_with(json!({ name: 7 }))
            .replace(&format!("\"{name}\":7"), &format!("\"{name}\":1e999"));
        forge.add(forge.claimed(&text), TokenError::Malformed);
    }
    forge.add(
        forge.claimed(&claims_with(json!({ "exp": null }))),
        TokenError::NoExpiry,
    );
    // In milliseconds; the year 10000; what no clock shows.
    let now = clock::now().floor() + 600.0;
    for exp in [
        json!(now * 1e3),
        json!(253_402_300_800_u64),
        json!(u64::MAX),
        json!(1e300),
    ] {
        forge.add(
            forge.claimed(&claims_with(json!({ "exp": exp }))),
            TokenError::Malformed,
        );
    }
    for early in [json!(-1), json!(-0.5), json!(-1e300), json!(i64::MIN)] {
        for name in ["nbf", "iat"] {
            forge.add(
                forge.claimed(&claims_with(json!({ name: early }))),
                TokenError::Malformed,
            );
        }
    }
    for exp in [json!(0), json!(-1), json!(-1e300), json!(1.5)] {
        forge.add(
            forge.claimed(&claims_with(json!({ "exp": exp }))),
            TokenError::Expired,
        );
    }
}

/// `iss`, `aud` and `sub`.
pub(super) fn names(forge: &mut Forge) {
    for iss in [
        json!(null),
        json!([ISSUER]),
        json!(""),
        json!(1),
        json!({}),
        json!("https://auth.example.com/"),
        json!("https://AUTH.example.com"),
        json!("https://auth.example.com.evil.example"),
    ] {
        forge.add(
            forge.claimed(&claims_with(json!({ "iss": iss }))),
            TokenError::WrongIssuer,
        );
    }
    for aud in [
        json!(null),
        json!([]),
        json!(["other"]),
        json!("harmony"),
        json!("Harmony-api"),
        json!([AUDIENCE, 1]),
        json!([[AUDIENCE]]),
        json!({ AUDIENCE: 1 }),
        json!(1),
        json!("harmony-api other"),
    ] {
        forge.add(
            forge.claimed(&claims_with(json!({ "aud": aud }))),
            TokenError::WrongAudience,
        );
    }
    for sub in [json!(1), json!(["alice"]), json!({})] {
        forge.add(
            forge.claimed(&claims_with(json!({ "sub": sub }))),
            TokenError::Malformed,
        );
    }
    for sub in [
        "a\r\nX-Auth-Subject: root",
        "a\0",
        "Zoë",
        "\u{7f}",
        " alice",
    ] {
        forge.add(
            forge.claimed(&claims_with(json!({ "sub": sub }))),
            Reason::UnsafeSubject,
        );
    }
}
