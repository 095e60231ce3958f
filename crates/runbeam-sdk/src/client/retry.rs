//! Whether a call is tried again, and after which pause.

use std::time::Duration;

use fastrand::Rng;

use super::request::Request;
use crate::backoff::Backoff;
use crate::error::{ApiError, RunbeamError};

/// The mean pause after the first attempt, doubling after each.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause, unless `Retry-After` asks for more.
const MAX_PAUSE: Duration = Duration::from_secs(10);
/// After a longer `Retry-After`, trying again is the caller's decision.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(10);

/// The attempts of one call.
pub(super) struct Retries {
    remaining: u32,
    backoff: Backoff,
    random: Rng,
}

impl Retries {
    /// So many attempts, the first one included.
    pub(super) fn new(attempts: u32) -> Self {
        Self {
            remaining: attempts.saturating_sub(1),
            backoff: Backoff::new(FIRST_PAUSE, MAX_PAUSE),
            random: Rng::new(),
        }
    }

    /// The pause before the next attempt. `None`: there is none.
    pub(super) fn after(&mut self, request: &Request, error: &RunbeamError) -> Option<Duration> {
        let RunbeamError::Api(error) = error else {
            return None;
        };
        let (again, retry_after) = match error {
            // With the connection gone, nobody knows whether the cloud has carried the call out.
            ApiError::Network { connected, .. } => (request.is_idempotent() || !connected, None),
            ApiError::Http {
                status: 429 | 503,
                retry_after,
                ..
            } => (true, *retry_after),
            ApiError::Http {
                status: 500..,
                retry_after,
                ..
            } => (request.is_idempotent(), *retry_after),
            _ => (false, None),
        };
        let asked_too_much = retry_after.is_some_and(|pause| pause > MAX_RETRY_AFTER);
        if !again || asked_too_much || self.remaining == 0 {
            return None;
        }
        self.remaining -= 1;
        Some(self.backoff.after_failure(retry_after, &mut self.random))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16, retry_after: Option<u64>) -> RunbeamError {
        ApiError::Http {
            call: "x",
            status,
            message: String::new(),
            retry_after: retry_after.map(Duration::from_secs),
        }
        .into()
    }

    fn lost(connected: bool) -> RunbeamError {
        ApiError::Network {
            call: "x",
            cause: String::new(),
            connected,
        }
        .into()
    }

    #[test]
    fn what_is_tried_again() {
        let (get, creating) = (Request::get("x", "/"), Request::creating("x", "/"));
        let cases = [
            (status(429, None), true, true),
            (status(429, Some(10)), true, true),
            (status(429, Some(11)), false, false),
            (status(503, None), true, true),
            (status(500, None), true, false),
            (status(502, None), true, false),
            (status(504, None), true, false),
            (status(400, None), false, false),
            (status(401, Some(1)), false, false),
            (status(404, None), false, false),
            (status(422, None), false, false),
            (lost(false), true, true),
            (lost(true), true, false),
            (ApiError::InvalidToken.into(), false, false),
        ];
        for (error, idempotent, created) in cases {
            let again = |request| Retries::new(2).after(request, &error).is_some();
            assert_eq!(
                (again(&get), again(&creating)),
                (idempotent, created),
                "{error}"
            );
        }
    }

    #[test]
    fn attempts_are_bounded() {
        let get = Request::get("x", "/");
        let mut retries = Retries::new(3);
        let pauses = (0..9).map_while(|_| retries.after(&get, &lost(true)));
        assert_eq!(pauses.count(), 2);
        assert_eq!(Retries::new(1).after(&get, &lost(true)), None);
        assert_eq!(Retries::new(0).after(&get, &lost(true)), None);
    }

    #[test]
    fn pauses_grow_and_heed_the_cloud() {
        let get = Request::get("x", "/");
        let drawn = |error: RunbeamError, tried: u32| {
            let pauses = (0..2000).filter_map(|_| {
                let mut retries = Retries::new(tried + 1);
                (0..tried)
                    .filter_map(|_| retries.after(&get, &error))
                    .last()
            });
            let pauses: Vec<f64> = pauses.map(|pause| pause.as_secs_f64()).collect();
            assert_eq!(pauses.len(), 2000);
            let least = pauses.iter().copied().fold(f64::INFINITY, f64::min);
            (least, pauses.iter().copied().fold(0.0, f64::max))
        };
        for (error, tried, from, to) in [
            (lost(true), 1, 0.0, 0.4),
            (lost(true), 2, 0.0, 0.8),
            (lost(true), 9, 0.0, 10.0),
            (lost(true), 99, 0.0, 10.0),
            (status(429, Some(7)), 1, 7.0, 14.0),
            (status(503, Some(0)), 1, 0.0, 0.4),
        ] {
            let width = (to - from) / 50.0;
            let (least, most) = drawn(error, tried);
            assert!(least >= from && least < from + width, "{tried}: {least}");
            assert!(most <= to && most > to - width, "{tried}: {most}");
        }
    }
}
