//! Project Wycheproof's vectors, where they are at hand. Their payloads are no claims, so they go
//! to the layers below: compact form, header, key, signature.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::{Algorithm, CompactJws, Header, HmacKey, KeyError, ParsedKeySet, testing};

/// Labelled valid, but for reasons that do not hold here: 346, 347, 350 and 351 leave the algorithm
/// to the token, 372 and 373 have a `?` inside base64url.
const REFUSED_THOUGH_VALID: [u64; 6] = [346, 347, 350, 351, 372, 373];
/// Labelled invalid, but equal to 357, which is valid.
const ACCEPTED_THOUGH_INVALID: [u64; 2] = [367, 370];

fn groups(name: &str) -> Vec<Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = ["../../../shared/vectors", "../../../../shared/vectors"]
        .iter()
        .find_map(|dir| std::fs::read_to_string(root.join(dir).join(name)).ok());
    match text {
        Some(text) => serde_json::from_str::<Value>(&text).unwrap()["testGroups"]
            .as_array()
            .unwrap()
            .clone(),
        None => {
            println!("SKIPPED: {name} is not at hand");
            Vec::new()
        }
    }
}

fn keys_of(group: &Value) -> Vec<Value> {
    let key = if group["public"].is_null() {
        &group["private"]
    } else {
        &group["public"]
    };
    match &key["keys"] {
        Value::Array(keys) => keys.clone(),
        _ => vec![key.clone()],
    }
}

/// Whether a JWS passes all layers below the claims, with the keys as a key set for an algorithm,
/// or with the one symmetric key for a secret.
fn passes(keys: &[Value], algorithm: Algorithm, text: &str) -> bool {
    let Ok(jws) = CompactJws::split(text.as_bytes()) else {
        return false;
    };
    let Ok(header) = Header::read(&jws, &[algorithm], &["jwt", "at+jwt"]) else {
        return false;
    };
    if algorithm.is_hmac() {
        let [key] = keys else { return false };
        let (Some(secret), Some(alg)) = (key["k"].as_str(), key["alg"].as_str()) else {
            return false;
        };
        let secret = URL_SAFE_NO_PAD.decode(secret).unwrap();
        return alg == algorithm.name()
            && HmacKey::new(algorithm, &secret)
                .is_some_and(|key| key.verifies(jws.signing_input, &jws.signature));
    }
    let Ok(set) = ParsedKeySet::parse(json!({ "keys": keys }).to_string().as_bytes()) else {
        return false;
    };
    // The vectors with one key do not say that `kid` has to be its own.
    let key = set
        .ring
        .select(header.kid.as_deref(), algorithm)
        .or_else(|_| set.ring.select(None, algorithm));
    key.is_ok_and(|key| key.verifies(algorithm, jws.signing_input, &jws.signature))
}

/// A vector whose label says valid passes under the algorithm of its one key, and under no other;
/// nothing else passes.
fn check(file: &str) -> BTreeMap<&'static str, [usize; 2]> {
    let mut counts = BTreeMap::<_, [usize; 2]>::new();
    for group in groups(file) {
        let keys = keys_of(&group);
        let stated = match &*keys {
            [key] => key["alg"].as_str().and_then(Algorithm::named),
            _ => None,
        };
        for test in group["tests"].as_array().unwrap() {
            let (Some(jws), Some(id)) = (
                test["jws"]
                    .as_str()
                    .map(str::to_owned)
                    .or_else(|| test["jws"].is_object().then(|| test["jws"].to_string())),
                test["tcId"].as_u64(),
            ) else {
                continue;
            };
            let mut valid = test["result"] == "valid";
            if file == "json_web_signature_test.json" {
                valid = (valid && !REFUSED_THOUGH_VALID.contains(&id))
                    || ACCEPTED_THOUGH_INVALID.contains(&id);
            }
            for algorithm in Algorithm::ALL {
                let passes = passes(&keys, algorithm, &jws);
                let expected = valid && stated == Some(algorithm);
                let comment = &test["comment"];
                assert_eq!(
                    passes, expected,
                    "{file} {id} {algorithm:?} {comment} {jws}"
                );
                if stated == Some(algorithm) {
                    counts.entry(algorithm.name()).or_default()[usize::from(valid)] += 1;
                }
            }
        }
    }
    println!("{file}: refused and accepted: {counts:?}");
    counts
}

#[test]
fn signatures() {
    let counts = check("json_web_signature_test.json");
    if counts.is_empty() {
        return;
    }
    for name in [
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "HS256",
    ] {
        assert!(counts[name][1] > 0, "{name}");
    }
    assert!(counts.values().map(|[refused, _]| refused).sum::<usize>() > 300);
}

/// RFC 7520 section 4.3, whose key says `ES521` in the vectors: under the right name it passes.
#[test]
fn es512() {
    let mut seen = 0;
    for group in groups("json_web_signature_test.json") {
        let mut keys = keys_of(&group);
        if keys[0]["crv"] != "P-521" {
            continue;
        }
        keys[0]["alg"] = json!("ES512");
        let jws = group["tests"][0]["jws"].as_str().unwrap();
        assert!(passes(&keys, Algorithm::Es512, jws));
        assert!(!passes(&keys, Algorithm::Es256, jws));
        seen += 1;
    }
    println!("ES512: {seen}");
}

#[test]
fn crypto() {
    check("json_web_crypto_test.json");
}

#[test]
fn keys() {
    check("json_web_key_test.json");
    let refusals: Vec<_> = groups("json_web_key_test.json")
        .iter()
        .flat_map(keys_of)
        .filter(|key| key["kty"] == "RSA")
        .map(|key| {
            let good = testing::Signer::generate().jwk("good");
            let set =
                ParsedKeySet::parse(json!({ "keys": [good, key] }).to_string().as_bytes()).unwrap();
            set.refused.first().map(|(_, refusal)| *refusal)
        })
        .collect();
    let expected = [
        None,
        Some(KeyError::Use),
        Some(KeyError::Roca),
        Some(KeyError::Size(1024)),
        Some(KeyError::Exponent),
        Some(KeyError::Malformed),
    ];
    assert!(refusals.is_empty() || refusals == expected, "{refusals:?}");
}
