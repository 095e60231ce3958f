//! What lies unread of the bodies of one HTTP/2 connection.
//!
//! All streams of a connection share one window of flow control. A body whose upstream takes
//! nothing can use it up, and then no other stream gets a byte through, whatever its client does:
//! that is not to be held against it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A body that is left unread for less takes nothing away from the others.
const LONG: Duration = Duration::from_millis(250);

/// Since when a body has been left unread; `None`: it is being read.
pub type Hold = Mutex<Option<Instant>>;

/// The bodies of one connection.
#[derive(Debug, Default)]
pub struct Backlog(Mutex<Bodies>);

#[derive(Debug, Default)]
struct Bodies {
    all: Vec<Arc<Hold>>,
    /// Until when one was left unread for long.
    until: Option<Instant>,
}

impl Backlog {
    /// Another body, which nobody reads yet.
    pub fn add(&self) -> Arc<Hold> {
        let hold = Arc::new(Mutex::new(Some(Instant::now())));
        lock(&self.0).all.push(hold.clone());
        hold
    }

    /// A body is over.
    pub fn remove(&self, hold: &Arc<Hold>) {
        self.is_read(hold);
        lock(&self.0).all.retain(|other| !Arc::ptr_eq(other, hold));
    }

    /// A body is read, and nothing of it is there.
    pub fn is_read(&self, hold: &Arc<Hold>) {
        let Some(since) = lock(hold).take() else {
            return;
        };
        let now = Instant::now();
        if now - since >= LONG {
            lock(&self.0).until = Some(now);
        }
    }

    /// Bytes of a body are passed on, and no more are read meanwhile.
    pub fn is_left(&self, hold: &Arc<Hold>) {
        *lock(hold) = Some(Instant::now());
    }

    /// Until when a body was left unread for long, be it until now; `None`: none was.
    pub fn until(&self, now: Instant) -> Option<Instant> {
        let bodies = lock(&self.0);
        let is_long = |hold: &Arc<Hold>| {
            lock(hold).is_some_and(|since| now.saturating_duration_since(since) >= LONG)
        };
        if bodies.all.iter().any(is_long) {
            Some(now)
        } else {
            bodies.until
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_left_for_long_counts() {
        let backlog = Backlog::default();
        let (one, other) = (backlog.add(), backlog.add());
        let now = Instant::now();
        assert_eq!(backlog.until(now), None);
        assert_eq!(
            backlog.until(now + LONG),
            Some(now + LONG),
            "nobody reads them"
        );
        backlog.is_read(&one);
        backlog.is_read(&other);
        assert_eq!(backlog.until(now + LONG), None, "they are read");
        backlog.is_left(&one);
        *lock(&one) = now.checked_sub(LONG * 2);
        assert_eq!(backlog.until(now), Some(now), "the upstream takes nothing");
        backlog.remove(&one);
        let until = backlog.until(now + LONG * 9).unwrap();
        assert!(until >= now && until < now + LONG, "until it was over");
        backlog.remove(&other);
        assert!(lock(&backlog.0).all.is_empty());
    }
}
