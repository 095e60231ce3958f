//! One open stream: the credentials that let its request in, and whether they still would.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context as Waking, Poll, Waker};

use http::HeaderValue;
use jose::clock::{self, UnixTime};
use pingora::http::RequestHeader;
use zeroize::Zeroizing;

use super::ResponseKind;
use crate::auth::{Identity, Member, RecheckOutcome, RequestSource, Revocations};
use crate::gateway::{Gateway, Pipeline, Route};
use crate::listener::Connection;
use crate::proxy::request::context::Context;
use crate::telemetry::PipelineMetrics;

/// When to retry a re-check for which no step of the current configuration was result.
const RETRY_WITHOUT_STEP_SECS: f64 = 1.0;

/// Why a stream is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndCause {
    /// The credential has expired.
    Expired,
    /// It was revoked.
    Revoked,
    /// No step of the configuration in service takes it any more.
    Removed,
    /// Its issuer says that it is not active.
    Inactive,
}

impl EndCause {
    /// The label of a metric.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Removed => "removed",
            Self::Inactive => "inactive",
        }
    }
}

/// A stream, and the credentials that let its request in: it ends with the first of them.
pub(super) struct AuthenticatedStream {
    pub(super) id: u64,
    /// Where its request came in.
    route: Arc<Route>,
    local: Option<SocketAddr>,
    connection: Option<Arc<Connection>>,
    client: Option<IpAddr>,
    request_id: Option<HeaderValue>,
    credentials: Mutex<Vec<StreamCredential>>,
    /// How often it was checked. Counted while the credentials are locked.
    checks: AtomicU64,
    ended: OnceLock<EndCause>,
    /// The task that forwards the stream.
    waker: Mutex<Option<Waker>>,
}

struct StreamCredential {
    /// The number of the step that let it in.
    admitted_by: usize,
    /// The step that takes it now.
    step: Arc<str>,
    identity: Identity,
    /// What its issuer is asked about again.
    token: Option<Zeroizing<Vec<u8>>>,
    /// When it is asked next; `None`: never, or it is being asked.
    next_check: Option<UnixTime>,
}

/// A credential whose issuer is to be asked about it now, by its index.
pub(super) struct Recheck(usize);

/// The result of a check of a stream that goes on.
#[derive(Default)]
pub(super) struct CheckResult {
    /// The number of the check: the result of a later one overrides it.
    pub(super) number: u64,
    /// When to check again; `None`: not before something changes.
    pub(super) due: Option<UnixTime>,
    pub(super) rechecks: Vec<Recheck>,
}

impl AuthenticatedStream {
    /// `None`: no credential of the request's ends such a response.
    pub(super) fn new(
        id: u64,
        kind: ResponseKind,
        request: &RequestHeader,
        ctx: &Context,
    ) -> Option<Self> {
        let route = ctx.route.as_ref()?;
        let presented = ctx.auth_request(&request.headers, None);
        let credentials = ctx.admitted.iter().filter_map(|admitted| {
            let step = route.pipeline.auth_step(admitted.step)?;
            let ends = step.ends_streams && (kind == ResponseKind::Stream || step.ends_downloads);
            let token = step.token_to_recheck(&presented);
            ends.then(|| StreamCredential {
                admitted_by: admitted.step,
                step: step.name.clone(),
                identity: admitted.identity.clone(),
                next_check: token.as_ref().and_then(|token| step.next_check_of(token)),
                token,
            })
        });
        let credentials: Vec<_> = credentials.collect();
        (!credentials.is_empty()).then(|| Self {
            id,
            route: route.clone(),
            local: ctx.connection.local,
            connection: ctx
                .connection
                .certificate
                .as_ref()
                .map(|(connection, _)| connection.clone()),
            client: ctx.client,
            request_id: ctx.request_id.clone(),
            credentials: Mutex::new(credentials),
            checks: AtomicU64::new(0),
            ended: OnceLock::new(),
            waker: Mutex::default(),
        })
    }

    /// Whether it may go on. `gateway`: the one in service, if it is another one than before.
    pub(super) fn check(
        &self,
        now: UnixTime,
        revocations: &Revocations,
        gateway: Option<&Gateway>,
    ) -> Result<CheckResult, EndCause> {
        let mut credentials = self.credentials();
        let mut result = CheckResult {
            number: self.checks.fetch_add(1, Ordering::Relaxed) + 1,
            ..CheckResult::default()
        };
        for (index, credential) in credentials.iter_mut().enumerate() {
            if let Some(gateway) = gateway
                && !credential.has_expired(now)
            {
                if self.is_open_in(gateway) {
                    credential.next_check = None;
                } else {
                    let accepted = self.accepting(credential, gateway, now);
                    let (step, identity) = accepted.ok_or(EndCause::Removed)?;
                    credential.pass_to(step, identity);
                }
            }
            if credential.has_expired(now) {
                return Err(EndCause::Expired);
            }
            if revocations.is_revoked(&credential.identity) {
                return Err(EndCause::Revoked);
            }
            if credential.next_check.take_if(|at| *at <= now).is_some() {
                result.rechecks.push(Recheck(index));
            }
            let dues = [
                result.due,
                credential.identity.valid_until(),
                credential.next_check,
            ];
            result.due = dues.into_iter().flatten().min_by(f64::total_cmp);
        }
        Ok(result)
    }

    /// The step of the configuration in service that takes a credential, and the identity that it
    /// makes of it; `None`: no step takes it any more. The step of the name of the one that took
    /// it comes before all others, and a token is sent only to the issuer of a step that looks
    /// where it stood. Where its pipeline has gone, that step may serve another one.
    fn accepting<'g>(
        &self,
        credential: &StreamCredential,
        gateway: &'g Gateway,
        now: UnixTime,
    ) -> Option<(&'g Member, Identity)> {
        let certificate = self.connection.as_ref().and_then(|connection| {
            let auth = gateway.tls(self.local?)?.client_auth.as_ref()?;
            Some(auth.present(connection.client_certificate()?))
        });
        let is_named = |member: &&Member| member.name == credential.step;
        let admitted_by = self.route.pipeline.auth_step(credential.admitted_by);
        let sees = |member: &Member| {
            admitted_by.is_some_and(|admitted_by| member.reads_same_location(admitted_by))
        };
        let accepted_by = |member: &'g Member| {
            if credential.token.is_some() && member.name != credential.step && !sees(member) {
                return None;
            }
            let current = member.still_accepts(&credential.identity, certificate, now)?;
            Some((member, current))
        };
        match self.pipeline_of(gateway) {
            Some(pipeline) => (pipeline.auth_steps().filter(is_named))
                .chain(pipeline.auth_steps())
                .find_map(accepted_by),
            None => (gateway
                .pipelines()
                .iter()
                .flat_map(|pipeline| pipeline.auth_steps()))
            .filter(is_named)
            .find_map(accepted_by),
        }
    }

    /// Whether its pipeline asks for no credential any more.
    fn is_open_in(&self, gateway: &Gateway) -> bool {
        let pipeline = self.pipeline_of(gateway);
        pipeline.is_some_and(|pipeline| pipeline.auth_steps().next().is_none())
    }

    /// Its pipeline as it is now, by name.
    fn pipeline_of<'g>(&self, gateway: &'g Gateway) -> Option<&'g Arc<Pipeline>> {
        let name = &self.route.pipeline.name;
        let mut pipelines = gateway.pipelines().iter();
        pipelines.find(|pipeline| pipeline.name == *name)
    }

    /// Asks the issuer of a token about it again, by the step that takes it now. Without an answer,
    /// it lives on as long as it said before; without that, an answer counts no longer than it does
    /// for any other request.
    pub(super) async fn recheck(&self, Recheck(index): Recheck, gateway: &Gateway) {
        let (step, token) = {
            let (mut credentials, now) = (self.credentials(), clock::now());
            let Some(credential) = credentials.get_mut(index) else {
                return;
            };
            match (
                self.accepting(credential, gateway, now),
                credential.token.clone(),
            ) {
                (Some((step, _)), Some(token)) => (step, token),
                (None, Some(_)) if !self.is_open_in(gateway) => {
                    // The stream has not been checked since the last reload.
                    credential.next_check = Some(now + RETRY_WITHOUT_STEP_SECS);
                    return;
                }
                _ => return,
            }
        };
        let source = RequestSource {
            client: self.client,
            request_id: self.request_id.as_ref(),
        };
        let answer = step.reintrospect(&token, source).await;
        let mut credentials = self.credentials();
        // Meanwhile a reload may have given it to another step, which asks for itself.
        let still_its =
            |credential: &&mut StreamCredential| Arc::ptr_eq(&credential.step, &step.name);
        let Some(credential) = credentials.get_mut(index).filter(still_its) else {
            return;
        };
        match answer {
            RecheckOutcome::Active {
                identity,
                next_check,
            } => {
                credential.identity = identity;
                credential.next_check = Some(next_check);
            }
            RecheckOutcome::Failed { next_check }
                if credential.identity.valid_until().is_some() =>
            {
                credential.next_check = Some(next_check);
            }
            // Nobody is asked about its tokens any more.
            RecheckOutcome::NotIntrospected => {}
            RecheckOutcome::Failed { .. } | RecheckOutcome::Refused => {
                drop(credentials);
                self.end(EndCause::Inactive);
            }
        }
    }

    /// Ends it, and wakes the task that forwards it.
    pub(super) fn end(&self, cause: EndCause) {
        if self.ended.set(cause).is_ok() {
            self.metrics().count_ended_stream(cause.as_str());
            if let Some(waker) = self.waker().take() {
                waker.wake();
            }
        }
    }

    pub(super) fn poll_ended(&self, waking: &mut Waking<'_>) -> Poll<EndCause> {
        if self.ended.get().is_none() {
            let mut waker = self.waker();
            match &*waker {
                Some(known) if known.will_wake(waking.waker()) => {}
                _ => *waker = Some(waking.waker().clone()),
            }
        }
        // Only now: it may have ended meanwhile.
        match self.ended.get() {
            Some(cause) => Poll::Ready(*cause),
            None => Poll::Pending,
        }
    }

    /// Those of its pipeline.
    pub(super) fn metrics(&self) -> &PipelineMetrics {
        &self.route.pipeline.metrics
    }

    fn credentials(&self) -> MutexGuard<'_, Vec<StreamCredential>> {
        self.credentials
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StreamCredential {
    /// A step of the configuration in service has it from now on. A reload delays no re-check.
    fn pass_to(&mut self, step: &Member, identity: Identity) {
        let token = self.token.as_deref();
        let due = token.and_then(|token| step.next_check_of(token));
        self.next_check = due.map(|due| self.next_check.map_or(due, |at| at.min(due)));
        self.step = step.name.clone();
        self.identity = identity;
    }

    fn has_expired(&self, now: UnixTime) -> bool {
        let until = self.identity.valid_until();
        until.is_some_and(|until| until <= now)
    }
}
