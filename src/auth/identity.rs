//! Who a request comes from, in the form that goes to the upstream.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderName, HeaderValue};
use jose::Claims;
use jose::clock::{self, UnixTime};
use serde_json::Value;

use crate::config::KeyDigest;

/// How a request authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthMethod {
    /// A JSON Web Token (RFC 7519).
    Jwt,
    /// A token whose issuer was asked about it (RFC 7662).
    Introspection,
    /// A user name and a password (RFC 7617).
    Basic,
    /// An API key.
    ApiKey,
    /// A certificate of the client's, verified in the TLS handshake (RFC 8446 section 4.4.2).
    MutualTls,
}

impl AuthMethod {
    /// The value of `X-Auth-Method`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::Introspection => "introspection",
            Self::Basic => "basic",
            Self::ApiKey => "api-key",
            Self::MutualTls => "mutual-tls",
        }
    }
}

/// Who a request comes from. A clone shares its content.
#[derive(Clone)]
pub struct Identity(Arc<Shared>);

/// What the clones of an identity share.
struct Shared {
    content: Content,
    /// The generation of the list of revocations in which nothing named its credential.
    clear_in: AtomicU64,
}

/// What an identity is made of.
#[derive(Clone)]
pub(crate) struct Content {
    pub(crate) method: AuthMethod,
    pub(crate) subject: Option<HeaderValue>,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) valid_until: Option<UnixTime>,
    pub(crate) credential: Credential,
    /// Kept only where a rule reads them.
    pub(crate) claims: Option<Claims>,
    /// `scopes` of an API key.
    pub(crate) key_scopes: Box<[String]>,
}

/// The credential behind an identity, without its secret: what a revocation names it by, and what
/// tells the subjects of two issuers apart.
#[derive(Clone, PartialEq)]
pub enum Credential {
    /// A token, by its claims.
    Token(TokenIds),
    /// An API key, whose id is the identity's subject, by its digest.
    ApiKey(KeyDigest),
    /// A certificate, by the SHA-256 of its DER form.
    Certificate([u8; 32]),
    /// A user name, which is the identity's subject, and a password, by the SHA-256 of what it is
    /// compared with.
    Password([u8; 32]),
}

/// The claims that tell a token from all others (RFC 7519 section 4.1, RFC 9068 section 2.2).
#[derive(Clone, Default, PartialEq)]
pub struct TokenIds {
    /// `iss`.
    pub issuer: Option<Box<str>>,
    /// `jti`.
    pub token_id: Option<Box<str>>,
    /// `sid`: the session of OpenID Connect.
    pub session: Option<Box<str>>,
    /// `client_id`, else `azp`.
    pub client_id: Option<Box<str>>,
    /// `iat`, or when it was verified, if that lies ahead.
    pub issued_at: Option<UnixTime>,
    /// The SHA-256 of the certificate that it is bound to (RFC 8705 section 3.1).
    pub certificate: Option<Box<[u8; 32]>>,
}

impl From<&Claims> for TokenIds {
    fn from(claims: &Claims) -> Self {
        let text = |name: &str| claims.get(name).and_then(Value::as_str).map(Into::into);
        Self {
            issuer: text("iss"),
            token_id: text("jti"),
            session: text("sid"),
            client_id: text("client_id").or_else(|| text("azp")),
            issued_at: claims
                .get("iat")
                .and_then(Value::as_f64)
                .map(|issued_at| issued_at.min(clock::now())),
            certificate: None,
        }
    }
}

impl Credential {
    /// The ids of a token; `None`: it is another credential.
    pub fn token(&self) -> Option<&TokenIds> {
        match self {
            Self::Token(ids) => Some(ids),
            Self::ApiKey(_) | Self::Certificate(_) | Self::Password(_) => None,
        }
    }

    /// How many bytes it has on the heap, about.
    fn bytes(&self) -> usize {
        let Self::Token(ids) = self else {
            return 0;
        };
        let texts = [&ids.issuer, &ids.token_id, &ids.session, &ids.client_id];
        let allocated = texts.into_iter().flatten().map(|text| 16 + text.len());
        allocated.sum::<usize>() + ids.certificate.as_ref().map_or(0, |_| 48)
    }
}

/// Names its kind only.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token",
            Self::ApiKey(_) => "ApiKey",
            Self::Certificate(_) => "Certificate",
            Self::Password(_) => "Password",
        })
    }
}

impl Identity {
    pub(crate) fn new(content: Content) -> Self {
        Self(Arc::new(Shared {
            content,
            clear_in: AtomicU64::new(0),
        }))
    }

    /// The same, of a token that its issuer says to count until then, and to be bound to this
    /// certificate.
    pub(super) fn narrowed(
        self,
        valid_until: Option<UnixTime>,
        certificate: Option<[u8; 32]>,
    ) -> Self {
        let bound_to = |credential: &Credential| {
            let ids = credential.token();
            ids.and_then(|ids| ids.certificate.as_deref().copied())
        };
        let content = &self.0.content;
        if content.valid_until == valid_until && bound_to(&content.credential) == certificate {
            return self;
        }
        let mut content = content.clone();
        content.valid_until = valid_until;
        if let Credential::Token(ids) = &mut content.credential {
            ids.certificate = certificate.map(Box::new);
        }
        Self::new(content)
    }

    /// The generation of the list of revocations in which it was last found clear; 0 before the
    /// first entry.
    pub(super) fn clear_in(&self) -> u64 {
        self.0.clear_in.load(Ordering::Relaxed)
    }

    /// Remembers that nothing revoked it in this generation.
    pub(super) fn found_clear_in(&self, generation: u64) {
        self.0.clear_in.store(generation, Ordering::Relaxed);
    }

    /// How it authenticated: `X-Auth-Method`.
    pub fn method(&self) -> AuthMethod {
        self.0.content.method
    }

    /// The subject: `X-Auth-Subject`. Visible ASCII and inner spaces only.
    pub fn subject(&self) -> Option<&HeaderValue> {
        self.0.content.subject.as_ref()
    }

    /// What `claims_to_headers` names, each with its value.
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.0.content.headers
    }

    /// The credential behind it.
    pub fn credential(&self) -> &Credential {
        &self.0.content.credential
    }

    /// The claims of its token, if it is one and a rule reads them.
    pub fn claims(&self) -> Option<&Claims> {
        self.0.content.claims.as_ref()
    }

    /// Whether it is a token's of one of these issuers; none: of any.
    pub(crate) fn is_of_issuer(&self, issuers: &[String]) -> bool {
        let issuer = self
            .credential()
            .token()
            .and_then(|ids| ids.issuer.as_deref());
        issuers.is_empty() || issuer.is_some_and(|issuer| issuers.iter().any(|one| one == issuer))
    }

    /// The scopes that it was granted: those of its API key, or of its token if its claims are
    /// kept.
    pub fn scopes(&self) -> Vec<&str> {
        match self.claims() {
            Some(claims) => claims.scopes().filter(|scope| !scope.is_empty()).collect(),
            None => self
                .0
                .content
                .key_scopes
                .iter()
                .map(String::as_str)
                .collect(),
        }
    }

    /// About how many bytes of memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        // A value has its bytes on the heap, and a counter beside them.
        const VALUE: usize = 64;
        let headers = self.0.content.headers.iter();
        size_of::<Shared>()
            + self.subject().map_or(0, |subject| VALUE + subject.len())
            + headers
                .map(|(name, value)| {
                    size_of::<(HeaderName, HeaderValue)>()
                        + VALUE
                        + name.as_str().len()
                        + value.len()
                })
                .sum::<usize>()
            + self.0.content.credential.bytes()
            + self.claims().map_or(0, Claims::bytes)
    }

    /// The moment, in seconds since 1970, from which the credential behind it is no longer good,
    /// leeway included. `None`: it does not expire.
    pub fn valid_until(&self) -> Option<f64> {
        self.0.content.valid_until
    }
}

/// Names the method and the headers; no claim's value.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self
            .0
            .content
            .headers
            .iter()
            .map(|(name, _)| name)
            .collect();
        f.debug_struct("Identity")
            .field("method", &self.0.content.method)
            .field("headers", &names)
            .finish_non_exhaustive()
    }
}
