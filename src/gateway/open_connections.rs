//! Connections to upstreams that are open, by backend. The counts outlive configurations: what a
//! reload finds open still counts.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::common::WeakMap;

/// How often the log hears that a limit is reached.
const REPORT: Duration = Duration::from_secs(10);

/// How many connections are open.
#[derive(Debug, Default)]
pub struct OpenConnections {
    count: AtomicUsize,
    logged: Mutex<Option<Instant>>,
}

impl OpenConnections {
    /// One more; how many there are with it.
    pub fn enter(&self) -> usize {
        self.count.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// One less.
    pub fn leave(&self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether it is time to say again that there are too many.
    pub fn should_log(&self) -> bool {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let may = logged.is_none_or(|logged| logged.elapsed() >= REPORT);
        if may {
            *logged = Some(Instant::now());
        }
        may
    }
}

/// The counts of all backends that are in use.
#[derive(Debug, Default)]
pub(super) struct ConnectionCounts(WeakMap<Arc<str>, OpenConnections>);

impl ConnectionCounts {
    /// The count of a backend: the one that is known, else a new one.
    pub(super) fn of(&self, backend: &Arc<str>) -> Arc<OpenConnections> {
        self.0.get_or_make(backend.clone(), |_| Arc::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_lives_as_long_as_a_connection() {
        let backends = ConnectionCounts::default();
        let (one, other) = (backends.of(&"one".into()), backends.of(&"other".into()));
        assert_eq!((one.enter(), one.enter(), other.enter()), (1, 2, 1));
        // A reload builds the backend anew.
        let again = backends.of(&"one".into());
        one.leave();
        drop((one, other));
        assert_eq!(again.enter(), 2);
        assert_eq!(
            backends.of(&"other".into()).enter(),
            1,
            "nobody had it any more"
        );
    }

    #[test]
    fn the_log_is_not_flooded() {
        let open = OpenConnections::default();
        assert!(open.should_log() && !open.should_log());
    }
}
