//! The values of `WWW-Authenticate`, made once per group of steps (RFC 9110 section 11.6.1, RFC
//! 6750 section 3).

use std::sync::Arc;

use http::HeaderValue;

use super::outcome::Class;

/// An authentication scheme, as a challenge names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// RFC 6750.
    Bearer,
    /// RFC 7617.
    Basic,
    /// Not registered; tells a client that an API key would do.
    ApiKey,
    /// Not registered either: RFC 9110 wants a challenge on every 401, and TLS has none to offer.
    ClientCertificate,
}

/// What a group answers, for every class of denial.
#[derive(Debug, Clone)]
pub(crate) struct Challenges {
    not_presented: Arc<[HeaderValue]>,
    invalid_credential: Arc<[HeaderValue]>,
    insufficient_scope: Arc<[HeaderValue]>,
    invalid_request: Arc<[HeaderValue]>,
    none: Arc<[HeaderValue]>,
}

impl Challenges {
    /// The challenges of the schemes that a group offers, each scheme once (with the realm that
    /// comes first). `None`: a realm that no header can carry.
    pub(crate) fn new<'a>(offers: impl Iterator<Item = (Scheme, &'a str)>) -> Option<Self> {
        let mut schemes: Vec<(Scheme, &str)> = Vec::new();
        for (scheme, realm) in offers {
            if schemes.iter().all(|(known, _)| *known != scheme) {
                schemes.push((scheme, realm));
            }
        }
        let with = |error: Option<&str>| -> Option<Arc<[HeaderValue]>> {
            schemes
                .iter()
                .map(|(scheme, realm)| challenge(*scheme, realm, error))
                .collect()
        };
        Some(Self {
            not_presented: with(None)?,
            invalid_credential: with(Some("invalid_token"))?,
            insufficient_scope: with(Some("insufficient_scope"))?,
            invalid_request: with(Some("invalid_request"))?,
            none: Arc::new([]),
        })
    }

    /// The challenges for one class of denial.
    pub(crate) fn of(&self, class: Class) -> Arc<[HeaderValue]> {
        match class {
            Class::NotPresented => &self.not_presented,
            Class::InvalidCredential => &self.invalid_credential,
            Class::InsufficientScope => &self.insufficient_scope,
            Class::InvalidRequest => &self.invalid_request,
            Class::TooManyRequests | Class::Unavailable => &self.none,
        }
        .clone()
    }
}

/// One challenge. Only Bearer has error codes.
fn challenge(scheme: Scheme, realm: &str, error: Option<&str>) -> Option<HeaderValue> {
    let text = match (scheme, error) {
        (Scheme::Bearer, None) => format!("Bearer realm=\"{realm}\""),
        (Scheme::Bearer, Some(error)) => format!("Bearer realm=\"{realm}\", error=\"{error}\""),
        (Scheme::Basic, _) => format!("Basic realm=\"{realm}\", charset=\"UTF-8\""),
        (Scheme::ApiKey, _) => format!("ApiKey realm=\"{realm}\""),
        (Scheme::ClientCertificate, _) => format!("ClientCertificate realm=\"{realm}\""),
    };
    HeaderValue::try_from(text).ok()
}
