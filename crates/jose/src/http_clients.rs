//! HTTP clients for what issuers serve.

mod address_filter;
mod address_guard;

use std::sync::{Arc, Mutex, PoisonError};

use reqwest::{Client, ClientBuilder, Url};

use self::address_guard::AddressGuard;
use crate::with_causes;

pub use self::address_filter::AddressFilter;

/// HTTP clients that differ in where they may connect and in nothing else.
pub struct HttpClients {
    configure: Configure,
    unguarded: ByScheme,
    /// For a URL under an address filter, made when one is first asked for, and again for another
    /// filter or port.
    guarded: Mutex<Option<(AddressGuard, ByScheme)>>,
}

/// What all clients have in common: time limits, redirects, connections that are kept.
type Configure = Box<dyn Fn(ClientBuilder) -> ClientBuilder + Send + Sync>;

/// Why there is none: on a machine without root certificates, for https.
#[derive(Clone)]
struct ByScheme {
    /// With the system's roots, by way of the proxy that the environment names.
    https: Result<Client, String>,
    /// For http, which leads to loopback above all: direct, and without TLS.
    http: Result<Client, String>,
}

impl HttpClients {
    /// `configure` sets what all of them have in common. A process without a TLS provider (rustls)
    /// gets none.
    pub fn new(configure: impl Fn(ClientBuilder) -> ClientBuilder + Send + Sync + 'static) -> Self {
        Self {
            unguarded: ByScheme::new(&configure),
            configure: Box::new(configure),
            guarded: Mutex::default(),
        }
    }

    /// The client for a URL. `addresses`: what it may connect to; `None`: anything.
    ///
    /// # Errors
    ///
    /// Why the URL cannot be asked, or may not.
    pub fn for_url(&self, url: &Url, addresses: Option<&AddressFilter>) -> Result<Client, String> {
        let Some(addresses) = addresses else {
            return self.unguarded.client(url);
        };
        let guard = AddressGuard::of(url, addresses)?;
        let mut guarded = self.guarded.lock().unwrap_or_else(PoisonError::into_inner);
        match &*guarded {
            Some((known, clients)) if *known == guard => clients.client(url),
            _ => {
                // Names are resolved here and not by a proxy.
                let resolver = Arc::new(guard.clone());
                let clients = ByScheme::new(|builder| {
                    (self.configure)(builder)
                        .no_proxy()
                        .dns_resolver(resolver.clone())
                });
                let client = clients.client(url);
                *guarded = Some((guard, clients));
                client
            }
        }
    }
}

impl ByScheme {
    fn new(configure: impl Fn(ClientBuilder) -> ClientBuilder) -> Self {
        let build = |builder: ClientBuilder| {
            let client = configure(builder.referer(false)).build();
            client.map_err(|error| with_causes(&error))
        };
        Self {
            https: build(Client::builder().https_only(true)),
            http: build(Client::builder().no_proxy().tls_certs_only([])),
        }
    }

    fn client(&self, url: &Url) -> Result<Client, String> {
        match url.scheme() {
            "https" => self.https.clone(),
            _ => self.http.clone(),
        }
    }
}
