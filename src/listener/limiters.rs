//! The limiters of all listeners: which one a connection belongs to, and the sweep that closes what
//! makes no progress.

use std::sync::Arc;
use std::time::Duration;

use pingora::protocols::GetSocketDigest;
use pingora::protocols::l4::stream::Stream as Socket;

use super::client_limits::ClientLimits;
use super::clock::Clock;
use super::limiter::ConnectionLimiter;
use crate::config::Network;
use crate::gateway::Live;

/// Between two sweeps.
const TICK: Duration = Duration::from_millis(250);
/// Between two log lines about connections that were closed.
const REPORT: Duration = Duration::from_secs(10);

/// The limiters of all listeners, and the clock of their connections.
pub struct ConnectionLimiters {
    pub(super) clock: Arc<Clock>,
    all: Vec<Arc<ConnectionLimiter>>,
}

impl ConnectionLimiters {
    /// One for each network, with the number of connections that it may have.
    pub fn new(live: &Live, limits: &[usize]) -> Self {
        let config = live.config();
        let limiters = config.networks.iter().zip(limits).map(|(network, limit)| {
            let metrics = live.metrics().network(&network.name);
            let clients =
                ClientLimits::new(network.min_body_rate, network.max_connections_per_address);
            Arc::new(ConnectionLimiter::new(
                network.bind.clone(),
                *limit,
                clients,
                metrics,
            ))
        });
        Self {
            clock: Arc::default(),
            all: limiters.collect(),
        }
    }

    /// Closes what makes no progress, for as long as the process lives.
    pub async fn run(&self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut reported = (0, self.closed());
        loop {
            tick.tick().await;
            self.clock.update();
            for limiter in &self.all {
                limiter.sweep();
            }
            if u128::from(self.clock.millis().saturating_sub(reported.0)) >= REPORT.as_millis() {
                let closed = self.closed();
                self.report(&reported.1, &closed);
                reported = (self.clock.millis(), closed);
            }
        }
    }

    /// A reload may change how many connections there may be, and what clients are held to.
    pub fn set_limits(&self, networks: &[Network], limits: &[usize]) {
        for (network, limit) in networks.iter().zip(limits) {
            if let Some(limiter) = self.of_network(&network.name) {
                limiter.set_limit(*limit);
                limiter
                    .clients()
                    .set(network.min_body_rate, network.max_connections_per_address);
            }
        }
    }

    fn of_network(&self, name: &str) -> Option<&Arc<ConnectionLimiter>> {
        self.all.iter().find(|limiter| limiter.network() == name)
    }

    /// The limiter of the listener that accepted this socket.
    pub(super) fn of(&self, socket: &Socket) -> Option<&Arc<ConnectionLimiter>> {
        let digest = socket.get_socket_digest();
        let local = digest.as_ref().and_then(|digest| digest.local_addr());
        match local.and_then(|local| local.as_inet()) {
            Some(local) => {
                let mut limiters = self.all.iter();
                let exact = limiters.find(|limiter| limiter.is_bound_to(*local));
                exact.or_else(|| {
                    self.all
                        .iter()
                        .find(|limiter| limiter.is_at_port(local.port()))
                })
            }
            // A Unix socket: only the management network may have one.
            None => self.all.iter().find(|limiter| limiter.is_unix()),
        }
    }

    fn closed(&self) -> Vec<Vec<(&'static str, u64)>> {
        let closed = self.all.iter().map(|limiter| limiter.metrics().closed());
        closed.collect()
    }

    fn report(&self, before: &[Vec<(&'static str, u64)>], after: &[Vec<(&'static str, u64)>]) {
        for (place, limiter) in self.all.iter().enumerate() {
            let (Some(before), Some(after)) = (before.get(place), after.get(place)) else {
                continue;
            };
            let fresh = after.iter().filter_map(|(label, count)| {
                let known = before.iter().find(|(other, _)| other == label);
                let more = count - known.map_or(0, |(_, count)| *count);
                // That is how a quiet connection ends.
                (more > 0 && *label != "idle").then(|| format!("{label} {more}"))
            });
            let fresh: Vec<String> = fresh.collect();
            if !fresh.is_empty() {
                let (network, seconds) = (limiter.network(), REPORT.as_secs());
                log::warn!(
                    "network {network}: connections closed in the last {seconds} s: {}",
                    fresh.join(", ")
                );
            }
        }
    }
}
