//! Who presents a credential: for limits by address, and for the log.

use std::fmt;
use std::net::IpAddr;

use http::HeaderValue;

/// Who presents a credential.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestSource<'a> {
    /// The client's address, behind trusted proxies; `None` when it is not known.
    pub client: Option<IpAddr>,
    /// The id of the request. What the log says of the request begins with it.
    pub request_id: Option<&'a HeaderValue>,
}

impl RequestSource<'_> {
    /// What the log says of the request begins with this.
    pub(super) fn log_prefix(&self) -> LogPrefix {
        LogPrefix(self.request_id.cloned())
    }
}

/// The id of a request, where there is one, as the beginning of a line of the log.
#[derive(Debug, Clone, Default)]
pub(super) struct LogPrefix(Option<HeaderValue>);

impl fmt::Display for LogPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_ref().map(HeaderValue::to_str) {
            Some(Ok(id)) => write!(f, "request {id}: "),
            Some(Err(_)) | None => Ok(()),
        }
    }
}
