//! Tokens that must not pass, and that all get the same answer.

use crate::auth::AuthRequest;
use serde_json::{Value, json};

use super::{chain, claims_with, sign_hs256};
use crate::auth::outcome::Reason;
use crate::auth::testing::{
    self, AUDIENCE, ISSUER, Issuer, Signer, bearer, claims, encode, status,
};
use jose::clock;

#[tokio::test]
async fn attacks_are_refused_alike() {
    let (good, evil) = (Signer::generate(), Signer::generate());
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
        format!("{header}?.{payload}.{signature}"),
        format!("{header}%2E{payload}%2E{signature}"),
        stray_bits(&token),
        json!({ "protected": header, "payload": payload, "signature": signature }).to_string(),
        json!({ "payload": payload, "signatures": [{ "protected": header,
            "signature": signature }] })
        .to_string(),
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
        format!("{header}.{payload}.{signature}A"),
        Reason::BadSignature,
    );
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
    // In milliseconds; the year 10000; what no clock shows.
    let now = clock::now().floor() + 600.0;
    for exp in [
        json!(now * 1e3),
        json!(253_402_300_800_u64),
        json!(u64::MAX),
        json!(1e300),
    ] {
        add(
            claimed(&claims_with(json!({ "exp": exp }))),
            Reason::Malformed,
        );
    }
    for early in [json!(-1), json!(-0.5), json!(-1e300), json!(i64::MIN)] {
        for name in ["nbf", "iat"] {
            add(
                claimed(&claims_with(json!({ name: early }))),
                Reason::Malformed,
            );
        }
    }
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
        .authenticate(&AuthRequest::of(&bearer(&evil.token("k"))))
        .await
        .unwrap_err();
    assert_eq!(
        expected.challenges(),
        [r#"Bearer realm="harmony", error="invalid_token""#]
    );
    for (token, reason) in cases {
        let denial = chain
            .authenticate(&AuthRequest::of(&bearer(&token)))
            .await
            .expect_err(&token);
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
