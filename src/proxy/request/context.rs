//! What one request carries from filter to filter.
//!
//! Everything is optional: `logging` also runs for requests that never reached a filter, and a
//! request that is refused early never gets a route.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Version};
use pingora::http::RequestHeader;
use pingora::{Error, ErrorType};

use super::head::Head;
use crate::proxy::body_rate::BodyRate;
use crate::proxy::forward::connection_auth::Bound;
use crate::proxy::forward::deadline::Deadline;
use crate::proxy::forward::headers::X_FORWARDED_PROTO;

use crate::auth::{CredentialLocation, Identity, Presented, VerifiedPlaces};
use crate::balance::{HashKey, Pick};
use crate::gateway::{Backend, ClientCa, Gateway, Route, Upstream};
use crate::listener::{Connection, InProgress};
use crate::policy::Facts;
use crate::proxy::forward::stripped_credentials;

/// The state of one request.
#[derive(Debug)]
pub struct Context {
    pub(crate) started: Instant,
    pub(crate) version: Version,
    /// Our end of the connection, which tells the network.
    pub(crate) local: Option<SocketAddr>,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) peer_is_trusted: bool,
    /// Whether the client speaks TLS to us.
    pub(crate) tls: bool,
    /// The certificate that it showed, and the authorities that count now.
    pub(crate) certificate: Option<(Arc<Connection>, ClientCa)>,
    /// The client behind trusted proxies; `None`: they name none that can be read. Such clients are
    /// counted together, and no rule that allows addresses lets them pass.
    pub(crate) client: Option<IpAddr>,
    pub(crate) request_id: Option<HeaderValue>,
    /// Whether the client sent a field name that some servers take for another one.
    pub(crate) ambiguous_names: bool,
    pub(crate) head: Option<Head>,
    /// The canonical path.
    pub(crate) path: Option<String>,
    /// What else servers behind us may take it for.
    pub(crate) other_paths: Vec<String>,
    /// Where it belongs. Held to its end: a reload in between changes nothing for this request.
    pub(crate) route: Option<Arc<Route>>,
    pub(crate) identity: Option<Identity>,
    /// Where the credentials stand that its steps verified: only these may travel.
    pub(crate) verified: VerifiedPlaces,
    /// Why the request was refused, or why its upstream failed: a stable label.
    pub(crate) reason: Option<&'static str>,
    /// The upstream of the attempt at hand, once the request was admitted.
    pub(crate) pick: Option<Pick>,
    /// The address that the last attempt went to.
    pub(crate) upstream_address: Option<SocketAddr>,
    /// The upstreams of the attempts that failed, by their numbers in the pool.
    pub(crate) tried: Vec<usize>,
    /// Whether the next attempt needs another upstream.
    pub(crate) moves_on: bool,
    /// The connection to the upstream, while one is in use.
    pub(crate) deadline: Option<Arc<Deadline>>,
    /// Whether the attempt's request was sent whole.
    pub(crate) sent: bool,
    /// Whether the upstream has to take something before more is read of the request.
    pub(crate) taking: bool,
    /// Whether the attempt's response head has arrived.
    pub(crate) answered: bool,
    /// Interim responses that have come from the upstream.
    pub(crate) interim: u8,
    /// When the whole exchange must be over.
    pub(crate) total_deadline: Option<Instant>,
    /// The first part of the body, until an attempt sends it: see `Edge::forward`.
    pub(crate) first_part: Option<Bytes>,
    /// Whether the client may still be sending what nobody wants any more.
    pub(crate) lingers: bool,
    /// Bytes of request body in the attempt at hand.
    pub(crate) body_bytes: u64,
    /// How fast the body comes; `None`: there is none, or it is there as a whole.
    pub(crate) body_rate: Option<BodyRate>,
    /// Behind a trusted proxy: counts for the client.
    pub(crate) in_progress: Option<InProgress>,
    /// Whether this is the process's question to itself.
    pub(crate) probe: bool,
    _in_flight: InFlight,
}

impl Context {
    pub(crate) fn new(in_flight: &Arc<AtomicUsize>) -> Self {
        Self {
            started: Instant::now(),
            version: Version::HTTP_11,
            local: None,
            peer: None,
            peer_is_trusted: false,
            tls: false,
            certificate: None,
            client: None,
            request_id: None,
            ambiguous_names: false,
            head: None,
            path: None,
            other_paths: Vec::new(),
            route: None,
            identity: None,
            verified: VerifiedPlaces::default(),
            reason: None,
            pick: None,
            upstream_address: None,
            tried: Vec::new(),
            moves_on: false,
            deadline: None,
            sent: false,
            taking: false,
            answered: false,
            interim: 0,
            total_deadline: None,
            first_part: None,
            lingers: false,
            body_bytes: 0,
            body_rate: None,
            in_progress: None,
            probe: false,
            _in_flight: InFlight::enter(in_flight),
        }
    }

    /// Where to send a client that should have come by https; `None`: it may stay, or it has told a
    /// trusted proxy by https.
    pub(crate) fn https_port(&self, gateway: &Gateway, headers: &HeaderMap) -> Option<u16> {
        let port = gateway.https_port(self.local?)?;
        let by_proxy = self.peer_is_trusted
            && headers
                .get(X_FORWARDED_PROTO)
                .is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"));
        (!self.tls && !by_proxy).then_some(port)
    }

    /// What authentication may look at.
    pub(crate) fn presented<'a>(&'a self, headers: &'a HeaderMap) -> Presented<'a> {
        let query = self.head.as_ref().and_then(|head| head.query.as_deref());
        Presented {
            headers,
            query: query.and_then(|query| std::str::from_utf8(query).ok()),
            client: self.client,
            certificate: self
                .certificate
                .as_ref()
                .and_then(|(connection, ca)| Some(ca.present(connection.certificate()?))),
        }
    }

    /// What policies may look at.
    pub(crate) fn facts<'a>(&'a self, request: &'a RequestHeader, route: &'a Route) -> Facts<'a> {
        Facts {
            method: &request.method,
            path: self.path.as_deref().unwrap_or_default(),
            other_paths: &self.other_paths,
            case_sensitive_paths: route.pipeline.settings.case_sensitive_paths,
            prefix: &route.endpoint.path_prefix,
            query: self.head.as_ref().and_then(|head| head.query.as_deref()),
            headers: &request.headers,
            ambiguous_names: self.ambiguous_names,
            client: self.client,
            peer_is_trusted: self.peer_is_trusted,
            now: self.started,
            time: jiff::Timestamp::now(),
        }
    }

    /// The backend of the attempt at hand.
    pub(crate) fn backend(&self) -> Option<&Backend> {
        let pipeline = &self.route.as_ref()?.pipeline;
        pipeline.backend(self.pick.as_ref()?)
    }

    /// Chooses the upstream of the first attempt, or of the one after [`Self::give_up`]. `headers`
    /// are the client's.
    pub(crate) fn choose(&mut self, headers: &HeaderMap) {
        let Some(route) = &self.route else { return };
        let pipeline = &route.pipeline;
        let header = pipeline.consistent_header();
        let key = match (header.and_then(|name| headers.get(name)), self.client) {
            (Some(value), _) => HashKey::Bytes(value.as_bytes()),
            (None, Some(client)) => HashKey::Address(client),
            (None, None) => HashKey::Nothing,
        };
        // The attempt that failed is no longer in flight.
        self.pick = None;
        self.moves_on = false;
        self.pick = if self.tried.is_empty() {
            pipeline.choose(key)
        } else {
            pipeline.choose_again(key, &self.tried)
        };
    }

    /// Chooses the upstream that the client's connection is bound to, if it is one of the pipeline's.
    pub(crate) fn choose_bound(&mut self, bound: &Bound) {
        let fits = |backend: &Backend| backend.upstream().is_some_and(|it| bound.is_to(it));
        let chosen = self
            .route
            .as_ref()
            .and_then(|route| route.pipeline.choose_one(fits));
        if chosen.is_some() {
            self.pick = chosen;
        }
    }

    /// Whether others than one client may send requests on the client's connection.
    pub(crate) fn shares_connection(&self) -> bool {
        self.version == Version::HTTP_2 || self.peer_is_trusted
    }

    /// The attempt at hand is over: the next one, if there is one, goes elsewhere.
    pub(crate) fn give_up(&mut self) {
        self.tried.extend(self.pick.as_ref().map(Pick::index));
        self.moves_on = true;
    }

    /// The upstream of the attempt at hand failed.
    pub(crate) fn blame(&self, why: &str) {
        if let (Some(route), Some(pick)) = (&self.route, &self.pick) {
            pick.failed(why, route.pipeline.has_other(pick));
        }
    }

    /// An attempt begins on a connection with this deadline.
    pub(crate) fn begin(&mut self, deadline: Arc<Deadline>, without_body: bool) {
        let total = self.upstream().and_then(|it| it.settings.total_timeout);
        self.total_deadline = total.map(|total| self.started + total);
        self.sent = false;
        self.taking = false;
        self.answered = false;
        self.interim = 0;
        self.body_bytes = 0;
        deadline.begin(self.total_deadline);
        self.deadline = Some(deadline);
        if !without_body {
            self.await_body();
        }
    }

    /// A part of the body goes to the upstream. An error: it is one too many.
    pub(crate) fn count_body(&mut self, bytes: usize) -> pingora::Result<()> {
        self.body_bytes += bytes as u64;
        let route = self.route.as_ref();
        if self.body_bytes > route.map_or(0, |route| route.endpoint.max_body_size) {
            return Error::e_explain(
                ErrorType::HTTPStatus(413),
                "request body over max_body_size",
            );
        }
        Ok(())
    }

    /// Whether the exchange with the upstream was ended, because somebody took too long.
    pub(crate) fn is_overdue(&self) -> bool {
        let deadline = self.deadline.as_ref();
        deadline.is_some_and(|deadline| deadline.passed())
    }

    /// The next bytes of the body are the client's to send. A second more than the upstream may
    /// take for them, which is another's fault.
    pub(crate) fn await_body(&self) {
        let pause = |upstream: &Upstream| upstream.settings.read_timeout + Duration::from_secs(1);
        self.await_for(self.upstream().map(pause));
    }

    /// What the client has sent is the upstream's to take.
    pub(crate) fn await_taking(&self) {
        self.await_for(
            self.upstream()
                .map(|upstream| upstream.settings.read_timeout),
        );
    }

    /// The request was sent whole: the head of the answer is the upstream's to send.
    pub(crate) fn await_head(&self) {
        self.await_for(
            self.upstream()
                .map(|upstream| upstream.settings.head_timeout),
        );
    }

    fn await_for(&self, time: Option<Duration>) {
        if let Some(deadline) = &self.deadline {
            let due = time.and_then(|time| Instant::now().checked_add(time));
            deadline.set([due, self.total_deadline].into_iter().flatten().min());
        }
    }

    /// The answer has begun: so long may pass without a word from either side.
    pub(crate) fn await_bytes(&self) {
        self.await_for(
            self.upstream()
                .map(|upstream| upstream.settings.read_timeout),
        );
    }

    /// A part of the answer is being written to the client: what takes long until
    /// [`Self::client_took`] is not the upstream's fault.
    pub(crate) fn await_client(&self) {
        if let Some(deadline) = &self.deadline {
            if self.answered {
                deadline.set(self.total_deadline);
            }
            deadline.suspend();
        }
    }

    /// The client has taken a part of the answer.
    pub(crate) fn client_took(&self) {
        match &self.deadline {
            Some(_) if self.answered => self.await_bytes(),
            Some(deadline) => deadline.resume(),
            None => {}
        }
    }

    /// The answer is there as a whole: nothing is awaited of the upstream any more, so nothing can
    /// be its fault.
    pub(crate) fn rest(&mut self) {
        if let Some(deadline) = self.deadline.take() {
            deadline.set(None);
        }
    }

    /// Whether some step looks for its credential in the query.
    pub(crate) fn credential_in_query(&self) -> bool {
        let in_query = |place: &CredentialLocation| matches!(place, CredentialLocation::Query(_));
        let route = self.route.as_ref();
        route.is_some_and(|route| route.pipeline.credential_places().iter().any(in_query))
    }

    /// The query byte for byte, without credentials that must not travel.
    pub(crate) fn forwarded_query(&self) -> Option<Cow<'_, [u8]>> {
        let query = self.head.as_ref()?.query.as_deref()?;
        let pipeline = &self.route.as_ref()?.pipeline;
        stripped_credentials::strip_query(query, pipeline.credential_places(), self.verified)
    }

    /// The same, when it is an HTTP server.
    pub(crate) fn upstream(&self) -> Option<&Upstream> {
        self.backend()?.upstream().map(|upstream| &**upstream)
    }
}

/// Counts requests in flight, so that a stop can end as soon as there are none.
#[derive(Debug)]
struct InFlight(Arc<AtomicUsize>);

impl InFlight {
    fn enter(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
