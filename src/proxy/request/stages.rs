//! The steps of a pipeline, as a request passes them.

use std::pin::pin;
use std::time::Instant;

use http::Method;
use pingora_proxy::Session;

use super::client_url::ClientUrl;
use super::context::Context;
use super::rejection::Rejection;
use super::{header_rules, shadow};
use crate::auth::{Admission, Chain, RequestTarget, Trace};
use crate::gateway::{Live, Route, Stage};
use crate::policy::{Denial, DeniedBy, Finding, RateLimits, RequestOrigin};

/// Whether a request passes the steps of its pipeline. A preflight has passed with the step that
/// answers it.
pub(super) async fn run(
    live: &Live,
    session: &mut Session,
    ctx: &mut Context,
    route: &Route,
    trace: &mut Trace,
) -> Result<(), Rejection> {
    for stage in route.pipeline.stages() {
        match stage {
            Stage::Authenticate(chain) => {
                let found = pin!(authenticate(session, ctx, chain, trace)).await?;
                ctx.admitted.extend(found.admitted);
                ctx.verified.add(found.verified);
                ctx.dpop_nonce = ctx.dpop_nonce.take().or(found.nonce);
            }
            Stage::Policies(rules) => {
                let facts = ctx.facts(session.req_header(), route);
                let noted = |finding: Finding<'_>| trace.detail(|| finding.to_string());
                let decided = rules.decide(&facts, noted);
                let allows = |rule| format!("rule {rule:?} allows");
                trace.step(rules.step(), || describe_decision(&decided, allows));
                decided.map_err(Denial::from)?;
            }
            Stage::PathFilter(filter) => {
                let decided = filter.decide(&ctx.facts(session.req_header(), route));
                let allows = |pattern| format!("pattern {pattern:?} allows");
                trace.step(filter.step(), || describe_decision(&decided, allows));
                decided.map_err(Denial::from)?;
            }
            Stage::LogDump(dump) => {
                dump.log(&ctx.facts(session.req_header(), route));
                trace.step(dump.step(), || "written to the log".to_owned());
            }
            Stage::Cors(cors) => {
                let origin = cors.classify_origin(&session.req_header().headers);
                trace.step(cors.step(), || describe_origin(origin).to_owned());
                if ctx.preflight {
                    return match origin {
                        RequestOrigin::Allowed => Ok(()),
                        _ => Err(Rejection::origin_not_allowed()),
                    };
                }
            }
            Stage::Headers(step, rules) => trace.step(step, || header_rules::describe(rules)),
            Stage::Shadow(shadow) => {
                pin!(shadow::try_out(live, session, ctx, route, shadow, trace)).await;
            }
            Stage::RateLimits(limits) => pin!(count(live, limits, ctx, trace)).await?,
        }
    }
    Ok(())
}

/// Counts a request, unless it is only explained.
pub(super) async fn count(
    live: &Live,
    limits: &RateLimits,
    ctx: &mut Context,
    trace: &mut Trace,
) -> Result<(), Denial> {
    if limits.is_empty() {
        return Ok(());
    }
    // A password may have been hashed since the request began.
    let (limiters, requester, now) = (live.limiters(), ctx.requester(), Instant::now());
    let (fields, found) = if trace.is_explain() {
        limits.peek(limiters, &requester, now, trace)
    } else {
        match limits.try_take(limiters, &requester, now) {
            Some(verdict) => verdict,
            None => Box::pin(limits.take_shared(limiters, &requester)).await,
        }
    };
    if let Some(fields) = fields {
        ctx.rate_limit_fields = Some(fields.after(ctx.rate_limit_fields.take()));
    }
    found
}

fn describe_origin(origin: RequestOrigin) -> &'static str {
    match origin {
        RequestOrigin::Absent => "no page of another origin has sent it",
        RequestOrigin::Allowed => "pages of this origin may read the answer",
        RequestOrigin::NotAllowed => "no page of this origin may read the answer",
    }
}

/// What a step that looks at no credential has decided, in words.
fn describe_decision<'d, T: Copy>(
    decided: &Result<T, DeniedBy<'d>>,
    allows: impl FnOnce(T) -> String,
) -> String {
    match decided {
        Ok(by) => allows(*by),
        Err(denied) => denied.to_string(),
    }
}

/// Who the request is from. While a password waits to be hashed, the client is watched: once it is
/// gone, the work is withdrawn. (With a body on its way there is no telling.)
async fn authenticate(
    session: &mut Session,
    ctx: &Context,
    chain: &Chain,
    trace: &mut Trace,
) -> Result<Admission, Rejection> {
    let request = session.req_header();
    let url = ClientUrl {
        ctx,
        headers: &request.headers,
    };
    let auth_request = ctx.auth_request(&request.headers, Some(target(&request.method, &url)));
    if !chain.may_wait(&auth_request) {
        return Ok(chain.admit(&auth_request, trace).await?);
    }
    let (method, headers) = (request.method.clone(), request.headers.clone());
    let url = ClientUrl {
        ctx,
        headers: &headers,
    };
    let auth_request = ctx.auth_request(&headers, Some(target(&method, &url)));
    let admitted = chain.admit(&auth_request, trace);
    if !session.is_body_empty() {
        return Ok(admitted.await?);
    }
    session.set_abort_on_close(true);
    let admission = tokio::select! {
        biased;
        admission = admitted => Ok(admission?),
        _ = session.read_body_or_idle(true) => Err(Rejection::client_gone()),
    };
    session.set_abort_on_close(false);
    admission
}

/// What a proof has to be for.
fn target<'a>(method: &'a Method, url: &'a ClientUrl<'_>) -> RequestTarget<'a> {
    RequestTarget {
        method,
        url,
        proof: &url.ctx.proof,
    }
}
