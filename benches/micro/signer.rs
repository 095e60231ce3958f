//! Keys of every algorithm, and tokens signed with them.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// Makes the signature of a text, in the form that JWS asks for.
pub type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// A good token for an hour.
pub fn token(algorithm: &str, kid: &str, sign: &Sign) -> String {
    signed(algorithm, kid, "", sign)
}

/// The same, bound to the key of a thumbprint.
pub fn bound_token(algorithm: &str, kid: &str, thumbprint: &str, sign: &Sign) -> String {
    signed(algorithm, kid, &format!(r#","cnf":{{"jkt":"{thumbprint}"}}"#), sign)
}

fn signed(algorithm: &str, kid: &str, further: &str, sign: &Sign) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let header = format!(r#"{{"alg":"{algorithm}","typ":"JWT","kid":"{kid}"}}"#);
    let claims = format!(
        r#"{{"iss":"https://auth.example.com","aud":"harmony-api","sub":"alice","scope":"read write","iat":{now},"exp":{}{further}}}"#,
        now + 3600
    );
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(input.as_bytes()));
    format!("{input}.{signature}")
}

/// A new key: how a step names its public half, which is written to `dir`, and what signs with it.
pub fn signer(algorithm: &str, dir: &Path) -> (String, Sign) {
    let (public, sign): (PublicKeyX509Der<'static>, Sign) = match algorithm {
        "HS256" => {
            let secret: String = std::iter::repeat_with(fastrand::alphanumeric).take(32).collect();
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
            let sign = move |input: &[u8]| hmac::sign(&key, input).as_ref().to_vec();
            return (format!("secret = \"{secret}\""), Box::new(sign));
        }
        "RS256" | "PS256" => {
            let padding: &'static dyn RsaEncoding = match algorithm {
                "RS256" => &RSA_PKCS1_SHA256,
                _ => &RSA_PSS_SHA256,
            };
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
            let public = pair.public_key().as_der().unwrap();
            let sign = move |input: &[u8]| {
                let mut signature = vec![0; pair.public_modulus_len()];
                let random = SystemRandom::new();
                pair.sign(padding, &random, input, &mut signature).unwrap();
                signature
            };
            (public, Box::new(sign))
        }
        "EdDSA" => {
            let pair = Ed25519KeyPair::generate().unwrap();
            let public = pair.public_key().as_der().unwrap();
            (public, Box::new(move |input| pair.sign(input).as_ref().to_vec()))
        }
        _ => {
            let pair = EcdsaKeyPair::generate(match algorithm {
                "ES256" => &ECDSA_P256_SHA256_FIXED_SIGNING,
                "ES384" => &ECDSA_P384_SHA384_FIXED_SIGNING,
                _ => &ECDSA_P521_SHA512_FIXED_SIGNING,
            });
            let pair = pair.unwrap();
            let public = pair.public_key().as_der().unwrap();
            let random = SystemRandom::new();
            (public, Box::new(move |input| pair.sign(&random, input).unwrap().as_ref().to_vec()))
        }
    };
    let body = STANDARD.encode(public.as_ref());
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n");
    std::fs::write(dir.join("key.pem"), pem).unwrap();
    ("public_key_path = \"key.pem\"".to_owned(), sign)
}
