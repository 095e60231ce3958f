//! Proofs of possession (RFC 9449 section 4): a token that its sender makes for one request, signed
//! with the key that it holds itself.

use std::fmt;

use serde_json::Value;

use crate::{Algorithm, Claims, CompactJws, Header, PublicKey, TokenError, strict_json};

/// `typ`, compared exactly.
const TYPE: &str = "dpop+jwt";

/// A proof whose signature has verified under its own key. What it is for, and when it was made, is
/// for the caller to judge.
pub struct Proof {
    algorithm: Algorithm,
    thumbprint: [u8; 32],
    claims: Claims,
}

impl Proof {
    /// Takes a proof apart and verifies its signature. Any algorithm of public keys passes.
    ///
    /// # Errors
    ///
    /// [`TokenError::TooLong`], [`TokenError::Malformed`], [`TokenError::WrongAlgorithm`],
    /// [`TokenError::UnsupportedHeader`], [`TokenError::WrongType`], [`TokenError::BadSignature`];
    /// [`TokenError::KeyDoesNotFit`] for a key that is private, weak, or not one for the algorithm.
    pub fn verify(text: &[u8]) -> Result<Self, TokenError> {
        let jws = CompactJws::split(text)?;
        let header = strict_json::object(jws.header()).ok_or(TokenError::Malformed)?;
        let algorithm = header.get("alg").and_then(Value::as_str);
        let algorithm = algorithm
            .and_then(Algorithm::named)
            .filter(|algorithm| !algorithm.is_hmac())
            .ok_or(TokenError::WrongAlgorithm)?;
        if Header::has_unsupported(&header) {
            return Err(TokenError::UnsupportedHeader);
        }
        if header.get("typ").and_then(Value::as_str) != Some(TYPE) {
            return Err(TokenError::WrongType);
        }
        let Some(Value::Object(jwk)) = header.get("jwk") else {
            return Err(TokenError::Malformed);
        };
        let key = PublicKey::from_jwk_for(jwk, algorithm);
        let key = key.map_err(|_| TokenError::KeyDoesNotFit)?;
        if !key.verifies(algorithm, jws.signing_input, &jws.signature) {
            return Err(TokenError::BadSignature);
        }
        Ok(Self {
            algorithm,
            thumbprint: key.thumbprint(),
            claims: jws.unverified_claims()?,
        })
    }

    /// What it was signed with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The SHA-256 of its key (RFC 7638), which `cnf.jkt` of a token names.
    pub fn thumbprint(&self) -> [u8; 32] {
        self.thumbprint
    }

    /// What it says.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }
}

/// Shows nothing of the proof.
impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proof")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{Pair, encode};

    fn header(pair: &Pair) -> Value {
        let mut jwk = pair.jwk("k");
        let object = jwk.as_object_mut().unwrap();
        object.retain(|name, _| !["use", "alg", "kid"].contains(&name.as_str()));
        json!({ "typ": "dpop+jwt", "alg": pair.algorithm.name(), "jwk": jwk })
    }

    fn verdict(pair: &Pair, header: &Value) -> Result<Algorithm, TokenError> {
        let text = pair.sign(header, &json!({ "jti": "1" }));
        Proof::verify(text.as_bytes()).map(|proof| proof.algorithm())
    }

    #[test]
    fn a_proof_verifies_under_its_own_key_for_every_algorithm() {
        for algorithm in Algorithm::ALL {
            let pair = Pair::new(algorithm);
            let expected = match algorithm.is_hmac() {
                true => Err(TokenError::WrongAlgorithm),
                false => Ok(algorithm),
            };
            assert_eq!(verdict(&pair, &header(&pair)), expected, "{algorithm:?}");
        }
    }

    #[test]
    fn what_is_wrong_with_its_header() {
        let pair = Pair::new(Algorithm::Es256);
        let other = Pair::new(Algorithm::Es256);
        let rsa = Pair::new(Algorithm::Rs256);
        let jwk = |pair: &Pair| header(pair)["jwk"].clone();
        let with = |name: &str, value: Value| {
            let mut jwk = jwk(&pair);
            jwk[name] = value;
            jwk
        };
        for (member, value, expected) in [
            ("typ", json!("JWT"), TokenError::WrongType),
            ("typ", json!("DPOP+JWT"), TokenError::WrongType),
            ("typ", json!("application/dpop+jwt"), TokenError::WrongType),
            ("typ", json!(["dpop+jwt"]), TokenError::WrongType),
            ("typ", Value::Null, TokenError::WrongType),
            ("alg", json!("none"), TokenError::WrongAlgorithm),
            ("alg", json!("HS256"), TokenError::WrongAlgorithm),
            ("alg", json!("ES384"), TokenError::KeyDoesNotFit),
            ("alg", json!("RS256"), TokenError::KeyDoesNotFit),
            ("alg", json!(["ES256"]), TokenError::WrongAlgorithm),
            ("crit", json!([]), TokenError::UnsupportedHeader),
            ("b64", json!(true), TokenError::UnsupportedHeader),
            ("jwk", Value::Null, TokenError::Malformed),
            ("jwk", json!("x"), TokenError::Malformed),
            ("jwk", json!([jwk(&pair)]), TokenError::Malformed),
            ("jwk", json!({}), TokenError::KeyDoesNotFit),
            ("jwk", jwk(&other), TokenError::BadSignature),
            ("jwk", jwk(&rsa), TokenError::KeyDoesNotFit),
            ("jwk", with("d", json!("AA")), TokenError::KeyDoesNotFit),
            ("jwk", with("d", Value::Null), TokenError::KeyDoesNotFit),
            ("jwk", with("p", json!("AA")), TokenError::KeyDoesNotFit),
            ("jwk", with("k", json!("AA")), TokenError::KeyDoesNotFit),
            ("jwk", with("use", json!("enc")), TokenError::KeyDoesNotFit),
            (
                "jwk",
                with("alg", json!("ES384")),
                TokenError::KeyDoesNotFit,
            ),
            (
                "jwk",
                with("key_ops", json!(["sign"])),
                TokenError::KeyDoesNotFit,
            ),
            (
                "jwk",
                with("crv", json!("P-384")),
                TokenError::KeyDoesNotFit,
            ),
            (
                "jwk",
                with("x", json!(encode([1; 32]))),
                TokenError::KeyDoesNotFit,
            ),
            (
                "jwk",
                json!({ "kty": "oct", "k": "AAAA" }),
                TokenError::KeyDoesNotFit,
            ),
        ] {
            let mut header = header(&pair);
            match value {
                Value::Null => drop(header.as_object_mut().unwrap().remove(member)),
                value => header[member] = value,
            }
            assert_eq!(verdict(&pair, &header), Err(expected), "{member} {header}");
        }
        let allowed = [("alg", "ES256"), ("use", "sig"), ("kid", "any")];
        for (name, value) in allowed {
            let mut header = header(&pair);
            header["jwk"] = with(name, json!(value));
            assert_eq!(verdict(&pair, &header), Ok(Algorithm::Es256), "{name}");
        }
    }

    /// RFC 7638 section 3.1, RFC 8037 appendix A.3.
    #[test]
    fn thumbprints() {
        let rsa = json!({
            "kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxu\
                  hDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN\
                  5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5\
                  hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBni\
                  Iqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        });
        let ed25519 = json!({
            "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        });
        for (jwk, algorithm, expected) in [
            (
                rsa,
                Algorithm::Rs256,
                "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
            ),
            (
                ed25519,
                Algorithm::EdDsa,
                "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
            ),
        ] {
            let key = PublicKey::from_jwk_for(jwk.as_object().unwrap(), algorithm).unwrap();
            assert_eq!(encode(key.thumbprint()), expected);
        }
    }
}
