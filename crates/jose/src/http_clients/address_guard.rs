//! Fetching under an [`AddressFilter`]: every address that is connected to passes it.

use std::io;
use std::net::{IpAddr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::AddressFilter;

/// What may be connected to, at one port: a resolver for an HTTP client, which it leads nowhere
/// else.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct AddressGuard {
    addresses: AddressFilter,
    port: u16,
}

impl AddressGuard {
    /// For a URL. One with an address in it, in any spelling that the rules of URLs turn into one,
    /// is checked here, since no resolver is asked about it.
    pub(super) fn of(url: &Url, addresses: &AddressFilter) -> Result<Self, String> {
        let guard = Self {
            addresses: addresses.clone(),
            port: url.port_or_known_default().unwrap_or_default(),
        };
        let host = url.host_str().unwrap_or_default();
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        match literal.parse() {
            Ok(ip) => guard.check(ip).map(|()| guard),
            Err(_) => Ok(guard),
        }
    }

    fn check(&self, ip: IpAddr) -> Result<(), String> {
        self.addresses.check(SocketAddr::new(ip, self.port))
    }
}

/// Looks a name up, and leaves out what is out of reach.
impl Resolve for AddressGuard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), guard.port)).await?;
            let mut refused = None;
            let mut allowed = Vec::new();
            for address in found {
                match guard.check(address.ip()) {
                    Ok(()) => allowed.push(address),
                    Err(why) => refused = Some(why),
                }
            }
            match refused {
                Some(why) if allowed.is_empty() => Err(io::Error::other(why).into()),
                _ => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}
