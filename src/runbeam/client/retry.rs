//! Whether a call is tried again, and after which pause.

use std::time::Duration;

use super::request::Request;
use crate::runbeam::error::RunbeamError;

/// The pause after the first try, in the mean, doubling after each,
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// up to this.
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// A longer `Retry-After` is the caller's business.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(10);

/// The pause before another try of a call that failed for the `tried`th time: anywhere from 0 to
/// twice the mean, after what the cloud asked for; what it asked for is stretched by up to as much
/// again, so that those who were told the same do not come back at one moment. `None`: it is not
/// tried again.
pub(super) fn pause(request: &Request, error: &RunbeamError, tried: u32) -> Option<Duration> {
    let pause = FIRST_PAUSE
        .saturating_mul(1 << tried.saturating_sub(1).min(10))
        .min(LAST_PAUSE)
        .saturating_mul(2);
    let drawn = |most: Duration| most.mul_f64(fastrand::f64());
    match error {
        // With the connection gone, nobody knows whether the cloud has carried the call out.
        RunbeamError::Unreachable { connected, .. } => {
            (request.is_repeatable() || !connected).then(|| drawn(pause))
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
            (again && asked <= LONGEST_RETRY_AFTER).then(|| asked + drawn(pause.max(asked)))
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
        let drawn = |error: RunbeamError, tried| {
            let pauses = (0..2000).filter_map(|_| pause(&get, &error, tried));
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
