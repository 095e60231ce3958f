//! One revocation: what it names, and from when to when it counts.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jose::clock;
use serde::{Deserialize, Serialize};

use crate::common::{Hex, sha256};

/// What a revocation names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Tokens of this issuer (`iss`).
    Tokens(Arc<str>, TokenSelector),
    /// The API key with this id.
    ApiKey(Arc<str>),
    /// The client certificate whose DER form has this SHA-256.
    Certificate([u8; 32]),
}

/// Which tokens of an issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSelector {
    /// The one with this `jti`.
    TokenId(Arc<str>),
    /// Those of the session with this `sid`.
    Session(Arc<str>),
    /// Those of the subject with this `sub`.
    Subject(Arc<str>),
    /// Those of this `client_id`, else `azp`.
    ClientId(Arc<str>),
    /// All of them.
    All,
}

/// The name of a revocation: 128 bits of a hash of its [`Target`], so that one target has one
/// entry, on every node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RevocationId([u8; 16]);

/// An entry of the list of revocations. In JSON it has the form of the Management API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Form", into = "Form")]
pub struct Revocation {
    /// What it names.
    pub target: Target,
    /// Only tokens issued up to this second, since 1970, are revoked. `None`: all of them.
    pub before: Option<u64>,
    /// It no longer counts from this second on, since 1970. `None`: it is kept for `keep_secs`; of
    /// an API key or a certificate, until it is deleted.
    pub until: Option<u64>,
    /// When it was made, in milliseconds since 1970: the later change of an entry wins.
    pub made_at: u64,
}

/// That an entry was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// The entry.
    pub id: RevocationId,
    /// When, in milliseconds since 1970. An entry that was made later is another one.
    pub deleted_at: u64,
}

/// A change of the list. Changes may be applied in any order and more than once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// An entry was made, or made anew.
    Revoked(Revocation),
    /// An entry was deleted.
    Deleted(Deletion),
}

impl Target {
    /// The name of its entry.
    pub fn id(&self) -> RevocationId {
        let (kind, issuer, value): (&str, &str, &[u8]) = match self {
            Self::Tokens(issuer, selector) => {
                let (kind, value) = selector.parts();
                (kind, issuer, value.as_bytes())
            }
            Self::ApiKey(id) => ("key", "", id.as_bytes()),
            Self::Certificate(fingerprint) => ("certificate", "", fingerprint),
        };
        let parts = [kind.as_bytes(), issuer.as_bytes(), value];
        let [kind, issuer, value] = parts;
        let lengths = parts.map(|part| (part.len() as u64).to_be_bytes());
        let [of_kind, of_issuer, of_value] = &lengths;
        let hash = sha256(&[of_kind, kind, of_issuer, issuer, of_value, value]);
        let mut id = [0; 16];
        id.copy_from_slice(&hash[..16]);
        RevocationId(id)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tokens(issuer, TokenSelector::All) => write!(f, "issuer {issuer:?}"),
            Self::Tokens(issuer, selector) => {
                let (name, value) = selector.parts();
                write!(f, "{name} {value:?} of {issuer:?}")
            }
            Self::ApiKey(id) => write!(f, "key {id:?}"),
            Self::Certificate(fingerprint) => {
                f.write_str("certificate ")?;
                write!(f, "{}", Hex(fingerprint))
            }
        }
    }
}

impl TokenSelector {
    /// Its member in JSON, and the value.
    fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::TokenId(value) => ("jti", value),
            Self::Session(value) => ("sid", value),
            Self::Subject(value) => ("sub", value),
            Self::ClientId(value) => ("client_id", value),
            Self::All => ("issuer", ""),
        }
    }
}

impl Revocation {
    /// An entry that is made now.
    pub fn new(target: Target, before: Option<u64>, until: Option<u64>) -> Self {
        Self {
            target,
            before,
            until,
            made_at: (clock::now() * 1000.0) as u64,
        }
    }

    /// The name of the entry.
    pub fn id(&self) -> RevocationId {
        self.target.id()
    }

    /// Takes in what another entry for the same target says: what either revokes stays revoked, as
    /// long as either of them counts.
    pub(super) fn merge(&mut self, other: &Self) {
        self.before = self.before.zip(other.before).map(|(a, b)| a.max(b));
        self.until = self.until.zip(other.until).map(|(a, b)| a.max(b));
        self.made_at = self.made_at.max(other.made_at);
    }

    /// Whether it counts until it is deleted, if it does not say when it ends.
    pub(super) fn is_lasting(&self) -> bool {
        !matches!(self.target, Target::Tokens(..))
    }

    /// The second, since 1970, from which it can be dropped. `None`: never.
    pub(super) fn expires_at(&self, keep_secs: u64) -> Option<u64> {
        self.until.or_else(|| {
            let made_at = self.made_at / 1000;
            let start = self.before.map_or(made_at, |before| before.max(made_at));
            (!self.is_lasting()).then(|| start.saturating_add(keep_secs))
        })
    }
}

impl fmt::Display for RevocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Hex(&self.0))
    }
}

impl fmt::Debug for RevocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Not the name of a revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not 32 hexadecimal digits")]
pub struct InvalidId;

impl FromStr for RevocationId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        parse_hex(text).map(Self).ok_or(InvalidId)
    }
}

impl TryFrom<String> for RevocationId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl Serialize for RevocationId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RevocationId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut bytes = [0; N];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// The JSON form of an entry.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
    made_at: u64,
}

/// Why JSON is no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// It names nothing.
    #[error("it names no issuer, key or certificate")]
    NamesNothing,
    /// It names several things.
    #[error("it names more than one thing")]
    NamesSeveral,
    /// A member that only goes with an issuer.
    #[error("{0} needs an issuer")]
    NeedsIssuer(&'static str),
    /// A value is empty.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// Not the SHA-256 of a certificate.
    #[error("certificate is not a SHA-256 in hexadecimal digits")]
    Fingerprint,
}

impl TryFrom<Form> for Revocation {
    type Error = FormError;

    fn try_from(form: Form) -> Result<Self, FormError> {
        let selectors = [
            (
                "jti",
                form.jti,
                TokenSelector::TokenId as fn(Arc<str>) -> TokenSelector,
            ),
            ("sid", form.sid, TokenSelector::Session),
            ("sub", form.sub, TokenSelector::Subject),
            ("client_id", form.client_id, TokenSelector::ClientId),
        ];
        let mut selector = None;
        for (name, value, of) in selectors {
            let Some(value) = value else { continue };
            if value.is_empty() {
                return Err(FormError::Empty(name));
            }
            if selector.replace((name, of(value.into()))).is_some() {
                return Err(FormError::NamesSeveral);
            }
        }
        let target = match (form.issuer, selector, form.key, form.certificate) {
            (Some(issuer), _, None, None) if issuer.is_empty() => {
                return Err(FormError::Empty("issuer"));
            }
            (Some(issuer), selector, None, None) => {
                let selector = selector.map_or(TokenSelector::All, |(_, selector)| selector);
                Target::Tokens(issuer.into(), selector)
            }
            (None, Some((name, _)), None, None) => return Err(FormError::NeedsIssuer(name)),
            (None, None, Some(key), None) if key.is_empty() => return Err(FormError::Empty("key")),
            (None, None, Some(key), None) => Target::ApiKey(key.into()),
            (None, None, None, Some(fingerprint)) => {
                // As `openssl x509 -fingerprint` writes it, too.
                let digits = fingerprint.replace(':', "");
                Target::Certificate(parse_hex(&digits).ok_or(FormError::Fingerprint)?)
            }
            (None, None, None, None) => return Err(FormError::NamesNothing),
            _ => return Err(FormError::NamesSeveral),
        };
        if form.before.is_some() && !matches!(target, Target::Tokens(..)) {
            return Err(FormError::NeedsIssuer("before"));
        }
        Ok(Self {
            target,
            before: form.before,
            until: form.until,
            made_at: form.made_at,
        })
    }
}

impl From<Revocation> for Form {
    fn from(entry: Revocation) -> Self {
        let mut form = Self {
            issuer: None,
            jti: None,
            sid: None,
            sub: None,
            client_id: None,
            key: None,
            certificate: None,
            before: entry.before,
            until: entry.until,
            made_at: entry.made_at,
        };
        let text = |text: Arc<str>| Some(text.as_ref().to_owned());
        match entry.target {
            Target::Tokens(issuer, selector) => {
                form.issuer = text(issuer);
                match selector {
                    TokenSelector::TokenId(value) => form.jti = text(value),
                    TokenSelector::Session(value) => form.sid = text(value),
                    TokenSelector::Subject(value) => form.sub = text(value),
                    TokenSelector::ClientId(value) => form.client_id = text(value),
                    TokenSelector::All => {}
                }
            }
            Target::ApiKey(id) => form.key = text(id),
            Target::Certificate(fingerprint) => {
                form.certificate = Some(Hex(&fingerprint).to_string());
            }
        }
        form
    }
}
