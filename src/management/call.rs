//! One call, as the log and the audit log have it: who, from where, what came of it.

use std::fmt;
use std::net::IpAddr;

use http::{Method, StatusCode, header};
use pingora::protocols::http::ServerSession;

use super::response::ApiResponse;
use crate::listener::Connection;
use crate::telemetry::audit;

/// What a caller asks, and who it is.
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    /// `None`: it came over a unix socket.
    pub(super) peer: Option<IpAddr>,
    credentials: String,
}

impl Call {
    pub(super) fn of(session: &ServerSession) -> Self {
        let request = session.req_header();
        let peer = session.client_addr().and_then(|addr| addr.as_inet());
        Self {
            method: request.method.clone(),
            path: request.uri.path().to_owned(),
            peer: peer.map(|addr| addr.ip()),
            credentials: credentials(session),
        }
    }

    /// Writes it to the audit log.
    pub(super) fn audit(&self, status: StatusCode, outcome: &str) {
        audit::write(&audit::Event {
            event: "management",
            from: Some(&self.from()),
            who: Some(&self.credentials),
            outcome: Some(outcome),
            status: Some(status.as_u16()),
            method: Some(self.method.as_str()),
            path: Some(&self.path),
            ..audit::Event::default()
        });
    }

    /// The answer to one that is not made, and its audit event.
    pub(super) fn reject(&self, status: StatusCode, why: &str) -> ApiResponse {
        self.audit(status, why);
        ApiResponse::error(status, why)
    }

    /// Logs how it was answered.
    pub(super) fn log(&self, answer: &ApiResponse) {
        let level = if answer.status.is_success() {
            log::Level::Info
        } else {
            log::Level::Warn
        };
        let separator = if answer.message.is_empty() { "" } else { ": " };
        let (status, message) = (answer.status.as_u16(), &answer.message);
        log::log!(level, "management: {self}: {status}{separator}{message}");
    }

    fn from(&self) -> String {
        let peer = self.peer.map(|peer| peer.to_string());
        peer.unwrap_or_else(|| "the socket".to_owned())
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} from {}", self.method, self.path, self.from())
    }
}

/// What a caller shows of who it is.
fn credentials(session: &ServerSession) -> String {
    let headers = &session.req_header().headers;
    let token = if headers.contains_key("x-management-token") {
        "management token"
    } else if headers.contains_key(header::AUTHORIZATION) {
        "bearer token"
    } else {
        "no token"
    };
    let connection = Connection::of(session.digest());
    match connection.and_then(|connection| connection.client_certificate()) {
        Some(certificate) => {
            let name = certificate.common_name().unwrap_or("without a name");
            format!("certificate {name}, {token}")
        }
        None => token.to_owned(),
    }
}
