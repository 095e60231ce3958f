//! Answers that this process gives itself. Every refusal becomes a response in [`refuse`], and
//! nowhere else.

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, StatusCode};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora_proxy::Session;
use serde::Serialize;
use tokio::time::timeout;

use super::context::Context;
use super::head::{Head, HeadError};
use crate::auth::Denial;
use crate::gateway::PathError;
use crate::listener::Connection;
use crate::policy;
use crate::proxy::forward::headers::SPELLED_REQUEST_ID;

/// How long a client may go on with a body that nobody wants, so that it gets to read its answer:
/// many read only when they have sent all, and a connection that is closed with something unread is
/// reset, and the answer lost. As a whole, and between two parts of it.
const LINGER: Duration = Duration::from_secs(30);
const LINGER_PAUSE: Duration = Duration::from_secs(2);

/// Why a request is not proxied: everything that the answer depends on.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// Stable label for logs and metrics; never sent.
    pub(crate) reason: &'static str,
    /// Empty: the answer has no body.
    message: &'static str,
    challenges: Vec<HeaderValue>,
    retry_after: Option<u32>,
    allow: Option<HeaderValue>,
    location: Option<HeaderValue>,
    close: bool,
    /// What exactly is wrong with the head or the path; never sent either.
    pub(crate) cause: Option<Cause>,
}

#[derive(Debug, Clone, Copy, thiserror::Error)]
pub(crate) enum Cause {
    #[error(transparent)]
    Head(HeadError),
    #[error(transparent)]
    Path(PathError),
}

impl Refusal {
    fn new(status: u16, reason: &'static str, message: &'static str) -> Self {
        Self {
            status,
            reason,
            message,
            challenges: Vec::new(),
            retry_after: None,
            allow: None,
            location: None,
            close: false,
            cause: None,
        }
    }

    pub(crate) fn no_route() -> Self {
        Self::new(404, "no_route", "nothing is served here")
    }

    /// The same place by https; 443 is not named.
    pub(crate) fn https(head: &Head, port: u16) -> Self {
        let mut url = format!("https://{}", head.written_host()).into_bytes();
        if port != 443 {
            url.extend_from_slice(format!(":{port}").as_bytes());
        }
        url.extend_from_slice(&head.path);
        if let Some(query) = &head.query {
            url.push(b'?');
            url.extend_from_slice(query);
        }
        match HeaderValue::from_bytes(&url) {
            Ok(location) => Self {
                location: Some(location),
                ..Self::new(301, "force_https", "")
            },
            Err(_) => Self::malformed("target"),
        }
    }

    pub(crate) fn method_not_allowed(allowed: &[&Method]) -> Self {
        let allow = allowed
            .iter()
            .map(|method| method.as_str())
            .collect::<Vec<_>>()
            .join(", ");
        Self {
            allow: HeaderValue::from_str(&allow).ok(),
            ..Self::new(405, "method", "the method is not served here")
        }
    }

    pub(crate) fn body_too_large() -> Self {
        Self {
            close: true,
            ..Self::new(
                413,
                "body_too_large",
                "the body is larger than this place takes",
            )
        }
    }

    pub(crate) fn body_incomplete() -> Self {
        Self {
            close: true,
            ..Self::new(408, "body_timeout", "the body did not arrive in time")
        }
    }

    /// The client has as many in progress as it may.
    pub(crate) fn too_many_in_progress() -> Self {
        Self {
            retry_after: Some(1),
            ..Self::new(429, "too_many_in_progress", "too many requests at a time")
        }
    }

    /// Upstreams may be at too many requests that the client has given up.
    pub(crate) fn given_up_too_often() -> Self {
        Self {
            retry_after: Some(5),
            ..Self::new(429, "given_up_too_often", "too many requests were given up")
        }
    }

    pub(crate) fn malformed(reason: &'static str) -> Self {
        Self {
            close: true,
            ..Self::new(400, reason, "the request is malformed")
        }
    }

    /// Nobody may be there to read it.
    pub(crate) fn client_gone() -> Self {
        Self {
            close: true,
            ..Self::new(408, "client_gone", "the client closed the connection")
        }
    }

    pub(crate) fn internal(reason: &'static str) -> Self {
        Self::new(500, reason, "the request could not be processed")
    }

    pub(crate) fn unreachable(reason: &'static str) -> Self {
        Self::new(
            502,
            reason,
            "the upstream could not be reached or gave no valid answer",
        )
    }

    pub(crate) fn unresolved() -> Self {
        Self {
            retry_after: Some(1),
            ..Self::new(503, "upstream_unresolved", "the upstream is not known yet")
        }
    }

    pub(crate) fn out_of_descriptors() -> Self {
        Self {
            retry_after: Some(1),
            ..Self::new(503, "out_of_descriptors", "too many connections")
        }
    }

    pub(crate) fn upstream_connections() -> Self {
        Self {
            retry_after: Some(1),
            ..Self::new(503, "upstream_connections", "too many connections")
        }
    }

    pub(crate) fn too_slow(reason: &'static str) -> Self {
        Self::new(504, reason, "the upstream took too long")
    }
}

impl From<HeadError> for Refusal {
    fn from(error: HeadError) -> Self {
        let message = match error {
            HeadError::TooLarge => "the header is too large",
            _ => "the request is malformed",
        };
        Self {
            close: true,
            cause: Some(Cause::Head(error)),
            ..Self::new(error.status(), error.reason(), message)
        }
    }
}

impl From<PathError> for Refusal {
    fn from(error: PathError) -> Self {
        log::debug!("refused: {error}");
        Self {
            cause: Some(Cause::Path(error)),
            ..Self::malformed("path")
        }
    }
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        let status = denial.status();
        let message = match status {
            401 => "a valid credential is required",
            403 => "the credential does not permit this",
            503 => "the credential cannot be checked now",
            429 => "too many failed attempts",
            _ => "the credential is malformed",
        };
        Self {
            challenges: denial.challenges().to_vec(),
            retry_after: denial.retry_after(),
            ..Self::new(status, denial.reason().as_str(), message)
        }
    }
}

impl From<policy::Denial> for Refusal {
    fn from(denial: policy::Denial) -> Self {
        let (message, retry_after) = match denial {
            policy::Denial::ByPolicy => ("the request is not permitted", None),
            policy::Denial::RateLimited { retry_after } => ("too many requests", Some(retry_after)),
            policy::Denial::ByPathFilter => ("", None),
        };
        Self {
            retry_after,
            ..Self::new(denial.status(), denial.as_str(), message)
        }
    }
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
    message: &'a str,
}

/// Answers a refused request and leaves its connection in a defined state. Nothing of the request
/// is echoed.
pub(crate) async fn refuse(
    session: &mut Session,
    ctx: &mut Context,
    refusal: Refusal,
) -> pingora::Result<()> {
    ctx.reason = Some(refusal.reason);
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = ErrorBody {
        error: status.canonical_reason().unwrap_or("Error"),
        message: refusal.message,
    };
    let body = serde_json::to_vec(&body).unwrap_or_default();
    let mut response = ResponseHeader::build(status, Some(8))?;
    for challenge in refusal.challenges {
        response.append_header(header::WWW_AUTHENTICATE, challenge)?;
    }
    if let Some(seconds) = refusal.retry_after {
        response.insert_header(header::RETRY_AFTER, HeaderValue::from(seconds))?;
    }
    if let Some(allow) = refusal.allow {
        response.insert_header(header::ALLOW, allow)?;
    }
    if let Some(location) = refusal.location {
        response.insert_header(header::LOCATION, location)?;
    }
    let unread = !session.is_body_empty();
    if refusal.close || unread {
        session.set_keepalive(None);
    }
    if refusal.message.is_empty() {
        write(session, ctx, response, Bytes::new()).await?;
    } else {
        json(session, ctx, response, body.into()).await?;
    }
    ctx.lingers |= unread;
    Ok(())
}

/// Completes a response with a JSON body and writes it.
pub(crate) async fn json(
    session: &mut Session,
    ctx: &Context,
    mut response: ResponseHeader,
    body: Bytes,
) -> pingora::Result<()> {
    response.insert_header(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    )?;
    write(session, ctx, response, body).await
}

async fn write(
    session: &mut Session,
    ctx: &Context,
    mut response: ResponseHeader,
    body: Bytes,
) -> pingora::Result<()> {
    response.insert_header(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))?;
    if response.status != StatusCode::NO_CONTENT {
        response.insert_header(header::CONTENT_LENGTH, HeaderValue::from(body.len()))?;
    }
    if let Some(id) = &ctx.request_id {
        response.insert_header(SPELLED_REQUEST_ID, id.clone())?;
    }
    let bodiless = body.is_empty() || session.req_header().method == Method::HEAD;
    session
        .write_response_header(Box::new(response), bodiless)
        .await?;
    if !bodiless {
        session.write_response_body(Some(body), true).await?;
    }
    Ok(())
}

/// Whether the client has got the beginning of an answer. What merely informs it is none (RFC 9110
/// section 15.2), a switch of protocols is.
pub(crate) fn has_begun(session: &Session) -> bool {
    session.response_written().is_some_and(|response| {
        let status = response.status;
        !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS
    })
}

/// Takes leave of a client that may still be sending though it has been answered: it is told that
/// nothing more will come, and what it sends is read and thrown away, within limits. Behind them, a
/// stream of HTTP/2 is reset without an error.
pub(crate) async fn linger(session: &mut Session) {
    let connection = Connection::of(session.digest()).cloned();
    if let Some(connection) = &connection
        && connection.progress().was_cut().is_some()
    {
        // It was to make room for others.
        return;
    }
    // Meanwhile it may make room for others at any time.
    let _stalled = connection.as_ref().map(Connection::stalled);
    let reading = async {
        if let ServerSession::H1(client) = &mut *session.downstream_session {
            client.shutdown().await;
        }
        while let Ok(Ok(Some(_))) = timeout(LINGER_PAUSE, session.read_request_body()).await {}
    };
    let _ = timeout(LINGER, reading).await;
}
