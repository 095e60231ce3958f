//! How many files the process may have open. A connection is one, be it a client's or to an
//! upstream, so the system's limit decides whether the limits of connections can be met.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;
use crate::gateway::Live;
use crate::listener::ConnectionLimiters;
use crate::proxy::UpstreamPool;

/// What is kept for everything but connections of clients and to upstreams: those that are accepted
/// to be refused, health checks, key sets, logs, listeners.
const RESERVE: u64 = 500;

/// Connections to a listener, unless it says otherwise; to the management network.
const LIMIT: usize = 10_000;
const MANAGEMENT_LIMIT: usize = 1_000;
/// Connections to upstreams, in all, where the configuration names no number.
const UPSTREAMS: usize = 15_000;

/// Holds the connections of clients and those to upstreams, which share the descriptors, to their
/// limits.
pub(super) struct ConnectionLimits {
    /// File descriptors that the process may have.
    open_files: Option<u64>,
    wanted: Wanted,
    limits: Limits,
}

impl ConnectionLimits {
    /// Those of a process that starts.
    pub(super) fn new(config: &Config) -> Self {
        let (open_files, wanted) = (raise(), Wanted::of(config));
        Self {
            open_files,
            limits: wanted.clone().within(open_files),
            wanted,
        }
    }

    /// Connections of clients, by network.
    pub(super) fn networks(&self) -> &[usize] {
        &self.limits.networks
    }

    pub(super) fn upstreams(&self) -> usize {
        self.limits.upstreams
    }

    /// Sets them after every reload, for as long as the process lives.
    pub(super) async fn run(
        &self,
        live: &Live,
        limiters: &ConnectionLimiters,
        upstreams: &UpstreamPool,
    ) {
        let mut generations = live.changes();
        let (mut wanted, mut limits) = (self.wanted.clone(), self.limits.clone());
        loop {
            let config = live.config();
            let now = Wanted::of(&config);
            // What is wanted as before fits as before, and was told of.
            if now != wanted {
                limits = now.clone().within(self.open_files);
                wanted = now;
            }
            limiters.set_limits(&config.networks, &limits.networks);
            upstreams.set_limit(limits.upstreams);
            if generations.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Raises the limit as far as the system lets us. The one that holds; `None`: there is none.
fn raise() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if wanted.current != limit.current {
        match setrlimit(Resource::Nofile, wanted) {
            Ok(()) => return wanted.current,
            Err(error) => log::warn!("the limit of open files cannot be raised: {error}"),
        }
    }
    limit.current
}

/// How many connections there may be at a time, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    /// Of clients, by network.
    networks: Vec<usize>,
    /// To upstreams, in all; `None`: as many as there is room for, up to 15,000.
    upstreams: Option<usize>,
}

/// How many connections there may be at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Limits {
    /// Of clients, by network.
    networks: Vec<usize>,
    upstreams: usize,
}

impl Wanted {
    fn of(config: &Config) -> Self {
        let management = config.management.as_ref().map(|settings| &settings.network);
        let networks = config.networks.iter().map(|network| {
            let of_management = management == Some(&network.name);
            let default = if of_management {
                MANAGEMENT_LIMIT
            } else {
                LIMIT
            };
            network.max_connections.unwrap_or(default)
        });
        Self {
            networks: networks.collect(),
            upstreams: config.max_upstream_connections,
        }
    }

    /// Made as much smaller as it takes to keep to the limit of open files: however many
    /// connections there are, one more can be accepted. Warns where what is configured cannot be
    /// met.
    fn within(self, open_files: Option<u64>) -> Limits {
        let mut limits = Limits {
            networks: self.networks,
            upstreams: self.upstreams.unwrap_or(UPSTREAMS),
        };
        let Some(open_files) = open_files else {
            return limits;
        };
        // Of a very low limit, a quarter.
        let room = open_files - RESERVE.min(open_files / 4);
        let clients: u64 = limits.networks.iter().map(|limit| *limit as u64).sum();
        let upstreams = limits.upstreams as u64;
        if clients + upstreams <= room {
            return limits;
        }
        // A third of it for upstreams, and what the clients do not need.
        let for_upstreams = upstreams.min((room / 3).max(room.saturating_sub(clients)));
        let for_clients = room - for_upstreams;
        limits.upstreams = usize::try_from(for_upstreams.max(1)).unwrap_or(limits.upstreams);
        if for_clients < clients {
            share_out(&mut limits.networks, for_clients);
        }
        if for_clients < clients || self.upstreams.is_some() {
            log::warn!(
                "the process may have {open_files} files open, too few for the {clients} \
                 connections that the networks take and the {upstreams} to upstreams: they take \
                 {}, and there are {} to upstreams; raise the limit (LimitNOFILE=, ulimit -n) \
                 above {}, or lower max_connections of the networks and max_upstream_connections",
                limits.networks.iter().sum::<usize>(),
                limits.upstreams,
                clients + upstreams + RESERVE
            );
        }
        limits
    }
}

/// Shares room out among networks: one that wants no more than an equal share gets it, and what is
/// left goes to the others in proportion to what they want.
fn share_out(networks: &mut [usize], room: u64) {
    let mut by_size: Vec<&mut usize> = networks.iter_mut().collect();
    by_size.sort_unstable();
    let mut room = room as usize;
    let count = by_size.len();
    let modest = by_size
        .iter()
        .enumerate()
        .take_while(|(place, limit)| {
            let fits = ***limit <= room / (count - place);
            room -= if fits { ***limit } else { 0 };
            fits
        })
        .count();
    let large = &mut by_size[modest..];
    let wanted: u128 = large.iter().map(|limit| **limit as u128).sum();
    for limit in large {
        let share = room as u128 * **limit as u128 / wanted.max(1);
        **limit = usize::try_from(share).unwrap_or(**limit).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(
        networks: &[usize],
        upstreams: Option<usize>,
        open_files: Option<u64>,
    ) -> (Vec<usize>, usize) {
        let networks = networks.to_vec();
        let wanted = Wanted {
            networks,
            upstreams,
        };
        let limits = wanted.within(open_files);
        (limits.networks, limits.upstreams)
    }

    #[test]
    fn limits_fit_into_that_of_the_process() {
        let all = |of_clients: usize, of_management: usize, upstreams: usize| {
            (vec![of_clients, of_management], upstreams)
        };
        let wanted = &[10_000, 1_000];
        assert_eq!(fit(wanted, None, None), all(10_000, 1_000, 15_000));
        assert_eq!(fit(wanted, None, Some(27_000)), all(10_000, 1_000, 15_000));
        assert_eq!(fit(wanted, None, Some(20_000)), all(10_000, 1_000, 8_500));
        assert_eq!(
            fit(wanted, Some(15_000), Some(20_000)),
            all(10_000, 1_000, 8_500)
        );
        assert_eq!(fit(wanted, None, Some(11_500)), all(6_334, 1_000, 3_666));
        assert_eq!(
            fit(wanted, Some(1_000), Some(11_500)),
            all(9_000, 1_000, 1_000)
        );
        assert_eq!(fit(wanted, None, Some(1_024)), all(465, 46, 256));
        assert_eq!(fit(&[10_000, 1], None, Some(4)), all(1, 1, 1));
    }

    #[test]
    fn a_network_that_wants_little_keeps_it() {
        assert_eq!(
            fit(&[2, 10_000, 1_000], None, Some(2_000)),
            (vec![2, 907, 90], 500)
        );
        assert_eq!(fit(&[2, 2], Some(5), Some(100)), (vec![2, 2], 5));
    }
}
