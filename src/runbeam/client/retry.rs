//! Whether a call is tried again, and after which pause.

use std::time::Duration;

use super::request::Request;
use crate::runbeam::error::RunbeamError;

/// The pause after the first try, doubling after each,
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// up to this.
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// A longer `Retry-After` is the caller's business.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(10);

/// The pause before another try of a call that failed for the `tried`th time. `None`: it is not
/// tried again.
pub(super) fn pause(request: &Request, error: &RunbeamError, tried: u32) -> Option<Duration> {
    let pause = FIRST_PAUSE
        .saturating_mul(1 << tried.saturating_sub(1).min(10))
        .min(LAST_PAUSE)
        .mul_f64(0.5 + fastrand::f64());
    match error {
        // With the connection gone, nobody knows whether the cloud has carried the call out.
        RunbeamError::Unreachable { connected, .. } => {
            (request.is_repeatable() || !connected).then_some(pause)
        }
        RunbeamError::Status {
            status,
            retry_after,
            ..
        } => {
            let again = match status {
                429 | 503 => true,
                500.. => request.is_repeatable(),
                _ => false,
            };
            let asked = retry_after.unwrap_or_default();
            (again && asked <= LONGEST_RETRY_AFTER).then_some(pause.max(asked))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16, retry_after: Option<u64>) -> RunbeamError {
        RunbeamError::Status {
            call: "x",
            status,
            message: String::new(),
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    fn lost(connected: bool) -> RunbeamError {
        RunbeamError::Unreachable {
            call: "x",
            cause: String::new(),
            connected,
        }
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
            (RunbeamError::UnusableToken, false, false),
        ];
        for (error, repeatable, created) in cases {
            let again = |request| pause(request, &error, 1).is_some();
            assert_eq!(
                (again(&get), again(&creating)),
                (repeatable, created),
                "{error}"
            );
        }
    }

    #[test]
    fn pauses_grow_and_heed_the_cloud() {
        let get = Request::get("x", "/");
        for (tried, least, most) in [
            (1, 100, 300),
            (2, 200, 600),
            (9, 2500, 7500),
            (99, 2500, 7500),
        ] {
            let pause = pause(&get, &lost(true), tried).unwrap();
            let range = Duration::from_millis(least)..=Duration::from_millis(most);
            assert!(range.contains(&pause), "{tried}: {pause:?}");
        }
        assert_eq!(
            pause(&get, &status(429, Some(7)), 1),
            Some(Duration::from_secs(7))
        );
    }
}
