//! Keys of every family, good and bad, as PEM and as JSON.

use serde_json::{Value, json};

use super::public::Material;
use super::*;
use crate::Algorithm::{self, *};
use crate::testing::{Pair, Signer, encode};

const FAMILIES: [Algorithm; 5] = [Rs256, Es256, Es384, Es512, EdDsa];

fn read(jwk: &Value) -> Result<PublicKey, KeyError> {
    PublicKey::from_jwk(jwk.as_object().unwrap())
}

fn with(jwk: &Value, name: &str, value: Value) -> Value {
    let mut jwk = jwk.clone();
    match value {
        Value::Null => drop(jwk.as_object_mut().unwrap().remove(name)),
        value => jwk[name] = value,
    }
    jwk
}

#[test]
fn a_key_is_the_same_as_pem_and_as_json() {
    for algorithm in FAMILIES {
        let pair = Pair::new(algorithm);
        let message = b"message";
        let signature = pair.signature(message);
        let pem = PublicKey::from_pem(pair.public_pem().as_bytes(), algorithm).unwrap();
        let jwk = read(&pair.jwk("k")).unwrap();
        assert!(pem == jwk, "{algorithm:?}");
        let written = jwk.to_jwks(Some("k"));
        assert!(read(&written[0]).unwrap() == jwk);
        assert_eq!(written, [pair.jwk("k")]);
        for key in [pem, jwk] {
            assert!(key.verifies(algorithm, message, &signature));
            assert!(!key.verifies(algorithm, b"massage", &signature));
            assert!(!key.verifies(algorithm, message, &signature[1..]));
            assert!(!key.verifies(algorithm, message, &[&signature[..], &[0]].concat()));
            assert!(!key.verifies(algorithm, message, b""));
            assert!(!key.verifies(algorithm, message, &vec![0; signature.len()]));
        }
    }
}

#[test]
fn a_key_serves_its_own_family_only() {
    const RSA: [Algorithm; 6] = [Rs256, Rs384, Rs512, Ps256, Ps384, Ps512];
    for algorithm in FAMILIES {
        let pair = Pair::new(algorithm);
        let free = read(&with(&pair.jwk("k"), "alg", Value::Null)).unwrap();
        for other in Algorithm::ALL {
            let fits = other == algorithm || (algorithm == Rs256 && RSA.contains(&other));
            assert_eq!(free.serves(other), fits, "{algorithm:?} {other:?}");
            let stated = read(&with(&pair.jwk("k"), "alg", json!(other.name())));
            match stated {
                Ok(key) => assert!(fits && key.algorithms().eq([other])),
                Err(refusal) => assert!(!fits && refusal == KeyError::Algorithm),
            }
            let pem = PublicKey::from_pem(pair.public_pem().as_bytes(), other);
            assert_eq!(pem.is_ok(), fits, "{algorithm:?} {other:?}");
        }
    }
}

#[test]
fn curve_keys_that_are_refused() {
    for algorithm in [Es256, Es384, Es512] {
        let jwk = Pair::new(algorithm).jwk("k");
        let other = Pair::new(algorithm).jwk("k");
        let x = jwk["x"].as_str().unwrap();
        let longer = format!("AAAA{x}");
        let cases = [
            (with(&jwk, "y", other["y"].clone()), KeyError::Point),
            (with(&jwk, "y", jwk["x"].clone()), KeyError::Point),
            (with(&jwk, "x", json!(&x[4..])), KeyError::Malformed),
            (with(&jwk, "x", json!(longer)), KeyError::Malformed),
            (with(&jwk, "x", json!("")), KeyError::Malformed),
            (with(&jwk, "x", json!(format!("{x}="))), KeyError::Malformed),
            (with(&jwk, "x", Value::Null), KeyError::Malformed),
            (with(&jwk, "y", Value::Null), KeyError::Malformed),
            (with(&jwk, "crv", Value::Null), KeyError::Malformed),
            (with(&jwk, "crv", json!("secp256k1")), KeyError::Curve),
            (with(&jwk, "crv", json!("p-256")), KeyError::Curve),
            (with(&jwk, "crv", json!("Ed25519")), KeyError::Curve),
            (with(&jwk, "d", json!("AAAA")), KeyError::Private),
            (with(&jwk, "use", json!("enc")), KeyError::Use),
            (with(&jwk, "key_ops", json!(["sign"])), KeyError::Operations),
            (with(&jwk, "kty", json!("RSA")), KeyError::Malformed),
            (with(&jwk, "kty", json!("OKP")), KeyError::Curve),
            (with(&jwk, "alg", json!("ECDH-ES")), KeyError::Algorithm),
        ];
        for (jwk, expected) in cases {
            assert_eq!(read(&jwk), Err(expected), "{jwk}");
        }
        for (name, zeros) in [("P-256", 32), ("P-384", 48), ("P-521", 66)] {
            let zero = json!(encode(vec![0; zeros]));
            let moved = with(&with(&jwk, "crv", json!(name)), "alg", Value::Null);
            assert_eq!(read(&moved).is_ok(), jwk["crv"] == name, "{moved}");
            let origin = with(&with(&moved, "x", zero.clone()), "y", zero);
            assert_eq!(read(&origin), Err(KeyError::Point));
        }
    }
}

#[test]
fn ed25519_keys_that_are_refused() {
    let jwk = Pair::new(EdDsa).jwk("k");
    let x = jwk["x"].as_str().unwrap();
    for (jwk, expected) in [
        (with(&jwk, "x", json!(&x[2..])), KeyError::Malformed),
        (
            with(&jwk, "x", json!(format!("{x}AA"))),
            KeyError::Malformed,
        ),
        (with(&jwk, "x", Value::Null), KeyError::Malformed),
        (with(&jwk, "crv", json!("Ed448")), KeyError::Curve),
        (with(&jwk, "crv", json!("X25519")), KeyError::Curve),
        (with(&jwk, "d", json!("AAAA")), KeyError::Private),
        (with(&jwk, "alg", json!("ES256")), KeyError::Algorithm),
    ] {
        assert_eq!(read(&jwk), Err(expected), "{jwk}");
    }
    // Points of small order, with either sign of x.
    let mut points = vec![[0; 32], [0; 32], [0xff; 32]];
    points[1][0] = 1;
    points[2][0] = 0xec;
    for mut point in points {
        for sign in [0x00, 0x80] {
            point[31] = point[31] & 0x7f | sign;
            let jwk = with(&jwk, "x", json!(encode(point)));
            assert_eq!(read(&jwk), Err(KeyError::Point), "{jwk}");
        }
    }
}

#[test]
fn pem_in_every_form() {
    let signer = Signer::generate();
    let signature = signer.signature(b"message");
    for pem in [signer.public_pem(), signer.pkcs1_pem()] {
        let key = PublicKey::from_pem(pem.as_bytes(), Rs256).unwrap();
        assert!(key.verifies(Rs256, b"message", &signature));
        assert!(!key.serves(Rs384));
        let windows = pem.replace('\n', "\r\n");
        assert!(PublicKey::from_pem(windows.as_bytes(), Rs256).unwrap() == key);
    }
    assert_eq!(
        PublicKey::from_pem(signer.private_pem().as_bytes(), Rs256),
        Err(KeyError::Private)
    );
    for text in [
        "",
        "hello",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n",
    ] {
        for algorithm in FAMILIES {
            let refused = PublicKey::from_pem(text.as_bytes(), algorithm);
            assert!(refused.is_err(), "{text}");
        }
    }
}

#[test]
fn weak_rsa_keys_are_refused() {
    let rsa = |n: &[u8], e: &[u8]| PublicKey::new(Material::rsa(n, e), None);
    let good = Signer::generate();
    let (n, e) = (good.modulus(), good.exponent());
    assert!(rsa(n, e).is_ok());
    assert!(rsa(&[&[0, 0], n].concat(), &[&[0], e].concat()).unwrap() == rsa(n, e).unwrap());
    let mut even = n.to_vec();
    *even.last_mut().unwrap() &= 0xfe;
    assert_eq!(rsa(&even, e), Err(KeyError::EvenModulus));
    let mut short = n.to_vec();
    short[0] = 0x7f;
    assert_eq!(rsa(&short, e), Err(KeyError::Size(2047)));
    assert_eq!(
        rsa(&n[128..], e).map(drop).unwrap_err(),
        KeyError::Size(1024 - n[128].leading_zeros() as usize)
    );
    assert_eq!(rsa(&[0xff; 1025], e), Err(KeyError::Size(8200)));
    assert_eq!(rsa(&[], e), Err(KeyError::Size(0)));
    for exponent in [
        &[][..],
        &[0],
        &[1],
        &[2],
        &[4],
        &[1, 0, 0],
        &[2, 0, 0, 0, 1],
        &[1; 9],
    ] {
        assert_eq!(rsa(n, exponent), Err(KeyError::Exponent), "{exponent:?}");
    }
    assert!(rsa(n, &[3]).is_ok());
}

#[test]
fn secrets_are_as_long_as_the_hash() {
    for (algorithm, least) in [(Hs256, 32), (Hs384, 48), (Hs512, 64)] {
        assert!(HmacKey::new(algorithm, &vec![b'x'; least]).is_some());
        assert!(HmacKey::new(algorithm, &vec![b'x'; least - 1]).is_none());
    }
    for algorithm in FAMILIES {
        assert!(HmacKey::new(algorithm, &[b'x'; 64]).is_none());
    }
}
