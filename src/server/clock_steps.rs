//! A look at the system's clock: tokens and certificates count by it, so a step of it explains what
//! nothing else does. It changes nothing.

use std::time::{Duration, Instant, SystemTime};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// Less is not worth a word: tokens have a leeway.
const LEAST: f64 = 10.0;

/// Says so when the system's clock steps, for as long as the process lives.
pub(super) async fn watch() {
    let mut before = (Instant::now(), SystemTime::now());
    loop {
        tokio::time::sleep(LOOK).await;
        let now = (Instant::now(), SystemTime::now());
        let step = seconds_between(before.1, now.1) - (now.0 - before.0).as_secs_f64();
        if let Some(told) = tell(step) {
            log::warn!("{told}");
        }
        before = now;
    }
}

fn tell(step: f64) -> Option<String> {
    let way = if step > 0.0 { "forward" } else { "back" };
    (step.abs() >= LEAST).then(|| {
        format!(
            "the system's clock stepped {way} by {:.0} s: tokens and certificates count by it; if \
             nobody set it and the machine was not suspended, look at its time synchronisation",
            step.abs()
        )
    })
}

fn seconds_between(before: SystemTime, after: SystemTime) -> f64 {
    match after.duration_since(before) {
        Ok(forward) => forward.as_secs_f64(),
        Err(back) => -back.duration().as_secs_f64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_told_with_its_way_and_length() {
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(10_000);
        let step = |after: u64| {
            tell(seconds_between(then, SystemTime::UNIX_EPOCH + Duration::from_secs(after)) - 1.0)
        };
        assert!(step(17_201).unwrap().contains("forward by 7200 s"));
        assert!(step(2_801).unwrap().contains("back by 7200 s"));
        assert_eq!(
            (step(10_001), step(10_008), step(9_995)),
            (None, None, None)
        );
    }
}
