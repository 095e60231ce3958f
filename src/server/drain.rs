//! Draining: what is in flight is finished before the process ends.

use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind};

use super::signals::listen;

/// How long nothing must have been in flight: a request whose head has just been read is not
/// counted yet.
const QUIET: Duration = Duration::from_millis(100);
/// How long a process that gave its listeners away stays for idle connections: nobody waits for its
/// end.
const LINGER: Duration = Duration::from_secs(2);
const STEP: Duration = Duration::from_millis(20);

/// Waits until nothing is in flight any more, at most for `grace`, or until a second signal.
/// Returns how many requests are left.
pub(super) async fn drain(
    in_flight: impl Fn() -> usize,
    handed_over: bool,
    grace: Duration,
) -> usize {
    let started = Instant::now();
    let stay = if handed_over { LINGER } else { QUIET };
    let finished = async {
        let mut quiet_since = Instant::now();
        while quiet_since.elapsed() < QUIET || started.elapsed() < stay {
            tokio::time::sleep(STEP).await;
            if in_flight() > 0 {
                quiet_since = Instant::now();
            }
        }
    };
    let (mut terminate, mut interrupt) = (
        listen(SignalKind::terminate()),
        listen(SignalKind::interrupt()),
    );
    tokio::select! {
        () = finished => {}
        () = tokio::time::sleep(grace) => {}
        () = arrives(&mut terminate) => {}
        () = arrives(&mut interrupt) => {}
    }
    in_flight()
}

async fn arrives(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn it_ends_when_nothing_is_in_flight_or_the_grace_is_over() {
        let started = Instant::now();
        assert_eq!(drain(|| 0, false, Duration::from_secs(60)).await, 0);
        assert!(started.elapsed() < Duration::from_secs(10));

        let count = Arc::new(AtomicUsize::new(1));
        let busy = count.clone();
        let waiting = tokio::spawn(async move {
            drain(
                || busy.load(Ordering::Relaxed),
                false,
                Duration::from_secs(60),
            )
            .await
        });
        tokio::time::sleep(3 * QUIET).await;
        assert!(!waiting.is_finished(), "one is in flight");
        count.store(0, Ordering::Relaxed);
        assert_eq!(waiting.await.unwrap(), 0);

        assert_eq!(drain(|| 3, false, QUIET).await, 3);
    }
}
