//! What the proxy would make of a request, without a client and without an upstream: the real
//! filters over a stream in memory.

use std::fmt;
use std::net::SocketAddr;

use http::header::{self, HeaderName};
use http::{Method, Version};
use pingora_proxy::{ProxyHttp, Session};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::Edge;
use crate::auth::{CredentialLocation, CredentialLocations, Entry, Trace};
use crate::gateway::{HttpVersion, Route, Shadow, Share, Stage, Upstream};
use crate::listener::{self, UNREADABLE};
use crate::policy::RateLimits;
use crate::proxy::forward::upstream_request;
use crate::proxy::local::respond;
use crate::proxy::request::context::Context;
use crate::proxy::request::head;
use crate::proxy::request::rejection::Rejection;

/// Enough for any head that is taken, and for any answer of ours.
const STREAM: usize = 256 * 1024;

/// What becomes of a request.
#[derive(Debug)]
pub struct Explanation {
    /// The canonical path, and what else servers may take it for; `None`: the request never got
    /// that far.
    pub path: Option<String>,
    /// Pipeline, endpoint and prefix; `None`: no route, or the request never got that far.
    pub route: Option<String>,
    /// Steps and rate limits, in order.
    pub entries: Vec<Entry>,
    /// Upstreams of the pipeline that get no new requests, since an operator wants it so.
    pub drained: Vec<String>,
    /// What happens in the end.
    pub end: End,
}

/// What happens in the end.
#[derive(Debug)]
pub enum End {
    /// The client gets this answer from the edge itself.
    Answered {
        /// Status line and header fields.
        head: Vec<String>,
        /// The stable label of the reason, if it was refused.
        reason: Option<&'static str>,
        /// What exactly is wrong with the head or the path.
        causes: Vec<String>,
    },
    /// The upstream gets this request and decides.
    Forwarded {
        /// The backend's name and address.
        upstream: String,
        /// What is spoken to it.
        protocol: &'static str,
        /// Request line and header fields, credentials masked.
        head: Vec<String>,
        /// Where credentials stand that the upstream does not get, and why.
        withheld: Vec<String>,
    },
}

impl Edge {
    /// Explains a request that came in at `local` from `peer`. `head` is a whole HTTP/1.1 request
    /// head, which is read as the listener reads one.
    ///
    /// # Errors
    ///
    /// Those of Pingora's, where the answer cannot be made.
    pub async fn explain(
        &self,
        head: &[u8],
        local: SocketAddr,
        peer: SocketAddr,
    ) -> pingora::Result<Explanation> {
        let (mut client, server) = duplex(STREAM);
        // The stream is larger than what is written, so this cannot block.
        let _ = client.write_all(&head[..head.len().min(STREAM / 2)]).await;
        let (server, head) = match listener::first_head(server).await {
            Ok(begun) => begun,
            Err(malformed) => {
                let (status, reason) = (malformed.status(), malformed.reason());
                return Ok(Explanation::unread(
                    status,
                    reason,
                    vec![malformed.to_string()],
                ));
            }
        };
        let mut session = Session::new_h1(Box::new(server));
        session.set_pipelined_prefix(head);
        match session.read_request().await {
            Ok(_) if session.req_header().method != Method::CONNECT => {}
            Ok(_) => return Ok(Explanation::unread(405, UNREADABLE, Vec::new())),
            Err(_) => return Ok(Explanation::unread(400, UNREADABLE, Vec::new())),
        }
        // No body was described, but an echo reads as much as the head says there is.
        if let Some(length) = head::body_length(&mut session) {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let _ = client.write_all(&vec![0; length.min(STREAM / 4)]).await;
        }
        let mut ctx = self.new_ctx();
        ctx.connection.local = Some(local);
        ctx.connection.peer = Some(peer);
        ctx.connection.tls = self.live.gateway().tls(local).is_some();
        let mut trace = Trace::for_explain();
        let mut answered = self.try_respond(&mut session, &mut ctx, &mut trace).await?;
        if !answered && ctx.backend().is_none() {
            respond::reject(&mut session, &mut ctx, Rejection::upstreams_drained()).await?;
            answered = true;
        }
        let (mut entries, causes) = trace.finish();
        if let Some(route) = &ctx.route {
            add_not_reached(&mut entries, route);
        }
        let end = if answered {
            drop(session);
            let mut answer = Vec::new();
            // What was written before the other end was dropped is all there is.
            let _ = client.read_to_end(&mut answer).await;
            End::Answered {
                head: head_of(&answer),
                reason: ctx.reason,
                causes,
            }
        } else {
            forwarded(&mut session, &ctx)?
        };
        Ok(Explanation {
            path: ctx.path.as_ref().map(|path| match &*ctx.other_paths {
                [] => path.clone(),
                others => format!(
                    "{path}, which other servers may read as {}",
                    others.join(", ")
                ),
            }),
            route: ctx.route.as_ref().map(|route| {
                let endpoint = &route.endpoint;
                format!(
                    "pipeline {}, endpoint {} at {}",
                    route.pipeline.name, endpoint.name, endpoint.path_prefix
                )
            }),
            entries,
            drained: ctx.route.as_deref().map_or_else(Vec::new, drained),
            end,
        })
    }
}

impl Explanation {
    /// Of what the listener answers by itself.
    fn unread(status: u16, reason: &'static str, causes: Vec<String>) -> Self {
        Self {
            path: None,
            route: None,
            entries: Vec::new(),
            drained: Vec::new(),
            end: End::Answered {
                head: head_of(&listener::error_response(status)),
                reason: Some(reason),
                causes,
            },
        }
    }
}

fn drained(route: &Route) -> Vec<String> {
    let backends = route.pipeline.backends();
    let upstreams = backends
        .iter()
        .filter_map(|backend| Some((backend, backend.upstream()?)));
    let drained = upstreams.filter(|(_, upstream)| upstream.is_drained());
    let named = drained.map(|(backend, it)| format!("{} ({})", backend.name, it.url.server()));
    named.collect()
}

fn forwarded(session: &mut Session, ctx: &Context) -> pingora::Result<End> {
    let request = upstream_request::build(session, ctx, ctx.upstream(), Version::HTTP_11)?;
    let places = ctx.route.iter();
    let places = places.map(|route| route.pipeline.credential_locations());
    let auth_request = ctx.auth_request(&session.req_header().headers, None);
    let withheld = places
        .clone()
        .flat_map(|places| places.explain_stripped(ctx.verified, &auth_request));
    let withheld = withheld.collect();
    let stages = ctx.route.iter().flat_map(|route| route.pipeline.stages());
    let tried = stages.filter_map(Stage::shadow).flat_map(Shadow::locations);
    let mut secret: Vec<HeaderName> = vec![
        header::AUTHORIZATION,
        header::PROXY_AUTHORIZATION,
        header::COOKIE,
    ];
    secret.extend(
        places
            .flat_map(CredentialLocations::iter)
            .chain(tried)
            .filter_map(|place| match place {
                CredentialLocation::Header(name) => Some(name.clone()),
                _ => None,
            }),
    );
    let target = String::from_utf8_lossy(request.raw_path());
    let path = target.split('?').next().unwrap_or_default();
    let query = if target.contains('?') { "?[query]" } else { "" };
    let (protocol, version) = ctx.upstream().map_or_else(Default::default, protocol);
    let mut head = vec![format!("{} {path}{query}{version}", request.method)];
    for (name, value) in &request.headers {
        let value = match value.to_str() {
            _ if secret.contains(name) || value.is_sensitive() => "[masked]",
            Ok(value) => value,
            Err(_) => "[not text]",
        };
        head.push(format!("{name}: {value}"));
    }
    let upstream = ctx.backend().map_or_else(String::new, |backend| {
        let server = ctx.upstream().map(|upstream| upstream.url.server());
        let server = server.map_or_else(String::new, |server| format!(" ({server})"));
        let why = match backend.share {
            Share::When(_) => ", whose `when` fits",
            Share::ByWeight | Share::Nothing => "",
        };
        format!("{}{server}{why}", backend.name)
    });
    Ok(End::Forwarded {
        upstream,
        protocol,
        head,
        withheld,
    })
}

/// What is spoken to an upstream, and what that is in a request line; nothing where the upstream
/// decides.
fn protocol(upstream: &Upstream) -> (&'static str, &'static str) {
    match (upstream.url.http_version, upstream.url.tls) {
        (HttpVersion::Http2, true) => ("HTTP/2, by ALPN", " HTTP/2"),
        (HttpVersion::Http2, false) => ("HTTP/2, with prior knowledge (h2c)", " HTTP/2"),
        (HttpVersion::Auto, true) => ("HTTP/2 or HTTP/1.1, by ALPN", ""),
        (HttpVersion::Auto, false) | (HttpVersion::Http1, _) => ("HTTP/1.1", " HTTP/1.1"),
    }
}

/// Steps and limits behind the one that has ended the request.
fn add_not_reached(entries: &mut Vec<Entry>, route: &Route) {
    let is_step = |entry: &&Entry| matches!(entry, Entry::Step { .. });
    let reached = entries.iter().filter(is_step).count();
    let pipeline = &route.pipeline;
    let steps = pipeline.stages().iter().flat_map(Stage::steps);
    entries.extend(steps.skip(reached).map(|name| Entry::Step {
        name: name.clone(),
        outcome: "not reached".to_owned(),
        details: Vec::new(),
    }));
    let here = pipeline.stages().iter().filter_map(|stage| match stage {
        Stage::RateLimits(limits) => Some(limits),
        _ => None,
    });
    let rates = here
        .chain([pipeline.final_rate_limits()])
        .flat_map(RateLimits::names);
    for name in pipeline.concurrency_limits().names().chain(rates) {
        let is_this =
            |entry: &Entry| matches!(entry, Entry::Limit { name: known, .. } if known == name);
        if !entries.iter().any(is_this) {
            entries.push(Entry::Limit {
                name: name.clone(),
                outcome: "not counted".to_owned(),
            });
        }
    }
}

/// Status line and fields of an answer.
fn head_of(answer: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(answer);
    let head = text.split("\r\n\r\n").next().unwrap_or_default();
    head.lines().map(str::to_owned).collect()
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            writeln!(f, "path      {path}")?;
        }
        writeln!(f, "route     {}", self.route.as_deref().unwrap_or("none"))?;
        for entry in &self.entries {
            match entry {
                Entry::Step {
                    name,
                    outcome,
                    details,
                } => {
                    writeln!(f, "step      {name}: {outcome}")?;
                    for detail in details {
                        writeln!(f, "          {detail}")?;
                    }
                }
                Entry::Limit { name, outcome } => writeln!(f, "limit     {name}: {outcome}")?,
            }
        }
        for upstream in &self.drained {
            writeln!(f, "drained   {upstream}: gets no new requests")?;
        }
        let lines = match &self.end {
            End::Answered {
                head,
                reason,
                causes,
            } => {
                let reason = reason.iter().map(|reason| format!(": {reason}"));
                let causes = causes.iter().map(|cause| format!(": {cause}"));
                let why: String = reason.chain(causes).collect();
                writeln!(f, "answered  by the edge itself{why}")?;
                head
            }
            End::Forwarded {
                upstream,
                protocol,
                head,
                withheld,
            } => {
                for credential in withheld {
                    writeln!(f, "withheld  {credential}")?;
                }
                writeln!(f, "protocol  {protocol}")?;
                writeln!(f, "forwarded to {upstream}, which decides on the status")?;
                head
            }
        };
        for line in lines {
            writeln!(f, "          {line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
