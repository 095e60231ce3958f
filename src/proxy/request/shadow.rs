//! Trying steps in shadow on a request. A step that has to wait, for a password to be hashed, for
//! the issuer or for its keys, goes on beside the request, which never waits for it.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use pingora::http::RequestHeader;
use pingora_proxy::Session;
use tokio::sync::{Semaphore, oneshot};

use super::context::Context;
use crate::auth::{self, AuthRequest, Chain, Trace};
use crate::gateway::{Live, Route, Shadow, ShadowCheck, ShadowLimit, Stage};
use crate::policy::{ConcurrencyLimits, ConcurrencyPermits, Denial, DeniedBy, RateLimits};
use crate::telemetry::ShadowMetrics;

/// What steps in shadow have made of one request.
#[derive(Debug, Default)]
pub(crate) struct ShadowVerdicts {
    /// `STEP:REASON` for each that would have refused it.
    denials: Vec<String>,
    pending: Vec<Pending>,
    /// Its permits under concurrency limits in shadow, until it has ended.
    concurrency_permits: Vec<ConcurrencyPermits>,
}

/// The reason that a step ends with, once it does; `None`: it lets the request pass.
type Verdict = Option<&'static str>;

/// A step that is still at it.
#[derive(Debug)]
struct Pending {
    step: Arc<str>,
    verdict: oneshot::Receiver<Verdict>,
}

impl ShadowVerdicts {
    /// Counts a request that a step would have refused.
    pub(super) fn denied(&mut self, metrics: &ShadowMetrics, reason: &'static str) {
        metrics.count(reason);
        self.add(&metrics.step, reason);
    }

    fn add(&mut self, step: &str, reason: &str) {
        self.denials.push(format!("{step}:{reason}"));
    }

    /// Whether some step is still at it.
    pub(super) fn is_pending(&mut self) -> bool {
        for mut pending in std::mem::take(&mut self.pending) {
            match pending.verdict.try_recv() {
                Ok(Some(reason)) => self.add(&pending.step, reason),
                Err(oneshot::error::TryRecvError::Empty) => self.pending.push(pending),
                Ok(None) | Err(oneshot::error::TryRecvError::Closed) => {}
            }
        }
        !self.pending.is_empty()
    }

    /// Waits for all of them.
    pub(super) async fn settle(&mut self) {
        for pending in std::mem::take(&mut self.pending) {
            if let Ok(Some(reason)) = pending.verdict.await {
                self.add(&pending.step, reason);
            }
        }
    }

    /// Releases its permits: the request has ended.
    pub(crate) fn release(&mut self) {
        self.concurrency_permits.clear();
    }

    /// As the access log has it; `None`: every step would have let the request pass.
    pub(super) fn to_text(&self) -> Option<String> {
        (!self.denials.is_empty()).then(|| self.denials.join(","))
    }
}

/// Counts a request that passes everything under each limit in shadow.
pub(super) fn count(live: &Live, ctx: &mut Context, route: &Route, trace: &mut Trace) {
    for shadow in route.pipeline.stages().iter().filter_map(Stage::shadow) {
        for limit in &shadow.limits {
            let denial = match limit {
                ShadowLimit::Rate(limits) => take(live, ctx, limits, trace),
                ShadowLimit::Concurrency(limits) => enter(live, ctx, limits, trace),
            };
            if let Some(denial) = denial {
                ctx.shadow.denied(&shadow.metrics, denial.as_str());
            }
        }
    }
}

fn take(live: &Live, ctx: &Context, limits: &RateLimits, trace: &mut Trace) -> Option<Denial> {
    let (limiters, requester, now) = (live.limiters(), ctx.requester(), Instant::now());
    let (_, found) = if trace.is_explain() {
        limits.peek(limiters, &requester, now, trace)
    } else {
        limits.take(limiters, &requester, now)
    };
    found.err()
}

fn enter(
    live: &Live,
    ctx: &mut Context,
    limits: &ConcurrencyLimits,
    trace: &mut Trace,
) -> Option<Denial> {
    match limits.enter_or_peek(live.limiters(), &ctx.requester(), trace) {
        Ok(permits) => ctx.shadow.concurrency_permits.push(permits),
        Err(denial) => return Some(denial),
    }
    None
}

/// Tries a step or rules in shadow.
pub(super) async fn try_out(
    live: &Live,
    session: &mut Session,
    ctx: &mut Context,
    route: &Route,
    shadow: &Shadow,
    trace: &mut Trace,
) {
    let request = session.req_header();
    let denied = match &shadow.check {
        ShadowCheck::Authenticate { chain, .. } if trace.is_explain() => {
            let owned = ctx.to_owned_auth_request(&request.method, &request.headers);
            explain(&owned.auth_request(), chain, shadow, trace).await
        }
        ShadowCheck::Authenticate { chain, background } => {
            return authenticate(ctx, request, chain, background, shadow).await;
        }
        ShadowCheck::Policies(rules) => {
            let facts = ctx.facts(request, route);
            let decided = rules.decide(&facts, |finding| trace.detail(|| finding.to_string()));
            trace_verdict(decided.err(), shadow, trace)
        }
        ShadowCheck::Rules(rules) => {
            let facts = ctx.facts(request, route);
            let denied = rules.denied_by(&facts, |finding| trace.detail(|| finding.to_string()));
            trace_verdict(denied, shadow, trace)
        }
        ShadowCheck::PathFilter(filter) => trace_verdict(
            filter.decide(&ctx.facts(request, route)).err(),
            shadow,
            trace,
        ),
    };
    if let Some(reason) = denied {
        return ctx.shadow.denied(&shadow.metrics, reason);
    }
    for limits in &shadow.attempts {
        if let Some(denial) = take(live, ctx, limits, trace) {
            ctx.shadow.denied(&shadow.metrics, denial.as_str());
        }
    }
}

/// What `explain` says of a step that looks at no credential.
fn trace_verdict(denied: Option<DeniedBy<'_>>, shadow: &Shadow, trace: &mut Trace) -> Verdict {
    trace.step(&shadow.name, || match &denied {
        Some(denied) => format!("in shadow, would refuse: {denied}"),
        None => "in shadow, would let it pass".to_owned(),
    });
    denied.map(|denied| Denial::from(denied).as_str())
}

/// The same of one that does. There is no client that would wait.
async fn explain(
    request: &AuthRequest<'_>,
    chain: &Chain,
    shadow: &Shadow,
    trace: &mut Trace,
) -> Verdict {
    let mut inner = Trace::for_explain();
    let admitted = chain.admit(request, &mut inner).await;
    let (entries, _) = inner.finish();
    let outcome = entries.into_iter().find_map(|entry| match entry {
        auth::Entry::Step { outcome, .. } => Some(outcome),
        auth::Entry::Limit { .. } => None,
    });
    let verdict = match admitted {
        Ok(_) => "would let it pass",
        Err(_) => "would refuse",
    };
    trace.step(&shadow.name, || {
        format!("in shadow, {verdict}: {}", outcome.unwrap_or_default())
    });
    admitted.err().map(|denial| denial.reason().as_str())
}

async fn authenticate(
    ctx: &mut Context,
    request: &RequestHeader,
    chain: &Arc<Chain>,
    background: &Arc<Semaphore>,
    shadow: &Shadow,
) {
    let owned = ctx.to_owned_auth_request(&request.method, &request.headers);
    let chain = chain.clone();
    let mut evaluation: Pin<Box<dyn Future<Output = Verdict> + Send>> = Box::pin(async move {
        let admitted = chain.admit(&owned.auth_request(), &mut Trace::off()).await;
        admitted.err().map(|denial| denial.reason().as_str())
    });
    let first = poll_fn(|context| Poll::Ready(evaluation.as_mut().poll(context))).await;
    match first {
        Poll::Ready(Some(reason)) => ctx.shadow.denied(&shadow.metrics, reason),
        Poll::Ready(None) => {}
        Poll::Pending => {
            let Ok(permit) = background.clone().try_acquire_owned() else {
                let id = ctx.request_id();
                return log::debug!(
                    "request {id}: step {}: too many requests wait to be tried",
                    shadow.name
                );
            };
            let (tell, verdict) = oneshot::channel();
            let metrics = shadow.metrics.clone();
            tokio::spawn(async move {
                let verdict = evaluation.await;
                if let Some(reason) = verdict {
                    metrics.count(reason);
                }
                drop(permit);
                // The request may be gone.
                let _ = tell.send(verdict);
            });
            ctx.shadow.pending.push(Pending {
                step: shadow.metrics.step.clone(),
                verdict,
            });
        }
    }
}
