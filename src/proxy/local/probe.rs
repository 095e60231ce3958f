//! The one request that this process answers to itself alone: whether it serves.
//!
//! During a hand-over two processes accept on one socket, so the answer must show whose it is, and
//! a question that reaches the other one must go no further.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;
use ring::rand::{SecureRandom, SystemRandom};

use super::respond;
use crate::proxy::request::context::Context;

/// What every process of ours begins the path with.
const PREFIX: &str = "/.harmony-edge/";

/// A path and its answer that nobody else knows: made at random at each start, and shown nowhere.
#[derive(Clone)]
pub struct Probe {
    path: Arc<str>,
    answer: HeaderValue,
}

/// Whom a question is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// This process.
    This,
    /// Another one that accepts on the same socket.
    Other,
}

impl Probe {
    /// Makes one; `None` when the system has no random bytes.
    pub fn new() -> Option<Self> {
        Some(Self {
            path: format!("{PREFIX}{}", random()?).into(),
            answer: HeaderValue::from_str(&random()?).ok()?,
        })
    }

    /// The path to ask for.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What the answer has in `X-Request-Id`.
    pub fn answer(&self) -> &HeaderValue {
        &self.answer
    }

    /// Whom a request asks, if it is such a question. From another machine, it is a request like
    /// any other.
    pub(crate) fn asked(&self, request: &RequestHeader, peer: Option<SocketAddr>) -> Option<Asked> {
        let path = request.raw_path();
        if !path.starts_with(PREFIX.as_bytes()) {
            return None;
        }
        if path == self.path.as_bytes() {
            return Some(Asked::This);
        }
        let near = peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback());
        (near && path.len() == self.path.len()).then_some(Asked::Other)
    }

    /// 204 from the process that was asked, 503 from any other.
    pub(crate) async fn answer_to(
        &self,
        asked: Asked,
        session: &mut Session,
        ctx: &mut Context,
    ) -> pingora::Result<()> {
        ctx.is_probe = true;
        let status = match asked {
            Asked::This => StatusCode::NO_CONTENT,
            Asked::Other => StatusCode::SERVICE_UNAVAILABLE,
        };
        ctx.request_id = (asked == Asked::This).then(|| self.answer.clone());
        let response = ResponseHeader::build(status, Some(4))?;
        respond::json(session, ctx, response, Bytes::new()).await
    }
}

fn random() -> Option<String> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(format!("{:032x}", u128::from_be_bytes(bytes)))
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Probe")
    }
}
