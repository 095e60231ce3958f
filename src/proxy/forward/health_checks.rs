//! Active checks of upstreams: each has a task of its own, so a slow one keeps no other waiting.
//!
//! A check goes the way that a request goes (the same peer, so the same TLS settings and limits),
//! but on a connection of its own each time. What its outcome means is decided in
//! [`crate::balance`].

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderValue};
use pingora::http::RequestHeader;
use pingora::protocols::http::v1::client::HttpSession;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::failure;
use super::pool::Connections;
use crate::gateway::{CheckKind, Gateway, HealthCheck, Live, Upstream};
use crate::proxy::forward::pool::happy_eyeballs::{self, Attempt, RaceError};

/// The first check of an upstream comes within this time.
const FIRST: Duration = Duration::from_secs(1);
/// What a check calls itself.
const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("harmony-edge/", env!("CARGO_PKG_VERSION")));

/// The checks of every upstream of the configuration that serves.
pub struct Checks {
    live: Arc<Live>,
    checker: Arc<Checker>,
}

/// One upstream's task, and the way to tell it that the configuration has changed.
struct Task {
    upstream: watch::Sender<Arc<Upstream>>,
    handle: AbortHandle,
}

impl Checks {
    /// Checks for a live gateway.
    pub fn new(live: Arc<Live>, connections: Arc<Connections>) -> Self {
        let checker = Arc::new(Checker { connections });
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
enum Trouble {
    /// This process could not ask. That says nothing about the upstream.
    Here,
    There(String),
}

impl From<String> for Trouble {
    fn from(why: String) -> Self {
        Self::There(why)
    }
}

/// What all checks use.
struct Checker {
    connections: Arc<Connections>,
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
                Err(Trouble::There(why)) => now.health.record_check(Err(why)),
                Err(Trouble::Here) => log::warn!(
                    "upstream {} cannot be checked: {}",
                    now.authority.to_str().unwrap_or_default(),
                    failure::NO_DESCRIPTOR
                ),
            }
            drop(now);
            let spread = 0.9 + 0.2 * fastrand::f64();
            tokio::time::sleep(check.interval.mul_f64(spread)).await;
        }
    }

    /// Whether the upstream answers at one of its addresses at least, tried as they are for a
    /// request; or why it did not at the last one.
    async fn check(&self, upstream: &Upstream, check: &HealthCheck) -> Result<(), Trouble> {
        let order = upstream.addresses_in_order(None);
        let ask = |address, _| {
            let attempt: Attempt<'_, _, _> = Box::pin(self.ask(upstream, address, &check.kind));
            Some(attempt)
        };
        match happy_eyeballs::race(order, check.timeout, ask, |_, _| {}).await {
            Ok(_) => Ok(()),
            Err(RaceError::Failed(trouble)) => Err(trouble),
            Err(RaceError::NoAddress) => Err("its name has no address yet".to_owned().into()),
            Err(RaceError::TimedOut) => {
                Err(format!("no answer within {} s", check.timeout.as_secs()).into())
            }
        }
    }

    async fn ask(
        &self,
        upstream: &Upstream,
        address: SocketAddr,
        kind: &CheckKind,
    ) -> Result<(), Trouble> {
        let (path, host, credential) = match kind {
            CheckKind::Tcp => {
                let connected = TcpStream::connect(address).await;
                return connected.map(drop).map_err(|error| {
                    match failure::kind_of_connect(&error) {
                        kind if failure::is_kind_ours(&kind) => Trouble::Here,
                        _ => error.to_string().into(),
                    }
                });
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
                (path, host, credential)
            }
        };
        let status = self.get(upstream, address, path, host, credential).await;
        match status {
            Ok(200..=399) => Ok(()),
            Ok(status) => Err(format!("it answered {status}").into()),
            Err(error) if failure::is_ours(&error) => Err(Trouble::Here),
            Err(error) => Err(failure::reason(&error).into()),
        }
    }

    /// The status that a GET is answered with.
    async fn get(
        &self,
        upstream: &Upstream,
        address: SocketAddr,
        path: &str,
        host: HeaderValue,
        credential: Option<HeaderValue>,
    ) -> pingora::Result<u16> {
        let mut session = HttpSession::new(self.connections.connect(upstream, address).await?);
        let mut request = RequestHeader::build("GET", path.as_bytes(), Some(5))?;
        request.insert_header(header::HOST, host)?;
        request.insert_header(header::USER_AGENT, USER_AGENT)?;
        request.insert_header(header::ACCEPT, HeaderValue::from_static("*/*"))?;
        request.insert_header(header::CONNECTION, HeaderValue::from_static("close"))?;
        if let Some(credential) = credential {
            request.insert_header(header::AUTHORIZATION, credential)?;
        }
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
                        "an answer without a head",
                    );
                }
            }
        }
    }
}
