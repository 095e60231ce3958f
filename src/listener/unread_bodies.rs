//! The request bodies of one HTTP/2 connection that are not being read.
//!
//! All streams of a connection share one flow-control window. A body whose upstream reads nothing
//! can use it up, and then no other stream gets a byte through, whatever its client does: that must
//! not count against it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A body that is left unread for less does not hold up the others.
const LONG: Duration = Duration::from_millis(250);

/// Since when a body has been left unread; `None`: it is being read.
pub type UnreadBody = Mutex<Option<Instant>>;

/// The bodies of one connection.
#[derive(Debug, Default)]
pub struct UnreadBodies(Mutex<Bodies>);

#[derive(Debug, Default)]
struct Bodies {
    all: Vec<Arc<UnreadBody>>,
    /// Until when one was left unread for long.
    until: Option<Instant>,
}

impl UnreadBodies {
    /// Another body, which nobody reads yet.
    pub fn add(&self) -> Arc<UnreadBody> {
        let body = Arc::new(Mutex::new(Some(Instant::now())));
        lock(&self.0).all.push(body.clone());
        body
    }

    /// A body has ended.
    pub fn remove(&self, body: &Arc<UnreadBody>) {
        self.mark_read(body);
        lock(&self.0).all.retain(|other| !Arc::ptr_eq(other, body));
    }

    /// A body is being read, and nothing of it has arrived.
    pub fn mark_read(&self, body: &Arc<UnreadBody>) {
        let Some(since) = lock(body).take() else {
            return;
        };
        let now = Instant::now();
        if now - since >= LONG {
            lock(&self.0).until = Some(now);
        }
    }

    /// Bytes of a body are passed on, and no more are read meanwhile.
    pub fn mark_unread(&self, body: &Arc<UnreadBody>) {
        *lock(body) = Some(Instant::now());
    }

    /// Until when a body was left unread for long, be it until now; `None`: none was.
    pub fn until(&self, now: Instant) -> Option<Instant> {
        let bodies = lock(&self.0);
        let is_long = |body: &Arc<UnreadBody>| {
            lock(body).is_some_and(|since| now.saturating_duration_since(since) >= LONG)
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
        let backlog = UnreadBodies::default();
        let (one, other) = (backlog.add(), backlog.add());
        let now = Instant::now();
        assert_eq!(backlog.until(now), None);
        assert_eq!(
            backlog.until(now + LONG),
            Some(now + LONG),
            "nobody reads them"
        );
        backlog.mark_read(&one);
        backlog.mark_read(&other);
        assert_eq!(backlog.until(now + LONG), None, "they are read");
        backlog.mark_unread(&one);
        *lock(&one) = now.checked_sub(LONG * 2);
        assert_eq!(backlog.until(now), Some(now), "the upstream takes nothing");
        backlog.remove(&one);
        let until = backlog.until(now + LONG * 9).unwrap();
        assert!(until >= now && until < now + LONG, "until it was over");
        backlog.remove(&other);
        assert!(lock(&backlog.0).all.is_empty());
    }
}
