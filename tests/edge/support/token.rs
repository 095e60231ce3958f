//! Tokens, good and bad: a builder that signs whatever header and claims it is given.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::keys::{Signer, base64url};
use super::secrets;

/// The issuer and the audience of a good token, as the configurations of the tests name them.
pub const ISSUER: &str = "https://auth.example.com";
pub const AUDIENCE: &str = "harmony-api";

/// A token to be: by default a good one for `alice`.
#[derive(Debug, Clone)]
pub struct Token {
    header: Segment,
    claims: Segment,
    signer: Signer,
}

/// A segment as JSON members, or as the very bytes that a malformed token has.
#[derive(Debug, Clone)]
enum Segment {
    Members(Map<String, Value>),
    Bytes(Vec<u8>),
}

impl Token {
    pub fn new(algorithm: &str, signer: Signer) -> Self {
        let now = now();
        Self {
            header: Segment::members(json!({ "alg": algorithm, "typ": "JWT" })),
            claims: Segment::members(
                json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "iat": now,
                    "nbf": now - 5, "exp": now + 600 }),
            ),
            signer,
        }
    }

    /// A token of these members alone.
    pub fn of(header: Value, claims: Value, signer: Signer) -> Self {
        Self { header: Segment::members(header), claims: Segment::members(claims), signer }
    }

    pub fn kid(self, kid: &str) -> Self {
        self.header("kid", kid)
    }

    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.set(name, value.into());
        self
    }

    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.set(name, value.into());
        self
    }

    /// The `exp` that many seconds from now.
    pub fn exp(self, seconds: i64) -> Self {
        self.claim("exp", now() + seconds)
    }

    pub fn expired(self) -> Self {
        self.exp(-3600)
    }

    pub fn without_header(mut self, name: &str) -> Self {
        self.header.remove(name);
        self
    }

    pub fn without(mut self, claim: &str) -> Self {
        self.claims.remove(claim);
        self
    }

    /// The header's bytes, whatever they are.
    pub fn raw_header(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.header = Segment::Bytes(bytes.into());
        self
    }

    /// The claims' bytes, whatever they are.
    pub fn raw_claims(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.claims = Segment::Bytes(bytes.into());
        self
    }

    /// The claims as JSON text, for those who spoil it.
    pub fn claims_text(&self) -> String {
        String::from_utf8(self.claims.bytes()).expect("claims in UTF-8")
    }

    pub fn header_text(&self) -> String {
        String::from_utf8(self.header.bytes()).expect("a header in UTF-8")
    }

    pub fn signed_by(mut self, signer: Signer) -> Self {
        self.signer = signer;
        self
    }

    /// The token's text. From here on it must not be seen in the log of an edge of this test.
    pub fn sign(&self) -> String {
        let message =
            format!("{}.{}", base64url(self.header.bytes()), base64url(self.claims.bytes()));
        let token = format!("{message}.{}", base64url(self.signer.sign(message.as_bytes())));
        secrets::remember(&token);
        token
    }
}

impl Segment {
    fn members(value: Value) -> Self {
        match value {
            Value::Object(members) => Self::Members(members),
            other => panic!("not an object: {other}"),
        }
    }

    fn set(&mut self, name: &str, value: Value) {
        self.object().insert(name.to_owned(), value);
    }

    fn remove(&mut self, name: &str) {
        self.object().remove(name);
    }

    fn object(&mut self) -> &mut Map<String, Value> {
        match self {
            Self::Members(members) => members,
            Self::Bytes(_) => panic!("raw bytes have no members"),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Members(members) => Value::Object(members.clone()).to_string().into_bytes(),
            Self::Bytes(bytes) => bytes.clone(),
        }
    }
}

pub fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs())
        .expect("before the end of time")
}
