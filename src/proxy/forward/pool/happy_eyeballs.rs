//! To which of several addresses a connection is made: as RFC 8305 has it, in order, each with a
//! head start, until one is there.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::sleep;

use crate::gateway::PeerAddress;

/// How long one address has before the next one is tried beside it (RFC 8305 section 8).
const HEAD_START: Duration = Duration::from_millis(250);

/// A connection to one address, being made.
pub(crate) type Connecting<'a, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'a>>;

/// Why nothing came of any address.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RaceError<E> {
    /// There was none to try.
    NoAddress,
    /// The time was over.
    TimedOut,
    /// All failed, the last one for this.
    Failed(E),
}

/// What came of an address that was tried.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome<'a, E> {
    /// It is the one.
    Connected,
    Failed(&'a E),
    /// One that was begun later was there before it, or the time was over.
    Slow,
}

/// Tries these addresses until one of them succeeds. `connect` begins an attempt at one; where
/// others are under way (`beside`), it may refuse. `note` hears what came of each.
pub(crate) async fn race<'a, T, E>(
    order: Vec<PeerAddress>,
    within: Duration,
    mut connect: impl FnMut(PeerAddress, bool) -> Option<Connecting<'a, T, E>>,
    mut note: impl FnMut(&PeerAddress, Outcome<'_, E>),
) -> Result<(PeerAddress, T), RaceError<E>> {
    let mut over = pin!(sleep(within));
    let mut order = order.into_iter().peekable();
    let mut running: Vec<(PeerAddress, Connecting<'a, T, E>)> = Vec::new();
    let mut failure = RaceError::NoAddress;
    loop {
        let beside = !running.is_empty();
        let begin = |address: &PeerAddress| connect(address.clone(), beside);
        if let Some(attempt) = order.peek().and_then(begin) {
            running.extend(order.next().map(|address| (address, attempt)));
        } else if !beside {
            return Err(failure);
        }
        let (place, outcome) = tokio::select! {
            biased;
            ended = any(&mut running) => ended,
            () = &mut over => {
                for (address, _) in &running {
                    note(address, Outcome::Slow);
                }
                return Err(RaceError::TimedOut);
            }
            () = sleep(HEAD_START), if order.peek().is_some() => continue,
        };
        let (address, _) = running.remove(place);
        match outcome {
            Ok(made) => {
                note(&address, Outcome::Connected);
                for (earlier, _) in running.iter().take(place) {
                    note(earlier, Outcome::Slow);
                }
                return Ok((address, made));
            }
            Err(error) => {
                note(&address, Outcome::Failed(&error));
                failure = RaceError::Failed(error);
            }
        }
    }
}

/// The first of these that ends, by its place.
async fn any<T, E>(running: &mut [(PeerAddress, Connecting<'_, T, E>)]) -> (usize, Result<T, E>) {
    poll_fn(|context| {
        for (place, (_, attempt)) in running.iter_mut().enumerate() {
            if let Poll::Ready(outcome) = attempt.as_mut().poll(context) {
                return Poll::Ready((place, outcome));
            }
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::{pending, ready};
    use std::time::Instant;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    fn address(last: u8) -> PeerAddress {
        PeerAddress::Inet(([127, 0, 0, last], 80).into())
    }

    /// What comes of addresses whose last bytes say how they are: below 10 they succeed at once,
    /// below 20 they fail, below 30 they succeed after 600 ms, and from then on nothing is heard of
    /// them.
    async fn tried(order: &[u8], refuse: bool) -> (Option<u8>, String, Duration) {
        let noted = RefCell::new(String::new());
        let connect = |at: PeerAddress, beside: bool| {
            let at = at.to_string();
            let last: u8 = at[8..at.len() - 3].parse().unwrap();
            let attempt: Connecting<'_, u8, u8> = match last {
                0..10 => Box::pin(ready(Ok(last))),
                10..20 => Box::pin(ready(Err(last))),
                20..30 => Box::pin(async move {
                    sleep(Duration::from_millis(600)).await;
                    Ok(last)
                }),
                _ => Box::pin(pending()),
            };
            (!(refuse && beside)).then_some(attempt)
        };
        let note = |at: &PeerAddress, came: Outcome<'_, u8>| {
            let at = at.to_string().replace(":80", "");
            noted.borrow_mut().push_str(&format!("{at} {came:?} "));
        };
        let order = order.iter().copied().map(address).collect();
        let begun = Instant::now();
        let outcome = race(order, Duration::from_secs(1), connect, note).await;
        let text = match &outcome {
            Ok(_) => String::new(),
            Err(failure) => format!("{failure:?}"),
        };
        let noted = noted.into_inner().replace("127.0.0.", "");
        (
            outcome.ok().map(|(_, made)| made),
            noted + &text,
            begun.elapsed(),
        )
    }

    #[tokio::test]
    async fn one_that_fails_costs_nothing_and_one_that_is_silent_its_head_start() {
        for (order, made, noted, at_least, at_most) in [
            (&[1, 2][..], Some(1), "1 Connected ", 0, 200),
            (
                &[11, 12, 1],
                Some(1),
                "11 Failed(11) 12 Failed(12) 1 Connected ",
                0,
                200,
            ),
            (&[30, 1], Some(1), "1 Connected 30 Slow ", 250, 550),
            (
                &[30, 31, 1],
                Some(1),
                "1 Connected 30 Slow 31 Slow ",
                500,
                900,
            ),
            // The slower one was begun first, and is there before the other one.
            (&[20, 21], Some(20), "20 Connected ", 600, 840),
            (
                &[20, 11, 1],
                Some(1),
                "11 Failed(11) 1 Connected 20 Slow ",
                250,
                550,
            ),
            (&[11], None, "11 Failed(11) Failed(11)", 0, 200),
            (
                &[30, 11, 31],
                None,
                "11 Failed(11) 30 Slow 31 Slow TimedOut",
                1000,
                1500,
            ),
            (&[], None, "NoAddress", 0, 200),
        ] {
            let (which, told, took) = tried(order, false).await;
            assert_eq!((which, told.as_str()), (made, noted), "{order:?}");
            let took = took.as_millis();
            assert!(
                (at_least..at_most).contains(&took),
                "{order:?} took {took} ms"
            );
        }
    }

    #[tokio::test]
    async fn where_there_is_no_room_for_two_they_go_one_after_the_other() {
        let (made, noted, took) = tried(&[20, 1], true).await;
        assert_eq!((made, noted.as_str()), (Some(20), "20 Connected "));
        assert!(took < LIMIT);
        let (made, noted, _) = tried(&[11, 1], true).await;
        assert_eq!(
            (made, noted.as_str()),
            (Some(1), "11 Failed(11) 1 Connected ")
        );
    }
}
