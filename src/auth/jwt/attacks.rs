//! Tokens that must not pass, and their neighbours that must.

use std::time::Duration;

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use crate::auth::chain::Chain;
use crate::auth::outcome::Reason;
use crate::auth::testing::{
    self, AUDIENCE, Answer, ISSUER, Issuer, Signer, bearer, claims, encode, settings, status,
};
use crate::config::{Jwt, JwtAlgorithm, KeySource, RequiredClaim, Secret};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A chain that trusts this key under the `kid` "k", and one more key.
fn chain(signer: &Signer, change: impl FnOnce(&mut Jwt)) -> Chain {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.json");
    let set = json!({ "keys": [signer.jwk("k"), Signer::new().jwk("other")] });
    std::fs::write(&path, set.to_string()).unwrap();
    let mut settings = settings(KeySource::JwksPath(path));
    change(&mut settings);
    Chain::build(&[testing::step(settings)], &testing::key_sets()).unwrap()
}

fn hs256_chain() -> Chain {
    let mut settings = settings(KeySource::Secret(Secret::new(SECRET.to_owned())));
    settings.algorithm = JwtAlgorithm::Hs256;
    Chain::build(&[testing::step(settings)], &testing::key_sets()).unwrap()
}

fn sign_hs256(header: &str, claims: &str, secret: &[u8]) -> String {
    let input = format!("{}.{}", encode(header), encode(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    format!("{input}.{}", encode(hmac::sign(&key, input.as_bytes())))
}

/// Claims with members changed; `null` removes one.
fn claims_with(changes: Value) -> String {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims.to_string()
}

async fn reason(chain: &Chain, token: &str) -> Option<Reason> {
    chain
        .authenticate(&bearer(token))
        .await
        .err()
        .map(|denial| denial.reason())
}

#[tokio::test]
async fn attacks_are_refused_alike() {
    let (good, evil) = (Signer::new(), Signer::new());
    let chain = chain(&good, |_| {});
    let trap = Issuer::start(testing::keys(&[evil.jwk("k")])).await;
    let token = good.token("k");
    assert_eq!(status(&chain, &token).await, 200);
    let [header, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else {
        panic!()
    };
    let ok = claims().to_string();
    let signed = |header: &str| good.sign(header, &ok);
    let headed = |name: &str, value: Value| {
        let mut header = json!({ "alg": "RS256", "kid": "k" });
        header[name] = value;
        good.sign(&header.to_string(), &ok)
    };
    let claimed = |claims: &str| good.sign(r#"{"alg":"RS256","kid":"k"}"#, claims);
    let unsigned = |header: &str| format!("{}.{}.", encode(header), encode(&ok));
    let mut cases: Vec<(String, Reason)> = Vec::new();
    let mut add = |token: String, reason| cases.push((token, reason));

    // The algorithm.
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let header = json!({ "alg": alg, "kid": "k" }).to_string();
        add(unsigned(&header), Reason::WrongAlgorithm);
        add(signed(&header), Reason::WrongAlgorithm);
        add(
            format!("{}{signature}", unsigned(&header)),
            Reason::WrongAlgorithm,
        );
    }
    for alg in [
        "HS256", "HS384", "RS384", "RS512", "PS256", "ES256", "EdDSA", "rs256", "Rs256", "RS256 ",
        "RSA1_5", "dir",
    ] {
        add(headed("alg", json!(alg)), Reason::WrongAlgorithm);
    }
    for alg in [
        json!(null),
        json!(["RS256"]),
        json!({"RS256": 1}),
        json!(256),
        json!(true),
    ] {
        add(headed("alg", alg), Reason::WrongAlgorithm);
    }
    add(signed(r#"{"kid":"k"}"#), Reason::WrongAlgorithm);
    add(
        signed(r#"{"ALG":"RS256","kid":"k"}"#),
        Reason::WrongAlgorithm,
    );
    // A public key for a secret.
    for secret in [
        good.public_pem(),
        good.public_pem().trim().to_owned(),
        good.pkcs1_pem(),
    ] {
        add(
            sign_hs256(r#"{"alg":"HS256","kid":"k"}"#, &ok, secret.as_bytes()),
            Reason::WrongAlgorithm,
        );
        add(
            sign_hs256(r#"{"alg":"RS256","kid":"k"}"#, &ok, secret.as_bytes()),
            Reason::BadSignature,
        );
    }
    add(
        sign_hs256(r#"{"alg":"RS256","kid":"k"}"#, &ok, good.modulus()),
        Reason::BadSignature,
    );

    // Header parameters that would change the meaning.
    for crit in [
        json!([]),
        json!(["exp"]),
        json!(["b64"]),
        json!(["alg"]),
        json!(["unknown", "unknown"]),
        json!("exp"),
        json!(null),
        json!({}),
    ] {
        add(headed("crit", crit), Reason::UnsupportedHeader);
    }
    add(
        signed(r#"{"alg":"RS256","kid":"k","crit":["b64"],"b64":true}"#),
        Reason::UnsupportedHeader,
    );
    for (name, value) in [
        ("b64", json!(false)),
        ("b64", json!(true)),
        ("zip", json!("DEF")),
        ("zip", json!("")),
        ("enc", json!("A256GCM")),
        ("cty", json!("JWT")),
        ("cty", json!("")),
    ] {
        add(headed(name, value), Reason::UnsupportedHeader);
    }
    for typ in [
        json!("logout+jwt"),
        json!("dpop+jwt"),
        json!("secevent+jwt"),
        json!("JWE"),
        json!("JOSE"),
        json!("JWT "),
        json!("application/"),
        json!("application/application/jwt"),
        json!("text/jwt"),
        json!(""),
        json!(null),
        json!(1),
        json!(["JWT"]),
    ] {
        add(headed("typ", typ), Reason::WrongType);
    }

    // Keys that the token brings, or points at.
    for (name, value) in [
        ("jwk", evil.jwk("k")),
        ("jku", json!(trap.url)),
        ("x5u", json!(trap.url)),
        ("x5c", json!([encode(evil.public_pem())])),
        ("x5t", json!("AAAA")),
    ] {
        let header = json!({ "alg": "RS256", "kid": "k", name: value });
        add(evil.sign(&header.to_string(), &ok), Reason::BadSignature);
    }
    for kid in [
        "",
        "K",
        "k ",
        "k\0",
        "../k",
        "' OR 1=1",
        "/dev/null",
        &trap.url,
    ] {
        add(headed("kid", json!(kid)), Reason::UnknownKid);
    }
    for kid in [json!(1), json!(null), json!(["k"]), json!({})] {
        add(headed("kid", kid), Reason::Malformed);
    }
    add(headed("kid", json!("other")), Reason::BadSignature);
    add(signed(r#"{"alg":"RS256"}"#), Reason::NoKid);

    // Names that come twice.
    add(
        signed(r#"{"alg":"RS256","alg":"RS256","kid":"k"}"#),
        Reason::Malformed,
    );
    add(
        signed(r#"{"alg":"none","alg":"RS256","kid":"k"}"#),
        Reason::Malformed,
    );
    add(
        signed(r#"{"alg":"RS256","\u0061lg":"none","kid":"k"}"#),
        Reason::Malformed,
    );
    add(
        signed(r#"{"alg":"RS256","kid":"k","jwk":{"n":"a","n":"b"}}"#),
        Reason::Malformed,
    );
    add(
        claimed(&ok.replacen('{', r#"{"sub":"root","#, 1)),
        Reason::Malformed,
    );
    add(
        claimed(&ok.replacen('{', r#"{"exp":1,"#, 1)),
        Reason::Malformed,
    );
    add(
        claimed(&ok.replacen('{', r#"{"x":[{"a":1,"a":1}],"#, 1)),
        Reason::Malformed,
    );

    // What is not JSON, or not an object.
    for text in [
        "",
        "null",
        "[]",
        "\"RS256\"",
        "{",
        "{}{}",
        "\u{feff}{}",
        "{\"alg\":\"RS256\",}",
    ] {
        add(signed(text), Reason::Malformed);
        add(claimed(text), Reason::Malformed);
    }
    add(signed("{}"), Reason::WrongAlgorithm);
    add(claimed("{}"), Reason::NoExpiry);

    // The compact form.
    for token in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        "a".to_owned(),
        format!("{header}.{payload}"),
        format!("{header}.{payload}.{signature}."),
        format!(".{header}.{payload}.{signature}"),
        format!("{header}.{payload}.{signature}.{signature}"),
        format!("{header}.{payload}.{signature}.{signature}.{signature}"),
        format!("{header}=.{payload}.{signature}"),
        format!("{header}.{payload}==.{signature}"),
        format!("{header}.{payload}.{signature}="),
        format!("{header}.{payload}.{signature}=="),
        format!("{header}.{payload} .{signature}"),
        format!("{header}.\t{payload}.{signature}"),
        format!("{header}.{payload}.{signature},{token}"),
        format!("{header}.{payload}.{}", signature.replace(['-', '_'], "+")),
        format!("{header}.{payload}.+/{signature}"),
        format!("{header}.{payload}.{signature}A"),
        format!("{header}?.{payload}.{signature}"),
        format!("{header}%2E{payload}%2E{signature}"),
        stray_bits(&token),
        json!({ "protected": header, "payload": payload, "signature": signature }).to_string(),
        json!({ "payload": payload, "signatures": [{ "protected": header, "signature": signature }] }).to_string(),
    ] {
        add(token, Reason::Malformed);
    }
    add(
        claimed(&claims_with(json!({ "pad": "x".repeat(8192) }))),
        Reason::TooLong,
    );

    // The signature.
    add(format!("{header}.{payload}."), Reason::BadSignature);
    add(format!("{header}.{payload}.AAAA"), Reason::BadSignature);
    add(
        format!("{header}.{payload}.{}", encode([0; 256])),
        Reason::BadSignature,
    );
    add(
        format!("{header}.{payload}.{}", encode([0xff; 256])),
        Reason::BadSignature,
    );
    add(
        format!(
            "{header}.{payload}.{}AAAAAAAA",
            &signature[..signature.len() - 8]
        ),
        Reason::BadSignature,
    );
    add(
        format!("{header}.{payload}.AAAA{signature}"),
        Reason::BadSignature,
    );
    add(
        format!(
            "{header}.{}.{signature}",
            encode(claims_with(json!({ "sub": "root" })))
        ),
        Reason::BadSignature,
    );
    add(
        format!(
            "{}.{payload}.{signature}",
            encode(r#"{"alg":"RS256","kid":"k","typ":"JWT"}"#)
        ),
        Reason::BadSignature,
    );
    add(evil.token("k"), Reason::BadSignature);

    // Claims.
    for exp in [
        json!("9999999999"),
        json!(true),
        json!([9_999_999_999_i64]),
        json!({}),
    ] {
        add(
            claimed(&claims_with(json!({ "exp": exp }))),
            Reason::Malformed,
        );
        add(
            claimed(&claims_with(json!({ "nbf": exp }))),
            Reason::Malformed,
        );
        add(
            claimed(&claims_with(json!({ "iat": exp }))),
            Reason::Malformed,
        );
    }
    for name in ["exp", "nbf", "iat", "sub"] {
        let null = format!("\"{name}\":null");
        let text = claims_with(json!({ name: 7 })).replace(&format!("\"{name}\":7"), &null);
        assert!(text.contains(&null));
        add(claimed(&text), Reason::Malformed);
        let text = claims_with(json!({ name: 7 }))
            .replace(&format!("\"{name}\":7"), &format!("\"{name}\":1e999"));
        add(claimed(&text), Reason::Malformed);
    }
    add(
        claimed(&claims_with(json!({ "exp": null }))),
        Reason::NoExpiry,
    );
    for exp in [json!(0), json!(-1), json!(-1e300), json!(1.5)] {
        add(
            claimed(&claims_with(json!({ "exp": exp }))),
            Reason::Expired,
        );
    }
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
        add(
            claimed(&claims_with(json!({ "iss": iss }))),
            Reason::WrongIssuer,
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
        add(
            claimed(&claims_with(json!({ "aud": aud }))),
            Reason::WrongAudience,
        );
    }
    for sub in [json!(1), json!(["alice"]), json!({})] {
        add(
            claimed(&claims_with(json!({ "sub": sub }))),
            Reason::Malformed,
        );
    }
    for sub in [
        "a\r\nX-Auth-Subject: root",
        "a\0",
        "Zoë",
        "\u{7f}",
        " alice",
    ] {
        add(
            claimed(&claims_with(json!({ "sub": sub }))),
            Reason::UnsafeSubject,
        );
    }

    assert!(cases.len() > 150, "{}", cases.len());
    let expected = chain
        .authenticate(&bearer(&evil.token("k")))
        .await
        .unwrap_err();
    assert_eq!(
        expected.challenges(),
        [r#"Bearer realm="harmony", error="invalid_token""#]
    );
    for (token, reason) in cases {
        let denial = chain.authenticate(&bearer(&token)).await.expect_err(&token);
        assert_eq!(denial.reason(), reason, "{token}");
        let answer = (denial.status(), denial.challenges(), denial.retry_after());
        assert_eq!(answer, (401, expected.challenges(), None), "{token}");
    }
    assert_eq!(trap.fetches(), 0);
}

/// The last letter of the signature with a bit set that carries nothing.
fn stray_bits(token: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = token.split_at(token.len() - 1);
    let value = ALPHABET.find(last).unwrap();
    assert_eq!(value % 16, 0);
    format!("{rest}{}", &ALPHABET[value + 1..value + 2])
}

#[tokio::test]
async fn what_is_allowed_passes() {
    let good = Signer::new();
    let chain = chain(&good, |_| {});
    let ok = claims().to_string();
    for (name, value) in [
        ("typ", json!("JWT")),
        ("typ", json!("jwt")),
        ("typ", json!("at+jwt")),
        ("typ", json!("AT+JWT")),
        ("typ", json!("application/at+jwt")),
        ("jku", json!("https://evil.example/")),
        ("jwk", Signer::new().jwk("k")),
        ("x5c", json!([])),
        ("unknown", json!({"a": [1, 2.5, null]})),
    ] {
        let mut header = json!({ "alg": "RS256", "kid": "k" });
        header[name] = value;
        assert_eq!(
            reason(&chain, &good.sign(&header.to_string(), &ok)).await,
            None,
            "{header}"
        );
    }
    for changes in [
        json!({ "exp": 1e300 }),
        json!({ "exp": u64::MAX }),
        json!({ "nbf": 0, "iat": -1.5 }),
        json!({ "nbf": null, "iat": null, "sub": null }),
        json!({ "aud": ["other", AUDIENCE] }),
        json!({ "sub": "" }),
        json!({ "sub": "CN=Alice Smith,O=Example" }),
        json!({ "nested": [{ "a": {} }, { "a": {} }] }),
    ] {
        let token = good.sign(
            r#" { "kid" : "k", "alg" : "RS256" } "#,
            &claims_with(changes.clone()),
        );
        assert_eq!(reason(&chain, &token).await, None, "{changes}");
    }
}

#[tokio::test]
async fn leeway_is_exact_both_ways() {
    let good = Signer::new();
    let chain = chain(&good, |_| {});
    let now = 1_800_000_000.0;
    let cases = [
        (json!({ "exp": now - 55.0 }), None),
        (json!({ "exp": now - 59.9 }), None),
        (json!({ "exp": now - 60.0 }), Some(Reason::Expired)),
        (json!({ "exp": now - 65.0 }), Some(Reason::Expired)),
        (json!({ "nbf": now + 55.0 }), None),
        (json!({ "nbf": now + 60.0 }), None),
        (json!({ "nbf": now + 60.5 }), Some(Reason::NotYetValid)),
        (json!({ "nbf": now + 65.0 }), Some(Reason::NotYetValid)),
        (json!({ "iat": now + 55.0 }), None),
        (json!({ "iat": now + 65.0 }), Some(Reason::NotYetValid)),
        (json!({ "iat": 1e300 }), Some(Reason::NotYetValid)),
    ];
    for (changes, expected) in cases {
        let mut claims = json!({ "iss": ISSUER, "aud": AUDIENCE, "exp": now + 600.0 });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let token = good.sign(r#"{"alg":"RS256","kid":"k"}"#, &claims.to_string());
        let found = chain.authenticate_at(&bearer(&token), now).await;
        assert_eq!(
            found.as_ref().err().map(|denial| denial.reason()),
            expected,
            "{changes}"
        );
        if let (Ok(Some(identity)), Some(exp)) = (found, changes.get("exp")) {
            assert_eq!(identity.valid_until(), exp.as_f64().map(|exp| exp + 60.0));
        }
        let broken_clock = chain.authenticate_at(&bearer(&token), f64::INFINITY).await;
        assert_eq!(broken_clock.unwrap_err().reason(), Reason::Expired);
    }
}

#[tokio::test]
async fn required_claims_and_scopes() {
    let good = Signer::new();
    let required = |name: &str, values: Value| RequiredClaim {
        name: name.to_owned(),
        values: values.as_array().unwrap().clone(),
    };
    let chain = chain(&good, |settings| {
        settings.required_claims = vec![
            required("tenant", json!([])),
            required("level", json!([1, "one"])),
        ];
        settings.required_scopes = vec!["read".to_owned(), "write".to_owned()];
    });
    let cases = [
        (
            json!({ "tenant": "a", "level": 1, "scope": "read write" }),
            None,
        ),
        (
            json!({ "tenant": false, "level": 1.0, "scope": "x write read" }),
            None,
        ),
        (
            json!({ "tenant": "a", "level": ["two", "one"], "scp": ["read", "write"] }),
            None,
        ),
        (
            json!({ "tenant": "a", "level": "one", "scp": "write", "scope": ["read"] }),
            None,
        ),
        (
            json!({ "level": 1, "scope": "read write" }),
            Some(Reason::ClaimMissing),
        ),
        (
            json!({ "tenant": "a", "scope": "read write" }),
            Some(Reason::ClaimMissing),
        ),
        (
            json!({ "tenant": "a", "level": 2, "scope": "read write" }),
            Some(Reason::ClaimMissing),
        ),
        (
            json!({ "tenant": "a", "level": "1", "scope": "read write" }),
            Some(Reason::ClaimMissing),
        ),
        (
            json!({ "tenant": "a", "level": [[1]], "scope": "read write" }),
            Some(Reason::ClaimMissing),
        ),
        (
            json!({ "tenant": "a", "level": 1 }),
            Some(Reason::ScopeMissing),
        ),
        (
            json!({ "tenant": "a", "level": 1, "scope": "read" }),
            Some(Reason::ScopeMissing),
        ),
        (
            json!({ "tenant": "a", "level": 1, "scope": "read writes" }),
            Some(Reason::ScopeMissing),
        ),
        (
            json!({ "tenant": "a", "level": 1, "scope": "read,write" }),
            Some(Reason::ScopeMissing),
        ),
        (
            json!({ "tenant": "a", "level": 1, "scope": ["read write"] }),
            Some(Reason::ScopeMissing),
        ),
        (
            json!({ "tenant": "a", "level": 1, "scope": { "read": 1, "write": 1 } }),
            Some(Reason::ScopeMissing),
        ),
        (json!({ "exp": 1 }), Some(Reason::Expired)),
    ];
    for (changes, expected) in cases {
        let token = good.sign(
            r#"{"alg":"RS256","kid":"k"}"#,
            &claims_with(changes.clone()),
        );
        assert_eq!(reason(&chain, &token).await, expected, "{changes}");
    }
    let denial = chain
        .authenticate(&bearer(&good.token("k")))
        .await
        .unwrap_err();
    assert_eq!(denial.status(), 403);
    assert_eq!(
        denial.challenges(),
        [r#"Bearer realm="harmony", error="insufficient_scope""#]
    );
}

#[tokio::test]
async fn hs256_takes_its_secret_only() {
    let chain = hs256_chain();
    let ok = claims().to_string();
    for header in [r#"{"alg":"HS256"}"#, r#"{"alg":"HS256","kid":"whatever"}"#] {
        assert_eq!(
            reason(&chain, &sign_hs256(header, &ok, SECRET.as_bytes())).await,
            None
        );
    }
    for alg in ["RS256", "none", "HS384", "HS512", "hs256"] {
        let token = sign_hs256(&json!({ "alg": alg }).to_string(), &ok, SECRET.as_bytes());
        assert_eq!(
            reason(&chain, &token).await,
            Some(Reason::WrongAlgorithm),
            "{alg}"
        );
    }
    for secret in ["", "secret", "0123456789abcdef0123456789abcdeg"] {
        let token = sign_hs256(r#"{"alg":"HS256"}"#, &ok, secret.as_bytes());
        assert_eq!(
            reason(&chain, &token).await,
            Some(Reason::BadSignature),
            "{secret}"
        );
    }
    let good = sign_hs256(r#"{"alg":"HS256"}"#, &ok, SECRET.as_bytes());
    for cut in 1..43 {
        let found = reason(&chain, &good[..good.len() - cut]).await;
        assert!(
            matches!(found, Some(Reason::BadSignature | Reason::Malformed)),
            "{cut}"
        );
    }
    let rs256 = Signer::new().token("k");
    assert_eq!(reason(&chain, &rs256).await, Some(Reason::WrongAlgorithm));
}

#[tokio::test]
async fn one_pem_looks_at_no_kid() {
    let (good, evil) = (Signer::new(), Signer::new());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.pem");
    std::fs::write(&path, good.public_pem()).unwrap();
    let chain = Chain::build(
        &[testing::step(settings(KeySource::PublicKey(path)))],
        &testing::key_sets(),
    )
    .unwrap();
    for kid in ["k", "anything"] {
        assert_eq!(reason(&chain, &good.token(kid)).await, None);
        assert_eq!(
            reason(&chain, &evil.token(kid)).await,
            Some(Reason::BadSignature)
        );
    }
    let no_kid = good.sign(r#"{"alg":"RS256"}"#, &claims().to_string());
    assert_eq!(reason(&chain, &no_kid).await, None);
}

#[tokio::test]
async fn leeway_may_be_none_and_checks_may_be_off() {
    let good = Signer::new();
    let chain = chain(&good, |settings| {
        settings.leeway = Duration::ZERO;
        settings.issuers = Vec::new();
        settings.audiences = Vec::new();
    });
    let now = crate::auth::clock::now();
    for (changes, expected) in [
        (json!({ "iss": null, "aud": null }), None),
        (json!({ "iss": "anyone", "aud": ["anything"] }), None),
        (json!({ "iss": ["anyone"] }), Some(Reason::WrongIssuer)),
        (json!({ "aud": 1 }), Some(Reason::WrongAudience)),
        (json!({ "aud": ["a", 1] }), Some(Reason::WrongAudience)),
        (json!({ "exp": now - 1.0 }), Some(Reason::Expired)),
        (json!({ "nbf": now + 5.0 }), Some(Reason::NotYetValid)),
    ] {
        let token = good.sign(
            r#"{"alg":"RS256","kid":"k"}"#,
            &claims_with(changes.clone()),
        );
        assert_eq!(reason(&chain, &token).await, expected, "{changes}");
    }
}

/// Not a test of speed: it holds that nothing of a token shows in any of its types.
#[tokio::test]
async fn debug_shows_no_claims() {
    let good = Signer::new();
    let chain = chain(&good, |settings| {
        settings.claims_to_headers = vec![(
            "email".to_owned(),
            http::HeaderName::from_static("x-auth-email"),
        )];
    });
    let token = good.sign(
        r#"{"alg":"RS256","kid":"k"}"#,
        &claims_with(json!({ "sub": "needle-s", "email": "needle-e" })),
    );
    let identity = chain.authenticate(&bearer(&token)).await.unwrap().unwrap();
    assert_eq!(identity.subject().unwrap(), "needle-s");
    assert_eq!(identity.headers()[0].1, "needle-e");
    let denial = chain.authenticate(&bearer(&token[1..])).await.unwrap_err();
    let shown = format!("{chain:?} {identity:?} {denial:?} {:?}", hs256_chain());
    assert!(
        !shown.contains("needle") && !shown.contains(SECRET) && shown.contains("x-auth-email"),
        "{shown}"
    );
    let _ = Answer::Silence;
}
