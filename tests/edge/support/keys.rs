//! Real keys. Making an RSA key takes a while, so a few are made once and shared by all tests.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{self, KeyPair as _, RsaEncoding};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::proof::EcKey;

pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// An RSA key pair of 2048 bits with the exponent 65537.
#[derive(Debug)]
pub struct RsaKey(KeyPair);

impl RsaKey {
    /// The key of that number: always the same within a process.
    pub fn number(number: usize) -> Arc<Self> {
        static KEYS: [OnceLock<Arc<RsaKey>>; 6] = [const { OnceLock::new() }; 6];
        let key = KEYS[number].get_or_init(|| {
            Arc::new(Self(KeyPair::generate(KeySize::Rsa2048).expect("an RSA key")))
        });
        Arc::clone(key)
    }

    pub fn sign(&self, padding: &'static dyn RsaEncoding, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0
            .sign(padding, &SystemRandom::new(), message, &mut signature)
            .expect("an RSA signature");
        signature
    }

    pub fn modulus(&self) -> Vec<u8> {
        // RSAPublicKey of a 2048-bit key: a sequence of two integers, whose headers have fixed
        // lengths.
        let der = self.0.public_key().as_ref();
        assert_eq!(der.len(), 270, "an RSAPublicKey of 2048 bits and e = 65537");
        der[9..265].to_vec()
    }

    /// The public key as a JWK, to be changed by whoever needs a strange one.
    pub fn jwk(&self, kid: &str) -> Value {
        json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid,
            "n": base64url(self.modulus()), "e": "AQAB" })
    }

    pub fn public_der(&self) -> Vec<u8> {
        let der: PublicKeyX509Der<'_> = self.0.public_key().as_der().expect("a public key");
        der.as_ref().to_vec()
    }

    /// `-----BEGIN PUBLIC KEY-----` and so on, with a newline at the end.
    pub fn public_pem(&self) -> String {
        let body = STANDARD.encode(self.public_der());
        let lines: Vec<&str> =
            body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }
}

/// What makes the third segment of a token.
#[derive(Debug, Clone)]
pub enum Signer {
    Rs256(Arc<RsaKey>),
    /// Some other RSA signature: another digest or padding.
    Rsa(Arc<RsaKey>, &'static OtherRsa),
    Hs256(Vec<u8>),
    Hs512(Vec<u8>),
    Es256(Arc<EcKey>),
    Nothing,
}

/// RSA signatures that are not RS256.
#[derive(Debug)]
pub enum OtherRsa {
    Rs384,
    Rs512,
    Ps256,
}

impl Signer {
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Rs256(key) => key.sign(&signature::RSA_PKCS1_SHA256, message),
            Self::Rsa(key, OtherRsa::Rs384) => key.sign(&signature::RSA_PKCS1_SHA384, message),
            Self::Rsa(key, OtherRsa::Rs512) => key.sign(&signature::RSA_PKCS1_SHA512, message),
            Self::Rsa(key, OtherRsa::Ps256) => key.sign(&signature::RSA_PSS_SHA256, message),
            Self::Hs256(secret) => {
                hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec()
            }
            Self::Hs512(secret) => {
                hmac::sign(&hmac::Key::new(hmac::HMAC_SHA512, secret), message).as_ref().to_vec()
            }
            Self::Es256(key) => key.sign(message),
            Self::Nothing => Vec::new(),
        }
    }
}
