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

/// How many connections there may be at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Limits {
    /// Of clients, by network.
    pub(super) networks: Vec<usize>,
    /// To upstreams, in all.
    pub(super) upstreams: usize,
}

impl Limits {
    /// Made as much smaller as it takes to keep to the limit of open files: however many connections
    /// there are, one more can be accepted.
    pub(super) fn within(mut self, open_files: Option<u64>) -> Self {
        let Some(open_files) = open_files else {
            return self;
        };
        // Of a very low limit, a quarter.
        let room = open_files - RESERVE.min(open_files / 4);
        let clients: u64 = self.networks.iter().map(|limit| *limit as u64).sum();
        let upstreams = self.upstreams as u64;
        if clients + upstreams <= room {
            return self;
        }
        // Half for each. What one of them does not need is the other's.
        let for_clients = clients.min((room / 2).max(room.saturating_sub(upstreams)));
        for limit in &mut self.networks {
            let share = u128::from(for_clients) * (*limit as u128) / u128::from(clients.max(1));
            *limit = usize::try_from(share).unwrap_or(*limit).max(1);
        }
        let for_upstreams = upstreams.min(room - for_clients).max(1);
        self.upstreams = usize::try_from(for_upstreams).unwrap_or(self.upstreams);
        log::warn!(
            "the process may have {open_files} files open, too few for the {clients} connections that the networks take and the {} to upstreams: they take {}, and there are {} to upstreams; \
             raise the limit (LimitNOFILE=, ulimit -n) above {}, or lower max_connections of the networks and max_upstream_connections",
            upstreams,
            self.networks.iter().sum::<usize>(),
            self.upstreams,
            clients + upstreams + RESERVE
        );
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_fit_into_that_of_the_process() {
        let fit = |networks: &[usize], upstreams, open_files| {
            let networks = networks.to_vec();
            let limits = Limits {
                networks,
                upstreams,
            }
            .within(open_files);
            (limits.networks, limits.upstreams)
        };
        let all = |of_clients: usize, of_management: usize, upstreams: usize| {
            (vec![of_clients, of_management], upstreams)
        };
        let wanted = &[10_000, 1_000];
        assert_eq!(fit(wanted, 15_000, None), all(10_000, 1_000, 15_000));
        assert_eq!(
            fit(wanted, 15_000, Some(27_000)),
            all(10_000, 1_000, 15_000)
        );
        assert_eq!(
            fit(wanted, 15_000, Some(22_500)),
            all(10_000, 1_000, 11_000)
        );
        assert_eq!(fit(wanted, 15_000, Some(11_500)), all(5_000, 500, 5_500));
        assert_eq!(fit(wanted, 1_000, Some(11_500)), all(9_090, 909, 1_000));
        assert_eq!(fit(wanted, 15_000, Some(1_024)), all(349, 34, 384));
        assert_eq!(fit(&[10_000, 1], 15_000, Some(4)), all(1, 1, 2));
    }
}
