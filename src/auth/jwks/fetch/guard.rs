//! Fetching for the cloud: every address that is connected to is one that it may reach.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::config::Reach;

/// What may be connected to, at one port.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Guard {
    reach: Arc<Reach>,
    port: u16,
}

impl Guard {
    /// For a URL. One with an address in it, in any spelling that the rules of URLs turn into one,
    /// is checked here, since no resolver is asked about it.
    ///
    /// # Errors
    ///
    /// Why it is not fetched from.
    pub(super) fn of(url: &Url, reach: &Arc<Reach>) -> Result<Self, String> {
        let guard = Self {
            reach: reach.clone(),
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
        let checked = self.reach.check(SocketAddr::new(ip, self.port));
        checked.map_err(|why| format!("{ip} is not connected to for the cloud: {why}"))
    }
}

/// Looks a name up, and leaves out what is out of reach.
impl Resolve for Guard {
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
