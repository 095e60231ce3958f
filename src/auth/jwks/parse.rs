//! A key set in JSON (RFC 7517 section 5), and which of its keys are used.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::auth::key::{KeyRefusal, KeyRing, PublicKey};
use crate::auth::strict_json;

/// The most keys that a set may hold.
const MAX_KEYS: usize = 100;

/// Why a whole key set is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JwksError {
    #[error("not a JSON object, or one that names a member twice")]
    NotAnObject,
    #[error("no array `keys`")]
    NoKeys,
    #[error("{0} keys; at most 100 are accepted")]
    TooMany(usize),
    #[error("none of its {0} keys can be used")]
    NoUsableKey(usize),
}

/// A key set, sorted into keys that are used and keys that are not.
#[derive(Debug)]
pub(crate) struct ParsedSet {
    pub(crate) ring: KeyRing,
    pub(crate) refused: Vec<(KeyLabel, KeyRefusal)>,
}

/// How a log names a key: by its place in the set, and its `kid`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyLabel {
    place: usize,
    kid: Option<String>,
}

impl fmt::Display for KeyLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kid {
            Some(kid) => write!(f, "{kid:?}"),
            None => write!(f, "number {}", self.place + 1),
        }
    }
}

/// Reads a key set, whose keys may be of several families. A bad key is left out; a set in which
/// nothing is left is an error.
pub(crate) fn parse(text: &[u8]) -> Result<ParsedSet, JwksError> {
    let mut set = strict_json::object(text).ok_or(JwksError::NotAnObject)?;
    let Some(Value::Array(keys)) = set.remove("keys") else {
        return Err(JwksError::NoKeys);
    };
    if keys.len() > MAX_KEYS {
        return Err(JwksError::TooMany(keys.len()));
    }
    let mut uses: HashMap<&str, usize> = HashMap::new();
    for kid in keys.iter().filter_map(|key| key.get("kid")?.as_str()) {
        *uses.entry(kid).or_default() += 1;
    }
    let mut ring = Vec::new();
    let mut refused = Vec::new();
    for (place, key) in keys.iter().enumerate() {
        let kid = key.get("kid").and_then(Value::as_str);
        let verdict = match kid.and_then(|kid| uses.get(kid)) {
            Some(2..) => Err(KeyRefusal::DuplicateKid),
            _ => key
                .as_object()
                .ok_or(KeyRefusal::Malformed)
                .and_then(PublicKey::from_jwk),
        };
        let kid = kid.map(str::to_owned);
        match verdict {
            Ok(key) => ring.push((kid, Arc::new(key))),
            Err(refusal) => refused.push((KeyLabel { place, kid }, refusal)),
        }
    }
    if ring.is_empty() {
        return Err(JwksError::NoUsableKey(keys.len()));
    }
    Ok(ParsedSet {
        ring: KeyRing::new(ring),
        refused,
    })
}

/// The usable keys as JSON Web Keys: public, and nothing but what [`parse`] looks at.
pub(crate) fn to_json(ring: &KeyRing) -> Value {
    ring.iter()
        .map(|(kid, key)| key.to_jwk(kid.as_deref()))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::auth::outcome::Reason;
    use crate::auth::testing::{Pair, Signer, encode};
    use crate::config::JwtAlgorithm::{EdDsa, Es256, Rs256};

    fn with(jwk: &Value, name: &str, value: Value) -> Value {
        let mut jwk = jwk.clone();
        jwk[name] = value;
        jwk
    }

    fn without(jwk: &Value, name: &str) -> Value {
        let mut jwk = jwk.clone();
        jwk.as_object_mut().unwrap().remove(name);
        jwk
    }

    fn parse_keys(keys: &[&Value]) -> Result<ParsedSet, JwksError> {
        parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    #[test]
    fn keys_that_are_refused() {
        let good = Signer::new().jwk("good");
        let bad = Signer::new().jwk("bad");
        let small = encode([0xff; 128]);
        let cases = [
            (with(&bad, "kty", json!("oct")), KeyRefusal::Symmetric),
            (with(&bad, "kty", json!("EC")), KeyRefusal::Malformed),
            (with(&bad, "kty", json!("AKP")), KeyRefusal::OtherType),
            (with(&bad, "kty", json!("rsa")), KeyRefusal::OtherType),
            (without(&bad, "kty"), KeyRefusal::Malformed),
            (with(&bad, "use", json!("enc")), KeyRefusal::Use),
            (with(&bad, "use", json!(1)), KeyRefusal::Malformed),
            (
                with(&bad, "key_ops", json!(["sign"])),
                KeyRefusal::Operations,
            ),
            (with(&bad, "key_ops", json!([])), KeyRefusal::Operations),
            (
                with(&bad, "key_ops", json!("verify")),
                KeyRefusal::Operations,
            ),
            (with(&bad, "alg", json!("RSA-OAEP")), KeyRefusal::Algorithm),
            (with(&bad, "alg", json!("ES256")), KeyRefusal::Algorithm),
            (with(&bad, "alg", json!("HS256")), KeyRefusal::Algorithm),
            (with(&bad, "alg", json!(null)), KeyRefusal::Malformed),
            (with(&bad, "kid", json!(7)), KeyRefusal::Malformed),
            (with(&bad, "e", json!("AQ")), KeyRefusal::Exponent),
            (with(&bad, "e", json!("AQAB=")), KeyRefusal::Malformed),
            (without(&bad, "e"), KeyRefusal::Malformed),
            (with(&bad, "n", json!(small)), KeyRefusal::Size(1024)),
            (with(&bad, "n", json!("+/+/")), KeyRefusal::Malformed),
            (with(&bad, "d", json!("AQAB")), KeyRefusal::Private),
            (with(&bad, "kid", json!("twin")), KeyRefusal::DuplicateKid),
            (json!("bad"), KeyRefusal::Malformed),
        ];
        let twin = with(&Signer::new().jwk("x"), "kid", json!("twin"));
        for (jwk, expected) in &cases {
            let set = parse_keys(&[&good, jwk, &twin]).unwrap();
            assert_eq!(set.refused[0].1, *expected, "{jwk}");
            assert!(
                set.ring.select(Some("good"), Rs256).is_ok()
                    && set.ring.select(Some("bad"), Rs256).is_err()
            );
            let duplicates = *expected == KeyRefusal::DuplicateKid;
            assert_eq!(set.ring.select(Some("twin"), Rs256).is_err(), duplicates);
            assert_eq!(set.refused.len(), 1 + usize::from(duplicates));
        }
        let allowed = with(
            &without(&without(&bad, "use"), "alg"),
            "key_ops",
            json!(["sign", "verify"]),
        );
        assert!(parse_keys(&[&good, &allowed]).unwrap().refused.is_empty());
    }

    #[test]
    fn sets_that_are_refused() {
        let good = Signer::new().jwk("good");
        assert_eq!(parse(b"<html>").unwrap_err(), JwksError::NotAnObject);
        assert_eq!(parse(b"[]").unwrap_err(), JwksError::NotAnObject);
        assert_eq!(
            parse(br#"{"keys":[],"keys":[]}"#).unwrap_err(),
            JwksError::NotAnObject
        );
        assert_eq!(parse(b"{}").unwrap_err(), JwksError::NoKeys);
        assert_eq!(parse(br#"{"keys":{}}"#).unwrap_err(), JwksError::NoKeys);
        assert_eq!(parse_keys(&[]).unwrap_err(), JwksError::NoUsableKey(0));
        assert_eq!(
            parse_keys(&[&good, &good]).unwrap_err(),
            JwksError::NoUsableKey(2)
        );
        assert_eq!(
            parse_keys(&[&good; 101]).unwrap_err(),
            JwksError::TooMany(101)
        );
    }

    #[test]
    fn selection_and_round_trip() {
        let (a, b) = (Signer::new(), Signer::new());
        let set = parse_keys(&[&a.jwk("a"), &without(&b.jwk(""), "kid")]).unwrap();
        assert!(set.ring.select(Some("a"), Rs256).is_ok());
        assert!(
            set.ring.select(Some("b"), Rs256).is_err() && set.ring.select(None, Rs256).is_err()
        );
        let again = parse(json!({ "keys": to_json(&set.ring) }).to_string().as_bytes()).unwrap();
        assert_eq!(again.ring, set.ring);
        assert!(
            parse_keys(&[&a.jwk("a")])
                .unwrap()
                .ring
                .select(None, Rs256)
                .is_ok()
        );
    }

    #[test]
    fn a_set_of_several_families() {
        let (rsa, ec, ed) = (Signer::new(), Pair::new(Es256), Pair::new(EdDsa));
        let set = parse_keys(&[&rsa.jwk("r"), &ec.jwk("e"), &ed.jwk("d")]).unwrap();
        assert_eq!((set.ring.len(), set.refused.len()), (3, 0));
        for (kid, fitting) in [("r", Rs256), ("e", Es256), ("d", EdDsa)] {
            for algorithm in [Rs256, Es256, EdDsa] {
                let found = set.ring.select(Some(kid), algorithm).map(drop);
                let expected = if algorithm == fitting {
                    Ok(())
                } else {
                    Err(Reason::KeyDoesNotFit)
                };
                assert_eq!(found, expected, "{kid} {algorithm:?}");
            }
            // The only one that fits serves a token without a kid.
            assert!(set.ring.select(None, fitting).is_ok() && set.ring.serves(fitting));
        }
        let again = parse(json!({ "keys": to_json(&set.ring) }).to_string().as_bytes()).unwrap();
        assert_eq!(again.ring, set.ring);
    }
}
