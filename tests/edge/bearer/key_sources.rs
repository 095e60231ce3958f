//! Keys from elsewhere than a URL, HS256 when it is stated, and keys that are refused when a set is
//! loaded.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::keys::{RsaKey, Signer, base64url};
use crate::support::token::Token;
use crate::support::{Edge, Issuer, Settings, Upstream, secrets};

/// 40 bytes; made of letters, so that a search of the log finds it as it is.
const SECRET: &str = "correctHorseBatteryStapleIsNotMySecret42";

#[test]
fn hs256_works_when_it_is_stated() {
    secrets::remember(SECRET);
    let upstream = Upstream::start();
    for stated in ["algorithm = \"HS256\"", "use_hs256 = true"] {
        let source = format!("{stated}\nsecret = \"${{JWT_SECRET}}\"");
        let edge = Edge::configured(Settings::with_keys(&source, &upstream))
            .env("JWT_SECRET", SECRET)
            .start();
        let token = Token::new("HS256", Signer::Hs256(SECRET.into()));
        let status = |token: &Token| edge.get("/api/x").bearer(&token.sign()).send().status;
        assert_eq!(status(&token), 200, "{stated}");
        assert_eq!(status(&token.clone().kid("any")), 200, "{stated}: a kid is not looked at");
        assert_eq!(status(&token.clone().expired()), 401, "{stated}: expired");
        assert_eq!(
            status(
                &token
                    .clone()
                    .signed_by(Signer::Hs256(b"another secret that is also long enough".to_vec()))
            ),
            401,
            "{stated}: another secret"
        );
        assert_eq!(
            status(&token.clone().signed_by(Signer::Hs256(Vec::new()))),
            401,
            "{stated}: an empty secret"
        );
        assert_eq!(
            status(&token.clone().header("alg", "none").signed_by(Signer::Nothing)),
            401,
            "{stated}: alg none"
        );
        assert_eq!(
            status(&token.clone().header("alg", "HS512").signed_by(Signer::Hs512(SECRET.into()))),
            401,
            "{stated}: HS512"
        );
        assert_eq!(
            status(&token.header("alg", "RS256").signed_by(Signer::Rs256(RsaKey::number(0)))),
            401,
            "{stated}: RS256"
        );
    }
}

#[test]
fn a_public_key_in_a_file_verifies_whatever_the_kid() {
    let upstream = Upstream::start();
    let key = RsaKey::number(0);
    let edge = Edge::configured(Settings::with_keys("public_key_path = \"key.pem\"", &upstream))
        .file("key.pem", &key.public_pem())
        .start();
    let token = Token::new("RS256", Signer::Rs256(Arc::clone(&key)));
    let status = |token: &Token| edge.get("/api/x").bearer(&token.sign()).send().status;
    assert_eq!(status(&token), 200, "no kid");
    assert_eq!(status(&token.clone().kid("anything")), 200, "some kid");
    assert_eq!(
        status(&token.clone().signed_by(Signer::Rs256(RsaKey::number(1)))),
        401,
        "another key"
    );
    assert_eq!(
        status(
            &token.header("alg", "HS256").signed_by(Signer::Hs256(key.public_pem().into_bytes()))
        ),
        401,
        "the PEM as a secret"
    );
}

#[test]
fn a_key_set_in_a_file_selects_by_kid() {
    let upstream = Upstream::start();
    let (one, two) = (RsaKey::number(0), RsaKey::number(1));
    let set = json!({ "keys": [one.jwk("k1"), two.jwk("k2")] }).to_string();
    let edge = Edge::configured(Settings::with_keys("jwks_path = \"keys.json\"", &upstream))
        .file("keys.json", &set)
        .start();
    let status = |key: &Arc<RsaKey>, kid: &str| {
        edge.get("/api/x")
            .bearer(&Token::new("RS256", Signer::Rs256(Arc::clone(key))).kid(kid).sign())
            .send()
            .status
    };
    assert_eq!(
        [status(&one, "k1"), status(&two, "k2"), status(&one, "k2"), status(&one, "k3")],
        [200, 200, 401, 401]
    );
}

#[test]
fn a_bad_key_in_a_set_is_skipped_and_the_good_one_serves() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let (good, bad) = (RsaKey::number(0), RsaKey::number(1));
    let with = |member: &str, value: Value| {
        let mut jwk = bad.jwk("bad");
        jwk[member] = value;
        jwk
    };
    let short = base64url(&bad.modulus()[..128]);
    let rows = [
        ("use is enc", with("use", json!("enc"))),
        ("key_ops without verify", with("key_ops", json!(["encrypt"]))),
        ("empty key_ops", with("key_ops", json!([]))),
        ("another algorithm", with("alg", json!("RS512"))),
        ("an encryption algorithm", with("alg", json!("RSA-OAEP"))),
        ("another kty", with("kty", json!("EC"))),
        ("under 2048 bits", with("n", json!(short))),
        ("an exponent of 1", with("e", json!("AQ"))),
        ("no modulus", with("n", json!(null))),
        ("a modulus that is no base64url", with("n", json!("!!!"))),
        (
            "a symmetric key",
            json!({ "kty": "oct", "kid": "bad", "k": base64url(bad.public_pem()) }),
        ),
        ("no object", json!("bad")),
    ];
    for (row, jwk) in rows {
        issuer.publish(vec![good.jwk("good"), jwk]);
        let edge = Edge::with_jwt(&issuer, &upstream).start();
        let status = |key: &Arc<RsaKey>, kid: &str| {
            edge.get("/api/x").bearer(&issuer.token_of(kid, key).sign()).send().status
        };
        assert_eq!(status(&good, "good"), 200, "{row}: the good key");
        assert_eq!(status(&bad, "bad"), 401, "{row}: the bad key");
    }
}

#[test]
fn two_keys_with_one_id_stand_for_neither() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let (one, two) = (RsaKey::number(0), RsaKey::number(1));
    issuer.publish(vec![one.jwk("k1"), two.jwk("k1"), two.jwk("k2")]);
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let status = |key: &Arc<RsaKey>, kid: &str| {
        edge.get("/api/x").bearer(&issuer.token_of(kid, key).sign()).send().status
    };
    assert_eq!(status(&one, "k1"), 401, "the first");
    assert_eq!(status(&two, "k1"), 401, "the second");
    assert_eq!(status(&two, "k2"), 200, "the rest of the set serves");
}
