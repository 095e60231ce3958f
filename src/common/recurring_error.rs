//! Errors that come again and again, and are logged now and then.

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often the same error is logged.
const INTERVAL: Duration = Duration::from_secs(60);

/// Logs an error when it is another one than before, and once a minute while it lasts.
#[derive(Debug, Default)]
pub(crate) struct RecurringError(Mutex<Option<(String, Instant)>>);

impl RecurringError {
    pub(crate) fn report(&self, error: &impl Display) {
        let text = error.to_string();
        if self.is_due(&text, Instant::now()) {
            log::error!("{text}");
        }
    }

    fn is_due(&self, text: &str, now: Instant) -> bool {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = match &*logged {
            Some((last, at)) => last != text || now.duration_since(*at) >= INTERVAL,
            None => true,
        };
        if is_due {
            *logged = Some((text.to_owned(), now));
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_error_is_logged_at_once_and_the_same_each_minute() {
        let (error, begun) = (RecurringError::default(), Instant::now());
        for (text, seconds, expected) in [
            ("full", 0, true),
            ("full", 1, false),
            ("full", 59, false),
            ("full", 60, true),
            ("full", 61, false),
            ("locked", 62, true),
            ("full", 63, true),
        ] {
            let at = begun + Duration::from_secs(seconds);
            assert_eq!(error.is_due(text, at), expected, "{text} {seconds}");
        }
    }
}
