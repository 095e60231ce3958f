//! The Management API, on its own network: what a supervisor asks (`/health`, `/ready`, `/metrics`), what an operator looks at, and what an operator steers with.
//!
//! `guard` decides who may call, `routes` what is called; each group of routes has a file of its own. Answers are JSON, and an error is `{ "error", "message" }`.
//! State changes only by POST.

mod answer;
mod guard;
mod metrics;
mod page;
mod process;
mod reload;
mod routes;
mod status;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use http::{Method, Response, StatusCode, header};
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;
use serde_json::json;

use self::answer::Answer;
use self::page::Page;
use self::routes::{Route, Unrouted};
use crate::gateway::{Live, Loader};
use crate::telemetry::Reports;

pub use guard::Protection;

/// How long `/ready` waits for the first fetch of every key set.
const FIRST_FETCH: Duration = Duration::from_secs(10);
/// Largest body that is read.
const MAX_BODY: usize = 1024 * 1024;

/// The service on the management network.
pub struct ManagementApi {
    live: Arc<Live>,
    loader: Loader,
    reports: Reports,
    base_path: String,
    protection: Protection,
    page: Page,
    started: Instant,
}

impl ManagementApi {
    /// A service over a live gateway, under `base_path`. `loader` is what a reload reads; `reports` are asked for the metrics and the status page.
    pub fn new(
        base_path: String,
        protection: Protection,
        live: Arc<Live>,
        loader: Loader,
        reports: Reports,
    ) -> Self {
        Self {
            live,
            loader,
            reports,
            base_path,
            protection,
            page: Page::new(),
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
        let route = routes::find(&self.base_path, &path, &method);
        let checked = match route {
            // It holds nothing, and it is what asks for the token.
            Ok(Route::Page) => self
                .protection
                .check_origin(&request.headers, authority, peer),
            _ => self.protection.check(&request.headers, authority, peer),
        };
        if let Err((status, message)) = checked {
            log::warn!(
                "management: {method} {path} from {} refused: {message}",
                shown(peer)
            );
            return Answer::error(status, message);
        }
        let route = match route {
            Ok(route) => route,
            Err(Unrouted::Unknown) => return Answer::error(StatusCode::NOT_FOUND, "no such route"),
            Err(Unrouted::Method(allowed)) => {
                return Answer::error(StatusCode::METHOD_NOT_ALLOWED, format!("use {allowed}"))
                    .with(header::ALLOW, allowed);
            }
        };
        if let Err(refused) = read_body(session).await {
            return refused;
        }
        match route {
            Route::Metrics => metrics::answer(&self.live, &self.reports),
            Route::Page => self.page.answer(),
            Route::Reload => {
                log::info!("management: reload asked for from {}", shown(peer));
                reload::reload(self.live.clone(), self.loader.clone()).await
            }
            Route::Status => reload::status(&self.live),
            Route::Watch => status::answer(&self.live, &self.reports),
        }
    }

    fn probe(&self, method: &Method, route: &str) -> Answer {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Answer::error(StatusCode::METHOD_NOT_ALLOWED, "use GET, HEAD")
                .with(header::ALLOW, "GET, HEAD");
        }
        let ready = self.live.key_sets().all_tried() || self.started.elapsed() >= FIRST_FETCH;
        match (route, ready) {
            ("/health", _) => Answer::ok(&json!({ "status": "alive" })),
            (_, true) => Answer::ok(&json!({ "status": "ready" })),
            (_, false) => Answer::json(
                StatusCode::SERVICE_UNAVAILABLE,
                &json!({ "status": "starting" }),
            ),
        }
    }
}

fn shown(peer: Option<IpAddr>) -> String {
    peer.map_or_else(|| "the socket".to_owned(), |peer| peer.to_string())
}

/// Reads the body within its limit; one that is there must say that it is JSON, which no form on a web page can.
async fn read_body(session: &mut ServerSession) -> Result<Vec<u8>, Answer> {
    let mut body = Vec::new();
    loop {
        match session.read_request_body().await {
            Ok(Some(bytes)) if body.len() + bytes.len() > MAX_BODY => {
                session.set_keepalive(None);
                return Err(Answer::error(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "the body is over 1 MiB",
                ));
            }
            Ok(Some(bytes)) => body.extend_from_slice(&bytes),
            Ok(None) => break,
            Err(_) => {
                session.set_keepalive(None);
                return Err(Answer::error(
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
        return Err(Answer::error(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body must be application/json",
        ));
    }
    Ok(body)
}

#[async_trait]
impl ServeHttp for ManagementApi {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let answer = self.answer(session).await;
        answer.into_response(session.req_header().method == Method::HEAD)
    }
}
