//! The management network: for now, what a supervisor asks. `/health`: the process lives. `/ready`: it listens, and every key set has been tried.
//!
//! The rest of the Management API is not here yet: nothing on this network changes anything.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use http::{Method, Response, StatusCode, header};
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;
use serde_json::json;

use crate::gateway::Live;

/// How long `/ready` waits for the first fetch of every key set.
const FIRST_FETCH: Duration = Duration::from_secs(10);

/// The service on the management network.
#[derive(Debug)]
pub struct ManagementApi {
    live: Arc<Live>,
    base_path: String,
    started: Instant,
}

impl ManagementApi {
    /// A service over a live gateway, under `base_path` and at the root.
    pub fn new(base_path: String, live: Arc<Live>) -> Self {
        Self {
            live,
            base_path,
            started: Instant::now(),
        }
    }

    fn answer(&self, method: &Method, path: &str) -> (StatusCode, serde_json::Value) {
        let path = path.strip_prefix(&self.base_path).unwrap_or(path);
        let (status, body) = match path {
            "/health" => (StatusCode::OK, json!({ "status": "alive" })),
            "/ready" if self.is_ready() => (StatusCode::OK, json!({ "status": "ready" })),
            "/ready" => (
                StatusCode::SERVICE_UNAVAILABLE,
                json!({ "status": "starting" }),
            ),
            _ => {
                return (
                    StatusCode::NOT_FOUND,
                    json!({ "error": "Not Found", "message": "no such route" }),
                );
            }
        };
        if matches!(*method, Method::GET | Method::HEAD) {
            (status, body)
        } else {
            let body = json!({ "error": "Method Not Allowed", "message": "use GET" });
            (StatusCode::METHOD_NOT_ALLOWED, body)
        }
    }

    fn is_ready(&self) -> bool {
        self.live.key_sets().all_tried() || self.started.elapsed() >= FIRST_FETCH
    }
}

#[async_trait]
impl ServeHttp for ManagementApi {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let request = session.req_header();
        let (status, body) = self.answer(&request.method, request.uri.path());
        let head = request.method == Method::HEAD;
        let mut text = body.to_string().into_bytes();
        text.push(b'\n');
        let response = Response::builder()
            .status(status)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CACHE_CONTROL, "no-store")
            .header(header::CONTENT_LENGTH, text.len());
        let body = if head { Vec::new() } else { text };
        response.body(body).unwrap_or_default()
    }
}
