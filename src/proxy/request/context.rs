//! What one request carries from phase to phase.
//!
//! Everything is optional: `logging` also runs for requests that never reached a filter, and a
//! request that is rejected early never gets a route.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Version};
use pingora::http::RequestHeader;
use pingora::protocols::l4::socket::SocketAddr as PeerAddr;
use pingora_proxy::Session;
use smallvec::SmallVec;

use super::body::BodyInfo;
use super::client_address::{X_FORWARDED_PROTO, is_tls};
use super::client_stream::ClientStream;
use super::client_url::{ClientUrl, DetachedUrl};
use super::grpc::Call;
use super::head::Head;
use super::selection::Selection;
use super::shadow::ShadowVerdicts;
use super::trace_context::TraceContext;
use crate::auth::{
    Admitted, AuthRequest, CredentialLocation, Identity, PresentedCertificate, ProofMemo,
    RequestSource, RequestTarget, VerifiedLocations,
};
use crate::gateway::{ClientAuth, Gateway, Route};
use crate::listener::{Connection, InProgress};
use crate::policy::{ConcurrencyPermits, Facts, RateLimitFields, Requester};

/// The state of one request.
#[derive(Debug)]
pub struct Context {
    pub(crate) started: Instant,
    pub(crate) connection: ConnectionInfo,
    /// The client behind trusted proxies; `None`: they name none that can be read. Such clients are
    /// counted together, and no rule that allows addresses lets them pass.
    pub(crate) client: Option<IpAddr>,
    pub(crate) request_id: Option<HeaderValue>,
    pub(crate) trace_context: Option<TraceContext>,
    /// Whether the client sent a field name that some servers take for another one.
    pub(crate) ambiguous_names: bool,
    pub(crate) head: Option<Head>,
    /// The canonical path.
    pub(crate) path: Option<String>,
    /// What else servers behind us may take it for.
    pub(crate) other_paths: Vec<String>,
    /// Held to the end: a reload in between changes nothing for this request.
    pub(crate) gateway: Option<Arc<Gateway>>,
    pub(crate) route: Option<Arc<Route>>,
    /// Whether it is a preflight that the pipeline's `cors` step answers.
    pub(crate) preflight: bool,
    /// The credentials that let it in: empty for one that is anonymous.
    pub(crate) admitted: SmallVec<[Admitted; 2]>,
    /// What steps in shadow would have refused.
    pub(crate) shadow: ShadowVerdicts,
    /// Where the credentials stand that were verified: only these may be forwarded.
    pub(crate) verified: VerifiedLocations,
    /// What the proof of the request was found to be.
    pub(crate) proof: ProofMemo,
    /// What the client's next proof has to hold.
    pub(crate) dpop_nonce: Option<HeaderValue>,
    /// What the edge answers with, where a pipeline is asked about itself.
    pub(crate) resource_document: Option<Bytes>,
    pub(crate) selection: Selection,
    pub(crate) body: BodyInfo,
    /// Over HTTP/2: the way of a forwarded response's body, once its head was written.
    pub(crate) client_stream: Option<ClientStream>,
    /// Set if the request is a call of gRPC.
    pub(crate) grpc: Option<Call>,
    /// What the answer says of its rate limits.
    pub(crate) rate_limit_fields: Option<RateLimitFields>,
    /// Its permits under concurrency limits, until the response has ended.
    pub(crate) concurrency_permits: ConcurrencyPermits,
    /// Why the request was rejected, or why its upstream failed: a stable label.
    pub(crate) reason: Option<&'static str>,
    /// Behind a trusted proxy: counts for the client.
    pub(crate) client_permit: Option<InProgress>,
    /// Whether this is the process's question to itself.
    pub(crate) is_probe: bool,
    _in_flight: InFlightGuard,
}

/// An [`AuthRequest`] for a step that may outlive its request.
pub(super) struct OwnedAuthRequest {
    headers: HeaderMap,
    query: Option<String>,
    client: Option<IpAddr>,
    request_id: Option<HeaderValue>,
    certificate: Option<(Arc<Connection>, ClientAuth)>,
    method: Method,
    url: DetachedUrl,
    /// Its own: what a step in shadow makes of a proof counts for no other.
    proof: ProofMemo,
}

impl OwnedAuthRequest {
    pub(super) fn auth_request(&self) -> AuthRequest<'_> {
        let certificate = self.certificate.as_ref();
        AuthRequest {
            headers: &self.headers,
            query: self.query.as_deref(),
            source: RequestSource {
                client: self.client,
                request_id: self.request_id.as_ref(),
            },
            certificate: certificate.and_then(|(connection, auth)| {
                Some(auth.present(connection.client_certificate()?))
            }),
            target: Some(RequestTarget {
                method: &self.method,
                url: &self.url,
                proof: &self.proof,
            }),
        }
    }
}

/// The client's connection.
#[derive(Debug)]
pub(crate) struct ConnectionInfo {
    pub(crate) version: Version,
    /// Our end, which tells the network.
    pub(crate) local: Option<SocketAddr>,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) peer_is_trusted: bool,
    /// Whether the upstream gets `Forwarded`.
    pub(crate) uses_forwarded: bool,
    pub(crate) tls: bool,
    /// The certificate that the client showed, and what it may show now.
    pub(crate) certificate: Option<(Arc<Connection>, ClientAuth)>,
}

impl Context {
    pub(crate) fn new(in_flight: &Arc<AtomicUsize>) -> Self {
        Self {
            started: Instant::now(),
            connection: ConnectionInfo {
                version: Version::HTTP_11,
                local: None,
                peer: None,
                peer_is_trusted: false,
                uses_forwarded: false,
                tls: false,
                certificate: None,
            },
            client: None,
            request_id: None,
            trace_context: None,
            ambiguous_names: false,
            head: None,
            path: None,
            other_paths: Vec::new(),
            gateway: None,
            route: None,
            preflight: false,
            admitted: SmallVec::new(),
            shadow: ShadowVerdicts::default(),
            verified: VerifiedLocations::default(),
            proof: ProofMemo::default(),
            dpop_nonce: None,
            resource_document: None,
            selection: Selection::default(),
            body: BodyInfo::default(),
            client_stream: None,
            grpc: None,
            rate_limit_fields: None,
            concurrency_permits: ConcurrencyPermits::default(),
            reason: None,
            client_permit: None,
            is_probe: false,
            _in_flight: InFlightGuard::enter(in_flight),
        }
    }

    /// The request id as it is logged.
    pub(crate) fn request_id(&self) -> &str {
        let id = self.request_id.as_ref();
        id.and_then(|id| id.to_str().ok()).unwrap_or("-")
    }

    /// Who it is from: the identity that the first step has found.
    pub(crate) fn identity(&self) -> Option<&Identity> {
        self.admitted.first().map(|admitted| &admitted.identity)
    }

    /// Where to send a client that should have come by https; `None`: it may stay, or it has told a
    /// trusted proxy by https.
    pub(crate) fn https_port(&self, gateway: &Gateway, headers: &HeaderMap) -> Option<u16> {
        let port = gateway.https_port(self.connection.local?)?;
        let by_proxy = self.connection.peer_is_trusted
            && headers
                .get(X_FORWARDED_PROTO)
                .is_some_and(|proto| is_tls(proto.as_bytes()));
        (!self.connection.tls && !by_proxy).then_some(port)
    }

    /// What authentication may look at, with nothing borrowed.
    pub(super) fn to_owned_auth_request(
        &self,
        method: &Method,
        headers: &HeaderMap,
    ) -> OwnedAuthRequest {
        let query = self.head.as_ref().and_then(|head| head.query.as_deref());
        OwnedAuthRequest {
            headers: headers.clone(),
            query: query.and_then(|query| String::from_utf8(query.to_vec()).ok()),
            client: self.client,
            request_id: self.request_id.clone(),
            certificate: self.connection.certificate.clone(),
            method: method.clone(),
            url: ClientUrl { ctx: self, headers }.detach(),
            proof: ProofMemo::default(),
        }
    }

    /// Who sends it.
    pub(crate) fn source(&self) -> RequestSource<'_> {
        RequestSource {
            client: self.client,
            request_id: self.request_id.as_ref(),
        }
    }

    /// What authentication may look at.
    pub(crate) fn auth_request<'a>(
        &'a self,
        headers: &'a HeaderMap,
        target: Option<RequestTarget<'a>>,
    ) -> AuthRequest<'a> {
        let query = self.head.as_ref().and_then(|head| head.query.as_deref());
        AuthRequest {
            headers,
            query: query.and_then(|query| std::str::from_utf8(query).ok()),
            source: self.source(),
            certificate: self.certificate(),
            target,
        }
    }

    /// The certificate that the client showed when it connected.
    fn certificate(&self) -> Option<PresentedCertificate<'_>> {
        let (connection, auth) = self.connection.certificate.as_ref()?;
        Some(auth.present(connection.client_certificate()?))
    }

    /// What policies may look at.
    pub(crate) fn facts<'a>(&'a self, request: &'a RequestHeader, route: &'a Route) -> Facts<'a> {
        Facts {
            request_id: self.request_id(),
            method: &request.method,
            path: self.path.as_deref().unwrap_or_default(),
            other_paths: &self.other_paths,
            case_sensitive_paths: route.pipeline.settings.case_sensitive_paths,
            prefix: &route.endpoint.path_prefix,
            query: self.head.as_ref().and_then(|head| head.query.as_deref()),
            headers: &request.headers,
            ambiguous_names: self.ambiguous_names,
            client: self.client,
            peer_is_trusted: self.connection.peer_is_trusted,
            host: self.head.as_ref().map(Head::written_host),
            certificate: self.certificate(),
            identity: self.identity(),
        }
    }

    /// Whether a response that ends by itself may end with a credential of the request's.
    pub(crate) fn ends_downloads(&self) -> bool {
        let route = self.route.as_ref();
        route.is_some_and(|route| route.pipeline.ends_downloads())
    }

    /// What limits may look at.
    pub(crate) fn requester(&self) -> Requester<'_> {
        let route = self.route.as_ref().map(|route| {
            let endpoint: &str = &route.endpoint.name;
            (&*route.pipeline.name, endpoint)
        });
        Requester {
            request_id: self.request_id(),
            client: self.client,
            admitted: &self.admitted,
            route: route.unwrap_or_default(),
        }
    }

    /// Whether some step looks for its credential in the query.
    pub(crate) fn credential_in_query(&self) -> bool {
        let in_query = |place: &CredentialLocation| matches!(place, CredentialLocation::Query(_));
        let route = self.route.as_ref();
        route.is_some_and(|route| route.pipeline.credential_locations().iter().any(in_query))
    }
}

impl ConnectionInfo {
    /// Takes over what the session says; what it does not know stays.
    pub(crate) fn read(&mut self, session: &Session) {
        let inet = |address: Option<&PeerAddr>| address?.as_inet().copied();
        self.version = session.req_header().version;
        self.peer = inet(session.client_addr()).or(self.peer);
        self.local = inet(session.server_addr()).or(self.local);
        let digest = session.digest();
        self.tls |= digest.is_some_and(|digest| digest.ssl_digest.is_some());
    }

    /// Whether it may carry requests of more than one client.
    pub(crate) fn is_shared(&self) -> bool {
        self.version == Version::HTTP_2 || self.peer_is_trusted
    }
}

/// Counts requests in flight, so that a stop can end as soon as there are none.
#[derive(Debug)]
struct InFlightGuard(Arc<AtomicUsize>);

impl InFlightGuard {
    fn enter(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
