//! Attacks by way of the header: another algorithm, parameters that change the meaning, keys that
//! the token brings.

use jose::TokenError;
use serde_json::json;

use super::super::sign_hs256;
use super::Forge;
use crate::auth::testing::encode;

/// The algorithm is not what the step says.
pub(super) fn algorithm(forge: &mut Forge) {
    let [.., signature] = forge.segments();
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let header = json!({ "alg": alg, "kid": "k" }).to_string();
        forge.add(forge.unsigned(&header), TokenError::WrongAlgorithm);
        forge.add(forge.signed(&header), TokenError::WrongAlgorithm);
        forge.add(
            format!("{}{signature}", forge.unsigned(&header)),
            TokenError::WrongAlgorithm,
        );
    }
    for alg in [
        "HS256", "HS384", "RS384", "RS512", "PS256", "ES256", "EdDSA", "rs256", "Rs256", "RS256 ",
        "RSA1_5", "dir",
    ] {
        forge.add(forge.headed("alg", json!(alg)), TokenError::WrongAlgorithm);
    }
    for alg in [
        json!(null),
        json!(["RS256"]),
        json!({"RS256": 1}),
        json!(256),
        json!(true),
    ] {
        forge.add(forge.headed("alg", alg), TokenError::WrongAlgorithm);
    }
    forge.add(forge.signed(r#"{"kid":"k"}"#), TokenError::WrongAlgorithm);
    forge.add(
        forge.signed(r#"{"ALG":"RS256","kid":"k"}"#),
        TokenError::WrongAlgorithm,
    );
    // A public key for a secret.
    for secret in [
        forge.good.public_pem(),
        forge.good.public_pem().trim().to_owned(),
        forge.good.pkcs1_pem(),
    ] {
        forge.add(
            sign_hs256(
                r#"{"alg":"HS256","kid":"k"}"#,
                &forge.claims,
                secret.as_bytes(),
            ),
            TokenError::WrongAlgorithm,
        );
        forge.add(
            sign_hs256(
                r#"{"alg":"RS256","kid":"k"}"#,
                &forge.claims,
                secret.as_bytes(),
            ),
            TokenError::BadSignature,
        );
    }
    forge.add(
        sign_hs256(
            r#"{"alg":"RS256","kid":"k"}"#,
            &forge.claims,
            forge.good.modulus(),
        ),
        TokenError::BadSignature,
    );
}

/// Parameters that would change the meaning.
pub(super) fn parameters(forge: &mut Forge) {
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
        forge.add(forge.headed("crit", crit), TokenError::UnsupportedHeader);
    }
    forge.add(
        forge.signed(r#"{"alg":"RS256","kid":"k","crit":["b64"],"b64":true}"#),
        TokenError::UnsupportedHeader,
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
        forge.add(forge.headed(name, value), TokenError::UnsupportedHeader);
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
        forge.add(forge.headed("typ", typ), TokenError::WrongType);
    }
}

/// Keys that the token brings, or points at.
pub(super) fn keys(forge: &mut Forge) {
    for (name, value) in [
        ("jwk", forge.evil.jwk("k")),
        ("jku", json!(forge.trap_url)),
        ("x5u", json!(forge.trap_url)),
        ("x5c", json!([encode(forge.evil.public_pem())])),
        ("x5t", json!("AAAA")),
    ] {
        let header = json!({ "alg": "RS256", "kid": "k", name: value });
        forge.add(
            forge.evil.sign(&header.to_string(), &forge.claims),
            TokenError::BadSignature,
        );
    }
    for kid in [
        "",
        "K",
        "k ",
        "k\0",
        "../k",
        "' OR 1=1",
        "/dev/null",
        &forge.trap_url.clone(),
    ] {
        forge.add(forge.headed("kid", json!(kid)), TokenError::UnknownKid);
    }
    for kid in [json!(1), json!(null), json!(["k"]), json!({})] {
        forge.add(forge.headed("kid", kid), TokenError::Malformed);
    }
    forge.add(
        forge.headed("kid", json!("other")),
        TokenError::BadSignature,
    );
    forge.add(forge.signed(r#"{"alg":"RS256"}"#), TokenError::NoKid);
}
