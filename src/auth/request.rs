//! What a request presents: everything that an authentication step may look at.

use http::HeaderMap;

use super::certificate::PresentedCertificate;
use super::dpop::RequestTarget;
use super::request_source::RequestSource;

/// The parts of a request that authentication looks at.
#[derive(Debug, Clone, Copy)]
pub struct AuthRequest<'a> {
    /// The header fields, as the client sent them.
    pub headers: &'a HeaderMap,
    /// The query, without its `?`.
    pub query: Option<&'a str>,
    /// Who presents it.
    pub source: RequestSource<'a>,
    /// The certificate that the client showed when it connected; `None`: none, or nobody asked for
    /// one.
    pub certificate: Option<PresentedCertificate<'a>>,
    /// What a proof has to be for (RFC 9449 section 4.2). `None`: it is not known, and no proof
    /// passes.
    pub target: Option<RequestTarget<'a>>,
}

impl<'a> AuthRequest<'a> {
    /// A request of which nothing but the header fields is known.
    pub fn of(headers: &'a HeaderMap) -> Self {
        Self {
            headers,
            query: None,
            source: RequestSource::default(),
            certificate: None,
            target: None,
        }
    }
}
