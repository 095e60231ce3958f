//! An upstream at run time, with everything that a request needs made ready, and what is kept of
//! upstreams from one configuration to the next.

use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use http::HeaderValue;
use http::header::InvalidHeaderValue;

use super::addresses::Addresses;
use super::open_connections::{ConnectionCounts, OpenConnections};
use super::resolver::Resolver;
use super::tls::Roots;
use crate::balance::{Health, HealthKey, HealthRegistry};
use crate::common::{PeerAddress, WeakMap};
use crate::config::{CheckKind, Ejection, HttpBackend, Reach, Unreachable, UpstreamUrl};

/// An HTTP upstream.
#[derive(Debug)]
pub struct Upstream {
    /// The name of its backend.
    pub backend: Arc<str>,
    /// The options of `[backends.NAME]`, which all of its upstreams share.
    pub settings: Arc<HttpBackend>,
    /// Scheme, host, port, base path and weight.
    pub url: UpstreamUrl,
    /// The resolved addresses of its host.
    pub addresses: Arc<Addresses>,
    /// The upstream's own `Host`, for `host = "upstream"`.
    pub authority: HeaderValue,
    /// The `Authorization` that it gets.
    pub credential: Option<HeaderValue>,
    /// Whose certificates are trusted, if not the system's.
    pub roots: Option<Arc<Roots>>,
    /// Connections that are open to the upstreams of its backend.
    pub connections: Arc<OpenConnections>,
    /// What is known of its health.
    pub health: Arc<Health>,
    /// Whether it gets no new requests, since somebody wants it so.
    drained: Arc<AtomicBool>,
    /// What a pipeline from the cloud may connect to.
    reach: Option<Arc<Reach>>,
    /// Whether an address was refused: said once.
    refused: AtomicBool,
    extension: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl Upstream {
    /// Whether it is one of a pipeline from the cloud.
    pub fn is_from_cloud(&self) -> bool {
        self.reach.is_some()
    }

    /// Whether it gets no new requests, since somebody wants it so.
    pub fn is_drained(&self) -> bool {
        self.drained.load(Ordering::Relaxed)
    }

    /// Gives it no new requests from now on, or some again. Later configurations keep to it, for as
    /// long as they have this upstream in this backend.
    pub fn drain(&self, drained: bool) {
        self.drained.store(drained, Ordering::Relaxed);
    }

    /// State that `proxy::forward` attaches to the upstream; created on first use, and dropped with
    /// the snapshot.
    pub(crate) fn extension(
        &self,
        make: impl FnOnce() -> Box<dyn Any + Send + Sync>,
    ) -> &(dyn Any + Send + Sync) {
        &**self.extension.get_or_init(make)
    }

    /// The address whose turn it is; `None` while the name is not resolved, and where all that it
    /// has is out of the cloud's reach.
    pub fn address(&self) -> Option<PeerAddress> {
        self.addresses.next(|address| self.may_connect_to(address))
    }

    /// Every address that may be connected to, in the order in which they are to be tried: this one
    /// first.
    pub fn addresses_in_order(&self, first: Option<&PeerAddress>) -> Vec<PeerAddress> {
        let mut addresses = self.addresses.in_order(first);
        addresses.retain(|address| self.may_connect_to(address));
        addresses
    }

    /// Asked for every address that is connected to, at every connection: what a name leads to may
    /// be another thing by then.
    fn may_connect_to(&self, address: &PeerAddress) -> bool {
        let Some(reach) = &self.reach else {
            return true;
        };
        let checked = match address {
            PeerAddress::Inet(address) => reach.check(*address),
            PeerAddress::Unix(_) => Err(Unreachable::UnixSocket),
        };
        let Err(why) = checked else {
            return true;
        };
        if !self.refused.swap(true, Ordering::Relaxed) {
            log::warn!(
                "upstream {}: a pipeline from the cloud may not connect to {address}: {why}",
                self.url.server()
            );
        }
        false
    }
}

/// What outlives a configuration: resolved names, the health of upstreams, and how many connections
/// are open to them.
#[derive(Debug, Default)]
pub struct Upstreams {
    resolver: Resolver,
    health: HealthRegistry,
    connections: ConnectionCounts,
    /// By backend and origin.
    drained: WeakMap<(Arc<str>, String), AtomicBool>,
}

impl Upstreams {
    /// Resolves the names of upstreams.
    pub fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// The upstreams of a backend, for a pipeline from the cloud with what it may reach.
    pub(super) fn of(
        &self,
        backend: &Arc<str>,
        settings: &HttpBackend,
        reach: Option<&Arc<Reach>>,
    ) -> Result<Vec<Upstream>, String> {
        let unfit = |error: InvalidHeaderValue| error.to_string();
        let credential = settings
            .credential
            .as_ref()
            .map(|credential| {
                let mut value = HeaderValue::from_str(credential.0.expose()).map_err(unfit)?;
                value.set_sensitive(true);
                Ok::<_, String>(value)
            })
            .transpose()?;
        let roots = match &settings.ca_cert_path {
            Some(path) => Some(Arc::new(Roots::load(path)?)),
            None => None,
        };
        let settings = Arc::new(settings.clone());
        let connections = self.connections.of(backend);
        let build = |url: &UpstreamUrl| {
            Ok(Upstream {
                backend: backend.clone(),
                addresses: match &url.socket {
                    Some(path) => Resolver::socket(path),
                    None => self.resolver.addresses(&url.host, url.port),
                },
                authority: HeaderValue::from_str(&url.authority()).map_err(unfit)?,
                credential: credential.clone(),
                roots: roots.clone(),
                connections: connections.clone(),
                drained: self
                    .drained
                    .get_or_make((backend.clone(), url.origin()), |_| Arc::default()),
                health: self.health.of(health_key(backend, &settings, url, reach)),
                reach: reach.cloned(),
                refused: AtomicBool::new(false),
                extension: OnceLock::new(),
                url: url.clone(),
                settings: settings.clone(),
            })
        };
        settings.upstreams.iter().map(build).collect()
    }

    /// The health of this process, which answers an echo.
    pub(super) fn echo() -> Arc<Health> {
        let never = Ejection {
            after: 0,
            time: std::time::Duration::ZERO,
        };
        Arc::new(Health::new("echo", never, None))
    }
}

fn health_key(
    backend: &Arc<str>,
    settings: &HttpBackend,
    url: &UpstreamUrl,
    reach: Option<&Arc<Reach>>,
) -> HealthKey {
    let check = settings.health_check.clone();
    let credential = check.as_ref().is_some_and(|check| {
        matches!(
            check.kind,
            CheckKind::Http {
                send_credential: true,
                ..
            }
        )
    });
    HealthKey {
        origin: url.origin(),
        http_version: url.http_version,
        check,
        ejection: settings.ejection,
        ca_cert_path: settings.ca_cert_path.clone(),
        reach: reach.cloned(),
        credential_of: credential.then(|| backend.clone()),
    }
}
