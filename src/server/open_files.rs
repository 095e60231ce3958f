//! How many files the process may have open. A connection is one, be it a client's or to an
//! upstream, so the system's limit decides whether the limits of connections can be met.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is kept for everything but connections of clients and to upstreams: those that are accepted
/// to be refused, health checks, key sets, logs, listeners.
const RESERVE: u64 = 500;

/// Raises the limit as far as the system lets us. The one that holds; `None`: there is none.
pub(super) fn raise() -> Option<u64> {
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

/// Connections to upstreams that there may be where the configuration names no number.
const UPSTREAMS: usize = 15_000;

/// How many connections there may be at a time, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Of clients, by network.
    pub(super) networks: Vec<usize>,
    /// To upstreams, in all; `None`: as many as there is room for, up to 15,000.
    pub(super) upstreams: Option<usize>,
}

/// How many connections there may be at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Limits {
    /// Of clients, by network.
    pub(super) networks: Vec<usize>,
    /// To upstreams, in all.
    pub(super) upstreams: usize,
}

impl Wanted {
    /// Made as much smaller as it takes to keep to the limit of open files: however many connections
    /// there are, one more can be accepted. Warns where what is configured cannot be met.
    pub(super) fn within(self, open_files: Option<u64>) -> Limits {
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
                 {}, and there are {} to upstreams; raise the limit (LimitNOFILE=, ulimit -n) above \
                 {}, or lower max_connections of the networks and max_upstream_connections",
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
