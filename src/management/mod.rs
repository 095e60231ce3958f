//! The Management API, on its own network: what a supervisor asks (`/health`, `/ready`, `/metrics`), and what an operator steers with.
//!
//! `guard` decides who may call; each route answers with JSON, and an error is `{ "error", "message" }`. State changes only by POST.

mod guard;
mod metrics;
mod reload;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use http::{Method, Response, StatusCode, header};
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;
use serde_json::{Value, json};

use crate::gateway::Live;

pub use guard::Protection;

/// How long `/ready` waits for the first fetch of every key set.
const FIRST_FETCH: Duration = Duration::from_secs(10);
/// Largest body that is read.
const MAX_BODY: usize = 1024 * 1024;

/// The service on the management network.
pub struct ManagementApi {
    live: Arc<Live>,
    base_path: String,
    protection: Protection,
    started: Instant,
}

/// A status and what goes with it.
type Answer = (StatusCode, Body);

/// The body of an answer.
enum Body {
    Json(Value),
    /// For a scraper.
    Metrics(String),
}

impl From<Value> for Body {
    fn from(value: Value) -> Self {
        Self::Json(value)
    }
}

/// An error as every route answers it.
fn error(status: StatusCode, message: &str) -> Answer {
    let name = status.canonical_reason().unwrap_or("Error");
    (status, json!({ "error": name, "message": message }).into())
}

impl ManagementApi {
    /// A service over a live gateway, under `base_path`.
    pub fn new(base_path: String, protection: Protection, live: Arc<Live>) -> Self {
        Self {
            live,
            base_path,
            protection,
            started: Instant::now(),
        }
    }

    async fn answer(&self, session: &mut ServerSession) -> Answer {
        let request = session.req_header();
        let method = request.method.clone();
        let path = request.uri.path().to_owned();
        let own = path.strip_prefix(&self.base_path);
        if let Some(probe @ ("/health" | "/ready")) = own.or(Some(&path)) {
            return self.probe(&method, probe);
        }
        let peer = session
            .client_addr()
            .and_then(|addr| addr.as_inet())
            .map(|addr| addr.ip());
        let authority = request.uri.authority().map(|authority| authority.as_str());
        if let Err((status, message)) = self.protection.check(&request.headers, authority, peer) {
            log::warn!(
                "management: {method} {path} from {} refused: {message}",
                shown(peer)
            );
            return error(status, message);
        }
        let known = [
            ("/reload", Method::POST),
            ("/config/status", Method::GET),
            ("/metrics", Method::GET),
        ];
        // The published client calls the first two under `/api`, whatever the base path is; scrapers expect the last at the root.
        let route = own
            .or_else(|| {
                path.strip_prefix("/api")
                    .filter(|route| *route != "/metrics")
            })
            .or_else(|| (path == "/metrics").then_some(&*path));
        let Some((route, expected)) = known.iter().find(|(name, _)| Some(*name) == route) else {
            return error(StatusCode::NOT_FOUND, "no such route");
        };
        if method != *expected {
            return error(StatusCode::METHOD_NOT_ALLOWED, &format!("use {expected}"));
        }
        if let Err(refused) = read_body(session).await {
            return refused;
        }
        match *route {
            "/reload" => {
                log::info!("management: reload asked for from {}", shown(peer));
                reload::reload(self.live.clone()).await
            }
            "/metrics" => (StatusCode::OK, Body::Metrics(metrics::render(&self.live))),
            _ => reload::status(&self.live),
        }
    }

    fn probe(&self, method: &Method, route: &str) -> Answer {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return error(StatusCode::METHOD_NOT_ALLOWED, "use GET");
        }
        let ready = self.live.key_sets().all_tried() || self.started.elapsed() >= FIRST_FETCH;
        match (route, ready) {
            ("/health", _) => (StatusCode::OK, json!({ "status": "alive" }).into()),
            (_, true) => (StatusCode::OK, json!({ "status": "ready" }).into()),
            (_, false) => (
                StatusCode::SERVICE_UNAVAILABLE,
                json!({ "status": "starting" }).into(),
            ),
        }
    }
}

fn shown(peer: Option<std::net::IpAddr>) -> String {
    peer.map_or_else(|| "the socket".to_owned(), |peer| peer.to_string())
}

/// Reads the body within its limit; one that is there must say that it is JSON, which no form on a web page can.
async fn read_body(session: &mut ServerSession) -> Result<Vec<u8>, Answer> {
    let mut body = Vec::new();
    loop {
        match session.read_request_body().await {
            Ok(Some(bytes)) if body.len() + bytes.len() > MAX_BODY => {
                session.set_keepalive(None);
                return Err(error(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "the body is over 1 MiB",
                ));
            }
            Ok(Some(bytes)) => body.extend_from_slice(&bytes),
            Ok(None) => break,
            Err(_) => {
                session.set_keepalive(None);
                return Err(error(
                    StatusCode::BAD_REQUEST,
                    "the body did not arrive whole",
                ));
            }
        }
    }
    let is_json = session
        .get_header(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .and_then(|kind| kind.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
    if !body.is_empty() && !is_json {
        return Err(error(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body must be application/json",
        ));
    }
    Ok(body)
}

#[async_trait]
impl ServeHttp for ManagementApi {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let (status, body) = self.answer(session).await;
        let (kind, text) = match body {
            Body::Json(value) => ("application/json", format!("{value}\n").into_bytes()),
            Body::Metrics(text) => ("text/plain; version=0.0.4", text.into_bytes()),
        };
        let response = Response::builder()
            .status(status)
            .header(header::CONTENT_TYPE, kind)
            .header(header::CACHE_CONTROL, "no-store")
            .header(header::CONTENT_LENGTH, text.len());
        let head = session.req_header().method == Method::HEAD;
        response
            .body(if head { Vec::new() } else { text })
            .unwrap_or_default()
    }
}
