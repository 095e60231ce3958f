//! What the proxy would make of a request, without a client and without an upstream: the real
//! filters over a stream in memory.

use std::fmt;
use std::net::SocketAddr;

use http::header::{self, HeaderName};
use pingora::http::RequestHeader;
use pingora_proxy::{ProxyHttp, Session};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::Edge;
use crate::auth::{CredentialLocation, StepOutcome};
use crate::gateway::{Route, Stage, Upstream};
use crate::proxy::forward::target;
use crate::proxy::request::context::Context;

/// Enough for any head that is taken, and for any answer of ours.
const STREAM: usize = 256 * 1024;

/// What becomes of a request.
#[derive(Debug)]
pub struct Explanation {
    /// Pipeline, endpoint and prefix; `None`: no route, or the request never got that far.
    pub route: Option<String>,
    /// Each step, in order.
    pub steps: Vec<StepOutcome>,
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
    },
    /// The upstream gets this request and decides.
    Forwarded {
        /// The backend's name and address.
        upstream: String,
        /// Request line and header fields, credentials masked.
        head: Vec<String>,
    },
}

impl Edge {
    /// Explains a request that came in at `local` from `peer`. `head` is a whole HTTP/1.1 request
    /// head.
    pub async fn explain(
        &self,
        head: &[u8],
        local: SocketAddr,
        peer: SocketAddr,
    ) -> pingora::Result<Explanation> {
        let (mut client, server) = duplex(STREAM);
        // The stream is larger than what is written, so this cannot block.
        let _ = client.write_all(&head[..head.len().min(STREAM / 2)]).await;
        let mut session = Session::new_h1(Box::new(server));
        session.read_request().await?;
        let mut ctx = self.new_ctx();
        ctx.local = Some(local);
        ctx.peer = Some(peer);
        ctx.tls = self.live.gateway().tls(local).is_some();
        let answered = self.answers(&mut session, &mut ctx).await?;
        let steps = match &ctx.route {
            Some(route) => outcomes(session.req_header(), &ctx, route).await,
            None => Vec::new(),
        };
        let end = if answered {
            drop(session);
            End::Answered {
                head: read_head(client).await,
                reason: ctx.reason,
            }
        } else {
            forwarded(&mut session, &ctx)?
        };
        Ok(Explanation {
            route: ctx.route.as_ref().map(|route| {
                let endpoint = &route.endpoint;
                format!(
                    "pipeline {}, endpoint {} at {}",
                    route.pipeline.name, endpoint.name, endpoint.path_prefix
                )
            }),
            steps,
            end,
        })
    }
}

fn forwarded(session: &mut Session, ctx: &Context) -> pingora::Result<End> {
    let request = target::request(session, ctx, ctx.upstream())?;
    let places = ctx
        .route
        .iter()
        .flat_map(|route| route.pipeline.credential_places().iter());
    let mut secret: Vec<HeaderName> = vec![
        header::AUTHORIZATION,
        header::PROXY_AUTHORIZATION,
        header::COOKIE,
    ];
    secret.extend(places.filter_map(|place| match place {
        CredentialLocation::Header(name) => Some(name.clone()),
        _ => None,
    }));
    let target = String::from_utf8_lossy(request.raw_path());
    let path = target.split('?').next().unwrap_or_default();
    let query = if target.contains('?') { "?[query]" } else { "" };
    let mut head = vec![format!("{} {path}{query} HTTP/1.1", request.method)];
    for (name, value) in &request.headers {
        let value = match value.to_str() {
            _ if secret.contains(name) => "[masked]",
            Ok(value) => value,
            Err(_) => "[not text]",
        };
        head.push(format!("{name}: {value}"));
    }
    let upstream = ctx
        .backend()
        .map_or_else(String::new, |backend| match ctx.upstream() {
            Some(Upstream { url, .. }) => {
                format!("{} ({}:{})", backend.name, url.host, url.port)
            }
            None => backend.name.to_string(),
        });
    Ok(End::Forwarded { upstream, head })
}

/// How each step ends, asked once more: nothing is counted.
async fn outcomes(request: &RequestHeader, ctx: &Context, route: &Route) -> Vec<StepOutcome> {
    let mut outcomes = Vec::new();
    let mut passes = true;
    for stage in route.pipeline.stages() {
        if !passes {
            outcomes.extend(stage.steps().into_iter().map(StepOutcome::not_reached));
            continue;
        }
        let (step, (goes_on, outcome)) = match stage {
            Stage::Authenticate(chain) => {
                let presented = ctx.presented(&request.headers);
                passes = chain.explain(&presented, &mut outcomes).await;
                continue;
            }
            Stage::Policies(rules) => (rules.step(), rules.explain(&ctx.facts(request, route))),
            Stage::PathFilter(filter) => {
                (filter.step(), filter.explain(&ctx.facts(request, route)))
            }
            Stage::LogDump(dump) => (dump.step(), (true, "written to the log".to_owned())),
        };
        passes = goes_on;
        outcomes.push(StepOutcome {
            step: step.clone(),
            outcome,
        });
    }
    outcomes
}

async fn read_head(mut client: DuplexStream) -> Vec<String> {
    let mut answer = Vec::new();
    // What was written before the other end was dropped is all there is.
    let _ = client.read_to_end(&mut answer).await;
    let text = String::from_utf8_lossy(&answer);
    let head = text.split("\r\n\r\n").next().unwrap_or_default();
    head.lines().map(str::to_owned).collect()
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "route     {}", self.route.as_deref().unwrap_or("none"))?;
        for StepOutcome { step, outcome } in &self.steps {
            writeln!(f, "step      {step}: {outcome}")?;
        }
        let lines = match &self.end {
            End::Answered { head, reason } => {
                writeln!(
                    f,
                    "answered  by the edge itself{}",
                    reason.map_or_else(String::new, |reason| format!(": {reason}"))
                )?;
                head
            }
            End::Forwarded { upstream, head } => {
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
