//! Which upstream of the pipeline a request goes to, and which ones have failed it.

use std::time::Instant;

use http::{HeaderMap, Version};

use super::context::Context;
use crate::balance::{HashKey, Pick};
use crate::gateway::{Backend, PeerAddress, Upstream};

/// The upstream that was selected last, and those before it.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    /// `None`: the request was not admitted, or is over.
    pub(crate) pick: Option<Pick>,
    /// The address that the last attempt went to.
    pub(crate) address: Option<PeerAddress>,
    /// The version of HTTP that was spoken there; `None`: there was no connection.
    pub(crate) protocol: Option<Version>,
    /// How many attempts have had an upstream with an address.
    pub(crate) attempts: u32,
    /// When the head of a response came.
    pub(crate) head_arrived: Option<Instant>,
    /// The upstreams that failed, by their numbers in the pool, one for each failed attempt.
    tried: Vec<usize>,
    needs_new_upstream: bool,
}

impl Selection {
    pub(crate) fn failed_attempts(&self) -> usize {
        self.tried.len()
    }

    /// Whether the selected upstream has failed this request.
    pub(crate) fn needs_new_upstream(&self) -> bool {
        self.needs_new_upstream
    }
}

impl Context {
    /// Selects the upstream of the first attempt, or of the one after [`Self::abandon_attempt`].
    /// `headers` are the client's.
    pub(crate) fn select_upstream(&mut self, headers: &HeaderMap) {
        let Some(route) = &self.route else { return };
        let pipeline = &route.pipeline;
        let header = pipeline.consistent_header();
        let key = match (header.and_then(|name| headers.get(name)), self.client) {
            (Some(value), _) => HashKey::Bytes(value.as_bytes()),
            (None, Some(client)) => HashKey::Address(client),
            (None, None) => HashKey::Nothing,
        };
        let selection = &mut self.selection;
        // The attempt that failed is no longer in flight.
        selection.pick = None;
        selection.needs_new_upstream = false;
        selection.pick = if selection.tried.is_empty() {
            pipeline.choose(key, headers)
        } else {
            pipeline.choose_again(key, headers, &selection.tried)
        };
    }

    /// Selects an upstream of the pipeline that `fits`, if there is one that takes the request.
    pub(crate) fn select_fitting(&mut self, headers: &HeaderMap, fits: impl Fn(&Upstream) -> bool) {
        let fits = |backend: &Backend| backend.upstream().is_some_and(|it| fits(it));
        let route = self.route.as_ref();
        if let Some(pick) = route.and_then(|route| route.pipeline.choose_matching(headers, fits)) {
            self.selection.pick = Some(pick);
        }
    }

    /// The next attempt, if there is one, goes to another upstream.
    pub(crate) fn abandon_attempt(&mut self) {
        let selection = &mut self.selection;
        selection
            .tried
            .extend(selection.pick.as_ref().map(Pick::index));
        selection.needs_new_upstream = true;
    }

    /// Counts a failure of the selected upstream against its health.
    pub(crate) fn record_failure(&self, why: &str) {
        if let (Some(route), Some(pick)) = (&self.route, &self.selection.pick) {
            pick.failed(why, route.pipeline.has_other(pick));
        }
    }

    /// Counts a success for the health of the selected upstream.
    pub(crate) fn record_success(&self) {
        if let Some(pick) = &self.selection.pick {
            pick.succeeded();
        }
    }

    /// Whether another upstream is left, once `failed` attempts have failed.
    pub(crate) fn has_untried_upstream(&self, failed: usize) -> bool {
        let selection = &self.selection;
        let selected = selection.pick.as_ref().map(Pick::index);
        let tried = selection.tried.iter().copied().chain(selected);
        let route = self.route.as_ref();
        route.is_some_and(|route| failed < route.pipeline.count_candidates(tried))
    }

    /// The backend of the selected upstream.
    pub(crate) fn backend(&self) -> Option<&Backend> {
        let pipeline = &self.route.as_ref()?.pipeline;
        pipeline.backend(self.selection.pick.as_ref()?)
    }

    /// The selected upstream; `None`: the backend is no HTTP server.
    pub(crate) fn upstream(&self) -> Option<&Upstream> {
        self.backend()?.upstream().map(|upstream| &**upstream)
    }
}
