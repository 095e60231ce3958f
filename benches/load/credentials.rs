//! What the clients bring: one token, many tokens, an API key; and the keys and certificates that go with them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use ring::digest::{SHA256, digest};
use serde_json::json;

pub const ISSUER: &str = "https://auth.example.com";
pub const AUDIENCE: &str = "harmony-api";
/// Of the upstream's key; its hash stands in the configuration.
pub const API_KEY: &str = "hk_7d1c5a0be2f94f6d8d0c3a51";

/// Distinct tokens: about as many as a proxy that verifies each can take in a turn on one core. A turn ends when they are used up.
pub const TOKENS: usize = 60_000;

/// Everything that stands in files for the proxies and the clients.
pub struct Credentials {
    pub key_set: String,
    pub public_pem: PathBuf,
    pub token: String,
    pub many: PathBuf,
    pub certificate: PathBuf,
    pub certificate_key: PathBuf,
    /// Both in one file, as HAProxy wants them.
    pub certificate_with_key: PathBuf,
    pub key_hash: String,
}

impl Credentials {
    pub fn make(directory: &Path) -> anyhow::Result<Self> {
        let pair = KeyPair::generate(KeySize::Rsa2048)?;
        let private: Pkcs8V1Der<'_> = pair.as_der()?;
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der()?;
        let key = EncodingKey::from_rsa_pem(pem("PRIVATE KEY", private.as_ref()).as_bytes())?;
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::RS256)?;
        jwk.common.key_id = Some("k".to_owned());
        let sign = |id: usize| -> anyhow::Result<String> {
            let mut header = Header::new(Algorithm::RS256);
            header.kid = Some("k".to_owned());
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
            let claims =
                json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "jti": format!("{id:08}"), "iat": now, "exp": now + 36_000, "scope": "read write" });
            Ok(jsonwebtoken::encode(&header, &claims, &key)?)
        };
        let mut many = String::new();
        for id in 1..=TOKENS {
            writeln!(many, "{}", sign(id)?)?;
        }
        let tls = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        let (certificate, certificate_key) = (tls.cert.pem(), tls.signing_key.serialize_pem());
        let file = |name: &str, text: &str| -> anyhow::Result<PathBuf> {
            let path = directory.join(name);
            std::fs::write(&path, text)?;
            Ok(path)
        };
        let key_hash = digest(&SHA256, API_KEY.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self {
            key_set: serde_json::to_string(&JwkSet { keys: vec![jwk] })?,
            public_pem: file("issuer.pem", &pem("PUBLIC KEY", public.as_ref()))?,
            token: sign(0)?,
            many: file("tokens", &many)?,
            certificate: file("edge.crt", &certificate)?,
            certificate_key: file("edge.key", &certificate_key)?,
            certificate_with_key: file("edge.pem", &(certificate + &certificate_key))?,
            key_hash,
        })
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in body.as_bytes().chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}
