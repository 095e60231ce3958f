//! Key pairs, tokens, and an issuer that serves its keys over real HTTP on loopback.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "for tests alone, whose names say what they are"
)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::key::Material;
use crate::{Algorithm, KeySetUrl, KeySets, PublicKey, clock};

mod pairs;

pub use pairs::Pair;

pub const ISSUER: &str = "https://auth.example.com";
pub const AUDIENCE: &str = "harmony-api";

/// An RSA key pair.
pub struct Signer {
    pair: RsaKeyPair,
    modulus: Box<[u8]>,
    exponent: Box<[u8]>,
}

impl Signer {
    pub fn generate() -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let pem = pem("RSA PUBLIC KEY", pair.public_key().as_ref());
        let public = PublicKey::from_pem(pem.as_bytes(), Algorithm::Rs256).unwrap();
        let Material::Rsa { modulus, exponent } = public.material().clone() else {
            panic!()
        };
        Self {
            pair,
            modulus,
            exponent,
        }
    }

    pub fn modulus(&self) -> &[u8] {
        &self.modulus
    }

    pub fn exponent(&self) -> &[u8] {
        &self.exponent
    }

    pub fn public_pem(&self) -> String {
        let der: PublicKeyX509Der<'_> = self.pair.public_key().as_der().unwrap();
        pem("PUBLIC KEY", der.as_ref())
    }

    pub fn pkcs1_pem(&self) -> String {
        pem("RSA PUBLIC KEY", self.pair.public_key().as_ref())
    }

    pub fn private_pem(&self) -> String {
        let der: Pkcs8V1Der<'_> = self.pair.as_der().unwrap();
        pem("PRIVATE KEY", der.as_ref())
    }

    pub fn jwk(&self, kid: &str) -> Value {
        json!({
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid,
            "n": encode(self.modulus()), "e": encode(self.exponent()),
        })
    }

    pub fn signature(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                message,
                &mut signature,
            )
            .unwrap();
        signature
    }

    /// A token of these texts, JSON or not, well signed.
    pub fn sign(&self, header: &str, claims: &str) -> String {
        let input = format!("{}.{}", encode(header), encode(claims));
        format!("{input}.{}", encode(self.signature(input.as_bytes())))
    }

    /// A good token with this `kid`.
    pub fn token(&self, kid: &str) -> String {
        self.sign(
            &json!({ "alg": "RS256", "kid": kid }).to_string(),
            &claims().to_string(),
        )
    }
}

/// Claims that pass, for an edge that asks for [`ISSUER`] and [`AUDIENCE`].
pub fn claims() -> Value {
    let now = clock::now().floor();
    json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + 600.0 })
}

pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn pem(label: &str, der: &[u8]) -> String {
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        STANDARD.encode(der)
    )
}

/// A key set's settings: a long life, a short cool-down.
pub fn key_set_url(url: &str) -> KeySetUrl {
    KeySetUrl {
        url: url.to_owned(),
        fresh: Duration::from_secs(3600),
        max_stale: Duration::from_secs(86_400),
        cooldown: Duration::from_millis(300),
        addresses: None,
    }
}

/// Key sets without a directory, under the TLS provider of the process.
pub fn key_sets() -> KeySets {
    install_provider();
    KeySets::new("jose-tests", None).unwrap()
}

/// Installs aws-lc-rs for TLS, unless that was done already.
pub fn install_provider() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// What an [`Issuer`] answers.
#[derive(Clone)]
pub enum Answer {
    /// 200 with this text and these further header lines.
    Body(String, &'static str),
    /// A status line, header lines, and no body.
    Head(String),
    /// All of it, as it goes over the wire.
    Wire(String),
    /// Nothing, ever.
    Silence,
}

/// An HTTP server on loopback with one thing to say.
pub struct Issuer {
    pub url: String,
    answer: Arc<Mutex<(Answer, Duration)>>,
    fetches: Arc<AtomicUsize>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Issuer {
    pub async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = Self {
            url: format!("http://{}/jwks.json", listener.local_addr().unwrap()),
            answer: Arc::new(Mutex::new((answer, Duration::ZERO))),
            fetches: Arc::default(),
            heads: Arc::default(),
        };
        let (answer, fetches) = (issuer.answer.clone(), issuer.fetches.clone());
        let heads = issuer.heads.clone();
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                fetches.fetch_add(1, Ordering::SeqCst);
                let (answer, delay) = answer.lock().unwrap().clone();
                let heads = heads.clone();
                tokio::spawn(async move {
                    let mut head = vec![0; 4096];
                    let length = client.read(&mut head).await.unwrap_or(0);
                    let head = String::from_utf8_lossy(&head[..length]).to_lowercase();
                    assert!(length == 0 || head.contains("\r\nuser-agent: "), "{head}");
                    heads.lock().unwrap().push(head);
                    tokio::time::sleep(delay).await;
                    let text = match answer {
                        Answer::Body(body, lines) => {
                            format!(
                                "HTTP/1.1 200 OK\r\n{lines}content-length: {}\r\n\r\n{body}",
                                body.len()
                            )
                        }
                        Answer::Head(head) => format!("HTTP/1.1 {head}content-length: 0\r\n\r\n"),
                        Answer::Wire(text) => text,
                        Answer::Silence => std::future::pending().await,
                    };
                    let _ = client.write_all(text.as_bytes()).await;
                });
            }
        });
        issuer
    }

    pub fn say(&self, answer: Answer) {
        self.say_after(answer, Duration::ZERO);
    }

    pub fn say_after(&self, answer: Answer, delay: Duration) {
        *self.answer.lock().unwrap() = (answer, delay);
    }

    /// What it was asked, in lower case.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    pub fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

/// The answer with these keys.
pub fn keys(keys: &[Value]) -> Answer {
    Answer::Body(json!({ "keys": keys }).to_string(), "")
}

/// The answer of an issuer in trouble.
pub fn trouble() -> Answer {
    Answer::Head("500 Internal Server Error\r\n".to_owned())
}
