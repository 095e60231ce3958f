//! Senders of tokens that are bound to a key: their keys, and proofs that they have them (RFC
//! 9449).

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::keys::{RsaKey, Signer, base64url};
use super::request::Request;
use super::token::{Token, now};

/// A key on P-256.
#[derive(Debug)]
pub struct EcKey(EcdsaKeyPair);

impl EcKey {
    pub fn new() -> Arc<Self> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        Arc::new(Self(pair))
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature = self.0.sign(&SystemRandom::new(), message).expect("a signature");
        signature.as_ref().to_vec()
    }

    fn jwk(&self) -> Value {
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        json!({ "crv": "P-256", "kty": "EC", "x": base64url(x), "y": base64url(y) })
    }
}

/// A sender of tokens.
pub struct Sender {
    signer: Signer,
    algorithm: &'static str,
    pub jwk: Value,
}

impl Sender {
    pub fn new() -> Self {
        let key = EcKey::new();
        Self { jwk: key.jwk(), signer: Signer::Es256(key), algorithm: "ES256" }
    }

    /// One with the RSA key of this number.
    pub fn with_rsa(number: usize) -> Self {
        let key = RsaKey::number(number);
        let jwk = json!({ "e": "AQAB", "kty": "RSA", "n": base64url(key.modulus()) });
        Self { jwk, signer: Signer::Rs256(key), algorithm: "RS256" }
    }

    /// `cnf` of a token that is bound to the key. The members of the key stand in order.
    pub fn cnf(&self) -> Value {
        json!({ "jkt": base64url(digest(&SHA256, self.jwk.to_string().as_bytes())) })
    }

    /// A good proof for a `GET` of this URL.
    pub fn proof(&self, url: &str, token: &str) -> Token {
        let header = json!({ "typ": "dpop+jwt", "alg": self.algorithm, "jwk": self.jwk });
        let claims = json!({
            // Made in the second in which its edge began, it would be older than that.
            "htm": "GET", "htu": url, "iat": now() + 1, "jti": format!("{:032x}", unique()),
            "ath": base64url(digest(&SHA256, token.as_bytes())),
        });
        Token::of(header, claims, self.signer.clone())
    }

    pub fn signer(&self) -> Signer {
        self.signer.clone()
    }
}

impl Request {
    /// A token with its proof.
    pub fn dpop(self, token: &str, proof: &str) -> Self {
        self.header("Authorization", format!("DPoP {token}")).header("DPoP", proof)
    }
}

fn unique() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
