//! An issuer's key: its tokens, and how it stands in a key set.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

pub const ISSUER: &str = "https://auth.example.com";
pub const AUDIENCE: &str = "harmony-api";

/// An RS256 key of 2048 bits.
pub struct SigningKey {
    kid: String,
    key: EncodingKey,
    pub jwk: Jwk,
    pub public_pem: String,
}

impl SigningKey {
    pub fn make(kid: &str) -> anyhow::Result<Self> {
        let pair = KeyPair::generate(KeySize::Rsa2048)?;
        let private: Pkcs8V1Der<'_> = pair.as_der()?;
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der()?;
        let key = EncodingKey::from_rsa_pem(pem("PRIVATE KEY", private.as_ref()).as_bytes())?;
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::RS256)?;
        jwk.common.key_id = Some(kid.to_owned());
        Ok(Self { kid: kid.to_owned(), key, jwk, public_pem: pem("PUBLIC KEY", public.as_ref()) })
    }

    /// A token that is different for each `id`, and expires so many seconds from now (negative: it
    /// has).
    pub fn sign(&self, id: usize, expires_in: i64) -> anyhow::Result<String> {
        self.encode(&claims(id, expires_in)?)
    }

    /// A token of this subject.
    #[allow(dead_code, reason = "for the benchmark under load alone")]
    pub fn sign_as(&self, subject: &str, expires_in: i64) -> anyhow::Result<String> {
        let mut claims = claims(0, expires_in)?;
        claims["sub"] = json!(subject);
        self.encode(&claims)
    }

    /// A token that is bound to the key of this thumbprint.
    #[allow(dead_code, reason = "for the benchmark under load alone")]
    pub fn sign_bound(&self, thumbprint: &str, expires_in: i64) -> anyhow::Result<String> {
        let mut claims = claims(0, expires_in)?;
        claims["cnf"] = json!({ "jkt": thumbprint });
        self.encode(&claims)
    }

    fn encode(&self, claims: &Value) -> anyhow::Result<String> {
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(self.kid.clone());
        Ok(jsonwebtoken::encode(&header, claims, &self.key)?)
    }
}

fn claims(id: usize, expires_in: i64) -> anyhow::Result<Value> {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
    Ok(json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "jti": format!("{id:08}"),
        "iat": now, "exp": now + expires_in, "scope": "read write" }))
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
