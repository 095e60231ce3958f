//! How many connections to upstreams there may be at a time, in all and of one backend: each takes
//! a descriptor, and without a bound one slow backend would take those of everything else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::gateway::{OpenConnections, Upstream};

/// Connections to all upstreams.
#[derive(Debug)]
pub(super) struct Limit {
    open: Arc<OpenConnections>,
    most: AtomicUsize,
}

/// While this lives, a connection counts.
#[derive(Debug)]
pub(crate) struct Permit {
    all: Arc<OpenConnections>,
    backend: Arc<OpenConnections>,
}

/// What is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LimitReached {
    /// The upstream's backend.
    Backend,
    /// The process.
    All,
}

impl Default for Limit {
    fn default() -> Self {
        Self {
            open: Arc::default(),
            most: usize::MAX.into(),
        }
    }
}

impl Limit {
    /// Sets how many there may be in all. Those that are open stay.
    pub(super) fn set(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// Counts one more connection to this upstream, if there may be one.
    pub(super) fn enter(&self, upstream: &Upstream) -> Result<Permit, LimitReached> {
        let permit = Permit {
            backend: upstream.connections.clone(),
            all: self.open.clone(),
        };
        // Both count before either is judged: dropping the permit takes both back.
        let (of_backend, of_all) = (permit.backend.enter(), permit.all.enter());
        if of_backend > self.most_of(upstream) {
            Err(LimitReached::Backend)
        } else if of_all > self.most() {
            Err(LimitReached::All)
        } else {
            Ok(permit)
        }
    }

    /// Whether more than half of what may be open is: to the upstream's backend, or in all.
    pub(super) fn is_over_half_full(&self, upstream: &Upstream) -> bool {
        upstream.connections.count() > self.most_of(upstream) / 2
            || self.open.count() > self.most() / 2
    }

    /// Says that a connection was refused, but not for each one.
    pub(super) fn log_reached(&self, full: LimitReached, upstream: &Upstream) {
        match full {
            LimitReached::Backend if upstream.connections.should_log() => log::warn!(
                "backend {}: all of the {} connections to its upstreams that there may be are in \
                 use: requests that need another one get 503; its max_connections allows more",
                upstream.backend,
                self.most_of(upstream)
            ),
            LimitReached::All if self.open.should_log() => log::warn!(
                "all of the {} connections to upstreams that there may be are in use: requests \
                 that need another one get 503; max_upstream_connections in [proxy] allows more, \
                 and a higher limit of open files (LimitNOFILE=, ulimit -n)",
                self.most()
            ),
            _ => {}
        }
    }

    fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    /// Those of one backend: unless it says otherwise, no single one takes all; one from the cloud,
    /// whatever it says.
    fn most_of(&self, upstream: &Upstream) -> usize {
        let most = self.most();
        let share = most - most / 4;
        let own = upstream.settings.max_connections.unwrap_or(share);
        own.min(if upstream.is_from_cloud() {
            share
        } else {
            most
        })
    }
}

impl Permit {
    /// One that nobody counts.
    #[cfg(test)]
    pub(crate) fn uncounted() -> Self {
        let (all, backend) = (
            Arc::<OpenConnections>::default(),
            Arc::<OpenConnections>::default(),
        );
        all.enter();
        backend.enter();
        Self { all, backend }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.backend.leave();
        self.all.leave();
    }
}
