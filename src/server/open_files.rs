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
        let wanted = clients + self.upstreams as u64;
        if wanted <= room {
            return self;
        }
        for limit in self.networks.iter_mut().chain([&mut self.upstreams]) {
            let share = u128::from(room) * (*limit as u128) / u128::from(wanted);
            *limit = usize::try_from(share).unwrap_or(*limit).max(1);
        }
        log::warn!(
            "the process may have {open_files} files open, too few for the {clients} connections that the networks take and the {} to upstreams: they take {}, and there are {} to upstreams; \
             raise the limit (LimitNOFILE=, ulimit -n) above {}, or lower max_connections of the networks and max_upstream_connections",
            wanted - clients,
            self.networks.iter().sum::<usize>(),
            self.upstreams,
            wanted + RESERVE
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
        assert_eq!(fit(wanted, 15_000, Some(13_500)), all(5_000, 500, 7_500));
        assert_eq!(fit(wanted, 15_000, Some(1_024)), all(295, 29, 443));
        assert_eq!(fit(&[10_000, 1], 15_000, Some(4)), all(1, 1, 1));
    }
}
