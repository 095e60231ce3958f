//! The clock of client connections, which a request reads without a system call.

use std::sync::atomic::{AtomicU64, Ordering};
#[cfg(test)]
use std::time::Duration;
use std::time::Instant;

/// The time as the sweep last read it: as exact as sweeps are frequent, and a single load.
#[derive(Debug)]
pub struct Clock {
    start: Instant,
    millis: AtomicU64,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            millis: AtomicU64::new(0),
        }
    }
}

impl Clock {
    /// Reads the system's monotonic clock.
    pub fn update(&self) {
        let millis = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.millis.store(millis, Ordering::Relaxed);
    }

    /// Lets time pass.
    #[cfg(test)]
    pub fn set(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap();
        self.millis.store(millis, Ordering::Relaxed);
    }

    /// The same, from now on.
    #[cfg(test)]
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).unwrap();
        self.millis.fetch_add(by, Ordering::Relaxed);
    }

    /// Milliseconds since the clock was created.
    pub fn millis(&self) -> u64 {
        self.millis.load(Ordering::Relaxed)
    }
}
