//! A key set in JSON (RFC 7517 section 5), and which of its keys are used.

use serde_json::Value;

use super::duplicate_ids::{self, KeyLabel};
use crate::{KeyError, KeyRing, PublicKey, strict_json};

/// The most keys that a set may hold, whatever they are for.
const MAX_KEYS: usize = 100;
/// What some editors and servers put before UTF-8 (RFC 8259 section 8.1 lets a reader ignore it).
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a whole key set is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// Not a JSON object, or one that names a member twice.
    #[error("not a JSON object, or one that names a member twice")]
    NotAnObject,
    /// No array `keys`.
    #[error("no array `keys`")]
    NoKeys,
    /// More than 100 keys.
    #[error("{0} keys; at most 100 are accepted")]
    TooMany(usize),
    /// None of its keys can be used.
    #[error("none of its {0} keys can be used")]
    NoUsableKey(usize),
}

/// A key set, sorted into keys that are used and keys that are not.
#[derive(Debug)]
pub struct ParsedKeySet {
    /// The keys that are used.
    pub ring: KeyRing,
    /// The others, by their place in the set: why not, or under which algorithm not.
    pub refused: Vec<(KeyLabel, KeyError)>,
}

impl ParsedKeySet {
    /// Reads a key set, whose keys may be of several families. A bad key is left out.
    ///
    /// # Errors
    ///
    /// That it is no key set, or one in which no key can be used.
    pub fn parse(text: &[u8]) -> Result<Self, KeySetError> {
        parse_after(text, None)
    }
}

/// Reads a set that takes the place of keys that serve: of two keys between which nothing
/// decides, the one that serves already goes on doing so.
pub(crate) fn parse_after(
    text: &[u8],
    serving: Option<&KeyRing>,
) -> Result<ParsedKeySet, KeySetError> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let mut set = strict_json::object(text).ok_or(KeySetError::NotAnObject)?;
    let Some(Value::Array(keys)) = set.remove("keys") else {
        return Err(KeySetError::NoKeys);
    };
    if keys.len() > MAX_KEYS {
        return Err(KeySetError::TooMany(keys.len()));
    }
    let mut usable = Vec::new();
    let mut refused = Vec::new();
    for (place, key) in keys.iter().enumerate() {
        let kid = key.get("kid").and_then(Value::as_str);
        let label = KeyLabel {
            place,
            kid: kid.map(str::to_owned),
        };
        let object = key.as_object().ok_or(KeyError::Malformed);
        match object.and_then(PublicKey::from_jwk) {
            Ok(key) => usable.push((label, key)),
            Err(refusal) => refused.push((label, refusal)),
        }
    }
    let ring = duplicate_ids::resolve(usable, serving, &mut refused);
    if ring.is_empty() {
        return Err(KeySetError::NoUsableKey(keys.len()));
    }
    refused.sort_by_key(|(label, _)| label.place);
    Ok(ParsedKeySet {
        ring: KeyRing::new(ring),
        refused,
    })
}

impl KeyRing {
    /// The keys as JSON Web Keys: public, and nothing but what [`ParsedKeySet::parse`] looks at.
    pub fn to_json(&self) -> Value {
        self.iter()
            .flat_map(|(kid, key)| key.to_jwks(kid.as_deref()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Algorithm::{EdDsa, Es256, Rs256};
    use crate::TokenError;
    use crate::testing::{Pair, Signer, encode};

    fn parse(text: &[u8]) -> Result<ParsedKeySet, KeySetError> {
        ParsedKeySet::parse(text)
    }

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

    fn parse_keys(keys: &[&Value]) -> Result<ParsedKeySet, KeySetError> {
        parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    #[test]
    fn keys_that_are_refused() {
        let good = Signer::generate().jwk("good");
        let bad = Signer::generate().jwk("bad");
        let small = encode([0xff; 128]);
        let cases = [
            (with(&bad, "kty", json!("oct")), KeyError::Symmetric),
            (with(&bad, "kty", json!("EC")), KeyError::Malformed),
            (with(&bad, "kty", json!("AKP")), KeyError::OtherType),
            (with(&bad, "kty", json!("rsa")), KeyError::OtherType),
            (without(&bad, "kty"), KeyError::Malformed),
            (with(&bad, "use", json!("enc")), KeyError::Use),
            (with(&bad, "use", json!(1)), KeyError::Malformed),
            (with(&bad, "key_ops", json!(["sign"])), KeyError::Operations),
            (with(&bad, "key_ops", json!([])), KeyError::Operations),
            (with(&bad, "key_ops", json!("verify")), KeyError::Operations),
            (with(&bad, "alg", json!("RSA-OAEP")), KeyError::Algorithm),
            (with(&bad, "alg", json!("ES256")), KeyError::Algorithm),
            (with(&bad, "alg", json!("HS256")), KeyError::Algorithm),
            (with(&bad, "alg", json!(null)), KeyError::Malformed),
            (with(&bad, "kid", json!(7)), KeyError::Malformed),
            (with(&bad, "e", json!("AQ")), KeyError::Exponent),
            (with(&bad, "e", json!("AQAB=")), KeyError::Malformed),
            (without(&bad, "e"), KeyError::Malformed),
            (with(&bad, "n", json!(small)), KeyError::Size(1024)),
            (with(&bad, "n", json!("+/+/")), KeyError::Malformed),
            (with(&bad, "d", json!("AQAB")), KeyError::Private),
            (with(&bad, "kid", json!("twin")), KeyError::DuplicateKid),
            (json!("bad"), KeyError::Malformed),
        ];
        let twin = with(&Signer::generate().jwk("x"), "kid", json!("twin"));
        for (jwk, expected) in &cases {
            let set = parse_keys(&[&good, jwk, &twin]).unwrap();
            assert_eq!(set.refused[0].1, *expected, "{jwk}");
            assert!(
                set.ring.select(Some("good"), Rs256).is_ok()
                    && set.ring.select(Some("bad"), Rs256).is_err()
            );
            let duplicates = *expected == KeyError::DuplicateKid;
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
        let good = Signer::generate().jwk("good");
        assert_eq!(parse(b"<html>").unwrap_err(), KeySetError::NotAnObject);
        assert_eq!(parse(b"[]").unwrap_err(), KeySetError::NotAnObject);
        assert_eq!(
            parse(br#"{"keys":[],"keys":[]}"#).unwrap_err(),
            KeySetError::NotAnObject
        );
        assert_eq!(parse(b"{}").unwrap_err(), KeySetError::NoKeys);
        assert_eq!(parse(br#"{"keys":{}}"#).unwrap_err(), KeySetError::NoKeys);
        assert_eq!(parse_keys(&[]).unwrap_err(), KeySetError::NoUsableKey(0));
        let twin = with(&Signer::generate().jwk("good"), "use", json!("sig"));
        assert_eq!(
            parse_keys(&[&good, &twin]).unwrap_err(),
            KeySetError::NoUsableKey(2)
        );
        // They count as they come, whatever becomes of them.
        assert_eq!(
            parse_keys(&[&good; 101]).unwrap_err(),
            KeySetError::TooMany(101)
        );
        assert_eq!(parse_keys(&[&good; 100]).unwrap().ring.len(), 1);
    }

    #[test]
    fn a_byte_order_mark_in_front() {
        let text = json!({ "keys": [Signer::generate().jwk("a")] }).to_string();
        assert!(parse(format!("\u{feff}{text}").as_bytes()).is_ok());
        assert!(parse(format!("\u{feff}\u{feff}{text}").as_bytes()).is_err());
        assert!(parse(format!("{text}\u{feff}").as_bytes()).is_err());
    }

    #[test]
    fn selection_and_round_trip() {
        let (a, b) = (Signer::generate(), Signer::generate());
        let set = parse_keys(&[&a.jwk("a"), &without(&b.jwk(""), "kid")]).unwrap();
        assert!(set.ring.select(Some("a"), Rs256).is_ok());
        assert!(
            set.ring.select(Some("b"), Rs256).is_err() && set.ring.select(None, Rs256).is_err()
        );
        let again = parse(json!({ "keys": set.ring.to_json() }).to_string().as_bytes()).unwrap();
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
        let (rsa, ec, ed) = (Signer::generate(), Pair::new(Es256), Pair::new(EdDsa));
        let set = parse_keys(&[&rsa.jwk("r"), &ec.jwk("e"), &ed.jwk("d")]).unwrap();
        assert_eq!((set.ring.len(), set.refused.len()), (3, 0));
        for (kid, fitting) in [("r", Rs256), ("e", Es256), ("d", EdDsa)] {
            for algorithm in [Rs256, Es256, EdDsa] {
                let found = set.ring.select(Some(kid), algorithm).map(drop);
                let expected = if algorithm == fitting {
                    Ok(())
                } else {
                    Err(TokenError::KeyDoesNotFit)
                };
                assert_eq!(found, expected, "{kid} {algorithm:?}");
            }
            // The only one that fits serves a token without a kid.
            assert!(set.ring.select(None, fitting).is_ok() && set.ring.serves(fitting));
        }
        let again = parse(json!({ "keys": set.ring.to_json() }).to_string().as_bytes()).unwrap();
        assert_eq!(again.ring, set.ring);
    }
}
