//! How many files the process may have open. A connection is one, so the system's limit decides
//! whether the listeners' limits can be met.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is kept for everything but connections of clients: upstreams (two for each connection), key
/// sets, logs, listeners.
const RESERVE: u64 = 1_000;

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

/// Makes the listeners' limits as much smaller as it takes to keep to that of the process.
pub(super) fn fit(mut limits: Vec<usize>, open_files: Option<u64>) -> Vec<usize> {
    let Some(open_files) = open_files else {
        return limits;
    };
    // Of a very low limit, half.
    let room = open_files.saturating_sub(RESERVE).max(open_files / 2);
    let wanted: u64 = limits.iter().map(|limit| *limit as u64).sum();
    if wanted <= room {
        return limits;
    }
    for limit in &mut limits {
        let share = u128::from(room) * (*limit as u128) / u128::from(wanted);
        *limit = usize::try_from(share).unwrap_or(*limit).max(1);
    }
    log::warn!(
        "the process may have {open_files} files open, too few for the {wanted} connections that the networks take: they take {} in all; raise the limit \
         (LimitNOFILE=, ulimit -n) above {}, or lower max_connections",
        limits.iter().sum::<usize>(),
        wanted + RESERVE
    );
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_fit_into_that_of_the_process() {
        assert_eq!(fit(vec![10_000, 1_000], None), [10_000, 1_000]);
        assert_eq!(fit(vec![10_000, 1_000], Some(12_000)), [10_000, 1_000]);
        assert_eq!(fit(vec![10_000, 1_000], Some(6_500)), [5_000, 500]);
        assert_eq!(fit(vec![10_000, 1_000], Some(1_100)), [500, 50]);
        assert_eq!(fit(vec![10_000, 1], Some(4)), [1, 1]);
    }
}
