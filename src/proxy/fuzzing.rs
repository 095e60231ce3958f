//! What `fuzz/` needs of this room: the request head as it came, and the target that an upstream
//! gets.

use bytes::Bytes;

/// What is taken from a head that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// As the client named it.
    pub authority: Bytes,
    /// For the route table.
    pub host: String,
    /// As it came.
    pub path: Bytes,
    /// As it came.
    pub query: Option<Bytes>,
}

/// Reads the head of an HTTP/1 request; or says the status and the reason that it is refused with.
pub fn request_head(raw: &Bytes) -> Result<Head, (u16, &'static str)> {
    let head =
        super::request::head::read_http1(raw).map_err(|error| (error.status(), error.reason()))?;
    Ok(Head {
        host: head.host().into_owned(),
        authority: head.authority,
        path: head.path,
        query: head.query,
    })
}

/// The target that an upstream gets.
pub fn upstream_target(base: &str, prefix: &str, path: &str, query: Option<&[u8]>) -> Vec<u8> {
    super::forward::upstream_request::target([base, ""], prefix, path, query)
}

/// The address that an entry of `X-Forwarded-For` holds.
pub fn forwarded_address(entry: &[u8]) -> Option<std::net::IpAddr> {
    super::request::client_address::address(entry)
}
