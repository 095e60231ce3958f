//! One attempt to have a request answered by one upstream: how far it has come, and until when what
//! it waits for has to come.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Version;
use pingora::{Error, ErrorSource, ErrorType};

use super::deadline::Deadline;
use super::pool::Acquired;
use crate::gateway::{PeerAddress, Upstream};
use crate::proxy::request::context::Context;

/// What belongs to one attempt, from the moment it has a connection.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) upstream: Arc<Upstream>,
    pub(super) address: PeerAddress,
    deadline: Arc<Deadline>,
    /// The HTTP version of the connection.
    pub(super) version: Version,
    /// Whether its connection has served another request before.
    pub(super) reused: bool,
    /// Whether the exchange was ended because somebody took too long.
    overdue: bool,
    /// When the whole exchange must be over.
    total_deadline: Option<Instant>,
    /// Bytes of request body that were passed on, and how many there may be.
    body_bytes: u64,
    max_body_size: u64,
    /// Whether the upstream has taken the whole request.
    request_sent: bool,
    /// Whether the upstream has to take something before more is read of the request.
    upstream_blocked: bool,
    /// When the head of the response arrived.
    head_arrived: Option<Instant>,
    /// Whether the response has arrived as a whole: nothing can be the upstream's fault any more.
    response_complete: bool,
    /// Interim responses that have come from the upstream.
    interim_responses: u8,
}

impl Attempt {
    /// Begins an attempt on a connection.
    pub(super) fn begin(
        upstream: Arc<Upstream>,
        connection: &Acquired,
        without_body: bool,
        ctx: &Context,
    ) -> Self {
        let total = upstream.settings.total_timeout;
        let attempt = Self {
            total_deadline: ctx.total_deadline(total),
            upstream,
            address: connection.address().clone(),
            deadline: connection.deadline().clone(),
            reused: connection.reused(),
            version: connection.version(),
            overdue: false,
            body_bytes: 0,
            max_body_size: ctx
                .route
                .as_ref()
                .map_or(0, |route| route.endpoint.max_body_size),
            request_sent: false,
            upstream_blocked: false,
            head_arrived: None,
            response_complete: false,
            interim_responses: 0,
        };
        attempt.deadline.begin(attempt.total_deadline);
        if !without_body {
            attempt.await_body();
        }
        attempt
    }

    pub(super) fn deadline(&self) -> &Arc<Deadline> {
        &self.deadline
    }

    /// A part of the body goes to the upstream. An error: it is one too many.
    pub(super) fn count_body(&mut self, bytes: usize) -> pingora::Result<u64> {
        self.body_bytes += bytes as u64;
        if self.body_bytes > self.max_body_size {
            return Error::e_explain(
                ErrorType::HTTPStatus(413),
                "request body over max_body_size",
            );
        }
        Ok(self.body_bytes)
    }

    /// Another interim response has come; how many there were.
    pub(super) fn count_interim(&mut self) -> u8 {
        self.interim_responses = self.interim_responses.saturating_add(1);
        self.interim_responses
    }

    /// How far the request has come on its way to the upstream.
    pub(super) fn set_request_state(&mut self, sent: bool, upstream_blocked: bool) {
        self.request_sent = sent;
        self.upstream_blocked = upstream_blocked;
    }

    /// The upstream takes no more of the request.
    pub(super) fn mark_send_failed(&mut self) {
        self.upstream_blocked = true;
    }

    /// The head of the response has arrived.
    pub(super) fn mark_head_arrived(&mut self) {
        self.head_arrived = Some(Instant::now());
    }

    /// Whether the head of the response has arrived.
    pub(super) fn head_has_arrived(&self) -> bool {
        self.head_arrived.is_some()
    }

    /// When it did.
    pub(super) fn head_arrived(&self) -> Option<Instant> {
        self.head_arrived
    }

    /// The response has arrived as a whole.
    pub(super) fn mark_response_complete(&mut self) {
        self.set_deadline(None);
        self.response_complete = true;
    }

    /// Sets the time for what is awaited now.
    pub(super) fn await_next(&self) {
        let settings = &self.upstream.settings;
        if self.head_has_arrived() || self.upstream_blocked {
            self.await_for(settings.read_timeout);
        } else if self.request_sent {
            self.await_for(settings.head_timeout);
        } else {
            self.await_body();
        }
    }

    /// The next bytes of the body are the client's to send. A second more than the upstream may
    /// take for them, which is another's fault.
    fn await_body(&self) {
        self.await_for(self.upstream.settings.read_timeout + Duration::from_secs(1));
    }

    fn await_for(&self, time: Duration) {
        let due = Instant::now().checked_add(time);
        self.set_deadline([due, self.total_deadline].into_iter().flatten().min());
    }

    fn set_deadline(&self, due: Option<Instant>) {
        if !self.response_complete {
            self.deadline.set(due);
        }
    }

    /// A part of the response is being written to the client: what takes long until
    /// [`Self::resume`] is not the upstream's fault.
    pub(super) fn suspend(&self) {
        if self.response_complete {
            return;
        }
        if self.head_has_arrived() {
            self.set_deadline(self.total_deadline);
        }
        self.deadline.suspend();
    }

    /// The client has taken a part of the response.
    pub(super) fn resume(&self) {
        if self.head_has_arrived() {
            self.await_next();
        } else {
            self.deadline.resume();
        }
    }

    /// Whether the exchange was ended because somebody took too long, before it was complete.
    pub(super) fn is_overdue(&self) -> bool {
        !self.response_complete && self.overdue
    }

    /// The exchange was ended because somebody took too long; its error. Once the response is
    /// complete, that is the client, which has not sent its request whole.
    pub(super) fn mark_overdue(&mut self) -> Box<Error> {
        self.overdue = true;
        let error = Error::explain(ErrorType::ReadTimedout, "overdue");
        match self.response_complete {
            false => error.into_up(),
            true => error.into_down(),
        }
    }

    /// Whether what took too long is the client's body, so that the upstream may have had nothing
    /// to answer yet.
    pub(super) fn body_is_overdue(&self) -> bool {
        let total_is_over = self.total_deadline.is_some_and(|due| Instant::now() >= due);
        self.is_overdue() && !total_is_over && !self.request_sent && !self.upstream_blocked
    }

    /// Whether the next step is the upstream's, before its response has begun.
    pub(super) fn awaits_upstream(&self) -> bool {
        (self.request_sent || self.upstream_blocked) && !self.head_has_arrived()
    }

    /// What the upstream took too long with.
    pub(super) fn overdue_step(&self) -> &'static str {
        if self.head_has_arrived() {
            "the response stalled, or took too long as a whole"
        } else if self.upstream_blocked {
            "request not accepted in time"
        } else {
            "no response in time"
        }
    }

    /// Whether it was the upstream that broke the exchange off, and not a time-out or the client.
    pub(super) fn is_fault_of_upstream(&self, error: &Error) -> bool {
        *error.esource() == ErrorSource::Upstream && !self.is_overdue()
    }
}
