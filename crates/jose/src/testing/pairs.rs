//! Key pairs and secrets for every algorithm.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING,
    ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_ASN1_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384,
    RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use aws_lc_rs::{hmac, signature};
use serde_json::{Value, json};

use super::{claims, encode, pem};
use crate::{Algorithm, PublicKey};

/// A key pair, or a secret, and the algorithm that it signs with.
pub struct Pair {
    pub algorithm: Algorithm,
    key: Key,
}

enum Key {
    Rsa(RsaKeyPair),
    /// And the same key signing in DER.
    Ec(EcdsaKeyPair, EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Secret(Vec<u8>),
}

impl Pair {
    pub fn new(algorithm: Algorithm) -> Self {
        let key = match algorithm {
            Algorithm::EdDsa => Key::Ed25519(Ed25519KeyPair::generate().unwrap()),
            _ if algorithm.is_hmac() => {
                let mut secret = vec![0; algorithm.secret_bytes().unwrap()];
                secret.fill_with(|| fastrand::alphanumeric() as u8);
                Key::Secret(secret)
            }
            _ => match ec(algorithm) {
                Some((fixed, der)) => {
                    let pair = EcdsaKeyPair::generate(fixed).unwrap();
                    let pkcs8 = pair.to_pkcs8v1().unwrap();
                    let der = EcdsaKeyPair::from_pkcs8(der, pkcs8.as_ref()).unwrap();
                    Key::Ec(pair, der)
                }
                None => Key::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()),
            },
        };
        Self { algorithm, key }
    }

    /// The same key, for another algorithm of its family.
    pub fn turned_to(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    pub fn secret(&self) -> Option<String> {
        match &self.key {
            Key::Secret(secret) => Some(String::from_utf8(secret.clone()).unwrap()),
            _ => None,
        }
    }

    /// `SubjectPublicKeyInfo`.
    pub fn public_pem(&self) -> String {
        let der: PublicKeyX509Der<'_> = match &self.key {
            Key::Rsa(pair) => pair.public_key().as_der().unwrap(),
            Key::Ec(pair, _) => pair.public_key().as_der().unwrap(),
            Key::Ed25519(pair) => pair.public_key().as_der().unwrap(),
            Key::Secret(_) => panic!("a secret has no public half"),
        };
        pem("PUBLIC KEY", der.as_ref())
    }

    pub fn jwk(&self, kid: &str) -> Value {
        let mut jwk = match &self.key {
            Key::Rsa(_) => {
                let pem = self.public_pem();
                PublicKey::from_pem(pem.as_bytes(), self.algorithm)
                    .unwrap()
                    .to_jwks(None)
                    .remove(0)
            }
            Key::Ec(pair, _) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let curve = match x.len() {
                    32 => "P-256",
                    48 => "P-384",
                    _ => "P-521",
                };
                json!({ "kty": "EC", "crv": curve, "x": encode(x), "y": encode(y) })
            }
            Key::Ed25519(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key()) })
            }
            Key::Secret(secret) => json!({ "kty": "oct", "k": encode(secret) }),
        };
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(self.algorithm.name());
        jwk["kid"] = json!(kid);
        jwk
    }

    /// In the form that JWS asks for.
    pub fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.key {
            Key::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(rsa(self.algorithm), &random, message, &mut signature)
                    .unwrap();
                signature
            }
            Key::Ec(pair, _) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Key::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Key::Secret(secret) => {
                let hash = match self.algorithm {
                    Algorithm::Hs256 => hmac::HMAC_SHA256,
                    Algorithm::Hs384 => hmac::HMAC_SHA384,
                    _ => hmac::HMAC_SHA512,
                };
                let key = hmac::Key::new(hash, secret);
                hmac::sign(&key, message).as_ref().to_vec()
            }
        }
    }

    /// An ECDSA signature in DER, which JWS does not have.
    pub fn der_signature(&self, message: &[u8]) -> signature::Signature {
        match &self.key {
            Key::Ec(_, pair) => pair.sign(&SystemRandom::new(), message).unwrap(),
            _ => panic!("only ECDSA has one"),
        }
    }

    /// A token of these texts, well signed.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let input = format!(
            "{}.{}",
            encode(header.to_string()),
            encode(claims.to_string())
        );
        format!("{input}.{}", encode(self.signature(input.as_bytes())))
    }

    /// A token with this `kid` and these claims.
    pub fn token_of(&self, kid: &str, claims: &Value) -> String {
        self.sign(&json!({ "alg": self.algorithm.name(), "kid": kid }), claims)
    }

    /// A good token with this `kid`.
    pub fn token(&self, kid: &str) -> String {
        self.token_of(kid, &claims())
    }
}

fn ec(
    algorithm: Algorithm,
) -> Option<(
    &'static EcdsaSigningAlgorithm,
    &'static EcdsaSigningAlgorithm,
)> {
    match algorithm {
        Algorithm::Es256 => Some((
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &ECDSA_P256_SHA256_ASN1_SIGNING,
        )),
        Algorithm::Es384 => Some((
            &ECDSA_P384_SHA384_FIXED_SIGNING,
            &ECDSA_P384_SHA384_ASN1_SIGNING,
        )),
        Algorithm::Es512 => Some((
            &ECDSA_P521_SHA512_FIXED_SIGNING,
            &ECDSA_P521_SHA512_ASN1_SIGNING,
        )),
        _ => None,
    }
}

fn rsa(algorithm: Algorithm) -> &'static dyn RsaEncoding {
    match algorithm {
        Algorithm::Rs256 => &RSA_PKCS1_SHA256,
        Algorithm::Rs384 => &RSA_PKCS1_SHA384,
        Algorithm::Rs512 => &RSA_PKCS1_SHA512,
        Algorithm::Ps256 => &RSA_PSS_SHA256,
        Algorithm::Ps384 => &RSA_PSS_SHA384,
        _ => &RSA_PSS_SHA512,
    }
}
