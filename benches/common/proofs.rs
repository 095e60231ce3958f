//! A sender of bound tokens (RFC 9449): its key, and a proof for each request.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A key on P-256.
#[derive(Debug, Clone)]
pub struct Sender {
    key: Arc<EcdsaKeyPair>,
    /// As JSON, its members in order.
    jwk: String,
}

impl Sender {
    /// `None`: the system makes no key.
    pub fn make() -> Option<Self> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).ok()?;
        let (x, y) = key.public_key().as_ref().get(1..65)?.split_at(32);
        let (x, y) = (encode(x), encode(y));
        let jwk = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        Some(Self { key: Arc::new(key), jwk })
    }

    /// What a token's `cnf.jkt` says.
    pub fn thumbprint(&self) -> String {
        encode(digest(&SHA256, self.jwk.as_bytes()))
    }

    /// A proof for a `GET`, which is different for each `id`. It is made two seconds from now, so
    /// that it is younger than whom it is for. `None`: it cannot be signed.
    pub fn prove(&self, url: &str, token: &str, id: usize) -> Option<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs() + 2;
        let header = format!(r#"{{"typ":"dpop+jwt","alg":"ES256","jwk":{}}}"#, self.jwk);
        let hash = encode(digest(&SHA256, token.as_bytes()));
        let claims = format!(
            r#"{{"jti":"{now}-{id}","htm":"GET","htu":"{url}","iat":{now},"ath":"{hash}"}}"#
        );
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = self.key.sign(&SystemRandom::new(), message.as_bytes()).ok()?;
        Some(format!("{message}.{}", encode(signature)))
    }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
