//! The immutable runtime built from a configuration: routes, pipelines, backends.
//!
//! A request takes one `Arc` of the [`Gateway`] and keeps it to its end, so it never sees half of
//! one configuration and half of another. What outlives a configuration (key sets, what is known of
//! passwords, resolved names, the health of upstreams, counts of requests) is held beside it, in
//! [`Live`]. Nothing here speaks HTTP or touches a socket, but for the look-up of names.

mod addresses;
mod backend_status;
mod build;
mod cloud_layer;
mod confusable;
mod diff;
mod fingerprint;
mod live;
mod name_lookup;
mod open_connections;
mod path;
mod pipeline;
mod readings;
mod resolver;
mod resource;
mod routes;
mod shadow;
mod stage;
mod tls;
mod traffic_split;
mod upstream;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderName;
use ipnet::IpNet;

use self::resource::Documents;
use crate::auth::Receiver;
use crate::config::{self, Owner};

pub use addresses::Addresses;
pub use backend_status::{BackendStatus, UpstreamStatus};
pub use cloud_layer::LayerChange;
pub use diff::Diff;
pub use fingerprint::{Fingerprint, WatchedFiles};
pub use live::{ConfigStatus, Live, Reload, ReloadError, Reloads};
pub use open_connections::OpenConnections;
pub use path::{PathError, canonical};
pub use pipeline::{Backend, Pipeline, Target};
pub use readings::{has_encoded_slash, other_readings};
pub use resolver::Resolver;
pub use routes::{Match, RouteSpec, RouteTable};
pub use shadow::{Shadow, ShadowCheck, ShadowLimit};
pub use stage::Stage;
pub use tls::{CertificateStatus, ClientAuth, Listener, Roots, RootsError, Tickets, system_roots};
pub use traffic_split::Share;
pub use upstream::{Upstream, Upstreams};

pub use crate::auth::{
    IssuerStatus, KeySetStatus, ReceiverStatus, RepeatedAuthorization, Revocation, RevocationId,
    Revocations, RevokeError, single_bearer,
};
pub use crate::balance::HealthState;
pub use crate::common::PeerAddress;
pub use crate::config::{
    CheckKind, Config, HeaderChanges, HeaderRules, HeaderTemplate, HealthCheck, HttpBackend,
    HttpVersion, ProxyProtocol, Runbeam, Service, SetAside, Source, TemplatePart,
    TokenStore as StoreChoice, Upload,
};
pub use crate::shared_store::SharedStoreStatus;

/// Everything that one configuration means for a request.
#[derive(Debug)]
pub struct Gateway {
    id: String,
    pipelines: Vec<Arc<Pipeline>>,
    networks: Vec<NetworkInService>,
    trusted_proxies: Vec<IpNet>,
    forwarded: bool,
    claim_headers: Vec<HeaderName>,
    /// Those of the cloud's pipelines that no local one has.
    cloud_claim_headers: Vec<HeaderName>,
}

#[derive(Debug)]
struct NetworkInService {
    listens: SocketAddr,
    routes: RouteTable<Arc<Route>>,
    documents: Documents,
    tls: Option<Listener>,
    https_port: Option<u16>,
    proxy_protocol: bool,
}

/// Where a request comes in, and what becomes of it there.
#[derive(Debug)]
pub struct Route {
    /// The pipeline it belongs to.
    pub pipeline: Arc<Pipeline>,
    /// The endpoint, with its prefix and its limits.
    pub endpoint: config::Endpoint,
    /// What takes its posts, if it is told of revocations.
    pub receiver: Option<Receiver>,
}

impl Gateway {
    /// `proxy.id`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its pipelines, in the order of the file.
    pub fn pipelines(&self) -> &[Arc<Pipeline>] {
        &self.pipelines
    }

    /// The routes of the network that a connection came in on.
    pub fn routes(&self, local: SocketAddr) -> Option<&RouteTable<Arc<Route>>> {
        self.network(local).map(|network| &network.routes)
    }

    /// What a pipeline of that network publishes of itself at a canonical path (RFC 9728), to a
    /// host in lower case and without port.
    pub fn resource_document(&self, local: SocketAddr, host: &str, path: &str) -> Option<&Bytes> {
        if !path.starts_with(config::Resource::WELL_KNOWN) {
            return None;
        }
        self.network(local)?.documents.find(host, path)
    }

    /// TLS of that network; `None`: it is plain.
    pub fn tls(&self, local: SocketAddr) -> Option<&Listener> {
        self.network(local)?.tls.as_ref()
    }

    /// The port that everything on that network is redirected to by https; `None`: nothing is.
    pub fn https_port(&self, local: SocketAddr) -> Option<u16> {
        self.network(local)?.https_port
    }

    /// Whether every connection to that network begins with a PROXY header.
    pub fn has_proxy_header(&self, local: SocketAddr) -> bool {
        let network = self.network(local);
        network.is_some_and(|network| network.proxy_protocol)
    }

    /// Every certificate of a listener, and when it expires.
    pub fn certificates(&self) -> impl Iterator<Item = &CertificateStatus> {
        self.listeners().flat_map(|tls| &tls.certificates)
    }

    /// Warnings about the listeners' files: expired certificates, world-readable keys.
    pub fn warnings(&self) -> impl Iterator<Item = &str> {
        self.listeners()
            .flat_map(|tls| &tls.warnings)
            .map(String::as_str)
    }

    fn listeners(&self) -> impl Iterator<Item = &Listener> {
        self.networks
            .iter()
            .filter_map(|network| network.tls.as_ref())
    }

    /// The listener at that very address, else the one at its port on every address.
    fn network(&self, local: SocketAddr) -> Option<&NetworkInService> {
        self.networks
            .iter()
            .find(|network| network.listens == local)
            .or_else(|| {
                self.networks.iter().find(|network| {
                    network.listens.ip().is_unspecified() && network.listens.port() == local.port()
                })
            })
    }

    /// The headers that some pipeline of the local files fills from claims: no client may set them,
    /// on any route.
    pub fn claim_headers(&self) -> &[HeaderName] {
        &self.claim_headers
    }

    /// The headers that, besides, no client may set on the routes of a pipeline: those that the
    /// cloud's pipelines fill, on theirs. On others, they are nothing to the cloud.
    pub fn extra_claim_headers(&self, pipeline: &Pipeline) -> &[HeaderName] {
        match pipeline.owner {
            Owner::Local => &[],
            Owner::Cloud => &self.cloud_claim_headers,
        }
    }

    /// `proxy.forwarded`: whether `Forwarded` is read from trusted peers, and written.
    pub fn uses_forwarded(&self) -> bool {
        self.forwarded
    }

    /// Whether a peer's `X-Forwarded-*` is believed.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.trusted_proxies.iter().any(|net| net.contains(&peer))
    }
}
