//! Key sets as well-known issuers publish them, made up of keys of our own.

use serde_json::{Value, json};

use crate::Algorithm::{self, EdDsa, Es256, Ps256, Rs256, Rs384, Rs512};
use crate::TokenError;
use crate::jwks::parse::{ParsedKeySet, parse_after};
use crate::key::{KeyError, KeyRing};
use crate::testing::{Pair, Signer};

/// A key with some members changed; null takes one away.
fn with(mut jwk: Value, members: &Value) -> Value {
    for (name, value) in members.as_object().unwrap() {
        match value {
            Value::Null => drop(jwk.as_object_mut().unwrap().remove(name)),
            value => jwk[name] = value.clone(),
        }
    }
    jwk
}

fn text(keys: &[Value]) -> Vec<u8> {
    json!({ "keys": keys }).to_string().into_bytes()
}

/// The ring, and what became of each key that is not used, or not for everything.
fn read(keys: &[Value]) -> (KeyRing, Vec<KeyError>) {
    let set = ParsedKeySet::parse(&text(keys)).unwrap();
    let refused = set.refused.into_iter().map(|(_, refusal)| refusal);
    (set.ring, refused.collect())
}

fn selected(ring: &KeyRing, kid: &str, algorithm: Algorithm) -> Result<Value, TokenError> {
    let key = ring.select(Some(kid), algorithm)?;
    Ok(key.to_jwks(None).remove(0)["n"].clone())
}

#[test]
fn one_id_for_a_key_that_signs_and_one_that_encrypts() {
    let (signs, encrypts) = (Signer::generate(), Signer::generate());
    let sig = signs.jwk("a");
    for other in [
        // Keycloak
        json!({ "use": "enc", "alg": "RSA-OAEP", "x5c": ["MIIB"], "x5t": "x" }),
        json!({ "use": "enc", "alg": "RS256" }),
        json!({ "alg": "RSA-OAEP-256", "use": null }),
        json!({ "key_ops": ["encrypt", "wrapKey"], "use": null, "alg": null }),
        json!({ "kty": "oct", "k": "AAAA" }),
        json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA" }),
        json!({ "kty": "OKP", "crv": "X25519", "x": "AAAA", "alg": "ECDH-ES" }),
        json!({ "n": "AAAA" }),
        json!({ "d": "AQAB" }),
    ] {
        let other = with(encrypts.jwk("a"), &other);
        for keys in [[sig.clone(), other.clone()], [other.clone(), sig.clone()]] {
            let (ring, refused) = read(&keys);
            assert_eq!((ring.len(), refused.len()), (1, 1), "{other}");
            assert_eq!(selected(&ring, "a", Rs256), Ok(sig["n"].clone()), "{other}");
            assert!(ring.select(None, Rs256).is_ok(), "{other}");
        }
    }
}

#[test]
fn one_id_for_one_key_under_each_algorithm() {
    let (signer, other) = (Signer::generate(), Signer::generate());
    let under = |signer: &Signer, alg: &str| with(signer.jwk("a"), &json!({ "alg": alg }));
    // The same key three times is one key.
    let same = ["RS256", "RS384", "RS512"].map(|alg| under(&signer, alg));
    let (ring, refused) = read(&same);
    assert_eq!((ring.len(), refused.len()), (1, 0));
    for algorithm in [Rs256, Rs384, Rs512] {
        assert!(ring.select(Some("a"), algorithm).is_ok());
        assert!(ring.select(None, algorithm).is_ok());
    }
    assert_eq!(
        ring.select(Some("a"), Ps256).err(),
        Some(TokenError::KeyDoesNotFit)
    );
    // So is one that comes back from the disk.
    let written = ring.to_json();
    assert_eq!(written.as_array().unwrap().len(), 3);
    assert_eq!(read(written.as_array().unwrap()).0, ring);

    // Another key under each algorithm: the token's decides.
    let (ring, refused) = read(&[under(&signer, "RS256"), under(&other, "RS384")]);
    assert_eq!((ring.len(), refused.len()), (2, 0));
    assert_eq!(
        selected(&ring, "a", Rs256),
        Ok(signer.jwk("a")["n"].clone())
    );
    assert_eq!(selected(&ring, "a", Rs384), Ok(other.jwk("a")["n"].clone()));
    assert_eq!(
        ring.select(Some("a"), Rs512).err(),
        Some(TokenError::KeyDoesNotFit)
    );
    assert_eq!(read(ring.to_json().as_array().unwrap()).0, ring);
}

#[test]
fn one_id_for_keys_of_several_types() {
    let (rsa, ec, ed) = (Signer::generate(), Pair::new(Es256), Pair::new(EdDsa));
    let (ring, refused) = read(&[rsa.jwk("a"), ec.jwk("a"), ed.jwk("a")]);
    assert_eq!((ring.len(), refused.len()), (3, 0));
    for algorithm in [Rs256, Es256, EdDsa] {
        assert!(ring.select(Some("a"), algorithm).unwrap().serves(algorithm));
    }
}

#[test]
fn the_same_key_twice_is_one() {
    let signer = Signer::generate();
    let key = signer.jwk("a");
    let decorated = with(
        key.clone(),
        &json!({ "x5c": ["MIIB"], "issuer": "https://x/{tenantid}" }),
    );
    let free = with(key.clone(), &json!({ "alg": null }));
    for keys in [
        vec![key.clone(), key.clone()],
        vec![key.clone(), decorated.clone(), key.clone()],
        vec![key.clone(), free.clone()],
        vec![free, key.clone()],
    ] {
        let (ring, refused) = read(&keys);
        assert_eq!((ring.len(), refused.len()), (1, 0));
        assert!(ring.select(Some("a"), Rs256).is_ok());
    }
    // Under two ids, or without one, a token without an id still means it alone.
    let nameless = with(key.clone(), &json!({ "kid": null }));
    let (ring, _) = read(&[key, signer.jwk("b"), nameless.clone(), nameless]);
    assert_eq!(ring.len(), 3);
    assert!(ring.select(None, Rs256).is_ok());
}

#[test]
fn two_between_which_nothing_decides_are_both_refused_and_others_serve() {
    let (one, two, bystander) = (Signer::generate(), Signer::generate(), Signer::generate());
    let (ring, refused) = read(&[one.jwk("a"), bystander.jwk("b"), two.jwk("a")]);
    assert_eq!(refused, [KeyError::DuplicateKid; 2]);
    assert_eq!(
        ring.select(Some("a"), Rs256).err(),
        Some(TokenError::UnknownKid)
    );
    assert!(ring.select(Some("b"), Rs256).is_ok());

    // One for every algorithm beside one for a single algorithm: only that one is contested.
    let any = with(one.jwk("a"), &json!({ "alg": null }));
    let narrow = with(two.jwk("a"), &json!({ "alg": "RS512" }));
    let (ring, refused) = read(&[any, narrow]);
    assert_eq!(
        refused,
        [KeyError::DuplicateKidUnder(Rs512), KeyError::DuplicateKid]
    );
    assert_eq!(selected(&ring, "a", Rs256), Ok(one.jwk("a")["n"].clone()));
    assert_eq!(
        ring.select(Some("a"), Rs512).err(),
        Some(TokenError::KeyDoesNotFit)
    );
    assert_eq!(read(ring.to_json().as_array().unwrap()).0, ring);

    // Three of one id, and two without any.
    let keys = [
        one.jwk("a"),
        two.jwk("a"),
        Signer::generate().jwk("a"),
        bystander.jwk("b"),
    ];
    assert_eq!(read(&keys).1, [KeyError::DuplicateKid; 3]);
    let nameless = [one, two].map(|signer| with(signer.jwk(""), &json!({ "kid": null })));
    let (ring, refused) = read(&nameless);
    assert_eq!((ring.len(), refused.len()), (2, 0));
    assert_eq!(ring.select(None, Rs256).err(), Some(TokenError::NoKid));
}

#[test]
fn a_key_that_serves_is_not_taken_away_by_one_of_the_same_id() {
    let (old, new, bystander) = (Signer::generate(), Signer::generate(), Signer::generate());
    let (serving, _) = read(&[old.jwk("a"), bystander.jwk("b")]);
    for added in [
        new.jwk("a"),
        with(new.jwk("a"), &json!({ "alg": null })),
        with(new.jwk("a"), &json!({ "alg": "RS384" })),
        with(new.jwk("a"), &json!({ "use": "enc" })),
        with(old.jwk("a"), &json!({ "use": "enc" })),
        old.jwk("a"),
    ] {
        for keys in [[old.jwk("a"), added.clone()], [added.clone(), old.jwk("a")]] {
            let set = parse_after(&text(&keys), Some(&serving)).unwrap();
            let found = selected(&set.ring, "a", Rs256);
            assert_eq!(found, Ok(old.jwk("a")["n"].clone()), "{added}");
        }
    }
    // Once it is withdrawn, the other one serves.
    let set = parse_after(&text(&[new.jwk("a")]), Some(&serving)).unwrap();
    assert_eq!(
        selected(&set.ring, "a", Rs256),
        Ok(new.jwk("a")["n"].clone())
    );
}

#[test]
fn a_token_with_an_id_needs_a_key_with_that_id() {
    let (ring, _) = read(&[with(Signer::generate().jwk(""), &json!({ "kid": null }))]);
    assert_eq!(
        ring.select(Some("a"), Rs256).err(),
        Some(TokenError::UnknownKid)
    );
    assert_eq!(
        ring.select(Some(""), Rs256).err(),
        Some(TokenError::UnknownKid)
    );
    assert!(ring.select(None, Rs256).is_ok());
}

/// What they put into a key, as far as it is of interest; the numbers are our own.
#[test]
fn keys_as_issuers_write_them() {
    let sig = |members: Value| with(Signer::generate().jwk("x"), &members);
    for (issuer, keys) in [
        (
            "Keycloak",
            vec![
                sig(json!({ "x5c": ["MIIC"], "x5t": "x", "x5t#S256": "y" })),
                sig(json!({ "use": "enc", "alg": "RSA-OAEP", "x5c": ["MIIC"] })),
            ],
        ),
        (
            "Auth0",
            vec![
                sig(json!({ "x5c": ["MIID"], "x5t": "x" })),
                sig(json!({ "kid": "y", "x5c": ["MIID"] })),
            ],
        ),
        (
            "Entra ID",
            vec![sig(json!({ "alg": null, "x5c": ["MIIC"], "x5t": "x",
                "cloud_instance_name": "microsoftonline.com",
                "issuer": "https://login.microsoftonline.com/{tenantid}/v2.0" }))],
        ),
        ("Google", vec![sig(json!({}))]),
        (
            "Okta",
            vec![sig(
                json!({ "status": "ACTIVE", "created": "2026-01-01T00:00:00.000Z" }),
            )],
        ),
        ("Cognito", vec![sig(json!({})), sig(json!({ "kid": "y" }))]),
        (
            "AD FS",
            vec![sig(json!({ "x5t": "x", "x5c": ["MIIC"], "alg": "RS256" }))],
        ),
        (
            "GitLab",
            vec![sig(json!({ "use": "sig" })), sig(json!({ "kid": "y" }))],
        ),
        ("Dex", vec![sig(json!({})), sig(json!({ "kid": "y" }))]),
        (
            "no `use`, no `alg`",
            vec![sig(json!({ "use": null, "alg": null }))],
        ),
    ] {
        let (ring, _) = read(&keys);
        assert!(ring.select(Some("x"), Rs256).is_ok(), "{issuer}");
    }
}
