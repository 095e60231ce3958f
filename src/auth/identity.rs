//! Who a request comes from, in the form that goes to the upstream.

use std::fmt;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use jose::clock::UnixTime;

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
pub struct Identity(Arc<Content>);

struct Content {
    method: AuthMethod,
    subject: Option<HeaderValue>,
    headers: Vec<(HeaderName, HeaderValue)>,
    valid_until: Option<UnixTime>,
}

impl Identity {
    pub(crate) fn new(
        method: AuthMethod,
        subject: Option<HeaderValue>,
        headers: Vec<(HeaderName, HeaderValue)>,
        valid_until: Option<UnixTime>,
    ) -> Self {
        Self(Arc::new(Content {
            method,
            subject,
            headers,
            valid_until,
        }))
    }

    /// How it authenticated: `X-Auth-Method`.
    pub fn method(&self) -> AuthMethod {
        self.0.method
    }

    /// The subject: `X-Auth-Subject`. Visible ASCII and inner spaces only.
    pub fn subject(&self) -> Option<&HeaderValue> {
        self.0.subject.as_ref()
    }

    /// What `claims_to_headers` names, each with its value.
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.0.headers
    }

    /// About how many bytes of memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        // A value has its bytes on the heap, and a counter beside them.
        const VALUE: usize = 64;
        let headers = self.0.headers.iter();
        size_of::<Content>()
            + self.subject().map_or(0, |subject| VALUE + subject.len())
            + headers
                .map(|(name, value)| {
                    size_of::<(HeaderName, HeaderValue)>()
                        + VALUE
                        + name.as_str().len()
                        + value.len()
                })
                .sum::<usize>()
    }

    /// The moment, in seconds since 1970, from which the credential behind it is no longer good,
    /// leeway included. `None`: it does not expire.
    pub fn valid_until(&self) -> Option<f64> {
        self.0.valid_until
    }
}

/// Names the method and the headers; no claim's value.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("Identity")
            .field("method", &self.0.method)
            .field("headers", &names)
            .finish_non_exhaustive()
    }
}
