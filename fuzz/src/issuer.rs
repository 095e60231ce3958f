//! Keys, the steps that trust them, and tokens signed with them or with others. Those of RSA and
//! ECDSA are made anew for each process.

use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use aws_lc_rs::{encoding::AsDer, hmac};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;

/// Who may sign, for all steps but `two`.
pub const ISSUER: &str = "https://auth.example.com";
/// Whom tokens must be for.
pub const AUDIENCE: &str = "harmony-api";
/// The secret of the step `hs`.
pub const SECRET: &str = "a secret of at least thirty-two bytes";

/// The steps that [`Issuer::configuration`] has, one in each pipeline of the same name.
pub const STEPS: [&str; 5] = ["ed", "es", "hs", "rs", "two"];

/// One key for each algorithm.
pub struct Keys {
    ed: Ed25519KeyPair,
    es: EcdsaKeyPair,
    hs: hmac::Key,
    rs: RsaKeyPair,
}

/// The keys that are trusted, and keys that are not.
pub struct Issuer {
    pub trusted: Keys,
    pub strange: Keys,
    home: tempfile::TempDir,
}

impl Keys {
    fn new(seed: u8, secret: &str) -> Self {
        Self {
            ed: Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a seed"),
            es: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"),
            hs: hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()),
            rs: RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"),
        }
    }

    /// The `alg` of a step.
    pub fn algorithm(step: &str) -> &'static str {
        match step {
            "es" => "ES256",
            "hs" => "HS256",
            "rs" => "RS256",
            _ => "EdDSA",
        }
    }

    /// A token of these texts, signed as a step wants it.
    pub fn token(&self, step: &str, header: &[u8], claims: &[u8]) -> Vec<u8> {
        let mut token = URL_SAFE_NO_PAD.encode(header);
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(claims));
        let message = token.as_bytes();
        let random = SystemRandom::new();
        let signature = match step {
            "es" => self.es.sign(&random, message).expect("a signature").as_ref().to_vec(),
            "hs" => hmac::sign(&self.hs, message).as_ref().to_vec(),
            "rs" => {
                let mut signature = vec![0; self.rs.public_modulus_len()];
                self.rs
                    .sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .expect("a signature");
                signature
            }
            _ => self.ed.sign(message).as_ref().to_vec(),
        };
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature));
        token.into_bytes()
    }

    /// The key of `ed`, as a PEM file.
    pub fn pem(&self) -> String {
        let der = self.ed.public_key().as_der().expect("a public key");
        let der: &[u8] = der.as_ref();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
    }

    /// The keys of `es` and `rs`, as a key set.
    pub fn key_set(&self) -> String {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let rsa = RsaPublicKeyComponents::<Vec<u8>>::from(self.rs.public_key());
        let point = self.es.public_key().as_ref();
        let keys = json!({ "keys": [
            { "kty": "RSA", "kid": "r", "use": "sig", "n": encode(&rsa.n), "e": encode(&rsa.e) },
            { "kty": "EC", "kid": "e", "crv": "P-256", "x": encode(&point[1..33]),
            "y": encode(&point[33..]) },
        ] });
        keys.to_string()
    }
}

impl Issuer {
    /// Makes keys, and writes the public ones into a directory.
    pub fn new() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let trusted = Keys::new(1, SECRET);
        // The public key is no secret: who takes it for one has not signed.
        let strange = Keys::new(2, &trusted.pem());
        for (name, text) in
            [("a.pem", trusted.pem()), ("b.pem", strange.pem()), ("keys.json", trusted.key_set())]
        {
            std::fs::write(home.path().join(name), text).expect("a file");
        }
        Self { trusted, strange, home }
    }

    /// A file with the steps. `two` trusts two issuers: [`ISSUER`] with the key of `ed`, and
    /// `https://b.example` with the strange one's.
    pub fn configuration(&self) -> String {
        let mut text = "[proxy]\nid = \"f\"\n[network.n.http]\nbind_port = 1\n".to_owned();
        for step in STEPS {
            let keys = match step {
                "ed" => "public_key_path = \"a.pem\"".to_owned(),
                "hs" => format!("secret = {SECRET:?}"),
                _ => "jwks_path = \"keys.json\"".to_owned(),
            };
            let trust = match step {
                "two" => format!(
                    "issuers = [{{ issuer = {ISSUER:?}, public_key_path = \"a.pem\" }}, {{ issuer \
                     = \"https://b.example\", public_key_path = \"b.pem\" }}]"
                ),
                _ => format!("issuer = {ISSUER:?}, {keys}"),
            };
            let algorithm = Keys::algorithm(step);
            text.push_str(&format!(
                "[pipelines.{step}]\nnetworks = [\"n\"]\nendpoints = [\"{step}\"]\n\
                 middleware = [\"{step}\"]\n\
                 [endpoints.{step}]\nservice = \"echo\"\n\
                 options = {{ path_prefix = \"/{step}\" }}\n\
                 [middleware.{step}]\ntype = \"jwt-auth\"\n\
                 config = {{ algorithm = \"{algorithm}\", audience = {AUDIENCE:?}, {trust}, \
                 claims_to_headers = {{ team = \"X-Team\" }} }}\n"
            ));
        }
        text
    }

    /// Where the files lie.
    pub fn home(&self) -> &Path {
        self.home.path()
    }
}

impl Default for Issuer {
    fn default() -> Self {
        Self::new()
    }
}

/// A header that the steps take, with a `kid` where there is one.
pub fn header(step: &str) -> String {
    let kid = match step {
        "es" => ",\"kid\":\"e\"",
        "rs" => ",\"kid\":\"r\"",
        _ => "",
    };
    format!("{{\"alg\":\"{}\",\"typ\":\"JWT\"{kid}}}", Keys::algorithm(step))
}

/// Claims that all steps take.
pub const CLAIMS: &str = r#"{"iss":"https://auth.example.com","aud":"harmony-api","sub":"alice","team":"blue","iat":1700000000,"exp":4102444800}"#;
