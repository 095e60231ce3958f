//! Active checks of upstreams: each has a task of its own, so a slow one keeps no other waiting.
//!
//! A check goes the way that a request goes (the same peer, so the same TLS settings and limits),
//! but on a connection of its own each time. What its outcome means is decided in
//! [`crate::balance`].

mod grpc;
mod http2;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use http::header::{self, HeaderValue};
use pingora::http::RequestHeader;
use pingora::protocols::Stream;
use pingora::protocols::http::v1::client::HttpSession;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::error::{self, describe};
use super::pool::happy_eyeballs::{self, Connecting, RaceError};
use super::pool::{Connector, UpstreamPool, Versions, connect_plain};
use super::{proxy_header, upstream_request};
use crate::gateway::{CheckKind, Gateway, HealthCheck, Live, PeerAddress, Upstream};

/// The first check of an upstream comes within this time.
const FIRST: Duration = Duration::from_secs(1);
/// What a check calls itself.
const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("harmony-edge/", env!("CARGO_PKG_VERSION")));

/// The checks of every upstream of the configuration that serves.
pub struct HealthChecks {
    live: Arc<Live>,
    checker: Arc<Checker>,
}

/// One upstream's task, and the way to tell it that the configuration has changed.
struct Task {
    upstream: watch::Sender<Arc<Upstream>>,
    handle: AbortHandle,
}

impl HealthChecks {
    /// Checks for a live gateway.
    pub fn new(live: Arc<Live>, pool: &UpstreamPool) -> Self {
        let connector = pool.connector.clone();
        let checker = Arc::new(Checker { connector });
        Self { live, checker }
    }

    /// Checks until shutdown. A new configuration begins the checks that are new in it, ends those
    /// that are gone, and leaves the others alone.
    pub async fn run(&self, mut shutdown: watch::Receiver<bool>) {
        let mut swaps = self.live.changes();
        let mut tasks = HashMap::new();
        // Dropped with this future, and all tasks with it.
        let mut running = JoinSet::new();
        loop {
            swaps.borrow_and_update();
            self.adjust(&self.live.gateway(), &mut tasks, &mut running);
            tokio::select! {
                changed = swaps.changed() => if changed.is_err() { return },
                _ = shutdown.changed() => return,
            }
        }
    }

    fn adjust(
        &self,
        gateway: &Gateway,
        tasks: &mut HashMap<usize, Task>,
        running: &mut JoinSet<()>,
    ) {
        let mut before = std::mem::take(tasks);
        let backends = gateway
            .pipelines()
            .iter()
            .flat_map(|pipeline| pipeline.backends());
        for upstream in backends.filter_map(|backend| backend.upstream()) {
            // A task holds the health of its upstream, so no other one can have its address.
            let id = Arc::as_ptr(&upstream.health).addr();
            let Some(check) = upstream.health.check().filter(|_| !tasks.contains_key(&id)) else {
                continue;
            };
            let task = match before.remove(&id).filter(|task| !task.handle.is_finished()) {
                Some(task) => {
                    task.upstream.send_replace(upstream.clone());
                    task
                }
                None => {
                    let (sender, receiver) = watch::channel(upstream.clone());
                    let work = self.checker.clone().watch(receiver, check.clone());
                    Task {
                        upstream: sender,
                        handle: running.spawn(work),
                    }
                }
            };
            tasks.insert(id, task);
        }
        for task in before.into_values() {
            task.handle.abort();
        }
        while running.try_join_next().is_some() {}
    }
}

/// Why a check found no healthy upstream.
enum CheckError {
    /// This process could not ask. That says nothing about the upstream.
    Local,
    Unhealthy(String),
}

impl From<String> for CheckError {
    fn from(why: String) -> Self {
        Self::Unhealthy(why)
    }
}

fn check_error(error: Box<pingora::Error>) -> CheckError {
    match error::is_local(error.etype()) {
        true => CheckError::Local,
        false => describe(&error).into(),
    }
}

/// What all checks use.
struct Checker {
    connector: Arc<Connector>,
}

impl Checker {
    /// Checks one upstream again and again. Up to a tenth more or less than the interval lies in
    /// between, so that checks which began together do not stay together.
    async fn watch(self: Arc<Self>, upstream: watch::Receiver<Arc<Upstream>>, check: HealthCheck) {
        tokio::time::sleep(check.interval.min(FIRST).mul_f64(fastrand::f64())).await;
        loop {
            let now = upstream.borrow().clone();
            match self.check(&now, &check).await {
                Ok(()) => now.health.record_check(Ok(())),
                Err(CheckError::Unhealthy(why)) => now.health.record_check(Err(why)),
                Err(CheckError::Local) => log::warn!(
                    "upstream {} cannot be checked: {}",
                    now.authority.to_str().unwrap_or_default(),
                    error::NO_DESCRIPTOR
                ),
            }
            drop(now);
            let spread = 0.9 + 0.2 * fastrand::f64();
            tokio::time::sleep(check.interval.mul_f64(spread)).await;
        }
    }

    /// Whether the upstream answers at one of its addresses at least, tried as they are for a
    /// request; or why it did not at the last one.
    async fn check(&self, upstream: &Upstream, check: &HealthCheck) -> Result<(), CheckError> {
        let order = upstream.addresses_in_order(None);
        let ask = |address: PeerAddress, _| {
            let asking: Connecting<'_, _, _> =
                Box::pin(async move { self.ask(upstream, &address, &check.kind).await });
            Some(asking)
        };
        match happy_eyeballs::race(order, check.timeout, ask, |_, _| {}).await {
            Ok(_) => Ok(()),
            Err(RaceError::Failed(error)) => Err(error),
            Err(RaceError::NoAddress) => Err("its name has no address yet".to_owned().into()),
            Err(RaceError::TimedOut) => {
                Err(format!("no response within {} s", check.timeout.as_secs()).into())
            }
        }
    }

    async fn ask(
        &self,
        upstream: &Upstream,
        address: &PeerAddress,
        kind: &CheckKind,
    ) -> Result<(), CheckError> {
        match kind {
            CheckKind::Tcp => {
                let header = proxy_header::for_edge(upstream).map_err(check_error)?;
                let connected = connect_plain(address, header).await;
                connected.map(drop).map_err(check_error)
            }
            CheckKind::Grpc { service } => {
                let answer = self.call_health(upstream, address, service).await;
                Ok(answer.map_err(check_error)??)
            }
            CheckKind::Http {
                path,
                host,
                send_credential,
            } => {
                let host = match host {
                    Some(host) => HeaderValue::from_str(host).map_err(|error| error.to_string())?,
                    None => upstream.authority.clone(),
                };
                let credential = upstream.credential.clone().filter(|_| *send_credential);
                match self.get(upstream, address, path, host, credential).await {
                    Ok(200..=399) => Ok(()),
                    Ok(status) => Err(format!("it answered {status}").into()),
                    Err(error) => Err(check_error(error)),
                }
            }
        }
    }

    /// What `grpc.health.v1.Health/Check` says, always over HTTP/2.
    async fn call_health(
        &self,
        upstream: &Upstream,
        address: &PeerAddress,
        service: &str,
    ) -> pingora::Result<Result<(), String>> {
        let (stream, _) = self.connect(upstream, address, Versions::Http2).await?;
        let mut request = RequestHeader::build("POST", grpc::PATH, Some(4))?;
        request.insert_header(header::HOST, upstream.authority.clone())?;
        request.insert_header(header::USER_AGENT, USER_AGENT)?;
        let content_type = HeaderValue::from_static("application/grpc");
        request.insert_header(header::CONTENT_TYPE, content_type)?;
        request.insert_header(header::TE, HeaderValue::from_static("trailers"))?;
        let request = upstream_request::into_http2(request, upstream.url.tls);
        http2::exchange(stream, request, Some(grpc::request(service)), grpc::read).await
    }

    /// The status that a GET is answered with.
    async fn get(
        &self,
        upstream: &Upstream,
        address: &PeerAddress,
        path: &str,
        host: HeaderValue,
        credential: Option<HeaderValue>,
    ) -> pingora::Result<u16> {
        let versions = Versions::of(upstream, || false);
        let (stream, is_http2) = self.connect(upstream, address, versions).await?;
        let mut request = RequestHeader::build("GET", path.as_bytes(), Some(5))?;
        request.insert_header(header::HOST, host)?;
        request.insert_header(header::USER_AGENT, USER_AGENT)?;
        request.insert_header(header::ACCEPT, HeaderValue::from_static("*/*"))?;
        if let Some(credential) = credential {
            request.insert_header(header::AUTHORIZATION, credential)?;
        }
        if is_http2 {
            let request = upstream_request::into_http2(request, upstream.url.tls);
            let status = async |response: Response<_>| Ok(response.status().as_u16());
            return http2::exchange(stream, request, None, status).await;
        }
        request.insert_header(header::CONNECTION, HeaderValue::from_static("close"))?;
        let mut session = HttpSession::new(stream);
        session.write_request_header(Box::new(request)).await?;
        loop {
            session.read_response().await?;
            match session.resp_header() {
                Some(response) if response.status.is_informational() => {}
                Some(response) => {
                    let status = response.status.as_u16();
                    session.shutdown().await;
                    return Ok(status);
                }
                None => {
                    return pingora::Error::e_explain(
                        pingora::ErrorType::InvalidHTTPHeader,
                        "a response without a head",
                    );
                }
            }
        }
    }

    /// A connection of its own, and whether HTTP/2 is spoken on it.
    async fn connect(
        &self,
        upstream: &Upstream,
        address: &PeerAddress,
        versions: Versions,
    ) -> pingora::Result<(Stream, bool)> {
        let header = proxy_header::for_edge(upstream)?;
        let connecting = self
            .connector
            .connect(upstream, address, versions.alpn(), header);
        let stream = connecting.await?;
        let is_http2 = versions.is_http2(&stream, upstream.url.tls)?;
        Ok((stream, is_http2))
    }
}
