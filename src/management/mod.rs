//! The Management API, on its own network: what a supervisor asks (`/health`, `/ready`,
//! `/metrics`), what an operator looks at, and what an operator changes.
//!
//! `access_control` decides who may call, `routes` what is called; each group of routes has a file
//! of its own. Answers are JSON, and an error is `{ "error", "message" }`. State changes only by
//! POST and DELETE, and every change is logged. The order of checks: Host, Origin and management
//! credential; 403 where Runbeam is off; 401; 413, 415, 400.

mod access_control;
mod backends;
mod body;
mod call;
mod cloud;
mod connections;
mod counts;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod history;
mod info;
mod key_sets;
mod log_level;
mod metrics;
mod page;
mod process;
mod reload;
mod response;
mod revocations;
mod routes;
mod status;
mod token;
mod upstreams;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use http::{Method, Response, StatusCode, header};
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;
use serde_json::json;

use self::call::Call;
use self::counts::CallCounts;
use self::page::Page;
use self::response::ApiResponse;
use self::routes::{Route, RouteError};
use crate::control::Agent;
use crate::gateway::Live;
use crate::telemetry::LogWriter;

pub use access_control::AccessControl;
pub use history::History;

/// How long `/ready` waits for the first fetch of every key set.
const FIRST_FETCH: Duration = Duration::from_secs(10);

/// The service on the management network.
pub struct ManagementApi {
    live: Arc<Live>,
    agent: Arc<Agent>,
    log: LogWriter,
    history: Arc<History>,
    stopping: Arc<AtomicBool>,
    base_path: String,
    access: AccessControl,
    page: Page,
    counts: CallCounts,
    started: Instant,
    started_at: SystemTime,
}

impl ManagementApi {
    /// A service over a live gateway and its connection to the cloud, under `base_path`. `log`
    /// tells what it dropped, `history` what was counted a moment ago, `stopping` whether the
    /// process was told to stop.
    pub fn new(
        base_path: String,
        access: AccessControl,
        live: Arc<Live>,
        agent: Arc<Agent>,
        log: LogWriter,
        history: Arc<History>,
        stopping: Arc<AtomicBool>,
    ) -> Self {
        Self {
            live,
            agent,
            log,
            history,
            stopping,
            base_path,
            access,
            page: Page::new(),
            counts: CallCounts::default(),
            started: Instant::now(),
            started_at: SystemTime::now(),
        }
    }

    async fn answer(&self, session: &mut ServerSession) -> ApiResponse {
        let path = session.req_header().uri.path();
        let own = path.strip_prefix(&self.base_path);
        if let Some(probe @ ("/health" | "/ready")) = own.or(Some(path)) {
            return self.probe(&session.req_header().method, probe);
        }
        let call = Call::of(session);
        let route = match self.authorize(&call, session) {
            Ok(route) => route,
            Err(refused) => return refused,
        };
        let answer = self.dispatch(route, session).await;
        if matches!(route, Route::Authorize | Route::Token) {
            self.counts.authorization(answer.status);
        }
        if !route.is_polled() {
            call.audit(answer.status, &answer.message);
        }
        if route.changes() {
            call.log(&answer);
        }
        answer
    }

    /// Whether a call may be made, and what it calls.
    fn authorize(&self, call: &Call, session: &ServerSession) -> Result<Route, ApiResponse> {
        let request = session.req_header();
        let (headers, authority) = (&request.headers, request.uri.authority());
        let authority = authority.map(|authority| authority.as_str());
        let route = routes::find(&self.base_path, &call.path, &call.method);
        let is_scraped = matches!(route, Ok(Route::Metrics));
        let checked = match route {
            // It holds nothing, and it is what asks for the token.
            Ok(Route::Page) => self.access.check_origin(headers, authority, call.peer),
            _ => self.access.check(headers, authority, call.peer, is_scraped),
        };
        if let Err(refusal) = checked {
            self.counts.refused(refusal);
            let answer = call.reject(refusal.status(), &refusal.to_string());
            log::warn!("management: {call} rejected: {refusal}");
            return Err(match refusal.status() {
                StatusCode::UNAUTHORIZED if is_scraped => answer
                    .with(header::WWW_AUTHENTICATE, "Management-Token")
                    .with(header::WWW_AUTHENTICATE, "Bearer realm=\"management\""),
                StatusCode::UNAUTHORIZED => {
                    answer.with(header::WWW_AUTHENTICATE, "Management-Token")
                }
                _ => answer,
            });
        }
        route.map_err(|error| match error {
            RouteError::Unknown => call.reject(StatusCode::NOT_FOUND, "no such route"),
            RouteError::Method(allowed) => call
                .reject(StatusCode::METHOD_NOT_ALLOWED, &format!("use {allowed}"))
                .with(header::ALLOW, allowed),
        })
    }

    async fn dispatch(&self, route: Route, session: &mut ServerSession) -> ApiResponse {
        if route.needs_runbeam() && !self.agent.is_enabled() {
            return cloud::disabled();
        }
        let answer = match route {
            Route::Revoke => revocations::revoke(self.live.auth().revocations(), session).await,
            Route::Drain => upstreams::drain(&self.live, session, true).await,
            Route::Enable => upstreams::drain(&self.live, session, false).await,
            Route::LogLevel => log_level::set(session).await,
            Route::Authorize => token::authorize(&self.agent, session).await,
            Route::Token => token::take(&self.agent, session).await,
            _ => match body::read(session).await {
                Ok(_) => Ok(self.dispatch_without_body(route, session).await),
                Err(refused) => Err(refused),
            },
        };
        answer.unwrap_or_else(|refused| refused)
    }

    /// The routes that ask for nothing but themselves: whatever stands in a body that passed its
    /// checks is not looked at.
    async fn dispatch_without_body(&self, route: Route, session: &ServerSession) -> ApiResponse {
        let uri = &session.req_header().uri;
        match route {
            Route::Revocations => {
                let page = revocations::page(self.live.auth().revocations(), uri.query());
                page.unwrap_or_else(|refused| refused)
            }
            Route::DeleteRevocation => {
                revocations::delete(self.live.auth().revocations(), uri.path()).await
            }
            Route::Info => {
                let uptime = self.started.elapsed();
                info::info(&self.live, &self.agent, self.started_at, uptime)
            }
            Route::Connections => connections::answer(&self.live),
            Route::Backends => backends::backends(&self.live),
            Route::Pipelines => info::pipelines(&self.live),
            Route::Routes => info::routes(&self.live),
            Route::Metrics => metrics::answer(&self.live, &self.agent, &self.log, &self.counts),
            Route::Page => self.page.answer(),
            Route::Status => status::answer(&self.live, &self.agent, &self.log),
            Route::History => self.history.answer(),
            Route::Reload => reload::reload(self.live.clone()).await,
            Route::ConfigStatus => reload::status(&self.live),
            Route::RefreshKeys => key_sets::refresh(&self.live).await,
            Route::Deauthorize => token::forget(&self.agent).await,
            Route::Update => cloud::upload(&self.agent).await,
            Route::Discard => cloud::discard(self.live.clone()).await,
            Route::Authorize
            | Route::Drain
            | Route::Enable
            | Route::LogLevel
            | Route::Token
            | Route::Revoke => ApiResponse::error(StatusCode::BAD_REQUEST, "this needs a body"),
        }
    }

    fn probe(&self, method: &Method, route: &str) -> ApiResponse {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return ApiResponse::error(StatusCode::METHOD_NOT_ALLOWED, "use GET, HEAD")
                .with(header::ALLOW, "GET, HEAD");
        }
        if route == "/health" {
            return ApiResponse::ok(&json!({ "status": "alive" }));
        }
        let why_not = if self.stopping.load(Ordering::Relaxed) {
            "stopping"
        } else if self.live.auth().key_sets().all_tried() || self.started.elapsed() >= FIRST_FETCH {
            return ApiResponse::ok(&json!({ "status": "ready" }));
        } else {
            "starting"
        };
        let status = json!({ "status": why_not });
        ApiResponse::json(StatusCode::SERVICE_UNAVAILABLE, &status)
    }
}

#[async_trait]
impl ServeHttp for ManagementApi {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let answer = self.answer(session).await;
        body::drain(session).await;
        answer.into_response(session.req_header().method == Method::HEAD)
    }
}
