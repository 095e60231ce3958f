//! What the clients bring: one token, many tokens, an API key; and the keys and certificates that
//! go with them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jsonwebtoken::jwk::JwkSet;
use ring::digest::{SHA256, digest};

use crate::proofs::Sender;
use crate::signing::SigningKey;
pub use crate::signing::{AUDIENCE, ISSUER};

/// Of the upstream's key; its hash stands in the configuration.
pub const API_KEY: &str = "hk_7d1c5a0be2f94f6d8d0c3a51";

/// Distinct tokens: about as many as a proxy that verifies each can take in a turn on one core. A
/// turn ends when they are used up.
pub const TOKENS: usize = 60_000;

/// Of as many people: a limit counts each.
const SUBJECTS: usize = 1000;

/// Everything that stands in files for the proxies and the clients.
pub struct Credentials {
    pub key_set: String,
    pub public_pem: PathBuf,
    pub token: String,
    /// Who makes proofs, and the token that is bound to its key.
    pub sender: Sender,
    pub bound_token: String,
    pub many: PathBuf,
    /// One token for each of [`SUBJECTS`].
    pub subjects: PathBuf,
    pub certificate: PathBuf,
    pub certificate_key: PathBuf,
    /// Both in one file, as HAProxy wants them.
    pub certificate_with_key: PathBuf,
    pub key_hash: String,
}

impl Credentials {
    pub fn make(directory: &Path, tokens: usize) -> anyhow::Result<Self> {
        let issuer = SigningKey::make("k")?;
        let sign = |id: usize| issuer.sign(id, 36_000);
        let sender = Sender::make().context("no key for proofs")?;
        let mut many = String::new();
        for id in 1..=tokens {
            writeln!(many, "{}", sign(id)?)?;
        }
        let mut subjects = String::new();
        for id in 0..SUBJECTS {
            writeln!(subjects, "{}", issuer.sign_as(&format!("user-{id}"), 36_000)?)?;
        }
        let tls =
            rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        let (certificate, certificate_key) = (tls.cert.pem(), tls.signing_key.serialize_pem());
        let file = |name: &str, text: &str| -> anyhow::Result<PathBuf> {
            let path = directory.join(name);
            std::fs::write(&path, text)?;
            Ok(path)
        };
        let key_hash = digest(&SHA256, API_KEY.as_bytes())
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok(Self {
            key_set: serde_json::to_string(&JwkSet { keys: vec![issuer.jwk.clone()] })?,
            public_pem: file("issuer.pem", &issuer.public_pem)?,
            token: sign(0)?,
            bound_token: issuer.sign_bound(&sender.thumbprint(), 36_000)?,
            sender,
            many: file("tokens", &many)?,
            subjects: file("subjects", &subjects)?,
            certificate: file("edge.crt", &certificate)?,
            certificate_key: file("edge.key", &certificate_key)?,
            certificate_with_key: file("edge.pem", &(certificate + &certificate_key))?,
            key_hash,
        })
    }
}
